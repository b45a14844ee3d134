"""The hierarchy of exceptions, their attributes and messages, and that they can be pickled."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator
from http import HTTPStatus

import pytest

from wsproto_core import Close, Headers, Response, exceptions
from wsproto_core.exceptions import (
    AbortHandshake,
    ConcurrencyError,
    ConnectionClosed,
    ConnectionClosedError,
    ConnectionClosedOK,
    DuplicateParameter,
    HandshakeTimeout,
    InvalidHandshake,
    InvalidHeader,
    InvalidHeaderFormat,
    InvalidHeaderValue,
    InvalidMessage,
    InvalidOrigin,
    InvalidParameterName,
    InvalidParameterValue,
    InvalidPayload,
    InvalidProxy,
    InvalidProxyMessage,
    InvalidProxyStatus,
    InvalidState,
    InvalidStatusCode,
    InvalidUpgrade,
    InvalidURI,
    NegotiationError,
    PayloadTooBig,
    ProtocolError,
    ProxyError,
    RedirectHandshake,
    SecurityError,
    SocksError,
    WebSocketException,
    WebSocketProtocolError,
)

HIERARCHY = {
    ConnectionClosed: (WebSocketException,),
    ConnectionClosedError: (ConnectionClosed,),
    ConnectionClosedOK: (ConnectionClosed,),
    InvalidHandshake: (WebSocketException,),
    SecurityError: (InvalidHandshake,),
    InvalidMessage: (InvalidHandshake, ValueError),
    InvalidHeader: (InvalidHandshake,),
    InvalidHeaderFormat: (InvalidHeader,),
    InvalidHeaderValue: (InvalidHeader,),
    InvalidOrigin: (InvalidHeader,),
    InvalidUpgrade: (InvalidHeader,),
    InvalidStatusCode: (InvalidHandshake,),
    NegotiationError: (InvalidHandshake,),
    DuplicateParameter: (NegotiationError,),
    InvalidParameterName: (NegotiationError,),
    InvalidParameterValue: (NegotiationError,),
    AbortHandshake: (InvalidHandshake,),
    RedirectHandshake: (InvalidHandshake,),
    HandshakeTimeout: (InvalidHandshake, TimeoutError),
    ProxyError: (InvalidHandshake,),
    InvalidProxyMessage: (ProxyError, ValueError),
    InvalidProxyStatus: (ProxyError,),
    SocksError: (ProxyError,),
    InvalidState: (WebSocketException,),
    ConcurrencyError: (InvalidState, RuntimeError),
    InvalidURI: (WebSocketException, ValueError),
    InvalidProxy: (WebSocketException, ValueError),
    PayloadTooBig: (WebSocketException,),
    ProtocolError: (WebSocketException,),
    InvalidPayload: (ProtocolError,),
}


def test_the_hierarchy() -> None:
    assert {exception: exception.__bases__ for exception in HIERARCHY} == HIERARCHY
    assert WebSocketException.__bases__ == (Exception,)
    assert WebSocketProtocolError is ProtocolError


def test_all_exceptions_are_listed() -> None:
    listed = {getattr(exceptions, name) for name in exceptions.__all__}
    assert listed == {WebSocketException, *HIERARCHY}
    assert exceptions.__all__ == sorted(exceptions.__all__)


RECEIVED = Close(1001, "going away")
SENT = Close(1000, "")

# An exception, its message, and its attributes.
EXAMPLES = [
    (WebSocketException("message"), "message", {}),
    (
        ConnectionClosedError(1006, ""),
        "the connection is closed: no close frame was received or sent",
        {"code": 1006, "reason": "", "received": None, "sent": None, "received_first": None},
    ),
    (
        ConnectionClosedError(1006, "", sent=Close(1011), failure="connection lost: reset by peer"),
        "connection lost: reset by peer; sent 1011 (internal error); no close frame was received",
        {"code": 1006, "failure": "connection lost: reset by peer"},
    ),
    (
        ConnectionClosedError(1006, "", failure="connection lost: reset by peer", after_close=True),
        "the connection is closed: connection lost: reset by peer; no close frame was received or sent",
        {"code": 1006, "failure": "connection lost: reset by peer"},
    ),
    (
        ConnectionClosed(4000, "why"),
        "the connection is closed: closed with 4000 (private use) 'why'",
        {"code": 4000, "reason": "why"},
    ),
    (
        ConnectionClosedOK(1001, "going away", received=RECEIVED),
        "the connection is closed: received 1001 (going away) 'going away'; no close frame was sent",
        {"code": 1001, "reason": "going away", "received": RECEIVED, "sent": None},
    ),
    (
        ConnectionClosedError(1006, "", sent=Close(1011, "oops")),
        "the connection is closed: sent 1011 (internal error) 'oops'; no close frame was received",
        {"code": 1006, "received": None, "sent": Close(1011, "oops")},
    ),
    (
        ConnectionClosedOK(1001, "going away", received=RECEIVED, sent=SENT, received_first=True),
        "the connection is closed: received 1001 (going away) 'going away'; then sent 1000 (normal closure)",
        {"received": RECEIVED, "sent": SENT, "received_first": True},
    ),
    (
        ConnectionClosedOK(1001, "going away", received=RECEIVED, sent=SENT, received_first=False),
        "the connection is closed: sent 1000 (normal closure); then received 1001 (going away) 'going away'",
        {"received": RECEIVED, "sent": SENT, "received_first": False},
    ),
    (InvalidHandshake("message"), "message", {}),
    (SecurityError("too long"), "too long", {"status": 400}),
    (SecurityError("too long", 431), "too long", {"status": 431}),
    (InvalidMessage("malformed"), "malformed", {"status": 400}),
    (InvalidMessage("malformed", 505), "malformed", {"status": 505}),
    (InvalidHeader("Host"), "missing Host header", {"name": "Host", "value": None}),
    (InvalidHeader("Host", ""), "empty Host header", {"name": "Host", "value": ""}),
    (InvalidHeader("Host", "a\n"), "invalid Host header: 'a\\n'", {"name": "Host", "value": "a\n"}),
    (
        InvalidHeaderFormat("Host", "expected a host", "a b", 2),
        "invalid Host header: expected a host at 2 in 'a b'",
        {"name": "Host", "value": "a b", "error": "expected a host", "pos": 2},
    ),
    (InvalidHeaderValue("Host", "b"), "invalid Host header: 'b'", {"name": "Host", "value": "b"}),
    (InvalidOrigin(None), "missing Origin header", {"name": "Origin", "value": None}),
    (InvalidOrigin("null"), "invalid Origin header: 'null'", {"name": "Origin", "value": "null"}),
    (InvalidUpgrade("Upgrade"), "missing Upgrade header", {"name": "Upgrade", "value": None}),
    (
        InvalidStatusCode(404),
        "server rejected the connection with HTTP status 404, expected 101",
        {"status_code": 404, "response": None},
    ),
    (
        InvalidStatusCode(404, Response(404, Headers(A="b"), b"body")),
        "server rejected the connection with HTTP status 404, expected 101; the response begins with 'body'",
        {"status_code": 404, "response": Response(404, Headers(A="b"), b"body"), "uri": None},
    ),
    (
        InvalidStatusCode(403, Response(403, body=b" \r\n\n  no \x1b[31m\xff\r\nmore"), "ws://a/?b"),
        (
            "server at 'ws://a/?b' rejected the connection with HTTP status 403, expected 101; "
            r"the response begins with 'no \x1b[31m\ufffd'"
        ),
        {"uri": "ws://a/?b"},
    ),
    (
        InvalidStatusCode(200, Response(200, body=b"x" * 101), "ws://a/"),
        (
            "server at 'ws://a/' rejected the connection with HTTP status 200, expected 101: "
            f"is this a WebSocket endpoint? The response begins with '{'x' * 100}'..."
        ),
        {"status_code": 200},
    ),
    (
        InvalidStatusCode(200),
        "server rejected the connection with HTTP status 200, expected 101: is this a WebSocket endpoint?",
        {"status_code": 200},
    ),
    (
        InvalidStatusCode(500, Response(500, body=b" \n" * 2000 + b"too far")),
        "server rejected the connection with HTTP status 500, expected 101",
        {"status_code": 500},
    ),
    (NegotiationError("no"), "no", {}),
    (DuplicateParameter("a\n"), "duplicate extension parameter: 'a\\n'", {"name": "a\n"}),
    (InvalidParameterName("a"), "unknown extension parameter: 'a'", {"name": "a"}),
    (
        InvalidParameterValue("a", "\x1b"),
        "invalid value for extension parameter 'a': '\\x1b'",
        {"name": "a", "value": "\x1b"},
    ),
    (
        InvalidParameterValue("a", None),
        "missing value for extension parameter 'a'",
        {"name": "a", "value": None},
    ),
    (
        AbortHandshake(HTTPStatus.NOT_FOUND, {"A": "b"}, b"body"),
        "handshake aborted with HTTP status 404",
        {"status": 404, "headers": {"A": "b"}, "body": b"body"},
    ),
    (AbortHandshake(404), "handshake aborted with HTTP status 404", {"headers": (), "body": b""}),
    (
        RedirectHandshake("ws://example.com/"),
        "redirect to 'ws://example.com/'",
        {"uri": "ws://example.com/"},
    ),
    (HandshakeTimeout("too late"), "too late", {}),
    (ProxyError("message"), "message", {}),
    (InvalidProxyMessage("malformed"), "malformed", {}),
    (
        InvalidProxyStatus(502, Response(502)),
        "proxy rejected the connection with HTTP status 502, expected 200",
        {"status_code": 502, "response": Response(502)},
    ),
    (
        InvalidProxyStatus(407),
        (
            "proxy rejected the connection with HTTP status 407, expected 200: it asks for a username and a "
            "password, or does not accept those in its URL"
        ),
        {"status_code": 407, "response": None},
    ),
    (SocksError("refused", 5), "refused", {"code": 5}),
    (SocksError("refused"), "refused", {"code": None}),
    (InvalidState("not now"), "not now", {}),
    (ConcurrencyError("not twice"), "not twice", {}),
    (InvalidURI("http:"), "'http:' is invalid: not a WebSocket URI", {"uri": "http:"}),
    (InvalidURI("a\n", "no"), "'a\\n' is invalid: no", {"uri": "a\n"}),
    (InvalidURI("ws://u:p@a"), "'ws://***@a' is invalid: not a WebSocket URI", {"uri": "ws://***@a"}),
    (InvalidProxy("a"), "'a' is invalid: not the URL of a proxy", {"proxy": "a"}),
    (InvalidProxy("u:p@a", "no"), "'***@a' is invalid: no", {"proxy": "***@a"}),
    (PayloadTooBig("too big"), "too big", {"code": 1009}),
    (ProtocolError("wrong"), "wrong", {"code": 1002}),
    (InvalidPayload("not UTF-8"), "not UTF-8", {"code": 1007}),
]

examples = pytest.mark.parametrize(
    ("exception", "message", "attributes"), EXAMPLES, ids=[type(example[0]).__name__ for example in EXAMPLES]
)


@examples
def test_message_and_attributes(
    exception: WebSocketException, message: str, attributes: dict[str, object]
) -> None:
    assert str(exception) == message
    assert exception.args == (message,)
    assert {name: getattr(exception, name) for name in attributes} == attributes


def duplicates(exception: WebSocketException) -> Iterator[WebSocketException]:
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        yield pickle.loads(pickle.dumps(exception, protocol))
    yield copy.copy(exception)
    yield copy.deepcopy(exception)


@examples
def test_pickling(exception: WebSocketException, message: str, attributes: dict[str, object]) -> None:
    """All is kept but what cannot be: the cause and the traceback."""
    exception.__cause__ = OSError("the cause")
    for duplicate in duplicates(exception):
        assert type(duplicate) is type(exception)
        assert str(duplicate) == message
        assert duplicate.args == exception.args
        assert vars(duplicate) == vars(exception)
        assert {name: getattr(duplicate, name) for name in attributes} == attributes
        assert duplicate.__cause__ is None


def test_every_exception_has_an_example() -> None:
    assert {type(example[0]) for example in EXAMPLES} == {WebSocketException, *HIERARCHY}


@pytest.mark.parametrize(
    ("exception", "builtin"),
    [
        (InvalidMessage("x"), ValueError),
        (InvalidURI("x"), ValueError),
        (InvalidProxy("x"), ValueError),
        (InvalidProxyMessage("x"), ValueError),
        (HandshakeTimeout("x"), TimeoutError),
        (ConcurrencyError("x"), RuntimeError),
    ],
)
def test_exceptions_that_are_caught_as_builtin_ones(
    exception: WebSocketException, builtin: type[Exception]
) -> None:
    with pytest.raises(builtin, match="x"):
        raise exception


def test_notes_and_attributes_of_the_user_are_pickled() -> None:
    exception = InvalidState("x")
    exception.add_note("a note")
    assert pickle.loads(pickle.dumps(exception)).__notes__ == ["a note"]
