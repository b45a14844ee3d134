"""Clients of connection handlers, pairs of connections, and servers, on runtimes with coroutines."""

from __future__ import annotations

import importlib
from typing import Any

import pytest

from adapters.asyncio import ConnectionClosedError, ConnectionClosedOK, InvalidStatusCode
from tests.adapters.runtimes import Runtime
from tests.adapters.runtimes.base import DEADLINE, client_context, server_context

from .expiring import EXPIRES, EXPIRING, may_close_late


@pytest.fixture
def tools(runtime: Runtime) -> Any:
    name = {"uvloop": "asyncio"}.get(runtime.name, runtime.name.partition("-")[0])
    return importlib.import_module(f"adapters.testing.{name}")


async def echo(websocket: Any) -> None:
    async for message in websocket:
        await websocket.send(message)


async def fails_on_message(websocket: Any) -> None:
    await websocket.recv()
    raise KeyError("of the handler")


async def test_messages(tools: Any) -> None:
    async with tools.handler_client(echo, timeout=DEADLINE) as client:
        await client.send("hello")
        assert await client.recv() == "hello"
        await client.send([b"in ", b"fragments"])
        assert b"".join([piece async for piece in client.recv_streaming()]) == b"in fragments"
        await client.send("last")
        async for message in client:
            assert message == "last"
            break
    assert client.close_code == 1000


async def test_path_and_options(tools: Any) -> None:
    async def handler(websocket: Any, path: str) -> None:
        await websocket.send(f"{path} {websocket.request_headers['X-Token']} {websocket.subprotocol}")

    async with tools.handler_client(
        handler,
        "/chat?x=1",
        timeout=DEADLINE,
        server={"subprotocols": ["chat"]},
        subprotocols=["chat"],
        extra_headers={"X-Token": "secret"},
    ) as client:
        assert await client.recv() == "/chat?x=1 secret chat"
        with pytest.raises(ConnectionClosedOK):
            await client.recv()


async def test_tls(tools: Any) -> None:
    async with tools.handler_client(
        echo,
        "wss://localhost/",
        timeout=DEADLINE,
        server={"ssl": server_context()},
        ssl=client_context(),
        server_hostname="127.0.0.1",
    ) as client:
        await client.send("hello")
        assert await client.recv() == "hello"


async def test_refusal(tools: Any) -> None:
    server = {"process_request": lambda path, headers: (401, [], b"who are you?")}
    with pytest.raises(InvalidStatusCode) as raised:
        async with tools.handler_client(echo, timeout=DEADLINE, server=server):
            pytest.fail("the block does not begin")
    assert raised.value.status_code == 401


@pytest.mark.parametrize("name", ["sock", "host", "proxy", "create_protocol"])
async def test_options_that_have_no_meaning(tools: Any, name: str) -> None:
    with pytest.raises(TypeError, match=f"'{name}' cannot be given"):
        async with tools.handler_client(echo, **{name: None}):
            pytest.fail("the block does not begin")


async def test_plain_function(tools: Any) -> None:
    def handler(websocket: Any) -> None: ...

    with pytest.raises(TypeError, match="must be a coroutine function"):
        async with tools.handler_client(handler):
            pytest.fail("the block does not begin")


# Errors


@pytest.mark.parametrize("way", ["recv", "iteration", "pieces"])
async def test_error_where_the_test_waits(tools: Any, way: str) -> None:
    async with tools.handler_client(fails_on_message, timeout=DEADLINE) as client:
        await client.send("go")
        ways = {
            "recv": client.recv,
            "iteration": client.__anext__,
            "pieces": client.recv_streaming().__anext__,
        }
        with pytest.raises(KeyError, match="of the handler") as raised:
            await ways[way]()
        assert isinstance(raised.value.__context__, ConnectionClosedError)
    assert client.close_code == 1011


async def test_error_that_no_wait_has_raised(tools: Any) -> None:
    with pytest.raises(KeyError, match="of the handler"):
        async with tools.handler_client(fails_on_message, timeout=DEADLINE) as client:
            await client.send("go")


async def test_error_is_a_note_on_that_of_the_test(tools: Any) -> None:
    async def test() -> None:
        async with tools.handler_client(fails_on_message, timeout=DEADLINE) as client:
            await client.send("go")
            await client.wait_closed()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as raised:
        await test()
    assert "the handler has failed" in raised.value.__notes__[0]
    assert "KeyError: 'of the handler'" in raised.value.__notes__[0]


async def test_end_of_the_connection_is_no_error_of_a_handler(tools: Any) -> None:
    async def handler(websocket: Any) -> None:
        await websocket.recv()

    async with tools.handler_client(handler, timeout=DEADLINE):
        pass


async def test_no_message_in_time(tools: Any) -> None:
    with may_close_late():
        async with tools.handler_client(echo, **EXPIRES) as client:
            with pytest.raises(TimeoutError, match=r"^no message in 0\.2 seconds$"):
                await client.recv()
            with pytest.raises(TimeoutError, match=r"^no message in 0\.2 seconds$"):
                await anext(client)
            with pytest.raises(TimeoutError, match=r"^no piece of a message in 0\.2 seconds$"):
                await anext(client.recv_streaming())
            with pytest.raises(TimeoutError, match=r"^the connection was not closed in 0\.2 seconds$"):
                await client.wait_closed()


async def test_handler_that_does_not_return(runtime: Runtime, tools: Any) -> None:
    cancelled = []

    async def handler(websocket: Any) -> None:
        try:
            await runtime.event().wait()
        finally:
            cancelled.append(True)

    with pytest.raises(TimeoutError, match=r"closed.* in 0\.2 seconds"):
        async with tools.handler_client(handler, **EXPIRES):
            pass
    assert cancelled


async def test_error_of_the_test_ends_the_handler(runtime: Runtime, tools: Any) -> None:
    async def handler(websocket: Any) -> None:
        await runtime.event().wait()

    with pytest.raises(ZeroDivisionError):
        async with tools.handler_client(handler, **EXPIRES):
            raise ZeroDivisionError


async def test_cancelled_test(runtime: Runtime, tools: Any) -> None:
    async def test() -> None:
        async with tools.handler_client(echo, timeout=DEADLINE) as client:
            await client.recv()

    with pytest.raises(TimeoutError):
        await runtime.timeout(EXPIRING, test)


# Pairs and servers


async def test_pair(tools: Any) -> None:
    async with tools.connection_pair(timeout=DEADLINE, server={"ping_interval": None}) as (client, server):
        await client.send("to the server")
        assert await server.recv() == "to the server"
        await server.send("to the client")
        assert await client.recv() == "to the client"
        await server.close(4000, "enough")
        with pytest.raises(ConnectionClosedError):
            await client.recv()
    assert (client.close_code, client.close_reason) == (4000, "enough")


async def test_both_ends_of_a_pair_wait_in_time(tools: Any) -> None:
    with may_close_late():
        async with tools.connection_pair(**EXPIRES) as ends:
            for end in ends:
                with pytest.raises(TimeoutError, match=r"no message in 0\.2 seconds"):
                    await end.recv()


async def test_server(runtime: Runtime, tools: Any) -> None:
    async with tools.handler_server(echo, timeout=DEADLINE, subprotocols=["chat"]) as serving:
        async with runtime.connect(f"{serving.uri}/path", subprotocols=["chat"]) as client:
            await runtime.check_echo(client)
            assert client.subprotocol == "chat"
        assert serving.uri == f"ws://127.0.0.1:{serving.server.port}"


async def test_error_on_a_server(runtime: Runtime, tools: Any) -> None:
    async def test() -> None:
        async with (
            tools.handler_server(fails_on_message, timeout=DEADLINE) as serving,
            runtime.connect(serving.uri) as client,
        ):
            await client.send("go")
            await client.wait_closed()

    with pytest.raises(KeyError, match="of the handler"):
        await test()
