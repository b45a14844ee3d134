"""The server's half of the session protocol: clients subscribe, publish and come back by messages.

The protocol is in ``docs/session.md``; :mod:`adapters.session` has the client's half.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from functools import lru_cache
from typing import Any, Literal, TypeAlias

from wsproto_core.closing import shorten_reason
from wsproto_core.exceptions import ConnectionClosed
from wsproto_core.prepared import PreparedMessage
from wsproto_core.types import CloseCode, Data

from ..shared.asynchronous import AsyncConnection
from ..shared.positions import Gap, Position
from ..shared.session_messages import decode_message, encode_gap, encode_message, position_of
from .backlog import Policy
from .backplane import BackplaneLost
from .history import Entry, Format
from .patterns import is_pattern
from .topics import Topics

__all__ = ["SESSION", "Action", "May", "SessionFormat", "serve_session"]

Action: TypeAlias = Literal["subscribe", "publish"]
"""What a client asks for."""

May: TypeAlias = Callable[[AsyncConnection, Action, str], bool | Awaitable[bool]]
"""Returns whether a client may subscribe to a topic or a pattern, or publish to a topic."""


class SessionFormat(Format):
    """Messages with their topics and positions; clients are told of gaps."""

    def __init__(self, pattern: str | None = None) -> None:
        """
        Args:
            pattern: the pattern of the subscription, which messages and gaps have, too; ``None`` for one to
                a topic.
        """
        self._pattern = pattern

    def encode(self, entry: Entry) -> PreparedMessage:
        position = None if entry.position is None else str(entry.position)
        return PreparedMessage(
            encode_message(
                "message", entry.message, topic=entry.topic, pattern=self._pattern, position=position
            )
        )

    def encode_gap(self, gap: Gap) -> PreparedMessage:
        return PreparedMessage(encode_gap(gap, self._pattern))


SESSION = SessionFormat()
"""The form of messages in the session protocol, for subscriptions to topics."""

# All subscriptions to a pattern share their frames.
_form_of_pattern = lru_cache(maxsize=1000)(SessionFormat)


async def serve_session(
    topics: Topics,
    websocket: AsyncConnection,
    *,
    may: May,
    policy: Policy = "oldest",
    queue: int | None = 128,
    max_subscriptions: int = 100,
) -> None:
    """Serve a client that speaks the session protocol, until its connection ends.

    Args:
        topics: the topics.
        websocket: the connection.
        may: a function, or a coroutine function, of the connection, ``"subscribe"`` or ``"publish"``, and a
            topic, or a pattern; it returns whether the client may do that. What raises an exception is
            refused with code 1011, as in every handler.
        policy: what happens when the connection is slow: see :meth:`.Topics.subscribe`.
        queue: the limit on messages that wait for a slow connection.
        max_subscriptions: the limit on subscriptions of this connection.
    """
    client = _Client(topics, websocket, may, policy, queue, max_subscriptions)
    try:
        async for message in websocket:
            try:
                await client.take(message)
            except ValueError as error:
                await websocket.close(CloseCode.POLICY_VIOLATION, shorten_reason(str(error)))
                return
    except ConnectionClosed:
        # The client is gone, and comes back if it wants to.
        return


class _Client:
    def __init__(
        self,
        topics: Topics,
        websocket: AsyncConnection,
        may: May,
        policy: Policy,
        queue: int | None,
        most: int,
    ) -> None:
        self._topics = topics
        self._websocket = websocket
        self._may = may
        self._policy: Policy = policy
        self._queue = queue
        self._most = most
        self._names: set[str] = set()

    async def take(self, message: Data) -> None:
        """Do what a message asks for.

        Raises:
            ValueError: it breaks the protocol.
        """
        kind, fields, data = decode_message(message)
        topic = fields.get("topic")
        if not isinstance(topic, str):
            raise ValueError("a message must have a topic")
        if kind == "subscribe":
            await self._subscribe(topic, position_of(fields))
        elif kind == "unsubscribe":
            self._names.discard(topic)
            await self._topics.unsubscribe(self._websocket, topic)
        elif kind == "publish" and data is not None and isinstance(fields.get("id"), int):
            await self._publish(topic, data, fields["id"])
        else:
            raise ValueError("a message must be one of subscribe, unsubscribe and publish")

    async def _subscribe(self, topic: str, after: Position | None) -> None:
        if topic in self._names:
            await self._refuse("subscribed already", topic=topic)
        elif len(self._names) >= self._most:
            await self._refuse("too many subscriptions", topic=topic)
        elif not await self._allowed("subscribe", topic):
            await self._refuse("not allowed", topic=topic)
        else:
            self._names.add(topic)
            form = _form_of_pattern(topic) if is_pattern(topic) else SESSION
            try:
                subscription = await self._topics.subscribe(
                    self._websocket, topic, after=after, policy=self._policy, queue=self._queue, form=form
                )
            except ValueError as error:
                self._names.discard(topic)
                await self._refuse(str(error), topic=topic)
                return
            position = None if subscription.position is None else str(subscription.position)
            await self._send("subscribed", topic=topic, position=position)

    async def _publish(self, topic: str, data: Data, number: int) -> None:
        if not await self._allowed("publish", topic):
            await self._refuse("not allowed", topic=topic, id=number)
            return
        try:
            position = await self._topics.publish(topic, data)
        except (ValueError, BackplaneLost) as error:
            await self._refuse(str(error), topic=topic, id=number)
            return
        await self._send("published", id=number, position=None if position is None else str(position))

    async def _allowed(self, action: Action, topic: str) -> bool:
        allowed = self._may(self._websocket, action, topic)
        return bool(await allowed if inspect.isawaitable(allowed) else allowed)

    async def _refuse(self, reason: str, **fields: Any) -> None:
        await self._send("refused", reason=reason, **fields)

    async def _send(self, kind: str, **fields: Any) -> None:
        await self._websocket.send(encode_message(kind, **fields))
