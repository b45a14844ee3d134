"""The oldest spellings work, and warn by the name of what replaces them."""

from __future__ import annotations

import asyncio
import types
import warnings
from collections.abc import Generator
from typing import Any

import pytest

from adapters import websockets
from adapters.websockets.client import WebSocketClientProtocol
from adapters.websockets.exceptions import ConnectionClosed, ConnectionClosedError
from adapters.websockets.protocol import WebSocketCommonProtocol
from adapters.websockets.server import WebSocketServerProtocol
from tests.adapters.runtimes.base import HOST, client_context, server_context

from .peers import connected, echo, idle, serving, uri_of


def warns(old: str, replacement: str) -> Any:
    return pytest.warns(DeprecationWarning, match=f"^{old} is deprecated: .*{replacement}")


async def test_nothing_else_warns() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        async with connected() as (client, server):
            await client.send("x")
            await server.recv()


async def test_warnings_point_at_the_caller() -> None:
    with warns("timeout", "close_timeout") as caught:
        websockets.connect("ws://localhost/", timeout=1)
        websockets.serve(idle, HOST, timeout=1)
        websockets.unix_serve(idle, "path", timeout=1)
        WebSocketCommonProtocol(timeout=1)
        WebSocketClientProtocol(timeout=1)
        WebSocketServerProtocol(idle, timeout=1)
    assert [warning.filename for warning in caught] == [__file__] * 6


async def test_timeout() -> None:
    with warns("timeout", "close_timeout"):
        assert WebSocketCommonProtocol(timeout=3).close_timeout == 3
    with warns("timeout", "close_timeout"):
        assert WebSocketClientProtocol(timeout=3).close_timeout == 3
    with warns("timeout", "close_timeout"):
        # There was no server among the arguments.
        assert WebSocketServerProtocol(idle, timeout=3).close_timeout == 3
    # The newer name wins.
    with warns("timeout", "close_timeout"):
        assert WebSocketCommonProtocol(timeout=3, close_timeout=4).close_timeout == 4


async def test_timeout_of_connect_and_serve() -> None:
    with warns("timeout", "close_timeout"):
        async with connected({"timeout": 3}, {"timeout": 4}) as (client, server):
            assert (client.close_timeout, server.close_timeout) == (3, 4)


async def test_klass() -> None:
    class Client(WebSocketClientProtocol):
        pass

    class Server(WebSocketServerProtocol):
        pass

    with warns("klass", "create_protocol"):
        async with connected({"klass": Client}, {"klass": Server}) as (client, server):
            assert isinstance(client, Client)
            assert isinstance(server, Server)
    with warns("klass", "create_protocol"):
        options = {"klass": Client, "create_protocol": WebSocketClientProtocol}
        async with connected(options) as (client, _):
            assert not isinstance(client, Client)


async def test_legacy_recv() -> None:
    with warns("legacy_recv", "ConnectionClosed"):
        async with connected({"legacy_recv": True}, {"legacy_recv": True}) as (client, server):
            await client.send("x")
            assert await server.recv() == "x"
            await client.close()
            assert await client.recv() is None
            assert await server.recv() is None
            with pytest.raises(ConnectionClosed):
                await client.send("x")


async def test_legacy_recv_and_iteration() -> None:
    with warns("legacy_recv", "ConnectionClosed"):
        async with connected({"legacy_recv": True}) as (client, server):
            await server.send("x")
            await server.close()
            assert [message async for message in client] == ["x"]
    with warns("legacy_recv", "ConnectionClosed"):
        async with connected({"legacy_recv": True}) as (client, server):
            await server.close(4000)
            with pytest.raises(ConnectionClosedError):
                await anext(client)


async def test_legacy_recv_of_a_protocol() -> None:
    with warns("legacy_recv", "ConnectionClosed"):
        assert WebSocketCommonProtocol(legacy_recv=True).legacy_recv


async def test_loop() -> None:
    loop = asyncio.get_running_loop()
    for make in (
        lambda: WebSocketCommonProtocol(loop=loop),
        lambda: WebSocketClientProtocol(loop=loop),
        lambda: WebSocketServerProtocol(idle, loop=loop),
    ):
        with warns("loop", "running"):
            assert make().loop is loop
    with warns("loop", "running"):
        async with connected({"loop": loop}, {"loop": loop}) as (client, _):
            assert client.loop is loop


async def test_loop_that_is_not_running() -> None:
    other = asyncio.new_event_loop()
    try:
        with warns("loop", "running"), pytest.raises(RuntimeError, match="loop"):
            WebSocketCommonProtocol(loop=other)
        with warns("loop", "running"), pytest.raises(RuntimeError, match="loop"):
            await websockets.connect("ws://localhost/", loop=other)
        with warns("loop", "running"), pytest.raises(RuntimeError, match="loop"):
            await websockets.serve(idle, HOST, 0, loop=other)
    finally:
        other.close()


@pytest.mark.parametrize(("name", "value"), [("host", "example.com"), ("port", 80), ("secure", True)])
async def test_host_port_and_secure(name: str, value: Any) -> None:
    arguments: dict[str, Any] = {name: value}
    make: Any
    for make in (
        WebSocketCommonProtocol,
        WebSocketClientProtocol,
        lambda **a: WebSocketServerProtocol(idle, **a),
    ):
        with warns(name, ""):
            protocol = make(**arguments)
        with warns(name, ""):
            assert getattr(protocol, name) == value
        # None says nothing.
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            make(**{name: None})


async def test_host_port_and_secure_of_connections() -> None:
    async with connected() as (client, server):
        with warns("host", r"remote_address\[0\]"):
            assert client.host == HOST
        with warns("port", r"local_address\[1\]"):
            assert server.port == client.remote_address[1]
        with warns("secure", "URI"):
            assert client.secure is False
    with warns("host", "local_address"):
        assert WebSocketServerProtocol(idle).host is None


async def test_secure_on_tls() -> None:
    seen = []

    async def handler(websocket: Any, path: str) -> None:
        with warns("secure", "URI"):
            seen.append(websocket.secure)

    async with websockets.serve(handler, HOST, 0, ssl=server_context()) as server:
        uri = uri_of(server).replace("ws:", "wss:")
        async with websockets.connect(uri, ssl=client_context()) as websocket:
            await websocket.wait_closed()
    assert seen == [True]


async def test_send_data() -> None:
    async with connected() as (client, server):
        with warns("data", "message"):
            await client.send(data="x")
        assert await server.recv() == "x"


async def test_yield_from() -> None:
    """In generators that are coroutines, which came before ``await``."""

    @types.coroutine
    def program() -> Generator[Any, None, Any]:
        server = yield from websockets.serve(echo, HOST, 0)
        websocket: Any = yield from websockets.connect(uri_of(server))
        yield from websocket.send("x")
        message = yield from websocket.recv()
        yield from websocket.close()
        server.close()
        yield from server.wait_closed()
        return message

    assert await program() == "x"


async def test_methods_of_the_oldest_connections() -> None:
    async with serving(echo) as (_, uri):
        websocket = await websockets.connect(uri)
        waiter = await websocket.ping()
        await waiter
        await websocket.pong()
        assert websocket.open
        await websocket.close(code=1000, reason="")
        assert not websocket.open
