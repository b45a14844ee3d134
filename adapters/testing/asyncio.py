"""Connection handlers of :mod:`adapters.asyncio` under test, and virtual time in the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from types import TracebackType
from typing import Self, TypeVar

from ..asyncio import ClientConnection, ServerConnection, connect, serve, unix_serve
from .handlers import Limited, Tools
from .loops import virtual_time

__all__ = ["connection_pair", "handler_client", "handler_server", "virtual_time"]

T = TypeVar("T")


async def _within(seconds: float, work: Awaitable[T], message: str) -> T:
    """Await something.

    Raises:
        TimeoutError: it takes longer than so many seconds; with this message.
    """
    scope = asyncio.timeout(seconds)
    try:
        async with scope:
            return await work
    except TimeoutError:
        if scope.expired():
            raise TimeoutError(message) from None
        raise


class _Scope:
    """A block that another task can cancel."""

    def __enter__(self) -> Self:
        self._task = asyncio.current_task()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None: ...

    def cancel(self) -> None:
        """Cancel the task."""
        if self._task is not None:
            self._task.cancel()


class _Client(Limited, ClientConnection):
    """A client whose waits end in time."""

    _within = staticmethod(_within)


class _Server(Limited, ServerConnection):
    """A server's connection whose waits end in time."""

    _within = staticmethod(_within)


_TOOLS = Tools(connect, serve, unix_serve, _Client, _Server, _Scope)

handler_client = _TOOLS.handler_client
handler_server = _TOOLS.handler_server
connection_pair = _TOOLS.connection_pair
