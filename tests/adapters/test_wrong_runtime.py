"""An adapter that is called on another runtime than its own says which one runs and which one it needs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio

import adapters.anyio
import adapters.asyncio
import adapters.trio

URI = "ws://127.0.0.1:9/"


async def handler(websocket: Any) -> None:
    raise AssertionError


async def enter(block: Any) -> None:
    async with block:
        raise AssertionError


async def iterate(connections: Any) -> None:
    async for _ in connections:
        raise AssertionError


async def serve_as_a_task(adapter: Any) -> None:
    await adapter.serve(handler, "127.0.0.1", 0, task_status=object())


ENTRIES: dict[str, Callable[[Any], Awaitable[None]]] = {
    "connect": lambda adapter: enter(adapter.connect(URI)),
    "unix_connect": lambda adapter: enter(adapter.unix_connect("/nowhere")),
    "serve": lambda adapter: enter(adapter.serve(handler, "127.0.0.1", 0)),
    "unix_serve": lambda adapter: enter(adapter.unix_serve(handler, "/nowhere/at/all")),
}
ASYNCIO_ALONE: dict[str, Callable[[Any], Awaitable[None]]] = {
    "await connect": lambda adapter: adapter.connect(URI),
    "await serve": lambda adapter: adapter.serve(handler, "127.0.0.1", 0),
    "iteration": lambda adapter: iterate(adapter.connect(URI)),
    "reconnect": lambda adapter: iterate(adapter.reconnect(URI)),
}
STRUCTURED: dict[str, Callable[[Any], Awaitable[None]]] = {
    "reconnect": lambda adapter: enter(adapter.reconnect(URI)),
    "task_status": serve_as_a_task,
    "serve_stream": lambda adapter: adapter.serve_stream(handler, object()),
}


async def awaited(entry: Callable[[Any], Awaitable[None]], adapter: Any) -> None:
    await entry(adapter)


@pytest.mark.parametrize("entry", (ENTRIES | STRUCTURED).values(), ids=ENTRIES | STRUCTURED)
def test_trio_on_asyncio(entry: Callable[[Any], Awaitable[None]]) -> None:
    expected = (
        r"adapters\.trio needs trio, but asyncio runs this code: use adapters\.asyncio or adapters\.anyio"
    )
    with pytest.raises(RuntimeError, match=expected):
        asyncio.run(awaited(entry, adapters.trio))


def test_trio_with_a_nursery_on_asyncio() -> None:
    class Nursery:
        def start_soon(self) -> None: ...

    async def connect() -> None:
        await adapters.trio.connect(URI, nursery=Nursery())  # type: ignore[arg-type]

    with pytest.raises(RuntimeError, match="asyncio runs this code"):
        asyncio.run(connect())


@pytest.mark.parametrize("entry", (ENTRIES | ASYNCIO_ALONE).values(), ids=ENTRIES | ASYNCIO_ALONE)
def test_asyncio_on_trio(entry: Callable[[Any], Awaitable[None]]) -> None:
    expected = (
        r"adapters\.asyncio needs asyncio, but trio runs this code: use adapters\.trio or adapters\.anyio"
    )
    with pytest.raises(RuntimeError, match=expected):
        trio.run(awaited, entry, adapters.asyncio)


@pytest.mark.parametrize("adapter", [adapters.asyncio, adapters.trio, adapters.anyio])
@pytest.mark.parametrize("entry", ENTRIES.values(), ids=ENTRIES)
def test_on_nothing(adapter: Any, entry: Callable[[Any], Awaitable[None]]) -> None:
    with pytest.raises(RuntimeError, match="neither asyncio nor trio runs this code"):
        awaited(entry, adapter).send(None)  # type: ignore[attr-defined]


def test_trio_as_a_guest_of_asyncio() -> None:
    """trio's tasks are run by asyncio's event loop then; they are trio's all the same."""

    async def guest() -> None:
        with pytest.raises(RuntimeError, match="trio runs this code"):
            await enter(adapters.asyncio.connect(URI))
        with pytest.raises(OSError, match=r"refused|failed"):
            await enter(adapters.trio.connect(URI))

    async def host() -> None:
        done: asyncio.Future[Any] = loop.create_future()
        trio.lowlevel.start_guest_run(
            guest, run_sync_soon_threadsafe=loop.call_soon_threadsafe, done_callback=done.set_result
        )
        (await done).unwrap()

    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        runner.run(host())


@pytest.mark.parametrize("adapter", [adapters.asyncio, adapters.trio, adapters.anyio])
def test_with_in_the_place_of_async_with(adapter: Any) -> None:
    opening = {"connect": adapter.connect(URI), "serve": adapter.serve(handler, "127.0.0.1", 0)}
    for name, block in opening.items():
        with pytest.raises(TypeError, match=rf"{name}\(\) is entered by 'async with', not by 'with'"), block:
            raise AssertionError
