"""What python-socks is asked for."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import python_socks

from adapters.shared.tunnels import socks_client
from wsproto_core.connect.proxy import parse_proxy


@pytest.mark.parametrize(
    ("scheme", "proxy_type", "rdns"),
    [
        ("socks4", "SOCKS4", False),
        ("socks4a", "SOCKS4", True),
        ("socks5", "SOCKS5", False),
        ("socks5h", "SOCKS5", True),
    ],
)
def test_socks_client(scheme: str, proxy_type: str, rdns: bool) -> None:
    def create(**arguments: Any) -> dict[str, Any]:
        return arguments

    proxy = parse_proxy(f"{scheme}://[::1]:9050")
    assert proxy.is_socks
    expected = {
        "proxy_type": python_socks.ProxyType[proxy_type],
        "host": "::1",
        "port": 9050,
        "rdns": rdns,
        "forward": SimpleNamespace(connect=open),
    }
    assert socks_client(lambda: create, proxy, open) == {**expected, "username": None, "password": None}
    proxy = parse_proxy(f"{scheme}://user:pass@[::1]:9050")
    assert socks_client(lambda: create, proxy, open) == {**expected, "username": "user", "password": "pass"}
