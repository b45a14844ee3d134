"""aiohttp, which has one method to send for each type and wraps what it receives."""

from __future__ import annotations

import argparse
from collections.abc import Awaitable
from typing import Any

from aiohttp import ClientSession

from clients.common import async_workload, parse_arguments, run


async def main(arguments: argparse.Namespace) -> None:
    async with ClientSession() as session:
        compress = 15 if arguments.compressed else 0
        async with session.ws_connect(arguments.uri, max_msg_size=0, compress=compress) as websocket:
            receive, send_str, send_bytes = websocket.receive, websocket.send_str, websocket.send_bytes

            async def recv() -> Any:
                return (await receive()).data

            def send(message: str | bytes) -> Awaitable[None]:
                sent: Awaitable[None] = send_str(message) if isinstance(message, str) else send_bytes(message)
                return sent

            await async_workload(send, recv, arguments)


if __name__ == "__main__":
    run(main, parse_arguments())
