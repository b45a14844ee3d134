"""Memory of idle connections, with and without compression.

    python bench/idle_connections.py [CONNECTIONS [BYTES ...]]     10,000, messages of 256 and 65,536 bytes

A server and a client, each in a process of its own on asyncio, over loopback. On every connection each
end sends one message, compressed, so that both have compressed and inflated; then all are left alone
until their memory for compression is given up. Needs a file descriptor a connection in each process:
ulimit -n. Takes six minutes with 10,000.

Memory is what is private to the two processes, divided: when all have been idle, and again after
malloc_trim() has given back to the system what the allocator keeps. "Objects" is what tracemalloc
counts, with fewer connections: what is live, without the gaps between it.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tracemalloc
from typing import Any

from measuring import print_head, print_row, resident, text, trim

from adapters.asyncio import connect, serve
from wsproto_core.extensions.permessage_deflate import (
    ZLIB,
    ClientPerMessageDeflateFactory,
    ServerPerMessageDeflateFactory,
)

OPTIONS: dict[str, Any] = {"compression": None, "open_timeout": 60}
TRACED = 500
"""Connections at most where objects are counted, which takes time."""


def idle_timeout(count: int) -> float:
    """Seconds, longer than it takes to open so many connections."""
    return 0.5 + count / 500


def extensions(factory: Any, bits: int, count: int) -> list[Any] | None:
    """Return the factories for windows of this size, 0 for no compression."""
    if not bits:
        return None
    return [
        factory(server_max_window_bits=bits, client_max_window_bits=bits, idle_timeout=idle_timeout(count))
    ]


def memory(traced: bool) -> tuple[int, int]:
    """Return the bytes of this process that are resident, and the same after giving back what it can.

    If ``traced``, those of its objects instead.
    """
    if traced:
        trim()
        return (tracemalloc.get_traced_memory()[0],) * 2
    before = resident()
    trim()
    return before, resident()


async def run_server(count: int, bits: int, traced: bool) -> None:
    async def echo(websocket: Any) -> None:
        async for message in websocket:
            if message == "memory":
                await websocket.send(json.dumps(memory(traced)))
            else:
                await websocket.send(message, compress=True)
            # It would be kept until the next one comes.
            del message

    if traced:
        tracemalloc.start()
    accepted = extensions(ServerPerMessageDeflateFactory, bits, count)
    async with serve(echo, "127.0.0.1", 0, backlog=4096, extensions=accepted, **OPTIONS) as server:
        assert server.sockets
        print(server.sockets[0].getsockname()[1], flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


async def run_client(count: int, bits: int, traced: bool, port: int, size: int) -> None:
    if traced:
        tracemalloc.start()
    offered = extensions(ClientPerMessageDeflateFactory, bits, count)
    message = text(size)

    async def open_one() -> Any:
        websocket = await connect(f"ws://127.0.0.1:{port}/", extensions=offered, **OPTIONS)
        before = websocket.statistics
        await websocket.send(message, compress=True)
        if await websocket.recv() != message:
            raise AssertionError("the message did not come back")
        after = websocket.statistics
        for passed in (after.bytes_sent - before.bytes_sent, after.bytes_received - before.bytes_received):
            if (passed < size) is not bool(bits):
                raise AssertionError(f"{passed} bytes for a message of {size}")
        return websocket

    async def both() -> tuple[int, int]:
        await first.send("memory")
        theirs = json.loads(await first.recv())
        ours = memory(traced)
        return ours[0] + theirs[0], ours[1] + theirs[1]

    first = await open_one()
    before = (await both())[1]
    connections: list[Any] = []
    while len(connections) < count:
        connections += await asyncio.gather(*(open_one() for _ in range(min(100, count - len(connections)))))
    in_use = (await both())[0]
    await asyncio.sleep(2 * idle_timeout(count) + 1)
    figures = (in_use, *(await both()))
    print(json.dumps([(figure - before) / count / 1024 for figure in figures]))


def measure(count: int, size: int, bits: int, traced: bool = False) -> list[float]:
    """Return the KiB a connection of both ends together: in use, idle, idle and given back."""
    command = [sys.executable, __file__]
    shared = [str(count), str(bits), str(int(traced))]
    server = subprocess.Popen([*command, "server", *shared], stdin=-1, stdout=-1, text=True)
    assert server.stdin
    assert server.stdout
    try:
        port = server.stdout.readline().strip()
        client = [*command, "client", *shared, port, str(size)]
        done = subprocess.run(client, stdout=-1, check=True, text=True)
    finally:
        server.stdin.close()
        server.wait()
        server.stdout.close()
    figures: list[float] = json.loads(done.stdout)
    return figures


def main(count: int, sizes: list[int]) -> None:
    print(f"{count} connections, both ends, {ZLIB}; KiB a connection, and compared to no compression\n")
    print_head("message", "compression", "in use", "idle", "idle, given back", "objects, idle")
    for size in sizes:
        plain: list[float] = []
        for bits in (0, 12, 15):
            figures = measure(count, size, bits)
            figures.append(measure(min(count, TRACED), size, bits, True)[1])
            plain = plain or figures
            cells = [
                f"{figure:.2f} ({figure / none:.3f})" for figure, none in zip(figures, plain, strict=True)
            ]
            name = f"{bits} bits" if bits else "none"
            print_row([f"{size} B", name, *cells])


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["server", count, bits, traced]:
            asyncio.run(run_server(int(count), int(bits), traced == "1"))
        case ["client", count, bits, traced, port, size]:
            asyncio.run(run_client(int(count), int(bits), traced == "1", int(port), int(size)))
        case []:
            main(10_000, [256, 65536])
        case [count, *sizes]:
            main(int(count), [int(size) for size in sizes] or [256, 65536])
