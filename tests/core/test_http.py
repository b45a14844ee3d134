"""Headers; requests and responses, written and read in chunks of any size."""

from __future__ import annotations

import copy
import pickle
import re
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from http import HTTPStatus
from itertools import pairwise
from typing import Any

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsproto_core.exceptions import (
    InvalidHandshake,
    InvalidMessage,
    InvalidState,
    InvalidStatusCode,
    SecurityError,
)
from wsproto_core.http import Headers, MultipleValuesError, Request, Response, fields, make_response
from wsproto_core.http.reading import RequestReader, ResponseReader
from wsproto_core.limits import HeadLimits
from wsproto_core.testing import connect

GET = b"GET / HTTP/1.1\r\nHost: a\r\n"
SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
NO_LIMITS = HeadLimits(None, None, None)


def one_by_one(data: bytes) -> Iterable[bytes]:
    return (data[index : index + 1] for index in range(len(data)))


Outcome = tuple[object, ...]


def read_request(chunks: Iterable[bytes], limits: HeadLimits = HeadLimits()) -> Outcome:  # noqa: B008
    """What a reader makes of these chunks: the request and what follows, or the exception."""
    reader = RequestReader(limits)
    trailing = b""
    try:
        for chunk in chunks:
            if reader.request is None:
                reader.receive_data(chunk)
            else:
                trailing += chunk
        reader.receive_eof()
    except (InvalidHandshake, EOFError) as error:
        return type(error), str(error), getattr(error, "status", None)
    assert reader.request is not None
    items = list(reader.request.headers.raw_items())
    return reader.request.method, reader.request.path, items, reader.trailing_data + trailing


def read_response(
    chunks: Iterable[bytes],
    limits: HeadLimits = HeadLimits(),  # noqa: B008
    max_body: int = 64,
) -> Outcome:
    reader = ResponseReader(limits, max_body)
    trailing = b""
    try:
        for chunk in chunks:
            if reader.response is None:
                reader.receive_data(chunk)
            elif reader.response.status == 101:
                trailing += chunk
        reader.receive_eof()
    except (InvalidHandshake, EOFError) as error:
        return type(error), str(error), getattr(error, "status", None)
    response = reader.response
    assert response is not None
    assert reader.head == Response(response.status, response.headers, b"", response.reason)
    items = list(response.headers.raw_items())
    return response.status, response.reason, items, response.body, reader.trailing_data + trailing


def split(data: bytes, positions: Iterable[int]) -> list[bytes]:
    cuts = [0, *sorted(position % (len(data) + 1) for position in positions), len(data)]
    return [data[start:end] for start, end in pairwise(cuts)]


class TestHeaders:
    def test_one_value_behaves_like_a_dict_with_lower_case_keys(self) -> None:
        headers = Headers({"Connection": "Upgrade"}, Server="x")
        assert headers["connection"] == headers["CONNECTION"] == "Upgrade"
        assert list(headers) == ["connection", "server"]
        assert dict(headers) == {"connection": "Upgrade", "server": "x"}
        assert list(headers.items()) == [("connection", "Upgrade"), ("server", "x")]
        assert len(headers) == 2
        assert "SERVER" in headers
        assert "Upgrade" not in headers
        not_a_name: object = 7
        assert not_a_name not in headers
        assert headers.get("Server") == "x"
        assert headers.get("Upgrade") is None
        assert headers.get("Upgrade", "default") == "default"
        with pytest.raises(KeyError):
            headers["Upgrade"]

    def test_several_values(self) -> None:
        headers = Headers([("Set-Cookie", "a=1"), ("Server", "x")])
        headers["set-cookie"] = "b=2"
        assert len(headers) == 2
        assert "Set-Cookie" in headers
        assert headers.get_all("SET-COOKIE") == ["a=1", "b=2"]
        assert headers.get_all("Upgrade") == []
        assert list(headers.raw_items()) == [("Set-Cookie", "a=1"), ("Server", "x"), ("set-cookie", "b=2")]
        with pytest.raises(MultipleValuesError, match="Set-Cookie"):
            headers["Set-Cookie"]
        with pytest.raises(LookupError):
            headers.get("Set-Cookie", "default")
        with pytest.raises(MultipleValuesError):
            headers.pop("Set-Cookie", "default")
        with pytest.raises(MultipleValuesError):
            headers.setdefault("Set-Cookie", "default")

    def test_removing(self) -> None:
        headers = Headers([("A", "1"), ("B", "2"), ("a", "3")])
        del headers["a"]
        assert list(headers.raw_items()) == [("B", "2")]
        with pytest.raises(KeyError):
            del headers["a"]
        assert headers.pop("b") == "2"
        assert headers.pop("b", "none") == "none"
        assert headers.setdefault("C", "3") == headers.setdefault("c", "4") == "3"
        headers.clear()
        assert headers == Headers()
        assert list(headers.raw_items()) == []

    def test_get_all_returns_a_list_of_its_own(self) -> None:
        headers = Headers(A="1")
        headers.get_all("a").append("2")
        assert headers.get_all("a") == ["1"]

    @pytest.mark.parametrize(
        "duplicate",
        [Headers, Headers.copy, copy.copy, copy.deepcopy, lambda it: pickle.loads(pickle.dumps(it))],
    )
    def test_copies_keep_all_values_and_share_nothing(self, duplicate: Callable[[Headers], Headers]) -> None:
        headers = Headers([("A", "1"), ("B", "2"), ("a", "3")])
        other = duplicate(headers)
        assert other == headers
        assert list(other.raw_items()) == list(headers.raw_items())
        other["a"] = "4"
        assert headers.get_all("a") == ["1", "3"]

    def test_update_adds(self) -> None:
        headers = Headers(A="1")
        headers.update(Headers([("A", "2"), ("a", "3")]), B="4")
        headers.update({"C": "5"})
        headers.update([("C", "6")])
        headers.update()
        assert list(headers.raw_items()) == [
            ("A", "1"), ("A", "2"), ("a", "3"), ("B", "4"), ("C", "5"), ("C", "6"),
        ]  # fmt: skip
        headers.update(headers)
        assert headers.get_all("a") == ["1", "2", "3"] * 2

    def test_equality(self) -> None:
        assert Headers([("A", "1"), ("B", "2")]) == Headers([("b", "2"), ("a", "1")])
        assert Headers([("A", "1"), ("A", "2")]) != Headers([("A", "2"), ("A", "1")])
        assert Headers(A="1") != {"a": "1"}

    def test_texts(self) -> None:
        headers = Headers([("Host", "a"), ("host", "b")])
        assert str(headers) == "Host: a\r\nhost: b\r\n\r\n"
        assert repr(headers) == "Headers([('Host', 'a'), ('host', 'b')])"

    @pytest.mark.parametrize("name", ["Authorization", "proxy-authorization"])
    def test_credentials_are_not_in_the_repr(self, name: str) -> None:
        headers = Headers([(name, "Basic c2VjcmV0"), ("A", "b")])
        assert repr(headers) == f"Headers([('{name}', '***'), ('A', 'b')])"
        assert "c2VjcmV0" not in repr(Request("/", headers))
        assert headers[name] == "Basic c2VjcmV0"

    @given(st.lists(st.tuples(st.sampled_from(["A", "a", "B", "b", "C"]), st.text())))
    def test_any_pairs(self, pairs: list[tuple[str, str]]) -> None:
        headers = Headers(pairs)
        assert list(headers.raw_items()) == pairs
        for key in headers:
            assert headers.get_all(key) == [value for name, value in pairs if name.lower() == key]

    def test_what_many_connections_have_in_common_is_there_once(self) -> None:
        def parse() -> list[tuple[str, str]]:
            reader = RequestReader()
            reader.receive_data(GET + b"User-Agent: some browser\r\nCookie: secret\r\n\r\n")
            assert reader.request is not None
            return list(reader.request.headers.raw_items())

        (*first, (_, secret)), (*second, (_, other)) = parse(), parse()
        assert [name for name, _ in first] == ["Host", "User-Agent"]
        for one, two in zip(first, second, strict=True):
            assert one[0] is two[0]
            assert one[1] is two[1]
        assert secret == other
        assert secret is not other

    def test_what_peers_invent_is_not_kept_for_ever(self) -> None:
        for number in range(2000):
            Headers({f"X-{number}": "a", "Origin": f"http://{number}"})
            Headers({"X" * (300 + number): "a", "Origin": "o" * (300 + number)})
        assert fields._first_equal.cache_info().currsize <= 256
        assert Headers({"Origin": "o" * 257, "X" * 257: "a"})["x" * 257] == "a"


class TestRequest:
    def test_serialize(self) -> None:
        request = Request("/path?query", Headers([("Accept", "x"), ("Host", "a"), ("accept", "\udce9")]))
        assert request.serialize() == (
            b"GET /path?query HTTP/1.1\r\nHost: a\r\nAccept: x\r\naccept: \xe9\r\n\r\n"
        )
        assert (
            Request("a:1", Headers(Host="a"), "CONNECT").serialize().startswith(b"CONNECT a:1 HTTP/1.1\r\n")
        )

    @pytest.mark.parametrize(
        ("request_", "message"),
        [
            (Request("/\r\nX: y", Headers(Host="a")), r"request target .* got '/\\r\\nX: y'"),
            (Request("/ x", Headers(Host="a")), "request target .* got '/ x'"),
            (Request("/\xe9", Headers(Host="a")), "request target"),
            (Request("", Headers(Host="a")), "request target .* got ''"),
            (Request("/", Headers(Host="a"), "GET\n"), r"method must be a token, got 'GET\\n'"),
            (Request("/", Headers([("Host", "a"), ("X\r\nY", "z")])), r"must be a token, got 'X\\r\\nY'"),
            (Request("/", Headers([("Host", "a"), ("", "z")])), "must be a token, got ''"),
            (Request("/", Headers(Host="a", X="y\r\nz")), r"value of header X must not .* got 'y\\r\\nz'"),
            (Request("/", Headers(Host="a", X="\x00")), r"value of header X must not .* got '\\x00'"),
            (Request("/", Headers(Host="a", X="\x7f")), r"value of header X must not .* got '\\x7f'"),
            (Request("/", Headers(Host="a", X="é")), "value of header X must be ASCII, got 'é'"),
            (Request("/", Headers(Host="a", X="\ud800")), "value of header X must be ASCII"),
            (Request("/", Headers(Host="a", X=" y")), "Illegal header value"),
            (Request("/", Headers()), "Missing mandatory Host"),
        ],
    )
    def test_row_30_serialize_refuses(self, request_: Request, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            request_.serialize()


class TestResponse:
    def test_switching_protocols(self) -> None:
        response = Response(101, Headers(Upgrade="websocket", Connection="Upgrade"))
        assert response.serialize() == SWITCHING + b"\r\n"
        with pytest.raises(ValueError, match="status 101 has no body"):
            Response(101, body=b"x").serialize()

    def test_make_response(self) -> None:
        response = make_response(HTTPStatus.UPGRADE_REQUIRED, {"Upgrade": "websocket"}, "é\n")
        assert response.serialize() == (
            b"HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\nContent-Length: 3\r\n"
            b"Connection: close\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n\xc3\xa9\n"
        )

    def test_head_only(self) -> None:
        response = make_response(200, body=b"abc")
        head = response.serialize(head_only=True)
        assert head + b"abc" == response.serialize()
        assert b"Content-Length: 3\r\n" in head

    def test_headers_that_are_given_are_kept_but_for_the_framing(self) -> None:
        given_headers = [
            ("Connection", "x"),
            ("content-type", "y"),
            ("content-length", "7"),
            ("Transfer-Encoding", "chunked"),
        ]
        headers = Headers(given_headers)
        response = make_response(400, headers, bytearray(b"abc"))
        assert list(response.headers.raw_items()) == [*given_headers[:2], ("Content-Length", "3")]
        assert response.body == b"abc"
        assert list(headers.raw_items()) == given_headers

    @pytest.mark.parametrize("status", [204, 304])
    def test_statuses_without_a_body(self, status: int) -> None:
        response = make_response(status, {"Content-Length": "0"})
        assert list(response.headers.raw_items()) == [("Connection", "close")]
        assert response.serialize().endswith(b"\r\nConnection: close\r\n\r\n")
        with pytest.raises(ValueError, match=f"status {status} has no body"):
            make_response(status, body=b"x")

    @pytest.mark.parametrize("status", [101, 199, 600, 0, -1, "200", None, True])
    def test_make_response_refuses_statuses(self, status: int) -> None:
        with pytest.raises(ValueError, match=f"expected a status from 200 to 599, got {status!r}"):
            make_response(status)

    @pytest.mark.parametrize("body", [None, 7, ["x"]])
    def test_make_response_refuses_bodies(self, body: bytes) -> None:
        with pytest.raises(TypeError, match="expected a body of type bytes or str, got"):
            make_response(200, body=body)

    @pytest.mark.parametrize(
        ("response", "status_line"),
        [
            (Response(200), b"HTTP/1.1 200 OK"),
            (Response(200, reason="Fine"), b"HTTP/1.1 200 Fine"),
            (Response(299), b"HTTP/1.1 299 "),
        ],
    )
    def test_reason_phrases(self, response: Response, status_line: bytes) -> None:
        assert response.serialize().startswith(status_line + b"\r\n")

    @pytest.mark.parametrize(
        ("response", "message"),
        [
            (Response(200, reason="a\r\nb"), r"reason phrase must not .* got 'a\\r\\nb'"),
            (Response(200, reason="é"), "reason phrase must be ASCII, got 'é'"),
            (Response(200, Headers(X="y\nz")), r"value of header X must not .* got 'y\\nz'"),
            (Response(101, Headers({"X:": "y"})), "name of a header must be a token, got 'X:'"),
            (Response(200, Headers({"Content-Length": "1"})), "Too little data"),
            (Response(200, Headers({"Content-Length": "1"}), b"ab"), "Too much data"),
            (Response(99), "status_code should be in range"),
            (Response(1000), "status_code should be in range"),
        ],
    )
    def test_row_30_serialize_refuses(self, response: Response, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            response.serialize()

    def test_pickle(self) -> None:
        response = make_response(403, body=b"no")
        assert pickle.loads(pickle.dumps(response)) == response


class TestRequestReader:
    def test_request(self) -> None:
        data = b"GET /a?b HTTP/1.1\r\nHost: x\r\nX-Bytes:\t\xe9 \r\nx-bytes: c\r\n\r\n"
        items = [("Host", "x"), ("X-Bytes", "\udce9"), ("x-bytes", "c")]
        assert read_request([data]) == ("GET", "/a?b", items, b"")

    def test_nothing_is_complete_before_the_end_of_the_head(self) -> None:
        reader = RequestReader()
        reader.receive_data(GET + b"\r")
        assert (reader.request, reader.trailing_data) == (None, b"")
        with pytest.raises(EOFError, match="stream ended before the end of the HTTP request's head"):
            reader.receive_eof()
        reader.receive_data(b"\n")
        assert reader.request == Request("/", Headers(Host="a"))
        reader.receive_eof()

    def test_row_28_what_follows_is_not_parsed(self) -> None:
        reader = RequestReader()
        reader.receive_data(memoryview(GET + b"\r\nGET / HTTP/1.1\r\nfoo"))
        assert reader.trailing_data == b"GET / HTTP/1.1\r\nfoo"
        with pytest.raises(InvalidState, match="the request is complete"):
            reader.receive_data(b"bar")

    @pytest.mark.parametrize(
        "header",
        ["Content-Length: 1", "Content-Length: 0\r\nContent-Length: 5", "Content-Length: -1",
         "Content-Length: 0, 5", "Transfer-Encoding: chunked", "Transfer-Encoding: gzip",
         "Transfer-Encoding: identity", "Content-Length: 0\r\nTransfer-Encoding: chunked"],
    )  # fmt: skip
    def test_row_28_a_body_on_the_request(self, header: str) -> None:
        outcome = read_request([GET + header.encode() + b"\r\n\r\n"])
        assert outcome[::2] == (InvalidMessage, 400)

    @pytest.mark.parametrize("header", [b"Content-Length: 4", b"Transfer-Encoding: chunked"])
    def test_a_body_that_may_be(self, header: bytes) -> None:
        reader = RequestReader(body=True)
        reader.receive_data(GET + header + b"\r\n\r\nbody")
        assert reader.request is not None
        assert reader.trailing_data == b"body"

    @pytest.mark.parametrize("header", [b"Content-Length: 0", b"Content-Length: 00", b"Content-Length: 0, 0"])
    def test_row_28_a_body_of_no_bytes(self, header: bytes) -> None:
        assert read_request([GET + header + b"\r\n\r\n"])[0] == "GET"

    @pytest.mark.parametrize("version", ["0.9", "1.2", "2.0", "3.7"])
    def test_row_25_other_http_versions(self, version: str) -> None:
        outcome = read_request([f"GET / HTTP/{version}\r\nHost: a\r\n\r\n".encode()])
        assert outcome == (InvalidMessage, f"expected HTTP/1.1, got HTTP/{version}", 505)

    @pytest.mark.parametrize("host", [b"", b"Host: a\r\n"])
    def test_http_1_0(self, host: bytes) -> None:
        reader = RequestReader()
        reader.receive_data(b"GET / HTTP/1.0\r\n" + host + b"\r\n")
        assert reader.request is not None
        assert (reader.method, reader.version) == ("GET", "1.0")

    @pytest.mark.parametrize("chunked", [one_by_one, lambda data: [data]])
    def test_empty_lines_in_front(self, chunked: Callable[[bytes], Iterable[bytes]]) -> None:
        lines = b"\r\n\n\r\n\r\n\n\n\r\n\r\n"
        assert read_request(chunked(lines + GET + b"\r\nrest")) == ("GET", "/", [("Host", "a")], b"rest")
        assert read_request(chunked(lines)) == read_request([])
        for data in (lines + b"\r\n" + GET, lines + b"\n" + GET, b"\r\r\n" + GET, b"\r\n GET"):
            assert read_request(chunked(data))[::2] == (InvalidMessage, 400)

    def test_empty_lines_without_end_are_refused(self) -> None:
        reader = RequestReader(NO_LIMITS)
        for _ in range(8):
            reader.receive_data(b"\r\n")
        with pytest.raises(InvalidMessage, match="expected an HTTP request, got b'"):
            reader.receive_data(b"\r\n")

    @pytest.mark.parametrize(
        "line",
        [b"SSH-2.0-x\r\n", b"hello\n", b"GET /\r\n", b"GET  / HTTP/1.1\r\n", b"GET / HTTP/1.1 \r\n",
         b"GET / http/1.1\r\n", b'{"jsonrpc": "2.0"', b"<policy-file-request/>", b"GET / HTTP/2.0\r\n"],
    )  # fmt: skip
    @pytest.mark.parametrize("chunked", [one_by_one, lambda data: [data]])
    def test_the_first_line_tells(self, line: bytes, chunked: Callable[[bytes], Iterable[bytes]]) -> None:
        shown = line.strip(b"\r\n") if line.endswith(b"\n") else line[:16]
        message = f"malformed HTTP request: expected a line like 'GET / HTTP/1.1', got {shown!r}"
        if line == b"GET / HTTP/2.0\r\n":
            message = "expected HTTP/1.1, got HTTP/2.0"
        assert read_request(chunked(line))[:2] == (InvalidMessage, message)

    @pytest.mark.parametrize("data", [b"SSH-2.0-OpenSSH", b"g" * 8000, b"GET /" + b"x" * 8000])
    def test_a_line_that_may_go_on_is_waited_for(self, data: bytes) -> None:
        reader = RequestReader()
        reader.receive_data(data)
        assert reader.method is None

    @pytest.mark.parametrize("hosts", [b"", b"Host: a\r\nHost: a\r\n"])
    def test_row_24_missing_or_doubled_host(self, hosts: bytes) -> None:
        assert read_request([b"GET / HTTP/1.1\r\n" + hosts + b"\r\n"])[::2] == (InvalidMessage, 400)

    @pytest.mark.parametrize(
        "data",
        [
            b"GET\r\n\r\n",
            b"GET /\r\n\r\n",
            b"GET / HTTP/11\r\n\r\n",
            b"GET /\xe9 HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET / HTTP/1.1\r\n Host: a\r\n\r\n",
            GET + b"X : y\r\n\r\n",
            GET + b"X\r\n\r\n",
            GET + b": y\r\n\r\n",
        ],
    )
    def test_malformed(self, data: bytes) -> None:
        kind, message, status = read_request([data])
        assert (kind, status) == (InvalidMessage, 400)
        assert str(message).startswith("malformed HTTP request: ")

    @pytest.mark.parametrize(
        "control", [b"\x00", b"\x01", b"\x08", b"\x0b", b"\x0c", b"\x1f", b"\x7f", b"\r", b"\r\r"]
    )
    @pytest.mark.parametrize(
        "place",
        [
            b"G%sET / HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET /%s HTTP/1.1\r\nHost: a\r\n\r\n",
            GET + b"X%s: y\r\n\r\n",
            GET + b"X: a%sb\r\n\r\n",
            GET + b"X: a%s\r\n\r\n",
            GET + b"%s\r\n\r\n",
        ],
    )
    @pytest.mark.parametrize("chunked", [one_by_one, lambda data: [data]])
    def test_row_27_control_characters(
        self, place: bytes, control: bytes, chunked: Callable[[bytes], Iterable[bytes]]
    ) -> None:
        kind, message, status = read_request(chunked(place % control))
        assert (kind, status) == (InvalidMessage, 400)
        assert f"control character in HTTP request: {control[:1]!r} at " in str(message)

    @pytest.mark.parametrize("chunked", [one_by_one, lambda data: [data]])
    def test_row_27_bare_line_feeds_folding_and_tabs_as_in_h11(
        self, chunked: Callable[[bytes], Iterable[bytes]]
    ) -> None:
        outcome = read_request(chunked(b"GET / HTTP/1.1\nHost: a\nX: b\tc\n\td\n\r\nrest"))
        assert outcome == ("GET", "/", [("Host", "a"), ("X", "b\tc d")], b"rest")

    @pytest.mark.parametrize("data", [b"\x16\x03\x01", b"\x15", b" GET", b"\x00"])
    def test_the_first_byte_tells(self, data: bytes) -> None:
        reader = RequestReader()
        with pytest.raises(InvalidMessage, match="expected an HTTP request, got b'") as raised:
            reader.receive_data(data[:1])
        assert ("looks like TLS" in str(raised.value)) is (data[0] in (0x15, 0x16))
        assert raised.value.status == 400

    @pytest.mark.parametrize("end", [b"", b"\r\n"])
    @pytest.mark.parametrize("chunked", [one_by_one, lambda data: [data]])
    @pytest.mark.parametrize(
        ("data", "message"),
        [
            (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 500, "HTTP request has more than 128 headers"),
            (GET + b"X: " + b"y" * 65536 + b"\r\n", "HTTP request has a line over 8192 bytes"),
            (b"GET /" + b"y" * 65536 + b" HTTP/1.1\r\n", "HTTP request has a line over 8192 bytes"),
            (GET + (b"X: " + b"y" * 8000 + b"\r\n") * 131, "head of HTTP request is over 32768 bytes"),
            (GET + b"X: " + b"y" * 2**20, "HTTP request has a line over 8192 bytes"),
            (b"G" * 2**20, "HTTP request has a line over 8192 bytes"),
        ],
        ids=["headers", "line", "request line", "head", "endless line", "endless request line"],
    )
    def test_row_26_limits(
        self, data: bytes, message: str, end: bytes, chunked: Callable[[bytes], Iterable[bytes]]
    ) -> None:
        assert read_request(chunked(data + end)) == (SecurityError, message, 431)

    def test_row_26_at_the_limits(self) -> None:
        head = b"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n"
        assert read_request([head], HeadLimits(2, 16, len(head)))[0] == "GET"
        assert read_request([head], HeadLimits(1, 16, len(head)))[0] is SecurityError
        assert read_request([head], HeadLimits(2, 15, len(head)))[0] is SecurityError
        assert read_request([head], HeadLimits(2, 16, len(head) - 1))[0] is SecurityError

    def test_row_26_what_follows_the_head_does_not_count(self) -> None:
        head = GET + b"\r\n"
        limits = HeadLimits(1, 16, len(head))
        assert read_request([head + b"\n\x00" * 1000], limits)[3] == b"\n\x00" * 1000

    def test_row_26_without_limits_time_is_linear(self) -> None:
        data = GET + b"X: y\r\n" * 20_000 + b"X: " + b"y" * 200_000 + b"\r\n\r\n"
        outcome = read_request(one_by_one(data), NO_LIMITS)
        assert outcome == read_request([data], NO_LIMITS)
        assert outcome[0] == "GET"

    def test_row_27_a_value_that_takes_h11_quadratic_time_is_not_given_to_it(self) -> None:
        outcome = read_request([GET + b"X:" + b" " * 500_000 + b"\x00\r\n\r\n"], NO_LIMITS)
        assert outcome[0] is InvalidMessage


heads = st.lists(
    st.sampled_from(
        [b"GET / HTTP/1.1", b"HTTP/1.1 101 OK", b"HTTP/1.1 200 OK", b"HTTP/1.0 404 No", b"HTTP/1.1 103 Early",
         b"\r\n", b"\n", b"\r\n\r\n", b"Host: a", b"Content-Length: 0", b"Content-Length: 9", b"\x00",
         b"Transfer-Encoding: chunked", b"5\r\nabcde\r\n", b"0\r\n\r\n", b" x", b"X: y", b"z" * 40, b"9;"]
    )
    | st.binary(max_size=3),
    max_size=25,
).map(b"".join)  # fmt: skip
positions = st.lists(st.integers(0, 1000), max_size=8)
small_limits = st.builds(HeadLimits, st.none() | st.integers(0, 4), st.none() | st.integers(1, 60),
                         st.none() | st.integers(1, 150))  # fmt: skip


@given(heads, positions, small_limits)
@pytest.mark.parametrize("start", [b"", GET])
def test_any_chunking_of_a_request_is_the_same(
    start: bytes, rest: bytes, positions: list[int], limits: HeadLimits
) -> None:
    data = start + rest
    expected = read_request([data], limits)
    assert read_request(split(data, positions), limits) == expected
    assert read_request(one_by_one(data), limits) == expected


@given(heads, positions, small_limits)
@pytest.mark.parametrize(
    "start",
    [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 103 Early\r\n\r\n" + SWITCHING,
     b"HTTP/1.1 400 Bad Request\r\nTransfer-Encoding: chunked\r\n\r\n"],
)  # fmt: skip
def test_any_chunking_of_a_response_is_the_same(
    start: bytes, rest: bytes, positions: list[int], limits: HeadLimits
) -> None:
    data = start + rest
    expected = read_response([data], limits)
    assert read_response(split(data, positions), limits) == expected
    assert read_response(one_by_one(data), limits) == expected


names = st.from_regex(r"\AX-[A-Za-z0-9!#$%&'*+.^_`|~-]{0,9}\Z")
texts = st.binary(max_size=20).map(
    lambda data: "".join(chr(byte) if 0x20 <= byte < 0x7F else "x" for byte in data).strip()
)
pairs = st.lists(st.tuples(names, texts), max_size=9)


@given(st.from_regex(r"\A/[!-~]{0,20}\Z"), pairs, st.binary())
def test_what_is_serialized_is_read_as_a_request(
    path: str, pairs: list[tuple[str, str]], rest: bytes
) -> None:
    headers = Headers([("Host", "a"), *pairs])
    data = Request(path, headers).serialize()
    assert read_request([data + rest]) == ("GET", path, list(headers.raw_items()), rest)


@given(st.integers(200, 599), pairs, st.binary(max_size=64), texts)
def test_what_is_serialized_is_read_as_a_response(
    status: int, pairs: list[tuple[str, str]], body: bytes, reason: str
) -> None:
    made = make_response(status, pairs, b"" if status in (204, 304) else body)
    response = Response(made.status, made.headers, made.body, reason or "x")
    outcome = read_response([response.serialize()])
    assert outcome == (status, reason or "x", list(made.headers.raw_items()), made.body, b"")


odd_texts = st.text(st.sampled_from("x: \t\r\n\x00\x7f\udce9\ud800é-"), max_size=5)
odd_names = st.sampled_from(["Content-Length", "transfer-encoding", "Upgrade", "a-b"]) | odd_texts


@given(st.lists(st.tuples(odd_names, odd_texts | st.sampled_from(["0", "7", "chunked"])), max_size=3))
def test_what_is_serialized_without_h11_is_what_h11_serializes(pairs: list[tuple[str, str]]) -> None:
    outcomes = []
    for serialize in (lambda: Response(101, Headers(pairs)).serialize(), lambda: by_h11(pairs)):
        try:
            outcomes.append(serialize())
        except ValueError:
            outcomes.append(b"refused")
    assert outcomes[0] == outcomes[1]


def by_h11(pairs: list[tuple[str, str]]) -> bytes:
    if any(re.search(r"[\x00-\x08\x0a-\x1f\x7f]", text) for pair in pairs for text in pair):
        raise ValueError("h11 accepts control characters")
    encoded = [(name.encode("ascii"), value.encode("ascii", "surrogateescape")) for name, value in pairs]
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
    connection.next_event()
    try:
        return connection.send(
            h11.InformationalResponse(status_code=101, headers=encoded, reason=b"Switching Protocols")
        )
    except h11.LocalProtocolError as error:
        raise ValueError(str(error)) from error


@pytest.mark.parametrize("origins", [None, ["https://example.com"]])
def test_an_opening_handshake_makes_one_h11_connection_a_side(
    origins: list[str | None] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []

    class Counted(h11.Connection):
        def __init__(self, role: Any, *arguments: Any, **more: Any) -> None:
            super().__init__(role, *arguments, **more)
            made.append(str(role))

    monkeypatch.setattr(h11, "Connection", Counted)
    with nullcontext() if origins is None else pytest.raises(InvalidStatusCode, match="403"):
        connect(server_options={"origins": origins})
    assert sorted(made) == ["CLIENT", "SERVER"]


class TestResponseReader:
    def test_switching_protocols(self) -> None:
        reader = ResponseReader()
        reader.receive_data(SWITCHING + b"\r")
        assert (reader.head, reader.response, reader.trailing_data) == (None, None, b"")
        with pytest.raises(EOFError, match="stream ended before the end of the HTTP response's head"):
            reader.receive_eof()
        reader.receive_data(b"\n\x81\x00HTTP/1.1 200 OK\r\n\r\n")
        headers = Headers(Upgrade="websocket", Connection="Upgrade")
        assert reader.response == reader.head == Response(101, headers, reason="Switching Protocols")
        assert reader.trailing_data == b"\x81\x00HTTP/1.1 200 OK\r\n\r\n"
        reader.receive_eof()
        with pytest.raises(InvalidState, match="the response is complete"):
            reader.receive_data(b"x")

    def test_informational_responses_are_skipped(self) -> None:
        informational = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
        outcome = read_response(one_by_one(informational * 3 + SWITCHING + b"\r\nrest"))
        assert outcome[0] == 101
        assert outcome[4] == b"rest"

    def test_each_head_has_the_limits_for_itself(self) -> None:
        early = b"HTTP/1.1 103 Early Hints\r\n" + b"Link: x\r\n" * 100 + b"\r\n"
        assert read_response([early * 5 + SWITCHING + b"\r\n"])[0] == 101
        too_many = early.replace(b"Link: x\r\n", b"Link: x\r\n" * 2)
        assert read_response([early + too_many])[::2] == (SecurityError, 431)

    @pytest.mark.parametrize(
        ("data", "message"),
        [
            (b"HTTP/1.0 101 OK\r\n\r\n", "expected HTTP/1.1, got HTTP/1.0 101"),
            (b"HTTP/2.0 200 OK\r\n\r\n", "expected HTTP/1.1, got HTTP/2.0 200"),
            (
                SWITCHING + b"Content-Length: 5\r\n\r\n",
                "no body in HTTP response with status 101, got Content-L",
            ),
            (b"HTTP/1.1 099 OK\r\n\r\n", "malformed HTTP response"),
            (b"HTTP/1.1 1010 OK\r\n\r\n", "malformed HTTP response"),
            (b"ICY 200 OK\r\n\r\n", "malformed HTTP response"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", "malformed HTTP response"),
            (b"HTTP/1.1 200 O\x01K\r\n\r\n", "control character in HTTP response: b'\\x01' at 14"),
            (b"\x15\x03\x01", "expected an HTTP response, got b'\\x15', which looks like TLS"),
        ],
    )
    def test_row_31_malformed_heads(self, data: bytes, message: str) -> None:
        kind, text, _ = read_response([data])
        assert kind is InvalidMessage
        assert message in str(text)

    def test_a_101_may_say_that_it_has_no_body(self) -> None:
        assert read_response([SWITCHING + b"Content-Length: 0\r\n\r\nx"])[4] == b"x"

    @pytest.mark.parametrize(
        ("data", "body"),
        [
            (b"HTTP/1.1 403 No\r\nContent-Length: 3\r\n\r\nabcdef", b"abc"),
            (b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\nabcdef", b""),
            (
                b"HTTP/1.1 403\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1;x\r\nc\r\n0\r\nX: y\r\n\r\n",
                b"abc",
            ),
            (b"HTTP/1.0 403 No\r\n\r\nabc", b"abc"),
            (b"HTTP/1.1 403 No\r\n\r\nabc", b"abc"),
            (b"HTTP/1.1 204 No\r\n\r\nabc", b""),
            (b"HTTP/1.1 304 No\r\nContent-Length: 3\r\n\r\nabc", b""),
            # broken off
            (b"HTTP/1.1 403 No\r\nContent-Length: 5\r\n\r\nabc", b"abc"),
            (b"HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc", b"abc"),
            (b"HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2", b"abc"),
            # malformed
            (b"HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcdef\r\n", b"abc"),
            (b"HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nx\r\n", b"abc"),
            (b"HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX\r\n\r\n", b"abc"),
        ],
    )
    @pytest.mark.parametrize("chunked", [one_by_one, lambda data: [data]])
    def test_bodies(self, data: bytes, body: bytes, chunked: Callable[[bytes], Iterable[bytes]]) -> None:
        outcome = read_response(chunked(data))
        assert outcome[3:] == (body, b"")

    def test_the_head_is_known_before_the_body(self) -> None:
        reader = ResponseReader()
        reader.receive_data(b"HTTP/1.1 301 Moved\r\nLocation: /\r\nContent-Length: 5\r\n\r\nab")
        assert reader.head == Response(301, Headers({"Location": "/", "Content-Length": "5"}), reason="Moved")
        assert (reader.response, reader.trailing_data) == (None, b"")
        reader.receive_data(memoryview(b"cde"))
        assert reader.response is not None
        assert reader.response.body == b"abcde"

    @pytest.mark.parametrize(
        "framing", [b"", b"Content-Length: 999999999999\r\n", b"Transfer-Encoding: chunked\r\n"]
    )
    @pytest.mark.parametrize("size", [1, 7, 1000, 100_000])
    def test_row_31_an_endless_error_body(self, framing: bytes, size: int) -> None:
        reader = ResponseReader(max_body=5000)
        reader.receive_data(b"HTTP/1.1 500 Oops\r\n" + framing + b"\r\n")
        chunk = b"x" * size
        if b"chunked" in framing:
            chunk = b"%x\r\n%s\r\n" % (size, chunk)
        for _ in range(5000 // size + 1):
            if reader.response is None:
                reader.receive_data(chunk)
        assert reader.response is not None
        assert reader.response.body == b"x" * 5000

    @pytest.mark.parametrize("framing", [b"", b"Content-Length: 9\r\n", b"Transfer-Encoding: chunked\r\n"])
    def test_a_body_that_is_as_long_as_is_wanted(self, framing: bytes) -> None:
        reader = ResponseReader(max_body=5)
        reader.receive_data(b"HTTP/1.1 500 Oops\r\n" + framing + b"\r\n")
        reader.receive_data(b"5\r\nabcde" if b"chunked" in framing else b"abcde")
        assert reader.response is not None
        assert reader.response.body == b"abcde"

    @pytest.mark.parametrize(("status", "ends"), [(199, False), (200, True), (299, True), (300, False)])
    def test_a_tunnel_begins_with_the_head_of_a_success(self, status: int, ends: bool) -> None:
        reader = ResponseReader(tunnel=True)
        reader.receive_data(b"HTTP/1.1 %d OK\r\nContent-Length: 1\r\n\r\n" % status)
        assert (reader.response is not None) is ends

    def test_row_31_an_endless_chunk_header(self) -> None:
        head = b"HTTP/1.1 500 Oops\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n"
        # Without end, and of a form that takes h11's regular expression quadratic time.
        for chunk_header in (b"1;" + b" " * 10_000, b"1;" + b" " * 500_000 + b"\n\r\n"):
            reader = ResponseReader()
            reader.receive_data(head + chunk_header)
            assert reader.response is not None
            assert reader.response.body == b"x"

    @pytest.mark.parametrize("length", range(508, 518))
    def test_a_long_chunk_header_is_accepted_or_not_in_any_chunking(self, length: int) -> None:
        head = b"HTTP/1.1 500 Oops\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n"
        data = head + b"1;" + b" " * (length - 4) + b"\r\ny\r\n0\r\n\r\n"
        expected = read_response([data])
        assert expected[3] == (b"xy" if length <= 513 else b"x")
        assert read_response(one_by_one(data)) == expected
        for cut in range(len(head), len(data)):
            assert read_response([data[:cut], data[cut:]]) == expected

    def test_row_31_a_reply_of_64_kibibytes(self) -> None:
        for data in (b"HTTP/1.1 200 " + b"x" * 65536, b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 11_000):
            assert read_response(one_by_one(data)) == read_response([data])
            assert read_response([data])[::2] == (SecurityError, 431)
