"""The opening handshake of a client (RFC 6455 section 4.1)."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from wsproto_core import (
    ClientProtocol,
    Failure,
    HandshakeTimeout,
    Headers,
    InvalidHandshake,
    InvalidState,
    InvalidStatusCode,
    InvalidURI,
    Response,
    Side,
    State,
    StreamAction,
    TimerOverdue,
    WebSocketURI,
)
from wsproto_core.exceptions import (
    InvalidHeader,
    InvalidHeaderFormat,
    InvalidHeaderValue,
    InvalidMessage,
    InvalidUpgrade,
    NegotiationError,
    SecurityError,
)
from wsproto_core.options import USER_AGENT
from wsproto_core.timers import Timer

from .helpers import (
    KEY,
    TEXT,
    URI,
    Chunking,
    Clock,
    Frame,
    answer,
    any_chunking,
    feed,
    frame,
    opened_client,
    parse_head,
    reach_deadline,
    response,
    sent,
    written,
)


def client_of(uri: str = URI, **options: Any) -> ClientProtocol:
    return ClientProtocol(uri, clock=Clock(), **options)


def request_of(uri: str = URI, **options: Any) -> dict[str, str]:
    """The headers of a client's request."""
    return parse_head(written(client_of(uri, **options))).headers


def refusal(client: ClientProtocol, data: bytes, chunking: Chunking | None = None) -> InvalidHandshake:
    """Let a client refuse a response; return why."""
    (failure,) = feed(client, data) if chunking is None else feed(client, data, chunking)
    assert isinstance(failure, Failure)
    assert failure.remote
    assert failure.close is None
    assert failure.error is client.handshake_error
    assert isinstance(failure.error, InvalidHandshake)
    assert client.state is State.CLOSING
    assert client.stream_action is StreamAction.CLOSE
    assert client.close_code == 1006
    assert client.close_exception().__cause__ is failure.error
    return failure.error


# The request


def test_the_request() -> None:
    client = client_of(
        "ws://server.example.com/chat?room=1", random=lambda count: b"the sample nonce"[:count]
    )
    assert client.state is State.CONNECTING
    assert client.side is Side.CLIENT
    assert client.stream_action is StreamAction.KEEP
    assert client.wants_read
    data = written(client)
    head = parse_head(data)
    assert head.start == "GET /chat?room=1 HTTP/1.1"
    assert head.headers == {
        "host": "server.example.com",
        "upgrade": "websocket",
        "connection": "Upgrade",
        "sec-websocket-key": KEY,
        "sec-websocket-version": "13",
        "user-agent": USER_AGENT,
        "sec-websocket-extensions": "permessage-deflate; client_max_window_bits",
    }
    assert head.body == b""
    assert client.request.serialize() == data
    assert client.request.path == "/chat?room=1"
    assert written(client) == b""
    assert client.events() == []


def test_the_key_is_sixteen_random_bytes() -> None:
    keys = {request_of()["sec-websocket-key"] for _ in range(10)}
    assert len(keys) == 10
    assert {len(base64.b64decode(key, validate=True)) for key in keys} == {16}


@pytest.mark.parametrize(
    ("uri", "host", "target"),
    [
        ("ws://example.com", "example.com", "/"),
        ("ws://example.com:80/", "example.com", "/"),
        ("wss://example.com:443/", "example.com", "/"),
        ("ws://example.com:443/", "example.com:443", "/"),
        ("wss://example.com:80/", "example.com:80", "/"),
        ("ws://[::1]:8080/a", "[::1]:8080", "/a"),
        ("ws://example.com?query", "example.com", "/?query"),
    ],
)
def test_host_and_target(uri: str, host: str, target: str) -> None:
    head = parse_head(written(client_of(uri)))
    assert head.headers["host"] == host
    assert head.start == f"GET {target} HTTP/1.1"


def test_a_parsed_uri_is_taken_as_it_is() -> None:
    uri = WebSocketURI(True, "example.com", 8443, "/chat")
    client = ClientProtocol(uri, clock=Clock())
    assert client.uri is uri
    assert client.request.headers["Host"] == "example.com:8443"


@pytest.mark.parametrize("uri", ["http://example.com/", "ws://", "ws://example.com/#fragment", ""])
def test_what_is_no_websocket_uri(uri: str) -> None:
    with pytest.raises(InvalidURI):
        client_of(uri)


def test_user_information_becomes_basic_authentication() -> None:
    headers = request_of("ws://Aladdin:open%20sesame@example.com/")
    assert headers["authorization"] == "Basic " + base64.b64encode(b"Aladdin:open sesame").decode()
    assert headers["host"] == "example.com"
    assert "authorization" not in request_of()


def test_origin() -> None:
    assert request_of(origin="https://example.com")["origin"] == "https://example.com"
    assert "origin" not in request_of()


def test_user_agent() -> None:
    assert request_of(user_agent_header="browser/1.0")["user-agent"] == "browser/1.0"
    assert "user-agent" not in request_of(user_agent_header=None)


@pytest.mark.parametrize(
    "extra",
    [
        {"X-First": "1", "X-Second": "2"},
        [("X-First", "1"), ("X-Second", "2")],
        Headers([("X-First", "1"), ("X-Second", "2")]),
        {"X-First": "1", "X-Second": "2"}.items(),
    ],
)
def test_extra_headers(extra: Any) -> None:
    headers = request_of(extra_headers=extra)
    assert (headers["x-first"], headers["x-second"]) == ("1", "2")
    assert headers["host"] == "server.example.com"


def test_extra_headers_with_the_same_name() -> None:
    client = client_of(extra_headers=[("Cookie", "a=1"), ("Cookie", "b=2")])
    assert client.request.headers.get_all("Cookie") == ["a=1", "b=2"]


def test_extra_headers_override_those_that_are_not_the_handshakes_own() -> None:
    extra = {"host": "other.example.com", "USER-AGENT": "mine", "Origin": "null", "Authorization": "Bearer x"}
    headers = request_of("ws://a:b@example.com/", extra_headers=extra, origin="https://example.com")
    assert headers["host"] == "other.example.com"
    assert headers["user-agent"] == "mine"
    assert headers["origin"] == "null"
    assert headers["authorization"] == "Bearer x"


@pytest.mark.parametrize(
    "name", ["Upgrade", "connection", "Sec-WebSocket-Key", "SEC-WEBSOCKET-VERSION", "Sec-WebSocket-Protocol"]
)
def test_extra_headers_that_are_the_handshakes_own(name: str) -> None:
    with pytest.raises(ValueError, match=f"extra_headers must not have '{name.lower()}'"):
        client_of(extra_headers={name: "value"})


def test_subprotocols_are_offered_in_order() -> None:
    assert request_of(subprotocols=["b", "a"])["sec-websocket-protocol"] == "b, a"
    assert "sec-websocket-protocol" not in request_of(subprotocols=[])
    assert "sec-websocket-extensions" not in request_of(extensions=[], compression=None)


# The response


@any_chunking
def test_the_response(chunking: Chunking) -> None:
    client = client_of()
    data = answer(client, X_Header="value")
    assert client.response is None
    (event,) = feed(client, data, chunking)
    assert isinstance(event, Response)
    assert event is client.response
    assert (event.status, event.reason) == (101, "Switching Protocols")
    assert event.headers["X-Header"] == "value"
    assert client.state is State.OPEN
    assert client.handshake_error is None
    assert client.subprotocol is None
    assert client.extensions == ()
    client.send("x")
    assert sent(client) == [Frame(TEXT, b"x")]


@any_chunking
@pytest.mark.parametrize(
    "changes",
    [
        {"Upgrade": "WebSocket"},
        {"Connection": "keep-alive, upgrade"},
        {"Connection": ["keep-alive", "UPGRADE"]},
        {"start": "HTTP/1.1 101 "},
        {"start": "HTTP/1.1 101 WebSocket Protocol Handshake"},
        {"Content_Length": "0"},
        # "regardless of the header fields present" (RFC 9112 section 6.3)
        {"Transfer_Encoding": "chunked"},
        # none, in the way of some servers
        {"Sec_WebSocket_Protocol": ""},
        {"Sec_WebSocket_Extensions": ""},
        {"Sec_WebSocket_Extensions": ["", ""], "Sec_WebSocket_Protocol": ["", ""]},
    ],
)
def test_responses_that_are_accepted(changes: dict[str, Any], chunking: Chunking) -> None:
    client = client_of()
    events = feed(client, answer(client, **changes) + frame(TEXT, b"first"), chunking)
    assert client.state is State.OPEN
    assert (client.subprotocol, client.extensions) == (None, ())
    assert events[1:] == ["first"]


@any_chunking
@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"Upgrade": None}, InvalidUpgrade, "missing Upgrade header"),
        ({"Upgrade": "h2c, websocket"}, InvalidUpgrade, "invalid Upgrade header: 'h2c, websocket'"),
        ({"Upgrade": "/"}, InvalidHeaderFormat, "invalid Upgrade header"),
        ({"Connection": None}, InvalidUpgrade, "missing Connection header"),
        ({"Connection": "keep-alive"}, InvalidUpgrade, "invalid Connection header: 'keep-alive'"),
        ({"Sec_WebSocket_Accept": None}, InvalidHeader, "missing Sec-WebSocket-Accept header"),
        ({"Sec_WebSocket_Accept": "x"}, InvalidHeaderValue, "invalid Sec-WebSocket-Accept header: 'x'"),
        ({"Sec_WebSocket_Accept": ["x", "x"]}, InvalidHeader, "invalid Sec-WebSocket-Accept header: 'x, x'"),
        ({"start": "HTTP/1.0 101 Switching Protocols"}, InvalidMessage, "expected HTTP/1.1"),
        ({"start": "HTTP/2.0 101 Switching Protocols"}, InvalidMessage, "HTTP"),
        ({"start": "SSH-2.0-OpenSSH"}, InvalidMessage, "malformed HTTP response"),
        ({"X_Header": "a\x00b"}, InvalidMessage, "control character"),
        ({"X_Header": "x" * 10_000}, SecurityError, "line over 8192 bytes"),
    ],
)
def test_responses_that_are_refused(
    changes: dict[str, Any], error: type[InvalidHandshake], message: str, chunking: Chunking
) -> None:
    client = client_of()
    data = answer(client, **changes) + frame(TEXT, b"not delivered")
    reason = refusal(client, data, chunking)
    assert type(reason) is error
    assert message in str(reason)
    assert written(client) == b""


@any_chunking
def test_frames_behind_the_response(chunking: Chunking) -> None:
    client = client_of()
    data = answer(client) + frame(TEXT, b"first") + frame(TEXT, b"second")
    opening, *messages = feed(client, data, chunking)
    assert opening is client.response
    assert messages == ["first", "second"]


def test_a_part_of_a_frame_behind_the_response() -> None:
    client = client_of()
    data = answer(client) + frame(TEXT, b"first")
    feed(client, data[:-3])
    assert client.state is State.OPEN
    assert feed(client, data[-3:]) == ["first"]


def test_a_wrong_frame_behind_the_response() -> None:
    client = client_of()
    opening, message, failure = feed(client, answer(client) + frame(TEXT, b"good") + b"\xff\xff")
    assert opening is client.response
    assert message == "good"
    assert isinstance(failure, Failure)
    assert failure.close is not None
    assert failure.close.code == 1002
    assert client.handshake_error is None


@any_chunking
def test_informational_responses_are_skipped(chunking: Chunking) -> None:
    client = client_of()
    early_hints = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </>\r\n\r\n"
    (event,) = feed(client, early_hints + answer(client), chunking)
    assert isinstance(event, Response)
    assert event.status == 101
    assert client.state is State.OPEN


REFUSAL = {"Upgrade": None, "Connection": "close", "Sec_WebSocket_Accept": None}


@any_chunking
@pytest.mark.parametrize("status", [200, 301, 401, 403, 404, 426, 500, 503])
def test_another_status(status: int, chunking: Chunking) -> None:
    client = client_of()
    head = response(KEY, f"HTTP/1.1 {status} No", **REFUSAL, Content_Length="6", X_Header="value")
    written(client)
    error = refusal(client, head + b"sorry\n", chunking)
    assert isinstance(error, InvalidStatusCode)
    assert error.status_code == status
    assert error.response is client.response
    assert error.response is not None
    assert error.response.body == b"sorry\n"
    assert error.response.headers["X-Header"] == "value"


def test_a_refusal_is_complete_with_its_body() -> None:
    client = client_of()
    assert feed(client, response(KEY, "HTTP/1.1 403 No", **REFUSAL, Content_Length="6") + b"sorry") == []
    assert client.state is State.CONNECTING
    assert client.response is None
    assert isinstance(refusal(client, b"\n"), InvalidStatusCode)


def test_the_end_of_the_stream_completes_a_refusal() -> None:
    client = client_of()
    assert feed(client, response(KEY, "HTTP/1.1 403 No", **REFUSAL) + b"sorry") == []
    client.receive_eof()
    assert isinstance(client.handshake_error, InvalidStatusCode)
    assert client.response is not None
    assert client.response.body == b"sorry"
    assert client.stream_action is StreamAction.CLOSE


@any_chunking
def test_a_chunked_refusal(chunking: Chunking) -> None:
    client = client_of()
    head = response(KEY, "HTTP/1.1 403 No", **REFUSAL, Transfer_Encoding="chunked")
    refusal(client, head + b"3\r\nsor\r\n3\r\nry\n\r\n0\r\n\r\n", chunking)
    assert client.response is not None
    assert client.response.body == b"sorry\n"


@pytest.mark.parametrize("changes", [{"Connection": "x, ,,"}, {"Upgrade": ""}])
def test_status_is_judged_before_headers(changes: dict[str, str]) -> None:
    client = client_of()
    head = response(KEY, "HTTP/1.1 403 No", **{**REFUSAL, **changes}, Content_Length="0")
    assert isinstance(refusal(client, head), InvalidStatusCode)


@pytest.mark.parametrize("subprotocol", ["b", "a"])
def test_a_subprotocol_is_selected(subprotocol: str) -> None:
    response_headers = {"Sec_WebSocket_Protocol": subprotocol}
    client = opened_client(response_headers=response_headers, subprotocols=["a", "b"])
    assert client.subprotocol == subprotocol


def test_no_subprotocol_is_selected() -> None:
    assert opened_client(subprotocols=["a", "b"]).subprotocol is None


@pytest.mark.parametrize("value", ["c", "A", "a, b", ["a", "b"]])
def test_a_subprotocol_that_was_not_offered(value: Any) -> None:
    client = client_of(subprotocols=["a", "b"])
    assert isinstance(refusal(client, answer(client, Sec_WebSocket_Protocol=value)), NegotiationError)


# Too early, too late


def test_commands_before_the_response() -> None:
    client = client_of()
    for command in (
        lambda: client.send("x"),
        client.ping,
        client.pong,
        client.close,
        lambda: client.fail(OSError()),
    ):
        with pytest.raises(InvalidState, match="the opening handshake is not done"):
            command()
    with pytest.raises(InvalidState, match="the connection is connecting, not closed"):
        client.close_exception()
    assert client.next_message() is None
    assert client.close_code is None
    assert client.close_reason is None
    assert client.state is State.CONNECTING


def test_commands_after_a_refusal() -> None:
    client = client_of()
    error = refusal(client, answer(client, Upgrade=None))
    with pytest.raises(Exception, match="no close frame was received or sent") as raised:
        client.send("x")
    assert raised.value.__cause__ is error
    client.close()
    client.fail(OSError())
    assert written(client) == b""
    assert client.events() == []


def test_the_end_of_the_stream_before_the_response() -> None:
    for received in (b"", b"HTTP/1.1 101"):
        client = client_of()
        written(client)
        client.receive_data(received)
        client.receive_eof()
        (failure,) = client.events()
        assert isinstance(failure, Failure)
        assert isinstance(failure.error, InvalidMessage)
        sent_so_far = f"; it sent {received!r}" if received else ""
        assert str(failure.error) == (
            f"the server ended the stream before it answered the opening handshake{sent_so_far}"
        )
        assert isinstance(failure.error.__cause__, EOFError)
        assert client.stream_action is StreamAction.CLOSE


@pytest.mark.parametrize("error", [None, ConnectionResetError("reset by peer")])
def test_a_reset_before_the_response(error: Exception | None) -> None:
    client = client_of()
    client.connection_lost(error)
    (failure,) = client.events()
    assert isinstance(failure, Failure)
    assert isinstance(failure.error, InvalidMessage)
    assert str(failure.error) == "the stream was closed before the server answered the opening handshake"
    if error is None:
        assert isinstance(failure.error.__cause__, EOFError)
    else:
        assert failure.error.__cause__ is error
    assert client.handshake_error is failure.error
    assert client.state is State.CLOSED
    assert client.deadline() is None


def test_the_end_of_the_stream_after_a_refusal() -> None:
    client = client_of()
    refusal(client, answer(client, Upgrade=None))
    client.receive_eof()
    assert client.stream_action is StreamAction.CLOSE
    client.connection_lost()
    assert client.state is State.CLOSED
    assert client.events() == []


def test_the_opening_deadline() -> None:
    clock = Clock()
    client = ClientProtocol(URI, clock=clock, open_timeout=3)
    assert client.deadline() == 1003
    clock.now = 1002.9
    client.handle_timeout()
    assert client.state is State.CONNECTING
    clock.now = 1003
    client.handle_timeout()
    (failure,) = client.events()
    assert isinstance(failure, Failure)
    assert isinstance(failure.error, HandshakeTimeout)
    assert str(failure.error) == "the server did not answer within 3 seconds"
    assert client.handshake_error is failure.error
    assert client.stream_action is StreamAction.ABORT
    assert client.deadline() is None
    client.connection_lost()
    assert client.state is State.CLOSED


def test_the_opening_deadline_within_a_refusals_body() -> None:
    """The status is known; what is missing of the body is not worth a complaint."""
    clock = Clock()
    client = ClientProtocol(URI, clock=clock, open_timeout=3)
    clock.advance(2.5)
    client.receive_data(response(KEY, "HTTP/1.1 403 No", **REFUSAL, Content_Length="6") + b"sorry")
    clock.advance(0.5)
    client.handle_timeout()
    check_refusal(client, 403, b"sorry")


def check_refusal(client: ClientProtocol, status: int, body: bytes) -> None:
    error = client.handshake_error
    assert isinstance(error, InvalidStatusCode)
    assert error.status_code == status
    assert error.response is client.response
    assert error.response is not None
    assert error.response.body == body
    assert client.stream_action in (StreamAction.CLOSE, StreamAction.ABORT)


@any_chunking
@pytest.mark.parametrize("open_timeout", [10, 1.5, None])
@pytest.mark.parametrize(
    ("framing", "body"),
    [
        ({"Content_Length": "1000"}, b"sorry"),
        ({"Transfer_Encoding": "chunked"}, b"5\r\nsorry\r\n"),
        ({}, b"sorry"),
    ],
)
def test_the_body_of_a_refusal_is_waited_for_a_second(
    framing: dict[str, Any], body: bytes, open_timeout: float | None, chunking: Chunking
) -> None:
    clock = Clock()
    client = ClientProtocol(URI, clock=clock, open_timeout=open_timeout)
    data = response(KEY, "HTTP/1.1 401 No", **REFUSAL, **framing)
    start = clock.now
    feed(client, data, chunking)
    for chunk in chunking(body):
        clock.advance(0.01)
        client.receive_data(chunk)
    # What comes meanwhile does not make it longer.
    assert client.deadline() == start + 1
    clock.now = start + 0.999
    client.handle_timeout()
    assert client.handshake_error is None
    clock.now = start + 1
    client.handle_timeout()
    check_refusal(client, 401, b"sorry")


@pytest.mark.parametrize("error", [None, ConnectionResetError("reset by peer")])
def test_a_reset_within_a_refusals_body(error: Exception | None) -> None:
    client = client_of()
    client.receive_data(response(KEY, "HTTP/1.1 401 No", **REFUSAL, Content_Length="6") + b"sorry")
    client.connection_lost(error)
    check_refusal(client, 401, b"sorry")


@pytest.mark.parametrize("received", [b"", b"H", b"HTTP/1.1 101"])
def test_the_opening_deadline_tells_what_came(received: bytes) -> None:
    clock = Clock()
    client = ClientProtocol(URI, clock=clock, open_timeout=3)
    client.receive_data(received)
    reach_deadline(client, clock)
    assert isinstance(client.handshake_error, HandshakeTimeout)
    sent_so_far = f"; it sent {received!r}" if received else ""
    assert str(client.handshake_error) == f"the server did not answer within 3 seconds{sent_so_far}"


@any_chunking
@pytest.mark.parametrize(
    ("greeting", "shown"),
    [
        (b"SSH-2.0-x\r\n", "SSH-2.0-x"),
        (b"SSH-2.0-OpenSSH_9.6p1 Debian-5\r\n", "SSH-2.0-OpenSSH_"),
        (b"* OK IMAP4rev1 ready\r\n", "* OK IMAP4rev1 r"),
        (b"RFB 003.008\n", "RFB 003.008"),
        (b"sixteen bytes or more without a line", "sixteen bytes or"),
        (b"HTTP/1.1 OK\r\n", "HTTP/1.1 OK"),
        (b"HTTP/1.1 200OK and so on\r\n", "HTTP/1.1 200OK and so on"),
    ],
)
def test_a_server_that_speaks_another_protocol_fails_at_once(
    greeting: bytes, shown: str, chunking: Chunking
) -> None:
    """It waits for an answer: there will be no blank line."""
    client = client_of()
    (failure,) = feed(client, greeting, chunking)
    assert isinstance(failure, Failure)
    assert isinstance(failure.error, InvalidMessage)
    assert f"expected a line like 'HTTP/1.1 200 OK', got b'{shown}'" in str(failure.error)
    assert client.stream_action is StreamAction.CLOSE


def test_a_status_line_is_judged_before_the_headers() -> None:
    client = client_of()
    client.receive_data(b"HTTP/2.0 200 OK\r\n")
    assert str(client.handshake_error) == "expected HTTP/1.1, got HTTP/2.0 200"


@any_chunking
def test_responses_without_end_that_answer_nothing(chunking: Chunking) -> None:
    informational = b"HTTP/1.1 100 Continue\r\n\r\n"
    client = client_of()
    feed(client, informational * 64 + answer(client), chunking)
    assert client.state is State.OPEN
    client = client_of()
    (failure,) = feed(client, informational * 64 + b"HTTP/1.1 102 Processing\r\n\r\n", chunking)
    assert isinstance(failure, Failure)
    assert isinstance(failure.error, SecurityError)
    assert str(failure.error) == (
        "more than 64 HTTP responses with a status from 100 to 199 came before one that answers the request"
    )


def test_the_opening_deadline_seen_late() -> None:
    """Who looks after the deadline by more than half of it may not have read what was there."""
    clock = Clock()
    client = ClientProtocol(URI, clock=clock, open_timeout=10)
    clock.advance(15.5)
    client.handle_timeout()
    assert client.events() == [TimerOverdue(Timer.OPENING, 5.5)]
    assert client.deadline() == clock.now + 10
    client.receive_data(answer(client))
    assert client.state is State.OPEN


def test_the_opening_deadline_seen_late_twice() -> None:
    clock = Clock()
    client = ClientProtocol(URI, clock=clock, open_timeout=10)
    clock.advance(100)
    client.handle_timeout()
    clock.advance(100)
    client.handle_timeout()
    assert isinstance(client.handshake_error, HandshakeTimeout)


def test_no_opening_deadline() -> None:
    assert ClientProtocol(URI, clock=Clock(), open_timeout=None).deadline() is None


def test_the_opening_deadline_ends_with_the_handshake() -> None:
    clock = Clock()
    client = opened_client(clock, open_timeout=3, ping_interval=None)
    assert client.deadline() is None
    clock.advance(100)
    client.handle_timeout()
    assert client.state is State.OPEN


def test_bytes_like_data() -> None:
    client = client_of()
    data = answer(client) + frame(TEXT, b"x")
    client.receive_data(bytearray(data[:50]))
    client.receive_data(memoryview(data)[50:])
    assert client.events() == [client.response, "x"]


def test_credentials_in_the_uri_are_not_shown() -> None:
    client = ClientProtocol("ws://user:s3cr3t@localhost/", clock=Clock())
    assert client.request.headers["Authorization"] == "Basic dXNlcjpzM2NyM3Q="
    for shown in (client, client.uri, client.request, client.request.headers):
        assert "s3cr3t" not in repr(shown)
        assert "dXNlcjpzM2NyM3Q" not in repr(shown)


# A request that is sent later


def test_a_request_that_is_sent_later() -> None:
    client = ClientProtocol(None, clock=Clock(), origin="http://a")
    assert written(client) == b""
    client.ask("ws://localhost/path", origin="http://b", compression=None)
    head = parse_head(written(client))
    assert head.start == "GET /path HTTP/1.1"
    assert head.headers["origin"] == "http://b"
    assert "sec-websocket-extensions" not in head.headers
    client.receive_data(response(head.headers["sec-websocket-key"]))
    assert client.state is State.OPEN


def test_a_request_is_sent_once() -> None:
    client = ClientProtocol("ws://localhost/", clock=Clock())
    with pytest.raises(InvalidState, match="has been sent"):
        client.ask("ws://localhost/")
    client = ClientProtocol(None, clock=Clock())
    client.receive_eof()
    with pytest.raises(InvalidState, match="it has failed"):
        client.ask("ws://localhost/")


def test_bytes_before_the_request() -> None:
    client = ClientProtocol(None, clock=Clock())
    client.receive_data(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    assert client.state is State.CLOSING
    assert isinstance(client.handshake_error, InvalidMessage)
    assert str(client.handshake_error) == "expected nothing from the server before it was asked"
