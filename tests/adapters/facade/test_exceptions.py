"""``websockets.exceptions``: the hierarchy, and what the exceptions tell."""

from __future__ import annotations

import pickle
from http import HTTPStatus
from typing import Any

import pytest

from adapters.websockets import exceptions
from adapters.websockets.exceptions import (
    AbortHandshake,
    ConnectionClosed,
    ConnectionClosedError,
    ConnectionClosedOK,
    DuplicateParameter,
    InvalidHandshake,
    InvalidHeader,
    InvalidHeaderFormat,
    InvalidHeaderValue,
    InvalidMessage,
    InvalidOrigin,
    InvalidParameterName,
    InvalidParameterValue,
    InvalidState,
    InvalidStatusCode,
    InvalidUpgrade,
    InvalidURI,
    NegotiationError,
    PayloadTooBig,
    ProtocolError,
    RedirectHandshake,
    SecurityError,
    WebSocketException,
    WebSocketProtocolError,
)

BASES = {
    WebSocketException: Exception,
    ConnectionClosed: WebSocketException,
    ConnectionClosedError: ConnectionClosed,
    ConnectionClosedOK: ConnectionClosed,
    InvalidHandshake: WebSocketException,
    SecurityError: InvalidHandshake,
    InvalidMessage: InvalidHandshake,
    InvalidHeader: InvalidHandshake,
    InvalidHeaderFormat: InvalidHeader,
    InvalidHeaderValue: InvalidHeader,
    InvalidOrigin: InvalidHeader,
    InvalidUpgrade: InvalidHeader,
    InvalidStatusCode: InvalidHandshake,
    NegotiationError: InvalidHandshake,
    DuplicateParameter: NegotiationError,
    InvalidParameterName: NegotiationError,
    InvalidParameterValue: NegotiationError,
    AbortHandshake: InvalidHandshake,
    RedirectHandshake: InvalidHandshake,
    InvalidState: WebSocketException,
    InvalidURI: WebSocketException,
    PayloadTooBig: WebSocketException,
    ProtocolError: WebSocketException,
}

EXAMPLES: list[tuple[Any, dict[str, Any]]] = [
    (ConnectionClosed(1000, "reason"), {"code": 1000, "reason": "reason"}),
    (ConnectionClosedError(code=1002, reason=""), {"code": 1002, "reason": ""}),
    (ConnectionClosedOK(1001, ""), {"code": 1001, "reason": ""}),
    (InvalidHandshake("message"), {}),
    (SecurityError("message"), {}),
    (InvalidMessage("message"), {}),
    (InvalidHeader("Name"), {"name": "Name", "value": None}),
    (InvalidHeader("Name", "value"), {"name": "Name", "value": "value"}),
    (InvalidHeaderFormat("Name", "expected token", "a=|", 3), {"name": "Name", "value": "a=|"}),
    (InvalidHeaderValue("Name", value="value"), {"name": "Name", "value": "value"}),
    (InvalidOrigin("http://a"), {"name": "Origin", "value": "http://a"}),
    (InvalidUpgrade("Upgrade"), {"name": "Upgrade", "value": None}),
    (InvalidUpgrade("Connection", "x"), {"name": "Connection", "value": "x"}),
    (InvalidStatusCode(403), {"status_code": 403}),
    (NegotiationError("message"), {}),
    (DuplicateParameter("a"), {"name": "a"}),
    (InvalidParameterName("a"), {"name": "a"}),
    (InvalidParameterValue("a", "b"), {"name": "a", "value": "b"}),
    (AbortHandshake(HTTPStatus.OK, {"A": "b"}), {"status": 200, "headers": {"A": "b"}, "body": b""}),
    (AbortHandshake(HTTPStatus.OK, {}, b"body"), {"status": 200, "headers": {}, "body": b"body"}),
    (RedirectHandshake("ws://a/"), {"uri": "ws://a/"}),
    (InvalidState("message"), {}),
    (InvalidURI("http://a"), {"uri": "http://a"}),
    (PayloadTooBig("message"), {}),
    (ProtocolError("message"), {}),
]


@pytest.mark.parametrize(("exception", "base"), BASES.items())
def test_hierarchy(exception: type[Exception], base: type[Exception]) -> None:
    # There may be a class in between, or one beside it.
    assert issubclass(exception, base)
    assert exception.__name__ in exceptions.__all__


def test_siblings_are_no_children() -> None:
    for exception in BASES:
        parents = {parent for parent in exception.__mro__ if parent in BASES}
        expected = {exception}
        while (exception := BASES.get(exception, Exception)) is not Exception:
            expected.add(exception)
        assert parents == expected


@pytest.mark.parametrize(("exception", "attributes"), EXAMPLES, ids=lambda value: repr(value)[:50])
def test_arguments_and_attributes(exception: Exception, attributes: dict[str, Any]) -> None:
    for copy in (exception, pickle.loads(pickle.dumps(exception))):
        assert {name: getattr(copy, name) for name in attributes} == attributes
        assert str(copy)


def test_every_exception_has_an_example() -> None:
    assert {type(exception) for exception, _ in EXAMPLES} == BASES.keys() - {WebSocketException}


def test_older_name() -> None:
    assert WebSocketProtocolError is ProtocolError
