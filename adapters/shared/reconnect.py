"""Connections to one server, one after the other."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Generic, Self, TypeVar

from wsproto_core.connect.reconnect import ReconnectPolicy
from wsproto_core.exceptions import ConcurrencyError
from wsproto_core.types import Side

from .asynchronous import AsyncConnection
from .blocks import Once
from .logs import default_logger, describe, shown
from .options import ConnectSettings, Logger

__all__ = ["AsyncReconnecting", "Attempts"]

T = TypeVar("T")
ConnectionT = TypeVar("ConnectionT", bound=AsyncConnection)


class Attempts(Once, Generic[T]):
    """Connections that are opened one after the other, as far as no waiting is concerned.

    A connection is opened when the one before has ended, after a delay if opening it fails; it is
    closed when the loop goes on, or the block is left. An error after which it is no use to try again
    is raised.

    Attributes:
        connection: the one that is open, or was last; ``None`` before the first.
    """

    made_by = "reconnect"

    def __init__(self, uri: str, *, clock: Callable[[], float], settings: ConnectSettings) -> None:
        """
        Args:
            uri: what is connected to, for the log.
            clock: returns the time in seconds.
            settings: the options; ``reconnect_delays``, ``reconnect_fatal`` and ``logger`` are for this.
        """
        self.connection: T | None = None
        self.made_for = uri
        self._clock = clock
        self._policy = ReconnectPolicy(settings.reconnect_delays, fatal=settings.reconnect_fatal)
        self._logger: Logger = settings.logger or default_logger(Side.CLIENT)
        self._opened_at = 0.0
        self._opening = False

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Open the next connection; two that were opened at once would not both be closed.

        Raises:
            ConcurrencyError: somebody else does that.
        """
        if self._opening:
            raise ConcurrencyError("another task or thread is waiting for the next connection already")
        self._opening = True
        try:
            yield
        finally:
            self._opening = False

    def opened(self, connection: T) -> T:
        """A connection has been opened."""
        self._policy.succeeded()
        self._opened_at = self._clock()
        self.connection = connection
        return connection

    def closed(self) -> float:
        """The connection has been closed: return the seconds to wait before the next one is opened."""
        self.connection = None
        return self._policy.ended(self._clock() - self._opened_at)

    def failed(self, error: Exception) -> float:
        """Opening a connection has failed: return the seconds to wait, or raise the error."""
        delay = self._policy.failed(error)
        self._logger.warning(
            "connecting to %s failed: %s; trying again in %.1f seconds",
            shown(self.made_for),
            describe(error),
            delay,
        )
        return delay


class AsyncReconnecting(Attempts[ConnectionT], Generic[ConnectionT]):
    """An asynchronous iterator over connections: each is opened when the one before has ended.

    What ends an iteration is closed before the next connection is opened, if it is not closed then.
    The iteration itself ends only by an error after which it is no use to try again, which is
    raised, or when it is left. As an asynchronous context manager it closes the last connection.
    """

    def __init__(
        self,
        uri: str,
        connect: Callable[[], Awaitable[ConnectionT]],
        *,
        sleep: Callable[[float], Awaitable[object]],
        clock: Callable[[], float],
        settings: ConnectSettings,
    ) -> None:
        """
        Args:
            uri: what ``connect`` connects to, for the log.
            connect: opens a connection.
            sleep: waits for some seconds.
            clock: returns the time in seconds.
            settings: see :class:`Attempts`.
        """
        super().__init__(uri, clock=clock, settings=settings)
        self._connect = connect
        self._sleep = sleep

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ConnectionT:
        with self._turn():
            delay = 0.0
            if self.connection is not None:
                await self.connection.close()
                delay = self.closed()
            while True:
                if delay:
                    await self._sleep(delay)
                try:
                    return self.opened(await self._connect())
                except Exception as error:
                    delay = self.failed(error)

    async def __aenter__(self) -> Self:
        self._begin()
        return self

    async def __aexit__(self, *exc_info: Any) -> None:
        if self.connection is not None:
            await self.connection.__aexit__(*exc_info)
