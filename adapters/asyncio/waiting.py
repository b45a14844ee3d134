"""The future by which a read callback resumes the task that waits for a message, without a turn of the loop.

It behaves differently from other futures, and so never leaves this package: users get coroutines.
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


class Wakeup(asyncio.Future[None]):
    """A future whose task is resumed at once, in the read callback; for one task, to await once.

    A task adds its callback when it awaits a future. This future keeps the callback to itself and calls it,
    in the task's context, where another one would schedule it for the next turn of the event loop.
    """

    _callback: Callable[[Wakeup], object] | None = None
    _callback_context: contextvars.Context | None = None

    def add_done_callback(
        self, callback: Callable[[Wakeup], object], *, context: contextvars.Context | None = None
    ) -> None:
        self._callback, self._callback_context = callback, context

    def wake(self) -> None:
        """Resume the task, if it has not been cancelled: now if that is possible, or else soon."""
        if self.done():
            return
        self.set_result(None)
        callback, context = self._callback, self._callback_context
        self._callback = None
        if callback is None or context is None:
            return
        # A task cannot be resumed while another one runs, nor in a context that is entered already.
        if asyncio.current_task(self.get_loop()) is None:
            try:
                context.run(callback, self)
            except RuntimeError as error:
                if "is already entered" not in str(error):
                    raise
            else:
                return
        self.get_loop().call_soon(callback, self, context=context)

    def cancel(self, msg: Any = None) -> bool:
        if not super().cancel(msg):
            return False
        callback, self._callback = self._callback, None
        if callback is not None:
            self.get_loop().call_soon(callback, self, context=self._callback_context)
        return True
