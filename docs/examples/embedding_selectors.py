"""An echo server and a client with nothing but ``socket`` and ``selectors``.

Run it to see them talk to each other. The embedding guide shows and explains the parts between
``region`` and ``endregion``.
"""

from __future__ import annotations

import hashlib
import math
import selectors
import socket
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from wsproto_core import (
    ClientProtocol,
    Close,
    Data,
    Event,
    Failure,
    Protocol,
    Request,
    Response,
    ServerProtocol,
    Side,
    State,
    StreamAction,
)


# region drive
class Connection:
    """Joins a state machine, its non-blocking socket, and what the program does with it."""

    def __init__(self, sock: socket.socket, protocol: Protocol, application: Callable[[], None]) -> None:
        self.sock = sock
        self.protocol = protocol
        self.application = application
        self.unsent = memoryview(b"")
        self.wants_write = False

    def drive(self) -> None:
        """Do what can be done without waiting."""
        if self.protocol.wants_read:
            self.attempt(self.read)
        self.protocol.handle_timeout()  # does nothing before the deadline
        self.application()
        if self.protocol.state is not State.CLOSED:
            self.wants_write = self.attempt(self.write)
        if self.protocol.state is State.CLOSED:
            self.application()  # the last events

    def read(self) -> bool:
        if data := self.sock.recv(65536):
            self.protocol.receive_data(data)
        else:
            self.protocol.receive_eof()
        return True

    def write(self) -> bool:
        """Write, or end the stream if it is time; return whether there was anything to do."""
        action = self.protocol.stream_action
        if action is StreamAction.ABORT:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close()
            return False
        if not self.unsent:
            self.unsent = memoryview(b"".join(self.protocol.data_to_send()))
        if self.unsent:
            count = self.sock.send(self.unsent)
            self.unsent = self.unsent[count:]
            self.protocol.data_sent(count)
        elif action is StreamAction.SEND_EOF:
            self.sock.shutdown(socket.SHUT_WR)
            self.protocol.eof_sent()
        elif action is StreamAction.CLOSE:
            self.close()
        else:
            return False
        return True

    def attempt(self, operation: Callable[[], bool]) -> bool:
        try:
            return operation()
        except BlockingIOError:
            return True  # not now
        except OSError as error:
            with suppress(OSError):  # what came before the error may say more
                while self.protocol.wants_read and (data := self.sock.recv(65536)):
                    self.protocol.receive_data(data)
            self.close(error)
            return False

    def close(self, error: OSError | None = None) -> None:
        self.sock.close()
        self.protocol.connection_lost(error)


# endregion


# region loop
class Loop:
    """Waits for sockets and for deadlines."""

    def __init__(self) -> None:
        self.selector = selectors.DefaultSelector()
        self.connections: set[Connection] = set()

    def add(self, connection: Connection) -> None:
        connection.sock.setblocking(False)
        self.connections.add(connection)
        self.drive(connection)

    def drive(self, connection: Connection) -> None:
        """To be called as well after commands that are given from outside, such as ``send``."""
        with suppress(KeyError, ValueError):  # not there before the first time, and after the last
            self.selector.unregister(connection.sock)
        connection.drive()
        if connection.protocol.state is State.CLOSED:
            self.connections.discard(connection)
            return
        events = connection.protocol.wants_read * selectors.EVENT_READ
        events |= connection.wants_write * selectors.EVENT_WRITE
        if events:
            self.selector.register(connection.sock, events, partial(self.drive, connection))

    def turn(self, patience: float = math.inf) -> None:
        """Wait until something happens, ``patience`` seconds at most, and deal with it."""
        deadlines = {
            connection: deadline
            for connection in self.connections
            if (deadline := connection.protocol.deadline()) is not None
        }
        timeout = min(patience, min(deadlines.values(), default=math.inf) - time.monotonic())
        for key, _ in self.selector.select(None if timeout == math.inf else timeout):
            key.data()
        for connection, deadline in deadlines.items():
            if deadline <= time.monotonic():
                self.drive(connection)

    def listen(self, listener: socket.socket, connect: Callable[[socket.socket], Connection]) -> None:
        def accept() -> None:
            with suppress(OSError):  # the client may have gone
                self.add(connect(listener.accept()[0]))

        listener.setblocking(False)
        self.selector.register(listener, selectors.EVENT_READ, accept)

    def run(self) -> None:
        """Run until all connections are closed."""
        while self.connections:
            self.turn()


# endregion


# region in_place
class ReceivingInPlace(Connection):
    """Receives large messages straight into their memory."""

    def read(self) -> bool:
        buffer = self.protocol.get_buffer()
        if buffer is None:
            return super().read()
        if count := self.sock.recv_into(buffer):
            self.protocol.buffer_updated(count)
        else:
            self.protocol.receive_eof()
        return True


# endregion


# region echo
def echo_server(sock: socket.socket) -> Connection:
    protocol = ServerProtocol(clock=time.monotonic, date=time.time)

    def application() -> None:
        for event in protocol.events(messages=False):
            if isinstance(event, Request):
                protocol.accept()
        echo(protocol)

    return ReceivingInPlace(sock, protocol, application)


def echo(protocol: Protocol) -> None:
    """Send messages back; take them only while there is room for the answers."""
    while protocol.state is State.OPEN and protocol.writable:
        message = protocol.next_message()
        if message is None:
            break
        protocol.send(message)


# endregion


# region digest
def digest_server(sock: socket.socket) -> Connection:
    """Answer messages of any size by their hash, without ever holding one."""
    protocol = ServerProtocol(clock=time.monotonic, date=time.time, max_size=None)
    digest = hashlib.sha256()

    def application() -> None:
        nonlocal digest
        for event in protocol.events(messages=False):
            if isinstance(event, Request):
                protocol.accept()
        while protocol.state is State.OPEN and protocol.writable:
            piece = protocol.next_fragment()
            if piece is None:
                break
            digest.update(piece.data.encode() if isinstance(piece.data, str) else piece.data)
            if piece.final:
                protocol.send(digest.hexdigest())
                digest = hashlib.sha256()

    return Connection(sock, protocol, application)


# endregion


# region client
class Conversation:
    """A client's application: say one thing after the other, then close."""

    def __init__(self, protocol: Protocol, lines: list[Data]) -> None:
        self.protocol = protocol
        self.lines = lines

    def __call__(self) -> None:
        for event in self.protocol.events():
            print(" ", describe(event))
            if isinstance(event, Response | str | bytes) and self.protocol.state is State.OPEN:
                self.say()

    def say(self) -> None:
        if self.lines:
            self.protocol.send(self.lines.pop(0))
        else:
            self.protocol.close(1000, "that is all")


# endregion


def describe(event: Event) -> str:
    """Say in a line what happened."""
    match event:
        case str() | bytes():
            return f"message: {event!r}" if len(event) < 40 else f"message: {event[:10]!r}... ({len(event)})"
        case Response(status=status):
            return f"answer: HTTP status {status}"
        case Close():
            return f"closed: {event}"
        case Failure(error=error):
            return f"failed: {error!r}"
        case _:
            return type(event).__name__.lower()


def main() -> None:
    loop = Loop()
    for server in (echo_server, digest_server):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            loop.listen(listener, server)
            print(server.__name__)
            # region connect
            host, port = listener.getsockname()
            sock = socket.create_connection((host, port))
            protocol = ClientProtocol(f"ws://{host}:{port}/", clock=time.monotonic)
            lines: list[Data] = ["Hello!", "Grüß Gott", b"\x00\x01\x02", "a" * 500_000]
            loop.add(Connection(sock, protocol, Conversation(protocol, lines)))
            loop.run()
            # endregion
            loop.selector.unregister(listener)

    print("a stream without a handshake")
    # region opened
    left, right = socket.socketpair()
    server_side = Protocol(Side.SERVER, clock=time.monotonic)
    loop.add(Connection(left, server_side, partial(echo, server_side)))
    client_side = Protocol(Side.CLIENT, clock=time.monotonic)
    loop.add(Connection(right, client_side, Conversation(client_side, ["How nice."])))
    # endregion
    client_side.send("Hello again!")
    for connection in tuple(loop.connections):
        loop.drive(connection)
    loop.run()


if __name__ == "__main__":
    main()
