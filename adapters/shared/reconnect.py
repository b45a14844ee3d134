"""Reconnecting: connections to one server, one after the other."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Generic, Self, TypeVar

from wsproto_core.connect.reconnect import ReconnectPolicy
from wsproto_core.exceptions import ConcurrencyError
from wsproto_core.types import Side

from .asynchronous import AsyncConnection
from .blocks import Once
from .client import Target
from .logs import default_logger, describe, shown
from .options import Logger
from .stream_options import check_reconnect

__all__ = ["AsyncReconnecting", "Attempts"]

T = TypeVar("T")
ConnectionT = TypeVar("ConnectionT", bound=AsyncConnection)


class Attempts(Once, ABC, Generic[T]):
    """Reconnecting on every adapter; on threads, the coroutines block.

    A connection is opened when the previous one has ended, after a delay if connecting fails. It is closed
    at the next iteration, or at the end of the block. A fatal error, after which no attempt can succeed, is
    raised.

    Attributes:
        connection: the current connection, or the last one; ``None`` before the first.
    """

    made_by = "reconnect"

    def __init__(
        self,
        target: Target,
        connect: Callable[[], Awaitable[T]],
        *,
        sleep: Callable[[float], Awaitable[object]],
        clock: Callable[[], float],
    ) -> None:
        """
        Args:
            target: the arguments of ``connect``.
            connect: opens a connection.
            sleep: waits for a number of seconds.
            clock: returns the time in seconds.

        Raises:
            ValueError: an option is for one connection only.
        """
        check_reconnect(target.stream_options)
        settings = target.settings
        self.connection: T | None = None
        self.made_for = str(target.uri)
        self._connect = connect
        self._sleep = sleep
        self._clock = clock
        self._policy = ReconnectPolicy(settings.reconnect_delays, fatal=settings.reconnect_fatal)
        self._logger: Logger = settings.logger or default_logger(Side.CLIENT)
        self._opened_at = 0.0
        self._opening = False

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Open the next connection: one at a time, or one of them would not be closed.

        Raises:
            ConcurrencyError: another task or thread is opening it.
        """
        if self._opening:
            raise ConcurrencyError("another task or thread is waiting for the next connection already")
        self._opening = True
        try:
            yield
        finally:
            self._opening = False

    @abstractmethod
    async def _close(self, connection: T) -> None:
        """Close a connection."""

    async def _next(self) -> T:
        """Close the connection, and open the next one, after a delay if connecting fails."""
        with self._turn():
            delay = 0.0
            if self.connection is not None:
                await self._close(self.connection)
                self.connection = None
                delay = self._policy.ended(self._clock() - self._opened_at)
            while True:
                if delay:
                    await self._sleep(delay)
                try:
                    self.connection = connection = await self._connect()
                except Exception as error:
                    delay = self._failed(error)
                else:
                    self._policy.succeeded()
                    self._opened_at = self._clock()
                    return connection

    def _failed(self, error: Exception) -> float:
        """Log that connecting has failed; return the delay before the next attempt, or raise the error."""
        delay = self._policy.failed(error)
        self._logger.warning(
            "connecting to %s failed: %s; trying again in %.1f seconds",
            shown(self.made_for),
            describe(error),
            delay,
        )
        return delay


class AsyncReconnecting(Attempts[ConnectionT], Generic[ConnectionT]):
    """An asynchronous iterator over connections, each opened when the previous one has ended.

    A connection is closed at the next iteration, if it is not closed already. The iteration ends by a fatal
    error, which is raised, or by leaving the loop. As an asynchronous context manager it closes the last
    connection.
    """

    async def _close(self, connection: ConnectionT) -> None:
        await connection.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ConnectionT:
        return await self._next()

    async def __aenter__(self) -> Self:
        self._begin()
        return self

    async def __aexit__(self, *exc_info: Any) -> None:
        if self.connection is not None:
            await self.connection.__aexit__(*exc_info)
