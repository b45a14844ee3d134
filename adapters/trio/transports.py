"""Streams of trio as transports: plain sockets, and any other stream, such as TLS."""

from __future__ import annotations

import os
import socket
import ssl
import time
from contextlib import suppress
from functools import partial
from typing import Any

import trio
from adapters.shared.runtimes import check_running
from adapters.structured.runtime import Runtime
from adapters.structured.transport import (
    READ_SIZE,
    SocketTransport,
    Transport,
    WaitingTransport,
    addresses,
    os_errors,
)

__all__ = ["RUNTIME", "LowerStream", "StreamTransport", "make_transport"]

RUNTIME = Runtime(
    check_running=partial(check_running, "adapters.trio", "trio"),
    stream_methods=("receive_some", "send_all", "aclose"),
    make_event=trio.Event,
    open_tasks=trio.open_nursery,
    open_scope=lambda deadline: trio.CancelScope(deadline=deadline),
    get_clock=lambda: trio.current_time,
    environment=os.environ,
    date=time.time,
    sleep_until=trio.sleep_until,
    checkpoint=trio.lowlevel.checkpoint,
    checkpoint_if_cancelled=trio.lowlevel.checkpoint_if_cancelled,
    current_task=trio.lowlevel.current_task,
    getaddrinfo=trio.socket.getaddrinfo,
    wait_readable=trio.lowlevel.wait_readable,
    wait_writable=trio.lowlevel.wait_writable,
    notify_closing=trio.lowlevel.notify_closing,
)


class LowerStream(trio.abc.Stream):
    """What TLS goes over. That writing to it fails is not told to TLS, which would not be read any more then.

    What the peer has sent before it left, its close frame first of all, is still to be decrypted.

    Attributes:
        transport_stream: the stream itself.
        error: what went wrong in writing, if anything did: nothing has been written since.
    """

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.transport_stream = stream
        self.error: trio.BrokenResourceError | None = None

    async def send_all(self, data: Any) -> None:
        if self.error is not None:
            await trio.lowlevel.checkpoint()
            return
        try:
            await self.transport_stream.send_all(data)
        except trio.BrokenResourceError as error:
            self.error = error

    async def wait_send_all_might_not_block(self) -> None:
        await self.transport_stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> Any:
        return await self.transport_stream.receive_some(max_bytes)

    async def aclose(self) -> None:
        await self.transport_stream.aclose()


class StreamTransport(WaitingTransport):
    """Any stream of trio. Writing to it always waits, and must not be cancelled."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        super().__init__()
        self.stream = stream
        self._lower: LowerStream | None = None
        self.ssl_object = None
        # TLS on a stream of the application's own may have its handshake before it.
        if isinstance(stream, trio.SSLStream):
            with suppress(trio.NeedHandshakeError):
                stream.version()
                self.ssl_object = stream
        lowest: Any = stream
        while not isinstance(lowest, trio.SocketStream) and hasattr(lowest, "transport_stream"):
            lowest = lowest.transport_stream
            if isinstance(lowest, LowerStream):
                self._lower = lowest
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
            if self._lower is not None and self._lower.error is not None:
                raise self._lower.error

    async def aclose(self) -> None:
        with os_errors():
            await self.stream.aclose()

    async def abort(self, reset: bool) -> None:
        with suppress(OSError), os_errors():
            await trio.aclose_forcefully(self.stream)


def make_transport(stream: trio.abc.Stream) -> Transport:
    """Return what we read and write a stream by; a socket's is taken out of it."""
    if isinstance(stream, trio.SocketStream):
        return SocketTransport(RUNTIME, socket.socket(fileno=stream.socket.detach()))
    return StreamTransport(stream)
