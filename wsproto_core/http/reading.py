"""Readers of one request and of one response.

h11 knows the grammar and the framing of bodies. Four things are done here, around it:

- The head is found and its limits are applied before h11 sees a byte. h11 limits only a head that is
  still incomplete, so that what it accepts depends on how the bytes were cut into chunks.
- Control characters are refused, which h11 lets pass; and before it parses a line, since some of its
  regular expressions take quadratic time on a line that they will not match.
- The first line is judged when it is complete, and its first bytes before: a peer that speaks another
  protocol may wait for an answer, and never send the blank line that ends a head.
- Bodies belong to refusals only: a request, or a 101 response, with one would make an intermediary and
  us disagree on where the WebSocket data begin.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable
from math import inf

import h11

from ..exceptions import InvalidMessage, InvalidState, SecurityError
from ..limits import DEFAULT_HEAD_LIMITS, HeadLimits
from ..types import BytesLike
from .headers import Headers
from .messages import UPGRADE, Request, Response
from .syntax import TOKEN

__all__ = ["RequestReader", "ResponseReader", "check_no_body"]

_CONTROL_IN_HEAD = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n)")

# RFC 9112 sections 3 and 4; the target and the reason phrase are left to h11.
_REQUEST_LINE = re.compile(rb"(?P<method>%b) [\x21-\x7e]++ HTTP/(?P<version>[0-9]\.[0-9])" % TOKEN.encode())
_STATUS_LINE = re.compile(rb"HTTP/(?P<version>[0-9]\.[0-9]) (?P<status>[0-9]{3})(?: .*+)?+")
_REQUEST_START = re.compile(rb"%b(?: .*+)?+" % TOKEN.encode())
_RESPONSE_START = re.compile(rb"HTTP/.*+")

_FIRST_BYTES = 16
"""Bytes by which a first line is judged that is not complete."""

_SHOWN = 80
"""Bytes of a first line that a message shows."""

_MAX_EMPTY_LINES = 8
"""Empty lines that a request may have in front of it."""

_MAX_INFORMATIONAL = 64
"""Responses with a status from 100 to 199 that may come before the one that answers."""

# Bytes of a chunk header or of trailers: h11 takes quadratic time for one that does not match.
_MAX_CHUNK_HEADER = 512


class _HeadScanner:
    """Finds the end of a head, and enforces the limits meanwhile.

    Every byte is searched once, and what is raised depends on the bytes only, not on how they were cut
    into chunks. A head ends where it ends for h11: at a blank line, of which the lines may end without
    a carriage return (RFC 9112 section 2.2).
    """

    def __init__(
        self,
        limits: HeadLimits,
        kind: str,
        *,
        start: re.Pattern[bytes],
        first_line: re.Pattern[bytes],
        example: str,
        judge: Callable[[re.Match[bytes]], None],
        empty_lines: int = 0,
    ) -> None:
        """
        Args:
            limits: how large a head may be.
            kind: "request" or "response", for messages.
            start: what the first bytes of a head match.
            first_line: what its first line matches.
            example: such a line.
            judge: called with that match; raises :exc:`InvalidMessage` if it is wrong nevertheless.
            empty_lines: how many empty lines in front of a head are skipped (RFC 9112 section 2.2).
        """
        self._kind = kind
        self._start = start
        self._first_line = first_line
        self._example = example
        self._judge = judge
        self._empty_lines = empty_lines
        self._max_headers = inf if limits.max_headers is None else limits.max_headers
        self._max_line = inf if limits.max_header_line is None else limits.max_header_line
        self._max_bytes = inf if limits.max_header_bytes is None else limits.max_header_bytes
        self.data = bytearray()
        self._restart()

    def _restart(self) -> None:
        self._searched = 0
        self._line_start = 0
        self._lines = 0

    def next_head(self) -> bytes | None:
        """Take the next head from :attr:`data` and return it, or ``None`` if it is not complete.

        Raises:
            SecurityError: a limit is exceeded.
            InvalidMessage: the first bytes or the first line can't begin a head, or there is a control
                character in it.
        """
        data = self.data
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
        self._restart()
        self._check_controls(head)
        return head

    def _has_begun(self) -> bool:
        """Check the first bytes of a head, as far as its first line is not complete.

        Returns whether there are any, behind the empty lines that are skipped.
        """
        data = self.data
        while self._empty_lines and data.startswith((b"\n", b"\r\n")):
            del data[: data.index(b"\n") + 1]
            self._empty_lines -= 1
        if not data or (self._empty_lines and data == b"\r"):
            return False
        if data[0] < 0x21:
            what = ", which looks like TLS" if data[0] in (0x15, 0x16) else ""
            raise InvalidMessage(f"expected an HTTP {self._kind}, got {bytes(data[:1])!r}{what}")
        # As much of them as is checked before a limit is exceeded.
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
        self._judge(match)

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
        # The limit that was reached first: the other one may not be exceeded in a smaller chunk.
        if line_end < self._max_bytes:
            raise SecurityError(f"HTTP {self._kind} has a line over {self._max_line} bytes", 431)
        raise SecurityError(f"head of HTTP {self._kind} is over {self._max_bytes} bytes", 431)


class RequestReader:
    """Reads the head of one request, in chunks of any size.

    Empty lines in front of it are skipped, a few of them.

    Attributes:
        request: the request once its head is complete; ``None`` until then.
        method: its method, and
        version: its HTTP version, "1.0" or "1.1", once the request line is complete, also if something
            else is wrong with the request; ``None`` until then.

    Args:
        limits: how large the head may be.
        body: whether there may be a body; it is in :attr:`trailing_data`, as far as it has come.
    """

    def __init__(self, limits: HeadLimits = DEFAULT_HEAD_LIMITS, *, body: bool = False) -> None:
        self.request: Request | None = None
        self.method: str | None = None
        self.version: str | None = None
        self._body = body
        self._scanner = _HeadScanner(
            limits,
            "request",
            start=_REQUEST_START,
            first_line=_REQUEST_LINE,
            example="GET / HTTP/1.1",
            judge=self._judge_line,
            empty_lines=_MAX_EMPTY_LINES,
        )

    @property
    def trailing_data(self) -> bytes:
        """What was received after the head."""
        return bytes(self._scanner.data) if self.request is not None else b""

    def receive_data(self, data: BytesLike) -> None:
        """Take bytes from the client.

        Raises:
            SecurityError: a limit is exceeded.
            InvalidMessage: this is not a request in HTTP/1.1 or HTTP/1.0, or it has a body.
            InvalidState: the head is complete; what follows it is not for this reader.
        """
        if self.request is not None:
            raise InvalidState("the request is complete")
        self._scanner.data += data
        head = self._scanner.next_head()
        if head is None:
            return
        event = _parse_head(h11.Connection(h11.SERVER), head, "request")
        assert isinstance(event, h11.Request)
        headers = _decode_headers(event.headers.raw_items())
        if not self._body:
            check_no_body(headers)
        self.request = Request(_decode(event.target), headers, _decode(event.method))

    def _judge_line(self, line: re.Match[bytes]) -> None:
        self.method, self.version = _decode(line["method"]), _decode(line["version"])
        if self.version not in ("1.0", "1.1"):
            raise InvalidMessage(f"expected HTTP/1.1, got HTTP/{self.version}", 505)

    def receive_eof(self) -> None:
        """Take the end of the client's stream.

        Raises:
            EOFError: the request is not complete.
        """
        if self.request is None:
            raise EOFError("stream ended before the end of the HTTP request's head")


class ResponseReader:
    """Reads the response to an opening handshake, in chunks of any size.

    Responses with a status from 100 to 199 other than 101 are skipped, as long as they are not too
    many. A response with status 101 ends with its head. Any other one is complete when its body is, or
    is as long as is wanted, or cannot be read any further.

    Attributes:
        head: the response without its body, once its head is complete; ``None`` until then.
        response: the response, once it is complete; ``None`` until then.

    Args:
        limits: how large a head may be.
        max_body: bytes of a body to keep; the rest is not waited for.
        tunnel: whether the request is CONNECT: a response with a status from 200 to 299 then ends with
            its head, whatever that says (RFC 9110 section 9.3.6).
    """

    def __init__(
        self, limits: HeadLimits = DEFAULT_HEAD_LIMITS, max_body: int = 65536, *, tunnel: bool = False
    ) -> None:
        self.head: Response | None = None
        self.response: Response | None = None
        self._max_body = max_body
        self._tunnel = tunnel
        self._body = bytearray()
        self._informational = 0
        self._scanner = _HeadScanner(
            limits,
            "response",
            start=_RESPONSE_START,
            first_line=_STATUS_LINE,
            example="HTTP/1.1 200 OK",
            judge=self._judge_line,
        )
        # h11 frames a response to suit the request that it answers.
        self._connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=_MAX_CHUNK_HEADER)
        self._connection.send(h11.Request(method="GET", target="/", headers=list(UPGRADE)))
        self._connection.send(h11.EndOfMessage())

    @property
    def incomplete_head(self) -> bytes:
        """What was received of a head that is not complete, as much of it as a message may show."""
        return bytes(self._scanner.data[:_SHOWN]) if self.head is None else b""

    @property
    def trailing_data(self) -> bytes:
        """What was received after a response that ends with its head; empty for other ones."""
        return bytes(self._scanner.data) if self.response is not None else b""

    def receive_data(self, data: BytesLike) -> None:
        """Take bytes from the server.

        Raises:
            SecurityError: a limit is exceeded, or no other responses come than those that are skipped.
            InvalidMessage: this is not an HTTP/1.1 response, nor an HTTP/1.0 response other than 101;
                or it is a 101 with a body.
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
        """Take the end of the server's stream, which completes a response of which the head is known.

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
        self._scanner.data += data
        while self.head is None:
            head = self._scanner.next_head()
            if head is None:
                return b""
            event = _parse_head(self._connection, head, "response")
            assert isinstance(event, h11.InformationalResponse | h11.Response)
            headers = _decode_headers(event.headers.raw_items())
            response = Response(event.status_code, headers, reason=_decode(event.reason))
            if response.status == 101:
                # Its head ends it "regardless of the header fields present" (RFC 9112 section 6.3), and
                # some servers add Transfer-Encoding to all that they send.
                _check_no_body(headers, "Content-Length", "response with status 101")
            if response.status == 101 or (self._tunnel and 200 <= response.status < 300):
                self.head = self.response = response
                return b""
            if response.status >= 200:
                self.head = response
                # There may be no body to wait for.
                self._read_body()
            else:
                self._skip_informational()
        body = bytes(self._scanner.data)
        self._scanner.data.clear()
        return body

    def _judge_line(self, line: re.Match[bytes]) -> None:
        version, status = _decode(line["version"]), _decode(line["status"])
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
                # What matters of a refusal is its head: a body broken off is worth as much as it has.
                event = None
            if event is h11.NEED_DATA:
                return
            if isinstance(event, h11.Data):
                self._body += event.data
                if len(self._body) < self._max_body:
                    continue
            self.response = dataclasses.replace(self.head, body=bytes(self._body[: self._max_body]))


def _parse_head(connection: h11.Connection, head: bytes, kind: str) -> object:
    connection.receive_data(head)
    try:
        return connection.next_event()
    except h11.RemoteProtocolError as error:
        raise InvalidMessage(f"malformed HTTP {kind}: {error}") from error


def check_no_body(headers: Headers) -> None:
    """Refuse a request that has a body, or may have one (RFC 9112 section 6.3).

    Args:
        headers: those of a request that a :class:`RequestReader` has read.

    Raises:
        InvalidMessage: there may be one.
    """
    _check_no_body(headers, "Content-Length", "request")
    _check_no_body(headers, "Transfer-Encoding", "request")


def _check_no_body(headers: Headers, name: str, kind: str) -> None:
    for value in headers.get_all(name):
        # h11 leaves one Content-Length at most, of digits only.
        if name == "Transfer-Encoding" or int(value) != 0:
            raise InvalidMessage(f"expected no body in HTTP {kind}, got {name}: {value!r}")


def _decode(data: bytes) -> str:
    return data.decode("ascii", "surrogateescape")


def _decode_headers(items: Iterable[tuple[bytes, bytes]]) -> Headers:
    return Headers((_decode(name), _decode(value)) for name, value in items)
