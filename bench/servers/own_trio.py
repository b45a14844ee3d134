"""This library's trio adapter."""

from __future__ import annotations

import argparse

import trio

from adapters.trio import serve
from servers.common import HANDLERS, HOST, parse_arguments


async def main(arguments: argparse.Namespace) -> None:
    handler = HANDLERS[arguments.mode]
    async with serve(
        handler, HOST, arguments.port, compression=arguments.compression, max_size=arguments.max_size
    ):
        await trio.sleep_forever()


if __name__ == "__main__":
    trio.run(main, parse_arguments())
