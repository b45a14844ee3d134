"""What the tests of blocking connections need: peers made by hand, and threads that report."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from adapters.threading import ClientConnection, connect
from adapters.threading.wakeups import Receiver
from tests.core.helpers import Frame, mask, parse_head, response
from tests.core.helpers import frame as build_frame

DEADLINE = 30.0
"""Seconds after which a test has failed."""

HOST = "127.0.0.1"

CERTIFICATES = Path(__file__).parent.parent / "certificates"


class Thread(threading.Thread):
    """Runs a function; what it returns or raises is asked for by :meth:`result`."""

    def __init__(self, function: Callable[..., Any], *args: Any, **options: Any) -> None:
        super().__init__(daemon=True)
        self._call = lambda: function(*args, **options)
        self._error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self._result = self._call()
        except BaseException as error:
            self._error = error

    def result(self) -> Any:
        self.join(DEADLINE)
        assert not self.is_alive(), "the thread has not ended"
        if self._error is not None:
            raise self._error
        return self._result


def until(condition: Callable[[], object]) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, "what was waited for has not come"
        time.sleep(0.005)


def sleep(receiver: Receiver) -> int:
    """Wait as a thread that receives does; return the events of its socket, or 0."""
    return receiver.look(receiver.poll(receiver.limit))


def waits(connection: Any, count: int = 1) -> Callable[[], bool]:
    """Whether so many threads wait for a connection: there is no other way to know that they do."""

    def wait() -> bool:
        receiver = connection._receiver
        waiters = [connection._waiters, *(ping._waiters for ping in list(connection._pings.values()))]
        others = sum(len(threads) for each in waiters for threads in list(each.values()))
        return others + (receiver is not None and receiver.asleep) == count

    return wait


class RawServer:
    """A server's end of a stream, which has done the opening handshake, and no more."""

    def __init__(self, sock: socket.socket) -> None:
        sock.settimeout(DEADLINE)
        self.socket = sock

    def answer(self) -> None:
        data = b""
        while not data.endswith(b"\r\n\r\n"):
            data += self.socket.recv(4096)
        self.socket.sendall(response(parse_head(data).headers["sec-websocket-key"]))

    def send(self, *frames: Frame) -> None:
        # In one piece, so that they come at once.
        built = [build_frame(opcode, data, fin=fin, reserved=bits) for opcode, data, fin, bits in frames]
        self.socket.sendall(b"".join(built))

    def read_exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            chunk = self.socket.recv(count - len(data))
            if not chunk:
                raise EOFError(f"end of file after {len(data)} of {count} bytes, {data[:100]!r}")
            data += chunk
        return data

    def read_frame(self) -> Frame:
        first, second = self.read_exactly(2)
        length = second & 0x7F
        if length >= 126:
            length = int.from_bytes(self.read_exactly(2 if length == 126 else 8), "big")
        key = self.read_exactly(4)
        return Frame(first & 0x0F, mask(self.read_exactly(length), key), bool(first & 0x80), first & 0x70)


@contextlib.contextmanager
def raw_server(**options: Any) -> Iterator[tuple[RawServer, ClientConnection]]:
    """A server by hand, and the client that is connected to it by small buffers."""
    options = {"compression": None, "ping_interval": None, "close_timeout": DEADLINE, **options}
    theirs, ours = socket.socketpair()
    for sock in (theirs, ours):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2**14)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**14)
    peer = RawServer(theirs)
    answering = Thread(peer.answer)
    client = connect("ws://localhost/", sock=ours, **options)()
    answering.result()
    try:
        yield peer, client
    finally:
        theirs.close()
        client.abort()
