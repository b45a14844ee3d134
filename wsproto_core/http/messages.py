"""Requests and responses, and how they are serialized.

h11 validates headers and frames bodies. It accepts control characters, which are refused here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from http import HTTPStatus

import h11

from ..types import BytesLike
from .headers import Headers, HeadersLike
from .syntax import TOKEN

__all__ = ["UPGRADE", "Request", "Response", "make_response"]

_CONTROL_IN_TEXT = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_TOKEN = re.compile(TOKEN)
_VISIBLE = re.compile(r"[\x21-\x7e]+")

UPGRADE = (("Host", "localhost"), ("Connection", "Upgrade"), ("Upgrade", "websocket"))
"""Headers of a request that is given to h11, which frames a response for a request."""


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
            head_only: leave the body out and keep ``Content-Length``, as in the response to HEAD.

        Raises:
            ValueError: the status, the reason phrase or a header is not valid, or the body does not
                have the length that ``Content-Length`` says.
        """
        status = int(self.status)
        reason = _encode(self.reason or _standard_phrase(status), "reason phrase")
        headers = _encode_headers(self.headers)
        body = b"" if head_only else self.body
        connection = h11.Connection(h11.SERVER)
        # h11 frames a response for the request that it answers.
        request = Request("/", Headers(UPGRADE), "HEAD" if head_only else "GET")
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
