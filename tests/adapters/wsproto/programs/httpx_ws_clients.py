"""Clients of httpx-ws: to a server of `adapters.asyncio`, and to an application without a network."""

import redirecting  # before anything imports wsproto

# isort: split
import asyncio
from typing import Any

import httpx
import httpx_ws
import pytest
from httpx_ws.transport import ASGIWebSocketTransport

from adapters.asyncio import ServerConnection, serve

DEADLINE = 100

assert httpx_ws._api.wsproto is redirecting.replacement


async def echo(websocket: ServerConnection) -> None:
    async for message in websocket:
        await websocket.send(message)


async def application(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept", "subprotocol": "chat"})
    message = await receive()
    await send({"type": "websocket.send", "text": message["text"]})
    await send({"type": "websocket.close", "code": 3000, "reason": "done"})


async def main() -> None:
    async with asyncio.timeout(DEADLINE), serve(echo, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with httpx_ws.aconnect_ws(f"ws://127.0.0.1:{port}/") as client:
            await client.send_text("hello " * 100)
            assert await client.receive_text() == "hello " * 100
            await client.send_bytes(b"\0" * 200_000)
            assert await client.receive_bytes() == b"\0" * 200_000
            await (await client.ping()).wait()
    async with (
        asyncio.timeout(DEADLINE),
        httpx.AsyncClient(transport=ASGIWebSocketTransport(application)) as http,
        httpx_ws.aconnect_ws("http://server/ws", http, subprotocols=["chat"]) as client,
    ):
        assert client.subprotocol == "chat"
        await client.send_text("hello")
        assert await client.receive_text() == "hello"
        with pytest.raises(httpx_ws.WebSocketDisconnect) as caught:
            await client.receive_text()
        assert (caught.value.code, caught.value.reason) == (3000, "done")


asyncio.run(main())
