"""The server object: what it listens on, what it knows, how it is closed."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Any

import pytest

from adapters.asyncio import Server, ServerConnection, connect, serve
from tests.core.helpers import CLOSE, TEXT, Frame, close_payload, request
from wsproto_core import ConnectionClosedError, ConnectionClosedOK, InvalidStatusCode, State

from .runtime import (
    HOST,
    Log,
    client_context,
    echo,
    port_of,
    raw_client,
    raw_connection,
    server_context,
    serving,
    settle,
    turns,
    until,
    uri_of,
    wait_closed,
)

# What it is


async def test_await_returns_a_server_that_has_to_be_closed() -> None:
    server = await serve(echo, HOST, 0)
    assert isinstance(server, Server)
    async with connect(uri_of(server)) as client:
        await client.send("a")
        assert await client.recv() == "a"
    server.close()
    await server.wait_closed()


async def test_server_is_a_context_manager() -> None:
    async with await serve(echo, HOST, 0) as server:
        assert server.is_serving()
    assert not server.is_serving()


async def test_server_is_closed_when_its_block_raises() -> None:
    with pytest.raises(ZeroDivisionError):
        async with serve(echo, HOST, 0) as server:
            raise ZeroDivisionError
    assert not server.is_serving()


async def test_sockets() -> None:
    async with serve(echo, [HOST, "127.0.0.2"], 0) as server:
        assert server.sockets is not None
        assert sorted(sock.getsockname()[0] for sock in server.sockets) == ["127.0.0.1", "127.0.0.2"]
        for sock in server.sockets:
            host, port = sock.getsockname()
            async with connect(f"ws://{host}:{port}/") as client:
                await client.send("a")
                assert await client.recv() == "a"
    assert server.sockets is None


async def test_connections() -> None:
    async with serving(wait_closed) as (server, uri):
        assert server.connections == set()
        async with connect(uri) as first, connect(uri) as second:
            assert len(server.connections) == 2
            assert {connection.state for connection in server.connections} == {State.OPEN}
            ports = {connection.remote_address for connection in server.connections}
            assert ports == {first.local_address, second.local_address}
            assert {connection.server for connection in server.connections} == {server}
            await first.close()
            await until(lambda: len(server.connections) == 1)
        await until(lambda: not server.connections)


async def test_many_connections_at_once() -> None:
    async def use(number: int) -> None:
        async with connect(uri) as client:
            await client.send(str(number))
            assert await client.recv() == str(number)

    async with serving(backlog=200) as (server, uri):
        await asyncio.gather(*map(use, range(100)))
        await until(lambda: not server.connections)


async def test_two_servers() -> None:
    async with (
        serving(echo) as (first, first_uri),
        serving(wait_closed) as (second, second_uri),
        connect(first_uri) as client,
        connect(second_uri),
    ):
        assert len(first.connections) == len(second.connections) == 1
        second.close()
        await second.wait_closed()
        await client.send("a")
        assert await client.recv() == "a"


async def test_one_handler_may_serve_several_servers() -> None:
    async def handler(websocket: ServerConnection) -> None:
        await websocket.send(str(port_of(websocket.server)))

    async with serving(handler) as (first, first_uri), serving(handler) as (second, second_uri):
        for server, uri in ((first, first_uri), (second, second_uri)):
            async with connect(uri) as client:
                assert await client.recv() == str(port_of(server))


async def test_start_serving() -> None:
    async with serve(echo, HOST, 0, start_serving=False) as server:
        assert not server.is_serving()
        await server.start_serving()
        assert server.is_serving()
        async with connect(uri_of(server)) as client:
            await client.send("a")
            assert await client.recv() == "a"


async def test_serve_forever_ends_by_cancellation_and_closes() -> None:
    server = await serve(wait_closed, HOST, 0)
    serving_task = asyncio.create_task(server.serve_forever())
    async with connect(uri_of(server)) as client:
        await turns()
        assert server.is_serving()
        serving_task.cancel()
        with pytest.raises(ConnectionClosedOK) as raised:
            await client.recv()
        assert raised.value.code == 1001
    with pytest.raises(asyncio.CancelledError):
        await serving_task
    assert not server.is_serving()
    assert server.connections == set()


async def test_serve_forever_in_a_block() -> None:
    async def run() -> None:
        async with serve(echo, HOST, 0) as server:
            started.set_result(server)
            await server.serve_forever()

    started: asyncio.Future[Server] = asyncio.get_running_loop().create_future()
    running = asyncio.create_task(run())
    async with connect(uri_of(await started)) as client:
        await client.send("a")
        assert await client.recv() == "a"
        running.cancel()
        assert [message async for message in client] == []
        assert client.close_code == 1001
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_serve_forever_ends_when_the_server_is_closed() -> None:
    server = await serve(echo, HOST, 0)
    serving_task = asyncio.create_task(server.serve_forever())
    async with connect(uri_of(server)) as client:
        server.close(close_connections=False)
        await settle()
        # What is left to its handler is waited for.
        assert not serving_task.done()
        await client.send("a")
        assert await client.recv() == "a"
    await serving_task
    await server.serve_forever()


async def test_serve_forever_starts_serving() -> None:
    server = await serve(echo, HOST, 0, start_serving=False)
    uri = uri_of(server)
    serving_task = asyncio.create_task(server.serve_forever())
    await until(server.is_serving)
    async with connect(uri) as client:
        await client.send("a")
        assert await client.recv() == "a"
    serving_task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving_task


# Closing


async def test_close_of_open_connections() -> None:
    ended: list[BaseException] = []

    async def handler(websocket: ServerConnection) -> None:
        try:
            await websocket.recv()
        except ConnectionClosedOK as error:
            ended.append(error)
            raise

    async with serving(handler) as (server, uri), connect(uri) as first, connect(uri) as second:
        server.close()
        for client in (first, second):
            assert [message async for message in client] == []
            assert (client.close_code, client.close_reason) == (1001, "")
        await server.wait_closed()
        assert len(ended) == 2
        assert server.connections == set()


async def test_handlers_that_send_get_connection_closed_too() -> None:
    ended = asyncio.Event()

    async def handler(websocket: ServerConnection) -> None:
        with contextlib.suppress(ConnectionClosedOK):
            while True:
                await websocket.send("a")
                await asyncio.sleep(0)
        ended.set()

    async with serving(handler) as (server, uri), connect(uri) as client:
        await client.recv()
        server.close()
        await ended.wait()


async def test_code_and_reason() -> None:
    async with serving(wait_closed) as (server, uri), connect(uri) as client:
        server.close(code=1012, reason="back soon")
        with pytest.raises(ConnectionClosedError) as raised:
            await client.recv()
        assert (raised.value.code, raised.value.reason) == (1012, "back soon")


@pytest.mark.parametrize("arguments", [{"code": 999}, {"reason": "x" * 124}])
async def test_code_or_reason_that_cannot_be_sent_closes_nothing(arguments: dict[str, Any]) -> None:
    async with serving(echo) as (server, uri):
        with pytest.raises(ValueError, match=r"code|reason"):
            server.close(**arguments)
        assert server.is_serving()
        async with connect(uri) as client:
            await client.send("a")
            assert await client.recv() == "a"


async def test_close_that_leaves_connections_to_their_handlers() -> None:
    async def handler(websocket: ServerConnection) -> None:
        async for message in websocket:
            if message == "end":
                break
            await websocket.send(message)

    async with serving(handler) as (server, uri), connect(uri) as client:
        server.close(close_connections=False)
        assert not server.is_serving()
        with pytest.raises(ConnectionRefusedError):
            await connect(uri)
        await client.send("a")
        assert await client.recv() == "a"
        waiting = asyncio.create_task(server.wait_closed())
        await settle()
        assert not waiting.done()
        await client.send("end")
        await waiting
        assert client.close_code == 1000


async def test_close_is_idempotent() -> None:
    async with serving(wait_closed) as (server, uri), connect(uri) as client:
        server.close()
        server.close(code=1012)
        await server.wait_closed()
        server.close()
        await server.wait_closed()
        assert client.close_code == 1001


async def test_close_again_with_the_connections() -> None:
    async with serving(wait_closed) as (server, uri), connect(uri) as client:
        server.close(close_connections=False)
        await settle()
        assert client.open
        server.close()
        await server.wait_closed()
        assert client.close_code == 1001


async def test_wait_closed_waits_for_handlers() -> None:
    finish = asyncio.Event()
    finished = []

    async def handler(websocket: ServerConnection) -> None:
        await websocket.wait_closed()
        await finish.wait()
        finished.append(websocket)

    async with serving(handler) as (server, uri), connect(uri) as client:
        waiting = [asyncio.create_task(server.wait_closed()) for _ in range(2)]
        await settle()
        assert not any(task.done() for task in waiting)
        server.close()
        await client.wait_closed()
        await settle()
        assert not any(task.done() for task in waiting)
        finish.set()
        await asyncio.gather(*waiting)
        assert len(finished) == 1


async def test_wait_closed_may_be_called_before_there_is_a_connection() -> None:
    finish = asyncio.Event()

    async def handler(websocket: ServerConnection) -> None:
        await websocket.wait_closed()
        await finish.wait()

    async with serving(handler) as (server, uri):
        waiting = asyncio.create_task(server.wait_closed())
        await settle()
        async with connect(uri) as client:
            assert not waiting.done()
            server.close()
            await client.wait_closed()
        await settle()
        assert not waiting.done()
        finish.set()
        await waiting


async def test_connection_in_its_handshake_gets_503() -> None:
    async with serving(echo) as (server, _):
        async with raw_connection(server) as silent, raw_connection(server) as slow:
            await slow.send(request()[:-10])
            await until(lambda: len(server.connections) == 2)
            server.close()
            for peer in (silent, slow):
                head = await peer.read_response()
                assert head.status == 503
                assert head.headers["connection"] == "close"
                assert b"shutting down" in head.body
                peer.close()
        await server.wait_closed()


async def test_connection_whose_request_is_being_processed_gets_503() -> None:
    processing = asyncio.Event()
    go_on = asyncio.Event()

    async def process_request(path: str, headers: Any) -> None:
        processing.set()
        await go_on.wait()

    handled = []

    async def handler(websocket: ServerConnection) -> None:
        handled.append(websocket)

    async with serving(handler, process_request=process_request) as (server, uri):
        connecting = asyncio.ensure_future(_connect(uri))
        await processing.wait()
        server.close()
        with pytest.raises(InvalidStatusCode) as raised:
            await connecting
        assert raised.value.status_code == 503
        waiting = asyncio.create_task(server.wait_closed())
        await settle()
        assert not waiting.done()
        go_on.set()
        await waiting
        assert handled == []


async def _connect(uri: str, **options: Any) -> Any:
    return await connect(uri, **options)


async def test_connection_that_is_closing_is_left_to_it() -> None:
    async with serving(wait_closed) as (server, _), raw_client(server) as peer:
        (connection,) = server.connections
        closing = asyncio.create_task(connection.close(4000))
        assert await peer.read_frame() == Frame(CLOSE, close_payload(4000))
        server.close()
        await peer.send(Frame(CLOSE, close_payload(4000)))
        assert await peer.read_to_end() == b""
        peer.close()
        await closing
        await server.wait_closed()
        assert connection.close_code == 4000


async def test_closing_deadline_holds_for_the_server() -> None:
    async with serving(wait_closed, close_timeout=0.2) as (server, _), raw_client(server):
        server.close()
        await server.wait_closed()
        assert server.connections == set()


async def test_close_in_a_handler() -> None:
    async def handler(websocket: ServerConnection) -> None:
        websocket.server.close()
        await websocket.wait_closed()

    async with serving(handler) as (server, uri), connect(uri) as client:
        with pytest.raises(ConnectionClosedOK):
            await client.recv()
        await server.wait_closed()


async def test_connection_that_arrives_while_the_server_closes_gets_503() -> None:
    # Its TLS handshake ends after the server has been closed.
    async with serving(echo, ssl=server_context()) as (server, uri):
        sock = socket.create_connection((HOST, port_of(server)))
        sock.setblocking(False)
        # It is accepted, and waits for the TLS handshake.
        await settle(0.1)
        server.close()
        with pytest.raises((InvalidStatusCode, OSError)) as raised:
            await connect(uri, sock=sock, ssl=client_context())
        if isinstance(raised.value, InvalidStatusCode):
            assert raised.value.status_code == 503
        await until(lambda: not server.connections)


async def test_closed_server_refuses_connections() -> None:
    async with serving(echo) as (server, uri):
        server.close()
        await server.wait_closed()
        with pytest.raises(ConnectionRefusedError):
            await connect(uri)


async def test_undelivered_messages_do_not_keep_the_server_open() -> None:
    async with serving(wait_closed) as (server, uri), connect(uri) as client:
        for _ in range(100):
            await client.send("x" * 1000)
        server.close()
        await server.wait_closed()
        assert client.close_code == 1001


# Faults that must not stop a server


async def test_server_survives_whatever_connects() -> None:
    log = Log()
    async with serving(echo, logger=log) as (server, uri):
        for data in (b"", b"\0" * 100, b"GET", b"\x16\x03\x01" + bytes(50), b"GET / HTTP/1.1\r\n\r\n"):
            async with raw_connection(server) as peer:
                await peer.send(data)
                await turns()
            async with raw_connection(server) as peer:
                await peer.send(data)
                peer.end()
                await peer.read_to_end()
            async with raw_connection(server) as peer:
                await peer.send(data)
                peer.reset()
        await until(lambda: not server.connections)
        async with connect(uri) as client:
            await client.send("a")
            assert await client.recv() == "a"
        assert log.errors() == []


async def test_client_that_goes_away_while_its_request_is_processed() -> None:
    go_on = asyncio.Event()
    handled = []

    async def process_request(path: str, headers: Any) -> None:
        await go_on.wait()

    async def handler(websocket: ServerConnection) -> None:
        handled.append(websocket)

    log = Log()
    async with serving(handler, process_request=process_request, logger=log) as (server, _):
        async with raw_connection(server) as peer:
            await peer.send(request())
            await until(lambda: server.connections)
            await settle()
            peer.reset()
        await settle()
        go_on.set()
        await until(lambda: not server.connections)
        assert handled == []
        assert log.errors() == []


async def test_frames_in_the_segment_of_the_request_are_delivered() -> None:
    async with serving(echo) as (server, _), raw_connection(server) as peer:
        await peer.send(request(), Frame(TEXT, b"early"), Frame(TEXT, b"bird"))
        assert (await peer.read_head()).status == 101
        assert [await peer.read_frame(), await peer.read_frame()] == [
            Frame(TEXT, b"early"),
            Frame(TEXT, b"bird"),
        ]
        await peer.finish()
