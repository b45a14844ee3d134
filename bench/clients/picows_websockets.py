"""picows.websockets, which has the API of websockets."""

from __future__ import annotations

import argparse

import picows.api
from picows.websockets import connect

from clients.common import async_workload, parse_arguments, run


async def main(arguments: argparse.Namespace) -> None:
    # Otherwise it takes the transports of aiofastnet wherever that is installed.
    picows.api._HAS_AIOFASTNET = arguments.transport == "aiofastnet"
    async with connect(arguments.uri, compression=arguments.compression, max_size=None) as websocket:
        await async_workload(websocket.send, websocket.recv, arguments)


if __name__ == "__main__":
    run(main, parse_arguments())
