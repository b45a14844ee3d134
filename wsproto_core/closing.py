"""The end of a connection: close codes, the payload of a close frame (RFC 6455 section 5.5.1), the close
frames of both sides, the first error, and the exception made of them."""

from __future__ import annotations

from collections.abc import Collection

from .exceptions import (
    ConnectionClosed,
    ConnectionClosedError,
    ConnectionClosedOK,
    InvalidPayload,
    PayloadTooBig,
    ProtocolError,
    WebSocketException,
)
from .frames import MAX_CONTROL_PAYLOAD
from .types import Close, CloseCode

__all__ = [
    "GOOD_CODES",
    "NOT_CLOSING",
    "Closing",
    "check_close_code",
    "parse_close",
    "parse_close_frame",
    "serialize_close",
    "shorten_reason",
]

# A browser's close() sends a close frame without a code.
GOOD_CODES = (CloseCode.NORMAL_CLOSURE, CloseCode.GOING_AWAY, CloseCode.NO_STATUS_RECEIVED)
"""The close codes of a normal end."""


# Bytes in a close frame's reason: the code takes two.
_MAX_REASON = MAX_CONTROL_PAYLOAD - 2


def check_close_code(code: int) -> bool:
    """Whether a close code may stand in a close frame (RFC 6455 section 7.4, IANA registry).

    1004, 1005, 1006 and 1015 may not; 1012 to 1014 were registered later; 3000 to 3999 are for
    libraries and frameworks, 4000 to 4999 for private use.
    """
    return 3000 <= code < 5000 or 1000 <= code <= 1003 or 1007 <= code <= 1014


def parse_close(data: bytes) -> tuple[int, str]:
    """Parse the payload of a close frame into its code, 1005 if there is none, and its reason.

    Raises:
        ProtocolError: the payload is one byte long, or the code may not stand in a close frame.
        UnicodeDecodeError: the reason is not UTF-8.
    """
    if not data:
        return CloseCode.NO_STATUS_RECEIVED, ""
    if len(data) == 1:
        raise ProtocolError("close frame with a payload of one byte: too short for a close code")
    code = data[0] << 8 | data[1]
    if not check_close_code(code):
        raise ProtocolError(f"invalid close code {code}")
    return code, data[2:].decode()


def parse_close_frame(data: bytes) -> Close:
    """Like :func:`parse_close`, with a reason that is not UTF-8 as :exc:`InvalidPayload`."""
    try:
        return Close(*parse_close(data))
    except UnicodeDecodeError as error:
        raise InvalidPayload("reason in the close frame is not UTF-8") from error


def serialize_close(code: int, reason: str) -> bytes:
    """Build the payload of a close frame: the reverse of :func:`parse_close`.

    Raises:
        TypeError: ``code`` is not an ``int``, or ``reason`` is not a ``str``.
        ValueError: ``code`` may not stand in a close frame, or ``reason`` is longer than 123 bytes
            in UTF-8. (1005 with no reason gives the empty payload.)
    """
    _check_close_types(code, reason)
    if code == CloseCode.NO_STATUS_RECEIVED and not reason:
        return b""
    if not check_close_code(code):
        raise ValueError(f"close code must be 1000-1003, 1007-1014 or 3000-4999, not {code!r}")
    encoded = reason.encode()
    if len(encoded) > _MAX_REASON:
        raise ValueError(f"close reason is {len(encoded)} bytes in UTF-8, at most {_MAX_REASON} fit")
    return code.to_bytes(2, "big") + encoded


def _check_close_types(code: object, reason: object) -> None:
    if isinstance(code, bool) or not isinstance(code, int):
        hint = ": the reason is the second argument" if isinstance(code, str | bytes) else ""
        raise TypeError(f"close code must be an int, not {code!r}{hint}")
    if not isinstance(reason, str):
        raise TypeError(f"close reason must be a str, not {reason!r}")


def shorten_reason(reason: str) -> str:
    """Cut a text to the bytes that fit into a close frame."""
    return reason.encode()[:_MAX_REASON].decode(errors="ignore")


class Closing:
    """The close frames of both sides, in their order.

    Attributes:
        received: the peer's close frame, once it has been received.
        sent: our close frame, once it has been queued.
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
        """Store the peer's close frame."""
        self.received = close
        self._received_first = self.sent is None

    def fail(self, error: BaseException, *, lost: bool) -> None:
        """Store the first error.

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


NOT_CLOSING = Closing()
"""The end of each connection that is open: it is never changed."""


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
