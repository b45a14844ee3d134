"""What `connect` and `serve` return is for one use: the ways to use it that a runtime alone has."""

from __future__ import annotations

import pytest
import trio

import adapters.asyncio
import adapters.threading
import adapters.trio
from adapters import websockets
from tests.adapters.runtimes import Runtime
from tests.adapters.runtimes.base import HOST, echo

ONCE = "once: call connect"


async def test_awaited_twice(runtime: Runtime) -> None:
    for connect in (adapters.asyncio.connect, websockets.connect):
        async with runtime.serving() as (_, uri):
            connecting = connect(uri)
            client = await connecting
            with pytest.raises(RuntimeError, match=ONCE):
                await connecting
            with pytest.raises(RuntimeError, match=ONCE):
                await connecting.__aenter__()
            await runtime.check_echo(client)
            await client.close()


async def test_serve_awaited_twice() -> None:
    serving = adapters.asyncio.serve(echo, HOST, 0)
    async with await serving as server:
        with pytest.raises(RuntimeError, match=r"what serve\(\) returned"):
            await serving
        assert server.is_serving()


async def test_iterated_over_twice(runtime: Runtime) -> None:
    """Each iteration opens connections of its own."""
    async with runtime.serving() as (_, uri):
        connecting = adapters.asyncio.connect(uri)
        for _ in range(2):
            connections = aiter(connecting)
            await runtime.check_echo(await anext(connections))
            await connections.aclose()  # type: ignore[attr-defined]


def test_awaited_twice_with_a_nursery() -> None:
    async def main() -> None:
        async with adapters.trio.serve(echo, HOST, 0) as server, trio.open_nursery() as nursery:
            assert server.sockets is not None
            uri = f"ws://{HOST}:{server.sockets[0].getsockname()[1]}/"
            connecting = adapters.trio.connect(uri, nursery=nursery)
            client = await connecting
            with pytest.raises(RuntimeError, match=ONCE):
                await connecting
            await client.close()

    trio.run(main)


def test_called_twice() -> None:
    with adapters.threading.serve(lambda websocket: websocket.wait_closed(), HOST, 0) as server:
        assert server.sockets is not None
        uri = f"ws://{HOST}:{server.sockets[0].getsockname()[1]}/"
        connecting = adapters.threading.connect(uri)
        with connecting() as client:
            with pytest.raises(RuntimeError, match=ONCE):
                connecting()
            with pytest.raises(RuntimeError, match=ONCE):
                connecting.__enter__()
            assert client.open


def test_server_of_threads_entered_when_it_is_closed() -> None:
    server = adapters.threading.serve(lambda websocket: None, HOST, 0)
    with server:
        pass
    with pytest.raises(RuntimeError, match=r"the server is closed: call serve\(\) again"):
        server.__enter__()
