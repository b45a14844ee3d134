"""A client that sends a name and shows the greeting."""

import asyncio
import sys

from adapters import websockets


async def hello(port):
    websocket = await websockets.connect(f"ws://localhost:{port}/")
    name = input()
    await websocket.send(name)
    print(f"> {name}")
    greeting = await websocket.recv()
    print(f"< {greeting}")
    await websocket.close()


loop = asyncio.new_event_loop()
loop.run_until_complete(hello(sys.argv[1]))
loop.close()
