"""What a broadcast costs a connection, beside what the same costs with websockets, if that is installed.

    python bench/broadcast.py [CONNECTIONS [ROUNDS]]

One message of 1 KiB goes to 10,000 open connections of an asyncio server in memory, of which the
transports take everything and do nothing. What calling such a transport costs is measured as well,
and subtracted. Each connection is as good as idle: nothing else is on its way.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, cast

from adapters.asyncio import Server, ServerConnection, broadcast
from wsproto_core import ClientProtocol, State

MESSAGE = "".join(f"{number:04d}" for number in range(256))


class Transport:
    """Takes everything."""

    def write(self, data: bytes) -> None:
        pass

    def writelines(self, buffers: Sequence[bytes]) -> None:
        pass

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return False

    def nothing(self) -> None:
        pass

    close = abort = pause_reading = resume_reading = nothing


async def open_connections(count: int, options: Any) -> list[ServerConnection]:
    """Connections of a server, after their opening handshakes."""
    connections: list[ServerConnection] = []
    opened: list[ServerConnection] = []
    all_opened = asyncio.Event()

    async def handler(websocket: ServerConnection) -> None:
        opened.append(websocket)
        if len(opened) == count:
            all_opened.set()
        await websocket.wait_closed()

    server = Server(handler)
    for _ in range(count):
        client = ClientProtocol("ws://localhost/", clock=time.monotonic, **options)
        connection = ServerConnection(handler, server, **options)
        connection.connection_made(cast(asyncio.Transport, Transport()))
        request = b"".join(client.data_to_send())
        connection.get_buffer(-1)[: len(request)] = request
        connection.buffer_updated(len(request))
        connections.append(connection)
    await all_opened.wait()
    assert all(connection.state is State.OPEN for connection in connections)
    return connections


def write(connections: Sequence[Any], message: str) -> None:
    """What cannot be saved."""
    data = message.encode()
    for connection in connections:
        connection.transport.write(data)


def measure(function: Callable[[list[Any], str], object], connections: list[Any], rounds: int) -> float:
    """Return the microseconds a connection, of the best of several rounds."""
    best = float("inf")
    for _ in range(rounds):
        start = time.perf_counter()
        function(connections, MESSAGE)
        best = min(best, time.perf_counter() - start)
    return best / len(connections) * 1e6


async def measure_ours(count: int, compressed: bool, rounds: int) -> float:
    options = {"compression": "deflate" if compressed else None, "open_timeout": None, "ping_interval": None}
    connections = await open_connections(count, options)
    gc.freeze()
    figure = measure(broadcast, connections, rounds) - measure(write, connections, rounds)
    gc.unfreeze()
    for connection in connections:
        connection.connection_lost(None)
    # Their handlers end.
    for _ in range(10):
        await asyncio.sleep(0)
    return figure


async def measure_websockets(count: int, compressed: bool, rounds: int) -> float | None:
    """The same with ``broadcast`` of the ``websockets`` library."""
    try:
        from websockets.asyncio.connection import Connection
        from websockets.asyncio.connection import broadcast as their_broadcast
        from websockets.extensions.permessage_deflate import PerMessageDeflate
        from websockets.protocol import State as TheirState
        from websockets.server import ServerProtocol
    except ImportError:
        return None
    connections = []
    for _ in range(count):
        protocol = ServerProtocol()
        protocol.state = TheirState.OPEN
        if compressed:
            protocol.extensions = [PerMessageDeflate(False, False, 12, 12, {"memLevel": 5})]
        connection = Connection(protocol)
        connection.transport = cast(asyncio.Transport, Transport())
        connections.append(connection)
    return measure(their_broadcast, connections, rounds) - measure(write, connections, rounds)


def main(count: int = 10_000, rounds: int = 200) -> None:
    print(
        f"{len(MESSAGE)} bytes to {count:,} connections: microseconds a connection, beyond the write itself\n"
    )
    print("| | adapters.asyncio | websockets |")
    print("|---|---|---|")
    for name in ("not compressed", "compressed"):
        compressed = name == "compressed"
        ours = asyncio.run(measure_ours(count, compressed, rounds))
        theirs = asyncio.run(measure_websockets(count, compressed, max(1, rounds // 20)))
        print(f"| {name} | {ours:.3f} | {'not installed' if theirs is None else f'{theirs:.3f}'} |")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
