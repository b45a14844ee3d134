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
from .states import PhaseRules
from .statistics import Statistics, collect
from .types import Side, State, StreamAction, Subprotocol

__all__ = ["Getters"]


class Getters:
    """The getters of :class:`~.protocol.Protocol`.

    Attributes:
        side: whether this is the server or the client.
        subprotocol: the subprotocol that was negotiated.
        extensions: the extensions that were negotiated, in order.
        request: the opening handshake's request, once it is there.
        response: the answer to it, once it is there.
        handshake_error: why the opening handshake failed, or ``None``.
        good_codes: the close codes for which :meth:`close_exception` makes a :exc:`ConnectionClosedOK`:
            1000, 1001 and 1005, unless others are set.
    """

    side: Side
    subprotocol: Subprotocol | None
    extensions: Sequence[Extension]
    request: Request | None
    response: Response | None
    handshake_error: Exception | None
    good_codes: Collection[int] = GOOD_CODES
    _rules: PhaseRules
    _inbox: Inbox
    _outbox: Outbox
    _pings: Pings
    _closing: Closing
    _random: Callable[[int], bytes]
    _id: uuid.UUID | None
    _messages_sent: int
    _bytes_received: int

    @property
    def stream_action(self) -> StreamAction:
        """What to do with the stream once everything has been written (RFC 6455 section 7.1.1).

        ABORT does not wait for that.
        """
        return self._rules.server if self.side is Side.SERVER else self._rules.client

    @property
    def state(self) -> State:
        """CONNECTING, OPEN, CLOSING or CLOSED; closed means that the stream is."""
        return self._rules.state

    @property
    def wants_read(self) -> bool:
        """Whether to read from the stream; otherwise what was received has to be taken first."""
        return self._inbox.wants_read

    @property
    def writable(self) -> bool:
        """Whether to send: false from the high mark of ``write_limit`` on, until down to the low one."""
        return self._outbox.writable

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

    @property
    def receiving(self) -> bool:
        """Whether messages may still come."""
        return not self._rules.over

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
