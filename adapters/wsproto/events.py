"""What is received and sent: each event is a small frozen class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from .extensions import Extension
from .typing import Headers

__all__ = [
    "AcceptConnection",
    "BytesMessage",
    "CloseConnection",
    "Event",
    "Message",
    "Ping",
    "Pong",
    "RejectConnection",
    "RejectData",
    "Request",
    "TextMessage",
]

T = TypeVar("T", bytes | bytearray, str)


class Event:
    """The base class of events."""


@dataclass(frozen=True)
class Request(Event):
    """The request of an opening handshake.

    Args:
        host: the ``Host`` header.
        target: path and query.
        extensions: those that the client offers: to send, objects; when received, texts.
        extra_headers: the other headers. A received request has all of them here, except ``Host`` and those
            of extensions and subprotocols.
        subprotocols: those that the client offers.
    """

    host: str
    target: str
    extensions: Sequence[Extension] | Sequence[str] = field(default_factory=list)
    extra_headers: Headers = field(default_factory=list)
    subprotocols: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class AcceptConnection(Event):
    """The response with status 101.

    Args:
        subprotocol: the one that the server chose.
        extensions: to send, those that the server has; when received, those that it accepted.
        extra_headers: the other headers.
    """

    subprotocol: str | None = None
    extensions: list[Extension] = field(default_factory=list)
    extra_headers: Headers = field(default_factory=list)


@dataclass(frozen=True)
class RejectConnection(Event):
    """The head of a response with another status.

    Args:
        status_code: the status.
        headers: all headers.
        has_body: whether :class:`RejectData` follows.
    """

    status_code: int = 400
    headers: Headers = field(default_factory=list)
    has_body: bool = False


@dataclass(frozen=True)
class RejectData(Event):
    """A part of the body after :class:`RejectConnection`.

    Args:
        data: the part.
        body_finished: whether it is the last one.
    """

    data: bytes
    body_finished: bool = True


@dataclass(frozen=True)
class CloseConnection(Event):
    """A close frame, the end of the stream (code 1006), or a rule that the peer broke (1002 and others).

    It is not answered for you: while the state is ``REMOTE_CLOSING``, send :meth:`response`.

    Args:
        code: the close code.
        reason: the reason.
    """

    code: int
    reason: str | None = None

    def response(self) -> CloseConnection:
        """Return the close frame that answers this one."""
        return CloseConnection(code=self.code, reason=self.reason)


@dataclass(frozen=True)
class Message(Event, Generic[T]):
    """A message, or a part of one.

    Args:
        data: the part.
        frame_finished: whether it is the end of its frame.
        message_finished: whether it is the end of its message.
    """

    data: T
    frame_finished: bool = True
    message_finished: bool = True


@dataclass(frozen=True)
class TextMessage(Message[str]):
    """A text message, or a part of one: see :class:`Message`."""


@dataclass(frozen=True)
class BytesMessage(Message[bytes | bytearray]):
    """A binary message, or a part of one: see :class:`Message`."""


@dataclass(frozen=True)
class Ping(Event):
    """A ping. It is not answered for you: send :meth:`response`.

    Args:
        payload: at most 125 bytes.
    """

    payload: bytes = b""

    def response(self) -> Pong:
        """Return the pong that answers this ping."""
        return Pong(payload=self.payload)


@dataclass(frozen=True)
class Pong(Event):
    """A pong.

    Args:
        payload: that of the ping.
    """

    payload: bytes = b""
