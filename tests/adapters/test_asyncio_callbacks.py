"""The callback style: messages are given to `message_received` right in the read callback."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from adapters.asyncio import ClientConnection, Connection, ServerConnection
from tests.adapters.runtimes import Runtime
from tests.adapters.runtimes.base import QUIET, Log
from tests.core.helpers import BINARY, CLOSE, CONTINUATION, TEXT, Frame, close_payload, request, response
from wsproto_core import Close, ConcurrencyError, ConnectionClosedError, ConnectionClosedOK
from wsproto_core.types import Data, State

from .event_loop import turns
from .test_asyncio_fast_path import Counting

with_tls = pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
wait_closed = ServerConnection.wait_closed


class Noting(Connection):
    """Notes the messages, and which task there was: none."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.noted: list[Data] = []
        self.tasks: list[Any] = []

    def message_received(self, message: Data) -> None:
        self.noted.append(message)
        self.tasks.append(asyncio.current_task())


class NotingClient(Noting, ClientConnection):
    pass


class NotingServer(Noting, ServerConnection):
    pass


class Echo(Counting):
    def message_received(self, message: Data) -> None:
        self.protocol.send(message)


async def test_messages_are_delivered_in_order_without_a_task(runtime: Runtime) -> None:
    async with (
        runtime.serving(wait_closed, create_protocol=NotingServer, **QUIET) as (server, _),
        runtime.raw_client(server) as peer,
    ):
        (connection,) = server.connections
        fragments = Frame(TEXT, b"3", fin=False), Frame(CONTINUATION, b"4")
        await peer.send(Frame(TEXT, b"1"), Frame(BINARY, b"2"), *fragments, Frame(TEXT, b""))
        await runtime.until(lambda: len(connection.noted) == 4)
        assert connection.noted == ["1", b"2", "34", ""]
        assert connection.tasks == [None] * 4
        await peer.finish()


async def test_client(runtime: Runtime) -> None:
    async def handler(websocket: ServerConnection) -> None:
        for number in range(100):
            await websocket.send(str(number))

    async with (
        runtime.serving(handler) as (_, uri),
        runtime.connect(uri, create_protocol=NotingClient) as client,
    ):
        await client.wait_closed()
    assert client.noted == [str(number) for number in range(100)]


async def test_messages_behind_the_response_are_delivered(runtime: Runtime) -> None:
    async with runtime.raw_listener() as listener:

        async def serve() -> None:
            peer = await listener.accept()
            key = (await peer.read_head()).headers["sec-websocket-key"]
            await peer.send(response(key), Frame(TEXT, b"1"), Frame(TEXT, b"2"))
            await peer.send(Frame(CLOSE, close_payload(1000)))
            assert await peer.read_frame() == Frame(CLOSE, close_payload(1000))
            peer.close()

        serving = runtime.spawn(serve)
        async with runtime.connect(listener.uri, create_protocol=NotingClient, **QUIET) as client:
            await client.wait_closed()
        assert client.noted == ["1", "2"]
        await serving.result()


async def test_messages_behind_the_request_are_delivered_before_the_handler_runs(runtime: Runtime) -> None:
    seen: list[Any] = []

    async def process_request(path: str, request_headers: Any) -> None:
        await asyncio.sleep(0.05)
        seen.extend(connection.noted for connection in server.connections)

    async def handler(websocket: NotingServer) -> None:
        seen.append(list(websocket.noted))

    options = {"create_protocol": NotingServer, "process_request": process_request, **QUIET}
    async with runtime.serving(handler, **options) as (server, _), runtime.raw_connection(server) as peer:
        await peer.send(request(), Frame(TEXT, b"early"), Frame(TEXT, b"bird"))
        assert (await peer.read_head()).status == 101
        assert await peer.read_frame() == Frame(CLOSE, close_payload(1000))
        # Not before the request was accepted: the list noted first is the one that was filled later.
        assert seen == [["early", "bird"], ["early", "bird"]]
        assert seen[0] is not seen[1]


async def test_answers_to_messages_behind_the_request_are_written(runtime: Runtime) -> None:
    options = {"create_protocol": Echo, **QUIET}
    async with runtime.serving(wait_closed, **options) as (server, _), runtime.raw_connection(server) as peer:
        await peer.send(request(), Frame(TEXT, b"early"))
        assert (await peer.read_head()).status == 101
        assert await peer.read_frame() == Frame(TEXT, b"early")
        await peer.finish()


async def test_answers_to_the_messages_of_one_read_are_one_write(runtime: Runtime) -> None:
    async with (
        runtime.serving(wait_closed, create_protocol=Echo, **QUIET) as (server, _),
        runtime.raw_client(server) as peer,
    ):
        (connection,) = server.connections
        await turns(10)
        writes = connection.transport.written
        writes.clear()
        await peer.send(*[Frame(TEXT, str(number).encode()) for number in range(100)])
        for number in range(100):
            assert await peer.read_frame() == Frame(TEXT, str(number).encode())
        assert len(writes) == 1
        await peer.finish()


async def test_answers_are_written_at_64_kib(runtime: Runtime) -> None:
    class Large(Counting):
        def message_received(self, message: Data) -> None:
            self.protocol.send(bytes(2**14))

    async with (
        runtime.serving(wait_closed, create_protocol=Large, write_limit=None, **QUIET) as (server, _),
        runtime.raw_client(server) as peer,
    ):
        (connection,) = server.connections
        await turns(10)
        writes = connection.transport.written
        writes.clear()
        # No more than the system takes at once: what waits for room is written in one piece.
        await peer.send(*[Frame(TEXT, b"x")] * 8)
        for _ in range(8):
            assert await peer.read_frame() == Frame(BINARY, bytes(2**14))
        assert len(writes) > 1
        assert max(map(len, writes)) < 2**16 + 2**14 + 1024
        await peer.finish()


@with_tls
async def test_nothing_is_delivered_while_the_peer_does_not_read(runtime: Runtime, tls: bool) -> None:
    calls = 0

    class Amplifying(ServerConnection):
        def message_received(self, message: Data) -> None:
            nonlocal calls
            calls += 1
            # It is called only while there is room.
            assert self.protocol.writable
            self.protocol.send(bytes(2**15))

    options = {"create_protocol": Amplifying, **QUIET, **runtime.server_tls(tls)}
    count = 300
    async with (
        runtime.serving(wait_closed, **options) as (server, _),
        runtime.raw_client(server, small_buffers=True, tls=tls) as peer,
    ):
        (connection,) = server.connections
        await peer.send(*[Frame(TEXT, b"x")] * count)
        await runtime.until(lambda: not connection.protocol.writable)
        await runtime.until_stable(lambda: calls)
        assert calls < count
        assert not connection.protocol.writable
        for _ in range(count):
            assert await peer.read_frame() == Frame(BINARY, bytes(2**15))
        assert calls == count
        # Nothing hangs: what comes next is delivered as well.
        await peer.send(Frame(TEXT, b"x"))
        assert await peer.read_frame() == Frame(BINARY, bytes(2**15))
        await peer.finish()


async def test_what_had_to_wait_is_delivered_when_the_connection_is_lost(runtime: Runtime) -> None:
    class Amplifying(NotingServer):
        def message_received(self, message: Data) -> None:
            super().message_received(message)
            if self.open:
                self.protocol.send(bytes(2**20))

    async with (
        runtime.serving(wait_closed, create_protocol=Amplifying, **QUIET) as (server, _),
        runtime.raw_client(server, small_buffers=True) as peer,
    ):
        (connection,) = server.connections
        await peer.send(*[Frame(TEXT, str(number).encode()) for number in range(20)])
        await runtime.until(lambda: not connection.protocol.writable)
        assert connection.noted == ["0"]
        peer.reset()
        await connection.wait_closed()
        assert connection.noted == [str(number) for number in range(20)]


async def test_message_beyond_the_read_limit_is_delivered(runtime: Runtime) -> None:
    options = {"create_protocol": NotingServer, "read_limit": 1024, "max_size": None}
    async with (
        runtime.serving(wait_closed, **options) as (server, uri),
        runtime.connect(uri) as client,
    ):
        await runtime.until(lambda: server.connections)
        (connection,) = server.connections
        await client.send("x" * 2**20)
        await client.send("y")
        await runtime.until(lambda: len(connection.noted) == 2)
        assert connection.noted == ["x" * 2**20, "y"]


async def test_what_came_before_the_close_is_delivered(runtime: Runtime) -> None:
    async with (
        runtime.serving(wait_closed, create_protocol=NotingServer, **QUIET) as (server, _),
        runtime.raw_client(server) as peer,
    ):
        (connection,) = server.connections
        await peer.send(Frame(TEXT, b"1"), Frame(TEXT, b"2"), Frame(CLOSE, close_payload(1000)))
        assert await peer.read_frame() == Frame(CLOSE, close_payload(1000))
        assert connection.noted == ["1", "2"]


async def test_exception_fails_the_connection_and_is_logged(runtime: Runtime) -> None:
    log = Log()

    class Failing(NotingServer):
        def message_received(self, message: Data) -> None:
            super().message_received(message)
            self.protocol.send("dropped")
            if message == "2":
                raise ZeroDivisionError("our error")

    async with (
        runtime.serving(wait_closed, create_protocol=Failing, logger=log, **QUIET) as (server, _),
        runtime.raw_client(server) as peer,
    ):
        (connection,) = server.connections
        await peer.send(*[Frame(TEXT, str(number).encode()) for number in range(5)])
        assert await peer.read_frames_to_end() == [Frame(CLOSE, close_payload(1011))]
        peer.close()
        await connection.wait_closed()
        assert connection.noted == ["0", "1", "2"]
        assert log.errors() == [("message_received failed", ZeroDivisionError)]
        with pytest.raises(ConnectionClosedError) as caught:
            await connection.send("x")
        assert isinstance(caught.value.__cause__, ZeroDivisionError)


async def test_answers_to_a_peer_that_has_closed_go_out(runtime: Runtime) -> None:
    log = Log()
    async with (
        runtime.serving(wait_closed, create_protocol=Echo, logger=log, **QUIET) as (server, _),
        runtime.raw_client(server) as peer,
    ):
        await peer.send(Frame(TEXT, b"1"), Frame(TEXT, b"2"), Frame(CLOSE, close_payload(1000)))
        answers = [Frame(TEXT, b"1"), Frame(TEXT, b"2")]
        assert await peer.read_frames_to_end() == [*answers, Frame(CLOSE, close_payload(1000))]
    assert log.errors() == []


async def test_error_after_the_close_is_logged(runtime: Runtime) -> None:
    log = Log()

    class Failing(ServerConnection):
        def message_received(self, message: Data) -> None:
            raise ZeroDivisionError

    async with (
        runtime.serving(wait_closed, create_protocol=Failing, logger=log, **QUIET) as (server, _),
        runtime.raw_client(server) as peer,
    ):
        await peer.send(Frame(TEXT, b"1"), Frame(CLOSE, close_payload(1000)))
        assert await peer.read_frames_to_end() == [Frame(CLOSE, close_payload(1000))]
    assert log.errors() == [("message_received failed", ZeroDivisionError)]


async def test_closing_in_it(runtime: Runtime) -> None:
    class Closing(NotingServer):
        def message_received(self, message: Data) -> None:
            super().message_received(message)
            self.protocol.send("bye")
            self.protocol.close(4000, "enough")

    async with (
        runtime.serving(wait_closed, create_protocol=Closing) as (server, uri),
        runtime.connect(uri) as client,
    ):
        await client.send("x")
        assert await client.recv() == "bye"
        with pytest.raises(ConnectionClosedError) as caught:
            await client.recv()
        assert caught.value.received == Close(4000, "enough")
        await runtime.until(lambda: not server.connections)


async def test_receiving_otherwise_is_refused(runtime: Runtime) -> None:
    async with runtime.connected({"create_protocol": NotingClient}) as (client, server):
        for receive in (client.recv, client.__anext__, client.recv_streaming().__anext__):
            with pytest.raises(ConcurrencyError, match="messages go to message_received"):
                await receive()
        await server.send("x")
        await runtime.until(lambda: client.noted == ["x"])


async def test_sending_from_tasks(runtime: Runtime) -> None:
    async with runtime.connected({"create_protocol": NotingClient}) as (client, server):
        await client.send("from a task")
        assert await server.recv() == "from a task"
        await client.send(["in ", "fragments"])
        assert await server.recv() == "in fragments"
        waiter = await client.ping()
        assert await runtime.pong(waiter) >= 0
        await client.close()
        assert client.state is State.CLOSED
        with pytest.raises(ConnectionClosedOK):
            await client.send("x")


async def test_conversation_of_two_ends(runtime: Runtime) -> None:
    class Counter(ClientConnection):
        def message_received(self, message: Data) -> None:
            assert isinstance(message, str)
            if int(message) < 200:
                self.protocol.send(str(int(message) + 1))
            else:
                self.protocol.close()

    async with (
        runtime.serving(wait_closed, create_protocol=Echo) as (_, uri),
        runtime.connect(uri, create_protocol=Counter) as client,
    ):
        await client.send("1")
        await client.wait_closed()
        assert client.statistics.messages_received == 200
