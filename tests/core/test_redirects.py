"""Redirects of the opening handshake: where they lead, what goes along, and which are refused."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsproto_core import ClientProtocol, Headers, Response
from wsproto_core.connect.redirects import MAX_REDIRECTS, Redirects, resolve_reference, same_origin
from wsproto_core.exceptions import (
    InvalidHandshake,
    InvalidHeader,
    InvalidHeaderValue,
    InvalidStatusCode,
    InvalidURI,
    RedirectHandshake,
    SecurityError,
)
from wsproto_core.http.uri import WebSocketURI, parse_uri

from .helpers import Clock

PAIR = ("user", "s3cr3t")


def refusal(*locations: str, status: int = 302) -> InvalidStatusCode:
    response = Response(status, Headers([("Location", location) for location in locations]))
    return InvalidStatusCode(status, response)


def followed(start: str, *locations: str, **options: Any) -> Redirects:
    redirects = Redirects(parse_uri(start), **options)
    for location in locations:
        redirects.follow(refusal(location))
    return redirects


# Where they lead


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect(status: int) -> None:
    redirects = Redirects(parse_uri("ws://a/x"))
    redirects.follow(refusal("ws://a/y", status=status))
    assert redirects.uri == parse_uri("ws://a/y")
    assert redirects.count == 1
    assert not redirects.left_origin


@pytest.mark.parametrize("status", [200, 300, 304, 305, 306, 309, 400, 401, 503])
def test_what_is_no_redirect_is_raised_as_it_is(status: int) -> None:
    error = refusal("ws://a/y", status=status)
    redirects = Redirects(parse_uri("ws://a/x"))
    with pytest.raises(InvalidStatusCode) as raised:
        redirects.follow(error)
    assert raised.value is error
    assert redirects.uri == parse_uri("ws://a/x")


def test_an_error_without_its_response() -> None:
    error = InvalidStatusCode(302)
    with pytest.raises(InvalidStatusCode) as raised:
        Redirects(parse_uri("ws://a/")).follow(error)
    assert raised.value is error


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("ws://b/", "ws://b/"),
        ("wss://b:1/x?y", "wss://b:1/x?y"),
        ("http://b/x", "ws://b/x"),
        ("HTTPS://B/x", "wss://b/x"),
        ("https://b:80/x", "wss://b:80/x"),
        ("//b/x", "ws://b/x"),
        ("/x", "ws://a/x"),
        ("x", "ws://a/d/x"),
        ("?x", "ws://a/d/e?x"),
        ("#x", "ws://a/d/e?q"),
        ("../../x/./y/..", "ws://a/x/"),
        ("/\\b/x", "ws://a/\\b/x"),
        ("/x#fragment", "ws://a/x"),
        ("wss://b/#", "wss://b/"),
        ("http://b", "ws://b/"),
        ("/\udcc3\udca9", "ws://a/%C3%A9"),
        ("//\udcc3\udca9/", "ws://xn--9ca/"),
        ("/user@b", "ws://a/user@b"),
        ("//[::1]:8080/x", "ws://[::1]:8080/x"),
    ],
)
def test_locations(location: str, expected: str) -> None:
    assert followed("ws://a/d/e?q", location).uri == parse_uri(expected)


# RFC 3986 sections 5.4.1 and 5.4.2, but that the fragment is dropped and that http: becomes ws:
REFERENCES = {
    "g:h": "g:h",
    "g": "ws://a/b/c/g",
    "./g": "ws://a/b/c/g",
    "g/": "ws://a/b/c/g/",
    "/g": "ws://a/g",
    "//g": "ws://g",
    "?y": "ws://a/b/c/d;p?y",
    "g?y": "ws://a/b/c/g?y",
    "#s": "ws://a/b/c/d;p?q",
    "g#s": "ws://a/b/c/g",
    "g?y#s": "ws://a/b/c/g?y",
    ";x": "ws://a/b/c/;x",
    "g;x": "ws://a/b/c/g;x",
    "g;x?y#s": "ws://a/b/c/g;x?y",
    "": "ws://a/b/c/d;p?q",
    ".": "ws://a/b/c/",
    "./": "ws://a/b/c/",
    "..": "ws://a/b/",
    "../": "ws://a/b/",
    "../g": "ws://a/b/g",
    "../..": "ws://a/",
    "../../": "ws://a/",
    "../../g": "ws://a/g",
    "../../../g": "ws://a/g",
    "../../../../g": "ws://a/g",
    "/./g": "ws://a/g",
    "/../g": "ws://a/g",
    "g.": "ws://a/b/c/g.",
    ".g": "ws://a/b/c/.g",
    "g..": "ws://a/b/c/g..",
    "..g": "ws://a/b/c/..g",
    "./../g": "ws://a/b/g",
    "./g/.": "ws://a/b/c/g/",
    "g/./h": "ws://a/b/c/g/h",
    "g/../h": "ws://a/b/c/h",
    "g;x=1/./y": "ws://a/b/c/g;x=1/y",
    "g;x=1/../y": "ws://a/b/c/y",
    "g?y/./x": "ws://a/b/c/g?y/./x",
    "g?y/../x": "ws://a/b/c/g?y/../x",
    "g#s/./x": "ws://a/b/c/g",
    "g#s/../x": "ws://a/b/c/g",
    "http:g": "ws:g",
}


@pytest.mark.parametrize("reference", REFERENCES)
def test_references(reference: str) -> None:
    assert resolve_reference("http://a/b/c/d;p?q", reference) == REFERENCES[reference]


# Which are refused


@pytest.mark.parametrize(
    ("locations", "message"),
    [
        ([], "missing Location header"),
        ([""], "empty Location header"),
        (["ws://a/", "ws://b/"], "invalid Location header: 'ws://a/, ws://b/'"),
    ],
)
def test_no_location(locations: list[str], message: str) -> None:
    with pytest.raises(InvalidHeader) as raised:
        Redirects(parse_uri("ws://a/")).follow(refusal(*locations))
    assert str(raised.value) == message
    assert isinstance(raised.value.__cause__, InvalidStatusCode)


@pytest.mark.parametrize(
    "location",
    [
        "ftp://b/",
        "javascript:alert(1)",
        "file:///etc/passwd",
        "http:x",
        "ws:",
        "//",
        "///x",
        "//b:0/",
        "//b:99999/",
        "//b c/",
        "/a b",
        "//[::1",
        "//b\\c/",
        "/\udcff",
        "//b\udcff/",
    ],
)
def test_locations_that_are_no_websocket_uri(location: str) -> None:
    redirects = Redirects(parse_uri("ws://a/"))
    with pytest.raises(InvalidHeaderValue) as raised:
        redirects.follow(refusal(location))
    assert raised.value.name == "Location"
    assert isinstance(raised.value.__cause__, InvalidURI | UnicodeError)
    assert redirects.uri == parse_uri("ws://a/")
    assert redirects.count == 0


@pytest.mark.parametrize("limit", [1, 2, MAX_REDIRECTS])
def test_row_31_endless_redirects(limit: int) -> None:
    redirects = Redirects(parse_uri("ws://a/"), limit)
    for _ in range(limit):
        redirects.follow(refusal("/"))
    with pytest.raises(SecurityError, match=f"more than {limit} redirects; the last one leads to 'ws://a/x'"):
        redirects.follow(refusal("/x"))
    assert redirects.count == limit


def test_the_default_limit() -> None:
    with pytest.raises(SecurityError, match="more than 10 redirects"):
        followed("ws://a/", *["/"] * 11)
    assert followed("ws://a/", *["/"] * 100, limit=None).count == 100


def test_no_redirects_wanted() -> None:
    error = refusal("wss://user:s3cr3t@b/x")
    with pytest.raises(RedirectHandshake, match="redirect to 'wss://b/x'") as raised:
        Redirects(parse_uri("ws://a/"), 0).follow(error)
    assert raised.value.uri == "wss://b/x"
    assert raised.value.__cause__ is error


@pytest.mark.parametrize("location", ["ws://a/", "http://a/", "ws://a:443/", "ws://b/"])
def test_row_31_never_from_wss_to_ws(location: str) -> None:
    redirects = Redirects(parse_uri("wss://a/"))
    with pytest.raises(SecurityError, match=r"redirect from wss: to .*, which is not encrypted"):
        redirects.follow(refusal(location))
    assert redirects.uri == parse_uri("wss://a/")


def test_row_31_not_even_by_a_detour() -> None:
    redirects = followed("ws://a/", "wss://a/")
    with pytest.raises(SecurityError, match="redirect from wss:"):
        redirects.follow(refusal("ws://a/"))


@pytest.mark.parametrize("fixed", ["host", "port", "path"])
def test_where_the_stream_leads_to_is_given(fixed: str) -> None:
    assert followed("ws://a/", "/x", fixed=fixed).uri == parse_uri("ws://a/x")
    with pytest.raises(SecurityError, match=f"redirect to 'ws://b/', but {fixed} says where to connect to"):
        followed("ws://a/", "ws://b/", fixed=fixed)


def test_the_socket_is_given() -> None:
    with pytest.raises(SecurityError, match="redirect to 'ws://a/x', but the socket was given"):
        followed("ws://a/", "/x", fixed="sock")


@pytest.mark.parametrize("location", ["ws://user:s3cr3t@b:0/", "ftp://user:s3cr3t@b/", "//user:s3cr3t @b/"])
def test_no_error_shows_user_information(location: str) -> None:
    for locations in ([location], [location, location]):
        with pytest.raises(InvalidHandshake) as raised:
            Redirects(parse_uri("ws://a/")).follow(refusal(*locations))
        assert "s3cr3t" not in str(raised.value)
        assert "s3cr3t" not in str(raised.value.__cause__)


# What goes along

OTHER_ORIGINS = ["ws://b/", "wss://a/", "ws://a:81/", "//a.b/", "https://a/"]


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("ws://a/", "ws://a:80/x?y", True),
        ("ws://a/", "ws://user:pass@A/", True),
        ("ws://a/", "wss://a/", False),
        ("ws://a/", "wss://a:80/", False),
        ("ws://a/", "ws://a:81/", False),
        ("ws://a/", "ws://b/", False),
        ("ws://a/", "ws://a./", False),
    ],
)
def test_same_origin(one: str, other: str, expected: bool) -> None:
    assert same_origin(parse_uri(one), parse_uri(other)) is expected


def test_user_information_within_an_origin() -> None:
    redirects = followed("ws://user:s3cr3t@a/", "/x", "http://a:80/y")
    assert redirects.uri == WebSocketURI(False, "a", 80, "/y", PAIR)


@pytest.mark.parametrize("other", OTHER_ORIGINS)
def test_row_31_user_information_across_origins(other: str) -> None:
    redirects = followed("ws://user:s3cr3t@a/", other)
    assert redirects.uri.user_info is None
    assert "Authorization" not in ClientProtocol(redirects.uri, clock=Clock()).request.headers


def test_user_information_does_not_come_back() -> None:
    redirects = followed("wss://user:s3cr3t@a/", "wss://b/", "wss://a/")
    assert redirects.uri == parse_uri("wss://a/")


@pytest.mark.parametrize("location", ["ws://their:own@a/x", "ws://their:own@b/x"])
def test_credentials_are_not_for_the_server_to_choose(location: str) -> None:
    assert followed("ws://a/", location).uri.user_info is None
    same = location.endswith("@a/x")
    assert followed("ws://user:s3cr3t@a/", location).uri.user_info == (PAIR if same else None)


EXTRA = [
    ("Authorization", "Bearer abc"),
    ("COOKIE", "a=b"),
    ("cookie", "c=d"),
    ("Host", "a"),
    ("Proxy-Authorization", "Basic Og=="),
    ("X-Other", "1"),
    ("x-other", "2"),
]


@pytest.mark.parametrize("extra", [EXTRA, Headers(EXTRA)])
@pytest.mark.parametrize("locations", [["wss://b/"], ["wss://b/", "/x"], ["wss://b/", "wss://a/"]])
def test_row_31_headers_across_origins(extra: Any, locations: list[str]) -> None:
    redirects = followed("wss://a/", *locations)
    given = {"extra_headers": extra, "server_hostname": "a", "open_timeout": 5}
    before = dict(given)
    options = redirects.options(given)
    assert options == {
        "extra_headers": Headers([("X-Other", "1"), ("x-other", "2")]),
        "open_timeout": 5,
    }
    assert given == before
    request = ClientProtocol(redirects.uri, clock=Clock(), extra_headers=options["extra_headers"]).request
    assert request.headers["Host"] == redirects.uri.host
    for name in ("Authorization", "Cookie", "Proxy-Authorization"):
        assert name not in request.headers


@pytest.mark.parametrize("given", [{}, {"extra_headers": None}, {"extra_headers": {}}, {"open_timeout": 5}])
def test_options_without_secrets(given: dict[str, Any]) -> None:
    assert followed("ws://a/", "ws://b/").options(given) == given


def test_options_within_an_origin() -> None:
    given = {"extra_headers": EXTRA, "server_hostname": "a"}
    assert Redirects(parse_uri("ws://a/")).options(given) is given
    assert followed("ws://a/", "/x").options(given) is given


# Anything

locations = st.text("aws:htp/.?#@[]1%\\ \udcff", max_size=20) | st.text(st.characters(max_codepoint=127))


@given(st.lists(locations, max_size=3), st.booleans())
def test_arbitrary_locations(values: list[str], secure: bool) -> None:
    start = WebSocketURI(secure, "a", 443 if secure else 80, "/b/c", PAIR)
    redirects = Redirects(start)
    for value in values:
        before = redirects.uri
        try:
            redirects.follow(refusal(value))
        except InvalidHandshake:
            assert redirects.uri == before
        else:
            assert redirects.uri.secure or not secure
            assert (redirects.uri.user_info is None) is redirects.left_origin
            assert redirects.left_origin or same_origin(start, redirects.uri)
            # What was accepted is a URI like any other.
            assert parse_uri(str(redirects.uri)) == dataclasses.replace(redirects.uri, user_info=None)


@given(locations)
def test_arbitrary_references(reference: str) -> None:
    resolved = resolve_reference("ws://a/b/c?d", reference)
    # Resolved again, it stays what it is.
    assert resolve_reference("ws://x/y", resolved) == resolved
