"""Coroutines on threads: each runs in steps, from one wait to the next, and all steps are made with one lock.

The waits are without the lock: to receive, to send and to connect, to sleep, and to call functions of the
application. So no thread sees a half of a change, no thread waits for a server while another one needs the
lock, and the code is the same as with coroutines.

**Interruptions.** A signal handler that raises, as Ctrl-C does, mostly interrupts a wait: then nothing has
changed. If it interrupts a step, it is not known how much of a change was made, and the owner is told. A
signal handler that begins a step while it interrupts one gets an error, because it would wait for its own
thread.
"""

from __future__ import annotations

import logging
import threading
import time
import types
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any, TypeVar

from ..threading.locking import Interrupted
from ..threading.wakeups import Gate
from ..topics.tasks import Tasks

__all__ = ["Threads", "without_lock"]

T = TypeVar("T")

LEAVING = 1.0
"""Seconds for which the end of a block waits for the threads of a session."""

_LOGGER = logging.getLogger("wsproto_core.topics")


@types.coroutine
def without_lock(function: Callable[[float | None], T]) -> Generator[Any, Any, T]:
    """Suspend a coroutine of a thread, and call a function that waits.

    Args:
        function: the function, which is given the time in seconds at which the whole call is to end, or
            ``None`` for no limit.
    """
    result: T = yield function
    return result


class _Event:
    """An event for one waiting thread."""

    def __init__(self) -> None:
        self._gate = Gate()
        self.set = self._gate.open

    async def wait(self) -> None:
        """Wait until it is set.

        Raises:
            TimeoutError: the deadline of the call has passed.
        """
        if not await without_lock(self._gate.sleep):
            raise TimeoutError("the deadline of this call has passed")


class Threads(Tasks):
    """Threads that run coroutines in steps, with one lock."""

    runtime = "threading"

    def __init__(
        self,
        stop: Callable[[], object],
        give_up: Callable[[], object],
        fail: Callable[[], Coroutine[Any, Any, None]],
    ) -> None:
        """
        Args:
            stop: ends what threads wait for, when the block is left.
            give_up: called when a step was interrupted.
            fail: a coroutine function, called when a thread has failed.
        """
        self._stop = stop
        self._give_up = give_up
        self._fail = fail
        self._lock = threading.RLock()
        self._in_step = False
        self._closing = threading.Event()
        self._threads: list[threading.Thread] = []
        self._failures: list[BaseException] = []

    def drive(
        self, function: Callable[..., Coroutine[Any, Any, T]], *args: Any, until: float | None = None
    ) -> T:
        """Run a coroutine.

        Args:
            function: the coroutine function.
            args: its arguments.
            until: the time in seconds at which it fails with :exc:`TimeoutError`; ``None`` for no limit.
        """
        coroutine = function(*args)
        step: Callable[[Any], Any] = coroutine.send
        argument: Any = None
        try:
            while True:
                wait = self.locked(step, argument)
                try:
                    step, argument = coroutine.send, wait(until)
                except BaseException as error:
                    step, argument = coroutine.throw, error
        except StopIteration as stop:
            result: T = stop.value
            return result
        finally:
            coroutine.close()

    def locked(self, step: Callable[..., T], *args: Any) -> T:
        """Call a function that does not wait, with the lock."""
        with self._lock:
            if self._in_step:
                raise Interrupted
            self._in_step = True
            try:
                return step(*args)
            except BaseException as error:
                # An error that interrupted a wait is an argument.
                if not isinstance(error, Exception) and all(error is not each for each in args):
                    self._give_up()
                raise
            finally:
                self._in_step = False

    def make_event(self) -> _Event:
        return _Event()

    async def checkpoint(self) -> None:
        pass

    async def sleep(self, seconds: float) -> None:
        await without_lock(lambda _: self._closing.wait(seconds))

    async def open(self) -> None:
        pass

    def start(self, function: Callable[[], Awaitable[None]]) -> None:
        async def run() -> None:
            await function()

        def work() -> None:
            try:
                self.drive(run)
            except BaseException as error:
                # It is raised at the end of the block, which may be far away.
                _LOGGER.critical("a thread has failed", exc_info=error)
                self._failures.append(error)
                self.drive(self._fail)

        thread = threading.Thread(target=work, name="wsproto-core session", daemon=True)
        thread.start()
        self._threads.append(thread)

    async def close(self) -> None:
        self._closing.set()
        self._stop()
        await without_lock(self._join)
        if self._failures:
            raise self._failures[0]

    def _join(self, until: float | None) -> None:
        end = time.monotonic() + LEAVING
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))
