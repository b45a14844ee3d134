"""Waking the task that waits for a message, at once.

A :class:`asyncio.Future` wakes its task by ``call_soon``: one more turn of the event loop for each
message. What is here resumes the task in the middle of the read callback, in its own context.

``asyncio`` accepts anything that looks like a future where a coroutine yields it. It must not look
like one where it is handed to ``wait_for`` and the like, so it never leaves this package: users get
coroutines.
"""

from __future__ import annotations

import asyncio
import contextvars
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator
from contextlib import AbstractAsyncContextManager
from typing import Any, Generic, TypeVar

from adapters.shared.blocks import Once
from adapters.shared.runtimes import check_running

__all__ = ["Opening", "Wakeup", "loop_call", "running_loop"]

T = TypeVar("T", bound=AbstractAsyncContextManager[Any])


def running_loop() -> asyncio.AbstractEventLoop:
    """Return the event loop that runs the current task.

    Raises:
        RuntimeError: asyncio does not run this code.
    """
    check_running("adapters.asyncio", "asyncio")
    return asyncio.get_running_loop()


def loop_call(name: str) -> Callable[..., Any]:
    """Return a method of the running event loop; if none runs yet, of asyncio's own kind of loop."""
    try:
        return getattr(asyncio.get_running_loop(), name)  # type: ignore[no-any-return]
    except RuntimeError:
        return getattr(asyncio.SelectorEventLoop, name)  # type: ignore[no-any-return]


class Opening(Once, ABC, Generic[T]):
    """Something that takes time to open: to be awaited, or entered and left as what it opens; once."""

    @abstractmethod
    async def _open(self) -> T: ...

    def __await__(self) -> Generator[Any, None, T]:
        running_loop()
        self._begin()
        return self._open().__await__()

    async def __aenter__(self) -> T:
        self._opened = await self
        return self._opened

    async def __aexit__(self, *exc_info: Any) -> None:
        await self._opened.__aexit__(*exc_info)


class Wakeup:
    """Something that one task at a time can await, any number of times."""

    __slots__ = ("_asyncio_future_blocking", "_callback", "_cancelled", "_context", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._asyncio_future_blocking = False
        self._callback: Callable[[Wakeup], object] | None = None
        self._context: contextvars.Context | None = None
        self._cancelled = False

    @property
    def waiting(self) -> bool:
        """Whether a task is waiting."""
        return self._callback is not None

    def wake(self) -> None:
        """Resume the task that waits, if there is one: now if that is possible, or else soon."""
        callback = self._callback
        if callback is None:
            return
        self._callback = None
        context = self._context
        assert context is not None
        # A task cannot be resumed while another one runs, nor in a context that is entered already.
        if asyncio.current_task(self._loop) is None:
            try:
                context.run(callback, self)
            except RuntimeError as error:
                if "is already entered" not in str(error):
                    raise
            else:
                return
        self._loop.call_soon(callback, self, context=context)

    def __await__(self) -> Generator[Wakeup, None, None]:
        self._asyncio_future_blocking = True
        yield self

    # What a task asks of what a coroutine yields.

    def get_loop(self) -> asyncio.AbstractEventLoop:
        return self._loop

    def add_done_callback(
        self, callback: Callable[[Wakeup], object], *, context: contextvars.Context
    ) -> None:
        self._callback = callback
        self._context = context

    def cancel(self, msg: Any = None) -> bool:
        callback = self._callback
        if callback is None:
            # The task has been woken: asyncio raises in it when it runs.
            return False
        self._callback = None
        self._cancelled = True
        self._loop.call_soon(callback, self, context=self._context)
        return True

    def result(self) -> None:
        if self._cancelled:
            self._cancelled = False
            raise asyncio.CancelledError
