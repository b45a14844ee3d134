"""Both ends of a connection, by the facade."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from adapters import websockets
from tests.adapters.runtimes.base import HOST


async def echo(websocket: Any, path: str) -> None:
    async for message in websocket:
        await websocket.send(message)


async def idle(websocket: Any, path: str) -> None:
    await websocket.wait_closed()


def uri_of(server: websockets.WebSocketServer, path: str = "/", user: str = "") -> str:
    assert server.sockets is not None
    return f"ws://{user}{HOST}:{server.sockets[0].getsockname()[1]}{path}"


@contextlib.asynccontextmanager
async def serving(handler: Any = idle, **options: Any) -> AsyncIterator[tuple[Any, str]]:
    """A server on a free port, and its URI."""
    async with websockets.serve(handler, HOST, 0, **options) as server:
        yield server, uri_of(server)


@contextlib.asynccontextmanager
async def connected(
    client: dict[str, Any] | None = None, server: dict[str, Any] | None = None
) -> AsyncIterator[tuple[Any, Any]]:
    """Both ends of a connection, neither of which does anything by itself."""
    accepted: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    async def handler(websocket: Any, path: str) -> None:
        accepted.set_result(websocket)
        await websocket.wait_closed()

    async with (
        serving(handler, **(server or {})) as (_, uri),
        websockets.connect(uri, **(client or {})) as client_end,
    ):
        yield client_end, await accepted
