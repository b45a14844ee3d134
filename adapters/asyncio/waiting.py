"""Awaitables: a future that resumes its task at once, and the objects that ``connect`` and ``serve`` return.

:class:`Wakeup` behaves differently from other futures, and so is not given to users: they get coroutines.
"""

from __future__ import annotations

import asyncio
import contextvars
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator
from contextlib import AbstractAsyncContextManager
from typing import Any, Generic, TypeVar

from ..shared.blocks import AsyncOnce
from .loops import running_loop

__all__ = ["Opening", "Wakeup"]

T = TypeVar("T", bound=AbstractAsyncContextManager[Any])


class Opening(AsyncOnce, ABC, Generic[T]):
    """The result of ``connect`` or ``serve``: awaitable, and an asynchronous context manager; for one use."""

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

    # Not set before a task awaits it. A dictionary would take 190 bytes.
    __slots__ = ("_callback", "_callback_context")

    _callback: Callable[[Wakeup], object] | None
    _callback_context: Any  # a task always gives one

    def add_done_callback(
        self, callback: Callable[[Wakeup], object], *, context: contextvars.Context | None = None
    ) -> None:
        self._callback, self._callback_context = callback, context

    def wake(self) -> None:
        """Resume the task, if it has not been cancelled: now if that is possible, or else soon."""
        if self.done():
            return
        self.set_result(None)
        callback = getattr(self, "_callback", None)
        if callback is None:
            return
        # A task cannot be resumed while another one runs, nor in a context that is entered already.
        if asyncio.current_task(self.get_loop()) is None:
            try:
                self._callback_context.run(callback, self)
            except RuntimeError as error:
                if "is already entered" not in str(error):
                    raise
            else:
                return
        self.get_loop().call_soon(callback, self, context=self._callback_context)

    def cancel(self, msg: Any = None) -> bool:
        if not super().cancel(msg):
            return False
        callback, self._callback = getattr(self, "_callback", None), None
        if callback is not None:
            self.get_loop().call_soon(callback, self, context=self._callback_context)
        return True
