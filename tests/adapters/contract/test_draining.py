"""Draining: a server closes its connections one after the other, over a time."""

from __future__ import annotations

from typing import Any

import pytest

from tests.adapters.runtimes import Runtime
from tests.adapters.runtimes.base import wait_closed
from tests.core.helpers import request
from wsproto_core import ConnectionClosedError, ConnectionClosedOK

EVER = 1000
"""Seconds that no test waits: connections that are not closed within them go on, as far as it matters."""

needs_sockets = pytest.mark.needs("sockets")


async def open_clients(runtime: Runtime, uri: str, count: int) -> list[Any]:
    clients = [await runtime.open(uri) for _ in range(count)]
    for client in clients:
        await runtime.check_echo(client)
    return clients


async def the_one_closed(runtime: Runtime, clients: list[Any]) -> tuple[Any, list[Any]]:
    """Wait until a client is closed; return it, and the others."""
    await runtime.until(lambda: any(client.closed for client in clients))
    (closed,) = [client for client in clients if client.closed]
    return closed, [client for client in clients if client is not closed]


async def test_connections_are_closed_in_equal_steps(runtime: Runtime) -> None:
    ended: list[float] = []

    async def handler(websocket: Any) -> None:
        async for message in websocket:
            await websocket.send(message)
        ended.append(runtime.now())

    async with runtime.serving(handler) as (server, uri):
        clients = await open_clients(runtime, uri, 3)
        begun = runtime.now()
        server.close(drain=0.6)
        await server.wait_closed()
        steps = [ended[position] - begun for position in range(3)]
        assert steps == sorted(steps)
        # Never earlier; on a busy machine, later.
        assert steps[1] >= 0.2
        assert steps[2] >= 0.4
        for client in clients:
            await client.wait_closed()
            assert (client.close_code, client.close_reason) == (1001, "")


async def test_others_go_on_until_their_turn_comes(runtime: Runtime) -> None:
    async with runtime.serving() as (server, uri):
        clients = await open_clients(runtime, uri, 3)
        waiting = runtime.spawn(server.wait_closed)
        server.close(drain=EVER)
        _, others = await the_one_closed(runtime, clients)
        for client in others:
            await runtime.check_echo(client)
        assert len(server.connections) >= 2
        assert not waiting.done()
        server.close()
        await waiting.result()
        for client in others:
            await client.wait_closed()
            assert client.close_code == 1001


@needs_sockets
async def test_no_connection_is_accepted_from_the_beginning_on(runtime: Runtime) -> None:
    async with runtime.serving() as (server, uri):
        await open_clients(runtime, uri, 2)
        server.close(drain=EVER)
        assert not server.is_serving()
        assert not server.sockets
        with pytest.raises(OSError, match=r"refused|failed"):
            await runtime.open(uri)
        server.close()


async def test_request_that_is_not_complete_gets_503_at_once(runtime: Runtime) -> None:
    async with runtime.serving() as (server, uri):
        await open_clients(runtime, uri, 2)
        async with runtime.raw_connection(server) as peer:
            await peer.send(request()[:-10])
            await runtime.until(lambda: len(server.connections) == 3)
            await runtime.settle()
            server.close(drain=EVER)
            assert (await peer.read_response()).status == 503
        server.close()


async def test_code_and_reason(runtime: Runtime) -> None:
    async with runtime.serving() as (server, uri):
        clients = await open_clients(runtime, uri, 2)
        server.close(code=1012, reason="back soon", drain=0.2)
        for client in clients:
            with pytest.raises(ConnectionClosedError) as raised:
                await client.recv()
            assert (raised.value.code, raised.value.reason) == (1012, "back soon")


async def test_one_connection_is_closed_at_once(runtime: Runtime) -> None:
    async with runtime.serving() as (server, uri), runtime.connect(uri) as client:
        await runtime.check_echo(client)
        server.close(drain=EVER)
        with pytest.raises(ConnectionClosedOK):
            await client.recv()
        await server.wait_closed()


async def test_server_without_connections_is_closed_at_once(runtime: Runtime) -> None:
    async with runtime.serving() as (server, _):
        server.close(drain=EVER)
        await server.wait_closed()


async def test_connections_that_end_by_themselves_are_not_waited_for(runtime: Runtime) -> None:
    async with runtime.serving() as (server, uri):
        clients = await open_clients(runtime, uri, 3)
        server.close(drain=EVER)
        _, others = await the_one_closed(runtime, clients)
        for client in others:
            await client.close()
        await server.wait_closed()


async def test_leaving_the_block_waits_for_the_rest(runtime: Runtime) -> None:
    async with runtime.serving() as (server, uri):
        clients = await open_clients(runtime, uri, 2)
        begun = runtime.now()
        server.close(code=1012, drain=0.6)
    assert runtime.now() - begun >= 0.3
    for client in clients:
        await client.wait_closed()
        assert client.close_code == 1012


async def test_leaving_the_block_by_an_exception_closes_the_rest_at_once(runtime: Runtime) -> None:
    clients: list[Any] = []

    async def serve() -> None:
        async with runtime.serving() as (server, uri):
            clients.extend(await open_clients(runtime, uri, 3))
            server.close(drain=EVER)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await serve()
    for client in clients:
        await client.wait_closed()
        assert client.close_code == 1001


@pytest.mark.needs("coroutines", "sockets")
async def test_cancelling_the_block_closes_the_rest_at_once(runtime: Runtime) -> None:
    served: list[Any] = []

    async def serve() -> None:
        async with runtime.serving() as (server, uri):
            served.append((server, uri))
            await server.serve_forever()

    serving = runtime.spawn(serve)
    await runtime.until(lambda: served)
    server, uri = served[0]
    clients = await open_clients(runtime, uri, 3)
    server.close(drain=EVER)
    await the_one_closed(runtime, clients)
    serving.cancel()
    for client in clients:
        await client.wait_closed()
    await runtime.until(serving.done)
    assert not server.connections


@pytest.mark.parametrize(("first", "second"), [(0.2, EVER), (EVER, 0.2)])
async def test_second_drain_closes_nothing_later(runtime: Runtime, first: float, second: float) -> None:
    """As when a supervisor sends the same signal twice."""
    async with runtime.serving() as (server, uri):
        clients = await open_clients(runtime, uri, 3)
        server.close(drain=first)
        server.close(drain=second)
        await server.wait_closed()
        for client in clients:
            await client.wait_closed()


async def test_drain_after_a_close_that_leaves_connections_to_their_handlers(runtime: Runtime) -> None:
    async with runtime.serving() as (server, uri):
        clients = await open_clients(runtime, uri, 2)
        server.close(close_connections=False)
        for client in clients:
            await runtime.check_echo(client)
        server.close(drain=0.2)
        await server.wait_closed()
        for client in clients:
            await client.wait_closed()
            assert client.close_code == 1001


async def test_handlers_are_waited_for(runtime: Runtime) -> None:
    finish = runtime.event()

    async def handler(websocket: Any) -> None:
        async for message in websocket:
            await websocket.send(message)
        await finish.wait()

    async with runtime.serving(handler) as (server, uri):
        clients = await open_clients(runtime, uri, 2)
        server.close(drain=0.2)
        for client in clients:
            with pytest.raises(ConnectionClosedOK):
                await client.recv()
        waiting = runtime.spawn(server.wait_closed)
        await runtime.settle()
        assert not waiting.done()
        finish.set()
        await waiting.result()


async def test_handler_drains_its_own_server(runtime: Runtime) -> None:
    async def handler(websocket: Any) -> None:
        async for _ in websocket:
            websocket.server.close(drain=0.2)

    async with runtime.serving(handler) as (server, uri):
        clients = [await runtime.open(uri) for _ in range(2)]
        await runtime.until(lambda: len(server.connections) == 2)
        await clients[0].send("drain")
        for client in clients:
            with pytest.raises(ConnectionClosedOK):
                await client.recv()
        await server.wait_closed()


@needs_sockets
async def test_connections_on_tls(runtime: Runtime) -> None:
    async with runtime.serving(**runtime.server_tls(True)) as (server, uri):
        clients = [await runtime.open(uri, **runtime.client_tls(True)) for _ in range(3)]
        for client in clients:
            await runtime.check_echo(client)
        server.close(drain=0.2)
        await server.wait_closed()
        for client in clients:
            await client.wait_closed()
            assert client.close_code == 1001


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"drain": -1}, ValueError, "drain must be 0 or a positive number of seconds"),
        ({"drain": float("inf")}, ValueError, "drain must be 0 or a positive number of seconds"),
        ({"drain": None}, TypeError, "drain must be a number of seconds, 0 for none, not None"),
        ({"drain": "1"}, TypeError, "drain must be a number of seconds"),
        ({"drain": 1, "close_connections": False}, ValueError, "drain.*close_connections=False"),
        ({"drain": 1, "code": 999}, ValueError, "code"),
    ],
    ids=str,
)
async def test_arguments_that_are_not_allowed_close_nothing(
    runtime: Runtime, arguments: dict[str, Any], error: type[Exception], text: str
) -> None:
    async with runtime.serving(wait_closed) as (server, uri), runtime.connect(uri):
        with pytest.raises(error, match=text):
            server.close(**arguments)
        assert server.is_serving()
