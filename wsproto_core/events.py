"""The events of a connection.

The event for a message is the message itself, a ``str`` or a ``bytes``: no object is built around it. The
opening handshake's events are the :class:`~.http.Request` that a server has to answer and the
:class:`~.http.Response` that a client received. Every other event is one of the small frozen classes
below::

    for event in protocol.events():
        match event:
            case str() | bytes():
                ...
            case Request():
                protocol.accept()
            case Close(code, reason):
                ...
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from .http import Request, Response
from .timers import Timer
from .types import Close, Data

__all__ = [
    "Close",
    "Event",
    "Failure",
    "Fragment",
    "Late",
    "Ping",
    "Pong",
    "Request",
    "Response",
    "TimerOverdue",
]


@dataclass(frozen=True, slots=True)
class Fragment:
    """A piece of a message, returned by :meth:`~.protocol.Protocol.next_fragment`.

    Pieces are cut where bytes happen to arrive, not where the peer's fragments end, except that a
    ``str`` never ends within a character.
    """

    data: Data
    final: bool
    """Whether it is the message's last piece."""


@dataclass(frozen=True, slots=True)
class Ping:
    """A ping was received; its pong is sent by itself."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Pong:
    """A pong was received.

    A peer may answer the latest of several pings only (RFC 6455 section 5.5.3), so one pong can
    answer several of ours.
    """

    data: bytes
    answered: tuple[tuple[bytes, float], ...] = ()
    """The pings that it answers, oldest first, each with its latency in seconds; none if nobody
    asked for this pong."""


@dataclass(frozen=True, slots=True)
class Failure:
    """The connection failed (RFC 6455 section 7.1.7), or the opening handshake did."""

    error: BaseException
    """The cause."""
    remote: bool
    """Whether it is the peer's fault; otherwise it is ours, or the network's."""
    close: Close | None = None
    """The close frame that is sent for it, if any."""


@dataclass(frozen=True, slots=True)
class TimerOverdue:
    """A deadline was looked at so late that the peer is not blamed: it is given one more period.

    This is a sign of a blocked event loop, not of the network.
    """

    timer: Timer
    """The deadline."""
    seconds: float
    """By how many seconds it was looked at late."""


Late = TimerOverdue
"""The earlier name."""


Event: TypeAlias = Data | Fragment | Ping | Pong | Close | Failure | TimerOverdue | Request | Response
"""Everything that :meth:`~.protocol.Protocol.events` returns."""
