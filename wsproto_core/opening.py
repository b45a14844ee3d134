"""The first stage of a connection: what an opening handshake tells the protocol, and is told by it.

A protocol that begins with an opening handshake has a :class:`Handshake`. It gives it the bytes that it
receives, and tells it of the end of the stream and of the deadline; the handshake returns how it ends.
A stream that was opened for WebSocket in another way, such as HTTP/2 (RFC 8441), needs none. The two of
RFC 6455 section 4 are in :mod:`.handshake`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

from .events import Event
from .extensions.base import Extension
from .http import Request, Response
from .observing import NOBODY, Observer
from .types import Subprotocol

__all__ = ["Answer", "End", "Handshake"]


class Answer(NamedTuple):
    """The response of an opening handshake, and what follows from it."""

    response: Response
    """The HTTP response."""
    data: bytes = b""
    """The response as it is sent, on a server."""
    error: Exception | None = None
    """Why there is no connection; ``None`` if it is open."""
    remote: bool = False
    """Whether that is the peer's fault."""
    events: tuple[Event, ...] = ()
    """Events to tell before, in order."""
    extensions: Sequence[Extension] = ()
    """The extensions that were negotiated, in order."""
    subprotocol: Subprotocol | None = None
    """The subprotocol that was negotiated."""


End: TypeAlias = Answer | Exception
"""How an opening handshake ends: by a response, or by an error without one, which is the peer's fault."""


class Handshake(ABC):
    """An opening handshake, which a protocol has until it is open.

    Attributes:
        request: the request, once it is complete.
        observer: is told of the request.
        wants_read: read backpressure: whether to read from the stream.
        time_left: seconds in which the rest has to arrive, once that is known.
    """

    request: Request | None = None
    observer: Observer = NOBODY
    wants_read = True
    time_left: float | None = None

    @abstractmethod
    def receive_data(self, data: bytes) -> Request | End | None:
        """Take bytes from the peer.

        Returns:
            The request, when it is complete and has to be answered; how the handshake ends; ``None`` if
            nothing follows yet.
        """

    @abstractmethod
    def receive_eof(self) -> End:
        """The peer has ended the stream."""

    @abstractmethod
    def connection_lost(self, error: Exception | None) -> End:
        """The stream is closed.

        Args:
            error: the cause, if there is one.
        """

    @abstractmethod
    def expire(self) -> End:
        """The deadline has passed."""

    @property
    @abstractmethod
    def trailing_data(self) -> bytes:
        """Bytes that were received behind the handshake: frames, if the connection is open."""
