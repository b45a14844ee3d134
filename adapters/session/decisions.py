"""The decisions of a session, without I/O and without a clock.

These are: which messages are sent on a new connection, what is confirmed, what the application is told, and
which positions subscriptions have reached.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

from wsproto_core.types import Data

from ..shared.positions import Gap, Position
from ..shared.session_messages import decode_message, encode_message, gap_of, position_of

__all__ = [
    "Message",
    "NotPublished",
    "Publication",
    "Refused",
    "SessionEnded",
    "SessionEvent",
    "SessionPhase",
    "SessionState",
    "Told",
    "Unconfirmed",
]

SessionPhase: TypeAlias = Literal["connecting", "live", "waiting", "ended"]
"""What a session does: it connects; it has a connection; it waits before it connects again; it has ended."""

Unconfirmed: TypeAlias = Literal["send", "fail"]
"""What happens to a message that was sent, and whose confirmation had not come when the connection broke:
"send": it is sent again, and may be published twice; "fail": it is not, and may have been published."""


@dataclass(frozen=True, slots=True)
class Message:
    """A message of a topic.

    Attributes:
        topic: its topic.
        data: ``str`` for text, ``bytes`` for binary.
        position: its position; ``None`` if the topic has no history.
        pattern: the pattern of the subscription; ``None`` for a subscription to the topic.
    """

    topic: str
    data: Data
    position: Position | None
    pattern: str | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """The server has refused a subscription.

    Attributes:
        topic: the topic, or the pattern.
        reason: the reason, as the server says it.
    """

    topic: str
    reason: str


SessionEvent: TypeAlias = Message | Gap | Refused
"""What a session tells, in order."""


class NotPublished(Exception):
    """The server has refused a message, or it is not known whether it was published."""


class SessionEnded(ConnectionError):
    """The session has ended."""


class Publication:
    """A message to publish.

    Attributes:
        frame: the message of the protocol.
        sent: whether it was given to the current connection.
        done: called when it is confirmed or has failed.
        outcome: the position, or an error; ``None`` before.
    """

    __slots__ = ("done", "frame", "outcome", "position", "sent")

    def __init__(self, frame: Data) -> None:
        self.frame = frame
        self.sent = False
        self.done: Callable[[], object] | None = None
        self.outcome: Literal["published"] | Exception | None = None
        self.position: Position | None = None

    def finish(self, outcome: Literal["published"] | Exception) -> None:
        """Confirm it, or let it fail."""
        self.outcome = outcome
        if self.done is not None:
            self.done()


class Told(NamedTuple):
    """An event for the application.

    Attributes:
        event: the event.
        moves: whether the subscription to its topic has reached another position by it.
        before: the position that the subscription had before.
    """

    event: SessionEvent
    moves: bool = False
    before: Position | None = None


class SessionState:
    """A session without I/O.

    Attributes:
        topics: the subscriptions, with the positions up to which events were received.
        events: those that the application has not taken.
    """

    def __init__(self, unconfirmed: Unconfirmed) -> None:
        """
        Args:
            unconfirmed: what happens to messages without a confirmation when the connection breaks.

        Raises:
            ValueError: it is unknown.
        """
        if unconfirmed not in get_args(Unconfirmed):
            raise ValueError(f"unconfirmed must be 'send' or 'fail', not {unconfirmed!r}")
        self.topics: dict[str, Position | None] = {}
        self.events: deque[Told] = deque()
        self._unconfirmed = unconfirmed
        self._connected = False
        # What is to be sent on this connection before messages are published.
        self._control: deque[Data] = deque()
        self._publishes: dict[int, Publication] = {}
        self._unsent: deque[Publication] = deque()
        self._number = 0

    @property
    def pending(self) -> int:
        """The number of accepted messages that are neither confirmed nor refused."""
        return len(self._publishes)

    @property
    def positions(self) -> dict[str, Position | None]:
        """The subscriptions, with the positions up to which the application has taken the events."""
        found = dict(self.topics)
        for event, moves, before in reversed(self.events):
            if moves:
                found[event.topic] = before
        return found

    @property
    def has_frame(self) -> bool:
        """Whether :meth:`next_frame` has something to send."""
        return bool(self._control or self._unsent)

    # Commands

    def subscribe(self, topic: str, after: Position | None) -> None:
        """Subscribe, now and on each connection that follows.

        Args:
            topic: the topic, or a pattern.
            after: the last position that the application has.
        """
        if topic in self.topics:
            raise ValueError(f"this session subscribes to {topic!r} already")
        self.topics[topic] = after
        if self._connected:
            self._control.append(self._subscription(topic))

    def unsubscribe(self, topic: str) -> None:
        """End a subscription, if there is one.

        Args:
            topic: the topic, or the pattern.
        """
        if topic in self.topics:
            self._forget(topic)
            if self._connected:
                self._control.append(encode_message("unsubscribe", topic=topic))

    def _forget(self, topic: str) -> None:
        # What is left of this subscription says nothing of a later one.
        self.events = deque(Told(told.event) if told.event.topic == topic else told for told in self.events)
        del self.topics[topic]

    def publish(self, topic: str, data: Data) -> Publication:
        """Accept a message.

        Args:
            topic: its topic.
            data: the message.
        """
        self._number += 1
        publish = Publication(encode_message("publish", data, topic=topic, id=self._number))
        self._publishes[self._number] = publish
        self._unsent.append(publish)
        return publish

    def _subscription(self, topic: str) -> Data:
        after = self.topics[topic]
        return encode_message("subscribe", topic=topic, position=None if after is None else str(after))

    # The connection

    def connected(self) -> None:
        """There is a connection: subscribe again, and send what was not sent."""
        self._connected = True
        self._control = deque(map(self._subscription, self.topics))

    def disconnected(self) -> None:
        """The connection is lost."""
        self._connected = False
        self._control.clear()
        for number, publish in list(self._publishes.items()):
            if publish.sent and self._unconfirmed == "fail":
                del self._publishes[number]
                publish.finish(
                    NotPublished("the connection was lost: the message may have been published or not")
                )
            publish.sent = False
        self._unsent = deque(self._publishes.values())

    def next_frame(self) -> Data | None:
        """Return what is to be sent next on the connection, once; ``None`` for nothing."""
        if self._control:
            return self._control.popleft()
        if self._unsent:
            publish = self._unsent.popleft()
            publish.sent = True
            return publish.frame
        return None

    def end(self) -> None:
        """The session ends: what is not confirmed has failed."""
        for publish in self._publishes.values():
            publish.finish(SessionEnded("the session has ended: the message may have been published or not"))
        self._publishes.clear()
        self._unsent.clear()

    def received(self, message: Data) -> SessionEvent | None:
        """Take a message of the server; return what the application is told, which is added to the events.

        Args:
            message: the message.

        Raises:
            ValueError: it is not a message of the protocol.
        """
        kind, fields, data = decode_message(message)
        topic = fields.get("topic")
        # A subscription to a pattern may be ahead of one to the topic, and a gap of it says nothing of that.
        pattern = fields.get("pattern")
        if kind == "message" and isinstance(topic, str) and data is not None:
            position = position_of(fields)
            message_event = Message(topic, data, position, pattern)
            if position is None or pattern is not None:
                return self._tell(message_event)
            return self._tell(message_event, position.previous, position)
        if kind == "gap":
            gap = gap_of(fields)
            return self._tell(gap) if pattern is not None else self._tell(gap, gap.after, gap.until)
        if kind == "subscribed" and isinstance(topic, str):
            # Messages may have come before it.
            if topic in self.topics and self.topics[topic] is None:
                self.topics[topic] = position_of(fields)
            return None
        if kind == "published":
            self._finish(fields, "published")
            return None
        if kind == "refused":
            reason = str(fields.get("reason"))
            if "id" in fields:
                self._finish(fields, NotPublished(f"the server has refused the message: {reason}"))
                return None
            if isinstance(topic, str):
                if topic in self.topics:
                    self._forget(topic)
                return self._tell(Refused(topic, reason))
        raise ValueError(f"this is not a message of the session protocol: {str(message)[:100]!r}")

    def _tell(
        self, event: SessionEvent, before: Position | None = None, position: Position | None = None
    ) -> SessionEvent:
        """Add an event.

        Args:
            event: the event.
            before: the position before it, as far as it tells.
            position: the position that the subscription to its topic has reached by it, if it tells.
        """
        if position is None or event.topic not in self.topics:
            self.events.append(Told(event))
        else:
            self.events.append(Told(event, True, self.topics[event.topic] or before))
            self.topics[event.topic] = position
        return event

    def _finish(self, fields: dict[str, Any], outcome: Literal["published"] | Exception) -> None:
        publish = self._publishes.pop(fields.get("id", 0), None)
        if publish is not None:
            publish.position = position_of(fields)
            publish.finish(outcome)
