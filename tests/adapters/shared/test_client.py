"""The steps of opening a connection: deadlines and redirects, without any stream."""

from __future__ import annotations

from typing import Any

import pytest

from adapters.shared.client import Connecting, Target
from adapters.shared.options import ConnectSettings, connection_options
from tests.core.helpers import Clock
from wsproto_core import ClientProtocol, HandshakeTimeout, Headers, InvalidStatusCode, Response
from wsproto_core.http.uri import WebSocketURI


def redirect(location: str) -> InvalidStatusCode:
    return InvalidStatusCode(302, Response(302, Headers({"Location": location})))


def connecting(uri: str = "ws://example.com/", clock: Clock | None = None, **options: Any) -> Connecting:
    return Connecting(Target(uri, options), clock=clock or Clock(), environment={})


class Connection:
    """As much of an adapter's connection as there has to be."""

    def __init__(self, uri: WebSocketURI, settings: ConnectSettings) -> None:
        self.protocol = ClientProtocol(uri, clock=Clock(), settings=settings)


def test_redirects_share_the_deadline() -> None:
    clock = Clock()
    opening = connecting(clock=clock, open_timeout=10)
    assert opening.deadline == clock.now + 10
    clock.advance(4)
    opening.follow(redirect("/new"))
    assert opening.deadline == clock.now + 6
    assert opening.uri.resource_name == "/new"
    clock.advance(6)
    error = redirect("/newer")
    with pytest.raises(HandshakeTimeout, match=r"example\.com within 10 seconds \(open_timeout\)") as raised:
        opening.follow(error)
    assert raised.value.__cause__ is error


def test_each_connection_has_the_deadline_of_all_of_them() -> None:
    clock = Clock()
    opening = connecting(clock=clock, open_timeout=10)
    end = clock.now + 10
    for _ in range(2):
        clock.advance(4)
        connection = opening.create(Connection)
        assert connection.protocol.deadline() == end
        assert connection.protocol.uri == opening.uri
        opening.follow(redirect("/new"))
    connection = connecting(clock=clock, open_timeout=None).create(Connection)
    assert connection.protocol.deadline() is None


def test_no_deadline() -> None:
    clock = Clock()
    opening = connecting(clock=clock, open_timeout=None)
    assert opening.deadline is None
    clock.advance(1000)
    opening.follow(redirect("wss://other.example:444/"))
    assert opening.settings.open_timeout is None
    assert (opening.host, opening.port, opening.ssl) == ("other.example", 444, True)
    assert opening.server_hostname == "other.example"


def test_options_are_those_of_one_connection() -> None:
    opening = connecting(host="10.0.0.1", max_size=1, max_redirects=3, reconnect_delays=[1], ssl=None, x=1)
    assert (opening.host, opening.port) == ("10.0.0.1", 80)
    assert connection_options(opening.settings) == {"max_size": 1}
    assert opening.stream_options == {"x": 1}


def test_proxies() -> None:
    opening = connecting("wss://example.com/", proxy="http://proxy:3128", user_agent_header="mine")
    assert opening.tunnel().request.path == "example.com:443"
    assert opening.tunnel().request.headers["User-Agent"] == "mine"


def test_zone_identifier() -> None:
    """It says where to connect to, and nothing else: no other machine knows it (RFC 6874 section 4)."""
    uri = "wss://[fe80::1%25eth0]:8443/"
    direct = connecting(uri)
    assert (direct.host, direct.port, direct.server_hostname) == ("fe80::1%eth0", 8443, "fe80::1")
    assert ClientProtocol(direct.uri, clock=Clock()).request.headers["Host"] == "[fe80::1]:8443"
    direct.follow(redirect("/new"))
    assert direct.host == "fe80::1%eth0"
    proxied = connecting(uri, proxy="https://[fe80::2%25eth0]:3128")
    assert proxied.proxy is not None
    assert (proxied.proxy.host, proxied.proxy_server_hostname) == ("fe80::2%eth0", "fe80::2")
    assert (proxied.host, proxied.server_hostname) == ("fe80::1", "fe80::1")
    assert proxied.tunnel().request.path == "[fe80::1]:8443"
