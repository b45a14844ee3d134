"""Calls of Python functions that one connection costs a server:  python bench/opening_calls.py [ADAPTER ...]

A client opens a connection, sends a close frame, reads to the end of the stream, and begins anew; the
handler of the server is ``async for message in websocket: ...``, or the same without ``async``. So the
opening handshake and the closing handshake are counted, and whatever makes the objects of a connection.
``calls.py`` says what a call is.

Ends with an error if a count is above its limit.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from typing import Any

import anyio.to_thread
from calls import PAUSE, QUIET, ROUNDS, CallCounter, print_calls
from measuring import print_head, print_row
from runtimes import HOST, OPTIONS, frame, open_peer, port_of, run, serving

import adapters.threading

LIMITS = {
    "asyncio": 318,
    "uvloop": 318,
    "threading": 475,
    "trio": 530,
    "anyio-asyncio": 530,
    "anyio-trio": 540,
}
"""By adapter, the most calls that a connection may cost."""

CONNECTIONS = 20


def receive_all(websocket: Any) -> None:
    for _ in websocket:
        pass


def connect(port: int, count: int) -> None:
    """Open and close connections, one after another.

    The server waits for each step of the client: whether a step has been taken when it looks is not left to
    chance, which would change the count.
    """
    for _ in range(count):
        with open_peer(port, pause=PAUSE) as sock:
            time.sleep(PAUSE)
            sock.sendall(frame(0x88, b"\x03\xe8"))
            while sock.recv(100):
                pass


def count_calls(port: int, counter: CallCounter) -> Counter[tuple[str, str]]:
    """Return how often each function is called for CONNECTIONS connections, in the cheapest round."""
    connect(port, CONNECTIONS)
    rounds = []
    for _ in range(ROUNDS):
        time.sleep(QUIET)
        counter.start()
        connect(port, CONNECTIONS)
        time.sleep(QUIET)
        rounds.append(counter.stop())
    return min(rounds, key=Counter.total)


def count(adapter: str) -> Counter[tuple[str, str]]:
    counter = CallCounter()

    async def with_tasks(module: Any) -> Counter[tuple[str, str]]:
        async def handler(websocket: Any) -> None:
            async for _ in websocket:
                pass

        async with serving(module, handler) as server:
            return await anyio.to_thread.run_sync(count_calls, port_of(server), counter)

    with counter.install():
        if adapter != "threading":
            return run(adapter, with_tasks)
        with adapters.threading.serve(receive_all, HOST, 0, **OPTIONS) as server:
            return count_calls(port_of(server), counter)


def main(names: list[str], tell_functions: bool) -> None:
    missed = []
    print_head("adapter", "calls for a connection", "limit")
    for adapter in names or LIMITS:
        calls = count(adapter)
        total = sum(round(number / CONNECTIONS) for number in calls.values())
        print_row([adapter, total, LIMITS[adapter]])
        if total > LIMITS[adapter]:
            missed.append(f"{adapter}: {total}")
        if tell_functions:
            print_calls(calls, CONNECTIONS)
    if missed:
        sys.exit(f"more calls than the limit: {'; '.join(missed)}")


if __name__ == "__main__":
    arguments = sys.argv[1:]
    main([name for name in arguments if name != "--functions"], "--functions" in arguments)
