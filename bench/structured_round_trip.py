"""CPU time of echo round trips on trio and anyio:  python bench/structured_round_trip.py [COUNT [ROUNDS]]

A client sends 256 bytes and waits for them to come back, COUNT times (20000), over loopback. Client
and server are processes of their own, and the CPU time of each is told, in microseconds a message:
for streams of trio without WebSocket, for adapters.trio, for trio-websocket if it is installed, and
for adapters.asyncio (also with callbacks on the server) and adapters.anyio on asyncio. The best of
the rounds counts (3).
"""

from __future__ import annotations

import asyncio
import importlib.util
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import trio

import adapters.anyio
import adapters.asyncio
import adapters.trio

MESSAGE = b"x" * 256
HOST = "127.0.0.1"
ROUNDS = 3
OPTIONS: dict[str, Any] = {"compression": None}


async def echo(websocket: Any) -> None:
    async for message in websocket:
        await websocket.send(message)


class Echo(adapters.asyncio.ServerConnection):
    """Echoes in the read callback."""

    def message_received(self, message: Any) -> None:
        self.protocol.send(message)


async def ask(websocket: Any, count: int) -> None:
    for _ in range(count):
        await websocket.send(MESSAGE)
        await websocket.recv()


async def measure(ask: Callable[[int], Awaitable[None]], count: int) -> None:
    await ask(count // 10)
    start = time.process_time()
    await ask(count)
    print(time.process_time() - start, flush=True)


# Each server says its port; each client its CPU time.


async def bare_server() -> None:
    async def handler(stream: trio.SocketStream) -> None:
        while data := await stream.receive_some(65536):
            await stream.send_all(data)

    listeners = await trio.open_tcp_listeners(0, host=HOST)
    print(listeners[0].socket.getsockname()[1], flush=True)
    await trio.serve_listeners(handler, listeners)


async def bare_client(port: int, count: int) -> None:
    async def ask(count: int) -> None:
        for _ in range(count):
            await stream.send_all(MESSAGE)
            received = 0
            while received < len(MESSAGE):
                received += len(await stream.receive_some(65536))

    async with await trio.open_tcp_stream(HOST, port) as stream:
        await measure(ask, count)


def adapter_server(adapter: Any) -> Callable[[], Awaitable[None]]:
    async def run() -> None:
        async with adapter.serve(echo, HOST, 0, **OPTIONS) as server:
            print(server.sockets[0].getsockname()[1], flush=True)
            await server.serve_forever()

    return run


async def callback_server() -> None:
    handler = adapters.asyncio.ServerConnection.wait_closed
    async with adapters.asyncio.serve(handler, HOST, 0, create_protocol=Echo, **OPTIONS) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()


def adapter_client(adapter: Any) -> Callable[[int, int], Awaitable[None]]:
    async def run(port: int, count: int) -> None:
        async with adapter.connect(f"ws://{HOST}:{port}", **OPTIONS) as websocket:
            await measure(lambda count: ask(websocket, count), count)

    return run


async def trio_websocket_server() -> None:
    import trio_websocket

    async def handler(request: Any) -> None:
        websocket = await request.accept()
        while True:
            try:
                await websocket.send_message(await websocket.get_message())
            except trio_websocket.ConnectionClosed:
                return

    async with trio.open_nursery() as nursery:
        server = await nursery.start(trio_websocket.serve_websocket, handler, HOST, 0, None)
        print(server.port, flush=True)


async def trio_websocket_client(port: int, count: int) -> None:
    import trio_websocket

    async def ask(count: int) -> None:
        for _ in range(count):
            await websocket.send_message(MESSAGE)
            await websocket.get_message()

    async with trio_websocket.open_websocket_url(f"ws://{HOST}:{port}") as websocket:
        await measure(ask, count)


def run_on_asyncio(function: Callable[..., Any], *args: Any) -> None:
    asyncio.run(function(*args))


KINDS: dict[str, tuple[Callable[..., Any], Callable[..., Any], Callable[..., Any]]] = {
    "trio streams": (trio.run, bare_server, bare_client),
    "adapters.trio": (trio.run, adapter_server(adapters.trio), adapter_client(adapters.trio)),
    "trio-websocket": (trio.run, trio_websocket_server, trio_websocket_client),
    "adapters.asyncio": (run_on_asyncio, adapter_server(adapters.asyncio), adapter_client(adapters.asyncio)),
    "asyncio, callbacks": (run_on_asyncio, callback_server, adapter_client(adapters.asyncio)),
    "adapters.anyio": (anyio.run, adapter_server(adapters.anyio), adapter_client(adapters.anyio)),
}

RATIOS = [
    ("adapters.trio", "trio streams"),
    ("trio-websocket", "trio streams"),
    ("asyncio, callbacks", "adapters.asyncio"),
    ("adapters.anyio", "adapters.asyncio"),
]


def tell_time() -> None:
    """Answer each line with the CPU time so far."""
    for _ in sys.stdin:
        print(time.process_time(), flush=True)


def start(*args: str) -> subprocess.Popen[str]:
    command = [sys.executable, __file__, *args]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def round_trips(kind: str, count: int) -> tuple[float, float]:
    """Return the seconds of CPU time a message, of the client and of the server."""
    server = start(kind, "server")
    assert server.stdout
    port = server.stdout.readline().strip()

    def server_time() -> float:
        assert server.stdin
        assert server.stdout
        print(file=server.stdin, flush=True)
        return float(server.stdout.readline())

    before = server_time()
    client = start(kind, "client", port, str(count))
    client_seconds = float(client.communicate()[0])
    # The messages that warm up count as well: the server knows nothing of them.
    server_seconds = server_time() - before
    server.terminate()
    server.communicate()
    return client_seconds / count, server_seconds / (count * 1.1)


def main(count: int = 20000, rounds: int = ROUNDS) -> None:
    best: dict[str, tuple[float, float]] = {}
    kinds = [kind for kind in KINDS if kind != "trio-websocket" or importlib.util.find_spec("trio_websocket")]
    for _ in range(rounds):
        for kind in kinds:
            times = round_trips(kind, count)
            best[kind] = min(times, best.get(kind, times))
    print(f"{'':18}{'client':>9}{'server':>9}  us a round trip")
    for kind, (client, server) in best.items():
        print(f"{kind:18}{client * 1e6:9.1f}{server * 1e6:9.1f}")
    for kind, other in RATIOS:
        if kind in best:
            client, server = (ours / theirs for ours, theirs in zip(best[kind], best[other], strict=True))
            print(f"{kind} / {other}: client {client:.2f}, server {server:.2f}")


if __name__ == "__main__":
    match sys.argv[1:]:
        case [kind, "server"]:
            threading.Thread(target=tell_time, daemon=True).start()
            run, server, _ = KINDS[kind]
            run(server)
        case [kind, "client", port, count]:
            run, _, client = KINDS[kind]
            run(client, int(port), int(count))
        case arguments:
            main(*map(int, arguments))
