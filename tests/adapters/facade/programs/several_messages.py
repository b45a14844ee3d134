"""A handler that goes on as long as the connection is open."""

import asyncio

from adapters import websockets


async def doubling(websocket, path):
    while websocket.open:
        try:
            number = await websocket.recv()
        except websockets.ConnectionClosed as error:
            print("closed", error.code, error.reason)
        else:
            await websocket.send(str(2 * int(number)))


async def main():
    server = await websockets.serve(doubling, "localhost", 0)
    port = server.sockets[0].getsockname()[1]
    websocket = await websockets.connect(f"ws://localhost:{port}/")
    for number in range(3):
        await websocket.send(str(number))
        print(await websocket.recv())
    await websocket.close(code=1000, reason="enough")
    server.close()
    await server.wait_closed()


asyncio.run(main())
