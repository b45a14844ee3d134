"""``open_timeout`` ends what a program does before a connection is open, and frees its place."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from adapters.websockets.client import connect
from adapters.websockets.exceptions import InvalidHandshake
from adapters.websockets.server import WebSocketServerProtocol
from tests.adapters.runtimes import Runtime

from .peers import echo, serving


class Slow(WebSocketServerProtocol):
    """Hangs in one of the hooks for ``/slow``."""

    cancelled = 0
    hook = ""

    async def _hang(self, hook: str) -> None:
        if hook == self.hook and self.path == "/slow":
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                type(self).cancelled += 1
                raise

    async def handshake(self, *args: Any, **kwargs: Any) -> str:
        await self._hang("handshake")
        return await super().handshake(*args, **kwargs)

    async def process_request(self, path: str, request_headers: Any) -> Any:
        await self._hang("process_request")
        return await super().process_request(path, request_headers)


@pytest.mark.parametrize("hook", ["handshake", "process_request"])
async def test_hooks_that_do_not_return(runtime: Runtime, hook: str) -> None:
    kind = type("Slow", (Slow,), {"hook": hook})
    options: dict[str, Any] = {"create_protocol": kind, "open_timeout": 0.3, "max_connections": 1}
    async with serving(echo, **options) as (server, uri):
        with pytest.raises(InvalidHandshake):
            await connect(uri + "slow")
        await runtime.until(lambda: not server.connections)
        assert kind.cancelled == 1  # type: ignore[attr-defined]
        async with connect(uri) as websocket:
            await websocket.send("x")
            assert await websocket.recv() == "x"


async def test_handshake_that_goes_on_after_the_connection_is_open() -> None:
    """It is late by ``open_timeout``, but there is a connection."""

    class Late(WebSocketServerProtocol):
        async def handshake(self, *args: Any, **kwargs: Any) -> str:
            path = await super().handshake(*args, **kwargs)
            await asyncio.sleep(0.4)
            return path

    options: dict[str, Any] = {"create_protocol": Late, "open_timeout": 0.2}
    async with serving(echo, **options) as (_, uri), connect(uri) as websocket:
        await websocket.send("x")
        assert await websocket.recv() == "x"
