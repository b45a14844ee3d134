"""Leaving blocks: the close code that is sent, and the exception that leaves the block."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.adapters.runtimes import Cancelled, Runtime
from tests.adapters.runtimes.base import AMPLE, HOST, QUIET, Log, echo, wait_closed
from tests.core.helpers import CLOSE, Frame, close_payload
from tests.ports import free_port

needs_sockets = pytest.mark.needs("sockets")
needs_coroutines = pytest.mark.needs("coroutines")
both_streams = pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])


class Users(Exception):
    """What an application raises."""


def raise_if(wanted: bool) -> None:
    if wanted:
        raise Users


# Close codes


@needs_sockets
@both_streams
async def test_exception_closes_with_1011(runtime: Runtime, tls: bool) -> None:
    codes: list[Any] = []
    closed = runtime.event()

    async def handler(websocket: Any) -> None:
        await websocket.wait_closed()
        codes.append(websocket.close_code)
        closed.set()

    async with runtime.serving(handler, **runtime.server_tls(tls)) as (_, uri):
        with pytest.raises(Users):
            async with runtime.connect(uri, **runtime.client_tls(tls)) as client:
                raise Users
        assert client.closed
        await closed.wait()
    assert codes == [1011]


async def test_exception_in_the_block_of_a_connection_closes_with_1011(runtime: Runtime) -> None:
    async with runtime.connected() as (client, server):
        with pytest.raises(Users):
            async with client:
                raise Users
        await runtime.until(lambda: server.closed)
        assert server.close_code == 1011


@pytest.mark.needs("sockets", "features")
async def test_exception_in_a_loop_that_reconnects_closes_with_1011(runtime: Runtime) -> None:
    codes: list[Any] = []
    closed = runtime.event()

    async def handler(websocket: Any) -> None:
        await websocket.wait_closed()
        codes.append(websocket.close_code)
        closed.set()

    async def use() -> None:
        async with runtime.reconnect(uri) as connections:
            async for _ in connections:
                raise Users

    async with runtime.serving(handler) as (_, uri):
        with pytest.raises(Users):
            await use()
        await closed.wait()
    assert codes == [1011]


@needs_sockets
@both_streams
async def test_exception_after_the_peer_has_closed(runtime: Runtime, tls: bool) -> None:
    """The connection is closed already: its code stays."""

    async def handler(websocket: Any) -> None:
        await websocket.close(4000)

    async with runtime.serving(handler, **runtime.server_tls(tls)) as (_, uri):
        client = await runtime.open(uri, **runtime.client_tls(tls))
        await client.wait_closed()
        with pytest.raises(Users):
            async with client:
                raise Users
        assert client.close_code == 4000


@needs_sockets
@needs_coroutines
@both_streams
async def test_cancellation_closes_with_1001(runtime: Runtime, tls: bool) -> None:
    codes: list[Any] = []
    entered = runtime.event()

    async def handler(websocket: Any) -> None:
        await websocket.wait_closed()
        codes.append(websocket.close_code)

    async def use() -> None:
        async with runtime.connect(uri, **runtime.client_tls(tls)):
            entered.set()
            await runtime.event().wait()

    async with runtime.serving(handler, **runtime.server_tls(tls)) as (_, uri):
        using = runtime.spawn(use)
        await entered.wait()
        using.cancel()
        with pytest.raises(Cancelled):
            await using.result()
        await runtime.until(lambda: codes)
    assert codes == [1001]


# Exceptions


async def raise_in_finally(runtime: Runtime, entered: Any) -> None:
    """Wait to be cancelled, and raise."""
    entered.set()
    try:
        await runtime.event().wait()
    finally:
        raise Users


def blocks(runtime: Runtime, uri: str, **options: Any) -> dict[str, Callable[[Any], Awaitable[None]]]:
    """The blocks of a client, each with a body that waits to be cancelled, and raises."""

    async def connect(entered: Any) -> None:
        async with runtime.connect(uri, **options):
            await raise_in_finally(runtime, entered)

    async def connection(entered: Any) -> None:
        async with await runtime.open(uri, **options):
            await raise_in_finally(runtime, entered)

    async def reconnect(entered: Any) -> None:
        async with runtime.reconnect(uri, **options) as connections:
            async for _ in connections:
                await raise_in_finally(runtime, entered)

    return {"connect": connect, "connection": connection, "reconnect": reconnect}


@pytest.mark.needs("sockets", "coroutines", "features")
@pytest.mark.parametrize("kind", ["connect", "connection", "reconnect"])
@both_streams
async def test_exception_of_a_cancelled_block_comes_out(runtime: Runtime, kind: str, tls: bool) -> None:
    """Also if the block is cancelled again while it closes, and the peer does not answer."""
    async with runtime.raw_listener(tls=tls) as listener:
        options = {**QUIET, "close_timeout": 600, **runtime.client_tls(tls)}
        entered = runtime.event()
        using = runtime.spawn(blocks(runtime, listener.uri, **options)[kind], entered)
        peer = await listener.accept_and_answer()
        await entered.wait()
        using.cancel()
        # With structured concurrency, the connection is cancelled as well, and may be faster.
        assert await peer.read_frame() in [Frame(CLOSE, close_payload(code)) for code in (1001, 1011)]
        using.cancel()
        with pytest.raises(Users):
            await using.result()
        # The stream is closed in any case.
        assert await peer.read_frames_to_end_or_reset() == []


@needs_sockets
@needs_coroutines
async def test_exception_of_a_block_whose_time_is_over_comes_out(runtime: Runtime) -> None:
    """With the runtime's own timeout; what follows is not cancelled."""

    async def use() -> None:
        async with runtime.connect(uri):
            await raise_in_finally(runtime, runtime.event())

    async with runtime.serving(wait_closed) as (_, uri):
        with pytest.raises(Users):
            await runtime.timeout(AMPLE, use)
        await runtime.sleep(0.01)
        async with runtime.connect(uri) as client:
            assert client.open


@needs_sockets
@needs_coroutines
async def test_exception_of_a_cancelled_server_comes_out(runtime: Runtime) -> None:
    port = free_port()
    entered = runtime.event()
    release = runtime.event()

    async def handler(websocket: Any) -> None:
        """Keep the server from being closed."""
        await release.wait()

    async def use() -> None:
        async with runtime.serve(handler, HOST, port):
            await raise_in_finally(runtime, entered)

    serving = runtime.spawn(use)
    await entered.wait()
    async with runtime.connect(f"ws://{HOST}:{port}/") as client:
        serving.cancel()
        await client.wait_closed()
        serving.cancel()
        with pytest.raises(Users):
            await serving.result()
        release.set()


@needs_sockets
@pytest.mark.parametrize("leaving", [True, False], ids=["exception", "normal"])
@both_streams
async def test_close_that_raises(runtime: Runtime, leaving: bool, tls: bool) -> None:
    """The stream is closed in any case; the block's own exception comes out, and the other one is logged."""
    log = Log()

    class Broken(runtime.ClientConnection):  # type: ignore[name-defined,misc]
        def close(self, *args: Any) -> Any:
            raise ZeroDivisionError

    async with runtime.serving(echo, **runtime.server_tls(tls)) as (server, uri):
        options = {"create_protocol": Broken, "logger": log, **runtime.client_tls(tls)}
        client = await runtime.open(uri, **options)
        with pytest.raises(Users if leaving else ZeroDivisionError):
            async with client:
                raise_if(leaving)
        await runtime.until(lambda: client.closed and not server.connections)
    assert log.errors() == ([("closing failed", ZeroDivisionError)] if leaving else [])
