"""How a connection is closed: what its two close frames and its first error say of it."""

from __future__ import annotations

from collections.abc import Collection

from .exceptions import (
    ConnectionClosed,
    ConnectionClosedError,
    ConnectionClosedOK,
    PayloadTooBig,
    ProtocolError,
)
from .types import Close, CloseCode

__all__ = ["GOOD_CODES", "Closing"]

# A browser's close() sends a close frame without a code.
GOOD_CODES = (CloseCode.NORMAL_CLOSURE, CloseCode.GOING_AWAY, CloseCode.NO_STATUS_RECEIVED)
"""The close codes of a good end."""


class Closing:
    """The close frames of both sides, in their order.

    Attributes:
        received: the peer's close frame, once it has been received.
        sent: ours, once it has been given.
        cause: the first thing that went wrong, if anything has.
        deferred: the peer's close frame, or the error in its input, while it waits behind messages that
            the application has not received yet.
    """

    __slots__ = ("_received_first", "cause", "deferred", "received", "sent")

    def __init__(self) -> None:
        self.received: Close | None = None
        self.sent: Close | None = None
        self.cause: BaseException | None = None
        self.deferred: Close | ProtocolError | PayloadTooBig | None = None
        self._received_first: bool | None = None

    def receive(self, close: Close) -> None:
        """Remember the peer's close frame."""
        self.received = close
        self._received_first = self.sent is None

    def conclusion(self) -> Close:
        """The close code and reason of RFC 6455 sections 7.1.5 and 7.1.6, when nothing more will come."""
        return self.received or Close(CloseCode.ABNORMAL_CLOSURE)

    def exception(self, *, receiving: bool, good_codes: Collection[int]) -> ConnectionClosed:
        """Make the exception that tells it all."""
        close = self.conclusion()
        if receiving and self.sent is not None:
            # Ours is on its way: nothing can be sent, whatever the peer will answer.
            close = self.sent
        ok = close.code in good_codes
        exception = (ConnectionClosedOK if ok else ConnectionClosedError)(
            close.code,
            close.reason,
            received=self.received,
            sent=self.sent,
            received_first=self._received_first,
        )
        exception.__cause__ = self.cause
        return exception
