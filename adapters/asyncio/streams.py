"""Streams: sockets that connect; and requests, responses and frames, for those who hold a StreamReader."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import re
import socket
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

from adapters.shared.addresses import (
    ADDRESS_DELAY,
    RETRY_DELAY,
    Address,
    begin_connect,
    connect_failure,
    in_order,
    look_up_number,
    open_socket,
    refusal,
)
from wsproto_core.exceptions import InvalidMessage, SecurityError
from wsproto_core.frames import Frame, missing_bytes, parse_frame
from wsproto_core.http import Headers
from wsproto_core.http.reading import RequestReader, ResponseReader

__all__ = [
    "TCP_OPTIONS",
    "connect_tcp",
    "connect_unix",
    "read_frame",
    "read_request",
    "read_response",
    "take_tcp_options",
]

TCP_OPTIONS = (
    "family",
    "proto",
    "flags",
    "local_addr",
    "happy_eyeballs_delay",
    "interleave",
    "all_errors",
)
"""Options of :meth:`asyncio.loop.create_connection` that :func:`connect_tcp` has, on any event loop."""

_NOT_ASCII = re.compile(rb"[\x80-\xff]")


# Sockets that connect


def take_tcp_options(options: dict[str, Any]) -> dict[str, Any]:
    """Remove the options of :func:`connect_tcp` from others, and return them."""
    return {name: options.pop(name) for name in TCP_OPTIONS if name in options}


async def connect_tcp(
    host: str,
    port: int,
    *,
    family: int = 0,
    proto: int = 0,
    flags: int = 0,
    local_addr: tuple[str, int] | None = None,
    happy_eyeballs_delay: float | None = ADDRESS_DELAY,
    interleave: int = 1,
    all_errors: bool = False,
) -> socket.socket:
    """Connect to one of a host's addresses, as RFC 8305 says: the next is tried while one is slow.

    asyncio's own call does so only if it is told to, and raises errors of another class if there are
    several; uvloop's does not at all.

    Args:
        host: a name or an address.
        port: the TCP port.
        happy_eyeballs_delay: seconds until the next address is tried; ``None`` waits for each to fail.
        family, proto, flags, local_addr, interleave, all_errors: see
            :meth:`asyncio.loop.create_connection`.

    Raises:
        OSError: none can be connected to: see :func:`.connect_failure`.
        ExceptionGroup: the same, if ``all_errors``.
    """
    look_up = partial(_look_up, family=family, proto=proto, flags=flags)
    found = await look_up(host, port)
    local = None if local_addr is None else await look_up(*local_addr)
    untried = iter(in_order(found, interleave))
    connected: list[socket.socket] = []
    errors: list[OSError] = []

    async def attempt(address: Address) -> None:
        try:
            connected.append(await _connect(address, local))
        except OSError as error:
            errors.append(error)

    attempts: set[asyncio.Task[None]] = set()
    try:
        while not connected:
            address = next(untried, None)
            if address is not None:
                attempts.add(asyncio.create_task(attempt(address)))
            elif not attempts:
                raise ExceptionGroup("connecting failed", errors) if all_errors else connect_failure(errors)
            done, attempts = await asyncio.wait(
                attempts,
                timeout=None if address is None else happy_eyeballs_delay,
                return_when=asyncio.FIRST_COMPLETED,
            )
            for task in done:
                task.result()
        return connected.pop(0)
    finally:
        for task in attempts:
            task.cancel()
        for sock in connected:
            sock.close()
        # They refer to this frame.
        errors.clear()


async def _look_up(host: str, port: int, *, family: int, proto: int, flags: int) -> Sequence[Address]:
    number = look_up_number(host, port, family, proto, flags)
    if number is not None:
        return number
    loop = asyncio.get_running_loop()
    return await loop.getaddrinfo(
        host, port, family=family, type=socket.SOCK_STREAM, proto=proto, flags=flags
    )


async def _connect(address: Address, local: Sequence[Address] | None) -> socket.socket:
    """Connect to an address, from one of the same family."""
    source = None
    if local is not None:
        source = next((each[4] for each in local if each[0] == address[0]), None)
        if source is None:
            raise refusal(errno.EADDRNOTAVAIL, address)
    sock = open_socket(address, source)
    try:
        await asyncio.get_running_loop().sock_connect(sock, address[4])
    except OSError as error:
        sock.close()
        raise refusal(error.errno or errno.EIO, address) from error
    except BaseException:
        sock.close()
        raise
    return sock


async def connect_unix(path: str) -> socket.socket:
    """Connect to a Unix socket.

    Raises:
        OSError: nobody listens there.
    """
    while True:
        with contextlib.suppress(BlockingIOError):
            return begin_connect((socket.AF_UNIX, socket.SOCK_STREAM, 0, "", path))
        await asyncio.sleep(RETRY_DELAY)


# What comes from a stream


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


async def read_frame(
    read: Callable[[int], Awaitable[bytes]],
    *,
    mask: bool,
    max_size: int | None = None,
    reserved_bits: int = 0,
) -> Frame:
    """Read a frame (RFC 6455 section 5.2).

    Args:
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
