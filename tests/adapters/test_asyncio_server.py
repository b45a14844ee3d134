"""The server object of asyncio: several sockets, `start_serving`, and a task that serves for ever."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import subprocess
import sys

import pytest

from adapters.asyncio import Server, ServerConnection, connect, serve
from tests.adapters.runtimes import Runtime
from tests.adapters.runtimes.base import HOST, echo, wait_closed
from wsproto_core import ConnectionClosedOK, Event, Headers, InvalidStatusCode, Request

from .event_loop import turns


async def test_await_returns_a_server_that_has_to_be_closed(runtime: Runtime) -> None:
    server = await serve(echo, HOST, 0)
    assert isinstance(server, Server)
    async with connect(runtime.uri_of(server)) as client:
        await client.send("a")
        assert await client.recv() == "a"
    server.close()
    await server.wait_closed()


async def test_server_is_a_context_manager() -> None:
    async with await serve(echo, HOST, 0) as server:
        assert server.is_serving()
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
    assert server.sockets == ()


async def test_start_serving(runtime: Runtime) -> None:
    async with serve(echo, HOST, 0, start_serving=False) as server:
        assert not server.is_serving()
        await server.start_serving()
        assert server.is_serving()
        async with connect(runtime.uri_of(server)) as client:
            await client.send("a")
            assert await client.recv() == "a"


async def test_serve_forever_ends_by_cancellation_and_closes(runtime: Runtime) -> None:
    server = await serve(wait_closed, HOST, 0)
    serving_task = asyncio.create_task(server.serve_forever())
    async with connect(runtime.uri_of(server)) as client:
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


async def test_serve_forever_in_a_block(runtime: Runtime) -> None:
    async def run() -> None:
        async with serve(echo, HOST, 0) as server:
            started.set_result(server)
            await server.serve_forever()

    started: asyncio.Future[Server] = asyncio.get_running_loop().create_future()
    running = asyncio.create_task(run())
    async with connect(runtime.uri_of(await started)) as client:
        await client.send("a")
        assert await client.recv() == "a"
        running.cancel()
        assert [message async for message in client] == []
        assert client.close_code == 1001
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_serve_forever_ends_when_the_server_is_closed(runtime: Runtime) -> None:
    server = await serve(echo, HOST, 0)
    serving_task = asyncio.create_task(server.serve_forever())
    async with connect(runtime.uri_of(server)) as client:
        server.close(close_connections=False)
        await runtime.settle()
        # What is left to its handler is waited for.
        assert not serving_task.done()
        await client.send("a")
        assert await client.recv() == "a"
    await serving_task
    await server.serve_forever()


async def test_serve_forever_starts_serving(runtime: Runtime) -> None:
    server = await serve(echo, HOST, 0, start_serving=False)
    uri = runtime.uri_of(server)
    serving_task = asyncio.create_task(server.serve_forever())
    await runtime.until(server.is_serving)
    async with connect(uri) as client:
        await client.send("a")
        assert await client.recv() == "a"
    serving_task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving_task


@pytest.mark.parametrize("steps", range(4))
async def test_serve_forever_that_is_cancelled_as_soon_as_it_has_begun(runtime: Runtime, steps: int) -> None:
    server = await serve(echo, HOST, 0, start_serving=False)
    task = asyncio.create_task(server.serve_forever())
    for _ in range(1 + steps):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert server.closing
    assert server.sockets == ()


ENDS_THE_PROGRAM = """
import asyncio
from adapters.asyncio import connect, serve

async def handler(websocket):
    raise SystemExit(3)

async def main():
    async with serve(handler, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with connect(f"ws://127.0.0.1:{port}") as client:
            await client.wait_closed()

asyncio.run(main())
"""


def test_handler_that_ends_the_program() -> None:
    result = subprocess.run([sys.executable, "-c", ENDS_THE_PROGRAM], capture_output=True, timeout=60)
    assert result.returncode == 3, result.stderr


async def test_server_that_closes_when_a_request_has_just_come(runtime: Runtime) -> None:
    """Before anybody has been asked about it: nobody is."""
    asked: list[str] = []

    class Closing(ServerConnection):
        def _handle_event(self, event: Event) -> None:
            super()._handle_event(event)
            if isinstance(event, Request):
                self.server.close()

        def process_request(self, path: str, request_headers: Headers) -> None:
            asked.append(path)

    async with serve(echo, HOST, 0, create_protocol=Closing) as server:
        with pytest.raises(InvalidStatusCode, match="HTTP status 503"):
            await connect(runtime.uri_of(server))
        await server.wait_closed()
    assert asked == []


@pytest.mark.parametrize("turns_before", range(4))
async def test_server_that_closes_when_it_has_just_accepted(runtime: Runtime, turns_before: int) -> None:
    """The stream is closed, in whichever turn of the event loop that happens."""
    loop = asyncio.get_running_loop()
    async with serve(echo, HOST, 0) as server:
        close = server.close
        for _ in range(turns_before):
            close = functools.partial(loop.call_soon, close)
        async with runtime.raw_connection(server) as peer:
            close()
            with contextlib.suppress(ConnectionResetError):
                assert await peer.read_to_end() == b""
            await server.wait_closed()
            assert server.sockets == ()
            assert not server.is_serving()
