"""websocket-rs on asyncio, which has no compression; its messages are views of the bytes received."""

from __future__ import annotations

import argparse

import websocket_rs

from clients.common import async_workload, parse_arguments, run


async def main(arguments: argparse.Namespace) -> None:
    websocket = await websocket_rs.connect(arguments.uri)
    write = websocket.send

    async def send(message: str | bytes) -> None:
        write(message)

    await async_workload(send, websocket.recv, arguments)
    websocket.close()


if __name__ == "__main__":
    run(main, parse_arguments())
