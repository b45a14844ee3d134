"""Calls of Python functions that one echoed message costs a server:  python bench/calls.py [ADAPTER ...]

A client sends a text message of 5 bytes and waits for the echo, again and again; the handler of the server
is ``async for message in websocket: await websocket.send(message)``, or the same without ``async``. Counted
are the calls of functions of ``wsproto_core`` and ``adapters``, as :func:`sys.setprofile` tells of them: each
call of a function, of a method, of a property or of a constructor that is written in Python, and each
resumption of a coroutine or a generator. Not counted are functions of the runtime, of the handler, and of C.

The count does not depend on the machine: for each function it is rounded, so that timers and threads that
meet deadlines do not count. With --functions, each function and its count are printed.

Ends with an error if a count is above its limit.
"""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
from measuring import print_head, print_row
from runtimes import HOST, OPTIONS, frame, open_peer, port_of, run, serving

import adapters.threading

LIMITS = {
    "asyncio": 28,
    "uvloop": 28,
    "threading": 16,
    "trio": 40,
    "anyio-asyncio": 40,
    "anyio-trio": 40,
}
"""By adapter, the most calls that an echo may cost."""

MESSAGE = b"hello"
WARM_UP = 50
MESSAGES = 50
ROUNDS = 5
QUIET = 0.02
"""Seconds in which the server ends the work for one message and waits for the next one."""

ROOT = Path(__file__).parent.parent
COUNTED = tuple(str(ROOT / package) + "/" for package in ("wsproto_core", "adapters"))


class CallCounter:
    """Counts calls in every thread that begins after :meth:`install`, and in the one that calls it.

    Attributes:
        calls: how often each function was called since :meth:`start`, by file and name.
    """

    def __init__(self) -> None:
        self.calls: Counter[tuple[str, str]] = Counter()
        self._counting = False

    @contextlib.contextmanager
    def install(self) -> Iterator[None]:
        threading.setprofile(self._see)
        sys.setprofile(self._see)
        try:
            yield
        finally:
            sys.setprofile(None)
            threading.setprofile(None)

    def start(self) -> None:
        self.calls = Counter()
        self._counting = True

    def stop(self) -> Counter[tuple[str, str]]:
        self._counting = False
        return self.calls

    def _see(self, frame: Any, event: str, argument: Any) -> None:
        if event == "call" and self._counting:
            code = frame.f_code
            if code.co_filename.startswith(COUNTED):
                self.calls[code.co_filename, code.co_qualname] += 1


class Client:
    """A client made by hand, which asks for echoes in a thread of its own.

    Attributes:
        rounds: the calls of each round.
    """

    def __init__(self, port: int, counter: CallCounter) -> None:
        self.rounds: list[Counter[tuple[str, str]]] = []
        self.sock = open_peer(port)
        self._counter = counter

    def ask(self) -> None:
        echoes(self.sock, WARM_UP)
        for _ in range(ROUNDS):
            time.sleep(QUIET)
            self._counter.start()
            echoes(self.sock, MESSAGES)
            time.sleep(QUIET)
            self.rounds.append(self._counter.stop())
        self.sock.close()

    def cheapest(self) -> Counter[tuple[str, str]]:
        return min(self.rounds, key=Counter.total)


def echoes(sock: socket.socket, count: int) -> None:
    expected = bytes((0x81, len(MESSAGE))) + MESSAGE
    for _ in range(count):
        sock.sendall(frame(0x81, MESSAGE))
        received = b""
        while len(received) < len(expected):
            received += sock.recv(len(expected))
        assert received == expected


def count_with_tasks(adapter: str, counter: CallCounter) -> Counter[tuple[str, str]]:
    async def main(module: Any) -> Counter[tuple[str, str]]:
        async def handler(websocket: Any) -> None:
            async for message in websocket:
                await websocket.send(message)

        async with serving(module, handler) as server:
            client = await anyio.to_thread.run_sync(Client, port_of(server), counter)
            await anyio.to_thread.run_sync(client.ask)
        return client.cheapest()

    return run(adapter, main)


def count_with_threads(counter: CallCounter) -> Counter[tuple[str, str]]:
    def handler(websocket: Any) -> None:
        for message in websocket:
            websocket.send(message)

    with adapters.threading.serve(handler, HOST, 0, **OPTIONS) as server:
        client = Client(port_of(server), counter)
        client.ask()
    return client.cheapest()


def count(adapter: str) -> Counter[tuple[str, str]]:
    """Return how often each function is called for MESSAGES echoes."""
    counter = CallCounter()
    with counter.install():
        return count_with_threads(counter) if adapter == "threading" else count_with_tasks(adapter, counter)


def print_calls(calls: Counter[tuple[str, str]], times: int) -> None:
    """Print each function, and how often it was called for one of so many times."""
    for (path, name), number in calls.most_common():
        print(f"{number / times:8.2f}  {Path(path).relative_to(ROOT)}: {name}")


def main(names: list[str], tell_functions: bool) -> None:
    missed = []
    print_head("adapter", "calls for an echo", "limit")
    for adapter in names or LIMITS:
        calls = count(adapter)
        total = sum(round(number / MESSAGES) for number in calls.values())
        print_row([adapter, total, LIMITS[adapter]])
        if total > LIMITS[adapter]:
            missed.append(f"{adapter}: {total}")
        if tell_functions:
            print_calls(calls, MESSAGES)
    if missed:
        sys.exit(f"more calls than the limit: {'; '.join(missed)}")


if __name__ == "__main__":
    arguments = sys.argv[1:]
    main([name for name in arguments if name != "--functions"], "--functions" in arguments)
