"""The limit of asyncio: the same bytes go back, without WebSocket. --kind chooses the style:

protocol  asyncio.Protocol: ``data_received`` calls ``transport.write``.
buffered  asyncio.BufferedProtocol with one read buffer.
awaited   A protocol and a coroutine that waits for each chunk by a future: what an API with ``recv`` and
          ``send`` pays to the event loop before it does anything itself.
"""

from __future__ import annotations

import argparse
import asyncio
from typing import cast

from servers.common import HOST, argument_parser, flood_request, parse_arguments, run

READ_SIZE = 2**18


class Raw(asyncio.Protocol):
    """Stops reading while it may not write."""

    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def pause_writing(self) -> None:
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        self.transport.resume_reading()


class Echo(Raw):
    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


class BufferedEcho(asyncio.BufferedProtocol):
    transport: asyncio.Transport

    def __init__(self) -> None:
        self.buffer = memoryview(bytearray(READ_SIZE))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def pause_writing(self) -> None:
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        self.transport.resume_reading()

    def get_buffer(self, sizehint: int) -> memoryview:
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.transport.write(bytes(self.buffer[:nbytes]))


class AwaitedEcho(Raw):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.chunks: list[bytes] = []
        self.waiter: asyncio.Future[None] | None = None
        self.loop = asyncio.get_running_loop()
        self.task = self.loop.create_task(self.serve())

    def data_received(self, data: bytes) -> None:
        self.chunks.append(data)
        if self.waiter is not None:
            self.waiter.set_result(None)
            self.waiter = None

    def connection_lost(self, exc: Exception | None) -> None:
        self.task.cancel()

    async def recv(self) -> bytes:
        while not self.chunks:
            self.waiter = self.loop.create_future()
            await self.waiter
        return self.chunks.pop(0)

    async def serve(self) -> None:
        while True:
            self.transport.write(await self.recv())


class Sink(Raw):
    """Counts bytes and answers with the count when the client has ended its half of the stream."""

    count = 0

    def data_received(self, data: bytes) -> None:
        self.count += len(data)

    def eof_received(self) -> bool:
        self.transport.write(str(self.count).encode())
        return False


class Flood(Raw):
    left = 0
    paused = False
    payload = b""

    def data_received(self, data: bytes) -> None:
        self.left, self.payload = flood_request(data.decode())
        self.write_more()

    def write_more(self) -> None:
        while self.left and not self.paused:
            self.left -= 1
            self.transport.write(self.payload)

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False
        self.write_more()


class Broadcast(Raw):
    connections: set[Broadcast] = set()  # noqa: RUF012 - of all connections

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.connections.discard(self)

    def data_received(self, data: bytes) -> None:
        count, payload = flood_request(data.decode())
        for _ in range(count):
            for connection in self.connections:
                connection.transport.write(payload)


ECHOES = {"protocol": Echo, "buffered": BufferedEcho, "awaited": AwaitedEcho}
OTHERS = {"sink": Sink, "flood": Flood, "broadcast": Broadcast}


async def main(arguments: argparse.Namespace) -> None:
    factory = OTHERS.get(arguments.mode, ECHOES[arguments.kind])
    loop = asyncio.get_running_loop()
    server = await loop.create_server(factory, HOST, arguments.port, ssl=arguments.ssl)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argument_parser()
    parser.add_argument("--kind", choices=list(ECHOES), default="protocol")
    run(main, parse_arguments(parser))
