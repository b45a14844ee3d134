"""URIs: any text in the place of a WebSocket URI, of a proxy's URL, of a reference or of ``no_proxy``.

- A text is refused by the documented exception, or its parts are of the form that the class says.
- A URI that is accepted is the same when it is written and parsed again, and a client can ask for it.
- No user information is in a message, a ``str`` or a ``repr``.
"""

from __future__ import annotations

import re

from fuzz.peer import parse_head
from fuzz.source import Source
from wsproto_core import ClientProtocol, InvalidURI
from wsproto_core.connect.proxy import Proxy, Tunnel, bypasses_proxy, parse_proxy, proxy_from_environment
from wsproto_core.connect.redirects import resolve_reference
from wsproto_core.exceptions import InvalidProxy
from wsproto_core.http.uri import WebSocketURI, parse_uri

SECRET = "Zs3cr3tZ"
"""What stands in the place of passwords."""

VARIABLES = ("ws_proxy", "wss_proxy", "socks_proxy", "https_proxy", "http_proxy", "all_proxy", "no_proxy")


def fuzz(data: bytes) -> None:
    source = Source(data)
    source.choice((check_uri, check_secret, check_proxy, check_reference, check_no_proxy))(source)


def take_text(source: Source) -> str:
    return source.rest().decode("utf-8", "surrogateescape")


def check_uri(source: Source) -> None:
    text = take_text(source)
    try:
        uri = parse_uri(text)
    except InvalidURI:
        return
    check_parts(uri)
    written = str(uri)
    assert written.isascii()
    assert "@" not in written.partition("://")[2].partition("/")[0]
    assert parse_uri(written) == WebSocketURI(uri.secure, uri.host, uri.port, uri.resource_name)
    client = ClientProtocol(uri, clock=lambda: 0.0, random=bytes)
    head = parse_head(b"".join(client.data_to_send()))
    assert head.start == f"GET {uri.resource_name} HTTP/1.1"
    assert len(head.values("host")) == 1
    assert bool(head.values("authorization")) == (uri.user_info is not None)


def check_parts(uri: WebSocketURI) -> None:
    assert 1 <= uri.port <= 65535
    assert re.fullmatch(r"[a-z0-9_.-]+|[0-9a-f:.]+(%.+)?", uri.host)
    assert re.fullmatch(r"[/?][\x21-\x7e]*", uri.resource_name)
    assert "#" not in uri.resource_name
    if uri.user_info is not None:
        assert ":" not in uri.user_info[0]


def check_secret(source: Source) -> None:
    """A URI with a password in front of its last ``@``: it is seen nowhere."""
    end = "@" + source.block(60).decode("utf-8", "surrogateescape").replace("@", "")
    if source.flag():
        # A password that should have been percent-encoded.
        end = source.choice("/?#:[]\\ ") + end
    text = source.choice(("ws://", "wss://", "http://", "//", "")) + f"user:{SECRET}{end}"
    for parse in (parse_uri, parse_proxy):
        try:
            parsed: WebSocketURI | Proxy = parse(text)
        except (InvalidURI, InvalidProxy) as error:
            shown = f"{error} {error!r} {error.__cause__!r} {error.__context__!r}"
            assert SECRET not in shown, f"{shown!r} shows the password"
        else:
            assert SECRET not in f"{parsed} {parsed!r}"


def check_proxy(source: Source) -> None:
    secure = source.flag()
    text = take_text(source)
    try:
        proxy = parse_proxy(text)
    except InvalidProxy:
        return
    assert 1 <= proxy.port <= 65535
    assert re.fullmatch(r"[a-z0-9_.-]+|[0-9a-f:.]+(%.+)?", proxy.host)
    again = parse_proxy(str(proxy))
    assert (again.scheme, again.host, again.port) == (proxy.scheme, proxy.host, proxy.port)
    if not proxy.is_socks:
        target = WebSocketURI(secure, "example.com", 443, "/")
        head = parse_head(Tunnel(proxy, target).request.serialize())
        assert head.start == "CONNECT example.com:443 HTTP/1.1"
        assert bool(head.values("proxy-authorization")) == (proxy.user_info is not None)


def check_reference(source: Source) -> None:
    base = source.choice(("ws://example.com/a/b?c", "wss://example.com:444", "ws://[::1]/x/../y"))
    reference = take_text(source)
    resolved = resolve_reference(base, reference)
    assert "#" not in resolved
    try:
        uri = parse_uri(resolved)
    except InvalidURI:
        return
    check_parts(uri)


def check_no_proxy(source: Source) -> None:
    secure = source.flag()
    host = source.choice(("example.com", "192.0.2.1", "2001:db8::1", "fe80::1%eth0", "a.b.example.com."))
    uri = WebSocketURI(secure, host, 443 if secure else 80, "/")
    text = take_text(source)
    bypassed = bypasses_proxy(text, uri.host, uri.port)
    assert isinstance(bypassed, bool)
    assert bypasses_proxy(f"{text},*", uri.host, uri.port)
    lines = text.split("\n")
    environment = dict(zip(VARIABLES, lines, strict=False))
    try:
        proxy = proxy_from_environment(uri, environment)
    except InvalidProxy:
        return
    if proxy is not None:
        assert proxy.variable in environment
