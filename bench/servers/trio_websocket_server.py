"""trio-websocket, which has no compression."""

from __future__ import annotations

import argparse
import contextlib
from typing import Any

import trio
from trio_websocket import ConnectionClosed, serve_websocket

from servers.common import HOST, flood_request, parse_arguments


async def echo(websocket: Any) -> None:
    while True:
        await websocket.send_message(await websocket.get_message())


async def sink(websocket: Any) -> None:
    count = 0
    while True:
        if await websocket.get_message() == "fin":
            await websocket.send_message(str(count))
        else:
            count += 1


async def flood(websocket: Any) -> None:
    while True:
        count, payload = flood_request(await websocket.get_message())
        for _ in range(count):
            await websocket.send_message(payload)


HANDLERS = {"echo": echo, "sink": sink, "flood": flood}


async def main(arguments: argparse.Namespace) -> None:
    async def handler(request: Any) -> None:
        websocket = await request.accept()
        with contextlib.suppress(ConnectionClosed):
            await HANDLERS[arguments.mode](websocket)

    await serve_websocket(handler, HOST, arguments.port, None, max_message_size=arguments.limit)


if __name__ == "__main__":
    trio.run(main, parse_arguments())
