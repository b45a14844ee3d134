"""Structured concurrency: what blocks, nurseries and cancellations do, on trio and anyio alike."""

from __future__ import annotations

import contextlib
import gc
import socket
from typing import Any

import pytest

from tests.adapters.runtimes import Cancelled, Runtime, make_runtime
from tests.adapters.runtimes.base import HOST, Log, client_context, server_context, wait_closed
from tests.core.helpers import CLOSE, PING, PONG, TEXT, Frame, close_payload
from tests.ports import free_port
from wsproto_core.exceptions import ConnectionClosed, ConnectionClosedOK, InvalidStatusCode
from wsproto_core.types import CloseCode

GOING_AWAY = Frame(CLOSE, close_payload(1001))


@pytest.fixture(params=["trio", "anyio-asyncio", "anyio-trio"])
def runtime(request: pytest.FixtureRequest) -> Runtime:
    return make_runtime(request.param)


class Oops(Exception):
    pass


def tls_options(tls: bool) -> dict[str, Any]:
    return {"ssl": server_context()} if tls else {}


# What comes out of a block


@pytest.mark.parametrize("tls", [False, True])
async def test_an_error_in_a_connections_block_comes_out_as_it_is(runtime: Runtime, tls: bool) -> None:
    async with runtime.serving(**tls_options(tls)) as (_, uri):
        with pytest.raises(Oops) as raised:
            async with runtime.connect(uri, **({"ssl": client_context()} if tls else {})) as client:
                raise Oops
        assert raised.value.__context__ is None
        assert client.close_code == 1011


async def test_a_server_is_closed_with_a_block_of_its_own(runtime: Runtime) -> None:
    async with runtime.serving(wait_closed) as (server, _):
        async with server as same:
            assert same is server
            assert server.is_serving()
        assert not server.is_serving()


async def test_an_error_in_a_servers_block_comes_out_as_it_is(runtime: Runtime) -> None:
    clients: list[Any] = []
    servers: list[Any] = []

    async def fail() -> None:
        async with runtime.serving(wait_closed) as (server, uri):
            servers.append(server)
            clients.append(await runtime.open(uri))
            raise Oops

    with pytest.raises(Oops) as raised:
        await fail()
    assert raised.value.__context__ is None
    (client,), (server,) = clients, servers
    with pytest.raises(ConnectionClosedOK):
        await client.recv()
    assert client.close_code == 1001
    assert not server.is_serving()
    assert not server.connections


async def test_what_connect_raises_comes_out_as_it_is(runtime: Runtime) -> None:
    async with runtime.serving(process_request=lambda path, headers: (418, {}, b"tea")) as (_, uri):
        with pytest.raises(InvalidStatusCode):
            async with runtime.connect(uri):
                pass
        with pytest.raises(InvalidStatusCode):
            await runtime.open(uri)
    with pytest.raises(OSError, match=r"."):
        async with runtime.connect(f"ws://{HOST}:{free_port()}"):
            pass


async def test_connect_cannot_be_awaited_without_tasks(runtime: Runtime) -> None:
    with pytest.raises(TypeError, match="async with"):
        await runtime.connect(f"ws://{HOST}:1/")  # type: ignore[misc]


async def test_one_cannot_be_told_twice_where_to_connect(runtime: Runtime) -> None:
    left, right = socket.socketpair()
    with left, right:
        with pytest.raises(TypeError, match="stream must be a stream of bytes"):
            runtime.connect("ws://localhost", sock=left, stream=object())
        with pytest.raises(ValueError, match="path and sock must not both be given"):
            runtime.unix_connect("/nowhere", sock=left)


async def test_one_cannot_be_told_twice_where_to_listen(runtime: Runtime) -> None:
    with socket.socket() as sock:
        for address in ([HOST], [None, 80], [["::1", HOST], 80]):
            with pytest.raises(ValueError, match=r"(host|port) and sock"):
                runtime.serve(wait_closed, *address, sock=sock)
        with pytest.raises(ValueError, match="path and sock"):
            runtime.unix_serve(wait_closed, "/nowhere", sock=sock)
    with pytest.raises(ValueError, match="path must be given"):
        runtime.unix_serve(wait_closed)


# Cancelling a wait


@pytest.mark.parametrize("call", ["recv", "recv_streaming", "ping", "close", "send", "fragments"])
async def test_cancelling_a_call_cancels_nothing_else(runtime: Runtime, call: str) -> None:
    async with runtime.raw_server(small_buffers=True, close_timeout=20.0) as (peer, client):

        async def wait() -> None:
            if call == "recv":
                await client.recv()
            elif call == "recv_streaming":
                await anext(client.recv_streaming())
            elif call == "ping":
                await (await client.ping(b"?"))
            elif call == "close":
                await client.close()
            elif call == "send":
                await client.send(bytes(2**20))
                await client.send("more")
            else:
                await client.send([b"too much", bytes(2**20)])

        task = runtime.spawn(wait)
        await runtime.settle()
        task.cancel()
        with pytest.raises(Cancelled):
            await task.result()
        if call in ("recv", "recv_streaming"):
            await peer.send(Frame(TEXT, b"not lost"))
            assert await client.recv() == "not lost"
        elif call == "ping":
            assert await peer.read_frame() == Frame(PING, b"?")
            await peer.send(Frame(PONG, b"?"), Frame(TEXT, b"next"))
            assert await client.recv() == "next"
        elif call == "close":
            assert await peer.read_frame() == Frame(CLOSE, close_payload(1000))
            await peer.send(Frame(CLOSE, close_payload(1000)))
            peer.end()
            await client.wait_closed()
            assert client.close_code == 1000
        elif call == "send":
            assert len((await peer.read_frame()).payload) == 2**20
            await client.send("next")
            assert await peer.read_frame() == Frame(TEXT, b"next")
        else:
            with pytest.raises(ConnectionClosed):
                await client.send("next")


async def test_a_cancelled_call_is_cancelled_whatever_there_is_to_do(runtime: Runtime) -> None:
    async with runtime.raw_server() as (peer, client):
        waiter = await client.ping(b"?")
        await peer.send(Frame(PONG, b"?"), Frame(TEXT, b"not lost"))
        await waiter
        await runtime.until(lambda: client.protocol.undelivered)

        async def in_vain(call: Any) -> None:
            await runtime.sleep(0)
            await call()

        async def wait_for_pong() -> None:
            await waiter

        for call in (
            client.recv,
            lambda: anext(client),
            lambda: anext(client.recv_streaming()),
            lambda: client.send("hi"),
            client.pong,
            client.ping,
            wait_for_pong,
            client.close,
            client.wait_closed,
        ):
            task = runtime.spawn(in_vain, call)
            task.cancel()
            with pytest.raises(Cancelled):
                await task.result()
        assert await client.recv() == "not lost"


async def test_messages_that_are_there_let_others_run(runtime: Runtime) -> None:
    # Others run before the next call after 64 of them.
    count = 4 * 64 + 1
    turns = [0]

    async def others() -> None:
        while True:
            await runtime.sleep(0)
            turns[0] += 1

    async with runtime.raw_server(max_queue=None) as (peer, client):
        for receive in (client.recv, lambda: anext(client.recv_streaming()), lambda: client.send("hi")):
            await peer.send(*[Frame(TEXT, b"x")] * count)
            await runtime.until(lambda: client.protocol.undelivered >= count)
            task = runtime.spawn(others)
            await runtime.until(lambda: turns[0])
            turns[0] = 0
            for _ in range(count):
                await receive()
            assert turns[0] >= count // 64 - 1
            task.cancel()
            with pytest.raises(Cancelled):
                await task.result()
            turns[0] = 0


# Leaving a block cancelled


@pytest.mark.parametrize("tls", [False, True])
async def test_a_cancelled_block_says_that_it_goes_away(runtime: Runtime, tls: bool) -> None:
    async with runtime.raw_listener(tls=tls) as listener:
        options = {"ssl": client_context()} if tls else {}

        async def use() -> None:
            async with runtime.connect(
                listener.uri, ping_interval=None, compression=None, **options
            ) as client:
                # The peer, which says nothing more, is not waited for.
                await client.recv()

        task = runtime.spawn(use)
        peer = await listener.accept_and_answer()
        await runtime.settle()
        task.cancel()
        with pytest.raises(Cancelled):
            await task.result()
        assert await peer.read_frame() == GOING_AWAY
        assert await peer.read_to_end() == b""


@pytest.mark.parametrize("tls", [False, True])
async def test_a_block_that_is_cancelled_while_it_closes_closes_at_once(runtime: Runtime, tls: bool) -> None:
    async with runtime.raw_listener(tls=tls) as listener:
        options = {"ssl": client_context()} if tls else {}

        async def use() -> None:
            async with runtime.connect(listener.uri, ping_interval=None, compression=None, **options):
                pass

        task = runtime.spawn(use)
        peer = await listener.accept_and_answer()
        assert await peer.read_frame() == Frame(CLOSE, close_payload(1000))
        assert not task.done()
        task.cancel()
        with pytest.raises(Cancelled):
            await task.result()
        assert await peer.read_to_end() == b""


@pytest.mark.parametrize("tls", [False, True])
async def test_a_cancelled_block_does_not_wait_for_a_full_buffer(runtime: Runtime, tls: bool) -> None:
    async with runtime.raw_listener(tls=tls, small_buffers=True) as listener:
        options: dict[str, Any] = {"sock": listener.small_socket(), "ping_interval": None}
        if tls:
            options["ssl"] = client_context()

        async def use() -> None:
            async with runtime.connect(listener.uri, compression=None, **options) as client:
                await client.send(bytes(2**20))
                await client.recv()

        task = runtime.spawn(use)
        peer = await listener.accept_and_answer()
        await runtime.settle(0.2)
        task.cancel()
        with pytest.raises(Cancelled):
            await task.result()
        assert len(await peer.read_to_end()) < 2**20


async def test_tasks_that_are_cancelled_end_their_connections(runtime: Runtime) -> None:
    async with runtime.raw_listener() as listener:
        clients: list[Any] = []

        async def use() -> None:
            async with contextlib.AsyncExitStack() as stack:
                for _ in range(2):
                    clients.append(await stack.enter_async_context(runtime.connect(listener.uri)))
                await clients[0].wait_closed()

        task = runtime.spawn(use)
        peers = [await listener.accept_and_answer() for _ in range(2)]
        await runtime.until(lambda: len(clients) == 2)
        task.cancel()
        with pytest.raises(Cancelled):
            await task.result()
        for peer, client in zip(peers, clients, strict=True):
            assert (await peer.read_frames_to_end())[-1] == GOING_AWAY
            assert client.closed


@pytest.mark.parametrize("tls", [False, True])
async def test_a_cancelled_server_says_that_it_goes_away(runtime: Runtime, tls: bool) -> None:
    handlers: list[str] = []
    servers: list[Any] = []

    async def handler(websocket: Any) -> None:
        handlers.append("begun")
        try:
            await websocket.recv()
        finally:
            handlers.append("ended")

    async def use() -> None:
        async with runtime.serving(handler, **tls_options(tls)) as (server, _):
            servers.append(server)
            await server.serve_forever()

    task = runtime.spawn(use)
    await runtime.until(lambda: servers)
    async with runtime.raw_client(servers[0], tls=tls) as peer:
        await runtime.until(lambda: handlers)
        task.cancel()
        with pytest.raises(Cancelled):
            await task.result()
        assert handlers == ["begun", "ended"]
        assert await peer.read_frame() == GOING_AWAY
        assert await peer.read_to_end() == b""
    assert not servers[0].connections


async def test_cancelling_connect_leaves_nothing(runtime: Runtime) -> None:
    async with runtime.raw_listener() as listener:
        for opening in (runtime.open, lambda uri: runtime.connect(uri).__aenter__()):
            task = runtime.spawn(opening, listener.uri)
            peer = await listener.accept()
            await peer.read_head()
            task.cancel()
            with pytest.raises(Cancelled):
                await task.result()
            assert await peer.read_to_end() == b""
        # A cancellation may be there before anything has begun.
        task = runtime.spawn(runtime.open, listener.uri)
        task.cancel()
        with pytest.raises(Cancelled):
            await task.result()
        gc.collect()


# Streams that nobody keeps


async def test_a_stream_is_closed_if_nobody_lets_the_connection_live(runtime: Runtime) -> None:
    class Refusing:
        async def start(self, *args: Any) -> None:
            raise RuntimeError("closed to new arrivals")

    async with runtime.raw_listener() as listener:
        connecting = runtime.connect(listener.uri)
        with pytest.raises(RuntimeError, match="new arrivals"):
            await connecting._open(Refusing())  # type: ignore[attr-defined]
        peer = await listener.accept()
        assert await peer.read_to_end() == b""


async def test_listeners_are_closed_if_nobody_lets_the_server_run(runtime: Runtime) -> None:
    class Refusing:
        async def start(self, *args: Any) -> None:
            raise RuntimeError("closed to new arrivals")

    with socket.create_server((HOST, 0)) as sock:
        serving = runtime.serve(wait_closed, sock=sock)
        with pytest.raises(RuntimeError, match="new arrivals"):
            await serving._open(Refusing())  # type: ignore[attr-defined]
        assert sock.fileno() < 0


# Errors that are not the server's


async def test_a_connection_that_fails_harms_no_other(runtime: Runtime) -> None:
    log = Log()
    faulty = True

    class Faulty(runtime.ServerConnection):  # type: ignore[name-defined,misc]
        async def _end(self, code: CloseCode) -> None:
            await super()._end(code)
            if faulty:
                raise Oops

    async with runtime.serving(create_protocol=Faulty, logger=log) as (server, uri):
        client = await runtime.open(uri)
        await client.close()
        await runtime.until(lambda: not server.connections)
        assert [message for message, _ in log.errors()] == ["connection failed"]
        faulty = False
        await runtime.check_serving(server)


async def test_tasks_of_a_handler_that_see_the_connection_closed_are_no_error(runtime: Runtime) -> None:
    log = Log()
    ended = runtime.event()

    async def handler(websocket: Any) -> None:
        try:
            await websocket.recv()
        except ConnectionClosed as error:
            ended.set()
            raise ExceptionGroup("tasks", [error, ExceptionGroup("more", [error])]) from error

    async with runtime.serving(handler, logger=log) as (server, uri):
        async with runtime.connect(uri):
            pass
        await ended.wait()
        await runtime.until(lambda: not server.connections)
    assert not log.errors()


async def test_tls_that_never_comes_has_a_deadline(runtime: Runtime) -> None:
    log = Log()
    async with runtime.serving(ssl=server_context(), open_timeout=0.3, logger=log) as (server, _):
        stream = await runtime.raw_stream(server)
        await runtime.until(lambda: server.connections)
        (connection,) = server.connections
        assert await stream.read() == b""
        await connection.wait_closed()
        await runtime.until(lambda: not server.connections)
        stream.close()
        stream = await runtime.raw_stream(server)
        await stream.write(b"GET / HTTP/1.1\r\n\r\n")
        with contextlib.suppress(ConnectionResetError):
            while await stream.read():
                pass
        stream.close()
        # On a busy machine, a deadline is handled too late, which is told, and begins anew.
        overdue = "handshake deadline was handled"
        await runtime.until(lambda: "SSLError" in log.messages()[-1])
        _, late, wrong = (message for message in log.messages() if overdue not in message)
        assert "was not done within 0.3 seconds" in late
        assert "was closed before the opening handshake was done" in wrong
        assert "caused by SSLError" in wrong
    assert not log.errors()


# Uses that lead nowhere


async def test_misuse_of_connect(runtime: Runtime) -> None:
    connecting = runtime.adapter.connect("ws://localhost/")
    tasks = "nursery" if runtime.adapter.__name__.endswith("trio") else "task_group"
    usage = (
        f"use 'async with connect(...) as websocket:' or 'websocket = await connect(..., {tasks}={tasks})'"
    )
    with pytest.raises(AttributeError) as missing:
        connecting.send("hello")
    assert str(missing.value) == f"'Connect' object has no attribute 'send'; it is no connection yet: {usage}"
    with pytest.raises(TypeError) as not_awaited:
        await connecting
    assert str(not_awaited.value) == f"connect() cannot be awaited without {tasks}=: {usage}"
    with pytest.raises(TypeError, match=r"use 'async with reconnect\(\.\.\.\) as connections:'"):
        async for _ in connecting:
            pass


async def test_misuse_of_serve(runtime: Runtime) -> None:
    serving = runtime.adapter.serve(wait_closed, HOST, 0)
    with pytest.raises(
        AttributeError, match=r"it is no server yet: use 'async with serve\(\.\.\.\) as server:'"
    ):
        serving.close()
