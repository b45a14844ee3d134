"""Streams of anyio, for the core: plain sockets, and any other byte stream, such as TLS."""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import anyio
import anyio.lowlevel
from anyio.abc import ByteStream, SocketAttribute
from wsproto_core.structured.runtime import Runtime
from wsproto_core.structured.transport import MAX_BUFFERS, READ_SIZE, WaitingTransport

__all__ = ["RUNTIME", "SocketTransport", "StreamTransport", "make_transport", "os_errors"]


def get_clock() -> Callable[[], float]:
    """Return the clock that the loop's deadlines go by."""
    # On asyncio that is this one, which uvloop rounds.
    on_asyncio = anyio.get_cancelled_exc_class().__module__.startswith("asyncio")
    return time.monotonic if on_asyncio else anyio.current_time


RUNTIME = Runtime(
    make_event=anyio.Event,
    open_tasks=anyio.create_task_group,
    open_scope=lambda deadline: anyio.CancelScope(deadline=deadline),
    get_clock=get_clock,
    environment=os.environ,
    date=time.time,
    sleep_until=anyio.sleep_until,
    checkpoint=anyio.lowlevel.checkpoint,
    checkpoint_if_cancelled=anyio.lowlevel.checkpoint_if_cancelled,
)


@contextmanager
def os_errors() -> Iterator[None]:
    """Raise what the system said, where anyio or a stream wraps it."""
    try:
        yield
    except (OSError, anyio.EndOfStream):
        raise
    except Exception as error:
        if isinstance(error.__cause__, OSError):
            raise error.__cause__ from None
        raise OSError(repr(error)) from error


def addresses(sock: socket.socket) -> tuple[Any, Any]:
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
            await anyio.wait_readable(self._sock)

    def write(self, buffers: list[memoryview]) -> int:
        try:
            if len(buffers) == 1 or not hasattr(self._sock, "sendmsg"):
                return self._sock.send(buffers[0])
            return self._sock.sendmsg(buffers[:MAX_BUFFERS])
        except BlockingIOError:
            return 0

    async def wait_writable(self) -> None:
        with os_errors():
            await anyio.wait_writable(self._sock)

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
        anyio.notify_closing(self._sock)
        self._sock.close()


class StreamTransport(WaitingTransport):
    """Any byte stream of anyio. Writing to it always waits, and must not be cancelled."""

    def __init__(self, stream: ByteStream) -> None:
        super().__init__()
        self.stream = stream
        self.local_address = stream.extra(SocketAttribute.local_address, None)
        self.remote_address = stream.extra(SocketAttribute.remote_address, None)

    async def _receive(self) -> bytes:
        with os_errors():
            try:
                return await self.stream.receive(READ_SIZE)
            except anyio.EndOfStream:
                return b""

    async def _send(self, data: bytes) -> None:
        try:
            with os_errors():
                await self.stream.send(data)
        except anyio.EndOfStream as error:
            # TLS has been ended by the peer.
            raise OSError("the stream has ended") from error

    async def aclose(self) -> None:
        with os_errors():
            await self.stream.aclose()

    async def abort(self, reset: bool) -> None:
        with suppress(OSError), os_errors():
            await anyio.aclose_forcefully(self.stream)


def make_transport(stream: socket.socket | ByteStream) -> SocketTransport | StreamTransport:
    """Return what the core reads and writes a socket or a stream by."""
    return SocketTransport(stream) if isinstance(stream, socket.socket) else StreamTransport(stream)
