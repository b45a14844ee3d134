"""Programs for the tests of topics, in processes of their own: see :func:`start`."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import resource
import selectors
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

HOST = "127.0.0.1"


def start(*arguments: object) -> subprocess.Popen[str]:
    """Start a program: the name of one of the functions below, and its arguments.

    What it prints comes by ``stdout``, and what it is told goes by ``stdin``.
    """
    return subprocess.Popen(
        [sys.executable, "-m", __name__, *map(str, arguments)],
        cwd=Path(__file__).parents[3],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def publisher(url: str, topic: str, name: str) -> None:
    """Publish to a topic from several tasks, without end; print what is known to be published."""
    from adapters.topics import Retention, Topics
    from adapters.topics.redis import RedisBackplane

    async def main() -> None:
        async with Topics(RedisBackplane(url, timeout=60), history=Retention(100_000)) as topics:

            async def publish(task: int) -> None:
                for number in itertools.count():
                    message = f"{name} {task} {number}"
                    await topics.publish(topic, message)
                    os.write(1, f"{message}\n".encode())

            await asyncio.gather(*map(publish, range(4)))

    asyncio.run(main())


def worker(url: str, port: str) -> None:
    """Serve sessions; print a line when that has begun."""
    from adapters.asyncio import ServerConnection, serve
    from adapters.topics import Retention, Topics
    from adapters.topics.redis import RedisBackplane
    from adapters.topics.session import serve_session

    async def main() -> None:
        async with Topics(RedisBackplane(url, timeout=60), history=Retention(100_000)) as topics:

            async def handler(websocket: ServerConnection) -> None:
                await serve_session(topics, websocket, may=lambda *_: True, queue=None)

            async with serve(handler, HOST, int(port), ping_interval=None) as server:
                print("serving", flush=True)
                await server.serve_forever()

    asyncio.run(main())


def returning(url: str, count: str) -> None:
    """Accept connections; when told, subscribe them all to a topic at once, from the start of its history.

    Lines are printed with the port, and then with the number of gaps.
    """
    from adapters.asyncio import ServerConnection, serve
    from adapters.topics import START, Retention, Topics
    from adapters.topics.redis import RedisBackplane

    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

    async def main() -> None:
        ends: list[ServerConnection] = []
        all_are_there = asyncio.Event()

        async def handler(websocket: ServerConnection) -> None:
            ends.append(websocket)
            if len(ends) == int(count):
                all_are_there.set()
            await websocket.wait_closed()

        options: dict[str, Any] = {"ping_interval": None, "compression": None, "write_limit": 2**14}
        async with (
            Topics(RedisBackplane(url, timeout=60), history=Retention(1000)) as topics,
            serve(handler, HOST, 0, **options) as server,
        ):
            print(server.port, flush=True)
            await asyncio.to_thread(sys.stdin.readline)
            await all_are_there.wait()
            await asyncio.gather(*(topics.subscribe(end, "room", after=START) for end in ends))
            await asyncio.to_thread(sys.stdin.readline)
            print(topics.health.gaps, flush=True)

    asyncio.run(main())


def clients(port: str, count: str, messages: str) -> None:
    """Open connections, all of which get the same short text messages; print how many have got which.

    A line is printed when all have had their opening handshake. These clients are no more than sockets, so
    that there can be many.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    request = (
        f"GET / HTTP/1.1\r\nHost: {HOST}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ).encode()
    selector = selectors.DefaultSelector()
    buffers: dict[socket.socket, bytearray] = {}
    for _ in range(int(count)):
        sock = socket.create_connection((HOST, int(port)))
        sock.sendall(request)
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += sock.recv(4096)
        assert b" 101 " in head
        buffers[sock] = bytearray()
    print("connected", flush=True)
    got: dict[socket.socket, list[str]] = {sock: [] for sock in buffers}
    for sock in buffers:
        selector.register(sock, selectors.EVENT_READ)
    left = len(buffers)
    while left:
        for key, _ in selector.select():
            sock = key.fileobj
            assert isinstance(sock, socket.socket)
            data, buffer, texts = sock.recv(2**16), buffers[sock], got[sock]
            assert data, "the connection has ended"
            buffer += data
            while len(buffer) >= 2 and len(buffer) >= 2 + buffer[1]:
                assert buffer[0] == 0x81
                assert buffer[1] < 126
                texts.append(buffer[2 : 2 + buffer[1]].decode())
                del buffer[: 2 + buffer[1]]
                if len(texts) == int(messages):
                    left -= 1
    found: dict[str, int] = {}
    for texts in got.values():
        text = " ".join(texts)
        found[text] = found.get(text, 0) + 1
    print(json.dumps(found), flush=True)
    # The connections stay open until the test has looked at its end of them.
    sys.stdin.read()


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
