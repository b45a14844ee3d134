"""Virtual time in an event loop of asyncio: it jumps to the next timer when there is nothing else to do.

The loop's clock stands still while callbacks run. When none is ready, and no stream is, the clock goes on to
the next timer at once. What is on its way between sockets of this process is ready at once, so that the
connections of ``handler_client`` are in virtual time, too. Work that the loop has given to threads is waited
for, in real time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["virtual_time"]


class VirtualTime:
    """The clock and the selector of an event loop.

    Attributes:
        now: the time of the event loop, in seconds.
    """

    def __init__(self, loop: Any) -> None:
        """
        Args:
            loop: an event loop with a selector.
        """
        self.now: float = loop.time()
        self._loop = loop
        self._selector = loop._selector
        self._in_threads = 0

    def __getattr__(self, name: str) -> Any:
        # The other methods of the selector.
        return getattr(self._selector, name)

    def time(self) -> float:
        """Return the time."""
        return self.now

    def select(self, timeout: float | None = None) -> Any:
        """Return what is ready now; if nothing is, let the time until the next timer have passed.

        Args:
            timeout: seconds until the next timer; ``None`` for no timer.
        """
        ready = self._selector.select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        if timeout is None or self._in_threads:
            # Something else than a timer ends the wait: a thread, a signal, another process.
            ready = self._selector.select(timeout)
        if timeout is not None and not ready:
            self.now += timeout
        return ready

    def run_in_executor(self, executor: Any, function: Any, *args: Any) -> asyncio.Future[Any]:
        """Give work to a thread, as the loop does, and know when it is done."""
        future: asyncio.Future[Any] = type(self._loop).run_in_executor(self._loop, executor, function, *args)
        self._in_threads += 1
        future.add_done_callback(self._thread_done)
        return future

    def _thread_done(self, future: asyncio.Future[Any]) -> None:
        self._in_threads -= 1


@contextmanager
def virtual_time() -> Iterator[None]:
    """Let time pass at once, in a block of a coroutine, whenever the event loop has nothing else to do.

    ::

        async def test_keepalive():
            with virtual_time():
                await asyncio.sleep(3600)  # takes no time

    After the block, the clock of the event loop goes on from the time that it has reached.

    Raises:
        RuntimeError: the running event loop has no selector, as that of uvloop has none.
    """
    loop: Any = asyncio.get_running_loop()
    if not isinstance(loop, asyncio.SelectorEventLoop):
        raise RuntimeError(
            f"virtual time needs the event loop asyncio.SelectorEventLoop, and {type(loop).__name__} runs"
        )
    selector, virtual = loop._selector, VirtualTime(loop)  # type: ignore[attr-defined]
    loop._selector = virtual  # type: ignore[attr-defined]
    loop.time = virtual.time  # type: ignore[method-assign]
    loop.run_in_executor = virtual.run_in_executor  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        loop._selector = selector  # type: ignore[attr-defined]
        del loop.run_in_executor
        ahead = virtual.now - time.monotonic()
        loop.time = lambda: time.monotonic() + ahead  # type: ignore[method-assign]
