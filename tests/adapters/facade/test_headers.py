"""``websockets.uri``, ``websockets.headers`` and ``websockets.typing``."""

from __future__ import annotations

import typing

import pytest

from adapters.websockets.exceptions import InvalidHeaderFormat, InvalidHeaderValue, InvalidURI
from adapters.websockets.headers import (
    build_authorization_basic,
    build_extension,
    build_subprotocol,
    build_www_authenticate_basic,
    parse_authorization_basic,
    parse_connection,
    parse_extension,
    parse_subprotocol,
    parse_upgrade,
)
from adapters.websockets.typing import ConnectionOption, Data, Origin, Subprotocol, UpgradeProtocol
from adapters.websockets.uri import WebSocketURI, parse_uri


def test_types() -> None:
    assert Data == typing.Union[str, bytes]  # noqa: UP007
    for kind in ConnectionOption, Origin, Subprotocol, UpgradeProtocol:
        assert kind("x") == "x"


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("ws://localhost/", WebSocketURI(False, "localhost", 80, "/", None)),
        ("wss://localhost/", WebSocketURI(True, "localhost", 443, "/", None)),
        ("ws://LOCALHOST/Path?Query", WebSocketURI(False, "localhost", 80, "/Path?Query", None)),
        ("ws://localhost:8080", WebSocketURI(False, "localhost", 8080, "/", None)),
        ("ws://a:b@localhost/", WebSocketURI(False, "localhost", 80, "/", ("a", "b"))),
    ],
)
def test_parse_uri(uri: str, expected: WebSocketURI) -> None:
    parsed = parse_uri(uri=uri)
    assert parsed == expected
    fields = (parsed.secure, parsed.host, parsed.port, parsed.resource_name, parsed.user_info)
    assert expected == WebSocketURI(*fields)


@pytest.mark.parametrize("uri", ["http://localhost/", "ws:///path", "ws://localhost/#fragment", "ws://a@b/"])
def test_parse_uri_of_what_is_none(uri: str) -> None:
    with pytest.raises(ValueError, match="invalid") as raised:
        parse_uri(uri)
    assert isinstance(raised.value, InvalidURI)


def test_parse_connection() -> None:
    assert parse_connection(header="Upgrade") == ["Upgrade"]
    assert parse_connection("keep-alive, Upgrade") == ["keep-alive", "Upgrade"]
    for header in "", "???", "a b":
        with pytest.raises(InvalidHeaderFormat):
            parse_connection(header)


def test_parse_upgrade() -> None:
    assert parse_upgrade(header="websocket") == ["websocket"]
    assert parse_upgrade("http/3.0, websocket") == ["http/3.0", "websocket"]
    for header in "", "http 2":
        with pytest.raises(InvalidHeaderFormat):
            parse_upgrade(header)


def test_parse_extension_and_build_extension() -> None:
    parsed = parse_extension(header='foo, bar; name; token=token; quoted="text"')
    assert parsed == [("foo", []), ("bar", [("name", None), ("token", "token"), ("quoted", "text")])]
    built = build_extension(extensions=parsed)
    assert built == "foo, bar; name; token=token; quoted=text"
    assert parse_extension(built) == parsed
    for header in "", "foo; =bar", "foo, bar baz":
        with pytest.raises(InvalidHeaderFormat):
            parse_extension(header)


def test_parse_subprotocol_and_build_subprotocol() -> None:
    parsed = parse_subprotocol(header="foo,  bar ")
    assert parsed == ["foo", "bar"]
    assert build_subprotocol(protocols=parsed) == "foo, bar"
    for header in "", "foo bar", '"foo"':
        with pytest.raises(InvalidHeaderFormat):
            parse_subprotocol(header)


def test_build_www_authenticate_basic() -> None:
    header = build_www_authenticate_basic(realm="my dev server")
    assert header.split(", ")[0] == 'Basic realm="my dev server"'


def test_parse_authorization_basic_and_build_authorization_basic() -> None:
    header = build_authorization_basic(username="Aladdin", password="open sesame")
    assert header == "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
    assert parse_authorization_basic(header=header) == ("Aladdin", "open sesame")
    for header in "", "Basic", "Basic ???":
        with pytest.raises(InvalidHeaderFormat):
            parse_authorization_basic(header)
    for header in "Digest x", "Basic QQ==", "Basic AAAAA":
        with pytest.raises(InvalidHeaderValue):
            parse_authorization_basic(header)
