"""What can be asked of a connection: getters, which change nothing."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Sequence

from .closing import GOOD_CODES, Closing
from .exceptions import ConnectionClosed, InvalidState
from .extensions.base import Extension
from .http import Request, Response
from .inbox import Inbox
from .keepalive import Pings
from .outbox import Outbox
from .statistics import Statistics, collect
from .types import Side, State, StreamAction, Subprotocol

__all__ = ["Getters"]


class Getters:
    """The attributes and getters of :class:`~.protocol.Protocol`. Treat the attributes as read-only.

    Attributes:
        side: whether this is the server or the client.
        state: CONNECTING, OPEN, CLOSING or CLOSED (RFC 6455 sections 4 and 7); CLOSED means that the
            stream is closed, too.
        receiving: whether messages may still come.
        has_input: whether the application can receive something: a message, a piece of one if
            :meth:`~.protocol.Protocol.next_fragment` was asked last, or the end (``not receiving``).
            While it is false, the application waits.
        has_events: whether there are events beside messages.
        wants_read: read backpressure: whether to read from the stream. While it is false, the
            application has to receive messages first, or a server to answer the request.
        writable: write backpressure: whether to send more. It turns false at the high watermark of
            ``write_limit``, and true again at the low one.
        stream_action: what to do with the stream once everything has been written (RFC 6455
            section 7.1.1); ABORT does not wait for that.
        subprotocol: the subprotocol that was negotiated.
        extensions: the extensions that were negotiated, in order.
        request: the opening handshake's request, once it is there.
        response: the answer to it, once it is there.
        handshake_error: why the opening handshake failed, or ``None``.
        good_codes: the close codes for which :meth:`close_exception` makes a :exc:`ConnectionClosedOK`:
            1000, 1001 and 1005, unless others are set.
    """

    side: Side
    state: State
    receiving: bool
    has_input: bool
    has_events: bool
    wants_read: bool
    writable: bool
    stream_action: StreamAction
    subprotocol: Subprotocol | None
    extensions: Sequence[Extension]
    request: Request | None
    response: Response | None
    handshake_error: Exception | None
    good_codes: Collection[int] = GOOD_CODES
    _inbox: Inbox
    _outbox: Outbox
    _pings: Pings
    _closing: Closing
    _random: Callable[[int], bytes]
    _id: uuid.UUID | None
    _messages_sent: int
    _bytes_received: int

    @property
    def latency(self) -> float:
        """Seconds from the last ping that was answered to its pong; 0.0 before there was one."""
        return self._pings.latency

    @property
    def id(self) -> uuid.UUID:
        """A random identifier of this connection, for logs."""
        if self._id is None:
            self._id = uuid.UUID(bytes=self._random(16), version=4)
        return self._id

    @property
    def undelivered(self) -> int:
        """How many messages wait to be taken."""
        return len(self._inbox.reader.messages)

    @property
    def queued(self) -> int:
        """How many bytes wait to be handed out, beside control frames that are made when they are."""
        return self._outbox.queued

    @property
    def unwritten(self) -> int:
        """How many bytes have been handed out and not been reported by :meth:`data_sent`."""
        return self._outbox.unwritten

    @property
    def close_code(self) -> int | None:
        """The close code of RFC 6455 section 7.1.5; ``None`` before it is known.

        The one that was received, 1005 if that close frame had none, 1006 without a close frame.
        """
        return None if self.receiving else self._closing.conclusion().code

    @property
    def close_reason(self) -> str | None:
        """The reason of RFC 6455 section 7.1.6, or ""; ``None`` before it is known."""
        return None if self.receiving else self._closing.conclusion().reason

    def close_exception(self) -> ConnectionClosed:
        """Make the exception that tells how the connection was closed.

        Raises:
            InvalidState: it is neither closed nor failed: see :attr:`receiving`.
        """
        if self.receiving and self._closing.sent is None:
            raise InvalidState(f"the connection is {self.state.value}, not closed")
        return self._closing.exception(receiving=self.receiving, good_codes=self.good_codes)

    @property
    def statistics(self) -> Statistics:
        """What has passed so far."""
        return collect(
            self._inbox, self._outbox, self._pings, self.extensions, self._messages_sent, self._bytes_received
        )
