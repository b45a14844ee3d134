"""Entering once: the objects that `connect`, `reconnect` and `serve` return are for one use."""

from __future__ import annotations

from typing import Any

import pytest

from tests.adapters.runtimes import Runtime
from tests.adapters.runtimes.base import HOST, echo, wait_closed
from tests.core.helpers import CLOSE, Frame, close_payload
from tests.ports import free_port
from wsproto_core import ConcurrencyError

pytestmark = pytest.mark.needs("sockets", "features")


async def enter(block: Any) -> Any:
    """Enter a block of the adapter's own."""
    return await block.__aenter__() if hasattr(block, "__aenter__") else block.__enter__()


async def leave(block: Any) -> None:
    if hasattr(block, "__aexit__"):
        await block.__aexit__(None, None, None)
    else:
        block.__exit__(None, None, None)


def native_connect(runtime: Runtime, uri: str) -> Any:
    return runtime.adapter.connect(uri)


async def test_connect_entered_within_its_own_block(runtime: Runtime) -> None:
    async with runtime.serving(wait_closed) as (server, uri):
        connecting = native_connect(runtime, uri)
        client = await enter(connecting)
        with pytest.raises(RuntimeError, match=r"what connect\(\) returned .* once: call connect\(\)"):
            await enter(connecting)
        # The first one is untouched, and there is no other.
        assert client.open
        await runtime.until(lambda: server.connections)
        assert len(server.connections) == 1
        await leave(connecting)
        assert client.closed


async def test_connect_entered_after_its_block(runtime: Runtime) -> None:
    async with runtime.serving(wait_closed) as (_, uri):
        connecting = native_connect(runtime, uri)
        await enter(connecting)
        await leave(connecting)
        with pytest.raises(RuntimeError, match="once"):
            await enter(connecting)


async def test_connect_entered_again_after_a_failure(runtime: Runtime) -> None:
    connecting = native_connect(runtime, f"ws://{HOST}:{free_port()}/")
    with pytest.raises(OSError, match=r"refused|failed"):
        await enter(connecting)
    with pytest.raises(RuntimeError, match="once"):
        await enter(connecting)


async def test_connect_entered_by_two_tasks(runtime: Runtime) -> None:
    async with runtime.serving(wait_closed) as (server, uri):
        connecting = native_connect(runtime, uri)
        errors: list[Exception] = []
        done = runtime.event()

        async def use() -> None:
            try:
                await enter(connecting)
            except RuntimeError as error:
                errors.append(error)
                done.set()
            else:
                await done.wait()
                await leave(connecting)

        for task in [runtime.spawn(use), runtime.spawn(use)]:
            await task.result()
        assert len(errors) == 1
        await runtime.until(lambda: not server.connections)


async def test_reconnect_entered_twice(runtime: Runtime) -> None:
    async with runtime.serving(wait_closed) as (_, uri):
        block = runtime.adapter.reconnect(uri)
        await enter(block)
        with pytest.raises(RuntimeError, match=r"what reconnect\(\) returned"):
            await enter(block)
        await leave(block)


async def test_two_tasks_ask_for_the_next_connection(runtime: Runtime) -> None:
    """The second one would take the place of the first, which would never be closed."""
    async with runtime.raw_listener() as listener:

        async def use() -> None:
            await anext(connections)

        async with runtime.reconnect(listener.uri) as connections:
            asking = runtime.spawn(use)
            peer = await listener.accept()
            with pytest.raises(ConcurrencyError, match="next connection"):
                await anext(connections)
            await peer.answer()
            await asking.result()
            # The server has no more to say.
            await peer.send(Frame(CLOSE, close_payload(1000)))
            peer.end()


@pytest.mark.needs("coroutines")
async def test_serve_entered_twice(runtime: Runtime) -> None:
    serving = runtime.adapter.serve(echo, HOST, 0)
    server = await enter(serving)
    with pytest.raises(RuntimeError, match=r"what serve\(\) returned"):
        await enter(serving)
    assert server.is_serving()
    async with runtime.connect(runtime.uri_of(server)) as client:
        await runtime.check_echo(client)
    await leave(serving)
    with pytest.raises(RuntimeError, match="once"):
        await enter(serving)
