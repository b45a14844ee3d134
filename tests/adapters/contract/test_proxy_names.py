"""Connecting through proxies: requests to proxies, their answers, and the choice of a proxy.

Here: the name that a proxy's certificate must have.
"""

from __future__ import annotations

import ssl
from typing import Any

import pytest

from tests.adapters.runtimes import Runtime
from tests.adapters.runtimes.base import client_context, server_context
from tests.adapters.runtimes.proxies import HTTPProxy

pytestmark = pytest.mark.needs("sockets", "features")


def listening_context(names: list[str | None]) -> ssl.SSLContext:
    """A server's context that keeps the names that clients ask for."""

    def keep(tls: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        names.append(name)

    context = server_context()
    context.sni_callback = keep  # type: ignore[assignment]
    return context


@pytest.mark.parametrize("server_tls", [False, True], ids=["ws", "wss"])
async def test_name_of_the_proxy(runtime: Runtime, server_tls: bool) -> None:
    asked_of_proxy: list[str | None] = []
    asked_of_server: list[str | None] = []
    tls: dict[str, Any] = {"ssl": listening_context(asked_of_server)} if server_tls else {}
    options = {"proxy_ssl": client_context(), **runtime.client_tls(server_tls)}
    async with runtime.serving(**tls) as (_, uri):
        with HTTPProxy(context=listening_context(asked_of_proxy)) as proxy:
            async with runtime.connect(
                uri, proxy=proxy.url, proxy_server_hostname="localhost", **options
            ) as client:
                await runtime.check_echo(client)
            async with runtime.connect(uri, proxy=proxy.url, **options) as client:
                await runtime.check_echo(client)
            with pytest.raises(ssl.SSLCertVerificationError):
                await runtime.open(uri, proxy=proxy.url, proxy_server_hostname="other.example", **options)
    # An IP address is no name to be asked for (RFC 6066 section 3).
    assert asked_of_proxy == ["localhost", None, "other.example"]
    assert asked_of_server == ([None] * 2 if server_tls else [])
