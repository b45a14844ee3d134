"""The function that may alter a server's response before it is sent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from wsproto_core import Failure, Headers, Response, ServerProtocol, State

from .helpers import ACCEPT, Chunking, Clock, Head, any_chunking, feed, parse_head, request, written

INTERNAL_ERROR = b"Failed to open a WebSocket connection: internal server error.\n"


def asked(process_response: Callable[..., Any], data: bytes | None = None, **options: Any) -> ServerProtocol:
    server = ServerProtocol(clock=Clock(), process_response=process_response, **options)
    server.receive_data(request() if data is None else data)
    return server


def failed(server: ServerProtocol, error: type[Exception], message: str) -> None:
    """Check that the function has failed once, and that the client got status 500."""
    *_, failure = server.events()
    assert isinstance(failure, Failure)
    assert type(failure.error) is error
    assert message in str(failure.error)
    assert not failure.remote
    assert server.state is State.CLOSING
    assert server.response is not None
    assert server.response.status == 500
    assert server.handshake_error is not None
    head = parse_head(written(server))
    assert head.status == 500
    assert head.body == INTERNAL_ERROR


def check_accepted(head: Head) -> None:
    assert head.start == "HTTP/1.1 101 Switching Protocols"
    assert head.headers["sec-websocket-accept"] == ACCEPT
    assert head.headers["upgrade"] == "websocket"
    assert head.headers["connection"] == "Upgrade"


# What it can do


def test_headers_altered_in_place() -> None:
    def alter(path: str, request_headers: Headers, response: Response) -> None:
        response.headers["X-Path"] = path
        response.headers["X-Host"] = request_headers["Host"]
        del response.headers["Server"]

    server = asked(alter)
    assert server.accept() is server.response
    head = parse_head(written(server))
    check_accepted(head)
    assert head.headers["x-path"] == "/chat"
    assert head.headers["x-host"] == "server.example.com"
    assert "server" not in head.headers
    assert server.state is State.OPEN


def test_another_response() -> None:
    def alter(path: str, request_headers: Headers, response: Response) -> Response:
        assert response.status == 101
        headers = response.headers.copy()
        headers["Set-Cookie"] = "a=b"
        return Response(101, headers, reason="Welcome")

    server = asked(alter)
    server.accept()
    head = parse_head(written(server))
    assert head.start == "HTTP/1.1 101 Welcome"
    assert head.headers["set-cookie"] == "a=b"
    assert server.response is not None
    assert server.response.headers["Set-Cookie"] == "a=b"
    assert server.state is State.OPEN


def test_a_refusal() -> None:
    def alter(path: str, request_headers: Headers, response: Response) -> Response:
        assert (response.status, response.body) == (404, b"not here")
        del response.headers["Server"]
        return Response(410, response.headers, b"not here any more", "Not Here")

    server = asked(alter)
    response = server.reject(Response(404, body=b"not here"))
    assert response is server.response
    assert response.status == 410
    assert str(server.handshake_error) == "the request was answered with HTTP status 410"
    head = parse_head(written(server))
    assert head.start == "HTTP/1.1 410 Not Here"
    assert head.body == b"not here any more"
    assert head.headers["content-length"] == "17"
    assert head.headers["connection"] == "close"
    assert "server" not in head.headers


def test_a_body_that_is_not_sent() -> None:
    server = asked(lambda path, headers, response: Response(200, body=b"altered"), request("HEAD / HTTP/1.1"))
    server.reject(Response(200, body=b"body"))
    head = parse_head(written(server))
    assert head.headers["content-length"] == "7"
    assert head.body == b""


def security_header(path: str, request_headers: Headers, response: Response) -> None:
    response.headers["X-Content-Type-Options"] = "nosniff"


@any_chunking
@pytest.mark.parametrize(
    ("data", "status"),
    [
        (request("POST / HTTP/1.1"), 405),
        (request(Host="[::x]"), 400),
        (request(Upgrade=None), 426),
        (request(Sec_WebSocket_Version="8"), 426),
        (request(Origin="http://evil.example"), 403),
    ],
)
def test_what_is_wrong_with_a_request(data: bytes, status: int, chunking: Chunking) -> None:
    server = ServerProtocol(clock=Clock(), process_response=security_header, origins=[None])
    feed(server, data, chunking)
    if server.state is State.CONNECTING:
        server.accept()
    head = parse_head(written(server))
    assert head.status == status
    assert head.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("refuse", [ServerProtocol.shut_down, ServerProtocol.refuse_connection])
def test_refusals_without_a_reason_in_the_request(refuse: Callable[[ServerProtocol], None]) -> None:
    server = asked(security_header)
    refuse(server)
    assert parse_head(written(server)).headers["x-content-type-options"] == "nosniff"


def test_what_is_no_request() -> None:
    """There is nothing to give to the function."""
    server = asked(security_header, b"\x16\x03\x01")
    head = parse_head(written(server))
    assert head.status == 400
    assert "x-content-type-options" not in head.headers
    server = ServerProtocol(clock=Clock(), process_response=security_header)
    server.receive_data(b"GET / HT")
    server.shut_down()
    assert parse_head(written(server)).status == 503


# What it cannot do


def raising(path: str, request_headers: Headers, response: Response) -> Response:
    raise LookupError("no such response")


def changing(status: int | None = None, **headers: str) -> Callable[..., Response]:
    def alter(path: str, request_headers: Headers, response: Response) -> Response:
        altered = response.headers.copy()
        for name, value in headers.items():
            name = name.replace("_", "-")
            if name in altered:
                del altered[name]
            if value:
                altered[name] = value
        return Response(response.status if status is None else status, altered)

    return alter


LEAVE = "process_response must leave the status 101 and the headers Upgrade, Connection and Sec-WebSocket-*"

ERRORS = [
    (raising, LookupError, "no such response"),
    (lambda *_: 42, TypeError, "process_response must return a Response or None, not int"),
    (lambda *_: (200, [], b""), TypeError, "process_response must return a Response or None, not tuple"),
    (changing(X="a\r\nb"), ValueError, "must not contain control characters"),
]


@pytest.mark.parametrize(
    ("alter", "error", "message"),
    [
        *ERRORS,
        (changing(200), ValueError, LEAVE),
        (changing(403), ValueError, LEAVE),
        (changing(Upgrade=""), ValueError, LEAVE),
        (changing(Connection="close"), ValueError, LEAVE),
        (changing(Sec_WebSocket_Accept="x"), ValueError, LEAVE),
        (changing(Sec_WebSocket_Protocol="chat"), ValueError, LEAVE),
        (changing(Sec_WebSocket_Extensions="permessage-deflate"), ValueError, LEAVE),
        (lambda path, headers, response: Response(101, response.headers, b"x"), ValueError, "has no body"),
    ],
)
def test_errors_when_accepting(alter: Callable[..., Any], error: type[Exception], message: str) -> None:
    for answer in ("accept", "answer"):
        server = asked(alter)
        if answer == "accept":
            assert server.accept() is server.response
        else:
            server.answer(None)
        failed(server, error, message)


@pytest.mark.parametrize(
    ("alter", "error", "message"),
    [
        *ERRORS,
        (changing(101), ValueError, "expected a status from 200 to 599, got 101"),
        (changing(99), ValueError, "expected a status from 200 to 599, got 99"),
        (lambda *_: Response(204, body=b"x"), ValueError, "has no body"),
    ],
)
def test_errors_when_refusing(alter: Callable[..., Any], error: type[Exception], message: str) -> None:
    server = asked(alter)
    server.reject(Response(404))
    failed(server, error, message)


@pytest.mark.parametrize(
    "refuse", [ServerProtocol.shut_down, ServerProtocol.refuse_connection, ServerProtocol.accept]
)
def test_errors_reach_nobody_else(refuse: Callable[[ServerProtocol], Any]) -> None:
    server = asked(raising, request(Upgrade=None))
    refuse(server)
    assert isinstance(server.response, Response)
    assert server.response.status == 500
    assert written(server).startswith(b"HTTP/1.1 500 ")


def test_an_error_while_receiving() -> None:
    """Inputs raise nothing."""
    server = asked(raising, request("POST / HTTP/1.1"))
    errors = [type(event.error) for event in server.events() if isinstance(event, Failure)]
    assert errors[0] is LookupError
    assert len(errors) == 2
    assert written(server).startswith(b"HTTP/1.1 500 ")


def test_an_error_of_both_functions() -> None:
    server = asked(raising)
    server.answer(OSError("of process_request"))
    errors = [type(event.error) for event in server.events() if isinstance(event, Failure)]
    assert errors == [OSError, LookupError]
    assert written(server).startswith(b"HTTP/1.1 500 ")


def test_the_application_s_own_mistake_is_its_caller_s() -> None:
    """What could not be sent anyway is no error of the function."""
    server = asked(security_header, extra_headers=lambda path, headers: {"X": "a\r\nb"})
    with pytest.raises(ValueError, match="must not contain control characters"):
        server.accept()
    with pytest.raises(ValueError, match="must not contain control characters"):
        server.reject(Response(404, Headers(X="a\r\nb")))
