"""``websockets.handshake``: the headers of the opening handshake."""

from __future__ import annotations

import base64

import pytest

from adapters.websockets.exceptions import InvalidHandshake
from adapters.websockets.handshake import build_request, build_response, check_request, check_response
from adapters.websockets.http import Headers


def test_handshake() -> None:
    request_headers = Headers()
    key = build_request(request_headers)
    assert len(base64.b64decode(key)) == 16
    assert request_headers == Headers(
        Upgrade="websocket",
        Connection="Upgrade",
        **{"Sec-WebSocket-Key": key, "Sec-WebSocket-Version": "13"},
    )
    assert check_request(request_headers) == key

    response_headers = Headers()
    result: object = build_response(response_headers, key)
    assert result is None
    assert set(response_headers) == {"upgrade", "connection", "sec-websocket-accept"}
    result = check_response(response_headers, key)
    assert result is None


def test_keys_differ() -> None:
    assert build_request(Headers()) != build_request(Headers())


def test_example_of_the_rfc() -> None:
    headers = Headers()
    build_response(headers=headers, key="dGhlIHNhbXBsZSBub25jZQ==")
    assert headers["Sec-WebSocket-Accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


@pytest.mark.parametrize("name", ["Upgrade", "Connection", "Sec-WebSocket-Key", "Sec-WebSocket-Version"])
def test_requests_that_are_invalid(name: str) -> None:
    for values in [], ["wrong"], ["13", "13"]:
        headers = Headers()
        build_request(headers)
        del headers[name]
        for value in values:
            headers[name] = value
        with pytest.raises(InvalidHandshake):
            check_request(headers=headers)


@pytest.mark.parametrize("name", ["Upgrade", "Connection", "Sec-WebSocket-Accept"])
def test_responses_that_are_invalid(name: str) -> None:
    for values in [], ["wrong"], ["wrong", "wrong"]:
        key = build_request(Headers())
        headers = Headers()
        build_response(headers, key)
        del headers[name]
        for value in values:
            headers[name] = value
        with pytest.raises(InvalidHandshake):
            check_response(headers=headers, key=key)
