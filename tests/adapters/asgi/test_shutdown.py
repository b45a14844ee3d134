"""What becomes of connections when uvicorn shuts down."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from adapters.asgi import WebSocketProtocol
from adapters.asyncio import ClientConnection, ConnectionClosed, InvalidStatusCode, connect
from tests.adapters.runtimes import Runtime
from tests.core.helpers import CLOSE, TEXT, Frame, close_payload, request

from .serving import ACCEPT, Receive, Recorder, Send, echo, serving

REASON = "the server is shutting down"


async def test_connections_are_closed_with_1012_and_a_reason(http: str) -> None:
    app = Recorder()
    async with serving(app, http=http) as server:
        client = await connect(server.uri())
        server.uvicorn.should_exit = True
        await client.wait_closed()
        assert (client.close_code, client.close_reason) == (1012, REASON)
    assert app.events[-1] == {"type": "websocket.disconnect", "code": 1012}


async def test_reason_is_an_option() -> None:
    async with serving(Recorder(), ws=WebSocketProtocol.configured(shutdown_reason="moved")) as server:
        client = await connect(server.uri())
        server.uvicorn.should_exit = True
        await client.wait_closed()
        assert (client.close_code, client.close_reason) == (1012, "moved")


async def test_last_messages_arrive_before_the_close_frame(runtime: Runtime) -> None:
    accepted = asyncio.Event()

    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        await send(ACCEPT)
        for _ in range(3):
            await send({"type": "websocket.send", "bytes": bytes(2**20)})
            accepted.set()

    async with (
        serving(app, ws=WebSocketProtocol.configured(write_limit=None)) as server,
        runtime.raw_client(server, small_buffers=True) as client,
    ):
        await accepted.wait()
        await client.send(Frame(TEXT, b"unread"))
        server.uvicorn.should_exit = True
        # The client reads when the server has begun to shut down.
        await runtime.until(lambda: not server.uvicorn.servers[0].is_serving())
        for _ in range(3):
            assert len((await client.read_frame()).payload) == 2**20
        assert (await client.read_frame()).opcode == CLOSE
        await client.send(Frame(CLOSE, close_payload(1000)))


async def test_close_of_the_application_that_the_client_has_not_answered(runtime: Runtime) -> None:
    """It goes on: closed at once, with data of the client unread, the stream would end by a reset."""
    ended = asyncio.Event()

    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        await send(ACCEPT)
        for _ in range(3):
            await send({"type": "websocket.send", "bytes": bytes(2**20)})
        await send({"type": "websocket.close", "code": 4000})
        ended.set()

    async with (
        serving(app, ws=WebSocketProtocol.configured(write_limit=None)) as server,
        runtime.raw_client(server, small_buffers=True) as client,
    ):
        await ended.wait()
        server.uvicorn.should_exit = True
        await runtime.until(lambda: not server.uvicorn.servers[0].is_serving())
        await client.send(Frame(TEXT, b"sent before the close frame was seen"))
        await runtime.settle()
        for _ in range(3):
            assert len((await client.read_frame()).payload) == 2**20
        assert await client.read_frame() == Frame(CLOSE, close_payload(4000))
        await client.send(Frame(CLOSE, close_payload(4000)))
        assert await client.read_to_end() == b""


async def test_request_that_has_no_answer_gets_503(runtime: Runtime, http: str) -> None:
    events: list[Any] = []
    asked = asyncio.Event()

    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        events.append(await receive())
        asked.set()
        events.append(await receive())
        with pytest.raises(OSError, match="connection"):
            await send(ACCEPT)

    async with serving(app, http=http) as server:
        opening = asyncio.create_task(connect(server.uri())._open())
        await asked.wait()
        server.uvicorn.should_exit = True
        with pytest.raises(InvalidStatusCode) as raised:
            await opening
        assert raised.value.status_code == 503
    assert events == [{"type": "websocket.connect"}, {"type": "websocket.disconnect", "code": 1006}]


async def test_response_in_parts_is_completed(runtime: Runtime) -> None:
    go_on = asyncio.Event()

    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        await send({"type": "websocket.http.response.start", "status": 404})
        await send({"type": "websocket.http.response.body", "body": b"a", "more_body": True})
        await go_on.wait()
        await send({"type": "websocket.http.response.body", "body": b"b"})

    async with serving(app) as server, runtime.raw_connection(server) as client:
        await client.send(request())
        await client.read_head()
        server.uvicorn.should_exit = True
        await runtime.until(lambda: not server.uvicorn.servers[0].is_serving())
        await asyncio.sleep(0.1)
        go_on.set()
        assert await client.read_to_end() == b"1\r\na\r\n1\r\nb\r\n0\r\n\r\n"


async def test_application_that_does_not_end_is_cancelled(
    runtime: Runtime, caplog: pytest.LogCaptureFixture
) -> None:
    cancelled = asyncio.Event()

    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        await send(ACCEPT)
        try:
            await asyncio.sleep(1000)
        finally:
            cancelled.set()

    async with serving(app, timeout_graceful_shutdown=1) as server:
        client = await connect(server.uri())
        server.uvicorn.should_exit = True
        await client.wait_closed()
        await cancelled.wait()
        assert client.close_code == 1012
    assert "timeout graceful shutdown exceeded" in caplog.text


async def test_cancelled_application_closes_its_connection(runtime: Runtime) -> None:
    async with serving(Recorder()) as server:
        client = await connect(server.uri())
        (task,) = server.tasks
        task.cancel()
        await client.wait_closed()
        assert client.close_code == 1012
        await runtime.until(lambda: not server.connections)


async def test_drain_spreads_the_close_frames(runtime: Runtime) -> None:
    """While some connections are closed already, the others go on."""
    ended: list[float] = []

    async def wait(client: ClientConnection) -> None:
        with pytest.raises(ConnectionClosed):
            await client.recv()
        ended.append(runtime.now())

    async with serving(echo, ws=WebSocketProtocol.configured(drain=0.8)) as server:
        clients = [await connect(server.uri()) for _ in range(4)]
        waiting = [asyncio.create_task(wait(client)) for client in clients]
        begun = runtime.now()
        server.uvicorn.should_exit = True
        await asyncio.gather(*waiting)
    # Never earlier than in equal steps; on a busy machine, later.
    assert all(end - begun >= 0.2 * position for position, end in enumerate(ended))
    assert [client.close_code for client in clients] == [1012] * 4


async def test_request_gets_503_before_the_connections_are_closed(runtime: Runtime) -> None:
    asked = asyncio.Event()

    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["path"] == "/slow":
            asked.set()
            await asyncio.Event().wait()
        await echo(scope, receive, send)

    ws = WebSocketProtocol.configured(drain=1000)
    async with serving(app, ws=ws, timeout_graceful_shutdown=1) as server:
        clients = [await connect(server.uri()) for _ in range(2)]
        opening = asyncio.create_task(connect(server.uri("/slow"))._open())
        await asked.wait()
        server.uvicorn.should_exit = True
        with pytest.raises(InvalidStatusCode) as raised:
            await opening
        assert raised.value.status_code == 503
        # uvicorn cancels the applications in the end.
        for client in clients:
            await client.wait_closed()


async def test_connection_that_ends_while_it_drains(runtime: Runtime) -> None:
    async with serving(echo, ws=WebSocketProtocol.configured(drain=1000)) as server:
        clients = [await connect(server.uri()) for _ in range(2)]
        server.uvicorn.should_exit = True
        await runtime.until(lambda: any(client.closed for client in clients))
        (client,) = [client for client in clients if not client.closed]
        await runtime.check_echo(client)
        await client.close()
