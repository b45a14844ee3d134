"""Requests, responses and frames from a stream reader."""

from __future__ import annotations

import asyncio

import pytest

from adapters.websockets.framing import Frame
from adapters.websockets.streams import read_frame, read_request, read_response
from tests.core.helpers import BINARY, CLOSE, CONTINUATION, KEY, TEXT, frame, frame_header, request, response
from wsproto_core.exceptions import InvalidMessage, PayloadTooBig, ProtocolError, SecurityError


def stream_of(*data: bytes, limit: int = 2**16) -> asyncio.StreamReader:
    stream = asyncio.StreamReader(limit=limit)
    for part in data:
        stream.feed_data(part)
    stream.feed_eof()
    return stream


async def fed_by_bytes(data: bytes) -> asyncio.StreamReader:
    """A stream that gets its bytes one by one, while it is read."""
    stream = asyncio.StreamReader()
    loop = asyncio.get_running_loop()

    def feed(position: int) -> None:
        if position == len(data):
            stream.feed_eof()
            return
        stream.feed_data(data[position : position + 1])
        loop.call_soon(feed, position + 1)

    loop.call_soon(feed, 0)
    return stream


async def test_request() -> None:
    for stream in (stream_of(request(), b"rest"), await fed_by_bytes(request() + b"rest")):
        path, headers = await read_request(stream)
        assert (path, headers["Sec-WebSocket-Key"]) == ("/chat", KEY)
        # Nothing after the head is read.
        assert await stream.read() == b"rest"


async def test_response() -> None:
    for stream in (stream_of(response(KEY), b"rest"), await fed_by_bytes(response(KEY) + b"rest")):
        status, reason, headers = await read_response(stream)
        assert (status, reason, headers["Upgrade"]) == (101, "Switching Protocols", "websocket")
        assert await stream.read() == b"rest"


async def test_body_of_a_response_is_left_in_the_stream() -> None:
    stream = stream_of(b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nbody")
    status, reason, headers = await read_response(stream)
    assert (status, reason, headers["Content-Length"]) == (404, "Not Found", "4")
    assert await stream.read() == b"body"


async def test_body_of_a_request_is_left_in_the_stream() -> None:
    stream = stream_of(request(Content_Length="4"), b"body")
    _, headers = await read_request(stream)
    assert headers["Content-Length"] == "4"
    assert await stream.read() == b"body"


async def test_empty_lines_in_front_of_a_request() -> None:
    path, _ = await read_request(stream_of(b"\r\n\n\r\n", request("GET /chat HTTP/1.1")))
    assert path == "/chat"
    with pytest.raises(InvalidMessage, match="expected an HTTP request, got"):
        await read_request(stream_of(b"\r\n" * 9, request()))


async def test_http_1_0() -> None:
    with pytest.raises(InvalidMessage, match=r"expected HTTP/1\.1, got HTTP/1\.0"):
        await read_request(stream_of(request("GET / HTTP/1.0")))


async def test_path_that_is_not_ascii() -> None:
    path, _ = await read_request(stream_of(b"GET /\xe9?\xff HTTP/1.1\r\nHost: a\r\n\r\n"))
    assert path == "/\udce9?\udcff"
    for line in b"G\xe9T / HTTP/1.1", b"GET / HTTP/\xe9.1", b"GET /\xe9 / HTTP/1.1", b"GET /\xa0HTTP/1.1":
        with pytest.raises(InvalidMessage):
            await read_request(stream_of(line + b"\r\nHost: a\r\n\r\n"))


@pytest.mark.parametrize("method", ["POST", "HEAD", "OPTIONS"])
async def test_other_methods(method: str) -> None:
    with pytest.raises(InvalidMessage, match=method):
        await read_request(stream_of(request(f"{method} / HTTP/1.1")))


@pytest.mark.parametrize("data", [b"", b"GET / HTTP/1.1\r\nHost: a\r\n", b"GET / HT"])
async def test_request_that_is_cut_off(data: bytes) -> None:
    with pytest.raises(EOFError):
        await read_request(stream_of(data))


@pytest.mark.parametrize("data", [b"", b"HTTP/1.1 101 Switching Protocols\r\nUpgr", b"HTTP"])
async def test_response_that_is_cut_off(data: bytes) -> None:
    with pytest.raises(EOFError):
        await read_response(stream_of(data))


@pytest.mark.parametrize("data", [b"garbage\r\n\r\n", request(X="a\0b"), request("GET / HTTP/3.7")])
async def test_malformed_request(data: bytes) -> None:
    with pytest.raises(InvalidMessage):
        await read_request(stream_of(data))


@pytest.mark.parametrize("data", [b"garbage\r\n\r\n", response(KEY, "HTTP/1.1 1 1")])
async def test_malformed_response(data: bytes) -> None:
    with pytest.raises(InvalidMessage):
        await read_response(stream_of(data))


@pytest.mark.parametrize("limit", [64, 2**16])
async def test_head_beyond_the_limits(limit: int) -> None:
    line = b"X" * 10_000
    with pytest.raises(SecurityError):
        await read_request(stream_of(b"GET / HTTP/1.1\r\n", line + b": 1\r\n\r\n", limit=limit))
    with pytest.raises(SecurityError):
        await read_response(stream_of(b"HTTP/1.1 200 OK\r\n", line + b": 1\r\n\r\n", limit=limit))


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536])
async def test_frames(size: int, masked: bool) -> None:
    payload = bytes(index % 256 for index in range(size))
    stream = stream_of(
        frame(BINARY, payload, masked=masked), frame(CONTINUATION, b"", fin=False, masked=masked)
    )
    assert await read_frame(stream.readexactly, mask=masked) == Frame(True, BINARY, payload)
    assert await read_frame(stream.readexactly, mask=masked) == Frame(False, CONTINUATION, b"")
    with pytest.raises(EOFError):
        await read_frame(stream.readexactly, mask=masked)


async def test_frame_that_is_cut_off() -> None:
    data = frame(TEXT, b"x" * 200, masked=True)
    for end in range(len(data)):
        with pytest.raises(EOFError):
            await read_frame(stream_of(data[:end]).readexactly, mask=True)


async def test_reader_that_returns_less_at_the_end() -> None:
    data = frame(TEXT, b"x" * 200, masked=True)
    for end in range(len(data)):
        with pytest.raises(EOFError, match="ended within a frame"):
            await read_frame(stream_of(data[:end]).read, mask=True)


async def test_reserved_bits() -> None:
    read = stream_of(b"\xc1\x00\xc1\x00").readexactly
    assert (await read_frame(read, mask=False, reserved_bits=0x40)).rsv1
    with pytest.raises(ProtocolError):
        await read_frame(read, mask=False)


async def test_frames_that_are_wrong() -> None:
    for data, error in (
        (frame(TEXT, b"x"), ProtocolError),
        (frame(3, b"x", masked=True), ProtocolError),
        (frame(CLOSE, b"", fin=False, masked=True), ProtocolError),
        (frame_header(BINARY, 2**62, masked=True) + bytes(4), PayloadTooBig),
    ):
        with pytest.raises(error):
            await read_frame(stream_of(data).readexactly, mask=True, max_size=1000)
