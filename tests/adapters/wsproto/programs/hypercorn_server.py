"""An application on hypercorn, and clients of `adapters.asyncio`."""

import redirecting  # before anything imports wsproto

# isort: split
import asyncio
import os
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypercorn.asyncio import serve
from hypercorn.config import Config
from hypercorn.protocol import ws_stream

from adapters.asyncio import ConnectionClosed, InvalidStatusCode, connect

DEADLINE = 100

assert ws_stream.Connection is redirecting.replacement.Connection


async def application(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    assert (await receive())["type"] == "websocket.connect"
    if scope["path"] == "/refused":
        await send({"type": "websocket.close"})
        return
    await send({"type": "websocket.accept", "subprotocol": scope["subprotocols"][0]})
    while (message := await receive())["type"] == "websocket.receive":
        reply = {name: message[name] for name in ("text", "bytes") if message.get(name) is not None}
        await send({"type": "websocket.send", **reply})
    await closed.put(message["code"])


async def talk(uri: str) -> None:
    async with connect(uri, subprotocols=["chat"]) as websocket:
        assert websocket.subprotocol == "chat"
        assert "permessage-deflate" in websocket.response_headers["Sec-WebSocket-Extensions"]
        for message in "hello " * 100, b"\0" * 200_000, "":
            await websocket.send(message)
            assert await websocket.recv() == message

        async def fragments() -> AsyncIterator[str]:
            yield "hello " * 20
            await websocket.ping()
            yield "again " * 20

        await websocket.send(fragments())
        assert await websocket.recv() == "hello " * 20 + "again " * 20
        await (await websocket.ping())
        await websocket.close(3000, "done")
        assert websocket.close_code == 3000


async def send_too_much(uri: str) -> None:
    async with connect(uri, subprotocols=["chat"], max_size=None) as websocket:
        await websocket.send(bytes(2**20))  # a kilobyte when it is compressed
        with pytest.raises(ConnectionClosed) as caught:
            await websocket.recv()
        assert caught.value.code == 1009


async def break_a_rule(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Protocol: chat\r\n\r\n"
    )
    await reader.readuntil(b"\r\n\r\n")
    writer.write(bytes.fromhex("838000000000"))  # a reserved opcode
    answer = await reader.read()
    assert answer[0] == 0x88, answer
    assert answer[2:4] == (1002).to_bytes(2, "big"), answer
    writer.close()


async def main() -> None:
    global closed
    closed = asyncio.Queue[int]()
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    config = Config()
    config.bind = [f"fd://{os.dup(listener.fileno())}"]
    config.websocket_max_message_size = 300_000
    stop = asyncio.Event()
    server = asyncio.create_task(serve(application, config, shutdown_trigger=stop.wait))  # type: ignore[arg-type]
    async with asyncio.timeout(DEADLINE):
        await talk(f"ws://127.0.0.1:{port}/")
        await send_too_much(f"ws://127.0.0.1:{port}/")
        await break_a_rule(port)
        with pytest.raises(InvalidStatusCode, match="403"):
            await connect(f"ws://127.0.0.1:{port}/refused")
        stop.set()
        await server
    listener.close()


asyncio.run(main())
