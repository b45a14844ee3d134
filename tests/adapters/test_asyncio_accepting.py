"""TLS on streams that asyncio has accepted: what comes before it, with its end, and instead of it."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest

from adapters.asyncio import serve
from tests.adapters.runtimes import Runtime
from tests.adapters.runtimes.base import HOST, Log, client_context, echo, server_context
from tests.adapters.runtimes.peers import RawClient, SocketStream, Stream, TLSStream
from tests.core.helpers import TEXT, Frame, request


class Altered(Stream):
    """A stream that writes in another way."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.read = stream.read  # type: ignore[method-assign]
        self.end, self.reset, self.close = stream.end, stream.reset, stream.close  # type: ignore[method-assign]

    async def read(self) -> bytes:
        raise NotImplementedError

    async def write(self, data: bytes) -> None:
        raise NotImplementedError

    end = reset = close = lambda self: None


class Dripping(Altered):
    async def write(self, data: bytes) -> None:
        for byte in data:
            await self.stream.write(bytes([byte]))
            await asyncio.sleep(0)


class Holding(Altered):
    """Keeps what is written from the second time on, until it is let go."""

    def __init__(self, stream: Stream) -> None:
        super().__init__(stream)
        self.held = b""
        self.begun = False

    async def write(self, data: bytes) -> None:
        if self.begun:
            self.held += data
        else:
            self.begun = True
            await self.stream.write(data)

    async def let_go(self) -> None:
        await self.stream.write(self.held)


async def test_deadlines_of_the_event_loop_are_kept(runtime: Runtime) -> None:
    options: Any = {"ssl": server_context(), "open_timeout": None, "ssl_handshake_timeout": 0.3}
    async with (
        serve(echo, HOST, 0, ssl_shutdown_timeout=0.3, **options) as server,
        runtime.raw_connection(server) as peer,
    ):
        await runtime.until(lambda: server.connections)
        with contextlib.suppress(ConnectionResetError):
            assert await peer.read_to_end() == b""
        await runtime.until(lambda: not server.connections)


@pytest.mark.parametrize("size", [1, 1000, 10**5])
async def test_frames_that_come_with_the_end_of_the_handshake(runtime: Runtime, size: int) -> None:
    """The request and a message in the same segments as the client's last flight of TLS's handshake."""
    async with serve(echo, HOST, 0, ssl=server_context(), compression=None) as server:
        for _ in range(5):
            async with runtime.raw_connection(server) as plain:
                holding = Holding(plain.stream)
                tls = TLSStream(holding, client_context(), server_hostname=HOST)
                await tls.handshake()
                peer = RawClient(tls)
                await peer.send(request(), Frame(TEXT, b"x" * size))
                await holding.let_go()
                assert (await peer.read_head()).status == 101
                assert await peer.read_frame() == Frame(TEXT, b"x" * size)


async def test_handshake_byte_by_byte(runtime: Runtime) -> None:
    async with (
        serve(echo, HOST, 0, ssl=server_context(), compression=None) as server,
        runtime.raw_connection(server) as plain,
    ):
        tls = TLSStream(Dripping(plain.stream), client_context(), server_hostname=HOST)
        await tls.handshake()
        peer = RawClient(tls)
        await peer.send(request())
        assert (await peer.read_head()).status == 101


@pytest.mark.parametrize("how", ["end", "reset", "close"])
@pytest.mark.parametrize("flights", [0, 1, 2])
async def test_client_that_leaves_within_the_handshake(runtime: Runtime, how: str, flights: int) -> None:
    """Before it, after its first flight, and with a request that comes with the second."""
    log = Log()
    async with serve(echo, HOST, 0, ssl=server_context(), logger=log) as server:
        async with runtime.raw_connection(server) as plain:
            holding = Holding(plain.stream)
            if flights:
                tls = TLSStream(holding, client_context(), server_hostname=HOST)
                await tls.handshake()
                await tls.write(request())
            if flights == 2:
                await holding.let_go()
            getattr(plain, how)()
            await runtime.settle(0.1)
            await runtime.until(lambda: not server.connections)
        assert isinstance(plain.stream, SocketStream)
        await runtime.until(lambda: not server.connections)
    assert not log.errors()
