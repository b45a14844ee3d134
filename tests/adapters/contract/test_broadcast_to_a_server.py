"""Broadcasts to all connections of a server: clients come and go meanwhile."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest

from tests.adapters.runtimes import Runtime
from tests.adapters.runtimes.base import QUIET, wait_closed
from wsproto_core import ConnectionClosed

pytestmark = pytest.mark.needs("sockets")


async def test_while_clients_come_and_go(runtime: Runtime) -> None:
    stop = runtime.event()

    async def come_and_go(uri: str) -> None:
        while not stop.is_set():
            with contextlib.suppress(ConnectionClosed):
                async with runtime.connect(uri, **QUIET) as client:
                    await client.recv()

    async with (
        runtime.serving(wait_closed, **QUIET) as (server, uri),
        runtime.connect(uri, **QUIET) as stays,
    ):
        await runtime.until(lambda: server.connections)
        tasks = [runtime.spawn(come_and_go, uri) for _ in range(3)]
        for number in range(300):
            connections = server.connections
            runtime.broadcast(connections, str(number))
            await runtime.sleep(0)
        stop.set()
        # They may wait for one more.
        while not all(task.done() for task in tasks):
            runtime.broadcast(server.connections, "end")
            await runtime.sleep(0.005)
        for task in tasks:
            await task.result()
        assert [await stays.recv() for _ in range(300)] == [str(number) for number in range(300)]


async def test_what_is_handed_out_is_a_copy(runtime: Runtime) -> None:
    async with runtime.serving(wait_closed, **QUIET) as (server, uri):
        connections: Any = server.connections
        async with runtime.connect(uri, **QUIET):
            await runtime.until(lambda: server.connections)
            assert not connections
            server.connections.clear()
            assert len(server.connections) == 1
