"""The server object: its sockets, its connections, and closing in every state."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest

from tests.adapters.runtimes import Runtime
from tests.adapters.runtimes.base import AMPLE, DEADLINE, HOST, QUIET, Log, wait_closed
from tests.core.helpers import CLOSE, Frame, close_payload, request
from wsproto_core import ConnectionClosedError, ConnectionClosedOK, InvalidStatusCode, State

needs_sockets = pytest.mark.needs("sockets")


# What it is


@needs_sockets
async def test_server_is_closed_when_its_block_is_left(runtime: Runtime) -> None:
    async with runtime.serving() as (server, uri):
        assert server.is_serving()
        async with runtime.connect(uri) as client:
            await runtime.check_echo(client)
    assert not server.is_serving()
    with pytest.raises(OSError, match=r"refused|failed"):
        await runtime.open(uri)


async def test_server_is_closed_when_its_block_raises(runtime: Runtime) -> None:
    with pytest.raises(ZeroDivisionError):
        async with runtime.serving() as (server, _):
            raise ZeroDivisionError
    assert not server.is_serving()


@needs_sockets
async def test_sockets(runtime: Runtime) -> None:
    async with runtime.serve(wait_closed, HOST, 0) as server:
        (sock,) = server.sockets
        host, port = sock.getsockname()
        async with runtime.connect(f"ws://{host}:{port}/") as client:
            assert client.remote_address == (host, port)
    assert not server.sockets


async def test_connections(runtime: Runtime) -> None:
    async with runtime.serving(wait_closed) as (server, uri):
        assert server.connections == set()
        async with runtime.connect(uri) as first, runtime.connect(uri) as second:
            await runtime.until(lambda: len(server.connections) == 2)
            await runtime.until(lambda: {each.state for each in server.connections} == {State.OPEN})
            addresses = {connection.remote_address for connection in server.connections}
            assert addresses == {first.local_address, second.local_address}
            assert len({id(connection.server) for connection in server.connections}) == 1
            await first.close()
            await runtime.until(lambda: len(server.connections) == 1)
        await runtime.until(lambda: not server.connections)


async def test_many_connections_at_once(runtime: Runtime) -> None:
    async def use(number: int) -> None:
        async with runtime.connect(uri, open_timeout=DEADLINE) as client:
            await client.send(str(number))
            assert await client.recv() == str(number)

    async with runtime.serving(open_timeout=DEADLINE) as (server, uri):
        tasks = [runtime.spawn(use, number) for number in range(50)]
        for task in tasks:
            await task.result()
        await runtime.until(lambda: not server.connections)


async def test_two_servers(runtime: Runtime) -> None:
    async with (
        runtime.serving() as (first, first_uri),
        runtime.serving(wait_closed) as (second, second_uri),
        runtime.connect(first_uri) as client,
        runtime.connect(second_uri),
    ):
        await runtime.until(lambda: len(first.connections) == len(second.connections) == 1)
        second.close()
        await second.wait_closed()
        await runtime.check_echo(client)


async def test_one_handler_may_serve_several_servers(runtime: Runtime) -> None:
    async def handler(websocket: Any) -> None:
        await websocket.send(websocket.path)

    async with runtime.serving(handler) as (first, _), runtime.serving(handler) as (second, _):
        for server, path in ((first, "/first"), (second, "/second")):
            async with runtime.connect(runtime.uri_of(server, path)) as client:
                assert await client.recv() == path


@needs_sockets
async def test_serve_forever_ends_when_the_server_is_closed(runtime: Runtime) -> None:
    async with runtime.serving(wait_closed) as (server, uri):
        serving = runtime.spawn(server.serve_forever)
        async with runtime.connect(uri) as client:
            await runtime.settle()
            assert not serving.done()
            server.close()
            with pytest.raises(ConnectionClosedOK) as raised:
                await client.recv()
            assert raised.value.code == 1001
        await serving.result()


@needs_sockets
@pytest.mark.needs("coroutines")
async def test_serve_forever_ends_by_cancellation(runtime: Runtime) -> None:
    served = []

    async def serve() -> None:
        async with runtime.serving(wait_closed) as (server, uri):
            served.append((server, uri))
            await server.serve_forever()

    serving = runtime.spawn(serve)
    await runtime.until(lambda: served)
    server, uri = served[0]
    async with runtime.connect(uri) as client:
        assert server.is_serving()
        serving.cancel()
        with pytest.raises(ConnectionClosedOK) as raised:
            await client.recv()
        assert raised.value.code == 1001
    await runtime.until(serving.done)
    assert not server.is_serving()
    assert server.connections == set()


# Closing


async def test_close_of_open_connections(runtime: Runtime) -> None:
    begun: list[Any] = []
    ended: list[BaseException] = []

    async def handler(websocket: Any) -> None:
        begun.append(websocket)
        try:
            await websocket.recv()
        except ConnectionClosedOK as error:
            ended.append(error)
            raise

    async with (
        runtime.serving(handler) as (server, uri),
        runtime.connect(uri) as first,
        runtime.connect(uri) as second,
    ):
        # On threads, a client may have been answered just before its handler is called.
        await runtime.until(lambda: len(begun) == 2)
        assert server.connections == set(begun)
        server.close()
        for client in (first, second):
            assert [message async for message in client] == []
            assert (client.close_code, client.close_reason) == (1001, "")
        await server.wait_closed()
        assert len(ended) == 2
        assert server.connections == set()


async def test_close_of_connections_whose_clients_do_not_wait(runtime: Runtime) -> None:
    async with runtime.serving(wait_closed) as (server, uri), runtime.connect(uri) as client:
        await runtime.until(lambda: server.connections)
        server.close()
        await server.wait_closed()
        await client.wait_closed()
        assert client.close_code == 1001


async def test_handlers_that_send_get_connection_closed_too(runtime: Runtime) -> None:
    ended = runtime.event()

    async def handler(websocket: Any) -> None:
        with contextlib.suppress(ConnectionClosedOK):
            while True:
                await websocket.send("a")
                await runtime.sleep(0.001)
        ended.set()

    async with runtime.serving(handler) as (server, uri), runtime.connect(uri) as client:
        await client.recv()
        server.close()
        await ended.wait()


async def test_handlers_that_wait_for_something_else_are_waited_for(runtime: Runtime) -> None:
    finish = runtime.event()
    finished = []

    async def handler(websocket: Any) -> None:
        await finish.wait()
        finished.append(websocket)

    async with runtime.serving(handler) as (server, uri), runtime.connect(uri) as client:
        await runtime.until(lambda: server.connections)
        server.close()
        with pytest.raises(ConnectionClosedOK) as raised:
            await client.recv()
        assert raised.value.code == 1001
        waiting = [runtime.spawn(server.wait_closed) for _ in range(2)]
        await runtime.settle()
        assert not any(task.done() for task in waiting)
        finish.set()
        for task in waiting:
            await task.result()
        assert len(finished) == 1


async def test_code_and_reason(runtime: Runtime) -> None:
    async with runtime.serving(wait_closed) as (server, uri), runtime.connect(uri) as client:
        await runtime.until(lambda: server.connections)
        server.close(code=1012, reason="back soon")
        with pytest.raises(ConnectionClosedError) as raised:
            await client.recv()
        assert (raised.value.code, raised.value.reason) == (1012, "back soon")


@needs_sockets
@pytest.mark.parametrize("arguments", [{"code": 999}, {"reason": "x" * 124}], ids=str)
async def test_code_or_reason_that_cannot_be_sent_closes_nothing(
    runtime: Runtime, arguments: dict[str, Any]
) -> None:
    async with runtime.serving() as (server, uri):
        with pytest.raises(ValueError, match=r"code|reason"):
            server.close(**arguments)
        assert server.is_serving()
        async with runtime.connect(uri) as client:
            await runtime.check_echo(client)


@needs_sockets
async def test_close_that_leaves_connections_to_their_handlers(runtime: Runtime) -> None:
    async def handler(websocket: Any) -> None:
        async for message in websocket:
            if message == "end":
                break
            await websocket.send(message)

    async with runtime.serving(handler) as (server, uri), runtime.connect(uri) as client:
        await runtime.check_echo(client)
        server.close(close_connections=False)
        assert not server.is_serving()
        with pytest.raises(OSError, match=r"refused|failed"):
            await runtime.open(uri)
        await runtime.check_echo(client)
        waiting = runtime.spawn(server.wait_closed)
        await runtime.settle()
        assert not waiting.done()
        await client.send("end")
        await waiting.result()
        await client.wait_closed()
        assert client.close_code == 1000


async def test_close_is_idempotent(runtime: Runtime) -> None:
    async with runtime.serving(wait_closed) as (server, uri), runtime.connect(uri) as client:
        await runtime.until(lambda: server.connections)
        server.close()
        server.close(code=1012)
        await server.wait_closed()
        server.close()
        await server.wait_closed()
        await client.wait_closed()
        assert client.close_code == 1001


async def test_close_again_with_the_connections(runtime: Runtime) -> None:
    async with runtime.serving() as (server, uri), runtime.connect(uri) as client:
        await runtime.check_echo(client)
        server.close(close_connections=False)
        await runtime.check_echo(client)
        server.close()
        await server.wait_closed()
        await client.wait_closed()
        assert client.close_code == 1001


async def test_wait_closed_may_be_called_before_there_is_a_connection(runtime: Runtime) -> None:
    async with runtime.serving() as (server, uri):
        waiting = runtime.spawn(server.wait_closed)
        await runtime.settle()
        async with runtime.connect(uri) as client:
            await runtime.check_echo(client)
            assert not waiting.done()
            server.close()
            await client.wait_closed()
        await waiting.result()


async def test_connection_in_its_handshake_gets_503(runtime: Runtime) -> None:
    async with runtime.serving() as (server, _):
        async with runtime.raw_connection(server) as peer:
            await peer.send(request()[:-10])
            await runtime.until(lambda: server.connections)
            await runtime.settle()
            server.close()
            head = await peer.read_response()
            assert head.status == 503
            assert head.headers["connection"] == "close"
            assert b"shutting down" in head.body
        await server.wait_closed()


async def test_connection_whose_request_is_being_processed_gets_503(runtime: Runtime) -> None:
    processing, go_on = runtime.event(), runtime.event()
    handled = []

    async def process_request(path: str, headers: Any) -> None:
        processing.set()
        await go_on.wait()

    async def handler(websocket: Any) -> None:
        handled.append(websocket)

    async with runtime.serving(handler, process_request=process_request) as (server, uri):
        connecting = runtime.spawn(runtime.open, uri)
        await processing.wait()
        server.close()
        with pytest.raises(InvalidStatusCode) as raised:
            await connecting.result()
        assert raised.value.status_code == 503
        go_on.set()
        await server.wait_closed()
        assert handled == []


async def test_connection_that_is_closing_is_left_to_it(runtime: Runtime) -> None:
    async with (
        runtime.serving(wait_closed, **QUIET) as (server, _),
        runtime.raw_client(server) as peer,
    ):
        (connection,) = server.connections
        closing = runtime.spawn(connection.close, 4000)
        assert await peer.read_frame() == Frame(CLOSE, close_payload(4000))
        server.close()
        await peer.send(Frame(CLOSE, close_payload(4000)))
        assert await peer.read_to_end() == b""
        peer.close()
        await closing.result()
        await server.wait_closed()
        assert connection.close_code == 4000


@needs_sockets
async def test_connection_in_its_tls_handshake_is_closed(runtime: Runtime) -> None:
    async with runtime.serving(**runtime.server_tls(True)) as (server, _):
        async with runtime.raw_connection(server) as peer:
            # It is accepted, and waits for the TLS handshake.
            await runtime.settle(0.1)
            server.close()
            await peer.send(b"\x16\x03\x01\x02\x00\x01\x00")
            peer.close()
        await server.wait_closed()
        assert server.connections == set()


async def test_connections_in_every_state_at_once(runtime: Runtime) -> None:
    async def handler(websocket: Any) -> None:
        if websocket.path == "/idle":
            await websocket.wait_closed()
        elif websocket.path == "/recv":
            with contextlib.suppress(ConnectionClosedOK):
                await websocket.recv()
        elif websocket.path == "/closing":
            await websocket.close()

    options = {**QUIET, "close_timeout": 0.2, "open_timeout": AMPLE}
    async with contextlib.AsyncExitStack() as stack:
        server, _ = await stack.enter_async_context(runtime.serving(handler, **options))
        for _ in range(2):
            peer = await stack.enter_async_context(runtime.raw_connection(server))
            await peer.send(b"GET /handshake HTTP/1.1\r\n")
            for path in ("idle", "recv", "closing"):
                peer = await stack.enter_async_context(runtime.raw_connection(server))
                await peer.send(request(f"GET /{path} HTTP/1.1"))
                assert (await peer.read_head()).status == 101
        server.close()
        # None of them says a word, and all deadlines are met.
        await server.wait_closed()
        assert server.connections == set()


async def test_closing_deadline_holds_for_the_server(runtime: Runtime) -> None:
    async with (
        runtime.serving(wait_closed, close_timeout=0.2) as (server, _),
        runtime.raw_client(server),
    ):
        server.close()
        await server.wait_closed()
        assert server.connections == set()


async def test_close_in_a_handler(runtime: Runtime) -> None:
    async def handler(websocket: Any) -> None:
        websocket.server.close()
        await websocket.wait_closed()

    async with runtime.serving(handler) as (server, uri), runtime.connect(uri) as client:
        with pytest.raises(ConnectionClosedOK):
            await client.recv()
        await server.wait_closed()


async def test_undelivered_messages_do_not_keep_the_server_open(runtime: Runtime) -> None:
    async with runtime.serving(wait_closed) as (server, uri), runtime.connect(uri) as client:
        for _ in range(100):
            await client.send("x" * 1000)
        server.close()
        await server.wait_closed()
        await client.wait_closed()
        assert client.close_code == 1001


# Faults that must not stop a server


async def test_server_survives_whatever_connects(runtime: Runtime) -> None:
    log = Log()
    async with runtime.serving(logger=log) as (server, _):
        for data in (b"", b"\0" * 100, b"GET", b"\x16\x03\x01" + bytes(50), b"GET / HTTP/1.1\r\n\r\n"):
            async with runtime.raw_connection(server) as peer:
                await peer.send(data)
            async with runtime.raw_connection(server) as peer:
                await peer.send(data)
                peer.end()
                await peer.read_to_end()
            async with runtime.raw_connection(server) as peer:
                await peer.send(data)
                peer.reset()
        await runtime.until(lambda: not server.connections)
        await runtime.check_serving(server)
        assert log.errors() == []


async def test_handlers_that_raise_do_not_stop_it(runtime: Runtime) -> None:
    async def handler(websocket: Any) -> None:
        if await websocket.recv() == "raise":
            raise ZeroDivisionError
        await websocket.send("good")

    log = Log()
    async with runtime.serving(handler, logger=log) as (_, uri), runtime.connect(uri) as other:
        for _ in range(3):
            async with runtime.connect(uri) as client:
                await client.send("raise")
                with pytest.raises(ConnectionClosedError):
                    await client.recv()
        await other.send("go on")
        assert await other.recv() == "good"
        assert [error for _, error in log.errors()] == [ZeroDivisionError] * 3
