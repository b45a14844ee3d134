"""This library's anyio adapter, on the backend that --backend names."""

from __future__ import annotations

import argparse

import anyio

from adapters.anyio import serve
from servers.common import HANDLERS, HOST, argument_parser, parse_arguments


async def main(arguments: argparse.Namespace) -> None:
    handler = HANDLERS[arguments.mode]
    async with serve(
        handler, HOST, arguments.port, compression=arguments.compression, max_size=arguments.max_size
    ):
        await anyio.sleep_forever()


if __name__ == "__main__":
    parser = argument_parser()
    parser.add_argument("--backend", choices=["asyncio", "trio"], default="asyncio")
    arguments = parse_arguments(parser)
    options = {"use_uvloop": True} if arguments.loop == "uvloop" else {}
    anyio.run(main, arguments, backend=arguments.backend, backend_options=options)
