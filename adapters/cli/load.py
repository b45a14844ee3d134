"""A closed loop: connections that send a message for each message that comes back.

Each connection has ``depth`` messages on the way. So the load adapts to the server: the rate says what the
server can do with so many messages on the way, and the latencies are those under this load. They are not
those of clients that send at times of their own.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from typing import Any, NamedTuple

from wsproto_core.exceptions import ConnectionClosed
from wsproto_core.types import Data

from ..asyncio import ClientConnection, connect
from .escapes import escape_line
from .failures import CommandFailure, describe
from .latencies import Latencies

__all__ = ["Load", "Result", "run_load"]

GREETINGS = 3
"""Messages that a server may send before it echoes."""

NO_ECHO = "bench needs a server that sends every message back, such as: python -m adapters serve echo"


class Load(NamedTuple):
    """What is to be done.

    Attributes:
        connections: how many connections.
        depth: messages on the way on each of them.
        size: of a message, in bytes.
        binary: whether messages are binary.
        duration: seconds of measuring, after a warm-up.
        warmup: seconds of the warm-up.
        answer_timeout: seconds without an answer after which the server is taken for one that does not echo.
    """

    connections: int
    depth: int
    size: int
    binary: bool
    duration: float
    warmup: float
    answer_timeout: float


class Result(NamedTuple):
    """What was measured.

    Attributes:
        seconds: how long it was measured.
        latencies: from :meth:`send` to the message that comes back, of all messages.
    """

    seconds: float
    latencies: Latencies

    @property
    def rate(self) -> float:
        """Messages a second."""
        return self.latencies.count / self.seconds


async def run_load(
    uri: str, options: dict[str, Any], load: Load, progress: Callable[[float, int], None]
) -> Result:
    """Load a server; return what was measured.

    Args:
        uri: of the server.
        options: of :func:`adapters.asyncio.connect`.
        load: what is to be done.
        progress: called ten times a second with the seconds since the beginning and the messages so far.

    Raises:
        CommandFailure: the server does not echo, or has closed a connection.
        WebSocketException, OSError: connecting failed.
    """
    message: Data = bytes(load.size) if load.binary else "x" * load.size
    latencies = Latencies()
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(connect(uri, **options)) for _ in range(load.connections)]
        for client in clients:
            await _check_echo(client, message, load.answer_timeout)
        loops = [_Loop(client, message, load.depth, latencies) for client in clients]
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(each.run()) for each in loops]
                seconds = await _measure(loops, load, lambda passed: progress(passed, latencies.count))
                for task in tasks:
                    task.cancel()
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None
    return Result(seconds, latencies)


async def _measure(loops: Sequence[_Loop], load: Load, progress: Callable[[float], None]) -> float:
    """Wait until it is over; return for how many seconds latencies were counted."""
    started = time.perf_counter()
    begun: float | None = None
    while True:
        now = time.perf_counter()
        passed = now - started
        if begun is None and passed >= load.warmup:
            begun = now
            for each in loops:
                each.measuring = True
        if begun is not None and now - begun >= load.duration:
            return now - begun
        if any(now - each.oldest > load.answer_timeout for each in loops):
            raise CommandFailure(f"no answer came for {load.answer_timeout:g} seconds: {NO_ECHO}")
        progress(passed)
        await asyncio.sleep(0.1)


async def _check_echo(client: ClientConnection, message: Data, timeout: float) -> None:
    """Send a message, and another for each other one that comes, until all have come back."""
    try:
        async with asyncio.timeout(timeout):
            for greetings in range(GREETINGS + 1):
                await client.send(message)
                answer = await client.recv()
                if answer == message:
                    for _ in range(greetings):
                        await client.recv()
                    return
    except TimeoutError:
        raise CommandFailure(f"no answer came for {timeout:g} seconds: {NO_ECHO}") from None
    except ConnectionClosed as error:
        raise CommandFailure(f"{describe(error)}: {NO_ECHO}") from error
    raise _not_echoed(answer)


def _not_echoed(answer: Data) -> CommandFailure:
    excerpt = escape_line(repr(answer[:40]))
    kind = "bytes" if isinstance(answer, bytes) else "characters"
    return CommandFailure(f"the server does not echo, it sends {excerpt} ({len(answer)} {kind}): {NO_ECHO}")


class _Loop:
    """One connection.

    Attributes:
        measuring: whether latencies are counted.
    """

    def __init__(self, client: ClientConnection, message: Data, depth: int, latencies: Latencies) -> None:
        self.measuring = False
        self._client = client
        self._message = message
        self._depth = depth
        self._latencies = latencies
        self._sent_at: deque[float] = deque()

    @property
    def oldest(self) -> float:
        """When the oldest message that is on the way was sent."""
        return self._sent_at[0] if self._sent_at else math.inf

    async def run(self) -> None:
        """Send and receive until this is cancelled.

        Raises:
            CommandFailure: a message came that was not sent, or the connection was closed.
        """
        try:
            for _ in range(self._depth):
                await self._send()
            while True:
                answer = await self._client.recv()
                if answer != self._message:
                    raise _not_echoed(answer)
                latency = time.perf_counter() - self._sent_at.popleft()
                if self.measuring:
                    self._latencies.add(latency)
                await self._send()
        except ConnectionClosed as error:
            raise CommandFailure(f"a connection has ended: {describe(error)}") from error

    async def _send(self) -> None:
        self._sent_at.append(time.perf_counter())
        await self._client.send(self._message)
