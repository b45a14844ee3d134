"""Transports: streams whose calls do not wait, for sockets and for streams of the runtime."""

from __future__ import annotations

import socket
import struct
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from typing import Any, TypeAlias
from typing import Protocol as Interface

from ..shared.connection import first_bytes
from ..shared.sockets import addresses_of, prepare_socket
from .runtime import Runtime

__all__ = [
    "READ_SIZE",
    "WRITE_SIZE",
    "SocketTransport",
    "Transport",
    "WaitingTransport",
    "close_socket",
    "os_error",
    "os_errors",
]

READ_SIZE = 2**16
"""Bytes read at once."""

WRITE_SIZE = 2**14
"""Bytes given at once to a stream that does not tell how far it has come: a record of TLS."""

_MAX_BUFFERS = 256
"""Buffers written at once; systems have a limit of their own, which is 1024 on most."""


Buffers: TypeAlias = Collection[bytes | memoryview]
"""What is to be written, in order."""


class Transport(Interface):
    """A stream whose operations do not wait; waiting is apart.

    Each raises :exc:`OSError` when the stream is broken. One task at a time reads, one writes.

    Attributes:
        has_halves: whether one half can be ended alone.
        writes_at_once: whether writing ever takes no waiting.
        waits_yield: whether other tasks run in each wait.
        stream: the socket or stream that the application sees as ``transport``.
        local_address, remote_address: where it leads, if that is known.
        ssl_object: an :class:`ssl.SSLObject`, or an object with its methods; ``None`` without TLS.
    """

    has_halves: bool
    writes_at_once: bool
    waits_yield: bool
    stream: Any
    local_address: Any
    remote_address: Any
    ssl_object: Any

    def read(self, size: int = READ_SIZE) -> bytes | None:
        """Return bytes, none at the end of the stream; ``None`` if one has to wait for them.

        Args:
            size: how many at most; more, if they are in memory already.
        """

    def wait_readable(self) -> Awaitable[object]:
        """Wait until there is something to read. Cancelling it loses nothing.

        What it raises is not always an :exc:`OSError`: see :func:`os_error`.
        """

    def write(self, buffers: Buffers) -> int:
        """Write as far as that takes no waiting; return the number of bytes written."""

    async def wait_writable(self) -> object:
        """Wait until more can be written."""

    def send_eof(self) -> object:
        """End the sending half."""

    async def aclose(self) -> object:
        """Close the stream in order."""

    async def abort(self, reset: bool) -> object:
        """Close the stream at once, if it is not closed yet, without waiting for anything.

        Args:
            reset: whether unsent data is dropped, if there is a choice.
        """


@contextmanager
def os_errors() -> Iterator[None]:
    """Raise the system's error where the runtime or a stream wraps it in another one."""
    try:
        yield
    except Exception as error:
        wrapped = os_error(error)
        if wrapped is error:
            raise
        raise wrapped from wrapped.__cause__


def os_error(error: Exception) -> OSError:
    """Return the system's error for an exception of the runtime or of a stream, which may wrap it."""
    if isinstance(error, OSError):
        return error
    if isinstance(error.__cause__, OSError):
        return error.__cause__
    unknown = OSError(repr(error))
    unknown.__cause__ = error
    return unknown


async def close_socket(runtime: Runtime, sock: socket.socket) -> None:
    """Close a socket that a task may wait for.

    On anyio, a task that waits for the socket gives the descriptor's number up when it runs next. Until then,
    no other socket may get the number, or no task would be told when that socket can be read. And no task may
    begin to wait for the number: so the socket has lost it already.
    """
    if sock.fileno() < 0:
        return
    runtime.notify_closing(sock)
    descriptor = sock.detach()
    try:
        with runtime.open_scope() as scope:
            scope.shield = True
            await runtime.checkpoint()
    finally:
        socket.close(descriptor)


class SocketTransport:
    """A socket of our own, which is read and written without waiting whenever that is possible."""

    has_halves = True
    writes_at_once = True
    waits_yield = True
    ssl_object = None

    def __init__(self, runtime: Runtime, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._runtime = runtime
        self.stream = self._sock = sock
        self.local_address, self.remote_address = addresses_of(sock)
        prepare_socket(sock)

    def read(self, size: int = READ_SIZE) -> bytes | None:
        try:
            return self._sock.recv(size)
        except BlockingIOError:
            return None

    def wait_readable(self) -> Awaitable[object]:
        return self._runtime.wait_readable(self._sock)

    def write(self, buffers: Buffers) -> int:
        try:
            if len(buffers) == 1 or not hasattr(self._sock, "sendmsg"):
                return self._sock.send(next(iter(buffers)))
            return self._sock.sendmsg(islice(buffers, _MAX_BUFFERS))
        except BlockingIOError:
            return 0

    async def wait_writable(self) -> None:
        with os_errors():
            await self._runtime.wait_writable(self._sock)

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
        await close_socket(self._runtime, self._sock)


class WaitingTransport(ABC):
    """A stream of the runtime, whose every operation waits, such as TLS.

    Received data is stored until it is read, and data to send until it has been sent. Sending must not be
    cancelled.
    """

    has_halves = False
    writes_at_once = False
    waits_yield = False
    ssl_object: Any = None
    local_address: Any = None
    remote_address: Any = None

    def __init__(self, stream: Any, close_forcefully: Callable[[Any], Awaitable[object]]) -> None:
        """
        Args:
            stream: the stream.
            close_forcefully: closes it at once.
        """
        self.stream = stream
        self._close_forcefully = close_forcefully
        self._received: bytes | None = None
        self._to_send = b""
        self._sent = 0

    @abstractmethod
    async def _receive(self) -> bytes:
        """Wait for bytes; return none at the end of the stream."""

    @abstractmethod
    async def _send(self, data: bytes) -> object:
        """Send bytes, and wait until they are sent."""

    def read(self, size: int = READ_SIZE) -> bytes | None:
        received, self._received = self._received, None
        return received

    async def wait_readable(self) -> None:
        if self._received is None:
            self._received = await self._receive()

    def write(self, buffers: Buffers) -> int:
        sent, self._sent = self._sent, 0
        if not sent:
            self._to_send = first_bytes(buffers, WRITE_SIZE)
        return sent

    async def wait_writable(self) -> None:
        with os_errors():
            await self._send(self._to_send)
        self._sent = len(self._to_send)

    def send_eof(self) -> None:
        raise NotImplementedError

    async def aclose(self) -> None:
        with os_errors():
            await self.stream.aclose()

    async def abort(self, reset: bool) -> None:
        with suppress(OSError), os_errors():
            await self._close_forcefully(self.stream)
