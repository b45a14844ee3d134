"""Requests and responses that are sent: any text in the place of their parts.

- They are refused with ``ValueError``, or they are well-formed and have no header that was not given.
- What is sent is what the other side reads, in any chunking.
"""

from __future__ import annotations

from fuzz.peer import parse_head
from fuzz.source import Source, chunkings
from wsproto_core import Headers, InvalidHandshake, Request, Response, make_response
from wsproto_core.http.reading import RequestReader, ResponseReader
from wsproto_core.limits import HeadLimits

NO_LIMITS = HeadLimits(None, None, None)

NAMES = ("Host", "X-Name", "Content-Length", "Transfer-Encoding", "Connection", "Set-Cookie")


def fuzz(data: bytes) -> None:
    source = Source(data)
    (check_request if source.flag() else check_response)(source)


def take_headers(source: Source) -> Headers:
    """Take headers: names of a list or any text, values of any text."""
    headers = Headers({"Host": "localhost"} if source.flag() else ())
    for _ in range(source.number(0, 6)):
        name = source.choice(NAMES) if source.flag() else take_text(source, 20)
        headers[name] = take_text(source, 60)
    return headers


def take_text(source: Source, longest: int) -> str:
    return source.block(longest).decode("ascii", "surrogateescape")


def check_request(source: Source) -> None:
    seed = source.seed()
    method = "GET" if source.flag() else take_text(source, 10)
    headers = take_headers(source)
    request = Request("/" + take_text(source, 60), headers, method)
    try:
        data = request.serialize()
    except ValueError:
        return
    head = parse_head(data)
    assert head.start == f"{method} {request.path} HTTP/1.1"
    assert head.rest == b""
    assert sorted(names(head.headers)) == sorted(name.lower() for name, _ in headers.raw_items())
    for pieces in chunkings(data, seed):
        reader = RequestReader(NO_LIMITS, body=True)
        for piece in filter(None, pieces):
            assert reader.request is None
            reader.receive_data(piece)
        read = reader.request
        assert read is not None
        assert (read.method, read.path) == (method, request.path)
        assert values(read.headers) == values(headers)


def check_response(source: Source) -> None:
    seed = source.seed()
    status = source.choice((101, 200, 204, 302, 304, 400, 503, 599))
    reason = take_text(source, 20)
    headers = take_headers(source)
    body = source.block(300)
    complete = source.flag()
    try:
        response = (
            make_response(status, headers, body) if complete else Response(status, headers, body, reason)
        )
        data = response.serialize()
    except ValueError:
        return
    head = parse_head(data)
    version, number, _ = head.start.split(" ", 2)
    assert (version, number) == ("HTTP/1.1", str(status))
    assert head.rest == body
    given = {name.lower() for name in headers} | {"content-length", "connection", "content-type"}
    assert set(names(head.headers)) <= given
    for pieces in chunkings(data, seed):
        reader = ResponseReader(NO_LIMITS)
        try:
            for piece in filter(None, pieces):
                assert reader.response is None
                reader.receive_data(piece)
            if reader.response is None:
                reader.receive_eof()
        except InvalidHandshake:
            # The headers of a body on a response that can't have one, which only 101 is left with.
            assert status == 101
            continue
        read = reader.response
        assert read is not None
        assert read.status == status
        if status not in (204, 304):
            assert read.body == body


def names(headers: list[tuple[str, str]]) -> list[str]:
    return [name for name, _ in headers]


def values(headers: Headers) -> dict[str, list[str]]:
    """Return the values by name, without the whitespace around them, which means nothing."""
    return {
        name: [value.strip(" \t") for value in headers.get_all(name)]
        for name in headers
        if name not in ("content-length", "transfer-encoding")
    }
