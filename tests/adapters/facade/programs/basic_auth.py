"""Only those who know the password come in."""

import asyncio

from adapters import websockets


async def handler(websocket, path):
    await websocket.send(f"Hello {websocket.username}!")


async def main():
    async with websockets.serve(
        handler,
        "localhost",
        0,
        create_protocol=websockets.basic_auth_protocol_factory(
            realm="my dev server",
            credentials=("hello", "iloveyou"),
        ),
    ) as server:
        port = server.sockets[0].getsockname()[1]
        async with websockets.connect(f"ws://hello:iloveyou@localhost:{port}/") as websocket:
            print(await websocket.recv())
        for user in "", "hello:ihateyou@":
            try:
                await websockets.connect(f"ws://{user}localhost:{port}/")
            except websockets.InvalidStatusCode as error:
                print(error.status_code)


asyncio.run(main())
