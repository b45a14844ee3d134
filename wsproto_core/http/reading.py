"""Readers of one request and of one response.

h11 parses the grammar and the framing of bodies. Four things are done here, around it:

- The end of the head is found, and the limits on the head are applied, before h11 gets a byte. h11
  limits only a head that is still incomplete, so that its result depends on the size of the chunks.
- Control characters, which h11 accepts, are refused. That is done before h11 parses a line, since some
  of its regular expressions take quadratic time on a line that they do not match.
- The first line is checked when it is complete, and its first bytes before that: a peer that speaks
  another protocol may wait for an answer, and never send the blank line that ends a head.
- Bodies are for refusals only. If a request, or a 101 response, had a body, an intermediary and this
  endpoint could disagree on where the WebSocket data begin.
"""

from __future__ import annotations

import dataclasses
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable
from math import inf
from typing import ClassVar

import h11

from ..exceptions import InvalidMessage, InvalidState, SecurityError
from ..limits import DEFAULT_HEAD_LIMITS, HeadLimits
from ..types import BytesLike
from .headers import Headers, HeaderValues, decode_value, values_by_name
from .messages import Request, Response
from .syntax import TOKEN

__all__ = ["RequestReader", "ResponseReader", "check_no_body"]

_CONTROL_IN_HEAD = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n)")

_TEXT = rb"[^\x00-\x08\x0a-\x1f\x7f]"
# RFC 9112 sections 3 and 4; the target and the reason phrase are left to h11.
_REQUEST_LINE = rb"(?P<method>%b) [\x21-\x7e]++ HTTP/(?P<version>[0-9]\.[0-9])" % TOKEN.encode()
_STATUS_LINE = rb"HTTP/(?P<version>[0-9]\.[0-9]) (?P<status>[0-9]{3})(?: %b*+)?+" % _TEXT

_LINES = rb"\r\n(?:%b++\r\n)*+\r\n" % _TEXT

# h11 frames a response for the request that it answers.
_REQUEST = h11.Request(
    method="GET",
    target="/",
    headers=[("Host", "localhost"), ("Connection", "Upgrade"), ("Upgrade", "websocket")],
)

_FRAMING = ("Content-Length", "Transfer-Encoding")

_FIRST_BYTES = 16
"""Bytes of an incomplete first line that are checked."""

_SHOWN = 80
"""Bytes of a first line that an error message shows."""

_MAX_EMPTY_LINES = 8
"""Limit on the empty lines before a request."""

_MAX_INFORMATIONAL = 64
"""Limit on the responses with a status from 100 to 199 before the final response."""

# Limit on the bytes of a chunk header or of trailers: h11 takes quadratic time for a malformed one.
_MAX_CHUNK_HEADER = 512


class _HeadReader(ABC):
    """Finds the end of a head, and enforces the limits meanwhile.

    Every byte is searched once, and the errors depend on the bytes only, not on the size of the chunks.
    A head ends where it ends for h11: at a blank line. Lines may end without a carriage return
    (RFC 9112 section 2.2).
    """

    _kind: ClassVar[str]
    """ "request" or "response", for error messages."""
    _start: ClassVar[re.Pattern[bytes]]
    """The first bytes of a head."""
    _first_line: ClassVar[re.Pattern[bytes]]
    """The first line."""
    _head: ClassVar[re.Pattern[bytes]]
    """A whole head of the form that nearly all have, with the groups of the first line."""
    _example: ClassVar[str]
    """A first line, for error messages."""
    _empty_lines = 0
    """Number of empty lines before a head that are still skipped (RFC 9112 section 2.2)."""

    def __init__(self, limits: HeadLimits) -> None:
        """
        Args:
            limits: limits on a head.
        """
        self._max_headers = inf if limits.max_headers is None else limits.max_headers
        self._max_line = inf if limits.max_header_line is None else limits.max_header_line
        self._max_bytes = inf if limits.max_header_bytes is None else limits.max_header_bytes
        self._data = bytearray()
        self._searched = self._line_start = self._lines = 0

    @abstractmethod
    def _check_version(self, line: re.Match[bytes]) -> None:
        """Raise :exc:`InvalidMessage` for a first line with a version that is not supported."""

    def _next_head(self) -> bytes | None:
        """Take the next head from the received bytes and return it, or ``None`` if it is not complete.

        Raises:
            SecurityError: a limit is exceeded.
            InvalidMessage: the first bytes or the first line can't begin a head, or there is a control
                character in it.
        """
        data = self._data
        match = None if self._searched else self._head.match(data)
        if match is not None and match.end() <= min(self._max_line, self._max_bytes):
            head = match.group()
            if head.count(b"\n") <= self._max_headers + 2:
                self._check_version(match)
                del data[: len(head)]
                return head
        if not self._lines and not self._has_begun():
            return None
        while True:
            line_feed = data.find(b"\n", self._searched)
            self._searched = end = line_feed + 1 or len(data)
            self._check_size(end)
            if line_feed == -1:
                return None
            if not self._lines:
                self._check_first_line(bytes(data[:end]))
            elif data.startswith((b"\n", b"\r\n"), self._line_start):
                break
            self._lines += 1
            # The first line is not a header.
            if self._lines > self._max_headers + 1:
                raise SecurityError(f"HTTP {self._kind} has more than {self._max_headers} headers", 431)
            self._line_start = end
        head = bytes(data[:end])
        del data[:end]
        self._searched = self._line_start = self._lines = 0
        self._check_controls(head)
        return head

    def _has_begun(self) -> bool:
        """Check the first bytes of a head, if its first line is not complete.

        Returns:
            Whether there are bytes of a head after the empty lines, which are skipped.
        """
        data = self._data
        while self._empty_lines and data.startswith((b"\n", b"\r\n")):
            del data[: data.index(b"\n") + 1]
            self._empty_lines -= 1
        if not data or (self._empty_lines and data == b"\r"):
            return False
        if data[0] < 0x21:
            what = ", which looks like TLS" if data[0] in (0x15, 0x16) else ""
            raise InvalidMessage(f"expected an HTTP {self._kind}, got {bytes(data[:1])!r}{what}")
        # Not more of them than the limits allow: an exceeded limit is the error then.
        first = bytes(data[: int(min(_FIRST_BYTES, self._max_line, self._max_bytes))])
        if b"\n" not in first:
            self._check_controls(first.removesuffix(b"\r"))
            if len(first) == _FIRST_BYTES and not self._start.fullmatch(first):
                raise self._malformed(first.removesuffix(b"\r"))
        return True

    def _check_first_line(self, line: bytes) -> None:
        self._check_controls(line)
        line = line.removesuffix(b"\n").removesuffix(b"\r")
        match = self._first_line.fullmatch(line)
        if match is None:
            raise self._malformed(line)
        self._check_version(match)

    def _malformed(self, line: bytes) -> InvalidMessage:
        what = f"expected a line like {self._example!r}, got {line[:_SHOWN]!r}"
        return InvalidMessage(f"malformed HTTP {self._kind}: {what}")

    def _check_controls(self, data: bytes) -> None:
        control = _CONTROL_IN_HEAD.search(data)
        if control is not None:
            where = f"{control.group()!r} at {control.start()}"
            raise InvalidMessage(f"control character in HTTP {self._kind}: {where}")

    def _check_size(self, end: int) -> None:
        line_end = self._line_start + self._max_line
        if end <= min(line_end, self._max_bytes):
            return
        # The error names the limit that was reached first, since it must not depend on the size of chunks.
        if line_end < self._max_bytes:
            raise SecurityError(f"HTTP {self._kind} has a line over {self._max_line} bytes", 431)
        raise SecurityError(f"head of HTTP {self._kind} is over {self._max_bytes} bytes", 431)

    def _parse(self, connection: h11.Connection, head: bytes) -> object:
        connection.receive_data(head)
        try:
            return connection.next_event()
        except h11.RemoteProtocolError as error:
            raise InvalidMessage(f"malformed HTTP {self._kind}: {error}") from error


class RequestReader(_HeadReader):
    """The reader of the head of one request, in chunks of any size.

    A few empty lines before the request are skipped.

    Attributes:
        request: the request when its head is complete; ``None`` before that.
        method: its method, and
        version: its HTTP version, "1.0" or "1.1", when the request line is complete, also if the rest of
            the request is malformed; ``None`` before that.

    Args:
        limits: limits on the head.
        body: whether a body is allowed; the bytes received of it are in :attr:`trailing_data`.
    """

    _kind = "request"
    _start = re.compile(rb"%b(?: .*+)?+" % TOKEN.encode())
    _first_line = re.compile(_REQUEST_LINE)
    _head = re.compile(_REQUEST_LINE + _LINES)
    _example = "GET / HTTP/1.1"
    _empty_lines = _MAX_EMPTY_LINES

    def __init__(self, limits: HeadLimits = DEFAULT_HEAD_LIMITS, *, body: bool = False) -> None:
        super().__init__(limits)
        self.request: Request | None = None
        self.method: str | None = None
        self.version: str | None = None
        self._body = body

    @property
    def trailing_data(self) -> bytes:
        """The bytes received after the head."""
        return bytes(self._data) if self.request is not None else b""

    def receive_data(self, data: BytesLike) -> None:
        """Take bytes from the client.

        Raises:
            SecurityError: a limit is exceeded.
            InvalidMessage: this is not a request in HTTP/1.1 or HTTP/1.0, or it has a body.
            InvalidState: the head is complete; this reader takes no more bytes.
        """
        if self.request is not None:
            raise InvalidState("the request is complete")
        self._data += data
        head = self._next_head()
        if head is None:
            return
        event = self._parse(h11.Connection(h11.SERVER), head)
        assert isinstance(event, h11.Request)
        headers = Headers.decode(event.headers.raw_items())
        if not self._body:
            check_no_body(headers)
        self.request = Request(decode_value(event.target), headers, self.method or "")

    def _check_version(self, line: re.Match[bytes]) -> None:
        self.method, self.version = line["method"].decode(), line["version"].decode()
        if self.version not in ("1.0", "1.1"):
            raise InvalidMessage(f"expected HTTP/1.1, got HTTP/{self.version}", 505)

    def receive_eof(self) -> None:
        """Take the end of the client's stream.

        Raises:
            EOFError: the request is not complete.
        """
        if self.request is None:
            raise EOFError("stream ended before the end of the HTTP request's head")


class ResponseReader(_HeadReader):
    """The reader of the response to an opening handshake, in chunks of any size.

    Responses with a status from 100 to 199 other than 101 are skipped, up to a limit. A response with
    status 101 ends with its head. Any other response is complete when its body is complete, has
    ``max_body`` bytes, or is malformed.

    Attributes:
        head: the response without its body, when its head is complete; ``None`` before that.
        response: the response, when it is complete; ``None`` before that.

    Args:
        limits: limits on a head.
        max_body: limit on the bytes of a body that are kept; the rest is not read.
        tunnel: whether the request is CONNECT: then a response with a status from 200 to 299 ends with
            its head, regardless of its headers (RFC 9110 section 9.3.6).
    """

    _kind = "response"
    _start = re.compile(rb"HTTP/.*+")
    _first_line = re.compile(_STATUS_LINE)
    _head = re.compile(_STATUS_LINE + _LINES)
    _example = "HTTP/1.1 200 OK"

    def __init__(
        self, limits: HeadLimits = DEFAULT_HEAD_LIMITS, max_body: int = 65536, *, tunnel: bool = False
    ) -> None:
        super().__init__(limits)
        self.head: Response | None = None
        self.response: Response | None = None
        self._max_body = max_body
        self._tunnel = tunnel
        self._body = bytearray()
        self._informational = 0
        self._connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=_MAX_CHUNK_HEADER)
        self._connection.send(_REQUEST)
        self._connection.send(h11.EndOfMessage())

    @property
    def incomplete_head(self) -> bytes:
        """The first bytes received of an incomplete head, for error messages."""
        return bytes(self._data[:_SHOWN]) if self.head is None else b""

    @property
    def trailing_data(self) -> bytes:
        """The bytes received after a response that ends with its head; empty for other responses."""
        return bytes(self._data) if self.response is not None else b""

    def receive_data(self, data: BytesLike) -> None:
        """Take bytes from the server.

        Raises:
            SecurityError: a limit is exceeded.
            InvalidMessage: this is not an HTTP/1.1 response, nor an HTTP/1.0 response other than 101;
                or it is a 101 response with a body.
            InvalidState: the response is complete.
        """
        if self.response is not None:
            raise InvalidState("the response is complete")
        if self.head is None:
            data = self._read_heads(data)
        start = 0
        while start < len(data) and self.response is None:
            # If h11 got more at once, it would accept a longer chunk header than in smaller chunks.
            room = _MAX_CHUNK_HEADER + 1 - len(self._connection.trailing_data[0])
            self._connection.receive_data(bytes(data[start : start + room]))
            self._read_body()
            start += room

    def receive_eof(self) -> None:
        """Take the end of the server's stream, which completes a response whose head is complete.

        Raises:
            EOFError: the head of the response is not complete.
        """
        if self.head is None:
            raise EOFError("stream ended before the end of the HTTP response's head")
        if self.response is None:
            self._connection.receive_data(b"")
            self._read_body()

    def _read_heads(self, data: BytesLike) -> bytes:
        """Take bytes while the head is not complete; return those that belong to the body."""
        self._data += data
        while self.head is None:
            head = self._next_head()
            if head is None:
                return b""
            event = self._parse(self._connection, head)
            assert isinstance(event, h11.InformationalResponse | h11.Response)
            headers = Headers.decode(event.headers.raw_items())
            response = Response(event.status_code, headers, reason=decode_value(event.reason))
            if response.status == 101:
                # Its head ends it "regardless of the header fields present" (RFC 9112 section 6.3), and
                # some servers add Transfer-Encoding to all that they send.
                check_no_body(headers, ("Content-Length",), "response with status 101")
            if response.status == 101 or (self._tunnel and 200 <= response.status < 300):
                self.head = self.response = response
                return b""
            if response.status >= 200:
                self.head = response
                # A response without a body is complete now.
                self._read_body()
            else:
                self._skip_informational()
        body = bytes(self._data)
        self._data.clear()
        return body

    def _check_version(self, line: re.Match[bytes]) -> None:
        version, status = decode_value(line["version"]), decode_value(line["status"])
        # Upgrade is not for HTTP/1.0 (RFC 9110 section 7.8).
        if version not in (("1.1",) if status == "101" else ("1.0", "1.1")):
            raise InvalidMessage(f"expected HTTP/1.1, got HTTP/{version} {status}")

    def _skip_informational(self) -> None:
        self._informational += 1
        if self._informational > _MAX_INFORMATIONAL:
            raise SecurityError(
                f"more than {_MAX_INFORMATIONAL} HTTP responses with a status from 100 to 199 came "
                "before one that answers the request"
            )

    def _read_body(self) -> None:
        while self.response is None:
            assert self.head is not None
            event: object
            try:
                event = self._connection.next_event()
            except h11.RemoteProtocolError:
                # The head of a refusal is what counts: the body may be cut off.
                event = None
            if event is h11.NEED_DATA:
                return
            if isinstance(event, h11.Data):
                self._body += event.data
                if len(self._body) < self._max_body:
                    continue
            self.response = dataclasses.replace(self.head, body=bytes(self._body[: self._max_body]))


def check_no_body(
    headers: Headers | HeaderValues, names: Iterable[str] = _FRAMING, kind: str = "request"
) -> None:
    """Refuse a message that has a body, or may have one (RFC 9112 section 6.3).

    Args:
        headers: its headers, which h11 has parsed, or their values by name.
        names: the headers that count.
        kind: what it is, for the error message.

    Raises:
        InvalidMessage: it has a body, or may have one.
    """
    values = values_by_name(headers)
    for name in names:
        for value in values.get(name.lower(), ()):
            # h11 accepts at most one Content-Length, of digits only.
            if name == "Transfer-Encoding" or int(value) != 0:
                raise InvalidMessage(f"expected no body in HTTP {kind}, got {name}: {value!r}")
