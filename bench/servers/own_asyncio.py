"""This library's asyncio adapter; with --callback, messages are received in a callback."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Coroutine
from typing import Any

from adapters.asyncio import ServerConnection, broadcast, serve
from servers.common import HANDLERS, HOST, argument_parser, broadcast_handler, forever, parse_arguments, run


class CallbackEcho(ServerConnection):
    def message_received(self, message: Any) -> None:
        self.protocol.send(message)


async def main(arguments: argparse.Namespace) -> None:
    options: dict[str, Any] = {"compression": arguments.compression, "max_size": arguments.max_size}
    if arguments.ssl is not None:
        options["ssl"] = arguments.ssl
    handler: Callable[[Any], Coroutine[Any, Any, None]]
    if arguments.callback:
        handler = ServerConnection.wait_closed
        options["create_protocol"] = CallbackEcho
    elif arguments.mode == "broadcast":
        handler = broadcast_handler(broadcast)
    else:
        handler = HANDLERS[arguments.mode]
    async with serve(handler, HOST, arguments.port, **options):
        await forever()


if __name__ == "__main__":
    parser = argument_parser()
    parser.add_argument("--callback", action="store_true")
    run(main, parse_arguments(parser))
