"""The limit of trio: a stream of trio, SIZE bytes there and back, without WebSocket; echo mode only."""

from __future__ import annotations

import argparse

import trio

from clients.common import HOST, Meter, parse_arguments

READ_SIZE = 2**16


async def main(arguments: argparse.Namespace) -> None:
    message = arguments.message.encode() if arguments.text else arguments.message
    async with await trio.open_tcp_stream(HOST, arguments.port) as stream:
        await stream.send_all(message * arguments.depth)
        meter = Meter(arguments)
        received = 0
        while not meter.is_over(received // arguments.size):
            before = received // arguments.size
            received += len(await stream.receive_some(READ_SIZE))
            await stream.send_all(message * (received // arguments.size - before))


if __name__ == "__main__":
    trio.run(main, parse_arguments())
