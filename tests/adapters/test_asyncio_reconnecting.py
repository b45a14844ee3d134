"""`async for websocket in connect(...)`, which asyncio has beside `reconnect`."""

from __future__ import annotations

import socket
from contextlib import aclosing
from typing import Any

import pytest

from adapters.asyncio import connect
from wsproto_core import ConnectionClosed, InvalidStatusCode, State

from .runtimes import Runtime
from .runtimes.base import HOST


async def send_one(websocket: Any) -> None:
    await websocket.send("one")


async def test_iterating_over_connections(runtime: Runtime) -> None:
    seen = []
    async with runtime.serving(send_one) as (server, uri):
        async with aclosing(aiter(connect(uri, reconnect_delays=[0] * 9))) as connections:
            async for websocket in connections:
                assert await websocket.recv() == "one"
                with pytest.raises(ConnectionClosed):
                    await websocket.recv()
                assert all(earlier.state is State.CLOSED for earlier in seen)
                seen.append(websocket)
                if len(seen) == 3:
                    break
        await runtime.until(lambda: not server.connections)
    assert len(set(seen)) == 3


async def test_fatal_error_ends_the_iteration(runtime: Runtime) -> None:
    async with runtime.serving(process_request=lambda path, headers: (404, {}, b"")) as (_, uri):
        with pytest.raises(InvalidStatusCode, match="404"):
            await anext(aiter(connect(uri)))


async def test_socket_is_good_for_one_connection_only() -> None:
    with socket.socket() as sock, pytest.raises(ValueError, match="sock must not be given for reconnecting"):
        await anext(aiter(connect(f"ws://{HOST}/", sock=sock)))


def test_options_are_checked_without_an_event_loop() -> None:
    with pytest.raises(TypeError, match="'familly'; did you mean 'family'"):
        connect("ws://localhost/", familly=2)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="family must be an int"):
        connect("ws://localhost/", family="AF_INET")  # type: ignore[arg-type]
    connect("ws://localhost/", family=socket.AF_INET, happy_eyeballs_delay=0.1)
