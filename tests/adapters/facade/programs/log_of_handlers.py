"""What a handler raises is written to a log."""

import asyncio
import logging
import sys

from adapters import websockets

logger = logging.getLogger("websockets.server")
logger.setLevel(logging.ERROR)
logger.addHandler(logging.StreamHandler(sys.stdout))


async def handler(websocket, path):
    raise ValueError("something is wrong")


async def main():
    async with websockets.serve(handler, "localhost", 0) as server:
        port = server.sockets[0].getsockname()[1]
        websocket = await websockets.connect(f"ws://localhost:{port}/")
        try:
            await websocket.recv()
        except websockets.ConnectionClosedError as error:
            print("closed", error.code)


asyncio.run(main())
