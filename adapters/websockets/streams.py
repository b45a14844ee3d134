"""Requests, responses and frames, read from an :class:`asyncio.StreamReader`."""

from __future__ import annotations

import asyncio
import re

from wsproto_core.exceptions import InvalidMessage, SecurityError
from wsproto_core.http import Headers
from wsproto_core.http.reading import RequestReader, ResponseReader

from .framing import read_frame

__all__ = ["read_frame", "read_request", "read_response"]

_NOT_ASCII = re.compile(rb"[\x80-\xff]")


async def read_request(stream: asyncio.StreamReader) -> tuple[str, Headers]:
    """Read an HTTP/1.1 GET request; return its path and its headers.

    Nothing is decoded; bytes beyond ASCII are represented with surrogate escapes. The body, if there is
    one, is left in the stream.

    Raises:
        EOFError: the stream ends before the head does.
        SecurityError: a limit is exceeded.
        ValueError: it is not a well-formed GET request (as :exc:`InvalidMessage`).
    """
    reader = RequestReader(body=True)
    line = b""
    while reader.method is None:  # there may be empty lines in front
        line = await _read_line(stream, reader)
        # h11 refuses a target that is not ASCII (RFC 9112 section 3.2), which some clients send.
        reader.receive_data(_NOT_ASCII.sub(b"?", line))
    if reader.version != "1.1":
        raise InvalidMessage(f"expected HTTP/1.1, got HTTP/{reader.version}", 505)
    while reader.request is None:
        reader.receive_data(await _read_line(stream, reader))
    request = reader.request
    if request.method != "GET":
        raise InvalidMessage(f"unexpected method {request.method!r}, expected GET", 405)
    return line.split(b" ")[1].decode("ascii", "surrogateescape"), request.headers


async def read_response(stream: asyncio.StreamReader) -> tuple[int, str, Headers]:
    """Read an HTTP/1.1 response; return its status, its reason phrase and its headers.

    The body, if there is one, is left in the stream.

    Raises:
        EOFError: the stream ends before the head does.
        SecurityError: a limit is exceeded.
        ValueError: it is not a well-formed response (as :exc:`InvalidMessage`).
    """
    reader = ResponseReader()
    while reader.head is None:
        reader.receive_data(await _read_line(stream, reader))
    return reader.head.status, reader.head.reason, reader.head.headers


async def _read_line(stream: asyncio.StreamReader, reader: RequestReader | ResponseReader) -> bytes:
    try:
        line = await stream.readline()
    except ValueError as error:  # longer than what the stream holds
        raise SecurityError("line of the HTTP head is too long", 431) from error
    if not line.endswith(b"\n"):
        reader.receive_eof()
    return line
