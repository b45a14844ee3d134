"""A client's streams, on runtimes with structured concurrency: sockets, proxies, TLS."""

from __future__ import annotations

import contextlib
import math
import socket
from collections import deque
from collections.abc import Iterable
from typing import Any

from ..shared.client import Connecting
from ..shared.connection import advance
from ..shared.streams import ClientStream
from ..shared.tls import client_context
from .runtime import Runtime
from .transport import SocketTransport, Transport, os_errors

__all__ = ["make_transport", "open_transport", "start_tls"]


async def open_transport(runtime: Runtime, connecting: Connecting) -> Transport:
    """Connect to the server, through the proxy if there is one, TLS included."""
    opened = StructuredStream(runtime)
    await opened.open(connecting)
    return make_transport(runtime, opened.stream)


class StructuredStream(ClientStream):
    """A socket or a stream of the runtime.

    Attributes:
        stream: the socket or stream; ``None`` before there is one.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self.stream: Any = None
        self._getaddrinfo = runtime.getaddrinfo
        self._socks = runtime.socks

    def use(self, stream: Any) -> None:
        self.stream = stream

    async def wait_writable(
        self, sockets: Iterable[socket.socket], seconds: float | None
    ) -> Iterable[socket.socket]:
        runtime = self._runtime
        writable: list[socket.socket] = []

        async def wait(sock: socket.socket) -> None:
            # The socket has the error as well.
            with contextlib.suppress(OSError):
                await runtime.wait_writable(sock)
            writable.append(sock)
            tasks.cancel_scope.cancel()

        with runtime.open_scope(deadline=math.inf if seconds is None else runtime.get_clock()() + seconds):
            async with runtime.open_tasks() as tasks:
                for sock in sockets:
                    tasks.start_soon(wait, sock)
        return writable

    async def sleep(self, seconds: float) -> None:
        await self._runtime.sleep_until(self._runtime.get_clock()() + seconds)

    async def start_tls(self, context: Any, server_hostname: str | None) -> None:
        stream, self.stream = self.stream, None
        self.stream = await start_tls(self._runtime, stream, context, server_hostname)

    async def send(self, data: bytes) -> None:
        transport, buffers = make_transport(self._runtime, self.stream), deque([memoryview(data)])
        while buffers:
            count = transport.write(buffers)
            advance(buffers, count)
            if not count:
                await transport.wait_writable()

    async def receive(self) -> bytes:
        transport = make_transport(self._runtime, self.stream)
        while (data := transport.read()) is None:
            with os_errors():
                await transport.wait_readable()
        return data

    async def close(self) -> None:
        if self.stream is not None:
            await make_transport(self._runtime, self.stream).abort(False)


def make_transport(runtime: Runtime, stream: Any) -> Transport:
    """Return the transport of a socket or of a stream of the runtime.

    A stream that is a plain socket loses the socket to the transport.
    """
    sock = runtime.take_socket(stream)
    transport: Transport = runtime.make_transport(stream) if sock is None else SocketTransport(runtime, sock)
    return transport


async def start_tls(
    runtime: Runtime, stream: Any, context: Any, server_hostname: str | None, server_side: bool = False
) -> Any:
    """Do TLS's handshake, or close the stream.

    Args:
        runtime: the adapter's.
        stream: a socket or a stream of the runtime.
        context: certificates and settings; ``True`` or ``None`` for a client's default.
        server_hostname: on a client, the name that the server's certificate must have.
        server_side: whether this is the server.

    Returns:
        A stream of the runtime.

    Raises:
        OSError: the handshake failed.
    """
    lower = runtime.make_lower_stream(stream)
    try:
        with os_errors():
            return await runtime.start_tls(lower, client_context(context), server_hostname, server_side)
    except BaseException:
        await runtime.close_forcefully(lower)
        raise
