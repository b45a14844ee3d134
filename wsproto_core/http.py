"""HTTP/1.1, as far as the opening handshake needs it: headers, one request, one response.

h11 knows the grammar, the framing of bodies and what may be sent when. Three things are done here,
around it:

- The head is found and its limits are applied before h11 sees a byte. h11 limits only a head that is
  still incomplete, so that what it accepts depends on how the bytes were cut into chunks.
- Control characters are refused, which h11 lets pass; and before it parses a line, since some of its
  regular expressions take quadratic time on a line that they will not match.
- Bodies belong to refusals only: a request, or a 101 response, with one would make an intermediary and
  us disagree on where the WebSocket data begin.

Values are ``str`` that hold ASCII; other bytes are represented with surrogate escapes.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field
from http import HTTPStatus
from math import inf

import h11

from .exceptions import InvalidMessage, InvalidState, SecurityError
from .typing import BytesLike, HeadersLike

__all__ = [
    "HeadLimits",
    "Headers",
    "MultipleValuesError",
    "Request",
    "RequestReader",
    "Response",
    "ResponseReader",
    "make_response",
]

_CONTROL_IN_HEAD = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n)")
_CONTROL_IN_TEXT = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_TOKEN = re.compile(r"[-!#$%&'*+.^_`|~0-9A-Za-z]+")
_VISIBLE = re.compile(r"[\x21-\x7e]+")

# RFC 9110 sections 11.6.2 and 11.7.2
_CREDENTIALS = ("authorization", "proxy-authorization")

_UPGRADE = [("Host", "localhost"), ("Connection", "Upgrade"), ("Upgrade", "websocket")]

# Bytes of a chunk header or of trailers: h11 takes quadratic time for one that does not match.
_MAX_CHUNK_HEADER = 512

_ALIKE = frozenset(
    (
        "connection",
        "host",
        "origin",
        "sec-websocket-extensions",
        "sec-websocket-protocol",
        "sec-websocket-version",
        "server",
        "upgrade",
        "user-agent",
    )
)
"""Headers whose values are the same on many connections, and no secrets."""

_MAX_SHARED = 256
"""Strings that are shared, and characters that one may have."""


@functools.lru_cache(_MAX_SHARED)
def _first_equal(text: str) -> str:
    return text


def _share(text: str) -> str:
    """Return an equal string that others have too.

    Headers are kept as long as the connection, and are nearly always the same: one copy will do.
    ``sys.intern`` would keep for ever what peers invent, on some versions of Python.
    """
    return _first_equal(text) if type(text) is str and len(text) <= _MAX_SHARED else text


class MultipleValuesError(LookupError):
    """:class:`Headers` has more than one value for a name."""


class Headers(MutableMapping[str, str]):
    """HTTP headers: a mapping from names to values that can hold a name several times.

    A ``dict`` neither ignores the case of names nor holds two values for one. These are the pairs as
    they came. They are few, are looked up a few times, and are kept as long as the connection: an index
    would take more memory than the headers.

    - ``headers[name]`` raises :exc:`KeyError` if there is no value, returns it if there is one, and
      raises :exc:`MultipleValuesError` if there are several. ``get``, ``pop``, ``setdefault`` and
      ``items`` follow this.
    - ``headers[name] = value`` adds a value after those that are there; ``update`` and the
      constructor do so for each pair.
    - ``del headers[name]`` removes all values.
    - The keys are lower-case names, each one once.

    Nothing is validated here, but when a request or a response is serialized.

    Args:
        headers: another :class:`Headers` (all values are taken over), a mapping, or pairs.
        values: more names and values, as ``dict`` takes them.
    """

    __slots__ = ("_pairs",)

    _pairs: list[tuple[str, str]]

    def __init__(self, headers: HeadersLike = (), /, **values: str) -> None:
        self.clear()
        self.update(headers, **values)

    def __repr__(self) -> str:
        """The pairs, without credentials: this may end up in a log."""
        shown = [(name, "***" if name.lower() in _CREDENTIALS else value) for name, value in self._pairs]
        return f"{type(self).__name__}({shown!r})"

    def __str__(self) -> str:
        """The header block as HTTP writes it, to be shown; it is not validated."""
        return "".join(f"{name}: {value}\r\n" for name, value in self._pairs) + "\r\n"

    def __copy__(self) -> Headers:
        return self.copy()

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and bool(self.get_all(name))

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(name.lower() for name, _ in self._pairs))

    def __len__(self) -> int:
        """The number of different names."""
        return len({name.lower() for name, _ in self._pairs})

    def __getitem__(self, name: str) -> str:
        values = self.get_all(name)
        if not values:
            raise KeyError(name.lower())
        if len(values) > 1:
            raise MultipleValuesError(name)
        return values[0]

    def __setitem__(self, name: str, value: str) -> None:
        if name.lower() in _ALIKE:
            value = _share(value)
        self._pairs.append((_share(name), value))

    def __delitem__(self, name: str) -> None:
        key = name.lower()
        pairs = [pair for pair in self._pairs if pair[0].lower() != key]
        if len(pairs) == len(self._pairs):
            raise KeyError(key)
        self._pairs = pairs

    def __eq__(self, other: object) -> bool:
        """Whether both have the same values, for each name in the same order."""
        if not isinstance(other, Headers):
            return NotImplemented
        return set(self) == set(other) and all(self.get_all(name) == other.get_all(name) for name in self)

    def clear(self) -> None:
        """Remove all headers."""
        self._pairs = []

    def copy(self) -> Headers:
        """Return a copy that shares nothing with this one."""
        return Headers(self)

    def update(self, headers: HeadersLike = (), /, **values: str) -> None:  # type: ignore[override]
        """Add all the given values; the arguments are those of the constructor."""
        pairs: Iterable[tuple[str, str]]
        if isinstance(headers, Headers):
            pairs = list(headers.raw_items())
        elif isinstance(headers, Mapping):
            pairs = headers.items()
        else:
            pairs = headers
        for name, value in pairs:
            self[name] = value
        for name, value in values.items():
            self[name] = value

    def get_all(self, key: str) -> list[str]:
        """Return the values for a name in the order in which they came, or an empty list."""
        return [value for each, value in self._pairs if each.lower() == key.lower()]

    def raw_items(self) -> Iterator[tuple[str, str]]:
        """Return an iterator of all ``(name, value)``, as they came and in their order."""
        return iter(self._pairs)


@dataclass(frozen=True, slots=True)
class Request:
    """An HTTP request without a body.

    Attributes:
        path: the request target (RFC 9112 section 3.2): path and query, not decoded.
        headers: its headers.
        method: its method.
    """

    path: str
    headers: Headers
    method: str = "GET"

    def serialize(self) -> bytes:
        """Return the bytes to send.

        Raises:
            ValueError: the method, the target or a header is not valid, or ``Host`` is missing.
        """
        if not _TOKEN.fullmatch(self.method):
            raise ValueError(f"method must be a token, got {self.method!r}")
        if not _VISIBLE.fullmatch(self.path):
            raise ValueError(f"request target must be visible ASCII characters, got {self.path!r}")
        headers = _encode_headers(self.headers)
        try:
            request = h11.Request(method=self.method, target=self.path, headers=headers)
            return h11.Connection(h11.CLIENT).send(request)
        except h11.LocalProtocolError as error:
            raise ValueError(str(error)) from error


@dataclass(frozen=True, slots=True)
class Response:
    """An HTTP response.

    Attributes:
        status: its status code.
        headers: its headers.
        body: its body.
        reason: its reason phrase; when empty, the status code's standard one is sent.
    """

    status: int
    headers: Headers = field(default_factory=Headers)
    body: bytes = b""
    reason: str = ""

    def serialize(self, *, head_only: bool = False) -> bytes:
        """Return the bytes to send.

        Args:
            head_only: leave the body out and keep ``Content-Length``, as in the answer to HEAD.

        Raises:
            ValueError: the status, the reason phrase or a header is not valid, or the body does not
                have the length that ``Content-Length`` says.
        """
        status = int(self.status)
        reason = _encode(self.reason or _standard_phrase(status), "reason phrase")
        headers = _encode_headers(self.headers)
        body = b"" if head_only else self.body
        connection = h11.Connection(h11.SERVER)
        # h11 frames a response to suit the request that it answers.
        request = Request("/", Headers(_UPGRADE), "HEAD" if head_only else "GET")
        connection.receive_data(request.serialize())
        connection.next_event()
        try:
            if status < 200:
                if body:
                    raise ValueError(f"a response with status {status} has no body")
                return connection.send(
                    h11.InformationalResponse(status_code=status, headers=headers, reason=reason)
                )
            return b"".join(
                [
                    connection.send(h11.Response(status_code=status, headers=headers, reason=reason)),
                    connection.send(h11.Data(data=body)),
                    connection.send(h11.EndOfMessage()),
                ]
            )
        except h11.LocalProtocolError as error:
            raise ValueError(str(error)) from error


def make_response(status: int, headers: HeadersLike = (), body: BytesLike | str = b"") -> Response:
    """Make a complete response, after which the connection is closed.

    ``Content-Length`` is set to the length of the body, whatever was given for it and for
    ``Transfer-Encoding``. ``Connection: close`` and, with a body, ``Content-Type: text/plain;
    charset=utf-8`` are added unless such headers are given.

    Args:
        status: status code, 200 to 599.
        headers: headers to send.
        body: the body; text is sent in UTF-8.

    Raises:
        TypeError: the body is neither text nor bytes.
        ValueError: the status is not in that range, or does not allow a body.
    """
    if status not in range(200, 600):
        raise ValueError(f"expected a status from 200 to 599, got {status!r}")
    if isinstance(body, str):
        body = body.encode()
    elif not isinstance(body, BytesLike):
        raise TypeError(f"expected a body of type bytes or str, got {type(body).__name__}")
    body = bytes(body)
    complete = Headers(headers)
    for name in ("Content-Length", "Transfer-Encoding"):
        if name in complete:
            del complete[name]
    if status not in (204, 304):
        complete["Content-Length"] = str(len(body))
    elif body:
        raise ValueError(f"a response with status {int(status)} has no body")
    if "Connection" not in complete:
        complete["Connection"] = "close"
    if body and "Content-Type" not in complete:
        complete["Content-Type"] = "text/plain; charset=utf-8"
    return Response(int(status), complete, body)


@dataclass(frozen=True, slots=True)
class HeadLimits:
    """How large the head of a request or of a response may be; ``None`` removes a limit.

    Attributes:
        max_headers: number of header lines (a folded header is several).
        max_header_line: bytes in a line, with its end; the request line and the status line too.
        max_header_bytes: bytes in the whole head, with the blank line that ends it. This is also the
            memory that a peer can make a reader hold, beyond the chunk that is just received.
    """

    max_headers: int | None = 128
    max_header_line: int | None = 8192
    max_header_bytes: int | None = 32768


class _HeadScanner:
    """Finds the end of a head, and enforces the limits meanwhile.

    Every byte is searched once, and what is raised depends on the bytes only, not on how they were cut
    into chunks. A head ends where it ends for h11: at a blank line, of which the lines may end without
    a carriage return (RFC 9112 section 2.2).
    """

    def __init__(self, limits: HeadLimits, kind: str) -> None:
        self._kind = kind
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
            InvalidMessage: the first byte can't begin a head, or there is a control character in it.
        """
        data = self.data
        if data and data[0] < 0x21:
            what = ", which looks like TLS" if data[0] in (0x15, 0x16) else ""
            raise InvalidMessage(f"expected an HTTP {self._kind}, got {bytes(data[:1])!r}{what}")
        while True:
            line_feed = data.find(b"\n", self._searched)
            self._searched = end = line_feed + 1 or len(data)
            self._check_size(end)
            if line_feed == -1:
                return None
            if data.startswith((b"\n", b"\r\n"), self._line_start):
                break
            self._lines += 1
            # The first line is not a header.
            if self._lines > self._max_headers + 1:
                raise SecurityError(f"HTTP {self._kind} has more than {self._max_headers} headers", 431)
            self._line_start = end
        head = bytes(data[:end])
        del data[:end]
        self._restart()
        control = _CONTROL_IN_HEAD.search(head)
        if control is not None:
            where = f"{control.group()!r} at {control.start()}"
            raise InvalidMessage(f"control character in HTTP {self._kind}: {where}")
        return head

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

    Attributes:
        request: the request once its head is complete; ``None`` until then.

    Args:
        limits: how large the head may be.
        body: whether there may be a body; it is in :attr:`trailing_data`, as far as it has come.
    """

    def __init__(self, limits: HeadLimits = HeadLimits(), *, body: bool = False) -> None:
        self.request: Request | None = None
        self._body = body
        self._scanner = _HeadScanner(limits, "request")

    @property
    def trailing_data(self) -> bytes:
        """What was received after the head."""
        return bytes(self._scanner.data) if self.request is not None else b""

    def receive_data(self, data: BytesLike) -> None:
        """Take bytes from the client.

        Raises:
            SecurityError: a limit is exceeded.
            InvalidMessage: this is not an HTTP/1.1 request, or it has a body.
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
        if event.http_version != b"1.1":
            raise InvalidMessage(f"expected HTTP/1.1, got HTTP/{_decode(event.http_version)}", 505)
        headers = _decode_headers(event.headers.raw_items())
        if not self._body:
            _check_no_body(headers, "request")
        self.request = Request(_decode(event.target), headers, _decode(event.method))

    def receive_eof(self) -> None:
        """Take the end of the client's stream.

        Raises:
            EOFError: the request is not complete.
        """
        if self.request is None:
            raise EOFError("stream ended before the end of the HTTP request's head")


class ResponseReader:
    """Reads the response to an opening handshake, in chunks of any size.

    Responses with a status from 100 to 199 other than 101 are skipped. A response with status 101 ends
    with its head. Any other one is complete when its body is, or is as long as is wanted, or cannot
    be read any further.

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
        self, limits: HeadLimits = HeadLimits(), max_body: int = 65536, *, tunnel: bool = False
    ) -> None:
        self.head: Response | None = None
        self.response: Response | None = None
        self._max_body = max_body
        self._tunnel = tunnel
        self._body = bytearray()
        self._scanner = _HeadScanner(limits, "response")
        # h11 frames a response to suit the request that it answers.
        self._connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=_MAX_CHUNK_HEADER)
        self._connection.send(h11.Request(method="GET", target="/", headers=_UPGRADE))
        self._connection.send(h11.EndOfMessage())

    @property
    def trailing_data(self) -> bytes:
        """What was received after a response that ends with its head; empty for other ones."""
        return bytes(self._scanner.data) if self.response is not None else b""

    def receive_data(self, data: BytesLike) -> None:
        """Take bytes from the server.

        Raises:
            SecurityError: a limit is exceeded.
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
            if event.http_version not in ((b"1.1",) if event.status_code == 101 else (b"1.0", b"1.1")):
                raise InvalidMessage(
                    f"expected HTTP/1.1, got HTTP/{_decode(event.http_version)} {event.status_code}"
                )
            headers = _decode_headers(event.headers.raw_items())
            response = Response(event.status_code, headers, reason=_decode(event.reason))
            if response.status == 101:
                _check_no_body(headers, "response with status 101")
            if response.status == 101 or (self._tunnel and 200 <= response.status < 300):
                self.head = self.response = response
                return b""
            if response.status >= 200:
                self.head = response
                # There may be no body to wait for.
                self._read_body()
        body = bytes(self._scanner.data)
        self._scanner.data.clear()
        return body

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


def _check_no_body(headers: Headers, kind: str) -> None:
    for name in ("Content-Length", "Transfer-Encoding"):
        # h11 leaves one Content-Length at most, of digits only.
        for value in headers.get_all(name):
            if name == "Transfer-Encoding" or int(value) != 0:
                raise InvalidMessage(f"expected no body in HTTP {kind}, got {name}: {value!r}")


def _decode(data: bytes) -> str:
    return data.decode("ascii", "surrogateescape")


def _decode_headers(items: Iterable[tuple[bytes, bytes]]) -> Headers:
    return Headers((_decode(name), _decode(value)) for name, value in items)


def _encode(text: str, what: str) -> bytes:
    if _CONTROL_IN_TEXT.search(text):
        raise ValueError(f"{what} must not contain control characters, got {text!r}")
    try:
        return text.encode("ascii", "surrogateescape")
    except UnicodeEncodeError:
        raise ValueError(f"{what} must be ASCII, got {text!r}") from None


def _encode_headers(headers: Headers) -> list[tuple[bytes, bytes]]:
    encoded = []
    for name, value in headers.raw_items():
        if not _TOKEN.fullmatch(name):
            raise ValueError(f"name of a header must be a token, got {name!r}")
        encoded.append((name.encode("ascii"), _encode(value, f"value of header {name}")))
    return encoded


def _standard_phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""
