"""The checks of the opening handshake, on headers alone."""

from __future__ import annotations

import base64
import re
from contextlib import suppress
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsproto_core.checks import check_extra_headers
from wsproto_core.exceptions import (
    InvalidHeader,
    InvalidHeaderFormat,
    InvalidHeaderValue,
    InvalidOrigin,
    InvalidUpgrade,
    NegotiationError,
)
from wsproto_core.handshake.headers import (
    accept_key,
    build_request,
    build_response,
    check_host,
    check_origin,
    check_request,
    check_response,
    negotiate_subprotocol_response,
    override_headers,
    parse_subprotocol_offers,
    select_subprotocol,
)
from wsproto_core.http import Headers
from wsproto_core.types import Subprotocol

# RFC 6455 section 1.3
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def request_headers(**changes: str | list[str] | None) -> Headers:
    """Headers of a valid request, some of them replaced: by several values, or by none."""
    return changed(
        {
            "Host": "server.example.com",
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec_WebSocket_Key": KEY,
            "Sec_WebSocket_Version": "13",
        },
        changes,
    )


def response_headers(**changes: str | list[str] | None) -> Headers:
    return changed({"Upgrade": "websocket", "Connection": "Upgrade", "Sec_WebSocket_Accept": ACCEPT}, changes)


def changed(valid: dict[str, str], changes: dict[str, str | list[str] | None]) -> Headers:
    headers = Headers()
    for name, value in {**valid, **changes}.items():
        for each in [value] if isinstance(value, str) else value or []:
            headers[name.replace("_", "-")] = each
    return headers


def test_accept_key_of_the_rfc() -> None:
    assert accept_key(KEY) == ACCEPT


def test_build_request() -> None:
    headers = Headers()
    key = build_request(headers, random=lambda count: b"the sample nonce"[:count])
    assert key == KEY
    assert headers == Headers(
        {
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Key": KEY,
            "Sec-WebSocket-Version": "13",
        }
    )


def test_row_35_keys_are_sixteen_bytes_and_differ() -> None:
    keys = {build_request(Headers()) for _ in range(100)}
    assert len(keys) == 100
    assert {len(base64.b64decode(key)) for key in keys} == {16}


@given(st.binary(min_size=16, max_size=16))
def test_what_one_side_builds_the_other_accepts(nonce: bytes) -> None:
    request, response = Headers(), Headers()
    key = build_request(request, random=lambda count: nonce)
    build_response(response, check_request(request))
    check_response(response, key)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"Connection": "keep-alive, Upgrade"},
        {"Connection": ["keep-alive", "upgrade"]},
        {"Connection": ["", "UPGRADE"]},
        {"Upgrade": "WebSocket"},
        {"Upgrade": "h2c, websocket"},
        {"Upgrade": ["HTTP/3.0", "WEBSOCKET"]},
    ],
)
def test_row_23_requests_that_are_accepted(changes: dict[str, str | list[str] | None]) -> None:
    assert check_request(request_headers(**changes)) == KEY


@pytest.mark.parametrize(
    ("changes", "error", "name"),
    [
        ({"Connection": None}, InvalidUpgrade, "Connection"),
        ({"Connection": "keep-alive"}, InvalidUpgrade, "Connection"),
        ({"Connection": "not upgrade"}, InvalidHeaderFormat, "Connection"),
        ({"Connection": ""}, InvalidHeaderFormat, "Connection"),
        ({"Upgrade": None}, InvalidUpgrade, "Upgrade"),
        ({"Upgrade": "h2c"}, InvalidUpgrade, "Upgrade"),
        ({"Upgrade": "websocket/13"}, InvalidUpgrade, "Upgrade"),
        ({"Upgrade": "web socket"}, InvalidHeaderFormat, "Upgrade"),
        ({"Sec_WebSocket_Key": None}, InvalidHeader, "Sec-WebSocket-Key"),
        ({"Sec_WebSocket_Key": ""}, InvalidHeaderValue, "Sec-WebSocket-Key"),
        ({"Sec_WebSocket_Key": KEY.rstrip("=")}, InvalidHeaderValue, "Sec-WebSocket-Key"),
        ({"Sec_WebSocket_Key": KEY + KEY}, InvalidHeaderValue, "Sec-WebSocket-Key"),
        # 15 bytes, and 17
        (
            {"Sec_WebSocket_Key": base64.b64encode(b"x" * 15).decode()},
            InvalidHeaderValue,
            "Sec-WebSocket-Key",
        ),
        (
            {"Sec_WebSocket_Key": base64.b64encode(b"x" * 17).decode()},
            InvalidHeaderValue,
            "Sec-WebSocket-Key",
        ),
        ({"Sec_WebSocket_Key": "!" + KEY}, InvalidHeaderValue, "Sec-WebSocket-Key"),
        ({"Sec_WebSocket_Key": KEY[:-4] + "\udcff==="}, InvalidHeaderValue, "Sec-WebSocket-Key"),
        ({"Sec_WebSocket_Key": "dGhlIHNhbXBsZSBub25j"}, InvalidHeaderValue, "Sec-WebSocket-Key"),
    ],
)
def test_requests_that_are_refused(
    changes: dict[str, str | list[str] | None], error: type[InvalidHeader], name: str
) -> None:
    with pytest.raises(error) as raised:
        check_request(request_headers(**changes))
    assert type(raised.value) is error
    assert raised.value.name == name


def test_row_24_two_keys() -> None:
    with pytest.raises(InvalidHeader) as raised:
        check_request(request_headers(Sec_WebSocket_Key=[KEY, KEY]))
    assert raised.value.name == "Sec-WebSocket-Key"


@pytest.mark.parametrize(
    ("version", "error"),
    [
        (None, InvalidHeader),
        (["13", "13"], InvalidHeader),
        ("", InvalidHeaderValue),
        ("8", InvalidHeaderValue),
        ("13, 8", InvalidHeaderValue),
        ("013", InvalidHeaderValue),
    ],
)
def test_row_25_missing_or_wrong_version(version: str | list[str] | None, error: type[Exception]) -> None:
    with pytest.raises(error) as raised:
        check_request(request_headers(Sec_WebSocket_Version=version))
    assert isinstance(raised.value, InvalidHeader)
    assert raised.value.name == "Sec-WebSocket-Version"


def test_build_response() -> None:
    headers = Headers({"Server": "x"})
    build_response(headers, KEY)
    assert headers == response_headers(Server="x")


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"Upgrade": "WebSocket"},
        {"Connection": "upgrade, keep-alive"},
        {"Connection": ["close", "Upgrade"]},
    ],
)
def test_responses_that_are_accepted(changes: dict[str, str | list[str] | None]) -> None:
    check_response(response_headers(**changes), KEY)


@pytest.mark.parametrize(
    ("changes", "error", "name"),
    [
        ({"Connection": None}, InvalidUpgrade, "Connection"),
        ({"Connection": "close"}, InvalidUpgrade, "Connection"),
        ({"Upgrade": None}, InvalidUpgrade, "Upgrade"),
        ({"Upgrade": "h2c"}, InvalidUpgrade, "Upgrade"),
        ({"Upgrade": "websocket, h2c"}, InvalidUpgrade, "Upgrade"),
        ({"Upgrade": ["websocket", "websocket"]}, InvalidUpgrade, "Upgrade"),
        ({"Sec_WebSocket_Accept": None}, InvalidHeader, "Sec-WebSocket-Accept"),
        ({"Sec_WebSocket_Accept": ""}, InvalidHeaderValue, "Sec-WebSocket-Accept"),
        ({"Sec_WebSocket_Accept": KEY}, InvalidHeaderValue, "Sec-WebSocket-Accept"),
        ({"Sec_WebSocket_Accept": ACCEPT.lower()}, InvalidHeaderValue, "Sec-WebSocket-Accept"),
        ({"Sec_WebSocket_Accept": [ACCEPT, ACCEPT]}, InvalidHeader, "Sec-WebSocket-Accept"),
    ],
)
def test_row_31_responses_that_are_refused(
    changes: dict[str, str | list[str] | None], error: type[InvalidHeader], name: str
) -> None:
    with pytest.raises(error) as raised:
        check_response(response_headers(**changes), KEY)
    assert type(raised.value) is error
    assert raised.value.name == name


@pytest.mark.parametrize("host", ["example.com", "example.com:80", "[::1]:80"])
def test_check_host(host: str) -> None:
    check_host(Headers({"Host": host}))


@pytest.mark.parametrize("hosts", [[], ["a", "a"], [""], ["a b"], ["a/b"], ["a:b"], ["[::1"]])
def test_row_24_missing_doubled_empty_or_malformed_host(hosts: list[str]) -> None:
    with pytest.raises(InvalidHeader) as raised:
        check_host(Headers(("Host", host) for host in hosts))
    assert raised.value.name == "Host"


SECURE = re.compile(r"https://[a-z]+\.example\.com")


@pytest.mark.parametrize(
    ("origin", "origins"),
    [
        ("https://a.example.com", None),
        (None, None),
        ("https://a.example.com", ["https://b.example.com", "https://a.example.com"]),
        (None, ["https://a.example.com", None]),
        ("https://a.example.com", [None, SECURE]),
    ],
)
def test_origins_that_are_accepted(
    origin: str | None, origins: list[str | re.Pattern[str] | None] | None
) -> None:
    headers = Headers() if origin is None else Headers(Origin=origin)
    assert check_origin(headers, origins) == origin


@pytest.mark.parametrize(
    ("origin", "origins"),
    [
        ("https://a.example.com", []),
        (None, []),
        (None, ["https://a.example.com", SECURE]),
        ("https://a.example.com.evil", ["https://a.example.com", None, SECURE]),
        ("evil https://a.example.com", [SECURE]),
        ("", [None]),
    ],
)
def test_origins_that_are_refused(origin: str | None, origins: list[str | re.Pattern[str] | None]) -> None:
    headers = Headers() if origin is None else Headers(Origin=origin)
    with pytest.raises(InvalidOrigin) as raised:
        check_origin(headers, origins)
    assert raised.value.value == origin


@pytest.mark.parametrize("origins", [None, ["a"]])
def test_a_doubled_origin(origins: list[str] | None) -> None:
    with pytest.raises(InvalidHeader) as raised:
        check_origin(Headers([("Origin", "a"), ("origin", "a")]), origins)
    assert not isinstance(raised.value, InvalidOrigin)
    assert raised.value.name == "Origin"


def test_a_str_is_no_list_of_origins() -> None:
    with pytest.raises(TypeError, match="expected a list of origins, got a str: 'https://a'"):
        check_origin(Headers(Origin="https://"), "https://a")


def test_all_headers_with_subprotocols_are_combined() -> None:
    headers = Headers([("Sec-WebSocket-Protocol", "a, b"), ("sec-websocket-protocol", "c")])
    assert parse_subprotocol_offers(headers) == ["a", "b", "c"]
    assert parse_subprotocol_offers(Headers()) == []
    with pytest.raises(InvalidHeaderFormat):
        parse_subprotocol_offers(Headers({"Sec-WebSocket-Protocol": ""}))


@pytest.mark.parametrize(
    ("client", "server", "selected"),
    [
        ("", "", None),
        ("a", "", None),
        ("a", "b", None),
        ("ab", "b", "b"),
        ("abc", "xac", "a"),
        # equal sums: the order of the server decides
        ("ab", "ba", "b"),
        ("abc", "cba", "c"),
        ("aab", "ba", "a"),
    ],
)
def test_select_subprotocol(client: str, server: str, selected: str | None) -> None:
    assert select_subprotocol([*map(Subprotocol, client)], [*map(Subprotocol, server)]) == selected


@pytest.mark.parametrize("server", [[*map(Subprotocol, order)] for order in permutations("abc")])
def test_a_subprotocol_that_both_prefer_is_selected(server: list[Subprotocol]) -> None:
    assert select_subprotocol(server, server) == server[0]


def test_negotiate_subprotocol_response() -> None:
    assert negotiate_subprotocol_response(Headers(), ["chat"]) is None
    assert (
        negotiate_subprotocol_response(Headers({"Sec-WebSocket-Protocol": "chat"}), ["a", "chat"]) == "chat"
    )


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["other"], "not offered: other"),
        (["CHAT"], "not offered: CHAT"),
        (["chat, superchat"], "several subprotocols: chat, superchat"),
        (["chat", "chat"], "several subprotocols: chat, chat"),
    ],
)
def test_row_31_a_subprotocol_that_was_not_asked_for(values: list[str], message: str) -> None:
    headers = Headers(("Sec-WebSocket-Protocol", value) for value in values)
    with pytest.raises(NegotiationError, match=message):
        negotiate_subprotocol_response(headers, ["chat", "superchat"])


@pytest.mark.parametrize("name", ["Upgrade", "CONNECTION", "Sec-WebSocket-Key", "sec-websocket-anything"])
def test_extra_headers_that_the_handshake_sets(name: str) -> None:
    check_extra_headers(Headers({"Host": "a", "Origin": "b", "X-Sec-WebSocket-Key": "c"}))
    with pytest.raises(ValueError, match=f"extra_headers must not have '{name.lower()}'"):
        check_extra_headers(Headers({"Host": "a", name: "b"}))


def test_extra_headers_replace_those_of_the_same_name() -> None:
    headers = Headers([("Host", "a"), ("User-Agent", "b"), ("X", "c")])
    override_headers(headers, Headers([("host", "d"), ("X", "e"), ("x", "f"), ("Y", "g")]))
    assert list(headers.raw_items()) == [
        ("User-Agent", "b"),
        ("host", "d"),
        ("X", "e"),
        ("x", "f"),
        ("Y", "g"),
    ]


NAMES = [
    "Host",
    "Origin",
    "Upgrade",
    "Connection",
    "Sec-WebSocket-Key",
    "Sec-WebSocket-Version",
    "Sec-WebSocket-Accept",
    "Sec-WebSocket-Protocol",
]
values = st.sampled_from(["websocket", "Upgrade", KEY, ACCEPT, "13", ""]) | st.text()


@given(st.lists(st.tuples(st.sampled_from(NAMES), values)))
def test_arbitrary_headers_are_accepted_or_refused(pairs: list[tuple[str, str]]) -> None:
    headers = Headers(pairs)
    for check in (
        check_request,
        lambda headers: check_response(headers, KEY),
        check_host,
        lambda headers: check_origin(headers, ["a"]),
        lambda headers: negotiate_subprotocol_response(headers, ["a"]),
    ):
        with suppress(InvalidHeader, NegotiationError):
            check(headers)
