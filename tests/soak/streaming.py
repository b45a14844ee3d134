"""Stream to peers that leave, again and again; stop at the first failure and say what it was.

A server's handler sends without end, and its clients read a little, then leave, each in one of several ways.
Or a client sends without end, and the server leaves. Plain and in TLS, on every runtime. Then nothing may be
frozen: another task, or thread, has its turn all the time. Nothing may be logged at level WARNING or above,
by whoever it is. And no connection may be left.

Usage: python -m tests.soak.streaming [--runs N] [--runtimes "NAME ..."]
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import logging
import sys
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

from tests.adapters.runtimes import RUNTIMES, SOCKETS, Runtime, make_runtime
from tests.adapters.runtimes.base import DEADLINE, QUIET
from tests.adapters.runtimes.peers import Peer
from tests.core.helpers import CLOSE, Frame, close_payload
from wsproto_core import ConnectionClosed

__all__ = ["WAYS", "client_streams", "no_log_lines", "server_streams"]

WAYS = ("close", "reset", "end", "say", "say and close")
"""How a peer leaves: it closes its socket, which is a reset if something is unread; resets it; ends its half
and closes; sends a close frame, waits for the answer and closes; or closes without waiting."""

AT_ONCE = 10
"""Peers that are there at the same time."""

PATIENCE = 60.0
"""Seconds in which what is to happen must have happened, also on a machine with much else to do."""

MESSAGE = "x" * 10


class Watch:
    """Another task, or thread: it says when it did not run for long."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._stopped = False
        self.longest = 0.0

    async def run(self) -> None:
        last = time.monotonic()
        while not self._stopped:
            await self._runtime.sleep(0.005)
            now = time.monotonic()
            self.longest = max(self.longest, now - last)
            last = now

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        beside = self._runtime.spawn(self.run)
        try:
            yield
        finally:
            self._stopped = True
        await beside.result()
        assert self.longest < PATIENCE, f"nothing else ran for {self.longest:.1f} seconds"


@contextlib.contextmanager
def no_log_lines() -> Iterator[None]:
    """Fail if anybody logs a warning or worse; end the process if it is frozen: nobody in it can tell."""
    lines: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(f"{record.name}: {record.getMessage()}")

    handler = Keep(logging.WARNING)
    logging.getLogger().addHandler(handler)
    faulthandler.dump_traceback_later(2 * DEADLINE, exit=True)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
        logging.getLogger().removeHandler(handler)
    assert not lines, f"{len(lines)} lines were logged, such as: {lines[:3]}"


async def stream(websocket: Any) -> None:
    """Send without end, and without ever looking at anything but the exception."""
    try:
        while True:
            await websocket.send(MESSAGE)
    except ConnectionClosed:
        pass


async def leave(peer: Peer, way: str) -> None:
    """Leave, after a little reading."""
    with contextlib.suppress(OSError, EOFError):
        await peer.read_frame()
        if way.startswith("say"):
            await peer.send(Frame(CLOSE, close_payload(1000)))
        while way == "say" and (await peer.read_frame()).opcode != CLOSE:
            pass
        if way == "end":
            peer.end()
    if way == "reset":
        peer.reset()
    else:
        peer.close()


async def all_of(runtime: Runtime, *functions: Any) -> None:
    """Run functions at the same time, to their ends."""
    for task in [runtime.spawn(function) for function in functions]:
        await task.result()


async def server_streams(runtime: Runtime, tls: bool, runs: int) -> None:
    """So many clients leave a server that streams."""
    async with (
        Watch(runtime).running(),
        runtime.serving(stream, **QUIET, **runtime.server_tls(tls)) as (server, _),
    ):

        async def run(first: int) -> None:
            for number in range(first, runs, AT_ONCE):
                async with runtime.raw_client(server, tls=tls) as peer:
                    await leave(peer, WAYS[number % len(WAYS)])

        await all_of(runtime, *[lambda first=first: run(first) for first in range(min(AT_ONCE, runs))])
        await runtime.until(lambda: not server.connections)


async def client_streams(runtime: Runtime, tls: bool, runs: int) -> None:
    """So many servers leave a client that streams."""

    async def run(first: int) -> None:
        async with runtime.raw_listener(tls=tls) as listener:

            async def serve_one(way: str) -> None:
                peer = await listener.accept_and_answer()
                listener.peers.remove(peer)
                await leave(peer, way)

            for number in range(first, runs, AT_ONCE):
                leaving = runtime.spawn(serve_one, WAYS[number % len(WAYS)])
                async with runtime.connect(listener.uri, **QUIET, **runtime.client_tls(tls)) as client:
                    await stream(client)
                    await client.wait_closed()
                await leaving.result()

    async with Watch(runtime).running():
        await all_of(runtime, *[lambda first=first: run(first) for first in range(min(AT_ONCE, runs))])


SCENARIOS = (server_streams, client_streams)

BATCH = 50
"""Runs after which everything has to have ended: a task, a thread or a socket left behind is found."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--runs", type=int, default=10_000, help="peers that leave in each case")
    names = [name for name, kind in RUNTIMES.items() if SOCKETS in kind.abilities]
    parser.add_argument("--runtimes", default=" ".join(names), help="which (default: all with sockets)")
    options = parser.parse_args()
    for name in (name for name in options.runtimes.split() if name in names):
        for tls in (False, True):
            for scenario in SCENARIOS:
                case = f"{name}, {'TLS' if tls else 'plain'}, {scenario.__name__.replace('_', ' ')}"
                started = time.monotonic()
                done = 0
                while done < options.runs:
                    count = min(BATCH, options.runs - done)
                    try:
                        with no_log_lines():
                            runtime = make_runtime(name)
                            runtime.run(scenario(runtime, tls, count))
                    except BaseException as error:
                        print(f"{case}: failed after {done} to {done + count} runs: {error!r}", flush=True)
                        raise
                    done += count
                print(f"{case}: {done} in {time.monotonic() - started:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
