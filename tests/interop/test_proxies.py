"""Clients through proxies that others have written: tinyproxy for HTTP, microsocks for SOCKS."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.adapters.runtimes import make_runtime
from tests.adapters.runtimes.base import client_context, server_context
from tests.ports import free_port
from wsproto_core import InvalidHandshake
from wsproto_core.exceptions import InvalidProxyStatus, SocksError

from .programs import HOST, microsocks, tinyproxy
from .through import NAMES, check, serve_case

pytestmark = pytest.mark.parametrize("name", NAMES)


@pytest.fixture(scope="module")
def http_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with tinyproxy(tmp_path_factory.mktemp("tinyproxy")) as port:
        yield port


@pytest.fixture(scope="module")
def socks_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with microsocks(tmp_path_factory.mktemp("microsocks")) as port:
        yield port


def check_through(name: str, proxy: str, tls: bool) -> None:
    """Whatever is sent through a proxy arrives."""
    runtime = make_runtime(name)
    options = {"ssl": client_context()} if tls else {}

    async def test() -> None:
        server_options = {"ssl": server_context()} if tls else {}
        async with runtime.serving(serve_case, max_size=None, **server_options) as (_, uri):
            await check(runtime, uri, proxy=proxy, **options)

    runtime.run(test())


@pytest.mark.parametrize("tls", [False, True])
def test_http_proxy(name: str, http_port: int, tls: bool) -> None:
    check_through(name, f"http://{HOST}:{http_port}", tls)


def test_http_proxy_cannot_reach_the_server(name: str, http_port: int) -> None:
    runtime = make_runtime(name)

    async def test() -> None:
        with pytest.raises(InvalidProxyStatus, match="HTTP status 5"):
            await runtime.open(f"ws://{HOST}:{free_port()}/", proxy=f"http://{HOST}:{http_port}")

    runtime.run(test())


def test_http_proxy_with_credentials(name: str, tmp_path: Path) -> None:
    runtime = make_runtime(name)

    async def test(port: int) -> None:
        async with runtime.serving() as (_, uri):
            async with runtime.connect(uri, proxy=f"http://user:secret@{HOST}:{port}") as client:
                await runtime.check_echo(client)
            for user_info in ("", "user:wrong@"):
                with pytest.raises(InvalidProxyStatus, match=r"HTTP status 40[17]"):
                    await runtime.open(uri, proxy=f"http://{user_info}{HOST}:{port}")

    with tinyproxy(tmp_path, ("user", "secret")) as port:
        runtime.run(test(port))


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("scheme", ["socks5", "socks5h"])
def test_socks_proxy(name: str, socks_port: int, scheme: str, tls: bool) -> None:
    check_through(name, f"{scheme}://{HOST}:{socks_port}", tls)


def test_socks_proxy_cannot_reach_the_server(name: str, socks_port: int) -> None:
    runtime = make_runtime(name)

    async def test() -> None:
        with pytest.raises(SocksError) as raised:
            await runtime.open(f"ws://{HOST}:{free_port()}/", proxy=f"socks5h://{HOST}:{socks_port}")
        # Connection refused (RFC 1928 section 6).
        assert raised.value.code == 5

    runtime.run(test())


def test_socks_proxy_with_credentials(name: str, tmp_path: Path) -> None:
    runtime = make_runtime(name)

    async def test(port: int) -> None:
        async with runtime.serving() as (_, uri):
            async with runtime.connect(uri, proxy=f"socks5h://user:secret@{HOST}:{port}") as client:
                await runtime.check_echo(client)
            for user_info in ("", "user:wrong@"):
                with pytest.raises(InvalidHandshake):
                    await runtime.open(uri, proxy=f"socks5h://{user_info}{HOST}:{port}")

    with microsocks(tmp_path, ("user", "secret")) as port:
        runtime.run(test(port))
