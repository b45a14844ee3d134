"""Calls of Python functions that one echoed message costs a server:  python bench/calls.py [ADAPTER ...]

A client sends a text message of 5 bytes and waits for the echo, again and again; then 32 such messages at
once, and waits for the echoes of all. The handler of the server is ``async for message in websocket: await
websocket.send(message)``, or the same without ``async``. Counted
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
from typing import Any, TypeAlias

import anyio
import anyio.to_thread
from measuring import print_head, print_row
from runtimes import HOST, OPTIONS, frame, open_peer, port_of, run, serving

import adapters.threading
import wsproto_core

STRUCTURED = (24, 5) if wsproto_core.COMPILED else (40, 10)
ASYNCIO = (2, 1) if wsproto_core.COMPILED else (28, 28)
LIMITS = {
    "asyncio": ASYNCIO,
    "uvloop": ASYNCIO,
    "threading": (16, 16),
    "trio": STRUCTURED,
    # The look for a cancellation is a function of the adapter, in the place of a coroutine of anyio's.
    "anyio-asyncio": (STRUCTURED[0] + 3, STRUCTURED[1] + 2),
    "anyio-trio": STRUCTURED,
}
"""By adapter, the most calls that an echo may cost: of one message, and of each of several at once."""

MESSAGE = b"hello"
WARM_UP = 50
MESSAGES = 64
AT_ONCE = 32
ROUNDS = 5
QUIET = 0.02
"""Seconds in which the server ends the work for one message and waits for the next one."""

PAUSE = 0.002
"""Seconds between an echo and the next message."""

ROOT = Path(__file__).parent.parent
COUNTED = tuple(str(ROOT / package) + "/" for package in ("wsproto_core", "adapters"))


Calls: TypeAlias = Counter[tuple[str, str]]
"""How often each function was called, by file and name."""


class CallCounter:
    """Counts calls in every thread that begins after :meth:`install`, and in the one that calls it.

    Attributes:
        calls: those since :meth:`start`.
    """

    def __init__(self) -> None:
        self.calls: Calls = Counter()
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

    def stop(self) -> Calls:
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
        calls: those for MESSAGES echoes, of one message at a time and of several at once.
    """

    def __init__(self, port: int, counter: CallCounter) -> None:
        self.calls: list[Calls] = []
        self.sock = open_peer(port)
        self._counter = counter

    def ask(self) -> None:
        echoes(self.sock, WARM_UP, 1)
        for at_once in (1, AT_ONCE):
            self.calls.append(min((self._count(at_once) for _ in range(ROUNDS)), key=Counter.total))
        self.sock.close()

    def _count(self, at_once: int) -> Calls:
        time.sleep(QUIET)
        self._counter.start()
        echoes(self.sock, MESSAGES, at_once)
        time.sleep(QUIET)
        return self._counter.stop()


def echoes(sock: socket.socket, count: int, at_once: int) -> None:
    expected = (bytes((0x81, len(MESSAGE))) + MESSAGE) * at_once
    for _ in range(0, count, at_once):
        # The server waits for each request: whether it comes before the server reads is not left to chance.
        time.sleep(PAUSE)
        sock.sendall(frame(0x81, MESSAGE) * at_once)
        received = b""
        while len(received) < len(expected):
            received += sock.recv(len(expected))
        assert received == expected


def count_with_tasks(adapter: str, counter: CallCounter) -> list[Calls]:
    async def main(module: Any) -> list[Calls]:
        async def handler(websocket: Any) -> None:
            async for message in websocket:
                await websocket.send(message)

        async with serving(module, handler) as server:
            client = await anyio.to_thread.run_sync(Client, port_of(server), counter)
            await anyio.to_thread.run_sync(client.ask)
        return client.calls

    return run(adapter, main)


def count_with_threads(counter: CallCounter) -> list[Calls]:
    def handler(websocket: Any) -> None:
        for message in websocket:
            websocket.send(message)

    with adapters.threading.serve(handler, HOST, 0, **OPTIONS) as server:
        client = Client(port_of(server), counter)
        client.ask()
    return client.calls


def count(adapter: str) -> list[Calls]:
    """Return how often each function is called for MESSAGES echoes: see :class:`Client`."""
    counter = CallCounter()
    with counter.install():
        return count_with_threads(counter) if adapter == "threading" else count_with_tasks(adapter, counter)


def print_calls(calls: Calls, times: int) -> None:
    """Print each function, and how often it was called for one of so many times."""
    for (path, name), number in calls.most_common():
        print(f"{number / times:8.2f}  {Path(path).relative_to(ROOT)}: {name}")


def main(names: list[str], tell_functions: bool) -> None:
    missed = []
    print_head("adapter", "calls for an echo", "limit")
    for adapter in names or LIMITS:
        for name, calls, limit in zip(
            (adapter, f"{adapter}, {AT_ONCE} at once"), count(adapter), LIMITS[adapter], strict=True
        ):
            total = sum(round(number / MESSAGES) for number in calls.values())
            print_row([name, total, limit])
            if total > limit:
                missed.append(f"{name}: {total}")
            if tell_functions:
                print_calls(calls, MESSAGES)
    if missed:
        sys.exit(f"more calls than the limit: {'; '.join(missed)}")


if __name__ == "__main__":
    arguments = sys.argv[1:]
    main([name for name in arguments if name != "--functions"], "--functions" in arguments)
