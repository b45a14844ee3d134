"""trio-websocket, which has no compression."""

from __future__ import annotations

import argparse

import trio
from servers.common import UNLIMITED
from trio_websocket import open_websocket_url

from clients.common import async_workload, parse_arguments


async def main(arguments: argparse.Namespace) -> None:
    async with open_websocket_url(arguments.uri, max_message_size=UNLIMITED) as websocket:
        await async_workload(websocket.send_message, websocket.get_message, arguments)


if __name__ == "__main__":
    trio.run(main, parse_arguments())
