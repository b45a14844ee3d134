"""Memory of idle connections, with and without compression:  python bench/idle_connections.py [COUNT]

A server and a client, each in a process of its own on asyncio, over loopback. On every connection each
end sends one message, so that both have compressed and inflated; then all are left alone until their
memory for compression is given up. Needs two file descriptors a connection: ulimit -n.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from typing import Any

from memory import resident, text

from adapters.asyncio import connect, serve
from wsproto_core.extensions.permessage_deflate import (
    ZLIB,
    ClientPerMessageDeflateFactory,
    ServerPerMessageDeflateFactory,
)

IDLE = 1.0
OPTIONS: dict[str, Any] = {"compression": None, "open_timeout": 60}


async def echo(websocket: Any) -> None:
    async for message in websocket:
        if message == "memory":
            await websocket.send(str(resident()))
        else:
            await websocket.send(message, compress=True)


async def run_server(compression: bool) -> None:
    extensions = [ServerPerMessageDeflateFactory(idle_timeout=IDLE)] if compression else None
    async with serve(echo, "127.0.0.1", 0, backlog=4096, extensions=extensions, **OPTIONS) as server:
        assert server.sockets
        print(server.sockets[0].getsockname()[1], flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


async def server_memory(websocket: Any) -> int:
    await websocket.send("memory")
    return int(await websocket.recv())


async def run_client(port: int, count: int, size: int, compression: bool) -> None:
    extensions = [ClientPerMessageDeflateFactory(idle_timeout=IDLE)] if compression else None
    message = text(size)

    async def open_one() -> Any:
        websocket = await connect(f"ws://127.0.0.1:{port}/", extensions=extensions, **OPTIONS)
        await websocket.send(message, compress=True)
        if await websocket.recv() != message:
            raise AssertionError("the message did not come back")
        return websocket

    first = await open_one()
    before = resident() + await server_memory(first)
    connections = []
    while len(connections) < count:
        connections += await asyncio.gather(*(open_one() for _ in range(min(100, count - len(connections)))))
    in_use = resident() + await server_memory(first)
    await asyncio.sleep(3 * IDLE)
    idle = resident() + await server_memory(first)
    print(json.dumps([(in_use - before) / count, (idle - before) / count]))


def measure(count: int, size: int, compression: bool) -> tuple[float, float]:
    """Return bytes a connection, of both ends together: in use, and idle."""
    flag = str(int(compression))
    command = [sys.executable, __file__]
    server = subprocess.Popen([*command, "server", flag], stdin=-1, stdout=-1, text=True)
    assert server.stdin
    assert server.stdout
    try:
        port = server.stdout.readline().strip()
        client = [*command, "client", port, str(count), str(size), flag]
        done = subprocess.run(client, stdout=-1, check=True, text=True)
    finally:
        server.stdin.close()
        server.wait()
    in_use, idle = json.loads(done.stdout)
    return in_use, idle


def main(count: int) -> None:
    print(f"{count} connections, both ends, {ZLIB}; KiB a connection")
    for size in (256, 65536):
        _, plain = measure(count, size, False)
        in_use, idle = measure(count, size, True)
        print(
            f"{size:6} B messages: {plain / 1024:.2f} without compression; with it "
            f"{in_use / 1024:.2f} in use, {idle / 1024:.2f} idle, a ratio of {idle / plain:.3f}"
        )


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["server", flag]:
            asyncio.run(run_server(flag == "1"))
        case ["client", port, count, size, flag]:
            asyncio.run(run_client(int(port), int(count), int(size), flag == "1"))
        case arguments:
            main(int(arguments[0]) if arguments else 10_000)
