"""What `connect` and `serve` of asyncio alone have: how they are called, and options of the event loop."""

from __future__ import annotations

import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from adapters.asyncio import (
    ClientConnection,
    connect,
    serve,
    unix_connect,
    unix_serve,
)
from tests.adapters.runtimes import Runtime
from tests.adapters.runtimes.base import HOST, echo
from tests.core.helpers import parse_head
from wsproto_core import (
    InvalidURI,
    State,
)


async def check_echo(client: ClientConnection) -> None:
    await client.send("hello")
    assert await client.recv() == "hello"


# connect


async def test_connect_is_awaitable(runtime: Runtime) -> None:
    async with runtime.serving() as (_, uri):
        client = await connect(uri)
        assert isinstance(client, ClientConnection)
        assert client.state is State.OPEN
        await check_echo(client)
        await client.close()


@pytest.mark.parametrize("uri", ["http://localhost/", "localhost", "ws://localhost/#fragment", "ws:///path"])
async def test_uri_that_is_none_is_refused_before_any_connection(uri: str) -> None:
    with pytest.raises(InvalidURI):
        connect(uri)


async def test_options_of_the_event_loop_are_passed_on(runtime: Runtime) -> None:
    async with runtime.serving() as (server, uri):
        async with connect(uri, family=socket.AF_INET, local_addr=("127.0.0.1", 0)) as client:
            await check_echo(client)
        with pytest.raises(socket.gaierror):
            await connect(f"ws://[::1]:{runtime.port_of(server)}/", family=socket.AF_INET)


@pytest.mark.parametrize("handler", [lambda: None, lambda a, b, c: None, lambda *, a: None])
async def test_handler_that_cannot_be_called_is_refused_by_serve(handler: Any) -> None:
    with pytest.raises(TypeError, match="handler must take the connection"):
        serve(handler, HOST, 0)


async def test_unknown_option_may_be_meant_for_the_event_loop() -> None:
    with pytest.raises(TypeError, match="'back_log'; did you mean 'backlog'"):
        await serve(echo, HOST, 0, back_log=1)  # type: ignore[call-arg]


async def test_listener_options_are_passed_on(runtime: Runtime) -> None:
    options: dict[str, Any] = {
        "backlog": 1,
        "reuse_port": True,
        "reuse_address": True,
        "family": socket.AF_INET,
    }
    async with serve(echo, "localhost", 0, **options) as server, connect(runtime.uri_of(server)) as client:
        await check_echo(client)
        async with serve(echo, "localhost", runtime.port_of(server), reuse_port=True, family=socket.AF_INET):
            pass


async def test_transport_of_tls(runtime: Runtime) -> None:
    async with runtime.connected(tls=True) as ends:
        for end in ends:
            assert end.transport.get_extra_info("ssl_object") is not None


async def test_options_of_unix_sockets_are_checked(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    with pytest.raises(TypeError, match="'backlogg'; did you mean 'backlog'"):
        await unix_serve(echo, path, backlogg=1)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="'local_addr'"):
        await unix_connect(path, local_addr=("127.0.0.1", 0))
    with pytest.raises(TypeError, match="'reuse_port'"):
        await unix_serve(echo, path, reuse_port=True)
    with pytest.raises(InvalidURI):
        unix_connect(path, "http://localhost/")


def test_uvloop_is_there_to_be_tested() -> None:
    assert "uvloop" in sys.modules
    assert parse_head(b"GET / HTTP/1.1\r\n\r\n").start == "GET / HTTP/1.1"
