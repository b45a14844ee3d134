"""Calls on a closed connection: each lets other tasks run before it raises an exception."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.adapters.runtimes import Runtime
from tests.adapters.runtimes.base import QUIET
from tests.core.helpers import CLOSE, Frame, close_payload
from wsproto_core import ConnectionClosed

# Without an event loop there is nothing to hold up.
pytestmark = pytest.mark.needs("sockets")

ENOUGH = 100_000
"""Calls after which others should long have run."""


async def iterate(websocket: Any) -> None:
    async for _ in websocket:
        pass


async def receive_in_pieces(websocket: Any) -> None:
    async for _ in websocket.recv_streaming():
        pass


CALLS: dict[str, Callable[[Any], Awaitable[Any]]] = {
    "recv": lambda websocket: websocket.recv(),
    "iteration": iterate,
    "recv_streaming": receive_in_pieces,
    "send": lambda websocket: websocket.send("a"),
    "fragments": lambda websocket: websocket.send(["a", "b"]),
    "ping": lambda websocket: websocket.ping(),
    "pong": lambda websocket: websocket.pong(),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("code", [1000, 1011])
async def test_a_loop_that_swallows_the_exception_stops_nobody(
    runtime: Runtime, call: str, code: int
) -> None:
    async with runtime.raw_server() as (peer, client):
        # Nobody ends TCP: the connection stays in state CLOSING.
        await peer.send(Frame(CLOSE, close_payload(code)))
        with pytest.raises(ConnectionClosed):
            await client.recv()
        others = runtime.event()

        async def run_beside() -> None:
            await runtime.sleep(0)
            others.set()

        runtime.spawn(run_beside)
        for _ in range(ENOUGH):
            with contextlib.suppress(ConnectionClosed):
                await CALLS[call](client)
            if others.is_set():
                break
        assert others.is_set()
        peer.end()
        await client.wait_closed()


@pytest.mark.parametrize("call", CALLS)
async def test_a_loop_until_the_connection_is_closed_ends(runtime: Runtime, call: str) -> None:
    ended = runtime.event()
    count = 0

    async def handler(websocket: Any) -> None:
        nonlocal count
        with pytest.raises(ConnectionClosed):
            await websocket.recv()
        while not websocket.closed and count < ENOUGH:
            count += 1
            with contextlib.suppress(ConnectionClosed):
                await CALLS[call](websocket)
        ended.set()

    async with runtime.serving(handler, **QUIET) as (server, _), runtime.raw_client(server) as peer:
        await peer.send(Frame(CLOSE, close_payload(1000)))
        assert (await peer.read_frames_to_end())[-1].opcode == CLOSE
        peer.close()
        await ended.wait()
        assert count < ENOUGH
