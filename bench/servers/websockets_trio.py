"""websockets on trio."""

from __future__ import annotations

import argparse

import trio
from websockets.trio.server import serve

from servers.common import HANDLERS, HOST, parse_arguments


async def main(arguments: argparse.Namespace) -> None:
    handler = HANDLERS[arguments.mode]
    await serve(
        handler, arguments.port, host=HOST, compression=arguments.compression, max_size=arguments.max_size
    )


if __name__ == "__main__":
    trio.run(main, parse_arguments())
