"""trio's own scheduler in virtual time, on simulated sockets: deterministic, by the seed of its world.

The adapters of trio and anyio run on it, unmodified. Replaced are trio's clock, the ``epoll`` in its reactor,
which has no public name, and the seed by which it shuffles the tasks that can run.
"""

from __future__ import annotations

import math
import select
import selectors
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any
from unittest import mock

import anyio
import trio
from trio._core import _run

from tests.adapters.runtimes import Runtime

from .sockets import Deadlock, SimulatedSelector, World
from .virtual_time import Time

__all__ = ["run"]


class SimulatedClock(trio.abc.Clock):
    """The virtual time."""

    def __init__(self, time: Time) -> None:
        self._time = time

    def start_clock(self) -> None:
        """It runs already."""

    def current_time(self) -> float:
        return self._time.now

    def deadline_to_sleep_time(self, deadline: float) -> float:
        return deadline - self._time.now


class SimulatedEpoll:
    """An ``epoll`` for simulated sockets: each registration is for one event.

    trio has a socket of its own, by which other threads wake it: that is left to the real ``epoll``. If
    nothing can ever happen any more, what runs in :attr:`scope` is cancelled.

    Attributes:
        scope: the scope of the conversation.
        failure: why it was cancelled.
    """

    def __init__(self, world: World, real: Any) -> None:
        self._world = world
        self._selector = SimulatedSelector(world)
        self._real = real
        self.scope = trio.CancelScope()
        self.failure: Deadlock | None = None

    def register(self, descriptor: int, flags: int) -> None:
        if descriptor not in {sock.fileno() for sock in self._world.sockets}:
            self._real.register(descriptor, flags)
            return
        events = selectors.EVENT_READ * bool(flags & select.EPOLLIN)
        events |= selectors.EVENT_WRITE * bool(flags & select.EPOLLOUT)
        self._selector.register(descriptor, events)

    def modify(self, descriptor: int, flags: int) -> None:
        self.unregister(descriptor)
        self.register(descriptor, flags)

    def unregister(self, descriptor: int) -> None:
        if descriptor in self._selector.get_map():
            self._selector.unregister(descriptor)
        else:
            self._real.unregister(descriptor)

    def poll(self, timeout: float, max_events: int) -> list[tuple[int, int]]:
        happened: list[tuple[int, int]] = self._real.poll(0)
        if happened:
            return happened
        # trio waits for a day at most.
        never = timeout and trio.lowlevel.current_statistics().seconds_to_next_deadline == math.inf
        try:
            ready = self._selector.select(None if never else timeout)
        except Deadlock as error:
            if self.failure is not None:
                raise
            self.failure = error
            self.scope.cancel()
            return []
        for key, events in ready:
            self._selector.unregister(key.fd)
            flags = select.EPOLLIN * bool(events & selectors.EVENT_READ)
            flags |= select.EPOLLOUT * bool(events & selectors.EVENT_WRITE)
            happened.append((key.fd, flags))
        return happened

    def close(self) -> None:
        self._real.close()


# By what name each runtime has the tasks of a test, and what opens them.
TASKS: dict[str, tuple[str, Callable[[], Any]]] = {
    "trio": ("nursery", trio.open_nursery),
    "anyio-trio": ("task_group", anyio.create_task_group),
}


def run(world: World, runtime: Runtime, main: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine to its end, and check that it leaves nothing behind.

    Args:
        world: the network.
        runtime: what the coroutine uses.
        main: the coroutine.

    Raises:
        AssertionError: it leaves a task or a socket behind; or somebody waits for ever.
    """
    failures: list[BaseException] = []
    try:
        with (
            mock.patch.object(_run, "_ALLOW_DETERMINISTIC_SCHEDULING", True),
            mock.patch.object(_run, "_r", Random(world.random.random())),
        ):
            trio.run(supervise, world, runtime, main, failures, clock=SimulatedClock(world.time))
    except BaseException as error:
        if failures and error is not failures[0]:
            failures[0].add_note(f"beside it: {error!r}")
        failures.append(error)
    for sock in list(world.sockets):
        sock.close()
    if failures:
        raise failures[0]


async def supervise(
    world: World, runtime: Runtime, main: Coroutine[Any, Any, None], failures: list[BaseException]
) -> None:
    reactor: Any = _run.GLOBAL_RUN_CONTEXT.runner.io_manager
    epoll = reactor._epoll = SimulatedEpoll(world, reactor._epoll)
    name, open_tasks = TASKS[runtime.name]
    async with open_tasks() as tasks:
        setattr(runtime, name, tasks)
        try:
            with epoll.scope:
                await run_to_the_end(main, epoll)
            if epoll.failure is not None:
                raise epoll.failure
            left = trio.lowlevel.current_task().child_nurseries[0].child_tasks
            assert not left, f"tasks are left: {[task.name for task in left]}"
            for each in runtime.tasks:
                each.check()
            assert not world.sockets, f"{len(world.sockets)} sockets are left"
        except BaseException as failure:
            failures.append(failure)
            world.reset_everything()
            tasks.cancel_scope.cancel()


async def run_to_the_end(main: Coroutine[Any, Any, None], epoll: SimulatedEpoll) -> None:
    try:
        await main
        # Streams that were closed are closed soon.
        await trio.sleep(1)
    except trio.Cancelled as cancelled:
        if epoll.failure is not None:
            # This tells where the conversation waits.
            epoll.failure.__cause__ = cancelled
        raise
