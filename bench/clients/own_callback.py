"""This library on asyncio; messages are received in a callback, so that there is no mode `send`."""

from __future__ import annotations

import argparse
import asyncio
from typing import Any, cast

from adapters.asyncio import ClientConnection, connect
from clients.common import Meter, parse_arguments, run


class Workload(ClientConnection):
    """Counts messages until the meter says that it is over."""

    arguments: argparse.Namespace
    meter: Meter
    over: asyncio.Future[None]
    count = 0

    async def run(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments
        self.over = asyncio.get_running_loop().create_future()
        self.meter = Meter(arguments)
        await self.start()
        await self.over

    async def start(self) -> None:
        raise NotImplementedError

    def count_message(self, message: Any) -> None:
        if len(message) != self.arguments.size:
            raise ValueError("a message has the wrong size")
        self.count += 1


class Echo(Workload):
    async def start(self) -> None:
        for _ in range(self.arguments.depth):
            await self.send(self.arguments.message)

    def message_received(self, message: Any) -> None:
        self.count_message(message)
        if self.over.done():
            return
        if self.meter.is_over(self.count):
            self.over.set_result(None)
        else:
            self.protocol.send(self.arguments.message)


class Receive(Workload):
    async def start(self) -> None:
        await self.send(self.arguments.request)

    def message_received(self, message: Any) -> None:
        self.count_message(message)
        if self.count % self.arguments.flood == 0:
            if self.meter.is_over(self.count):
                self.over.set_result(None)
            else:
                self.protocol.send(self.arguments.request)


WORKLOADS: dict[str, type[Workload]] = {"echo": Echo, "recv": Receive}


async def main(arguments: argparse.Namespace) -> None:
    options = {"compression": arguments.compression, "create_protocol": WORKLOADS[arguments.mode]}
    async with connect(arguments.uri, max_size=None, **options) as websocket:
        await cast(Workload, websocket).run(arguments)


if __name__ == "__main__":
    run(main, parse_arguments())
