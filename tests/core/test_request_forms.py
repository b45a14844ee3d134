"""The forms that a request may have on a server, and which of them is answered with what."""

from __future__ import annotations

from typing import Any

import pytest

from wsproto_core import Failure, Request, ServerProtocol, State, make_response
from wsproto_core.exceptions import InvalidHandshake, InvalidMessage
from wsproto_core.handshake.headers import to_origin_form
from wsproto_core.http import Headers

from .helpers import (
    Chunking,
    Clock,
    Head,
    any_chunking,
    feed,
    frame,
    parse_head,
    request,
    written,
)


def receiving(data: bytes, chunking: Chunking, **options: Any) -> tuple[ServerProtocol, list[Any]]:
    server = ServerProtocol(clock=Clock(), **options)
    return server, feed(server, data, chunking)


def refusal(server: ServerProtocol, events: list[Any], status: int) -> Head:
    """Check that a request was refused without asking; return the response."""
    (failure,) = events
    assert isinstance(failure, Failure)
    assert isinstance(failure.error, InvalidHandshake)
    assert failure.error is server.handshake_error
    assert server.state is State.CLOSING
    head = parse_head(written(server))
    assert head.status == status
    return head


# The target


@any_chunking
@pytest.mark.parametrize(
    ("target", "path", "host"),
    [
        ("/", "/", None),
        ("/chat?x=1", "/chat?x=1", None),
        ("//chat", "//chat", None),
        ("/http://other.example.com/", "/http://other.example.com/", None),
        # RFC 9112 section 3.2.2
        ("http://localhost/chat?x=1", "/chat?x=1", "localhost"),
        ("ws://localhost:8765/chat", "/chat", "localhost:8765"),
        ("HTTPS://Localhost//chat", "//chat", "Localhost"),
        ("wss://[::1]:443/", "/", "[::1]:443"),
        ("http://localhost", "/", "localhost"),
        ("http://localhost?x=/", "/?x=/", "localhost"),
    ],
)
def test_the_target_is_a_path(target: str, path: str, host: str | None, chunking: Chunking) -> None:
    data = request(f"GET {target} HTTP/1.1", X_Header=["a", "b"])
    server, (event,) = receiving(data + frame(0x1, b"early", masked=True), chunking)
    assert isinstance(event, Request)
    assert event is server.request
    assert event.path == path
    assert event.headers["Host"] == (host or "server.example.com")
    assert event.headers.get_all("X-Header") == ["a", "b"]
    assert server.accept().status == 101
    assert server.events() == ["early"]


@any_chunking
@pytest.mark.parametrize(
    "target",
    [
        "*",
        "chat",
        "chat/x",
        "?x=1",
        "localhost:80",
        "ftp://localhost/",
        "file:///etc",
        "http:/chat",
        "http:chat",
        "http:///chat",
        "http://?x",
        "http://user@localhost/",
        "http://user:secret@localhost/",
        "http://local<host>/",
        "http://localhost:99999/",
        "http://[::1/",
        "/chat#part",
        "/#",
        "http://localhost/#part",
        "#",
    ],
)
def test_targets_that_are_refused(target: str, chunking: Chunking) -> None:
    server, events = receiving(request(f"GET {target} HTTP/1.1"), chunking)
    head = refusal(server, events, 400)
    assert isinstance(server.handshake_error, InvalidMessage)
    assert "request target" in str(server.handshake_error)
    assert "secret" not in head.body.decode()
    assert repr(target.replace("user:secret", "***").replace("user", "***")) in head.body.decode()


def test_a_host_that_is_replaced_has_to_be_valid() -> None:
    """A server must refuse a request with an invalid ``Host`` (RFC 9112 section 3.2)."""
    for host in ("", "a b", "a/b", None, ["a", "b"]):
        server, events = receiving(request("GET http://localhost/ HTTP/1.1", Host=host), lambda data: [data])
        refusal(server, events, 400)


def test_a_request_in_origin_form_is_the_same_object() -> None:
    plain = Request("/", Headers(Host="a"))
    assert to_origin_form(plain) is plain
    absolute = Request("http://b/", Headers([("host", "a"), ("X", "y")]), "HEAD")
    assert to_origin_form(absolute) == Request("/", Headers([("X", "y"), ("Host", "b")]), "HEAD")
    assert absolute.headers["Host"] == "a"


def test_functions_of_the_application_get_the_path() -> None:
    """So that one that guards paths is not passed by."""
    seen = []
    server, _ = receiving(
        request("GET http://localhost/private HTTP/1.1"),
        lambda data: [data],
        extra_headers=lambda path, headers: seen.append((path, headers["Host"])),
        process_response=lambda path, headers, response: seen.append((path, headers["Host"])),
    )
    server.accept()
    assert seen == [("/private", "localhost")] * 2


# The method


@any_chunking
@pytest.mark.parametrize("method", ["POST", "OPTIONS", "PUT", "CONNECT", "get", "BREW"])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"Content_Length": "5"},
        {"Transfer_Encoding": "chunked"},
        {"Transfer_Encoding": "gzip"},
        {"Content_Length": "x"},
        {"Host": None},
        {"Host": ""},
        {"Host": ["a", "b"]},
        {"Bad name": "x"},
        {"X_Header": "x" * 9000},
        {"X_Header": ["x"] * 200},
        {"X_Header": "\x00"},
    ],
    ids=str,
)
def test_another_method_is_told_before_all_else(
    method: str, changes: dict[str, Any], chunking: Chunking
) -> None:
    for start in (f"{method} /chat HTTP/1.1", f"{method} * HTTP/1.1", f"{method} /x HTTP/1.0"):
        server, events = receiving(request(start, **changes) + b"hello", chunking)
        head = refusal(server, events, 405)
        assert head.headers["allow"] == "GET, HEAD"
        assert f"unexpected method {method!r}, expected GET" in head.body.decode()


@any_chunking
def test_another_method_in_another_version(chunking: Chunking) -> None:
    """The preface of HTTP/2 (RFC 9113 section 3.4) is refused when its first line is there."""
    server, events = receiving(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", chunking)
    refusal(server, events, 405)


def test_a_request_that_has_a_body_is_known() -> None:
    """It is HTTP, so that ``process_response`` is asked."""
    seen = []

    def process_response(path: str, headers: Headers, response: Any) -> None:
        seen.append((path, headers["Origin"], response.status))
        response.headers["Access-Control-Allow-Origin"] = "*"

    for method, status in (("POST", 405), ("GET", 400)):
        server, events = receiving(
            request(f"{method} /chat HTTP/1.1", Content_Length="5", Origin="o") + b"hello",
            lambda data: [data],
            process_response=process_response,
        )
        assert refusal(server, events, status).headers["access-control-allow-origin"] == "*"
        assert seen.pop() == ("/chat", "o", status)


@any_chunking
@pytest.mark.parametrize("framing", [{"Content_Length": "5"}, {"Transfer_Encoding": "chunked"}])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_body_is_refused(method: str, framing: dict[str, Any], chunking: Chunking) -> None:
    server, events = receiving(request(f"{method} / HTTP/1.1", **framing) + b"hello", chunking)
    head = refusal(server, events, 400)
    assert bool(head.body) is (method == "GET")
    assert "expected no body in HTTP request" in str(server.handshake_error)


def test_a_malformed_head_request_is_answered_without_a_body() -> None:
    server, events = receiving(b"HEAD / HTTP/1.1\r\nBad name: x\r\n\r\n", lambda data: [data])
    head = refusal(server, events, 400)
    assert head.body == b""
    assert int(head.headers["content-length"]) > 0


# The version


@any_chunking
@pytest.mark.parametrize("host", ["localhost", None])
def test_http_1_0_may_be_answered(host: str | None, chunking: Chunking) -> None:
    """A load balancer that asks for the health of a server may send no Host."""
    data = b"GET /health HTTP/1.0\r\n" + (b"Host: localhost\r\n" if host else b"") + b"\r\n"
    server, (event,) = receiving(data, chunking)
    assert isinstance(event, Request)
    assert (event.path, event.headers.get("Host")) == ("/health", host)
    server.answer(make_response(200, {}, b"OK\n"))
    head = parse_head(written(server))
    assert (head.status, head.body, head.headers["connection"]) == (200, b"OK\n", "close")


@any_chunking
def test_an_upgrade_in_http_1_0_is_refused(chunking: Chunking) -> None:
    server, _ = receiving(request("GET /chat HTTP/1.0"), chunking)
    server.answer(None)
    refusal(server, server.events(), 505)
    assert str(server.handshake_error) == "expected HTTP/1.1, got HTTP/1.0"


def test_http_1_0_without_an_upgrade_is_asked_for_one() -> None:
    server, _ = receiving(b"GET / HTTP/1.0\r\n\r\n", lambda data: [data])
    server.answer(None)
    assert refusal(server, server.events(), 426).headers["upgrade"] == "websocket"


@pytest.mark.parametrize("host", ["", "a b", ["a", "b"]])
def test_http_1_0_with_a_malformed_host(host: Any) -> None:
    server, events = receiving(request("GET / HTTP/1.0", Host=host), lambda data: [data])
    refusal(server, events, 400)


# Before the head is complete


@any_chunking
@pytest.mark.parametrize("empty_lines", [b"\r\n", b"\n\r\n", b"\r\n" * 8])
def test_empty_lines_in_front(empty_lines: bytes, chunking: Chunking) -> None:
    """RFC 9112 section 2.2."""
    server, (event,) = receiving(empty_lines + request(), chunking)
    assert event is server.request
    assert server.accept().status == 101


@any_chunking
@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"\r\n" * 9, 400),
        (b"SSH-2.0-x\r\n", 400),
        (b"EHLO example.com\r\n", 400),
        (b'{"method": "subscribe"}', 400),
        (b"GET /\r\n", 400),
        (b"GET / HTTP/2.0\r\n", 505),
        (b"PRI * HTTP/2.0\r\n", 405),
    ],
)
def test_a_first_line_that_is_wrong_is_answered_at_once(data: bytes, status: int, chunking: Chunking) -> None:
    server, events = receiving(data, chunking)
    head = refusal(server, events, status)
    assert head.body.decode() == f"Failed to open a WebSocket connection: {server.handshake_error}.\n"


def test_another_protocol_is_named() -> None:
    server, _ = receiving(b"SSH-2.0-x\r\n", lambda data: [data])
    assert str(server.handshake_error) == (
        "malformed HTTP request: expected a line like 'GET / HTTP/1.1', got b'SSH-2.0-x'"
    )
