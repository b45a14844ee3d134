"""The opening handshake of a server (RFC 6455 section 4.2)."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from email.utils import formatdate
from typing import Any

import pytest

from wsproto_core import (
    Failure,
    HandshakeTimeout,
    Headers,
    InvalidHandshake,
    InvalidState,
    Ping,
    Request,
    Response,
    ServerProtocol,
    Side,
    State,
    StreamAction,
    TimerOverdue,
    make_response,
)
from wsproto_core.exceptions import (
    AbortHandshake,
    InvalidHeader,
    InvalidHeaderFormat,
    InvalidHeaderValue,
    InvalidMessage,
    InvalidOrigin,
    InvalidUpgrade,
    NegotiationError,
    SecurityError,
)
from wsproto_core.options import USER_AGENT
from wsproto_core.timers import Timer
from wsproto_core.types import Subprotocol

from .helpers import (
    ACCEPT,
    CLOSE,
    PING,
    PONG,
    TEXT,
    Chunking,
    Clock,
    Frame,
    Head,
    any_chunking,
    feed,
    frame,
    opened_server,
    parse_frames,
    parse_head,
    request,
    sent,
    written,
)
from .sample_extensions import ServerFactory, Xor


def server_of(**options: Any) -> ServerProtocol:
    return ServerProtocol(clock=Clock(), **options)


def asked(data: bytes | None = None, **options: Any) -> ServerProtocol:
    """A server with a request that waits for an answer."""
    server = server_of(**options)
    server.receive_data(request() if data is None else data)
    (event,) = server.events()
    assert event is server.request
    return server


def accepted(data: bytes | None = None, **options: Any) -> Head:
    """Let a server accept a request; return its response."""
    server = asked(data, **options)
    assert server.accept() is server.response
    assert server.state is State.OPEN
    assert server.handshake_error is None
    return parse_head(written(server))


def refused(server: ServerProtocol, error: type[InvalidHandshake], status: int) -> Head:
    """Check that a server has refused a request; return its response."""
    (failure,) = server.events()
    assert isinstance(failure, Failure)
    assert type(failure.error) is error
    assert failure.error is server.handshake_error
    assert failure.remote
    assert failure.close is None
    assert server.state is State.CLOSING
    assert server.stream_action is StreamAction.SEND_EOF
    assert server.response is not None
    assert server.response.status == status
    head = parse_head(written(server))
    assert head.status == status
    assert int(head.headers["content-length"]) == len(server.response.body) > 0
    return head


# The request and the answer 101


@any_chunking
def test_the_request(chunking: Chunking) -> None:
    server = server_of()
    assert server.state is State.CONNECTING
    assert server.side is Side.SERVER
    assert server.stream_action is StreamAction.KEEP
    assert server.request is None
    (event,) = feed(server, request("GET /chat?room=1 HTTP/1.1", X_Header="value"), chunking)
    assert isinstance(event, Request)
    assert event is server.request
    assert (event.method, event.path) == ("GET", "/chat?room=1")
    assert event.headers["x-header"] == "value"
    assert server.state is State.CONNECTING
    assert server.response is None
    assert written(server) == b""


def test_the_answer() -> None:
    server = asked()
    answer = server.accept()
    assert isinstance(answer, Response)
    assert answer is server.response
    assert answer.status == 101
    head = parse_head(written(server))
    assert head.start == "HTTP/1.1 101 Switching Protocols"
    assert head.headers == {
        "upgrade": "websocket",
        "connection": "Upgrade",
        "sec-websocket-accept": ACCEPT,
        "server": USER_AGENT,
    }
    assert head.body == b""
    assert server.events() == []
    assert server.subprotocol is None
    assert server.extensions == ()
    server.send("x")
    assert sent(server) == [Frame(TEXT, b"x")]


def test_date() -> None:
    """RFC 9110 section 6.6.1: a server with a clock sends it."""
    head = accepted(date=lambda: 784111777.5)
    assert head.headers["date"] == "Sun, 06 Nov 1994 08:49:37 GMT"
    for seconds in range(0, 400 * 86400, 86401):
        date = accepted(date=lambda now=seconds: now).headers["date"]  # type: ignore[misc]
        assert date == formatdate(seconds, usegmt=True)
    server = server_of(date=lambda: 784111777.5)
    server.receive_data(b"\0")
    assert refused(server, InvalidMessage, 400).headers["date"] == "Sun, 06 Nov 1994 08:49:37 GMT"
    assert "date" not in accepted().headers


def test_server_header() -> None:
    assert accepted(server_header="mine/1.0").headers["server"] == "mine/1.0"
    assert "server" not in accepted(server_header=None).headers
    server = asked(server_header="mine/1.0")
    server.reject(make_response(404))
    assert parse_head(written(server)).headers["server"] == "mine/1.0"


@pytest.mark.parametrize(
    "extra",
    [
        {"X-First": "1", "X-Second": "2"},
        [("X-First", "1"), ("X-Second", "2")],
        Headers([("X-First", "1"), ("X-Second", "2")]),
        lambda path, headers: {"X-First": "1", "X-Second": "2"},
        lambda path, headers: Headers([("X-First", "1"), ("X-Second", "2")]),
    ],
)
def test_extra_headers(extra: Any) -> None:
    headers = accepted(extra_headers=extra).headers
    assert (headers["x-first"], headers["x-second"]) == ("1", "2")


def test_extra_headers_by_a_function_of_the_request() -> None:
    def extra(path: str, headers: Headers) -> dict[str, str] | None:
        return {"X-Echo": f"{path} {headers['host']}"} if path == "/chat" else None

    assert accepted(extra_headers=extra).headers["x-echo"] == "/chat server.example.com"
    assert "x-echo" not in accepted(request("GET /other HTTP/1.1"), extra_headers=extra).headers


def test_extra_headers_of_the_answer_follow_those_of_the_option() -> None:
    server = asked(extra_headers={"X-First": "1", "Set-Cookie": "a=1"})
    answer = server.accept(extra_headers=[("Set-Cookie", "b=2"), ("X-Second", "2")])
    assert answer.headers.get_all("Set-Cookie") == ["a=1", "b=2"]
    assert answer.headers["X-First"] == "1"
    assert answer.headers["X-Second"] == "2"


def test_extra_headers_override_those_that_are_not_the_handshakes_own() -> None:
    head = accepted(extra_headers={"server": "mine", "DATE": "today"}, date=lambda: 0)
    assert head.headers["server"] == "mine"
    assert head.headers["date"] == "today"


@pytest.mark.parametrize("name", ["Upgrade", "connection", "Sec-WebSocket-Accept", "SEC-WEBSOCKET-PROTOCOL"])
def test_extra_headers_that_are_the_handshakes_own(name: str) -> None:
    message = f"extra_headers must not have '{name.lower()}'"
    with pytest.raises(ValueError, match=message):
        server_of(extra_headers={name: "value"})
    server = asked(extra_headers=lambda path, headers: {name: "value"})
    with pytest.raises(ValueError, match=message):
        server.accept()
    server = asked()
    with pytest.raises(ValueError, match=message):
        server.accept(extra_headers={name: "value"})
    assert server.state is State.CONNECTING
    assert server.response is None
    assert server.accept().status == 101


# Subprotocols


def offering(value: Any) -> bytes:
    return request(Sec_WebSocket_Protocol=value)


@pytest.mark.parametrize(
    ("offered", "available", "selected"),
    [
        ("a, b", ["a", "b"], "a"),
        ("a, b", ["b", "a"], "b"),
        ("a, b, c", ["c"], "c"),
        (["x", "a, b"], ["b"], "b"),
        ("a", ["b"], None),
        ("a", [], None),
        ("a", None, None),
        (None, ["a"], None),
    ],
)
def test_a_subprotocol_is_selected(offered: Any, available: list[str] | None, selected: str | None) -> None:
    server = asked(offering(offered), subprotocols=available)
    server.accept()
    assert server.subprotocol == selected
    assert parse_head(written(server)).headers.get("sec-websocket-protocol") == selected


def last(client: Sequence[Subprotocol], server: Sequence[Subprotocol]) -> Subprotocol | None:
    assert (list(client), list(server)) == (["a", "b"], ["a", "b", "c"])
    return client[-1]


def none(client: Sequence[Subprotocol], server: Sequence[Subprotocol]) -> Subprotocol | None:
    return None


def wrong(client: Sequence[Subprotocol], server: Sequence[Subprotocol]) -> Subprotocol | None:
    return Subprotocol("c")


@pytest.mark.parametrize(
    ("option", "argument", "selected"),
    [(None, last, "b"), (last, None, "b"), (last, wrong, "b"), (none, last, None), (None, none, None)],
)
def test_a_subprotocol_is_selected_by_a_function(option: Any, argument: Any, selected: str | None) -> None:
    """The option comes first, then the argument, then the default."""
    server = asked(offering("a, b"), subprotocols=["a", "b", "c"], select_subprotocol=option)
    server.accept(**({} if argument is None else {"select_subprotocol": argument}))
    assert server.subprotocol == selected


@pytest.mark.parametrize("offered", [None, "a", "a, b"])
@pytest.mark.parametrize("available", [None, [], ["b"], ["b", "c"]])
@pytest.mark.parametrize("where", ["option", "argument"])
def test_a_function_is_asked_for_every_request(offered: Any, available: Any, where: str) -> None:
    asked_for = []

    def select(client: Sequence[Subprotocol], server: Sequence[Subprotocol]) -> Subprotocol | None:
        asked_for.append((list(client), list(server)))
        return None

    server = asked(
        offering(offered), subprotocols=available, select_subprotocol=select if where == "option" else None
    )
    server.answer(None, **({"select_subprotocol": select} if where == "argument" else {}))
    assert server.state is State.OPEN
    assert asked_for == [(offered.split(", ") if offered else [], available or [])]


@pytest.mark.parametrize("offered", [None, "a"])
@pytest.mark.parametrize("available", [None, ["b"]])
def test_a_function_refuses_clients_that_do_not_offer_what_it_wants(offered: Any, available: Any) -> None:
    def select(client: Sequence[Subprotocol], server: Sequence[Subprotocol]) -> Subprotocol | None:
        if "b" in client:
            return Subprotocol("b")
        raise NegotiationError("the subprotocol b is needed")

    server = asked(offering(offered), subprotocols=available, select_subprotocol=select)
    server.answer(None)
    head = refused(server, NegotiationError, 400)
    assert head.body == b"Failed to open a WebSocket connection: the subprotocol b is needed.\n"
    # It may select what only the client knows.
    server = asked(offering("b"), subprotocols=available, select_subprotocol=select)
    server.answer(None)
    assert server.subprotocol == "b"


def test_a_function_selects_something_for_a_client_that_offers_nothing() -> None:
    server = asked(subprotocols=["a"], select_subprotocol=lambda client, server: server[0])
    with pytest.raises(ValueError, match="select_subprotocol chose 'a', which the client did not offer"):
        server.accept()


def test_a_function_selects_what_was_not_offered() -> None:
    server = asked(offering("a, b"), subprotocols=["a", "b", "c"], select_subprotocol=wrong)
    with pytest.raises(ValueError, match="select_subprotocol chose 'c', which the client did not offer"):
        server.accept()
    # The request can still be answered.
    assert server.state is State.CONNECTING
    server.reject(make_response(500))
    assert parse_head(written(server)).status == 500


@pytest.mark.parametrize("offered", ["", "a b", "a,b/c", '"a"'])
def test_malformed_offers_of_subprotocols(offered: str) -> None:
    server = asked(offering(offered), subprotocols=["a"])
    server.accept()
    refused(server, InvalidHeaderFormat, 400)


# Origins

ORIGINS = ["https://example.com", re.compile(r"https://[a-z]+\.example\.com")]


@pytest.mark.parametrize(
    ("origin", "origins"),
    [
        ("https://example.com", ORIGINS),
        ("https://www.example.com", ORIGINS),
        (None, [*ORIGINS, None]),
        ("https://anywhere.example", None),
        (None, None),
    ],
)
def test_an_origin_that_is_accepted(origin: str | None, origins: Any) -> None:
    assert accepted(request(Origin=origin), origins=origins).status == 101


@pytest.mark.parametrize(
    ("origin", "origins"),
    [
        ("https://example.org", ORIGINS),
        ("https://example.com.evil.example", ORIGINS),
        ("https://www.example.com:8080", ORIGINS),
        (None, ORIGINS),
        ("null", [None]),
        ("https://example.com", []),
    ],
)
def test_an_origin_that_is_refused(origin: str | None, origins: Any) -> None:
    server = asked(request(Origin=origin), origins=origins)
    assert server.accept().status == 403
    head = refused(server, InvalidOrigin, 403)
    assert head.start == "HTTP/1.1 403 Forbidden"
    assert server.response is not None
    assert "Origin header" in server.response.body.decode()


def test_two_origins() -> None:
    server = asked(request(Origin=["a", "b"]), origins=["a", "b"])
    server.accept()
    refused(server, InvalidHeader, 400)


# Extensions


def test_extensions() -> None:
    server = asked(request(Sec_WebSocket_Extensions="x-other, x-xor"), extensions=[ServerFactory(Xor)])
    server.accept()
    assert [type(extension) for extension in server.extensions] == [Xor]
    assert parse_head(written(server)).headers["sec-websocket-extensions"] == "x-xor"


def test_extensions_that_only_one_side_knows() -> None:
    data = request(Sec_WebSocket_Extensions="x-other; parameter=1")
    assert "sec-websocket-extensions" not in accepted(data, extensions=[ServerFactory(Xor)]).headers
    assert "sec-websocket-extensions" not in accepted(extensions=[ServerFactory(Xor)]).headers
    assert "sec-websocket-extensions" not in accepted(data).headers


def test_the_request_may_tell_what_is_negotiated() -> None:
    data = request(
        Origin="http://b", Sec_WebSocket_Protocol="a, b", Sec_WebSocket_Extensions="x-xor, permessage-deflate"
    )
    server = asked(data, origins=["http://a"], subprotocols=["a"], extra_headers={"A": "a"})
    server.configure(
        origins=["http://b"],
        subprotocols=["b"],
        extra_headers={"A": "b"},
        extensions=[ServerFactory(Xor)],
    )
    response = server.accept()
    assert response.status == 101
    assert server.subprotocol == "b"
    assert response.headers["A"] == "b"
    # What is not given stays as it is: compression too.
    assert [extension.name for extension in server.extensions] == ["x-xor", "permessage-deflate"]
    with pytest.raises(InvalidState):
        server.configure(origins=None)


def test_what_is_not_negotiated_any_more() -> None:
    server = asked(request(), origins=[None])
    wrong: Any
    for wrong, error in (
        ({"origins": "http://a"}, TypeError),
        ({"max_size": 1}, TypeError),
        ({"compression": None}, TypeError),
        ({"extra_headers": {"Upgrade": "x"}}, ValueError),
        ({"subprotocols": ["a b"]}, ValueError),
    ):
        with pytest.raises(error):
            server.configure(**wrong)
    assert server.accept().status == 101


def test_malformed_offers_of_extensions() -> None:
    server = asked(request(Sec_WebSocket_Extensions="x-xor;;"))
    server.accept()
    refused(server, InvalidHeaderFormat, 400)


# Requests that are refused


@pytest.mark.parametrize(
    ("changes", "error", "status"),
    [
        ({"Upgrade": None}, InvalidUpgrade, 426),
        ({"Upgrade": "h2c"}, InvalidUpgrade, 426),
        ({"Connection": None}, InvalidUpgrade, 426),
        ({"Connection": "keep-alive"}, InvalidUpgrade, 426),
        ({"Connection": "keep alive"}, InvalidHeaderFormat, 400),
        ({"Sec_WebSocket_Version": None}, InvalidHeader, 426),
        ({"Sec_WebSocket_Version": "8"}, InvalidHeaderValue, 426),
        ({"Sec_WebSocket_Key": None}, InvalidHeader, 400),
        ({"Sec_WebSocket_Key": "AAAA"}, InvalidHeaderValue, 400),
        ({"Sec_WebSocket_Key": "not base64"}, InvalidHeaderValue, 400),
    ],
)
def test_requests_that_are_refused_when_they_are_accepted(
    changes: dict[str, Any], error: type[InvalidHandshake], status: int
) -> None:
    """They are HTTP, so that the application may give another answer; but not 101."""
    server = asked(request(**changes))
    answer = server.accept()
    assert answer.status == status
    head = refused(server, error, status)
    if status == 426:
        assert head.headers["upgrade"] == "websocket"
        assert head.headers["connection"] == "Upgrade, close"
        assert head.headers["sec-websocket-version"] == "13"
    else:
        assert head.headers["connection"] == "close"
        assert "upgrade" not in head.headers
    assert head.headers["content-type"] == "text/plain; charset=utf-8"
    first, _, rest = head.body.decode().partition("\n")
    assert first == f"Failed to open a WebSocket connection: {server.handshake_error}."
    hint = ""
    if status == 426:
        hint = (
            "speaks version 13"
            if "Sec_WebSocket_Version" in changes
            else "use a WebSocket\nclient, with a URI"
        )
    assert (hint in rest) if hint else (rest == "")

    server = asked(request(**changes))
    server.reject(make_response(200, {}, b"a page"))
    assert parse_head(written(server)).body == b"a page"


@any_chunking
@pytest.mark.parametrize(
    ("data", "error", "status"),
    [
        (request("POST /chat HTTP/1.1"), InvalidMessage, 405),
        (request("get /chat HTTP/1.1"), InvalidMessage, 405),
        (request("GET /chat HTTP/2.0"), InvalidMessage, 505),
        (request(Host=None), InvalidMessage, 400),
        (request(Host=""), InvalidHeaderFormat, 400),
        (request(Host="a b"), InvalidHeaderFormat, 400),
        (request(Host=["a", "b"]), InvalidMessage, 400),
        (request(Content_Length="1"), InvalidMessage, 400),
        (request(X_Header="x" * 9000), SecurityError, 431),
        (request(X_Header=["x"] * 200), SecurityError, 431),
        (b"\x16\x03\x01\x02\x00\x01", InvalidMessage, 400),
        (b"GET\r\n\r\n", InvalidMessage, 400),
    ],
)
def test_requests_that_are_refused_at_once(
    data: bytes, error: type[InvalidHandshake], status: int, chunking: Chunking
) -> None:
    server = server_of()
    for chunk in chunking(data):
        server.receive_data(chunk)
    head = refused(server, error, status)
    assert head.headers["connection"] == "close"
    assert head.headers.get("allow") == ("GET, HEAD" if status == 405 else None)
    with pytest.raises(InvalidState):
        server.accept()


def test_what_came_is_shown_escaped() -> None:
    server = asked(request(Upgrade="h2c\xff<script>"))
    server.accept()
    assert b"<script>" in refused(server, InvalidHeaderFormat, 400).body
    assert b"'\\udcff'" in written(asked_and_accepted(request(Sec_WebSocket_Version="\xff")))


def asked_and_accepted(data: bytes) -> ServerProtocol:
    server = asked(data)
    server.accept()
    return server


def test_the_limits_are_options() -> None:
    for options in ({"max_headers": 4}, {"max_header_line": 20}, {"max_header_bytes": 100}):
        server = server_of(**options)
        server.receive_data(request())
        refused(server, SecurityError, 431)
    large = request(X_Header="x" * 100_000, Y_Header=["y"] * 1000)
    assert accepted(large, max_headers=None, max_header_line=None, max_header_bytes=None).status == 101


# HEAD, and HTTP responses that are wanted


def test_head_is_answered_without_a_body() -> None:
    server = asked(request("HEAD /health HTTP/1.1", Upgrade=None, Connection=None))
    server.reject(make_response(200, {}, b"healthy"))
    head = parse_head(written(server))
    assert head.status == 200
    assert head.headers["content-length"] == "7"
    assert head.body == b""


def test_head_is_no_opening_handshake() -> None:
    server = asked(request("HEAD /chat HTTP/1.1"))
    assert server.accept().status == 405
    head = refused(server, InvalidMessage, 405)
    assert head.headers["allow"] == "GET"
    assert head.body == b""
    assert str(server.handshake_error) == "unexpected method 'HEAD', expected GET"


def test_reject() -> None:
    server = asked()
    server.reject(Response(404, Headers({"X-Header": "value"}), b"not here", "Nowhere"))
    assert server.state is State.CLOSING
    assert server.stream_action is StreamAction.SEND_EOF
    head = parse_head(written(server))
    assert head.start == "HTTP/1.1 404 Nowhere"
    assert head.headers == {
        "server": USER_AGENT,
        "x-header": "value",
        "content-length": "8",
        "connection": "close",
        "content-type": "text/plain; charset=utf-8",
    }
    assert head.body == b"not here"
    assert server.response is not None
    assert (server.response.status, server.response.body) == (404, b"not here")
    # It was decided here: nothing has failed.
    assert server.events() == []
    assert type(server.handshake_error) is InvalidHandshake
    assert str(server.handshake_error) == "the request was answered with HTTP status 404"
    assert server.close_code == 1006
    assert feed(server, frame(TEXT, b"late", masked=True)) == []
    server.eof_sent()
    assert server.stream_action is StreamAction.KEEP
    server.receive_eof()
    assert server.stream_action is StreamAction.CLOSE


@pytest.mark.parametrize("status", [100, 101, 199])
def test_reject_with_a_status_that_is_none(status: int) -> None:
    server = asked()
    with pytest.raises(ValueError, match=f"cannot be rejected with HTTP status {status}"):
        server.reject(Response(status))
    with pytest.raises(ValueError, match="expected a status from 200 to 599"):
        server.reject(Response(600))
    assert server.accept().status == 101


def test_reject_before_the_request() -> None:
    """A server that shuts down does not wait for a request."""
    server = server_of()
    server.receive_data(b"GET / HT")
    server.reject(make_response(503, {"Retry-After": "10"}))
    head = parse_head(written(server))
    assert head.status == 503
    assert head.headers["retry-after"] == "10"
    server.receive_data(b"TP/1.1\r\nHost: a\r\n\r\n")
    assert server.request is None
    assert server.events() == []


def test_answers_without_a_request_and_a_second_answer() -> None:
    server = server_of()
    with pytest.raises(InvalidState, match="there is no request yet"):
        server.accept()
    for answer in (lambda server: server.accept(), lambda server: server.reject(make_response(404))):
        server = asked()
        answer(server)
        output = written(server)
        assert output
        with pytest.raises(InvalidState, match="the request has been answered, or the client has gone"):
            server.accept()
        with pytest.raises(InvalidState, match="the request has been answered, or the client has gone"):
            server.reject(make_response(404))
        assert written(server) == b""


def test_commands_before_the_answer() -> None:
    server = asked()
    for command in (lambda: server.send("x"), server.ping, server.pong, server.close):
        with pytest.raises(InvalidState, match="the opening handshake is not done"):
            command()
    assert server.next_message() is None


# What a hook returned


def answered(result: object, **options: Any) -> tuple[ServerProtocol, Head]:
    """Give a server what its hook returned or raised; return its response."""
    server = asked(**options)
    server.answer(result)
    return server, parse_head(written(server))


def test_a_hook_that_returns_nothing() -> None:
    server, head = answered(None)
    assert head.status == 101
    assert server.state is State.OPEN
    assert server.events() == []


def test_a_hook_that_returns_nothing_for_a_request_that_is_wrong() -> None:
    server = asked(request(Upgrade=None))
    server.answer(None)
    refused(server, InvalidUpgrade, 426)


@pytest.mark.parametrize(
    "result",
    [
        Response(404, Headers({"X-Header": "value"}), b"not here"),
        (404, {"X-Header": "value"}, b"not here"),
        (404, [("X-Header", "value")], "not here"),
        AbortHandshake(404, {"X-Header": "value"}, b"not here"),
    ],
)
def test_a_hook_that_returns_a_response(result: object) -> None:
    server, head = answered(result)
    assert (head.status, head.headers["x-header"], head.body) == (404, "value", b"not here")
    assert server.stream_action is StreamAction.SEND_EOF
    # The application wants it so.
    assert server.events() == []


@pytest.mark.parametrize(
    ("result", "error"),
    [
        (OSError("the database is gone"), OSError),
        (404, TypeError),
        ((404, {}), TypeError),
        ([404, {}, b""], TypeError),
        ((101, {}, b""), ValueError),
        ((404, {"X-Header": "a\r\nb"}, b""), ValueError),
        ((404, {}, 5), TypeError),
        (AbortHandshake(100), ValueError),
        (Response(101), ValueError),
    ],
)
def test_a_hook_that_fails(result: object, error: type[Exception]) -> None:
    """It is the server's fault, of which the client learns nothing but that."""
    server, head = answered(result)
    assert head.status == 500
    assert head.body == b"Failed to open a WebSocket connection: internal server error.\n"
    (failure,) = server.events()
    assert isinstance(failure, Failure)
    assert type(failure.error) is error
    assert not failure.remote
    assert server.stream_action is StreamAction.SEND_EOF


def test_other_functions_of_the_application_that_fail() -> None:
    def fail(*arguments: object) -> None:
        raise OSError("the database is gone")

    for options in ({"extra_headers": fail}, {"subprotocols": ["a"], "select_subprotocol": fail}):
        server = asked(offering("a"), **options)
        server.answer(None)
        (failure,) = server.events()
        assert isinstance(failure, Failure)
        assert isinstance(failure.error, OSError)
        assert parse_head(written(server)).status == 500


@pytest.mark.parametrize("where", ["process_request", "extra_headers", "select_subprotocol", "adapter"])
def test_functions_of_the_application_that_refuse(where: str) -> None:
    """The exceptions that mean a refusal mean the same everywhere."""
    for error in (
        AbortHandshake(403, {"X-Header": "value"}, b"not you"),
        NegotiationError("no subprotocol in common"),
    ):

        def refuse(*arguments: object, error: Exception = error) -> Any:
            raise error

        options: dict[str, Any] = {"subprotocols": ["a"]}
        if where in ("extra_headers", "select_subprotocol"):
            options[where] = refuse
        server = asked(offering("a"), **options)
        server.answer(
            error if where == "process_request" else None,
            select_subprotocol=refuse if where == "adapter" else lambda offered, available: offered[0],
        )
        if isinstance(error, AbortHandshake):
            head = parse_head(written(server))
            assert (head.status, head.headers["x-header"], head.body) == (403, "value", b"not you")
            assert server.events() == []
        else:
            head = refused(server, NegotiationError, 400)
            assert head.body == b"Failed to open a WebSocket connection: no subprotocol in common.\n"
        assert server.stream_action is StreamAction.SEND_EOF


def test_the_text_of_a_refusal_is_sent_whatever_is_in_it() -> None:
    """Even what no encoding has, such as half a surrogate pair."""
    server = asked()
    server.answer(NegotiationError("no \udc80 here"))
    head = refused(server, NegotiationError, 400)
    assert head.body == b"Failed to open a WebSocket connection: no \\udc80 here.\n"


def test_a_hook_chooses_how_to_select_a_subprotocol() -> None:
    server = asked(offering("a, b"), subprotocols=["a", "b", "c"])
    server.answer(None, select_subprotocol=last)
    assert server.subprotocol == "b"


def test_a_hook_that_returns_after_the_client_has_gone() -> None:
    for result in (None, Response(404), OSError()):
        server = asked()
        server.connection_lost()
        server.events()
        server.answer(result)
        assert server.events() == []
        assert written(server) == b""


def test_an_answer_that_is_prepared_and_given() -> None:
    """What asks the application changes nothing, so that anything else may happen meanwhile."""
    for result, status in ((None, 101), (Response(404), 404), (OSError(), 500)):
        server = asked()
        answer = server.prepare_answer(result)
        assert server.state is State.CONNECTING
        assert server.response is None
        assert (server.events(), server.data_to_send()) == ([], [])
        server.give_answer(answer)
        assert parse_head(written(server)).status == status
        assert server.response is answer.response
        assert [type(event) for event in server.events()] == [Failure] * (status == 500)
        server.give_answer(answer)
        assert written(server) == b""


@pytest.mark.parametrize("event", [ServerProtocol.connection_lost, ServerProtocol.shut_down])
def test_an_answer_that_comes_too_late(event: Callable[[ServerProtocol], None]) -> None:
    server = asked()
    answer = server.prepare_answer(None)
    event(server)
    server.events()
    written(server)
    before = server.state, server.response
    server.give_answer(answer)
    assert (server.state, server.response) == before
    assert written(server) == b""


def test_no_answer_without_a_request() -> None:
    with pytest.raises(InvalidState, match="there is no request yet"):
        server_of().prepare_answer(None)


def test_no_second_answer_of_an_open_connection() -> None:
    server = asked()
    server.accept()
    with pytest.raises(InvalidState, match="the request has been answered"):
        server.prepare_answer(None)


def test_an_answer_that_is_prepared_for_a_client_that_has_gone() -> None:
    server = asked()
    server.connection_lost()
    server.give_answer(server.prepare_answer(None))
    assert server.state is State.CLOSED


@pytest.mark.parametrize("received", [b"GET / HT", request()])
def test_shutting_down(received: bytes) -> None:
    server = server_of()
    server.receive_data(received)
    server.shut_down()
    head = parse_head(written(server))
    assert head.status == 503
    assert head.body == b"Failed to open a WebSocket connection: the server is shutting down.\n"
    assert server.stream_action is StreamAction.SEND_EOF
    server.shut_down()
    assert written(server) == b""


def test_shutting_down_before_the_client_has_sent_anything() -> None:
    """A browser keeps such connections in reserve: they would hold up the server for nothing."""
    server = server_of()
    server.shut_down()
    assert server.state is State.CLOSING
    assert server.stream_action is StreamAction.ABORT
    assert server.deadline() is None
    assert written(server) == b""
    assert isinstance(server.handshake_error, InvalidHandshake)
    assert "before the client sent a request" in str(server.handshake_error)
    server.shut_down()
    assert server.stream_action is StreamAction.ABORT
    server.connection_lost()
    assert server.state is State.CLOSED


@pytest.mark.parametrize(
    ("received", "close_timeout", "seconds"),
    [(b"GET / HT", 10, 1), (b"GET / HT", 0.3, 0.3), (b"GET / HT", None, 1), (request(), 10, 10)],
)
def test_time_to_leave_a_server_that_shuts_down(
    received: bytes, close_timeout: float | None, seconds: float
) -> None:
    clock = Clock()
    server = ServerProtocol(clock=clock, close_timeout=close_timeout)
    server.receive_data(received)
    server.shut_down()
    assert server.deadline() == clock.now + seconds
    assert written(server)
    server.eof_sent()
    clock.advance(0.1)
    server.shut_down()
    # By then the response has been written: nobody has to wait long.
    left = min(seconds - 0.1, 1)
    assert server.deadline() == pytest.approx(clock.now + left)
    clock.advance(left)
    server.handle_timeout()
    assert server.stream_action is StreamAction.ABORT


def test_shutting_down_while_a_response_is_written() -> None:
    clock = Clock()
    server = ServerProtocol(clock=clock, close_timeout=10)
    server.receive_data(request())
    server.reject(make_response(200, body=b"x" * 1000))
    server.shut_down()
    assert server.deadline() == clock.now + 10
    server.data_to_send()
    server.shut_down()
    assert server.deadline() == clock.now + 10
    server.data_sent()
    server.shut_down()
    assert server.deadline() == clock.now + 1
    server.receive_eof()
    server.shut_down()
    assert server.stream_action is StreamAction.CLOSE
    server.connection_lost()
    server.shut_down()
    assert server.deadline() is None


def test_shutting_down_what_is_open() -> None:
    server = opened_server()
    server.shut_down()
    assert server.state is State.OPEN


@pytest.mark.parametrize("received", [b"", b"GET / HT", request()])
def test_too_many_connections(received: bytes) -> None:
    server = server_of()
    server.receive_data(received)
    server.refuse_connection(30)
    head = parse_head(written(server))
    assert head.status == 503
    assert head.headers["retry-after"] == "30"
    assert head.body == b"Failed to open a WebSocket connection: there are too many connections.\n"
    assert server.stream_action is StreamAction.SEND_EOF
    assert str(server.handshake_error) == "the request was answered with HTTP status 503"
    server.refuse_connection()
    assert written(server) == b""


def test_when_a_refused_client_may_come_again() -> None:
    server = asked()
    server.refuse_connection()
    assert parse_head(written(server)).headers["retry-after"] == "10"


def test_one_connection_is_never_too_many_once_it_is_open() -> None:
    server = opened_server()
    server.refuse_connection()
    assert server.state is State.OPEN


# Data before the answer


@any_chunking
def test_frames_behind_the_request(chunking: Chunking) -> None:
    server = server_of()
    data = request() + frame(TEXT, b"first", masked=True) + frame(PING, b"1", masked=True)
    assert feed(server, data, chunking) == [server.request]
    assert feed(server, frame(TEXT, b"second", masked=True), chunking) == []
    server.accept()
    assert server.events() == ["first", Ping(b"1"), "second"]
    data = written(server)
    head, _, rest = data.partition(b"\r\n\r\n")
    # The pong, which overtakes frames, does not overtake the handshake.
    assert head.startswith(b"HTTP/1.1 101 ")
    assert rest == frame(PONG, b"1")


def test_a_part_of_a_frame_behind_the_request() -> None:
    server = server_of()
    data = frame(TEXT, b"first", masked=True)
    server.receive_data(request() + data[:5])
    server.accept()
    server.receive_data(data[5:])
    assert server.next_message() == "first"


def test_a_wrong_frame_behind_the_request() -> None:
    server = asked(request() + frame(TEXT, b"good", masked=True) + b"\xff\xff")
    assert server.accept().status == 101
    assert server.events() == ["good"]
    (failure,) = server.events()
    assert isinstance(failure, Failure)
    assert server.handshake_error is None
    assert server.stream_action is StreamAction.SEND_EOF
    check_answered_before_the_close_frame(server)


def check_answered_before_the_close_frame(server: ServerProtocol) -> None:
    """A failure drops what has not been handed out, but without the 101 the close frame is nothing."""
    data = written(server)
    assert server.statistics.bytes_sent == len(data)
    head, _, frames = data.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 ")
    (close,) = parse_frames(frames, masked=False)
    assert close.opcode == CLOSE


def test_a_client_that_goes_before_the_answer_is_written() -> None:
    server = asked()
    server.accept()
    server.send("dropped")
    server.receive_eof()
    check_answered_before_the_close_frame(server)
    assert server.stream_action is StreamAction.CLOSE


@pytest.mark.parametrize("kept", [999, 1000])
def test_reading_stops_while_the_request_is_unanswered(kept: int) -> None:
    server = asked(read_limit=1000)
    server.receive_data(b"x" * (kept - 500))
    assert server.wants_read
    server.receive_data(b"x" * 500)
    assert server.wants_read is (kept < 1000)


def test_reading_stops_at_what_follows_the_request() -> None:
    assert not asked(request() + b"x" * 1000, read_limit=1000).wants_read


@pytest.mark.parametrize("many", [frame(PING, b"x" * 90, masked=True) * 11, b"\xff" * 1000])
def test_reading_goes_on_after_the_answer(many: bytes) -> None:
    """What stopped it has been parsed; if that leaves no message, there is nothing to wait for."""
    server = asked(request() + many, read_limit=1000)
    assert not server.wants_read
    server.accept()
    assert server.wants_read
    server = asked(request() + many, read_limit=1000)
    server.reject(make_response(404))
    assert server.wants_read


def test_reading_does_not_go_on_when_the_messages_are_too_many() -> None:
    server = asked(request() + frame(TEXT, b"x" * 500, masked=True) * 2, read_limit=1000)
    server.accept()
    assert not server.wants_read
    assert server.next_message() == "x" * 500
    assert not server.wants_read
    assert server.next_message() == "x" * 500
    assert server.wants_read


# Too early, too late


def test_the_end_of_the_stream_before_the_answer() -> None:
    for received in (b"", b"GET / HT", request()):
        server = server_of()
        server.receive_data(received)
        server.events()
        server.receive_eof()
        (failure,) = server.events()
        assert isinstance(failure, Failure)
        assert type(failure.error) is InvalidMessage
        message = "the client ended the stream before the opening handshake was done"
        assert str(failure.error) == message
        assert server.handshake_error is failure.error
        assert server.stream_action is StreamAction.CLOSE
        assert written(server) == b""
        with pytest.raises(InvalidState, match=r"has gone|no request"):
            server.accept()
        with pytest.raises(InvalidState, match="has gone"):
            server.reject(make_response(404))


@pytest.mark.parametrize("error", [None, ConnectionResetError("reset by peer")])
def test_a_reset_before_the_answer(error: Exception | None) -> None:
    server = asked()
    server.connection_lost(error)
    (failure,) = server.events()
    assert isinstance(failure, Failure)
    assert type(failure.error) is InvalidMessage
    assert failure.error.__cause__ is error
    assert str(failure.error) == "the stream was closed before the opening handshake was done"
    assert server.state is State.CLOSED
    assert server.deadline() is None


def test_a_reset_after_a_refusal() -> None:
    server = asked()
    server.reject(make_response(404))
    server.connection_lost(ConnectionResetError())
    assert server.state is State.CLOSED
    assert server.events() == []
    assert type(server.handshake_error) is InvalidHandshake


@pytest.mark.parametrize("received", [b"", b"GET / HT", request()])
def test_the_opening_deadline(received: bytes) -> None:
    """It runs until the answer, so that it also limits how long the application may think."""
    clock = Clock()
    server = ServerProtocol(clock=clock, open_timeout=3)
    server.receive_data(received)
    server.events()
    assert server.deadline() == 1003
    clock.now = 1003
    server.handle_timeout()
    (failure,) = server.events()
    assert isinstance(failure, Failure)
    assert isinstance(failure.error, HandshakeTimeout)
    assert str(failure.error) == "the opening handshake was not done within 3 seconds"
    assert server.stream_action is StreamAction.ABORT
    assert server.deadline() is None


def test_the_opening_deadline_seen_late() -> None:
    clock = Clock()
    server = ServerProtocol(clock=clock, open_timeout=10)
    clock.advance(16)
    server.handle_timeout()
    assert server.events() == [TimerOverdue(Timer.OPENING, 6)]
    assert server.deadline() == clock.now + 10
    server.receive_data(request())
    assert server.accept().status == 101


def test_no_opening_deadline() -> None:
    assert server_of(open_timeout=None).deadline() is None


def test_the_opening_deadline_ends_with_the_handshake() -> None:
    clock = Clock()
    server = opened_server(clock, open_timeout=3, ping_interval=None)
    assert server.deadline() is None
    clock.advance(100)
    server.handle_timeout()
    assert server.state is State.OPEN


def test_a_refused_client_that_does_not_go() -> None:
    clock = Clock()
    server = ServerProtocol(clock=clock, close_timeout=5)
    server.receive_data(b"\0")
    written(server)
    assert server.deadline() == clock.now + 5
    server.eof_sent()
    assert server.deadline() == clock.now + 5
    clock.advance(5)
    server.handle_timeout()
    assert server.stream_action is StreamAction.ABORT
    server.connection_lost()
    assert server.state is State.CLOSED


def test_conflicting_extensions_of_the_server() -> None:
    """A mistake of the server's own, which its client sees as such."""

    class Other(Xor):
        name = "x-other"  # type: ignore[assignment]

    factories = [ServerFactory(Xor), ServerFactory(Other)]
    server = asked(request(Sec_WebSocket_Extensions="x-xor, x-other"), extensions=factories)
    assert server.accept().status == 500
    head = refused(server, NegotiationError, 500)
    assert b"both use reserved bit 0x20" in head.body
