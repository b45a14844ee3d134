"""WebSocket URIs: what they mean, and what is refused with which words."""

from __future__ import annotations

import dataclasses
import traceback
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsproto_core.exceptions import InvalidURI
from wsproto_core.http.grammar import build_host, parse_host
from wsproto_core.http.uri import WebSocketURI, parse_uri, without_zone


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("ws://localhost/", WebSocketURI(False, "localhost", 80, "/", None)),
        ("wss://localhost/", WebSocketURI(True, "localhost", 443, "/", None)),
        ("ws://localhost", WebSocketURI(False, "localhost", 80, "/")),
        ("ws://localhost?query", WebSocketURI(False, "localhost", 80, "/?query")),
        ("ws://localhost/path?query", WebSocketURI(False, "localhost", 80, "/path?query")),
        ("ws://localhost/path;params?a=b?c", WebSocketURI(False, "localhost", 80, "/path;params?a=b?c")),
        ("ws://localhost/path?", WebSocketURI(False, "localhost", 80, "/path")),
        ("WSS://LOCALHOST:8443/PATH?QUERY", WebSocketURI(True, "localhost", 8443, "/PATH?QUERY")),
        ("ws://localhost:/", WebSocketURI(False, "localhost", 80, "/")),
        ("wss://localhost:00080/", WebSocketURI(True, "localhost", 80, "/")),
        ("ws://127.0.0.1:65535/", WebSocketURI(False, "127.0.0.1", 65535, "/")),
        ("ws://[::1]/", WebSocketURI(False, "::1", 80, "/")),
        ("wss://[2001:DB8::1]:8443/", WebSocketURI(True, "2001:db8::1", 8443, "/")),
        # RFC 6874
        ("ws://[fe80::1%25eth0]/", WebSocketURI(False, "fe80::1%eth0", 80, "/")),
        ("wss://[FE80::1%25Wi-Fi_2.0~]:8443/x", WebSocketURI(True, "fe80::1%Wi-Fi_2.0~", 8443, "/x")),
        ("ws://[fe80::1%25a%2Fb%25c]/", WebSocketURI(False, "fe80::1%a/b%c", 80, "/")),
        ("ws://my_host.example.com./", WebSocketURI(False, "my_host.example.com.", 80, "/")),
        ("ws://user:pass@localhost/", WebSocketURI(False, "localhost", 80, "/", ("user", "pass"))),
        ("ws://:@localhost/", WebSocketURI(False, "localhost", 80, "/", ("", ""))),
        ("ws://u%40s:p%3Aa:%C3%A9@[::1]:1/", WebSocketURI(False, "::1", 1, "/", ("u@s", "p:a:é"))),
        ("ws://usér:pass@a/", WebSocketURI(False, "a", 80, "/", ("usér", "pass"))),
        ("ws://Bücher.Example/", WebSocketURI(False, "xn--bcher-kva.example", 80, "/")),
        ("ws://a/\xe9?\u2713=\u00a0", WebSocketURI(False, "a", 80, "/%C3%A9?%E2%9C%93=%C2%A0")),
        ('ws://a/%7e%zz?[]{}|"', WebSocketURI(False, "a", 80, '/%7e%zz?[]{}|"')),
        ("ws://a/user@b:c", WebSocketURI(False, "a", 80, "/user@b:c")),
    ],
)
def test_parse_uri(uri: str, expected: WebSocketURI) -> None:
    assert parse_uri(uri) == expected


def test_the_fields_are_those_of_the_seeds_in_their_order() -> None:
    names = [field.name for field in dataclasses.fields(WebSocketURI)]
    assert names == ["secure", "host", "port", "resource_name", "user_info"]


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("", "expected ws://... or wss://..."),
        ("localhost", "expected ws://... or wss://..."),
        ("ws:/localhost", "expected ws://... or wss://..."),
        ("//localhost/", "expected ws://... or wss://..."),
        ("http://localhost/", "expected the scheme ws or wss, got 'http'"),
        ("https://localhost/", "expected the scheme ws or wss, got 'https'"),
        ("://localhost/", "expected the scheme ws or wss, got ''"),
        ("ws://localhost/path#fragment", "expected no fragment, got '#fragment'"),
        ("ws://localhost/path#", "expected no fragment, got '#'"),
        ("ws://", "expected a host name or address, got ''"),
        ("ws:///path", "expected a host name or address, got ''"),
        ("ws://:80/", "expected a host name or address, got ''"),
        ("ws://user:pass@/", "expected a host name or address, got ''"),
        ("ws://a..b/", "expected a host name or address, got 'a..b'"),
        ("ws://" + "a" * 64, "expected a host name or address"),
        ("ws://a%20b/", "expected a host name or address, got 'a%20b'"),
        ("ws://a\uff0fb/", "expected a host name or address"),
        ("ws://\u00fc..b/", "expected a host name, got"),
        ("ws://::1/", r"expected \[username:password@\]host\[:port\]"),
        ("ws://[::1]evil/", r"expected \[username:password@\]host\[:port\]"),
        ("ws://evil[::1]/", r"expected \[username:password@\]host\[:port\]"),
        ("ws://[::1/", r"expected \[username:password@\]host\[:port\]"),
        ("ws://[fe80::1%eth0]/", r"expected a zone identifier as in '\[fe80::1%25eth0\]', got '%eth0'"),
        ("ws://[fe80::1%]/", "expected a zone identifier"),
        ("ws://[fe80::1%25]/", "expected a zone identifier"),
        ("ws://[fe80::1%25eth%]/", "expected a zone identifier"),
        ("ws://[fe80::1%25%00]/", "expected a zone identifier"),
        ("ws://[fe80::1%25%20]/", "expected a zone identifier"),
        ("ws://[fe80::1%25%C3%A9]/", "expected a zone identifier"),
        ("ws://[fe80::1%25%FF]/", "expected a zone identifier"),
        ("ws://[fe80::1%25eth0@b]/", r"expected \[username:password@\]host\[:port\]"),
        ("ws://[fe80::1%25eth0%5D]:x/", r"expected \[username:password@\]host\[:port\]"),
        ("ws://[fe80::%25eth0::1]/", r"expected \[username:password@\]host\[:port\]"),
        ("ws://[v1.a%25eth0]/", r"expected \[username:password@\]host\[:port\]"),
        ("ws://[127.0.0.1%25eth0]/", "expected an IPv6 address in brackets"),
        ("ws://localhost%25eth0/", "expected a host name or address"),
        ("ws://[1::2::3]/", r"expected an IPv6 address in brackets, got '\[1::2::3\]'"),
        ("ws://a:b:c@evil@localhost/", r"expected \[username:password@\]host\[:port\]"),
        ("ws://evil.com\\:x@localhost/", r"expected \[username:password@\]host\[:port\]"),
        ("ws://localhost:port/", r"expected \[username:password@\]host\[:port\]"),
        ("ws://localhost:-1/", r"expected \[username:password@\]host\[:port\]"),
        ("ws://localhost:0/", "expected a port from 1 to 65535, got '0'"),
        ("ws://localhost:65536/", "expected a port from 1 to 65535, got '65536'"),
        ("ws://localhost:" + "9" * 5000, "expected a port from 1 to 65535"),
        ("ws://user@localhost/", "expected a username, a colon and a password before '@'"),
        ("ws://us%3Aer:pass@localhost/", "expected no colon in the username"),
        ("ws://user:%0D%0A@localhost/", "no control character before '@'"),
        ("ws://user:%FF@localhost/", "expected percent-encoded UTF-8 before '@'"),
    ],
)
def test_parse_uri_says_what_was_expected(uri: str, message: str) -> None:
    with pytest.raises(InvalidURI, match=message) as raised:
        parse_uri(uri)
    assert raised.value.uri == (uri if "@" not in uri else "ws://***" + uri[uri.rindex("@") :])
    assert isinstance(raised.value, ValueError)


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        (WebSocketURI(False, "localhost", 80, "/"), "ws://localhost/"),
        (WebSocketURI(True, "localhost", 443, "/a?b"), "wss://localhost/a?b"),
        (WebSocketURI(False, "localhost", 443, "/"), "ws://localhost:443/"),
        (WebSocketURI(True, "::1", 80, "/"), "wss://[::1]:80/"),
        (WebSocketURI(False, "fe80::1%eth0", 80, "/"), "ws://[fe80::1%25eth0]/"),
        (WebSocketURI(False, "fe80::1%a/b%c", 80, "/"), "ws://[fe80::1%25a%2Fb%25c]/"),
        (WebSocketURI(False, "localhost", 80, "/", ("user", "secret")), "ws://localhost/"),
    ],
)
def test_a_uri_as_text_has_no_user_information(uri: WebSocketURI, expected: str) -> None:
    assert str(uri) == expected
    assert "secret" not in repr(uri)
    assert "user=" not in repr(uri)


SECRETS = [
    "ws://user:s3cr3t@localhost/#",
    "ws://user:s3cr3t@localhost:0/",
    "ws://user:s3cr3t@lo calhost/",
    "ws://user:s3cr3t\t@localhost/",
    "ws://user:s3cr3t%FF@localhost/",
    "ws://us:er:s3cr3t@@localhost/",
    "http://user:s3cr3t@localhost/",
    "user:s3cr3t@localhost",
    "//user:s3cr3t@localhost",
    "w s://user:s3cr3t@localhost/",
    # Characters that have to be percent-encoded, and so end what a parser takes for the host.
    "ws://user:0/s3cr3t@localhost/",
    "ws://user:s3cr3t/@localhost/",
    "ws://user:0s3cr3t/@localhost/",
    "ws://:s3cr3t?@localhost/",
    "ws://user:1#s3cr3t@localhost/",
    "ws://s3cr3t\xfc..b/@localhost/",
]


@pytest.mark.parametrize("uri", SECRETS)
def test_no_error_shows_user_information(uri: str) -> None:
    with pytest.raises(InvalidURI) as raised:
        parse_uri(uri)
    error: BaseException | None = raised.value
    assert "s3cr3t" not in "".join(traceback.format_exception_only(raised.value))
    assert "s3cr3t" not in raised.value.uri
    while error is not None:
        assert "s3cr3t" not in str(error)
        error = error.__cause__


def test_a_password_that_looks_like_a_port() -> None:
    with pytest.raises(InvalidURI, match="percent-encoded before the '@'") as raised:
        parse_uri("ws://user:99999/x@localhost/")
    assert "99999" not in str(raised.value)


def test_the_length_of_a_host_name_is_limited() -> None:
    name = ".".join(["a" * 62] * 4)
    assert parse_uri(f"ws://{name}./").host == f"{name}."
    with pytest.raises(InvalidURI, match="expected a host name of at most 254 characters, got 253000"):
        parse_uri("ws://" + "\xfc" * 253000)


@pytest.mark.parametrize("character", list(" \t\r\n\x00\x0b\x1f\x7f\x85\ud800"))
@pytest.mark.parametrize(
    "uri", ["{}ws://a/", "w{}s://a/", "ws://a{}b/", "ws://a/{}", "ws://u:{}@a/", "ws://a/?{}"]
)
def test_row_30_control_characters_in_a_uri(uri: str, character: str) -> None:
    with pytest.raises(InvalidURI, match="expected no space or control character, got "):
        parse_uri(uri.format(character))


hosts = st.ip_addresses().map(str) | st.from_regex(r"\A[a-z0-9]{1,9}(\.[a-z0-9_-]{1,9}){0,3}\Z")


@given(
    secure=st.booleans(),
    host=hosts,
    port=st.integers(1, 65535),
    resource_name=st.from_regex(r"\A(/[a-z0-9%.~;:@-]{0,9}){1,3}(\?[a-z0-9/?=&]{1,9})?\Z"),
    user_info=st.none() | st.tuples(st.from_regex(r"\A[a-z]{0,9}\Z"), st.from_regex(r"\A[a-z:]{0,9}\Z")),
)
def test_what_is_built_of_parts_is_parsed_into_them(
    secure: bool, host: str, port: int, resource_name: str, user_info: tuple[str, str] | None
) -> None:
    authority = build_host(host, port, secure)
    if user_info is not None:
        authority = ":".join(user_info) + "@" + authority
    uri = f"{'wss' if secure else 'ws'}://{authority}{resource_name}"
    parsed = parse_uri(uri)
    assert parsed == WebSocketURI(secure, host, port, resource_name, user_info)
    assert parse_uri(str(parsed)) == dataclasses.replace(parsed, user_info=None)


@given(st.ip_addresses(v=6), st.text("aB0-._~/%@[]?#", min_size=1, max_size=9))
def test_any_zone_identifier(address: object, zone: str) -> None:
    uri = WebSocketURI(False, f"{address}%{zone}", 8080, "/")
    assert parse_uri(str(uri)) == uri
    assert parse_host(build_host(uri.host, uri.port, uri.secure)) == (str(address), 8080)


@given(st.text() | st.text("ws:/@[]?#%.a1\xfc").map(lambda text: "ws://" + text))
def test_arbitrary_text_is_a_uri_or_refused(uri: str) -> None:
    with suppress(InvalidURI):
        parsed = parse_uri(uri)
        assert parsed.resource_name.startswith("/")
        assert parsed.resource_name.isascii()
        assert 1 <= parsed.port <= 65535
        # What was accepted can be sent.
        assert parse_host(build_host(parsed.host, parsed.port, parsed.secure))[0] == without_zone(parsed.host)


def test_what_is_no_text() -> None:
    for uri in (None, b"ws://localhost/", 1):
        with pytest.raises(TypeError, match="uri must be a str"):
            parse_uri(uri)  # type: ignore[arg-type]
