"""TLS by default: the default context of clients is made once a process."""

from __future__ import annotations

import ssl
from collections.abc import Iterator

import pytest

from adapters.shared import tls
from tests.adapters.runtimes import Runtime
from tests.adapters.runtimes.base import CERTIFICATES, HOST, client_context, server_context
from tests.adapters.runtimes.proxies import HTTPProxy

pytestmark = pytest.mark.needs("sockets", "features")


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[ssl.SSLContext]]:
    """The default contexts that are made; they trust the certificate of the tests."""
    contexts: list[ssl.SSLContext] = []
    create = ssl.create_default_context

    def create_default_context(*args: object, **options: object) -> ssl.SSLContext:
        contexts.append(create(cafile=CERTIFICATES / "localhost.pem"))
        return contexts[-1]

    monkeypatch.setattr(tls._default_context, "_context", None)
    monkeypatch.setattr(ssl, "create_default_context", create_default_context)
    yield contexts
    monkeypatch.undo()


async def test_connections_share_a_context(runtime: Runtime, made: list[ssl.SSLContext]) -> None:
    async with runtime.serving(**runtime.server_tls(True)) as (server, uri):
        for host in (HOST, "localhost", HOST):
            uri = runtime.uri_of(server, scheme="wss", host=host)
            async with runtime.connect(uri, **({"host": HOST} if host == "localhost" else {})) as client:
                await runtime.check_echo(client)
                # The names are checked one by one.
                assert client.tls.server_hostname == host
    assert len(made) == 1


async def test_context_that_is_given_is_used(runtime: Runtime, made: list[ssl.SSLContext]) -> None:
    context = client_context()
    made.clear()
    async with (
        runtime.serving(**runtime.server_tls(True)) as (_, uri),
        runtime.connect(uri, ssl=context) as client,
    ):
        await runtime.check_echo(client)
    assert not made


async def test_proxies_share_it(runtime: Runtime, made: list[ssl.SSLContext]) -> None:
    """TLS to a proxy, and within that to the server."""
    async with runtime.serving(**runtime.server_tls(True)) as (_, uri):
        with HTTPProxy(context=server_context()) as proxy:
            for _ in range(2):
                async with runtime.connect(uri, proxy=proxy.url) as client:
                    await runtime.check_echo(client)
            assert len(proxy.requests) == 2
    assert len(made) == 1
