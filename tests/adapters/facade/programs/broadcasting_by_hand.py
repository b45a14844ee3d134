"""Everybody hears what anybody says."""

import asyncio

from adapters import websockets

connected = set()


async def chat(websocket, path):
    connected.add(websocket)
    try:
        async for message in websocket:
            for other in connected:
                await other.send(message)
    finally:
        connected.remove(websocket)


async def main():
    async with websockets.serve(chat, "localhost", 0) as server:
        uri = f"ws://localhost:{server.sockets[0].getsockname()[1]}/"
        async with websockets.connect(uri) as alice, websockets.connect(uri) as bob:
            await bob.send("I am here")
            print(await bob.recv())
            await alice.send("Hello")
            print(await bob.recv(), await alice.recv())


asyncio.run(main())
