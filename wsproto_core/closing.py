"""The end of a connection: the two close frames, the first error, and the exception made of them."""

from __future__ import annotations

from collections.abc import Collection

from .exceptions import (
    ConnectionClosed,
    ConnectionClosedError,
    ConnectionClosedOK,
    PayloadTooBig,
    ProtocolError,
    WebSocketException,
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
        cause: the first error, if there was one.
        deferred: the peer's close frame, or the error in its input, while it waits behind messages that
            the application has not received yet.
    """

    __slots__ = ("_lost", "_received_first", "cause", "deferred", "received", "sent")

    def __init__(self) -> None:
        self.received: Close | None = None
        self.sent: Close | None = None
        self.cause: BaseException | None = None
        self.deferred: Close | ProtocolError | PayloadTooBig | None = None
        self._received_first: bool | None = None
        self._lost = False

    def receive(self, close: Close) -> None:
        """Remember the peer's close frame."""
        self.received = close
        self._received_first = self.sent is None

    def fail(self, error: BaseException, *, lost: bool) -> None:
        """Remember the first error.

        Args:
            error: the cause of :exc:`ConnectionClosed`.
            lost: whether the network or a silent peer is the cause, rather than the peer's bytes or
                the application.
        """
        self.cause = error
        self._lost = lost

    def conclusion(self) -> Close:
        """The close code and reason of RFC 6455 sections 7.1.5 and 7.1.6, when nothing more will come."""
        return self.received or Close(CloseCode.ABNORMAL_CLOSURE)

    def exception(
        self, *, receiving: bool, good_codes: Collection[int], after_close: bool = False
    ) -> ConnectionClosed:
        """Make the exception that describes the end of the connection.

        Args:
            receiving: whether messages may still come.
            good_codes: the close codes for which it is a :exc:`ConnectionClosedOK`.
            after_close: whether it is raised by a command, which came too late.
        """
        close = self.conclusion()
        if receiving and self.sent is not None:
            # Our close frame has been queued: nothing can be sent, whatever the peer will answer.
            close = self.sent
        ok = close.code in good_codes
        exception = (ConnectionClosedOK if ok else ConnectionClosedError)(
            close.code,
            close.reason,
            received=self.received,
            sent=self.sent,
            received_first=self._received_first,
            failure=self._describe_failure(),
            after_close=after_close,
        )
        exception.__cause__ = self.cause
        return exception

    def _describe_failure(self) -> str | None:
        error = self.cause
        if error is None:
            return None
        if self._lost:
            return f"connection lost: {_describe_loss(error)}"
        if isinstance(error, WebSocketException):
            return f"connection failed: {error}"
        # An error of the application, of which repr() escapes the text.
        return f"connection failed: {error!r}"


def _describe_loss(error: BaseException) -> str:
    """Describe the loss of a connection: an error of reading or writing, or a deadline that has passed."""
    underlying: BaseException | None = error
    while underlying is not None:
        # When a write follows a reset, the system says EPIPE. Runtimes chain the system's error.
        if isinstance(underlying, ConnectionResetError | BrokenPipeError):
            return "reset by peer"
        underlying = underlying.__cause__
    strerror = error.strerror if isinstance(error, OSError) else None
    return strerror or str(error) or type(error).__name__
