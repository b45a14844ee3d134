"""Requests, responses and frames from a :class:`asyncio.StreamReader`, for those who hold one."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable

from wsproto_core.exceptions import InvalidMessage, SecurityError
from wsproto_core.frames import Frame, missing_bytes, parse_frame
from wsproto_core.http import Headers, RequestReader, ResponseReader

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
    line = await _read_line(stream, reader)
    # h11 refuses a target that is not ASCII (RFC 9112 section 3.2), which some clients send.
    reader.receive_data(_NOT_ASCII.sub(b"?", line))
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


async def read_frame(
    read: Callable[[int], Awaitable[bytes]],
    *,
    mask: bool,
    max_size: int | None = None,
    reserved_bits: int = 0,
) -> Frame:
    """Read a frame (RFC 6455 section 5.2).

    Arguments:
        read: reads exactly that many bytes, as :meth:`asyncio.StreamReader.readexactly` does, or fewer
            at the end of the stream.
        mask: whether the frame must be masked, i.e. whether a client sends it.
        max_size: bytes that the payload may have; ``None`` for no limit.
        reserved_bits: the reserved bits that may be set in a data frame, as they stand in its first byte.

    Raises:
        EOFError: the stream ends before the frame does.
        PayloadTooBig: the payload is longer than ``max_size``.
        ProtocolError: the frame breaks a rule that does not depend on other frames.
    """
    data = b""
    while (parsed := parse_frame(data, mask=mask, max_size=max_size, reserved_bits=reserved_bits)) is None:
        missing = missing_bytes(data)
        part = await read(missing)
        data += part
        if len(part) < missing:
            raise EOFError(f"stream ended within a frame, after {len(data)} bytes of it")
    return parsed[0]
