"""websockets on trio."""

from __future__ import annotations

import argparse

import trio
from websockets.trio.client import connect

from clients.common import async_workload, parse_arguments


async def main(arguments: argparse.Namespace) -> None:
    async with connect(arguments.uri, compression=arguments.compression, max_size=None) as websocket:
        await async_workload(websocket.send, websocket.recv, arguments)


if __name__ == "__main__":
    trio.run(main, parse_arguments())
