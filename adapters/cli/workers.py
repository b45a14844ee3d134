"""Blocking calls beside an event loop, in threads that do not keep the program from ending.

Standard input and output may be terminals, pipes or files. An event loop can wait for some of these only,
and only by making them non-blocking for all processes that share them. So a thread reads or writes. It is a
daemon thread: the program ends even if the read never returns.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Any

__all__ = ["Worker"]


class Worker:
    """A thread that makes calls, one after the other."""

    def __init__(self) -> None:
        self._calls: SimpleQueue[tuple[Callable[..., Any], tuple[Any, ...], asyncio.Future[Any]]] = (
            SimpleQueue()
        )
        threading.Thread(target=self._run, daemon=True).start()

    def submit(self, function: Callable[..., Any], *arguments: Any) -> asyncio.Future[Any]:
        """Make a call after the calls before it; return the future of its result."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._calls.put((function, arguments, future))
        return future

    def _run(self) -> None:
        while True:
            function, arguments, future = self._calls.get()
            try:
                result, error = function(*arguments), None
            except Exception as raised:
                result, error = None, raised
            # The event loop may have ended meanwhile.
            with suppress(RuntimeError):
                future.get_loop().call_soon_threadsafe(_finish, future, result, error)


def _finish(future: asyncio.Future[Any], result: Any, error: Exception | None) -> None:
    if future.cancelled():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
