"""``websockets.http``: requests, responses and their headers."""

from __future__ import annotations

import asyncio

import pytest

from adapters.websockets.exceptions import SecurityError
from adapters.websockets.http import Headers, MultipleValuesError, read_request, read_response

REQUEST = b"GET /chat?x=%20 HTTP/1.1\r\nHost: a\r\nX-Many: 1\r\nx-many: 2\r\n"
RESPONSE = b"HTTP/1.1 418 Teapot \xe9\r\nServer: a\r\n"


def stream_of(data: bytes) -> asyncio.StreamReader:
    stream = asyncio.StreamReader()
    stream.feed_data(data)
    stream.feed_eof()
    return stream


async def test_read_request() -> None:
    stream = stream_of(REQUEST + b"\r\nmore")
    path, headers = await read_request(stream=stream)
    assert path == "/chat?x=%20"
    assert isinstance(headers, Headers)
    assert headers["host"] == "a"
    assert headers.get_all("X-Many") == ["1", "2"]
    assert await stream.read() == b"more"


async def test_body_of_a_request_is_left_in_the_stream() -> None:
    for header in b"Content-Length: 4\r\n", b"Transfer-Encoding: chunked\r\n":
        stream = stream_of(REQUEST + header + b"\r\nbody")
        await read_request(stream)
        assert await stream.read() == b"body"


async def test_characters_beyond_ascii_in_a_request() -> None:
    stream = stream_of(b"GET /\xe9 HTTP/1.1\r\nHost: a\r\nX: \xff\r\n\r\n")
    path, headers = await read_request(stream)
    assert (path, headers["X"]) == ("/\udce9", "\udcff")


async def test_read_response() -> None:
    stream = stream_of(RESPONSE + b"Content-Length: 4\r\nX: \xff\r\n\r\nbody")
    status_code, reason, headers = await read_response(stream=stream)
    assert (status_code, reason) == (418, "Teapot \udce9")
    assert isinstance(headers, Headers)
    assert (headers["Server"], headers["X"]) == ("a", "\udcff")
    assert await stream.read() == b"body"


@pytest.mark.parametrize(("read", "data"), [(read_request, REQUEST), (read_response, RESPONSE)])
async def test_streams_that_end(read: object, data: bytes) -> None:
    assert callable(read)
    for end in 0, 5, len(data):
        with pytest.raises(EOFError):
            await read(stream_of(data[:end]))


@pytest.mark.parametrize(("read", "data"), [(read_request, REQUEST), (read_response, RESPONSE)])
async def test_security_limits(read: object, data: bytes) -> None:
    assert callable(read)
    for headers in b"X: x\r\n" * 257, b"X: " + b"x" * 10_000 + b"\r\n":
        with pytest.raises(SecurityError):
            await read(stream_of(data + headers + b"\r\n"))


@pytest.mark.parametrize(
    "data",
    [
        b"GET /\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.0\r\nHost: a\r\n\r\n",
        b"G\xe9T / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nfoo\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: \x00\r\n\r\n",
    ],
)
async def test_requests_that_are_not_well_formatted(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"HTTP|method"):
        await read_request(stream_of(data))


@pytest.mark.parametrize(
    "data",
    [b"HTTP/1.1 200\r\nfoo\r\n\r\n", b"HTTP/2.0 200 OK\r\n\r\n", b"HTTP/1.1 OK\r\n\r\n", b"SMTP\r\n\r\n"],
)
async def test_responses_that_are_not_well_formatted(data: bytes) -> None:
    with pytest.raises(ValueError, match="HTTP"):
        await read_response(stream_of(data))


# Headers


def test_headers_are_made_like_a_dict() -> None:
    expected = [("Connection", "Upgrade"), ("Server", "a")]
    for headers in (
        Headers(expected),
        Headers(dict(expected)),
        Headers(Headers(expected)),
        Headers(Connection="Upgrade", Server="a"),
        Headers([("Connection", "Upgrade")], Server="a"),
    ):
        assert list(headers.raw_items()) == expected
    assert list(Headers()) == []


def test_getting_a_header() -> None:
    headers = Headers([("One", "1"), ("Two", "1"), ("two", "2")])
    with pytest.raises(KeyError):
        headers["none"]
    assert headers["ONE"] == "1"
    with pytest.raises(MultipleValuesError):
        headers["two"]
    assert headers.get("none") is None
    assert headers.get("one") == "1"
    assert "oNe" in headers
    assert list(headers) == ["one", "two"]


def test_setting_a_header_appends_a_value() -> None:
    headers = Headers()
    headers["Name"] = "1"
    headers["name"] = "2"
    assert headers.get_all(key="NAME") == ["1", "2"]
    headers.update(other="3")
    assert headers["other"] == "3"


def test_deleting_a_header_removes_all_values() -> None:
    headers = Headers([("Name", "1"), ("name", "2"), ("Other", "3")])
    del headers["NAME"]
    assert headers.get_all("name") == []
    assert list(headers.raw_items()) == [("Other", "3")]
    with pytest.raises(KeyError):
        del headers["name"]


def test_clear() -> None:
    headers = Headers(Name="1")
    result: object = headers.clear()
    assert result is None
    assert (list(headers), list(headers.raw_items())) == ([], [])


def test_raw_items_are_all_values_as_they_came() -> None:
    pairs = [("Name", "1"), ("Other", "2"), ("NAME", "3")]
    items = Headers(pairs).raw_items()
    assert iter(items) is items
    assert list(items) == pairs


def test_a_dict_with_lower_case_keys() -> None:
    headers = Headers(Name="1", Other="2")
    assert dict(headers) == {"name": "1", "other": "2"}
    assert list(headers.items()) == [("name", "1"), ("other", "2")]
    assert len(headers) == 2
