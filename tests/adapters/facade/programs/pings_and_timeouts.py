"""Is anybody there? And no waiting without end."""

import asyncio

from adapters import websockets


async def handler(ws, path):
    await asyncio.sleep(0.3)
    await ws.send("late")
    await ws.wait_closed()


async def main():
    async with websockets.serve(handler, "localhost", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with websockets.connect(f"ws://localhost:{port}/", ping_interval=1, close_timeout=1) as ws:
            pong_waiter = await ws.ping()
            await pong_waiter
            print("pong")
            try:
                await asyncio.wait_for(ws.recv(), 0.05)
            except asyncio.TimeoutError:
                print("nothing yet")
            print(await asyncio.wait_for(ws.recv(), 10))


asyncio.run(main())
