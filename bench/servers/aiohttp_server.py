"""aiohttp."""

from __future__ import annotations

import argparse
from typing import Any

from aiohttp import WSMsgType, web

from servers.common import HOST, flood_request, forever, parse_arguments, run


async def echo(websocket: Any) -> None:
    async for message in websocket:
        if message.type is WSMsgType.BINARY:
            await websocket.send_bytes(message.data)
        elif message.type is WSMsgType.TEXT:
            await websocket.send_str(message.data)


async def sink(websocket: Any) -> None:
    count = 0
    async for message in websocket:
        if message.data == "fin":
            await websocket.send_str(str(count))
        else:
            count += 1


async def flood(websocket: Any) -> None:
    async for message in websocket:
        count, payload = flood_request(message.data)
        for _ in range(count):
            await websocket.send_bytes(payload)


connections: set[Any] = set()


async def broadcast(websocket: Any) -> None:
    """There is no function for this: it is a loop over the connections."""
    connections.add(websocket)
    try:
        async for message in websocket:
            count, payload = flood_request(message.data)
            for _ in range(count):
                for connection in connections:
                    await connection.send_bytes(payload)
    finally:
        connections.discard(websocket)


HANDLERS = {"echo": echo, "sink": sink, "flood": flood, "broadcast": broadcast}


async def main(arguments: argparse.Namespace) -> None:
    body = HANDLERS[arguments.mode]

    async def handler(request: Any) -> Any:
        websocket = web.WebSocketResponse(compress=arguments.compressed, max_msg_size=arguments.max_size or 0)
        await websocket.prepare(request)
        await body(websocket)
        return websocket

    application = web.Application()
    application.router.add_get("/", handler)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, HOST, arguments.port, ssl_context=arguments.ssl).start()
    await forever()


if __name__ == "__main__":
    run(main, parse_arguments())
