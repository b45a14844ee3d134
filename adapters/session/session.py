"""A client that stays, with coroutines: see :mod:`.staying`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Self

from wsproto_core.types import BytesLike, Data

from ..shared.asynchronous import AsyncConnection
from ..shared.blocks import AsyncOnce
from ..shared.positions import Position
from ..topics.tasks import tasks_here
from .decisions import SessionEnded, SessionEvent
from .staying import BaseSession

__all__ = ["Session"]


class Session(BaseSession[AsyncConnection], AsyncOnce):
    """A client that stays, on asyncio, trio and anyio: an asynchronous context manager, for one use.

    It is an asynchronous iterator over messages, gaps and refused subscriptions. The iteration ends with the
    session: by leaving the block, or by an error after which no attempt to connect can succeed, which is
    raised.

    Attributes:
        phase: what the session does.
        websocket: the current connection, or ``None``.
    """

    _usage_of_block = "'async with Session(...) as session:'"

    # The runtime

    async def _call(self, function: Callable[..., Any], *args: Any) -> Any:
        result = function(*args)
        return await result if inspect.isawaitable(result) else result

    def _connecting(self, options: Mapping[str, Any]) -> tuple[Callable[..., Any], Callable[..., Any]]:
        manager = self._connect(options)
        return manager.__aenter__, manager.__aexit__

    def _connect(self, options: Mapping[str, Any]) -> AbstractAsyncContextManager[AsyncConnection]:
        if self._tasks.runtime == "trio":
            from ..trio import connect as trio_connect

            return trio_connect(self._uri, **options)
        from ..asyncio import connect as asyncio_connect

        return asyncio_connect(self._uri, **options)

    async def __aenter__(self) -> Self:
        self._begin()
        await self._enter(tasks_here())
        return self

    async def __aexit__(self, exc_type: object, exc: BaseException | None, traceback: object) -> None:
        await self._leave(exc)

    # What users call

    async def subscribe(self, topic: str, *, after: Position | str | None = None) -> None:
        """Subscribe, on this connection and on all that follow; the server may refuse it later.

        Args:
            topic: the topic, or a pattern.
            after: the last position that the application has; ``None`` for what is published from now on.

        Raises:
            ValueError: the session subscribes to it already, or an argument is not allowed.
            SessionEnded: the session has ended.
        """
        await self._subscribe(topic, after)

    async def unsubscribe(self, topic: str) -> None:
        """End a subscription; do nothing if there is none.

        Args:
            topic: the topic, or the pattern.

        Raises:
            SessionEnded: the session has ended.
        """
        await self._unsubscribe(topic)

    async def publish(self, topic: str, message: Data | BytesLike, *, wait: bool = True) -> Position | None:
        """Publish a message, now or when there is a connection.

        If the call is cancelled after the message was accepted, the message is published nevertheless.

        Args:
            topic: its topic.
            message: ``str`` for text, bytes-like for binary.
            wait: whether to wait until the server has confirmed it; otherwise only until it is accepted.

        Returns:
            The position of the message; ``None`` if the topic has no history, or without waiting.

        Raises:
            NotPublished: the server has refused it; or the connection was lost, and it is not sent again.
            SessionEnded: the session has ended.
            TypeError, ValueError: an argument is not allowed.
        """
        return await self._publish(topic, message, wait)

    async def recv(self) -> SessionEvent:
        """Return the next message, gap or refused subscription, as the iteration does.

        Raises:
            SessionEnded: the session has ended.
            Exception: the error that has ended the session.
        """
        return await self._next_event([None])

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> SessionEvent:
        try:
            return await self.recv()
        except SessionEnded:
            raise StopAsyncIteration from None
