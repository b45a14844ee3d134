"""Streams of anyio as transports: plain sockets, and any other byte stream, such as TLS."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

import anyio
import anyio.lowlevel
from adapters.shared.runtimes import check_running
from adapters.shared.sockets import prepare_socket
from adapters.structured.runtime import Runtime
from adapters.structured.transport import (
    READ_SIZE,
    SocketTransport,
    Transport,
    WaitingTransport,
    addresses,
    close_socket,
    os_errors,
)
from anyio.abc import ByteStream, SocketAttribute
from anyio.streams.tls import TLSAttribute, TLSStream

__all__ = ["RUNTIME", "LowerStream", "StreamTransport", "make_transport"]


def get_clock() -> Callable[[], float]:
    """Return the clock that the loop's deadlines go by."""
    # On asyncio that is this one, which uvloop rounds.
    on_asyncio = anyio.get_cancelled_exc_class().__module__.startswith("asyncio")
    return time.monotonic if on_asyncio else anyio.current_time


RUNTIME = Runtime(
    check_running=partial(check_running, "adapters.anyio", "asyncio", "trio"),
    stream_methods=("receive", "send", "aclose", "extra"),
    make_event=anyio.Event,
    open_tasks=anyio.create_task_group,
    open_scope=lambda deadline: anyio.CancelScope(deadline=deadline),
    get_clock=get_clock,
    environment=os.environ,
    date=time.time,
    sleep_until=anyio.sleep_until,
    checkpoint=anyio.lowlevel.checkpoint,
    checkpoint_if_cancelled=anyio.lowlevel.checkpoint_if_cancelled,
    current_task=lambda: anyio.get_current_task().id,
    getaddrinfo=anyio.getaddrinfo,
    wait_readable=anyio.wait_readable,
    wait_writable=anyio.wait_writable,
    notify_closing=anyio.notify_closing,
)


class LowerStream(ByteStream):
    """A socket that TLS goes over. That writing to it fails is not told to TLS, which would not be read then.

    What the peer has sent before it left, its close frame first of all, is still to be decrypted. A
    stream of anyio's own would not even read it on asyncio.

    Attributes:
        error: what went wrong in writing, if anything did: nothing has been written since.
    """

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._socket = sock
        self._addresses = addresses(sock)
        self.error: OSError | None = None

    async def receive(self, max_bytes: int = READ_SIZE) -> bytes:
        while True:
            try:
                data = self._socket.recv(max_bytes)
            except BlockingIOError:
                await anyio.wait_readable(self._socket)
            else:
                break
        if not data:
            raise anyio.EndOfStream
        return data

    async def send(self, item: bytes) -> None:
        await anyio.lowlevel.checkpoint()
        left = memoryview(item)
        try:
            while left and self.error is None:
                try:
                    left = left[self._socket.send(left) :]
                except BlockingIOError:
                    await anyio.wait_writable(self._socket)
        except OSError as error:
            self.error = error

    async def send_eof(self) -> None:
        self._socket.shutdown(socket.SHUT_WR)

    async def aclose(self) -> None:
        await close_socket(RUNTIME, self._socket)
        await anyio.lowlevel.checkpoint()

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        local, remote = self._addresses
        return {
            SocketAttribute.family: lambda: self._socket.family,
            SocketAttribute.local_address: lambda: local,
            SocketAttribute.remote_address: lambda: remote,
            SocketAttribute.raw_socket: lambda: self._socket,
        }


class StreamTransport(WaitingTransport):
    """Any byte stream of anyio. Writing to it always waits, and must not be cancelled."""

    def __init__(self, stream: ByteStream) -> None:
        super().__init__()
        self.stream = stream
        lowest: Any = stream
        while isinstance(lowest, TLSStream):
            lowest = lowest.transport_stream
        self._lower = lowest if isinstance(lowest, LowerStream) else None
        self.ssl_object = stream.extra(TLSAttribute.ssl_object, None)
        self.local_address = stream.extra(SocketAttribute.local_address, None)
        self.remote_address = stream.extra(SocketAttribute.remote_address, None)
        sock = stream.extra(SocketAttribute.raw_socket, None)
        if sock is not None:
            prepare_socket(sock)

    async def _receive(self) -> bytes:
        with os_errors():
            try:
                return await self.stream.receive(READ_SIZE)
            except anyio.EndOfStream:
                return b""

    async def _send(self, data: bytes) -> None:
        with os_errors():
            try:
                await self.stream.send(data)
            except anyio.EndOfStream as error:
                # TLS has been ended by the peer.
                raise OSError("the stream has ended") from error
            if self._lower is not None and self._lower.error is not None:
                raise self._lower.error

    async def aclose(self) -> None:
        with os_errors():
            await self.stream.aclose()

    async def abort(self, reset: bool) -> None:
        with suppress(OSError), os_errors():
            await anyio.aclose_forcefully(self.stream)


def make_transport(stream: socket.socket | ByteStream) -> Transport:
    """Return what we read and write a socket or a stream by."""
    return SocketTransport(RUNTIME, stream) if isinstance(stream, socket.socket) else StreamTransport(stream)
