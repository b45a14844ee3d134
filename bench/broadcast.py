"""What a broadcast costs a connection, beside what the same costs with websockets, if it is installed.

    python bench/broadcast.py

One message of 1 KiB goes to 10,000 open servers in memory, of which the transports take everything and
do nothing. What calling such a transport costs is measured as well, and subtracted. Each connection is
as good as idle: nothing else is on its way.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Any

from wsproto_core import ClientProtocol, ServerProtocol, State
from wsproto_core.broadcast import deliver, not_written
from wsproto_core.prepared import PreparedMessage

MESSAGE = "".join(f"{number:04d}" for number in range(256))


class Transport:
    """Takes everything."""

    def __init__(self) -> None:
        self.paused = False

    def write(self, data: bytes) -> None:
        pass


class Connection:
    """What an adapter's connection is to a broadcast."""

    def __init__(self, protocol: ServerProtocol) -> None:
        self.protocol = protocol
        self.transport = Transport()


def open_server(**options: Any) -> ServerProtocol:
    client = ClientProtocol("ws://localhost/", clock=time.monotonic, **options)
    server = ServerProtocol(clock=time.monotonic, **options)
    server.receive_data(b"".join(client.data_to_send()))
    server.accept()
    server.events()
    server.data_to_send()
    server.data_sent()
    assert server.state is State.OPEN
    return server


def broadcast(connections: Iterable[Connection], message: str) -> None:
    """As much as an adapter has to do."""
    prepared = PreparedMessage(message)
    for connection in connections:
        transport = connection.transport
        buffers = deliver(connection.protocol, prepared)
        assert type(buffers) is list
        transport.write(buffers[0])
        if transport.paused:
            not_written(connection.protocol, len(buffers[0]))


def write(connections: Iterable[Any], message: str) -> None:
    """What cannot be saved."""
    data = message.encode()
    for connection in connections:
        connection.transport.write(data)


def measure(function: Callable[[list[Any], str], None], connections: list[Any], rounds: int) -> float:
    """Return the microseconds a connection, of the best of several rounds."""
    best = float("inf")
    for _ in range(rounds):
        start = time.perf_counter()
        function(connections, MESSAGE)
        best = min(best, time.perf_counter() - start)
    return best / len(connections) * 1e6


async def measure_websockets(count: int, compressed: bool, rounds: int) -> float | None:
    """The same with ``broadcast`` of the ``websockets`` library."""
    try:
        from websockets.asyncio.connection import Connection, broadcast
        from websockets.extensions.permessage_deflate import PerMessageDeflate
        from websockets.protocol import State
        from websockets.server import ServerProtocol
    except ImportError:
        return None
    connections = []
    for _ in range(count):
        protocol = ServerProtocol()
        protocol.state = State.OPEN
        if compressed:
            protocol.extensions = [PerMessageDeflate(False, False, 12, 12, {"memLevel": 5})]
        connection = Connection(protocol)
        connection.transport = Transport()  # type: ignore[assignment]
        connections.append(connection)
    return measure(broadcast, connections, rounds) - measure(write, connections, rounds)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure what a broadcast costs.")
    parser.add_argument("--connections", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=20)
    arguments = parser.parse_args()
    print(f"{len(MESSAGE)} bytes to {arguments.connections:,} connections: microseconds a connection,")
    print("beyond the write itself")
    print(f"{'':14} {'wsproto_core':>14} {'websockets':>14}")
    for name, options in {"uncompressed": {"compression": None}, "compressed": {}}.items():
        connections = [Connection(open_server(**options)) for _ in range(arguments.connections)]
        ours = measure(broadcast, connections, arguments.rounds)
        ours -= measure(write, connections, arguments.rounds)
        theirs = asyncio.run(measure_websockets(arguments.connections, name == "compressed", 3))
        print(f"{name:14} {ours:14.3f} {'not installed' if theirs is None else f'{theirs:14.3f}'}")


if __name__ == "__main__":
    main()
