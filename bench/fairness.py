"""Whether one peer leaves the others their turn:  python bench/fairness.py [KIBIBYTES [ADAPTER ...]]

A peer floods a connection with KIBIBYTES (8192), as fast as it can, of what the application never sees:
pongs, pings, fragments of a message that does not end, or interim responses to a request. On runtimes
with an event loop another task takes a turn whenever it is let, and the number that counts is the bytes
that the flooded connection received between two of its turns. On threads it is the bytes that five
flooded connections received between two answers to the pings of a sixth one.

Then a program calls a method in a loop that never has to wait: it receives messages that are all there,
sends to a peer that reads everything, or swallows the exception of a connection that is closed. There the
number is the calls between two turns.

Ends with an error if one number is above its limit. None depends on how long anything takes, except on
threads, where the limit is far from what is usual.
"""

from __future__ import annotations

import contextlib
import functools
import socket
import sys
import threading
from collections.abc import Callable
from typing import Any

import anyio
import anyio.lowlevel
from measuring import print_head, print_row
from runtimes import ADAPTERS, HOST, OPTIONS, at_work, cut, drain, frame, open_peer, port_of, run, serving

from adapters.threading import serve as serve_threads
from wsproto_core import ConnectionClosed

BYTES = 2**18
"""Bytes of a flood between two turns: 64 KiB and the read that exceeds them, before one and after the other,
as trio orders its tasks by chance."""

KEEPALIVE = 0.1
"""Seconds between pings of the connections on threads, so that the background thread has much to do."""

CALLS = 128
"""Calls between two turns: 64 before one and 64 after the other."""

FLOODED = 5
"""How many connections are flooded on threads."""

THREADS_BYTES = 2**23
"""Bytes of all floods between two answers on another connection, on threads: some seconds' worth when
another connection waits for the flooded ones, a tenth when it waits for the interpreter's lock alone."""

CLOSED_CALLS = 2
"""The same for calls that raise ConnectionClosed: each lets others run, in any order."""

FLOODS = {
    "pongs": (b"", frame(0x8A)),
    "pings": (b"", frame(0x89)),
    "fragments": (frame(0x01), frame(0x00, b"x")),
}
"""What a client floods a server with: the beginning, and what is repeated."""

INTERIM = b"HTTP/1.1 100 Continue\r\n\r\n"


def flood(sock: socket.socket, beginning: bytes, repeated: bytes) -> None:
    """Write without an end, until the connection is closed."""
    chunk = repeated * (2**16 // len(repeated))
    with contextlib.suppress(OSError):
        sock.sendall(beginning)
        while True:
            sock.sendall(chunk)


# On event loops


async def watch(progress: Callable[[], int], goal: int, over: anyio.Event | None = None) -> int:
    """Take a turn whenever there is one, until the goal or the end; return the most progress between two."""
    most = last = 0
    while last < goal and not (over is not None and over.is_set()):
        now = progress()
        most, last = max(most, now - last), now
        await anyio.lowlevel.checkpoint()
    return most


class Opened:
    """Connections as they are made, by an adapter's own class."""

    def __init__(self, kind: type[Any]) -> None:
        self.kind = kind
        self.connections: list[Any] = []

    def __call__(self, *args: Any, **options: Any) -> Any:
        self.connections.append(self.kind(*args, **options))
        return self.connections[-1]

    def received(self) -> int:
        return sum(connection.statistics.bytes_received for connection in self.connections)


async def flood_server(adapter: Any, kind: str, tls: bool, goal: int) -> int:
    """Return the most bytes that a connection of a server receives between two turns."""
    opened = Opened(adapter.ServerConnection)

    async def handler(websocket: Any) -> None:
        with contextlib.suppress(ConnectionClosed):
            await websocket.recv()

    async with serving(adapter, handler, tls, create_protocol=opened) as server:
        # A context manager of TLS would wait for a peer that never reads.
        peer = await anyio.to_thread.run_sync(open_peer, port_of(server), tls)
        functions = functools.partial(flood, peer, *FLOODS[kind]), functools.partial(drain, peer)
        with contextlib.closing(peer), at_work(*functions), cut(peer):
            most = await watch(opened.received, goal)
    return most


async def flood_client(adapter: Any, goal: int) -> int:
    """Return the most bytes of interim responses that a client receives between two turns."""
    opened = Opened(adapter.ClientConnection)
    over = anyio.Event()

    async def open_connection(uri: str) -> None:
        with contextlib.suppress(Exception):
            async with adapter.connect(uri, create_protocol=opened, **OPTIONS):
                pass
        over.set()

    with socket.create_server((HOST, 0)) as listener:
        uri = f"ws://{HOST}:{listener.getsockname()[1]}/"
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(open_connection, uri)
            peer, _ = await anyio.to_thread.run_sync(listener.accept)
            functions = functools.partial(flood, peer, b"", INTERIM), functools.partial(drain, peer)
            with contextlib.closing(peer), at_work(*functions), cut(peer):
                most = await watch(opened.received, goal, over)
    return most


async def call(adapter: Any, method: str, goal: int) -> int:
    """Return the most calls of a method between two turns of another task."""
    calls = 0
    begin = anyio.Event()

    async def handler(websocket: Any) -> None:
        nonlocal calls
        if method == "closed":
            await websocket.wait_closed()
        begin.set()
        # The first call may have to wait.
        with contextlib.suppress(ConnectionClosed):
            await websocket.recv()
        while calls < goal:
            calls += 1
            try:
                if method == "send":
                    await websocket.send(b"x" * 16)
                else:
                    await websocket.recv()
            except ConnectionClosed:
                if method != "closed":
                    raise

    async with serving(adapter, handler, max_queue=None, read_limit=None) as server:
        peer = await anyio.to_thread.run_sync(open_peer, port_of(server))
        with contextlib.closing(peer), at_work(functools.partial(drain, peer)), cut(peer):
            if method == "closed":
                peer.sendall(frame(0x88))
            else:
                peer.sendall(frame(0x82, b"x") * (goal + 1))
            await begin.wait()
            most = await watch(lambda: calls, goal)
    return most


METHODS = {"recv": CALLS, "send": CALLS, "closed": CLOSED_CALLS}
"""What is called, and how often between two turns."""


# On threads


def answer(sock: socket.socket) -> None:
    """Read until a pong comes, whatever pings come before."""
    first = 0
    while first != 0x8A:
        first, length = sock.recv(2, socket.MSG_WAITALL)
        sock.recv(length, socket.MSG_WAITALL)


def flood_threads(kind: str, waiting: bool, goal: int) -> int:
    """Return the most bytes that flooded connections receive between two answers on another one.

    Their threads wait for messages, or leave the reading to the background thread, which reads the other
    connection in any case.
    """
    connections: list[Any] = []
    end = threading.Event()

    def handler(websocket: Any) -> None:
        connections.append(websocket)
        if waiting and len(connections) > 1:
            with contextlib.suppress(ConnectionClosed):
                websocket.recv()
        else:
            end.wait()

    def received() -> int:
        return sum(websocket.statistics.bytes_received for websocket in list(connections))

    most = last = 0
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(serve_threads(handler, HOST, 0, ping_interval=KEEPALIVE, **OPTIONS))
        stack.enter_context(at_work(server.serve_forever))
        stack.callback(server.close)
        stack.callback(end.set)
        port = port_of(server)
        quiet = stack.enter_context(open_peer(port))
        for _ in range(FLOODED):
            peer = stack.enter_context(contextlib.closing(open_peer(port)))
            functions = functools.partial(flood, peer, *FLOODS[kind]), functools.partial(drain, peer)
            stack.enter_context(at_work(*functions))
            stack.enter_context(cut(peer))
        while last < goal:
            quiet.sendall(frame(0x89, b"pong?"))
            answer(quiet)
            now = received()
            most, last = max(most, now - last), now
    return most


def main(kibibytes: int, *adapters: str) -> None:
    goal = kibibytes * 1024
    above: list[str] = []

    def show(adapter: str, what: str, most: int, limit: int) -> None:
        print_row([adapter, what, f"{most:,}", f"{limit:,}"])
        if most > limit:
            above.append(f"{adapter}, {what}")

    print("What happens between two turns of others\n")
    print_head("adapter", "what", "most", "limit")
    for adapter in adapters or (*ADAPTERS, "threading"):
        if adapter == "threading":
            for kind in FLOODS:
                # The background thread stops reading a message that nobody asks for.
                for waiting in (True, False) if kind != "fragments" else (True,):
                    most = flood_threads(kind, waiting, goal)
                    reader = "a thread" if waiting else "the background thread"
                    show(adapter, f"bytes of {kind}, read by {reader}", most, THREADS_BYTES)
            continue
        for kind in FLOODS:
            # On TLS everything is read in the same way.
            for tls in (False, True) if kind == "pongs" else (False,):
                most = run(adapter, flood_server, kind, tls, goal)
                show(adapter, f"bytes of {kind}{' on TLS' * tls}", most, BYTES)
        show(adapter, "bytes of interim responses", run(adapter, flood_client, goal), BYTES)
        for method, limit in METHODS.items():
            name = "recv, closed" if method == "closed" else method
            show(adapter, f"calls of {name}", run(adapter, call, method, 2000), limit)
    if above:
        sys.exit(f"others do not get their turn: {'; '.join(above)}")


if __name__ == "__main__":
    kibibytes, *chosen = sys.argv[1:] or ["8192"]
    main(int(kibibytes), *chosen)
