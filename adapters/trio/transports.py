"""Streams of trio, for the core: plain sockets, and any other stream, such as TLS."""

from __future__ import annotations

import os
import socket
import ssl
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import trio
from wsproto_core.structured.runtime import Runtime
from wsproto_core.structured.transport import MAX_BUFFERS, READ_SIZE, WaitingTransport

__all__ = ["RUNTIME", "SocketTransport", "StreamTransport", "make_transport", "os_errors"]

RUNTIME = Runtime(
    make_event=trio.Event,
    open_tasks=trio.open_nursery,
    open_scope=lambda deadline: trio.CancelScope(deadline=deadline),
    get_clock=lambda: trio.current_time,
    environment=os.environ,
    date=time.time,
    sleep_until=trio.sleep_until,
    checkpoint=trio.lowlevel.checkpoint,
    checkpoint_if_cancelled=trio.lowlevel.checkpoint_if_cancelled,
)


@contextmanager
def os_errors() -> Iterator[None]:
    """Raise what the system said, where trio or a stream wraps it."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        if isinstance(error.__cause__, OSError):
            raise error.__cause__ from None
        raise OSError(repr(error)) from error


def addresses(sock: Any) -> tuple[Any, Any]:
    """Return a socket's own address and its peer's, which is ``None`` if the peer has gone already."""
    try:
        return sock.getsockname(), sock.getpeername()
    except OSError:
        return sock.getsockname(), None


class SocketTransport:
    """A socket of our own, which is read and written without waiting whenever that is possible."""

    has_halves = True
    writes_at_once = True

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.stream = self._sock = sock
        self.local_address, self.remote_address = addresses(sock)
        if sock.family in (socket.AF_INET, socket.AF_INET6):
            # Gathered writes need no help.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def read(self) -> bytes | None:
        try:
            return self._sock.recv(READ_SIZE)
        except BlockingIOError:
            return None

    async def wait_readable(self) -> None:
        with os_errors():
            await trio.lowlevel.wait_readable(self._sock)

    def write(self, buffers: list[memoryview]) -> int:
        try:
            if len(buffers) == 1 or not hasattr(self._sock, "sendmsg"):
                return self._sock.send(buffers[0])
            return self._sock.sendmsg(buffers[:MAX_BUFFERS])
        except BlockingIOError:
            return 0

    async def wait_writable(self) -> None:
        with os_errors():
            await trio.lowlevel.wait_writable(self._sock)

    def send_eof(self) -> None:
        self._sock.shutdown(socket.SHUT_WR)

    async def aclose(self) -> None:
        await self.abort(False)

    async def abort(self, reset: bool) -> None:
        if self._sock.fileno() < 0:
            return
        if reset:
            # Nothing lingers in the system's buffers.
            with suppress(OSError):
                self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        trio.lowlevel.notify_closing(self._sock)
        self._sock.close()


class StreamTransport(WaitingTransport):
    """Any stream of trio. Writing to it always waits, and must not be cancelled."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        super().__init__()
        self.stream = stream
        lowest: Any = stream
        while not isinstance(lowest, trio.SocketStream) and hasattr(lowest, "transport_stream"):
            lowest = lowest.transport_stream
        sock = getattr(lowest, "socket", None)
        self.local_address = self.remote_address = None
        if sock is not None:
            self.local_address, self.remote_address = addresses(sock)

    async def _receive(self) -> bytes:
        with os_errors():
            try:
                return bytes(await self.stream.receive_some(READ_SIZE))
            except trio.BrokenResourceError as error:
                # Without a close of TLS, which WebSocket's own replaces.
                if not isinstance(error.__cause__, ssl.SSLEOFError):
                    raise
                return b""

    async def _send(self, data: bytes) -> None:
        with os_errors():
            await self.stream.send_all(data)

    async def aclose(self) -> None:
        with os_errors():
            await self.stream.aclose()

    async def abort(self, reset: bool) -> None:
        with suppress(OSError), os_errors():
            await trio.aclose_forcefully(self.stream)


def make_transport(stream: trio.abc.Stream) -> SocketTransport | StreamTransport:
    """Return what the core reads and writes a stream by; a socket's is taken out of it."""
    if isinstance(stream, trio.SocketStream):
        return SocketTransport(socket.socket(fileno=stream.socket.detach()))
    return StreamTransport(stream)
