"""asyncio's own event loop in virtual time, on simulated sockets: deterministic, by the seed of its world."""

from __future__ import annotations

import asyncio
import contextlib
from asyncio import selector_events
from collections.abc import Coroutine
from typing import Any
from unittest import mock

import adapters.asyncio.connection
from tests.adapters.runtimes import Runtime

from .sockets import Deadlock, SimulatedSelector, World
from .virtual_time import TICK

__all__ = ["SimulatedLoop", "run"]


class SimulatedTransport(selector_events._SelectorSocketTransport):  # type: ignore[name-defined,misc]
    """The transport of asyncio, by another name: nobody writes to its descriptor past it."""


class SimulatedLoop(asyncio.SelectorEventLoop):
    """The event loop of asyncio; only its clock, its selector and its sockets are others.

    Attributes:
        errors: what it was told that went wrong, and nobody else.
    """

    def __init__(self, world: World) -> None:
        super().__init__(SimulatedSelector(world))
        self._world = world
        self._clock_resolution = TICK / 2
        self.errors: list[dict[str, Any]] = []
        self.set_exception_handler(lambda _, context: self.errors.append(context))

    def time(self) -> float:
        return self._world.time.now

    def _make_socket_transport(
        self, sock: Any, protocol: Any, waiter: Any = None, *, extra: Any = None, server: Any = None
    ) -> Any:
        return SimulatedTransport(self, sock, protocol, waiter, extra, server)


def run(world: World, runtime: Runtime, main: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine to its end, and check that it leaves nothing behind.

    Args:
        world: the network.
        runtime: what the coroutine uses.
        main: the coroutine.

    Raises:
        AssertionError: it leaves a task, a socket or an error behind; or somebody waits for ever.
    """
    loop = SimulatedLoop(world)

    def read_now(transport: Any, size: int) -> bytes:
        descriptor = transport.get_extra_info("socket").fileno()
        for sock in world.sockets:
            if sock.fileno() == descriptor:
                return sock.recv(size)
        raise OSError("there is no socket")

    try:
        asyncio.set_event_loop(loop)
        task = loop.create_task(main)
        try:
            # This function reads a socket past its transport, by the descriptor.
            with mock.patch.object(adapters.asyncio.connection, "read_now", read_now):
                loop.run_until_complete(task)
        except Deadlock as error:
            waiting = [repr(each) for each in asyncio.all_tasks(loop)]
            raise Deadlock(f"{error}: {waiting}") from None
        # Streams that were closed are closed in the next iterations.
        loop.run_until_complete(asyncio.sleep(1))
        for each in runtime.tasks:
            each.check()
        left = [repr(each) for each in asyncio.all_tasks(loop)]
        assert not left, f"tasks are left: {left}"
        assert not world.sockets, f"{len(world.sockets)} sockets are left"
        assert not loop.errors, f"errors are left: {loop.errors}"
    finally:
        try:
            clear(loop, world)
        finally:
            asyncio.set_event_loop(None)
            loop.close()


def clear(loop: SimulatedLoop, world: World) -> None:
    """After a failure, let everything end that can, so that nobody complains of it later."""
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    world.reset_everything()
    with contextlib.suppress(Deadlock, TimeoutError):
        loop.run_until_complete(asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 10_000))
    for transport in list(loop._transports.values()):  # type: ignore[attr-defined]
        transport.abort()
    with contextlib.suppress(Deadlock):
        loop.run_until_complete(asyncio.sleep(1))
    for sock in list(world.sockets):
        sock.close()
