"""websockets on asyncio."""

from __future__ import annotations

import argparse

from websockets.asyncio.server import broadcast, serve

from servers.common import HANDLERS, HOST, broadcast_handler, forever, parse_arguments, run


async def main(arguments: argparse.Namespace) -> None:
    handler = broadcast_handler(broadcast) if arguments.mode == "broadcast" else HANDLERS[arguments.mode]
    options = {"compression": arguments.compression, "max_size": arguments.max_size, "ssl": arguments.ssl}
    async with serve(handler, HOST, arguments.port, **options):
        await forever()


if __name__ == "__main__":
    run(main, parse_arguments())
