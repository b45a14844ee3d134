"""picows.websockets, which has the API of websockets."""

from __future__ import annotations

import argparse

import picows.api
from picows.websockets import broadcast, serve

from servers.common import HANDLERS, HOST, broadcast_handler, forever, parse_arguments, run


async def main(arguments: argparse.Namespace) -> None:
    # Otherwise it takes the transports of aiofastnet wherever that is installed.
    picows.api._HAS_AIOFASTNET = arguments.transport == "aiofastnet"
    handler = broadcast_handler(broadcast) if arguments.mode == "broadcast" else HANDLERS[arguments.mode]
    options = {"compression": arguments.compression, "max_size": arguments.max_size, "ssl": arguments.ssl}
    async with serve(handler, HOST, arguments.port, **options):
        await forever()


if __name__ == "__main__":
    run(main, parse_arguments())
