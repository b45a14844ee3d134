"""Connections to one server, one after the other, on asynchronous adapters."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Generic, Self, TypeVar

from .asynchronous import AsyncConnection
from .logs import default_logger, describe, shown
from .options import Logger
from .reconnect import ReconnectPolicy
from .typing import Side

__all__ = ["AsyncReconnecting"]

T = TypeVar("T", bound=AsyncConnection)


class AsyncReconnecting(Generic[T]):
    """An asynchronous iterator over connections: each is opened when the one before has ended.

    What ends an iteration is closed before the next connection is opened, if it is not closed then.
    The iteration itself ends only by an error after which it is no use to try again, which is
    raised, or when it is left. As an asynchronous context manager it closes the last connection.
    """

    def __init__(
        self,
        uri: str,
        connect: Callable[[], Awaitable[T]],
        *,
        sleep: Callable[[float], Awaitable[object]],
        clock: Callable[[], float],
        options: Any,
    ) -> None:
        """
        Arguments:
            uri: what ``connect`` connects to, for the log.
            connect: opens a connection.
            sleep: waits for some seconds.
            clock: returns the clock.
            options: the application's: ``reconnect_delays``, ``reconnect_fatal`` and ``logger``.
        """
        self._uri = uri
        self._connect = connect
        self._sleep = sleep
        self._clock = clock
        self._policy = ReconnectPolicy(options.get("reconnect_delays"), fatal=options.get("reconnect_fatal"))
        self._logger: Logger = options.get("logger") or default_logger(Side.CLIENT)
        self._connection: T | None = None
        self._opened_at = 0.0

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        delay = 0.0
        if self._connection is not None:
            await self._connection.close()
            self._connection = None
            delay = self._policy.ended(self._clock() - self._opened_at)
        while True:
            if delay:
                await self._sleep(delay)
            try:
                self._connection = await self._connect()
            except Exception as error:
                delay = self._policy.failed(error)
                self._logger.warning(
                    "connecting to %s failed: %s; trying again in %.1f seconds",
                    shown(self._uri),
                    describe(error),
                    delay,
                )
            else:
                self._policy.succeeded()
                self._opened_at = self._clock()
                return self._connection

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: Any) -> None:
        if self._connection is not None:
            await self._connection.__aexit__(*exc_info)
