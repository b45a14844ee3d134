"""Routing servers as tasks of a nursery or task group: there, `route` gets a `task_status`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
import trio
from werkzeug.routing import Rule

import adapters.anyio
import adapters.trio


async def channel(websocket: Any, channel_id: int) -> None:
    await websocket.send(f"channel {channel_id}")


def rules() -> list[Rule]:
    return [Rule("/channel/<int:channel_id>", endpoint=channel)]


async def check(adapter: Any, group: Any, path: str) -> None:
    addresses = await group.start(adapter.route, rules(), "127.0.0.1", 0)
    async with adapter.connect(f"ws://127.0.0.1:{addresses[0][1]}/channel/1") as client:
        assert await client.recv() == "channel 1"
    # An argument that is not positional, too.
    addresses = await group.start(partial(adapter.unix_route, path=path), rules())
    assert addresses == [path]
    async with adapter.unix_connect(path, "ws://localhost/channel/2") as client:
        assert await client.recv() == "channel 2"
    group.cancel_scope.cancel()


def test_trio(tmp_path: Path) -> None:
    async def main() -> None:
        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                await check(adapters.trio, nursery, str(tmp_path / "socket"))

    trio.run(main)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_anyio(backend: str, tmp_path: Path) -> None:
    async def main() -> None:
        with anyio.fail_after(30):
            async with anyio.create_task_group() as task_group:
                await check(adapters.anyio, task_group, str(tmp_path / "socket"))

    anyio.run(main, backend=backend)
