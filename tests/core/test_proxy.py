"""Proxies: which one is used, what it is asked, and which answers are accepted."""

from __future__ import annotations

import base64
import ipaddress
import pickle
import traceback
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsproto_core.connect.proxy import (
    Proxy,
    Tunnel,
    bypasses_proxy,
    choose_proxy,
    parse_proxy,
    proxy_from_environment,
)
from wsproto_core.exceptions import InvalidProxy, InvalidProxyMessage, InvalidProxyStatus, InvalidState
from wsproto_core.http.uri import WebSocketURI, parse_uri
from wsproto_core.limits import HeadLimits

from .helpers import Chunking, any_chunking

WS = parse_uri("ws://server.example.com/chat")
WSS = parse_uri("wss://server.example.com/chat")

# URLs


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://proxy", Proxy("http", "proxy", 80)),
        ("http://proxy/", Proxy("http", "proxy", 80)),
        ("HTTP://PROXY:3128", Proxy("http", "proxy", 3128)),
        ("https://proxy", Proxy("https", "proxy", 443)),
        ("socks4://proxy", Proxy("socks4", "proxy", 1080)),
        ("socks4a://proxy", Proxy("socks4a", "proxy", 1080)),
        ("socks5://proxy", Proxy("socks5", "proxy", 1080)),
        ("socks5h://proxy:9050", Proxy("socks5h", "proxy", 9050)),
        ("proxy", Proxy("http", "proxy", 80)),
        ("proxy:3128", Proxy("http", "proxy", 3128)),
        ("proxy:/", Proxy("http", "proxy", 80)),
        ("127.0.0.1:3128", Proxy("http", "127.0.0.1", 3128)),
        ("http://[::1]:3128", Proxy("http", "::1", 3128)),
        ("http://[fe80::1%25eth0]:3128", Proxy("http", "fe80::1%eth0", 3128)),
        ("http://bücher.example:1", Proxy("http", "xn--bcher-kva.example", 1)),
        ("http://user:pass@proxy", Proxy("http", "proxy", 80, ("user", "pass"))),
        ("user:pass@proxy:3128", Proxy("http", "proxy", 3128, ("user", "pass"))),
        ("socks4://user@proxy", Proxy("socks4", "proxy", 1080, ("user", ""))),
        ("http://us%40r:p%2F%3A%C3%A9@proxy", Proxy("http", "proxy", 80, ("us@r", "p/:é"))),
        ("http://:@proxy", Proxy("http", "proxy", 80, ("", ""))),
        (f"socks5://{'u' * 255}:{'p' * 255}@a", Proxy("socks5", "a", 1080, ("u" * 255, "p" * 255))),
    ],
)
def test_parse_proxy(url: str, expected: Proxy) -> None:
    assert parse_proxy(url) == expected


def test_the_default_scheme() -> None:
    assert parse_proxy("proxy", "socks5h") == Proxy("socks5h", "proxy", 1080)
    assert parse_proxy("http://proxy", "socks5h") == Proxy("http", "proxy", 80)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("", "expected a host name or address, got ''"),
        ("http://", "expected a host name or address, got ''"),
        ("http://:3128", "expected a host name or address, got ''"),
        ("ftp://proxy", "expected one of the schemes http, https, socks4.*, got 'ftp'"),
        ("://proxy", "expected one of the schemes http, .*, got ''"),
        ("socks://proxy", "expected one of the schemes .*, got 'socks'"),
        ("direct://", "expected one of the schemes .*, got 'direct'"),
        ("http://proxy/path", "expected nothing after the host and port"),
        ("http://proxy//", "expected nothing after the host and port"),
        ("http://proxy?query", "expected nothing after the host and port"),
        ("http://proxy#fragment", "expected nothing after the host and port"),
        ("http:/proxy", "expected nothing after the host and port"),
        ("http://proxy:0", "expected a port from 1 to 65535, got '0'"),
        ("http://proxy:65536", "expected a port from 1 to 65535, got '65536'"),
        ("http://proxy:port", r"expected \[username:password@\]host\[:port\]"),
        ("http://::1", r"expected \[username:password@\]host\[:port\]"),
        ("http://[::1::]", "expected an IPv6 address in brackets"),
        ("http://a b", "expected no space or control character, got ' '"),
        ("http://a\r\nb", r"expected no space or control character, got '\\r'"),
        ("http://a\n", r"expected no space or control character, got '\\n'"),
        ("http://\ud800", r"expected no space or control character, got '\\ud800'"),
        ("http://us%3Aer:pass@proxy", "expected no colon in the username"),
        ("http://user:%0D%0A@proxy", "no control character before '@'"),
        ("socks4://us%00er@proxy", "no control character before '@'"),
        (f"socks5://{'u' * 256}:p@a", "for SOCKS, expected a username and a password of at most 255 ASCII"),
        (f"socks5://u:{'p' * 256}@a", "for SOCKS, expected a username and a password of at most 255 ASCII"),
        ("socks5://usér:p@a", "for SOCKS, expected a username and a password of at most 255 ASCII"),
    ],
)
def test_parse_proxy_says_what_was_expected(url: str, message: str) -> None:
    with pytest.raises(InvalidProxy, match=message) as raised:
        parse_proxy(url)
    assert isinstance(raised.value, ValueError)


SECRETS = [
    "http://user:s3cr3t@proxy:0",
    "http://user:s3cr3t@proxy/path",
    "user:s3cr3t@proxy/path",
    "ftp://user:s3cr3t@proxy",
    "http://user:s3cr3t%FF@proxy",
    "http://user:s3cr3t\n@proxy",
    "http://user:s3cr3t/@proxy",
    "http://user:99s3cr3t/@proxy",
    "http://user:0#s3cr3t@proxy",
    "user:s3cr3t?@proxy",
    "socks5://user:s3cr3té@proxy",
    "user:s3cr3t://x@proxy",
]


@pytest.mark.parametrize("url", SECRETS)
def test_no_error_shows_user_information(url: str) -> None:
    with pytest.raises(InvalidProxy) as raised:
        parse_proxy(url)
    error: BaseException | None = raised.value
    assert "s3cr3t" not in raised.value.proxy
    while error is not None:
        assert "s3cr3t" not in str(error)
        error = error.__cause__


def test_a_proxy_as_text_has_no_user_information() -> None:
    assert str(Proxy("http", "fe80::1%eth0", 3128)) == "http://[fe80::1%25eth0]:3128"
    proxy = Proxy("https", "::1", 443, ("user", "s3cr3t"))
    assert str(proxy) == "https://[::1]:443"
    assert repr(proxy) == "Proxy(scheme='https', host='::1', port=443)"
    assert pickle.loads(pickle.dumps(proxy)) == proxy


hosts = st.ip_addresses().map(str) | st.from_regex(r"\A[a-z0-9]{1,9}(\.[a-z0-9_-]{1,9}){0,3}\Z")


@given(
    scheme=st.sampled_from(["http", "https", "socks4", "socks4a", "socks5", "socks5h"]),
    host=hosts,
    port=st.integers(1, 65535),
)
def test_what_is_shown_of_a_proxy_is_parsed_into_it(scheme: str, host: str, port: int) -> None:
    proxy = Proxy(scheme, host, port)
    assert parse_proxy(str(proxy)) == proxy


@given(st.text() | st.text("htps5:/@[]?#%.a1\xfc"))
def test_arbitrary_text_is_a_proxy_or_refused(url: str) -> None:
    with suppress(InvalidProxy):
        proxy = parse_proxy(url)
        assert parse_proxy(str(proxy)) == Proxy(proxy.scheme, proxy.host, proxy.port)


# The option


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        (None, None),
        (True, Proxy("http", "environment", 80)),
        ("socks5://option", Proxy("socks5", "option", 1080)),
        (Proxy("http", "option", 1), Proxy("http", "option", 1)),
    ],
)
def test_the_option(option: Any, expected: Proxy | None) -> None:
    assert choose_proxy(option, WS, {"http_proxy": "environment"}) == expected


@pytest.mark.parametrize("option", [False, 1, 0, b"http://proxy", ["http://proxy"]])
def test_the_option_has_another_type(option: Any) -> None:
    with pytest.raises(TypeError, match="proxy must be True, a URL or None, not "):
        choose_proxy(option, WS, {})


@pytest.mark.parametrize("fixed", ["sock", "path"])
def test_nothing_left_for_a_proxy_to_do(fixed: str) -> None:
    assert choose_proxy(True, WS, {"http_proxy": "environment"}, fixed=fixed) is None
    assert choose_proxy(None, WS, {}, fixed=fixed) is None
    with pytest.raises(ValueError, match=f"proxy must not be given together with {fixed}"):
        choose_proxy("http://proxy", WS, {}, fixed=fixed)


def test_an_explicit_proxy_knows_no_exceptions() -> None:
    assert choose_proxy("http://proxy", WS, {"no_proxy": "*"}) == Proxy("http", "proxy", 80)


# The environment


@pytest.mark.parametrize(
    ("uri", "names"),
    [
        (WS, ["ws_proxy", "socks_proxy", "https_proxy", "http_proxy", "all_proxy"]),
        (WSS, ["wss_proxy", "socks_proxy", "https_proxy", "all_proxy"]),
    ],
)
@pytest.mark.parametrize("change", [str.lower, str.upper])
def test_the_order_of_variables(uri: WebSocketURI, names: list[str], change: Any) -> None:
    environment = {change(name): f"http://{name.replace('_', '-')}" for name in names}
    for name in names:
        proxy = proxy_from_environment(uri, environment)
        assert proxy is not None
        assert proxy.host == name.replace("_", "-")
        # Empty, it is as good as not there.
        environment[change(name)] = ""
    assert proxy_from_environment(uri, environment) is None
    assert proxy_from_environment(uri, {}) is None


@pytest.mark.parametrize(
    ("uri", "name"),
    [(WS, "wss_proxy"), (WSS, "ws_proxy"), (WSS, "http_proxy"), (WS, "ftp_proxy"), (WS, "Http_Proxy")],
)
def test_variables_for_something_else(uri: WebSocketURI, name: str) -> None:
    assert proxy_from_environment(uri, {name: "http://proxy"}) is None


def test_small_letters_take_precedence() -> None:
    environment = {"HTTPS_PROXY": "http://capitals", "https_proxy": "http://small", "HTTP_PROXY": "http://x"}
    assert proxy_from_environment(WSS, environment) == Proxy("http", "small", 80)
    environment["https_proxy"] = ""
    assert proxy_from_environment(WSS, environment) is None


def test_a_cgi_program() -> None:
    """A client's header "Proxy" is HTTP_PROXY there (CVE-2016-1000110)."""
    environment = {"HTTP_PROXY": "http://evil", "REQUEST_METHOD": "GET"}
    assert proxy_from_environment(WS, environment) is None
    environment["http_proxy"] = "http://good"
    assert proxy_from_environment(WS, environment) == Proxy("http", "good", 80)
    del environment["REQUEST_METHOD"], environment["http_proxy"]
    assert proxy_from_environment(WS, environment) == Proxy("http", "evil", 80)


class WindowsEnvironment(dict[str, str]):
    """Finds names in any case, as ``os.environ`` does on Windows; they are in capitals."""

    def __getitem__(self, name: str) -> str:
        return super().__getitem__(name.upper())

    def get(self, name: str, default: Any = None) -> Any:
        return super().get(name.upper(), default)


def test_a_cgi_program_on_windows() -> None:
    environment = WindowsEnvironment(HTTP_PROXY="http://evil", REQUEST_METHOD="GET")
    assert proxy_from_environment(WS, environment) is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("proxy:1", Proxy("socks5h", "proxy", 1)),
        ("socks4://proxy", Proxy("socks4", "proxy", 1080)),
        ("http://proxy", Proxy("http", "proxy", 80)),
    ],
)
def test_socks_proxy(value: str, expected: Proxy) -> None:
    assert proxy_from_environment(WS, {"socks_proxy": value}) == expected


@pytest.mark.parametrize(
    ("environment", "variable"),
    [({"all_proxy": "a"}, "all_proxy"), ({"ALL_PROXY": "a"}, "ALL_PROXY"), ({"WS_PROXY": "a"}, "WS_PROXY")],
)
def test_variable_that_names_the_proxy(environment: dict[str, str], variable: str) -> None:
    proxy = proxy_from_environment(WS, environment)
    assert proxy == Proxy("http", "a", 80)
    assert proxy.variable == variable
    assert parse_proxy("a").variable is None


def test_white_space_around_a_value() -> None:
    assert proxy_from_environment(WS, {"http_proxy": " http://proxy\n"}) == Proxy("http", "proxy", 80)
    assert proxy_from_environment(WS, {"http_proxy": "http://proxy", "no_proxy": "\t*\n"}) is None


def test_a_bad_value_is_told_with_its_name() -> None:
    with pytest.raises(InvalidProxy, match="got '99999'") as raised:
        proxy_from_environment(WSS, {"HTTPS_PROXY": "http://user:s3cr3t@proxy:99999"})
    text = "".join(traceback.format_exception_only(raised.value))
    assert "It is in the environment variable https_proxy, or HTTPS_PROXY." in text
    assert "s3cr3t" not in text


@pytest.mark.parametrize("name", ["no_proxy", "NO_PROXY"])
def test_no_proxy_in_the_environment(name: str) -> None:
    environment = {"all_proxy": "http://proxy", name: "example.com"}
    assert proxy_from_environment(WS, environment) is None
    assert proxy_from_environment(parse_uri("ws://example.net/"), environment) is not None
    assert proxy_from_environment(WS, {**environment, "no_proxy": ""}) is not None


# Exceptions


@pytest.mark.parametrize(
    ("no_proxy", "host", "expected"),
    [
        ("", "example.com", False),
        ("*", "example.com", True),
        (" , * ", "127.0.0.1", True),
        ("other, *", "::1", True),
        # names
        ("example.com", "example.com", True),
        ("EXAMPLE.com", "example.com", True),
        ("example.com.", "example.com", True),
        ("example.com", "example.com.", True),
        ("example.com", "a.b.example.com", True),
        (".example.com", "example.com", True),
        (".example.com", "a.example.com", True),
        ("*.example.com", "a.example.com", True),
        ("*.example.com", "example.com", True),
        ("example.com", "badexample.com", False),
        (".example.com", "badexample.com", False),
        ("example.com", "example.com.evil", False),
        ("a.example.com", "example.com", False),
        ("com", "example.com", True),
        ("localhost", "localhost", True),
        ("other,example.com", "example.com", True),
        ("other example.com\tmore", "example.com", True),
        ("bücher.example", "www.xn--bcher-kva.example", True),
        # ports
        ("example.com:80", "example.com", True),
        ("example.com:0080", "example.com", True),
        ("example.com:81", "example.com", False),
        ("example.com:", "example.com", True),
        ("example.com:81,example.com:80", "a.example.com", True),
        # addresses
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1:80", "127.0.0.1", True),
        ("127.0.0.1:81", "127.0.0.1", False),
        ("0.0.1", "127.0.0.1", False),
        ("1", "127.0.0.1", False),
        (".1", "127.0.0.1", False),
        ("127.0.0.1", "a.127.0.0.1", True),
        ("::1", "::1", True),
        ("0:0::1", "::1", True),
        ("[::1]", "::1", True),
        ("[::1]:80", "::1", True),
        ("[::1]:81", "::1", False),
        ("fe80::1", "fe80::1%eth0", True),
        ("[fe80::1]:80", "fe80::1%eth0", True),
        ("[fe80::1%25eth1]", "fe80::1%eth0", True),
        ("fe80::/10", "fe80::1%eth0", True),
        ("fe80::2", "fe80::1%eth0", False),
        ("::1", "::2", False),
        ("2001:DB8::1", "2001:db8:0::1", True),
        ("127.0.0.1", "::1", False),
        # networks
        ("10.0.0.0/8", "10.1.2.3", True),
        ("10.9.9.9/8", "10.1.2.3", True),
        ("10.0.0.0/8", "11.1.2.3", False),
        ("10.0.0.0/255.0.0.0", "10.1.2.3", True),
        ("10.0.0.0/8", "example.com", False),
        ("fd00::/8", "fd12::1", True),
        ("fd00::/8", "fe80::1", False),
        ("10.0.0.0/8", "::1", False),
        ("0.0.0.0/0", "10.1.2.3", True),
        # what is malformed means nothing
        ("10.0.0.0/33", "10.1.2.3", False),
        ("example.com/8", "10.1.2.3", False),
        ("/", "10.1.2.3", False),
        ("/", "example.com", False),
        (".", "example.com", False),
        (":80", "example.com", False),
        ("*:80", "example.com", False),
        ("example.com:port", "example.com", False),
        ("example.com:99999999999999999999", "example.com", False),
        ("user:pass@example.com", "example.com", False),
        ("http://example.com", "example.com", False),
        ("[example.com]", "example.com", False),
        ("[::1", "::1", False),
        ("a..b", "a..b", False),
        ("\udcff", "example.com", False),
        ("a:b:c", "a", False),
    ],
)
def test_no_proxy(no_proxy: str, host: str, expected: bool) -> None:
    assert bypasses_proxy(no_proxy, host, 80) is expected


@given(st.text() | st.text("a.:/[]*,10 \udcff"), hosts, st.integers(1, 65535))
def test_arbitrary_no_proxy(no_proxy: str, host: str, port: int) -> None:
    bypassed = bypasses_proxy(no_proxy, host, port)
    # More entries never make fewer exceptions.
    assert bypasses_proxy(f"{no_proxy},*", host, port)
    assert bypasses_proxy(f"other,{no_proxy}", host, port) >= bypassed


@given(st.from_regex(r"\A[a-z0-9]{1,9}(\.[a-z]{1,9}){0,3}\Z"), st.from_regex(r"\A[a-z]{1,9}\Z"))
def test_a_name_stands_for_all_below_it(name: str, label: str) -> None:
    assert bypasses_proxy(name, f"{label}.{name}", 80)
    assert not bypasses_proxy(name, f"{label}{name}", 80)


@given(st.ip_addresses(v=4) | st.ip_addresses(v=6), st.integers(0, 32))
def test_an_address_is_in_its_networks(address: ipaddress.IPv4Address, prefix: int) -> None:
    assert bypasses_proxy(f"{address}/{prefix}", str(address), 80)
    assert bypasses_proxy(str(address), str(address), 80)


# The tunnel

HTTP = Proxy("http", "proxy", 3128)


@pytest.mark.parametrize(
    ("uri", "target"),
    [
        (WS, "server.example.com:80"),
        (WSS, "server.example.com:443"),
        (parse_uri("wss://[2001:db8::1]:8443/"), "[2001:db8::1]:8443"),
        (parse_uri("wss://[fe80::1%25eth0]:8443/"), "[fe80::1]:8443"),
        (parse_uri("ws://user:s3cr3t@bücher.example/"), "xn--bcher-kva.example:80"),
    ],
)
def test_the_request(uri: WebSocketURI, target: str) -> None:
    request = Tunnel(HTTP, uri).request
    assert request.serialize() == f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode()


def test_the_headers_of_the_request() -> None:
    proxy = Proxy("https", "proxy", 443, ("usér", "s3cr3t:"))
    request = Tunnel(proxy, WS, user_agent_header="test/1.0").request
    credentials = base64.b64encode("usér:s3cr3t:".encode()).decode()
    assert request.serialize().decode() == (
        "CONNECT server.example.com:80 HTTP/1.1\r\n"
        "Host: server.example.com:80\r\n"
        "User-Agent: test/1.0\r\n"
        f"Proxy-Authorization: Basic {credentials}\r\n\r\n"
    )
    assert credentials not in repr(request)


def test_row_30_what_cannot_be_sent() -> None:
    with pytest.raises(ValueError, match="must not contain control characters"):
        Tunnel(HTTP, WS, user_agent_header="a\r\nb")
    with pytest.raises(ValueError, match="expected an HTTP proxy, got 'socks5://proxy:1080'"):
        Tunnel(parse_proxy("socks5://user:s3cr3t@proxy"), WS)


def answered(data: bytes, chunking: Chunking = lambda data: [data], **options: Any) -> Tunnel:
    tunnel = Tunnel(HTTP, WS, **options)
    for chunk in chunking(data):
        assert not tunnel.open
        tunnel.receive_data(chunk)
    return tunnel


@any_chunking
@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.0 200 Connection established\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nProxy-Agent: x\r\nConnection: keep-alive\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 299 \r\n\r\n",
        # "A client MUST ignore any Content-Length or Transfer-Encoding" (RFC 9110 section 9.3.6)
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    ],
)
def test_the_tunnel_is_open(answer: bytes, chunking: Chunking) -> None:
    tunnel = answered(answer, chunking)
    assert tunnel.open
    with pytest.raises(InvalidState):
        tunnel.receive_data(b"x")
    tunnel.receive_eof()
    assert tunnel.open


@any_chunking
@pytest.mark.parametrize("status", [101, 300, 302, 400, 403, 407, 500, 502, 503])
def test_the_proxy_refuses(status: int, chunking: Chunking) -> None:
    """Its body, which may be endless, is not waited for."""
    with pytest.raises(InvalidProxyStatus, match=f"HTTP status {status}, expected 200") as raised:
        answered(b"HTTP/1.1 %d Reason\r\nRetry-After: 5\r\n\r\nbody" % status, chunking)
    assert raised.value.status_code == status
    assert raised.value.response is not None
    assert raised.value.response.headers["Retry-After"] == "5"


@any_chunking
@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"\x05\x00", "from the proxy: expected an HTTP response, got b'\\x05'"),
        (b"\x15\x03\x03", "which looks like TLS"),
        (b"SSH-2.0-OpenSSH\r\n", "from the proxy: malformed HTTP response"),
        (b"x" * 65536, "from the proxy: malformed HTTP response"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 65, "more than 64 HTTP responses with a status from 100 to 199"),
        (b"HTTP/2.0 200 OK\r\n\r\n", "expected HTTP/1.1, got HTTP/2.0"),
        (b"HTTP/1.1 200 OK\r\nA: \x00\r\n\r\n", "control character in HTTP response"),
        (b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 129 + b"\r\n", "HTTP response has more than 128 headers"),
        (b"HTTP/1.1 101 x\r\nContent-Length: 1\r\n\r\n", "expected no body"),
    ],
)
def test_malformed_answers(answer: bytes, message: str, chunking: Chunking) -> None:
    with pytest.raises(InvalidProxyMessage) as raised:
        answered(answer, chunking)
    assert message in str(raised.value)
    assert raised.value.__cause__ is not None


@any_chunking
@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nA: " + b"x" * 65536,
        b"HTTP/1.1 200 OK\r\n" + b"A: 0123456789012345678901234567890123456789\r\n" * 1600,
        b"HTTP/1.1 200 " + b"x" * 65536,
        b"HTTP/1.1 100 Continue\r\n\r\n" + b"HTTP/1.1 100 Continue\r\nA: " + b"x" * 65536,
    ],
)
def test_row_31_a_reply_of_64_kib(answer: bytes, chunking: Chunking) -> None:
    with pytest.raises(InvalidProxyMessage, match=r"over|more than"):
        answered(answer, chunking)


def test_the_limits_are_options() -> None:
    with pytest.raises(InvalidProxyMessage, match="over 30 bytes"):
        answered(b"HTTP/1.1 200 OK\r\nA: 0123456789\r\n\r\n", limits=HeadLimits(max_header_bytes=30))


@pytest.mark.parametrize(
    "head", [b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n"]
)
def test_nothing_may_come_with_the_answer(head: bytes) -> None:
    """In the clear, somebody in between could have put it there, before what follows is TLS."""
    with pytest.raises(InvalidProxyMessage, match="expected nothing from the proxy after the head"):
        answered(head + b"\x16")


@pytest.mark.parametrize("start", [b"", b"HTTP/1.1 200 OK\r\n"])
def test_the_proxy_ends_the_stream(start: bytes) -> None:
    tunnel = answered(start)
    with pytest.raises(InvalidProxyMessage, match="the proxy ended the stream before it answered") as raised:
        tunnel.receive_eof()
    assert isinstance(raised.value.__cause__, EOFError)
    assert not tunnel.open


# SOCKS


def test_http_is_not_socks() -> None:
    assert not parse_proxy("http://proxy").is_socks
    assert not parse_proxy("https://proxy").is_socks
