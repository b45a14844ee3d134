"""A gateway from TCP to WebSocket: the protocol core without any adapter, on selectors.

Usage: python examples/gateway/gateway.py PORT URI

Each TCP client gets a WebSocket connection to the server at URI. The bytes that the client sends become
binary messages; the bytes of the server's messages are sent to the client. One thread serves all clients.

- Backpressure goes both ways. While the WebSocket's send queue is full, the client is not read. While the
  client does not read, no messages are taken; then the core's receive queue is full, ``wants_read`` is
  false, and the server is not read. So a link needs little memory, however much passes through it.
- The core has one deadline for all of its timers: the opening handshake, keepalive, closing. The gateway
  adds one of its own, for a client that does not read what is left at the end.
- At the end of the client's stream the WebSocket connection is closed with code 1000. When the server closes,
  the client's stream ends; if the connection is lost, it is reset, so that the client notices it.
"""

from __future__ import annotations

import selectors
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable
from functools import partial
from types import FrameType

from wsproto_core import (
    ClientProtocol,
    CloseCode,
    Failure,
    InvalidURI,
    State,
    StreamAction,
    parse_uri,
)

READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE
BLOCK = 65536  # bytes in one read
PATIENCE = 20.0  # seconds for a client to read something of what is left
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: unsent bytes are discarded, and the peer gets a reset


class Link:
    """A TCP client and the WebSocket connection that is made for it."""

    def __init__(self, client: socket.socket, server: socket.socket, protocol: ClientProtocol) -> None:
        self.client = client
        self.server = server
        self.protocol = protocol
        self.to_client = memoryview(b"")
        self.to_server = memoryview(b"")
        self.client_ended = False
        self.closed = False  # the client's socket
        self.busy = True
        self.leftover_deadline: float | None = None

    def run(self) -> None:
        """Do all that can be done without waiting. Further calls do no harm."""
        # What the server has sent is read before the deadline is checked: the gateway may have been late.
        if self.protocol.wants_read:
            self._with_server(self._read_server)
        self.protocol.handle_timeout()
        self._report_failures()
        self._write_client()
        self._read_client()
        self.busy = self._with_server(self._write_server)
        self._report_failures()
        if self.protocol.state is State.CLOSED and not self.closed:
            self._end()

    def interest(self) -> dict[socket.socket, int]:
        """Return the events to wait for, by socket."""
        events = {}
        if not self.closed:
            events[self.client] = READ * self._accepts_more | WRITE * bool(self.to_client)
        if self.protocol.state is not State.CLOSED:
            events[self.server] = READ * self.protocol.wants_read | WRITE * self.busy
        return {sock: awaited for sock, awaited in events.items() if awaited}

    def deadline(self) -> float | None:
        """Return the time at which :meth:`run` must be called, whatever happens until then."""
        if self.protocol.state is State.CLOSED:
            return self.leftover_deadline
        return self.protocol.deadline()

    @property
    def ended(self) -> bool:
        """Whether both sockets are closed."""
        return self.closed and self.protocol.state is State.CLOSED

    @property
    def _accepts_more(self) -> bool:
        return self.protocol.state is State.OPEN and self.protocol.writable and not self.client_ended

    # The client

    def _read_client(self) -> None:
        if self.closed or not self._accepts_more:
            return
        try:
            data = self.client.recv(BLOCK)
        except BlockingIOError:
            return
        except OSError:
            self._lose_client()
            return
        if data:
            self.protocol.send(data)
        else:
            self.client_ended = True
            self.protocol.close(CloseCode.NORMAL_CLOSURE)

    def _write_client(self) -> None:
        """Take pieces of messages while the client takes their bytes."""
        while not self.closed:
            if not self.to_client:
                piece = self.protocol.next_fragment()
                if piece is None:
                    return
                data = piece.data.encode() if isinstance(piece.data, str) else piece.data
                self.to_client = memoryview(data)
                continue
            try:
                count = self.client.send(self.to_client)
            except BlockingIOError:
                return
            except OSError:
                self._lose_client()
                return
            self.to_client = self.to_client[count:]
            self.leftover_deadline = None

    def _close_client(self, *, reset: bool = False) -> None:
        if reset:
            self.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.client.close()
        self.closed = True

    def _lose_client(self) -> None:
        self._close_client()
        if self.protocol.state is not State.CLOSED:
            self.protocol.close(CloseCode.GOING_AWAY, "the TCP client has gone")

    # The server

    def _read_server(self) -> bool:
        if data := self.server.recv(BLOCK):
            self.protocol.receive_data(data)
        else:
            self.protocol.receive_eof()
        return True

    def _write_server(self) -> bool:
        """Write, or end the stream if it is time; return whether there was anything to do."""
        action = self.protocol.stream_action
        if action is StreamAction.ABORT:
            self.server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            self._close_server()
            return False
        if not self.to_server:
            self.to_server = memoryview(b"".join(self.protocol.data_to_send()))
        if self.to_server:
            count = self.server.send(self.to_server)
            self.to_server = self.to_server[count:]
            self.protocol.data_sent(count)
        elif action is StreamAction.SEND_EOF:
            self.server.shutdown(socket.SHUT_WR)
            self.protocol.eof_sent()
        elif action is StreamAction.CLOSE:
            self._close_server()
        else:
            return False
        return True

    def _with_server(self, operation: Callable[[], bool]) -> bool:
        """Do something with the server's socket; return whether there may be more of it to do."""
        if self.protocol.state is State.CLOSED:
            return False
        try:
            return operation()
        except BlockingIOError:
            return True
        except OSError as error:
            self._close_server(error)
            return False

    def _close_server(self, error: OSError | None = None) -> None:
        self.server.close()
        self.protocol.connection_lost(error)

    def _report_failures(self) -> None:
        for event in self.protocol.events(messages=False):
            if isinstance(event, Failure):
                cause = event.error.__cause__
                why = f" ({cause})" if cause else ""
                print(f"failed: {event.error}{why}", file=sys.stderr, flush=True)

    def _end(self) -> None:
        """Give the client what is left, then end its stream."""
        self._write_client()
        if self.closed:
            return
        if self.to_client:
            if self.leftover_deadline is None:
                self.leftover_deadline = time.monotonic() + PATIENCE
            elif self.leftover_deadline <= time.monotonic():
                self._close_client(reset=True)
        else:
            self._close_client(reset=self.protocol.close_code not in (1000, 1001, 1005))


class Gateway:
    """Accepts TCP clients, and waits for all sockets and deadlines."""

    def __init__(self, port: int, uri: str) -> None:
        self.uri = uri
        parsed = parse_uri(uri)
        if parsed.secure:
            raise InvalidURI(uri, "this gateway has no TLS")
        # A name lookup would block: there is one, before the first client.
        found = socket.getaddrinfo(parsed.host, parsed.port, type=socket.SOCK_STREAM)
        self.family, self.address = found[0][0], found[0][4]
        self.selector = selectors.DefaultSelector()
        self.links: dict[Link, dict[socket.socket, int]] = {}
        self.listener = socket.create_server(("localhost", port))
        self.listener.setblocking(False)
        self.selector.register(self.listener, READ, self.accept)
        # A signal writes a byte, so that the selector does not wait any longer.
        self.stopped, self.stopping = socket.socketpair()
        self.stopping.setblocking(False)
        self.selector.register(self.stopped, READ)

    def stop(self, number: int, frame: FrameType | None) -> None:
        self.stopping.send(b"\0")

    def accept(self) -> None:
        try:
            client, _ = self.listener.accept()
        except OSError:
            return  # the client has gone, or there are too many
        server = socket.socket(self.family, socket.SOCK_STREAM)
        for sock in (client, server):
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # `connect` does not wait. Reading and writing say later what has come of it.
        server.connect_ex(self.address)
        # Without a limit on messages: no message is stored as a whole.
        protocol = ClientProtocol(self.uri, clock=time.monotonic, max_size=None, compression=None)
        self.run(Link(client, server, protocol))

    def run(self, link: Link) -> None:
        """Run a link, then wait for what it waits for."""
        before = self.links.pop(link, {})
        link.run()
        after = link.interest()
        if before != after:
            for sock in before:
                self.selector.unregister(sock)
            for sock, events in after.items():
                self.selector.register(sock, events, partial(self.run, link))
        if not link.ended:
            self.links[link] = after

    def serve(self) -> None:
        """Serve until a signal stops it."""
        print(f"Listening on port {self.listener.getsockname()[1]}. Ctrl-C stops the gateway.", flush=True)
        while True:
            deadlines = {link: deadline for link in self.links if (deadline := link.deadline()) is not None}
            patience = max(min(deadlines.values()) - time.monotonic(), 0) if deadlines else None
            for key, _ in self.selector.select(patience):
                if key.fileobj is self.stopped:
                    return
                key.data()
            for link, deadline in deadlines.items():
                if deadline <= time.monotonic() and link in self.links:
                    self.run(link)


def main(port: int, uri: str) -> None:
    gateway = Gateway(port, uri)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, gateway.stop)
    gateway.serve()


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(int(sys.argv[1]), sys.argv[2])
