"""Requests and responses, and how they are serialized.

h11 validates headers. It accepts control characters, which are refused here. Names and values of the plain
form, which nearly all have, are valid for h11 in any case: a response with status 101 that has only such
headers is serialized without it, at a tenth of the cost.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import h11

from ..types import BytesLike
from .headers import Headers, HeadersLike
from .syntax import TOKEN

__all__ = ["Request", "Response", "make_response"]

_CONTROL_IN_TEXT = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_TOKEN = re.compile(TOKEN)
_VISIBLE = re.compile(r"[\x21-\x7e]+")

_PHRASES = {int(status): status.phrase for status in HTTPStatus}

_PLAIN_VALUE = re.compile("(?:[!-~\udc80-\udcff]++(?:[ \t]++[!-~\udc80-\udcff]++)*+)?+")


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
        fields = _validate(h11.Request, headers, method=self.method, target=self.path)
        # "a user agent that generates Host SHOULD send it as the first field" (RFC 9110 section 7.2)
        fields.sort(key=lambda field: field[0].lower() != b"host")
        return _head(f"{self.method} {self.path} HTTP/1.1".encode("ascii"), fields)


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

        ``Content-Length`` is added if it is missing, and takes the place of ``Transfer-Encoding``.

        Args:
            head_only: leave the body out and keep ``Content-Length``, as in the response to HEAD.

        Raises:
            ValueError: the status, the reason phrase or a header is not valid, or the body does not
                have the length that ``Content-Length`` says.
        """
        status = int(self.status)
        line = _status_line(status, self.reason)
        if status < 200:
            if self.body:
                raise ValueError(f"a response with status {status} has no body")
            plain = _plain_fields(self.headers) if status == 101 else None
            if plain is not None:
                return b"%b\r\n%b\r\n" % (line, plain)
            headers = _encode_headers(self.headers)
            return _head(line, _validate(h11.InformationalResponse, headers, status_code=status))
        headers = _encode_headers(self.headers)
        fields = _validate(h11.Response, headers, status_code=status)
        fields = [field for field in fields if field[0].lower() != b"transfer-encoding"]
        lengths = [int(value) for name, value in fields if name.lower() == b"content-length"]
        if status in (204, 304):
            lengths = [0]
        elif not lengths:
            lengths = [len(self.body)]
            fields.append((b"Content-Length", b"%d" % lengths[0]))
        if lengths[0] != len(self.body) and not head_only:
            much = "little" if len(self.body) < lengths[0] else "much"
            raise ValueError(f"Too {much} data for declared Content-Length")
        return _head(line, fields) + (b"" if head_only else self.body)


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


@functools.lru_cache(64)
def _status_line(status: int, reason: str) -> bytes:
    return b"HTTP/1.1 %d %b" % (status, _encode(reason or _PHRASES.get(status, ""), "reason phrase"))


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


@functools.lru_cache(64)
def _is_plain_name(name: str) -> bool:
    # h11 has more rules for these two names.
    return _TOKEN.fullmatch(name) is not None and name.lower() not in ("content-length", "transfer-encoding")


def _plain_fields(headers: Headers) -> bytes | None:
    """Return the fields of headers that are valid for h11 in any case; ``None`` if there are others."""
    lines = []
    for name, value in headers.raw_items():
        if not (_is_plain_name(name) and _PLAIN_VALUE.fullmatch(value)):
            return None
        lines.append(f"{name}: {value}\r\n")
    return "".join(lines).encode("ascii", "surrogateescape")


def _validate(kind: Any, headers: list[tuple[bytes, bytes]], **parts: Any) -> list[tuple[bytes, bytes]]:
    """Validate the head of a message by h11; return its fields, with one ``Content-Length`` at most."""
    try:
        return list(kind(headers=headers, **parts).headers.raw_items())
    except h11.LocalProtocolError as error:
        raise ValueError(str(error)) from error


def _head(line: bytes, fields: list[tuple[bytes, bytes]]) -> bytes:
    return b"".join([line, b"\r\n", *(b"%b: %b\r\n" % field for field in fields), b"\r\n"])
