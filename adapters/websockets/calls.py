"""Calls that take effect at once and return an awaitable.

Programs for the first API call ``send``, ``ping`` and ``pong`` as plain functions; programs for later APIs
await them. Here one method serves both: the call does everything that is possible without waiting, and
returns an awaitable for the rest, which need not be awaited.
"""

from __future__ import annotations

import asyncio
import inspect
import sys
from collections.abc import Callable, Coroutine, Generator
from typing import Any, TypeVar

__all__ = ["Called", "coroutine_function"]

T = TypeVar("T")
FunctionT = TypeVar("FunctionT", bound=Callable[..., Coroutine[Any, Any, Any]])


def coroutine_function(function: FunctionT) -> FunctionT:
    """Mark a function that returns a coroutine as a coroutine function, for ``unittest.mock`` for example."""
    if sys.version_info >= (3, 12):
        return inspect.markcoroutinefunction(function)
    function._is_coroutine = asyncio.coroutines._is_coroutine  # type: ignore[attr-defined, unused-ignore]
    return function


class Called(Coroutine[Any, Any, T]):
    """The rest of a call: a coroutine that may be awaited, made a task, or dropped.

    It is not a native coroutine, because Python warns about native coroutines that are never awaited.
    """

    __slots__ = ("_begun", "_dropped", "_rest")

    def __init__(self, rest: Coroutine[Any, Any, T], dropped: Callable[[], object] | None = None) -> None:
        """
        Args:
            rest: waits, and returns the result of the call or raises its exception.
            dropped: called if this object is never awaited.
        """
        self._rest = rest
        self._dropped = dropped
        self._begun = False

    def __await__(self) -> Generator[Any, Any, T]:
        self._begun = True
        return self._rest.__await__()

    __iter__ = __await__  # for ``yield from`` in generators that are coroutines

    def send(self, value: Any) -> Any:
        """Resume the coroutine; called by the task."""
        self._begun = True
        return self._rest.send(value)

    def throw(self, *error: Any) -> Any:
        """Resume the coroutine with an exception; called by the task."""
        return self._rest.throw(*error)

    def close(self) -> None:
        """Close the coroutine."""
        self._rest.close()

    def __del__(self) -> None:
        if not self._begun:
            # Python warns about coroutines that are neither awaited nor closed.
            self._rest.close()
            if self._dropped is not None:
                self._dropped()
