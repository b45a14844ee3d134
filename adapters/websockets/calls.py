"""Calls that act at once, and return something to await.

Programs that were written for the first API call ``send``, ``ping`` and ``pong`` as plain functions; those
that were written later await them. One method serves both if what can be done at once is done by the call,
and what is left is something that may be awaited and need not be.
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
    """Mark a function that returns a coroutine, for those who ask: ``unittest.mock`` makes a fake of it."""
    if sys.version_info >= (3, 12):
        return inspect.markcoroutinefunction(function)
    function._is_coroutine = asyncio.coroutines._is_coroutine  # type: ignore[attr-defined, unused-ignore]
    return function


class Called(Coroutine[Any, Any, T]):
    """What is left of a call: to be awaited, made a task of, or dropped.

    It is no coroutine of Python's own, because of those Python complains when nobody awaits them.
    """

    __slots__ = ("_begun", "_dropped", "_rest")

    def __init__(self, rest: Coroutine[Any, Any, T], dropped: Callable[[], object] | None = None) -> None:
        """
        Args:
            rest: waits for what is left, and returns or raises what the call returns or raises.
            dropped: called if nobody ever awaits this.
        """
        self._rest = rest
        self._dropped = dropped
        self._begun = False

    def __await__(self) -> Generator[Any, Any, T]:
        self._begun = True
        return self._rest.__await__()

    __iter__ = __await__  # for ``yield from`` in generators that are coroutines

    def send(self, value: Any) -> Any:
        """Go on; for the task that this is made."""
        self._begun = True
        return self._rest.send(value)

    def throw(self, *error: Any) -> Any:
        """Go on with an exception; for the task that this is made."""
        return self._rest.throw(*error)

    def close(self) -> None:
        """Give up what is left."""
        self._rest.close()

    def __del__(self) -> None:
        if not self._begun:
            # Python complains of coroutines that are neither begun nor closed.
            self._rest.close()
            if self._dropped is not None:
                self._dropped()
