"""Messages, one after the other, both ways; the last one cut into fragments."""

import asyncio

from adapters import websockets


async def process(message):
    print(type(message).__name__, message)


async def handler(websocket, path):
    async for message in websocket:
        await process(message)


async def main():
    async with websockets.serve(handler, "localhost", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with websockets.connect(f"ws://localhost:{port}/") as websocket:
            await websocket.send("text")
            await websocket.send(b"binary")
            await websocket.send(["frag", "ments"])


asyncio.run(main())
