"""Open and close connections, again and again; nothing may be left of them.

The ends are a client's and a server's closing handshake, a reset, the end of the stream without a close
frame, and two errors of the peer. After each, the server has no connections. After all, threads, descriptors,
and objects by their types (tasks, sockets, timers, connections, whatever else) are as many as before. asyncio
is in debug mode, and a ResourceWarning is an error.

Usage: python -W error -m tests.soak.leaks [--runs N] [--runtimes "NAME ..."]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import math
import os
import sys
import threading
import time
from collections import Counter
from typing import Any

from tests.adapters.runtimes import RUNTIMES, SOCKETS, Runtime, make_runtime
from tests.adapters.runtimes.base import ENDING
from tests.core.helpers import TEXT, Frame
from wsproto_core import ConnectionClosed

__all__ = ["WAYS", "check_leaks"]

WAYS = ("client closes", "server closes", "reset", "end", "bad frame", "bad text")

WARM_UP = 30
"""Connections before the first count."""

TOLERANCE = 130
"""Objects of one type that may be more after any number of connections: asyncio keeps up to a hundred timers
that are cancelled."""

PATIENCE = 0.5
"""Seconds for one connection, on a machine with much else to do."""

LEAVE = "leave"


async def echo(websocket: Any) -> None:
    async for message in websocket:
        if message == LEAVE:
            break
        await websocket.send(message)


async def come_and_go(runtime: Runtime, server: Any, uri: str, way: str) -> None:
    """Open a connection and let it end."""
    if way.endswith("closes"):
        async with runtime.connect(uri) as client:
            await runtime.check_echo(client)
            if way == "server closes":
                await client.send(LEAVE)
                with contextlib.suppress(ConnectionClosed):
                    await client.recv()
    else:
        async with runtime.raw_client(server) as peer:
            if way == "reset":
                await peer.send(Frame(TEXT, b"a"))
                await peer.read_frame()
                peer.reset()
            elif way == "end":
                peer.end()
            else:
                await peer.send(b"\xff\xff" if way == "bad frame" else Frame(TEXT, b"\xff"))
                await peer.read_frame()
    await runtime.until(lambda: not server.connections)


def counts() -> tuple[int, int, Counter[str]]:
    """Threads, descriptors, and objects by type."""
    for _ in range(3):
        gc.collect()
    objects = Counter(f"{type(each).__module__}.{type(each).__qualname__}" for each in gc.get_objects())
    return threading.active_count(), len(os.listdir("/proc/self/fd")), objects


async def check_leaks(runtime: Runtime, runs: int, keep: Any = None) -> None:
    """Open and close so many connections.

    Args:
        runtime: the runtime.
        runs: how many.
        keep: called with each connection of the server; for the test that a leak is found.
    """
    if runtime.name in ("asyncio", "uvloop"):
        loop = asyncio.get_running_loop()
        loop.set_debug(True)
        # A slow step is no fault here.
        loop.slow_callback_duration = math.inf

    async def handler(websocket: Any) -> None:
        if keep is not None:
            keep(websocket)
        await echo(websocket)

    async with runtime.serving(handler, compression="deflate") as (server, uri):
        for number in range(WARM_UP):
            await come_and_go(runtime, server, uri, WAYS[number % len(WAYS)])
        await runtime.settle()
        threads, descriptors, before = counts()
        for number in range(runs):
            await come_and_go(runtime, server, uri, WAYS[number % len(WAYS)])
        # Threads end, and others have their last turns.
        await runtime.until(lambda: threading.active_count() <= threads)
        await runtime.settle()
        # On a busy machine, the background thread of the adapter for threads takes time to forget deadlines.
        end = time.monotonic() + (ENDING if keep is None else 0)
        while True:
            now_threads, now_descriptors, after = counts()
            grown = {kind: count for kind, count in (after - before).items() if count > TOLERANCE}
            if not grown or time.monotonic() > end:
                break
            await runtime.sleep(0.1)
        assert not grown, f"objects are left of {runs} connections: {grown}"
        assert now_threads <= threads, f"{now_threads} threads, {threads} before"
        assert now_descriptors <= descriptors, f"{now_descriptors} descriptors, {descriptors} before"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--runs", type=int, default=10_000, help="connections on each runtime (10000)")
    names = [name for name, kind in RUNTIMES.items() if SOCKETS in kind.abilities]
    parser.add_argument("--runtimes", default=" ".join(names), help="which (default: all with sockets)")
    options = parser.parse_args()
    # A warning of an object that is collected cannot be raised.
    unraisable: list[Any] = []
    sys.unraisablehook = unraisable.append
    for name in (name for name in options.runtimes.split() if name in names):
        started = time.monotonic()
        runtime = make_runtime(name)
        runtime.deadline += options.runs * PATIENCE
        runtime.run(check_leaks(runtime, options.runs))
        assert not unraisable, f"{name}: {[each.exc_value for each in unraisable]}"
        print(f"{name}: {options.runs} in {time.monotonic() - started:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
