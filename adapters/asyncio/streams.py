"""Requests, responses and frames from a :class:`asyncio.StreamReader`, for those who hold one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from wsproto_core.exceptions import SecurityError
from wsproto_core.frames import Frame, missing_bytes, parse_frame
from wsproto_core.http import Headers, RequestReader, ResponseReader

__all__ = ["read_frame", "read_request", "read_response"]


async def read_request(stream: asyncio.StreamReader) -> tuple[str, Headers]:
    """Read an HTTP/1.1 request without a body; return its path, not decoded, and its headers.

    Nothing after the head is read.

    Raises:
        EOFError: the stream ends before the head does.
        SecurityError: a limit is exceeded.
        ValueError: it is not a well-formed request (as :exc:`InvalidMessage`).
    """
    reader = RequestReader()
    while reader.request is None:
        await _read_line(stream, reader)
    return reader.request.path, reader.request.headers


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
        await _read_line(stream, reader)
    return reader.head.status, reader.head.reason, reader.head.headers


async def _read_line(stream: asyncio.StreamReader, reader: RequestReader | ResponseReader) -> None:
    try:
        line = await stream.readline()
    except ValueError as error:  # longer than what the stream holds
        raise SecurityError("line of the HTTP head is too long", 431) from error
    if not line.endswith(b"\n"):
        reader.receive_eof()
    reader.receive_data(line)


async def read_frame(
    read: Callable[[int], Awaitable[bytes]], *, mask: bool, max_size: int | None = None
) -> Frame:
    """Read a frame (RFC 6455 section 5.2).

    Arguments:
        read: reads exactly that many bytes, as :meth:`asyncio.StreamReader.readexactly` does.
        mask: whether the frame must be masked, i.e. whether a client sends it.
        max_size: bytes that the payload may have; ``None`` for no limit.

    Raises:
        EOFError: the stream ends before the frame does.
        PayloadTooBig: the payload is longer than ``max_size``.
        ProtocolError: the frame breaks a rule that does not depend on other frames.
    """
    data = b""
    while (parsed := parse_frame(data, mask=mask, max_size=max_size)) is None:
        data += await read(missing_bytes(data))
    return parsed[0]
