"""Closing: the closing handshake in every order, its deadlines, leaving a block, handlers that end."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from tests.adapters.runtimes import Runtime
from tests.adapters.runtimes.base import QUIET, Log, wait_closed
from tests.core.helpers import CLOSE, TEXT, Frame, close_payload
from wsproto_core import ConnectionClosed, ConnectionClosedError, ConnectionClosedOK, State
from wsproto_core.types import Close

both_ends = pytest.mark.parametrize("end", ["client", "server"])
with_tls = pytest.mark.parametrize(
    "tls", [False, pytest.param(True, marks=pytest.mark.needs("sockets"))], ids=["plain", "tls"]
)

# The closing handshake


@with_tls
@both_ends
@pytest.mark.parametrize(
    ("code", "reason"), [(1000, "done"), (1001, ""), (4999, "caf\xe9" * 24)], ids=["1000", "1001", "4999"]
)
async def test_close_from_either_end(runtime: Runtime, end: str, code: int, reason: str, tls: bool) -> None:
    async with runtime.connected(tls=tls) as pair:
        ours, theirs = pair if end == "client" else pair[::-1]
        receiving = runtime.spawn(theirs.recv)
        await runtime.settle(0.01)
        await ours.close(code, reason)
        assert ours.closed
        assert ours.state is State.CLOSED
        assert not ours.open
        with pytest.raises(ConnectionClosed) as raised:
            await receiving.result()
        error = raised.value
        assert type(error) is (ConnectionClosedOK if code in (1000, 1001) else ConnectionClosedError)
        assert (error.code, error.reason) == (code, reason)
        assert (error.received, error.sent) == (Close(code, reason), Close(code))
        assert error.received_first is True
        assert error.__cause__ is None
        with pytest.raises(ConnectionClosed) as raised:
            await ours.recv()
        error = raised.value
        assert (error.code, error.reason) == (code, "")
        assert (error.received, error.sent) == (Close(code), Close(code, reason))
        assert error.received_first is False
        assert error.__cause__ is None
        await theirs.wait_closed()
        assert theirs.closed
        assert (theirs.close_code, theirs.close_reason) == (code, reason)
        assert (ours.close_code, ours.close_reason) == (code, "")


@both_ends
async def test_close_while_nobody_waits_at_the_other_end(runtime: Runtime, end: str) -> None:
    async with runtime.connected() as pair:
        ours, theirs = pair if end == "client" else pair[::-1]
        await ours.close()
        assert ours.close_code == 1000
        await runtime.until(lambda: theirs.closed)
        assert theirs.close_code == 1000


async def test_both_ends_close_at_once(runtime: Runtime) -> None:
    async with runtime.connected() as (client, server):
        tasks = [runtime.spawn(client.close, 4000), runtime.spawn(server.close, 4001)]
        for task in tasks:
            await task.result()
        # Whose frame came first, or whether they crossed, cannot be told.
        assert client.close_code in (4000, 4001)
        assert server.close_code in (4000, 4001)
    async with runtime.raw_server() as (peer, client):
        # Here they cross.
        closing = runtime.spawn(client.close, 4000)
        assert await peer.read_frame() == Frame(CLOSE, close_payload(4000))
        await peer.send(Frame(CLOSE, close_payload(4001)))
        peer.end()
        await closing.result()
        assert await peer.read_to_end() == b""
        assert client.close_code == 4001


async def test_exceptions_can_be_pickled(runtime: Runtime) -> None:
    async with runtime.connected() as (client, server):
        closing = runtime.spawn(server.close, 4000, "why")
        with pytest.raises(ConnectionClosedError) as raised:
            await client.recv()
        error = pickle.loads(pickle.dumps(raised.value))
        assert (type(error), str(error)) == (ConnectionClosedError, str(raised.value))
        assert (error.code, error.reason, error.received) == (4000, "why", Close(4000, "why"))
        await closing.result()


@both_ends
async def test_close_is_idempotent(runtime: Runtime, end: str) -> None:
    async with runtime.connected() as pair:
        ours, theirs = pair if end == "client" else pair[::-1]
        waiting = runtime.spawn(theirs.wait_closed)
        await ours.close(1001, "first")
        await ours.close(4000, "second")
        await theirs.close(4001, "third")
        await waiting.result()
        assert (theirs.close_code, theirs.close_reason) == (1001, "first")
        assert ours.close_code == 1001


@both_ends
async def test_every_call_after_the_close_says_how_it_was_closed(runtime: Runtime, end: str) -> None:
    async with runtime.connected() as pair:
        ours, theirs = pair if end == "client" else pair[::-1]
        waiting = runtime.spawn(theirs.wait_closed)
        await ours.close(4000)
        await waiting.result()
        calls = (
            lambda: ours.recv(),
            lambda: ours.send("a"),
            lambda: ours.send(["a"]),
            lambda: ours.ping(),
            lambda: ours.pong(),
            lambda: anext(ours),
            lambda: anext(ours.recv_streaming()),
        )
        for call in calls:
            with pytest.raises(ConnectionClosedError) as raised:
                await call()
            assert raised.value.code == 4000
        await ours.wait_closed()


async def test_sending_while_closing_says_so(runtime: Runtime) -> None:
    async with runtime.raw_server() as (peer, client):
        closing = runtime.spawn(client.close, 4000, "mine")
        await peer.read_frame()
        calls = (
            lambda: client.send("a"),
            lambda: client.send(["a"]),
            lambda: client.ping(),
            lambda: client.pong(),
        )
        for call in calls:
            with pytest.raises(ConnectionClosedError) as raised:
                await call()
            assert raised.value.sent == Close(4000, "mine")
        # What arrives meanwhile is still received.
        await peer.send(Frame(TEXT, b"late"), Frame(CLOSE, close_payload(4000)))
        assert await client.recv() == "late"
        peer.end()
        await closing.result()


@both_ends
async def test_code_or_reason_that_cannot_be_sent_is_refused(runtime: Runtime, end: str) -> None:
    codes = [(code, "") for code in (0, 999, 1004, 1006, 1015, 2999, 5000)]
    async with runtime.connected() as pair:
        ours, theirs = pair if end == "client" else pair[::-1]
        for code, reason in [*codes, (1000, "x" * 124), (1000, "\xe9" * 62)]:
            with pytest.raises(ValueError, match=r"code|reason"):
                await ours.close(code, reason)
        await ours.send("still open")
        assert await theirs.recv() == "still open"


async def test_close_without_a_code(runtime: Runtime) -> None:
    async with runtime.connected() as (client, server):
        closing = runtime.spawn(client.close, 1005)
        # A browser's close() sends no code: that is a good end.
        with pytest.raises(ConnectionClosedOK) as raised:
            await server.recv()
        assert raised.value.received == Close(1005)
        await closing.result()
        assert server.close_code == client.close_code == 1005


async def test_messages_sent_before_the_close_arrive(runtime: Runtime) -> None:
    async with runtime.connected() as (client, server):
        for number in range(10):
            await client.send(str(number))
        closing = runtime.spawn(client.close)
        assert [message async for message in server] == [str(number) for number in range(10)]
        await closing.result()


async def test_close_does_not_wait_for_undelivered_messages(runtime: Runtime) -> None:
    async with runtime.connected() as (client, server):
        for number in range(200):
            await server.send(str(number))
        await client.close()
        assert client.close_code == 1000
        received = [message async for message in client]
        # What there was room for, without gaps.
        assert received == [str(number) for number in range(len(received))]


async def test_getters_tell_the_close_frame_that_was_received(runtime: Runtime) -> None:
    async with runtime.connected() as (client, server):
        closing = runtime.spawn(server.close, 3456, "why")
        await client.wait_closed()
        await closing.result()
        assert (client.close_code, client.close_reason) == (3456, "why")
        assert (server.close_code, server.close_reason) == (3456, "")


# Leaving a block


async def test_leaving_a_block_closes(runtime: Runtime) -> None:
    async with runtime.serving(wait_closed) as (server, uri):
        async with runtime.connect(uri) as client:
            await runtime.until(lambda: server.connections)
            (accepted,) = server.connections
        assert client.closed
        await runtime.until(lambda: accepted.closed)
        assert client.close_code == accepted.close_code == 1000


async def test_connection_is_a_context_manager(runtime: Runtime) -> None:
    async with runtime.serving(wait_closed) as (_, uri):
        async with await runtime.open(uri) as client:
            assert client.open
        assert client.closed


async def test_connection_without_a_block(runtime: Runtime) -> None:
    async with runtime.serving() as (_, uri):
        client = await runtime.open(uri)
        assert isinstance(runtime.native(client), runtime.ClientConnection)
        assert client.state is State.OPEN
        await runtime.check_echo(client)
        await client.close()


async def test_leaving_a_block_with_an_exception_closes_and_raises_it(runtime: Runtime) -> None:
    async with runtime.serving(wait_closed) as (_, uri):
        with pytest.raises(ZeroDivisionError):
            async with runtime.connect(uri) as client:
                raise ZeroDivisionError
        assert client.closed
        assert client.close_code is not None


async def test_leaving_a_block_whose_connection_is_closed_already(runtime: Runtime) -> None:
    async with runtime.serving(wait_closed) as (_, uri), runtime.connect(uri) as client:
        await client.close(4000)
    assert client.close_code == 4000


# Handlers


async def test_handler_that_returns_closes_with_1000(runtime: Runtime) -> None:
    async def handler(websocket: Any) -> None:
        await websocket.send("a")

    async with runtime.serving(handler) as (_, uri), runtime.connect(uri) as client:
        assert [message async for message in client] == ["a"]
        assert (client.close_code, client.close_reason) == (1000, "")


async def test_handler_that_raises_closes_with_1011_and_is_logged(runtime: Runtime) -> None:
    async def handler(websocket: Any) -> None:
        raise ZeroDivisionError("secret")

    log = Log()
    async with runtime.serving(handler, logger=log) as (_, uri), runtime.connect(uri) as client:
        with pytest.raises(ConnectionClosedError) as raised:
            await client.recv()
        assert raised.value.code == 1011
        assert "secret" not in str(raised.value)
        assert log.errors() == [("connection handler failed", ZeroDivisionError)]


async def test_handler_that_ends_by_connection_closed_is_no_error(runtime: Runtime) -> None:
    async def handler(websocket: Any) -> None:
        while True:
            await websocket.recv()

    for code in (1000, 4000):
        log = Log()
        async with runtime.serving(handler, logger=log) as (server, uri):
            async with runtime.connect(uri) as client:
                await client.close(code)
            await runtime.until(lambda: not server.connections)
            assert log.errors() == []


async def test_handler_that_ends_by_another_connection_being_closed_is_an_error(runtime: Runtime) -> None:
    async def refuse(websocket: Any) -> None:
        await websocket.close(4000)

    async with runtime.serving(refuse) as (_, other_uri):

        async def handler(websocket: Any) -> None:
            async with runtime.connect(other_uri) as other:
                await other.recv()

        log = Log()
        async with runtime.serving(handler, logger=log) as (_, uri), runtime.connect(uri) as client:
            with pytest.raises(ConnectionClosedError) as raised:
                await client.recv()
            assert raised.value.code == 1011
            assert log.errors() == [("connection handler failed", ConnectionClosedError)]


async def test_handler_that_closes_by_itself(runtime: Runtime) -> None:
    async def handler(websocket: Any) -> None:
        await websocket.close(4000, "because")

    async with runtime.serving(handler) as (_, uri), runtime.connect(uri) as client:
        with pytest.raises(ConnectionClosedError):
            await client.recv()
        assert (client.close_code, client.close_reason) == (4000, "because")


async def test_handler_that_closes_and_then_raises(runtime: Runtime) -> None:
    async def handler(websocket: Any) -> None:
        await websocket.close(4000)
        raise ZeroDivisionError

    log = Log()
    async with runtime.serving(handler, logger=log) as (server, uri), runtime.connect(uri) as client:
        with pytest.raises(ConnectionClosedError) as raised:
            await client.recv()
        assert raised.value.code == 4000
        await runtime.until(lambda: not server.connections)
        assert log.errors() == [("connection handler failed", ZeroDivisionError)]


async def test_handler_that_outlives_its_connection(runtime: Runtime) -> None:
    finish = runtime.event()

    async def handler(websocket: Any) -> None:
        await websocket.wait_closed()
        await finish.wait()

    async with runtime.serving(handler) as (server, uri):
        async with runtime.connect(uri):
            pass
        await runtime.settle()
        assert len(server.connections) == 1
        finish.set()
        await runtime.until(lambda: not server.connections)


# Deadlines. The times are as short as they may be; that they are up is seen by what happens then.


@with_tls
async def test_server_that_never_answers_the_close(runtime: Runtime, tls: bool) -> None:
    async with runtime.raw_server(close_timeout=0.2, tls=tls) as (peer, client):
        await client.close(4000)
        assert client.closed
        assert client.close_code == 1006
        with pytest.raises(ConnectionClosedError) as raised:
            await client.recv()
        assert raised.value.sent == Close(4000)
        assert raised.value.received is None
        assert isinstance(raised.value.__cause__, TimeoutError)
        assert await peer.read_frames_to_end_or_reset() == [Frame(CLOSE, close_payload(4000))]


@with_tls
async def test_client_that_never_answers_the_close(runtime: Runtime, tls: bool) -> None:
    async def handler(websocket: Any) -> None:
        await websocket.close(4000)

    options = {**QUIET, "close_timeout": 0.2, **runtime.server_tls(tls)}
    async with (
        runtime.serving(handler, **options) as (server, _),
        runtime.raw_client(server, tls=tls) as peer,
    ):
        (connection,) = server.connections
        await connection.wait_closed()
        assert connection.close_code == 1006
        assert await peer.read_frames_to_end_or_reset() == [Frame(CLOSE, close_payload(4000))]
        await runtime.until(lambda: not server.connections)


async def test_server_ends_tcp_first_and_aborts_when_the_client_never_does(runtime: Runtime) -> None:
    async with (
        runtime.serving(wait_closed, **QUIET, close_timeout=0.2) as (server, _),
        runtime.raw_client(server) as peer,
    ):
        (connection,) = server.connections
        await peer.send(Frame(CLOSE, close_payload(1000)))
        assert await peer.read_frames_to_end() == [Frame(CLOSE, close_payload(1000))]
        await connection.wait_closed()
        assert connection.close_code == 1000
        await runtime.until(lambda: not server.connections)


async def test_client_leaves_the_end_of_tcp_to_the_server(runtime: Runtime) -> None:
    async with runtime.raw_server(close_timeout=0.4) as (peer, client):
        await peer.send(Frame(CLOSE, close_payload(1000)))
        assert await peer.read_frame() == Frame(CLOSE, close_payload(1000))
        # The server never ends it.
        assert await peer.read_frames_to_end_or_reset() == []
        await client.wait_closed()
        assert client.close_code == 1000


async def test_no_closing_deadline(runtime: Runtime) -> None:
    async with runtime.raw_server(close_timeout=None) as (peer, client):
        closing = runtime.spawn(client.close)
        await peer.read_frame()
        await runtime.settle(0.3)
        assert not closing.done()
        await peer.send(Frame(CLOSE, close_payload(1000)))
        peer.end()
        await closing.result()


async def test_close_of_a_peer_that_does_not_read(runtime: Runtime) -> None:
    async def send_for_ever() -> None:
        while True:
            await client.send(b"x" * 2**14)

    async with runtime.raw_server(small_buffers=True, write_limit=2**14, close_timeout=0.2) as (_, client):
        sending = runtime.spawn(send_for_ever)
        await runtime.until(lambda: not client.protocol.writable)
        await runtime.settle()
        await client.close()
        with pytest.raises(ConnectionClosed):
            await sending.result()


async def test_closing_reads_on_to_the_close_frame(runtime: Runtime) -> None:
    # The receive queue is full; what there is no room for is dropped (ours is the close frame).
    async with runtime.raw_server(max_queue=2) as (peer, client):
        await peer.send(*[Frame(TEXT, str(number).encode()) for number in range(50)])
        await runtime.until(lambda: not client.protocol.wants_read)
        closing = runtime.spawn(client.close)
        await peer.read_frame()
        await peer.send(*[Frame(TEXT, b"late")] * 1000, Frame(CLOSE, close_payload(1000)))
        peer.end()
        await closing.result()
        assert client.close_code == 1000


async def test_close_before_the_handshake_ends_is_refused(runtime: Runtime) -> None:
    async with runtime.serving(wait_closed) as (server, _), runtime.raw_connection(server) as peer:
        await runtime.until(lambda: server.connections)
        (connection,) = server.connections
        assert connection.state is State.CONNECTING
        with pytest.raises(Exception, match="opening handshake"):
            await connection.close()
        peer.end()
        await runtime.until(lambda: not server.connections)
