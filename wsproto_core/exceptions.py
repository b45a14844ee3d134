"""Every exception of the library, in one hierarchy.

::

    WebSocketException
    ├── ConnectionClosed
    │   ├── ConnectionClosedError
    │   └── ConnectionClosedOK
    ├── InvalidHandshake
    │   ├── SecurityError
    │   ├── InvalidMessage                   (also a ValueError)
    │   ├── InvalidHeader
    │   │   ├── InvalidHeaderFormat
    │   │   ├── InvalidHeaderValue
    │   │   ├── InvalidOrigin
    │   │   └── InvalidUpgrade
    │   ├── InvalidStatusCode
    │   ├── NegotiationError
    │   │   ├── DuplicateParameter
    │   │   ├── InvalidParameterName
    │   │   └── InvalidParameterValue
    │   ├── AbortHandshake
    │   ├── RedirectHandshake
    │   ├── HandshakeTimeout                 (also a TimeoutError)
    │   └── ProxyError
    │       ├── InvalidProxyMessage          (also a ValueError)
    │       ├── InvalidProxyStatus
    │       └── SocksError
    ├── InvalidState
    │   └── ConcurrencyError                 (also a RuntimeError)
    ├── InvalidURI                           (also a ValueError)
    ├── InvalidProxy                         (also a ValueError)
    ├── PayloadTooBig
    └── ProtocolError
        └── InvalidPayload

All of them can be pickled. Text from the peer is shown by ``repr``, so that none of its control
characters reaches a terminal or a log.
"""

from __future__ import annotations

import copyreg
import re
from collections.abc import Callable
from typing import Any, ClassVar

from .http.headers import HeadersLike
from .http.messages import Response
from .types import Close, CloseCode

__all__ = [
    "AbortHandshake",
    "ConcurrencyError",
    "ConnectionClosed",
    "ConnectionClosedError",
    "ConnectionClosedOK",
    "DuplicateParameter",
    "HandshakeTimeout",
    "InvalidHandshake",
    "InvalidHeader",
    "InvalidHeaderFormat",
    "InvalidHeaderValue",
    "InvalidMessage",
    "InvalidOrigin",
    "InvalidParameterName",
    "InvalidParameterValue",
    "InvalidPayload",
    "InvalidProxy",
    "InvalidProxyMessage",
    "InvalidProxyStatus",
    "InvalidState",
    "InvalidStatusCode",
    "InvalidURI",
    "InvalidUpgrade",
    "NegotiationError",
    "PayloadTooBig",
    "ProtocolError",
    "ProxyError",
    "RedirectHandshake",
    "SecurityError",
    "SocksError",
    "WebSocketException",
    "WebSocketProtocolError",
]

_SCHEME = re.compile(r"[A-Za-z][-+.A-Za-z0-9]*+://")

# Bytes of a response's body that are searched for its first line.
_EXCERPT = 1024

# Characters of that line that are shown.
_LONGEST_LINE = 100


class WebSocketException(Exception):
    """Base class of all exceptions that this library defines."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]:
        # BaseException.__reduce__ calls the class with self.args, which is the message here and not
        # the arguments of __init__. Everything that the subclasses know is in __dict__.
        return copyreg.__newobj__, (type(self), *self.args), self.__dict__.copy()  # type: ignore[attr-defined]


class ConnectionClosed(WebSocketException):
    """The connection is closed: nothing more can be received, or nothing can be sent.

    The message begins with the failure, if there was one ("connection lost: reset by peer"), otherwise
    with "the connection is closed". The close frames follow.

    Attributes:
        code: the close code as section 7.1.5 of RFC 6455 defines it: the one in the peer's close
            frame, 1005 if that had none, 1006 if there was no close frame.
        reason: the reason in the peer's close frame, or "".
        received: the close frame that was received, or ``None``.
        sent: the close frame that was sent, or ``None``.
        received_first: whether the peer's close frame came before ours was sent; ``None`` unless
            there were both.
        failure: the failure that ended the connection, in words; ``None`` if there was none.

    The exception underneath a failure (an ``OSError``, a ``ProtocolError``) is chained as ``__cause__``.
    """

    def __init__(
        self,
        code: int,
        reason: str,
        *,
        received: Close | None = None,
        sent: Close | None = None,
        received_first: bool | None = None,
        failure: str | None = None,
        after_close: bool = False,
    ) -> None:
        """
        Args:
            code: see the attributes, also for the next five arguments.
            reason, received, sent, received_first, failure: see the attributes.
            after_close: whether the connection was used after it had been closed or lost: then the
                message begins with that.
        """
        self.code = code
        self.reason = reason
        self.received = received
        self.sent = sent
        self.received_first = received_first
        self.failure = failure
        beginning = [] if failure and not after_close else ["the connection is closed"]
        end = self.describe_end()
        super().__init__(": ".join([*beginning, end]))

    def describe_end(self) -> str:
        """Describe the end of the connection in one line: the failure, if any, and the close frames."""
        frames = self._describe_frames()
        return f"{self.failure}; {frames}" if self.failure else frames

    def _describe_frames(self) -> str:
        if self.received is None and self.sent is None:
            if self.code == CloseCode.ABNORMAL_CLOSURE:
                return "no close frame was received or sent"
            return f"closed with {Close(self.code, self.reason)}"
        if self.sent is None:
            return f"received {self.received}; no close frame was sent"
        if self.received is None:
            return f"sent {self.sent}; no close frame was received"
        if self.received_first:
            return f"received {self.received}; then sent {self.sent}"
        return f"sent {self.sent}; then received {self.received}"


class ConnectionClosedError(ConnectionClosed):
    """The connection was closed with an error: with a code other than those of :exc:`ConnectionClosedOK`."""


class ConnectionClosedOK(ConnectionClosed):
    """The connection was closed with code 1000 (OK), 1001 (going away) or 1005 (none in the close frame)."""


class InvalidHandshake(WebSocketException):
    """The opening handshake failed (RFC 6455 section 4)."""


class SecurityError(InvalidHandshake):
    """A handshake request or response exceeds a limit.

    Attributes:
        status: the HTTP status with which a server answers it.
    """

    def __init__(self, message: str, status: int = 400) -> None:
        self.status = status
        super().__init__(message)


class InvalidMessage(InvalidHandshake, ValueError):
    """A handshake request or response is malformed.

    Attributes:
        status: the HTTP status with which a server answers it.
    """

    def __init__(self, message: str, status: int = 400) -> None:
        self.status = status
        super().__init__(message)


class InvalidHeader(InvalidHandshake):
    """An HTTP header is missing, or its value is not acceptable."""

    def __init__(self, name: str, value: str | None = None) -> None:
        self.name = name
        self.value = value
        super().__init__(self._describe())

    def _describe(self) -> str:
        if self.value is None:
            return f"missing {self.name} header"
        if self.value == "":
            return f"empty {self.name} header"
        return f"invalid {self.name} header: {self.value!r}"


class InvalidHeaderFormat(InvalidHeader):
    """An HTTP header does not match its grammar.

    Attributes:
        error: the expected syntax.
        pos: the position of the error in the value, in characters.
    """

    def __init__(self, name: str, error: str, header: str, pos: int) -> None:
        self.error = error
        self.pos = pos
        super().__init__(name, header)

    def _describe(self) -> str:
        return f"invalid {self.name} header: {self.error} at {self.pos} in {self.value!r}"


class InvalidHeaderValue(InvalidHeader):
    """An HTTP header matches its grammar, but its value is wrong."""


class InvalidOrigin(InvalidHeader):
    """The ``Origin`` header of a request is not among the accepted ones."""

    def __init__(self, origin: str | None) -> None:
        super().__init__("Origin", origin)


class InvalidUpgrade(InvalidHeader):
    """The ``Upgrade`` or the ``Connection`` header does not ask for, or agree to, WebSocket."""


class InvalidStatusCode(InvalidHandshake):
    """The server answered the opening handshake with another status than 101.

    Attributes:
        status_code: the status.
        response: the whole response, with as much of its body as was received, or ``None``.
        uri: the URI of the request, without user information, or ``None``.
    """

    def __init__(self, status_code: int, response: Response | None = None, uri: str | None = None) -> None:
        self.status_code = status_code
        self.response = response
        self.uri = uri
        server = "server" if self.uri is None else f"server at {self.uri!r}"
        message = f"{server} rejected the connection with HTTP status {status_code}, expected 101"
        if status_code == 200:
            message += ": is this a WebSocket endpoint?"
        line = _first_line(b"" if response is None else response.body)
        if line:
            message += f"{' The' if status_code == 200 else '; the'} response begins with {line}"
        super().__init__(message)


def _first_line(body: bytes) -> str:
    """Return the first line of a body that is not blank, escaped, at most 100 characters; "" if none."""
    # The body may be long, and may be no text.
    for line in body[:_EXCERPT].decode(errors="replace").splitlines():
        line = line.strip()
        if line:
            return f"{line!a}" if len(line) <= _LONGEST_LINE else f"{line[:_LONGEST_LINE]!a}..."
    return ""


class NegotiationError(InvalidHandshake):
    """The two sides do not agree on extensions or on a subprotocol."""


class DuplicateParameter(NegotiationError):
    """A parameter of an extension is given twice."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(f"duplicate extension parameter: {name!r}")


class InvalidParameterName(NegotiationError):
    """A parameter of an extension is unknown."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(f"unknown extension parameter: {name!r}")


class InvalidParameterValue(NegotiationError):
    """A parameter of an extension has a value that is not allowed."""

    def __init__(self, name: str, value: str | None) -> None:
        self.name = name
        self.value = value
        if value is None:
            message = f"missing value for extension parameter {name!r}"
        else:
            message = f"invalid value for extension parameter {name!r}: {value!r}"
        super().__init__(message)


class AbortHandshake(InvalidHandshake):
    """Raised in a server's hook to answer the opening handshake with an HTTP response."""

    def __init__(self, status: int, headers: HeadersLike = (), body: bytes = b"") -> None:
        self.status = status
        self.headers = headers
        self.body = body
        super().__init__(f"handshake aborted with HTTP status {int(status)}")


class RedirectHandshake(InvalidHandshake):
    """The server redirects the opening handshake to another URI."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        super().__init__(f"redirect to {uri!r}")


class HandshakeTimeout(InvalidHandshake, TimeoutError):
    """The opening handshake was not complete within ``open_timeout``."""


class ProxyError(InvalidHandshake):
    """The connection through a proxy failed."""


class InvalidProxyMessage(ProxyError, ValueError):
    """An HTTP proxy's answer is malformed, exceeds a limit, or is missing."""


class InvalidProxyStatus(ProxyError):
    """An HTTP proxy answered a CONNECT request with another status than 200 to 299.

    Attributes:
        status_code: the status.
        response: the response, without its body, or ``None``.
    """

    def __init__(self, status_code: int, response: Response | None = None) -> None:
        self.status_code = status_code
        self.response = response
        message = f"proxy rejected the connection with HTTP status {status_code}, expected 200"
        if status_code == 407:
            message += ": it asks for a username and a password, or does not accept those in its URL"
        super().__init__(message)


class SocksError(ProxyError):
    """A SOCKS proxy refused the connection, or its answer is malformed.

    Attributes:
        code: its reply's code (RFC 1928 section 6; for SOCKS 4, from 91 on), or ``None``.
    """

    def __init__(self, message: str, code: int | None = None) -> None:
        self.code = code
        super().__init__(message)


class InvalidState(WebSocketException):
    """The state of the connection does not allow the command."""


class ConcurrencyError(InvalidState, RuntimeError):
    """Two tasks or threads use a connection at the same time in a way that only one at a time may."""


def hide_user_info(uri: str) -> str:
    """Return a URI with ``***`` in the place of user information; it may be malformed."""
    scheme = _SCHEME.match(uri)
    start = 0 if scheme is None else scheme.end()
    # The last "@", since a password may contain characters that should be percent-encoded.
    end = uri.rfind("@", start)
    return uri if end == -1 else f"{uri[:start]}***{uri[end:]}"


class InvalidURI(WebSocketException, ValueError):
    """A URI is not a WebSocket URI (RFC 6455 section 3).

    Attributes:
        uri: the URI, with ``***`` in the place of user information.
    """

    def __init__(self, uri: str, message: str = "not a WebSocket URI") -> None:
        self.uri = hide_user_info(uri)
        super().__init__(f"{self.uri!r} is invalid: {message}")


class InvalidProxy(WebSocketException, ValueError):
    """The URL of a proxy is not valid.

    Attributes:
        proxy: the URL, with ``***`` in the place of user information.
    """

    def __init__(self, proxy: str, message: str = "not the URL of a proxy") -> None:
        self.proxy = hide_user_info(proxy)
        super().__init__(f"{self.proxy!r} is invalid: {message}")


class PayloadTooBig(WebSocketException):
    """The peer sent more than a limit allows; the connection is closed with code 1009."""

    code: ClassVar[CloseCode] = CloseCode.MESSAGE_TOO_BIG


class ProtocolError(WebSocketException):
    """The peer broke the protocol; the connection is closed with code 1002."""

    code: ClassVar[CloseCode] = CloseCode.PROTOCOL_ERROR


class InvalidPayload(ProtocolError):
    """The peer sent data of a wrong type, such as text that is not UTF-8; the close code is 1007."""

    code: ClassVar[CloseCode] = CloseCode.INVALID_DATA


WebSocketProtocolError = ProtocolError
"""Older name of :class:`ProtocolError`."""
