"""A client that closes its connection itself, and a server that does it when the handler ends."""

import asyncio

from adapters.websockets import client, exceptions, server


async def handler(websocket):
    print("server", await websocket.recv())
    await websocket.send("bye")


async def main():
    running = await server.serve(handler, "localhost", 0)
    uri = f"ws://localhost:{running.sockets[0].getsockname()[1]}/"
    websocket = await client.connect(uri)
    try:
        await websocket.send("without a block")
        print("client", await websocket.recv())
    finally:
        await websocket.close()
    async with client.connect(uri) as websocket:
        await websocket.send("in a block")
        print("client", await websocket.recv())
        try:
            await websocket.recv()
        except exceptions.ConnectionClosedOK:
            print("client", "closed by the server")
    print(websocket.closed)
    running.close()
    await running.wait_closed()


asyncio.run(main())
