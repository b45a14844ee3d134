"""What an idle connection consists of, in a server on asyncio:  python bench/idle_objects.py [CONNECTIONS]

Clients in a process of their own open connections, 300 by default, and send nothing. The objects of the
server are counted before and after: by type, with their number and their bytes for each connection, asyncio's
transports, sockets and tasks included. The total is what :mod:`tracemalloc` counts. What is not in an object
of its own that the garbage collector knows (texts, numbers, the attributes of objects without slots, the
tables of dictionaries that grow) is the last row.

Ends with an error if the total is above its limit.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import sys
import tracemalloc
from collections import Counter
from typing import Any

from measuring import print_head, print_row
from runtimes import HOST, open_peer

from adapters.asyncio import serve

CONNECTIONS = 300
WARM_UP = 30
LIMITS = {"without compression": 6.3, "with compression": 6.9}
"""By what is negotiated, the most KiB that a connection may take, with CPython 3.11 and 3.12."""
NEWER = 1.2 if sys.version_info >= (3, 13) else 1.0
"""What later versions may take, in proportion: their objects have room for attributes."""

OFFER = b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"


def open_peers(port: int, count: int, offer: bytes) -> None:
    """Open connections, and close them at the end of standard input."""
    socks = [open_peer(port, headers=offer) for _ in range(count)]
    print("open", flush=True)
    sys.stdin.read()
    for sock in socks:
        sock.close()


@contextlib.asynccontextmanager
async def peers(port: int, count: int, compression: bool) -> Any:
    """Have connections from another process."""
    arguments = (__file__, "peers", str(port), str(count), str(int(compression)))
    process = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdin
    assert process.stdout
    assert await process.stdout.readline() == b"open\n"
    yield
    process.stdin.close()
    await process.wait()


def objects() -> tuple[Counter[str], Counter[str]]:
    """Count objects and their bytes, by type."""
    gc.collect()
    counts: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    for thing in gc.get_objects():
        kind = type(thing)
        name = (
            kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
        )
        counts[name] += 1
        sizes[name] += sys.getsizeof(thing)
    return counts, sizes


async def handler(websocket: Any) -> None:
    async for _ in websocket:
        pass


async def measure(count: int, compression: bool) -> tuple[Counter[str], Counter[str], int]:
    """Return the objects of so many connections, their bytes, and the bytes of everything."""
    async with serve(handler, HOST, 0) as server:
        port = server.port
        assert port is not None
        async with peers(port, WARM_UP, compression):
            pass
        await asyncio.gather(*(connection.wait_closed() for connection in server.connections))
        tracemalloc.start()
        try:
            (counts, sizes), before = objects(), tracemalloc.get_traced_memory()[0]
            async with peers(port, count, compression):
                (more, larger), after = objects(), tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()
    more.subtract(counts)
    larger.subtract(sizes)
    return more, larger, after - before


def main(count: int) -> None:
    missed = []
    for name, limit in LIMITS.items():
        counts, sizes, total = asyncio.run(measure(count, name == "with compression"))
        print(f"{name}\n")
        print_head("objects of type", "number", "bytes")
        rest = total / count
        for kind, size in sizes.most_common():
            # Fewer than one for every second connection are not objects of connections.
            if counts[kind] / count >= 0.5:
                print_row([f"`{kind}`", round(counts[kind] / count), round(size / count)])
                rest -= size / count
        print_row(["other", "", round(rest)])
        print_row(["total", "", f"{total / count:.0f} ({total / count / 1024:.2f} KiB)"])
        print()
        if total / count > limit * NEWER * 1024:
            missed.append(f"{name}: {total / count / 1024:.2f} KiB")
    if missed:
        sys.exit(f"more memory than the limit: {'; '.join(missed)}")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["peers", port, count, compression]:
            open_peers(int(port), int(count), OFFER if compression == "1" else b"")
        case []:
            main(CONNECTIONS)
        case [count]:
            main(int(count))
