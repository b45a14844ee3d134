"""The limit of asyncio: an asyncio.Protocol, SIZE bytes there and back, without WebSocket; echo mode only."""

from __future__ import annotations

import argparse
import asyncio
from typing import cast

from clients.common import HOST, Meter, parse_arguments, run


class Echo(asyncio.Protocol):
    def __init__(self, arguments: argparse.Namespace) -> None:
        self.done = asyncio.get_running_loop().create_future()
        self._size = arguments.size
        self._depth = arguments.depth
        self._message = arguments.message.encode() if arguments.text else arguments.message
        self._meter = Meter(arguments)
        self._received = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._message * self._depth)

    def data_received(self, data: bytes) -> None:
        before = self._received // self._size
        self._received += len(data)
        messages = self._received // self._size
        if self.done.done():
            return
        if self._meter.is_over(messages):
            self._transport.abort()
            self.done.set_result(None)
        elif messages > before:
            self._transport.write(self._message * (messages - before))


async def main(arguments: argparse.Namespace) -> None:
    loop = asyncio.get_running_loop()
    _, protocol = await loop.create_connection(lambda: Echo(arguments), HOST, arguments.port)
    await protocol.done


if __name__ == "__main__":
    run(main, parse_arguments())
