"""The few things that topics need of a runtime: events, and tasks that end with a block.

Topics do not wait on connections, and so work with the connections of every runtime with coroutines. anyio
runs on one of the other two.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import Any

from ..shared.asynchronous import RuntimeEvent
from ..shared.wrong_runtime import running_runtime

__all__ = ["Tasks", "tasks_here"]

_LOGGER = logging.getLogger("wsproto_core.topics")


class Tasks(ABC):
    """Tasks of the running event loop.

    Attributes:
        runtime: ``"asyncio"`` or ``"trio"``.
    """

    runtime: str

    @abstractmethod
    def make_event(self) -> RuntimeEvent:
        """Make an event."""

    @abstractmethod
    async def checkpoint(self) -> None:
        """Let other tasks run."""

    @abstractmethod
    async def sleep(self, seconds: float) -> None:
        """Wait.

        Args:
            seconds: for how long.
        """

    @abstractmethod
    async def open(self) -> None:
        """Begin."""

    @abstractmethod
    def start(self, function: Callable[[], Awaitable[None]]) -> None:
        """Start a task.

        Args:
            function: what it runs.
        """

    @abstractmethod
    async def close(self) -> None:
        """Cancel the tasks, and wait until they have ended.

        Raises:
            Exception: a task has failed.
        """


class AsyncioTasks(Tasks):
    """Tasks of asyncio, also on uvloop and on anyio."""

    runtime = "asyncio"

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[None]] = []

    def make_event(self) -> asyncio.Event:
        return asyncio.Event()

    async def checkpoint(self) -> None:
        await asyncio.sleep(0)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def open(self) -> None:
        pass

    def start(self, function: Callable[[], Awaitable[None]]) -> None:
        async def run() -> None:
            try:
                await function()
            except Exception as error:
                # It is raised at the end of the block, which may be far away.
                _LOGGER.critical("a task has failed", exc_info=error)
                raise

        self._tasks.append(asyncio.create_task(run()))

    async def close(self) -> None:
        tasks, self._tasks = self._tasks, []
        pending = set(tasks)
        while pending:
            for task in pending:
                task.cancel()
            # In Python 3.11, asyncio.wait_for may drop a cancellation, and clients of engines use it.
            _, pending = await asyncio.wait(pending, timeout=0.2)
        for task in tasks:
            if not task.cancelled():
                task.result()


class TrioTasks(Tasks):
    """Tasks of trio, also with anyio."""

    runtime = "trio"

    def __init__(self) -> None:
        self._trio: Any = sys.modules["trio"]

    def make_event(self) -> RuntimeEvent:
        event: RuntimeEvent = self._trio.Event()
        return event

    async def checkpoint(self) -> None:
        await self._trio.lowlevel.checkpoint()

    async def sleep(self, seconds: float) -> None:
        await self._trio.sleep(seconds)

    async def open(self) -> None:
        self._manager = self._trio.open_nursery()
        self._nursery = await self._manager.__aenter__()

    def start(self, function: Callable[[], Awaitable[None]]) -> None:
        self._nursery.start_soon(function)

    async def close(self) -> None:
        # The exception of the block is not for the nursery, which would put it into a group.
        scope = self._nursery.cancel_scope
        scope.shield = True
        scope.cancel()
        await self._manager.__aexit__(None, None, None)


def tasks_here() -> Tasks:
    """Return tasks of the runtime that runs the caller.

    Raises:
        RuntimeError: neither asyncio nor trio runs it.
    """
    running = running_runtime()
    if running is None:
        raise RuntimeError("topics need asyncio or trio, and neither runs this code")
    return AsyncioTasks() if running == "asyncio" else TrioTasks()
