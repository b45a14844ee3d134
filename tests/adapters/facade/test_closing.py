"""How connections of the facade end: blocks and close codes."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest

from adapters.websockets.client import connect
from adapters.websockets.exceptions import ConnectionClosed, ConnectionClosedError, ConnectionClosedOK
from tests.adapters.runtimes import Runtime
from tests.adapters.runtimes.base import QUIET
from tests.core.helpers import CLOSE, Frame

from .peers import connected, idle, serving

# Blocks


async def test_block_that_an_exception_leaves(runtime: Runtime) -> None:
    codes = []

    async def handler(websocket: Any, path: str) -> None:
        await websocket.wait_closed()
        codes.append(websocket.close_code)

    async def block(uri: str) -> None:
        async with connect(uri):
            raise KeyError("wrong")

    async with serving(handler) as (_, uri):
        with pytest.raises(KeyError, match="wrong"):
            await block(uri)
        await runtime.until(lambda: codes)
        assert codes == [1011]


async def test_block_that_is_cancelled(runtime: Runtime) -> None:
    async with serving(idle) as (server, uri):
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.3), connect(uri):
                await asyncio.Event().wait()
        await runtime.until(lambda: not server.connections)


async def test_block_that_ends() -> None:
    async with connected() as (client, server):
        await client.__aexit__(None, None, None)
        await server.wait_closed()
        assert server.close_code == 1000


# Close codes


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (1000, ConnectionClosedOK),
        (1001, ConnectionClosedOK),
        (1005, ConnectionClosedError),
        (1002, ConnectionClosedError),
        (4000, ConnectionClosedError),
    ],
)
@pytest.mark.parametrize("server_closes", [False, True])
async def test_good_ends_are_those_that_are_documented(
    code: int, error: type[ConnectionClosed], server_closes: bool
) -> None:
    """A close frame without a code is none of them, as a browser's ``close()`` sends."""
    async with connected() as ends:
        closing, other = reversed(ends) if server_closes else ends
        waiter = await other.ping()
        await waiter
        closed = asyncio.ensure_future(closing.close(code))
        with pytest.raises(error) as raised:
            await other.recv()
        assert type(raised.value) is error
        assert raised.value.code == code
        for call in (other.recv, lambda: other.send("x"), other.ping, other.pong, closing.recv):
            with pytest.raises(error) as raised:
                await call()
            assert type(raised.value) is error
        if error is ConnectionClosedOK:
            assert [message async for message in other] == []
        else:
            with pytest.raises(error):
                await anext(aiter(other))
        await closed


async def test_pings_of_a_connection_that_ends_without_a_code(runtime: Runtime) -> None:
    async with runtime.raw_listener() as listener:
        connecting = asyncio.ensure_future(connect(listener.uri, **QUIET, close_timeout=0.2))
        peer = await listener.accept_and_answer()
        client: Any = await connecting
        waiter = await client.ping()
        await peer.send(Frame(CLOSE))
        with pytest.raises(ConnectionClosedError) as raised:
            await waiter
        assert raised.value.code == 1005
        peer.close()
        await client.wait_closed()
