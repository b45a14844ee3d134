"""Closing: the handshake, its deadlines, and everything that ends a connection without one."""

from __future__ import annotations

import asyncio
import errno
import pickle
from typing import Any

import pytest

from adapters.asyncio import ServerConnection, connect
from tests.core.helpers import CLOSE, PING, PONG, TEXT, Frame, close_payload, request
from tests.core.helpers import frame as build_frame
from wsproto_core import ConnectionClosed, ConnectionClosedError, ConnectionClosedOK, State
from wsproto_core.exceptions import ProtocolError
from wsproto_core.typing import Close

from .runtime import (
    Log,
    Peer,
    Runtime,
    block,
    connected,
    raw_client,
    raw_connection,
    raw_server,
    serving,
    settle,
    turns,
    until,
    wait_closed,
)

both_ends = pytest.mark.parametrize("end", ["client", "server"])
with_tls = pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])


# The closing handshake


@with_tls
@both_ends
@pytest.mark.parametrize(
    ("code", "reason"), [(1000, ""), (1000, "done"), (1001, "bye"), (3000, "caf\xe9"), (4999, "x" * 123)]
)
async def test_close_from_either_end(end: str, code: int, reason: str, tls: bool) -> None:
    async with connected(tls=tls) as pair:
        ours, theirs = pair if end == "client" else pair[::-1]
        receiving = asyncio.create_task(theirs.recv())
        await turns()
        await ours.close(code, reason)
        assert ours.closed
        assert ours.state is State.CLOSED
        assert not ours.open
        with pytest.raises(ConnectionClosed) as raised:
            await receiving
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


async def test_exceptions_can_be_pickled() -> None:
    async with connected() as (client, server):
        await server.close(4000, "why")
        with pytest.raises(ConnectionClosedError) as raised:
            await client.recv()
        error = pickle.loads(pickle.dumps(raised.value))
        assert (type(error), str(error)) == (ConnectionClosedError, str(raised.value))
        assert (error.code, error.reason, error.received) == (4000, "why", Close(4000, "why"))


@both_ends
async def test_close_is_idempotent(end: str) -> None:
    async with connected() as pair:
        ours, theirs = pair if end == "client" else pair[::-1]
        await ours.close(1001, "first")
        await ours.close(4000, "second")
        await theirs.close(4001, "third")
        assert (theirs.close_code, theirs.close_reason) == (1001, "first")
        assert ours.close_code == 1001


async def test_several_tasks_close_at_once() -> None:
    async with connected() as (client, server):
        await asyncio.gather(*(client.close(3000 + number) for number in range(5)), server.close(1001))
        assert client.closed
        assert server.closed
        assert {client.close_code, server.close_code} == {3000, 1001}


@both_ends
async def test_every_call_after_the_close_says_how_it_was_closed(end: str) -> None:
    async with connected() as pair:
        ours, _ = pair if end == "client" else pair[::-1]
        await ours.close(4000)
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


async def test_sending_while_closing_says_so() -> None:
    async with raw_server() as (peer, client):
        closing = asyncio.create_task(client.close(4000, "mine"))
        await peer.read_frame()
        for call in (client.send("a"), client.send(["a"]), client.ping(), client.pong()):
            with pytest.raises(ConnectionClosedError) as raised:
                await call
            assert raised.value.sent == Close(4000, "mine")
        # What arrives meanwhile is still received.
        await peer.send(Frame(TEXT, b"late"), Frame(CLOSE, close_payload(4000)))
        assert await client.recv() == "late"
        peer.end()
        await closing


@both_ends
@pytest.mark.parametrize(
    ("code", "reason"),
    [(0, ""), (999, ""), (1004, ""), (1006, ""), (1015, ""), (2999, ""), (5000, ""), (1000, "x" * 124)],
    ids=lambda value: str(value)[:10],
)
async def test_code_or_reason_that_cannot_be_sent_is_refused(end: str, code: int, reason: str) -> None:
    async with connected() as pair:
        ours, theirs = pair if end == "client" else pair[::-1]
        with pytest.raises(ValueError, match=r"code|reason"):
            await ours.close(code, reason)
        await ours.send("still open")
        assert await theirs.recv() == "still open"


async def test_close_without_a_code() -> None:
    async with connected() as (client, server):
        await client.close(1005)
        assert server.close_code == client.close_code == 1005
        with pytest.raises(ConnectionClosedError) as raised:
            await server.recv()
        assert raised.value.received == Close(1005)


async def test_messages_sent_before_the_close_arrive() -> None:
    async with connected() as (client, server):
        for number in range(10):
            await client.send(str(number))
        closing = asyncio.create_task(client.close())
        assert [message async for message in server] == [str(number) for number in range(10)]
        await closing


async def test_close_does_not_wait_for_undelivered_messages() -> None:
    async with connected() as (client, server):
        for number in range(200):
            await server.send(str(number))
        await client.close()
        assert client.close_code == 1000
        received = [message async for message in client]
        # What there was room for, without gaps.
        assert received == [str(number) for number in range(len(received))]


async def test_close_wakes_who_waits_to_receive() -> None:
    async with connected() as (client, _server):
        receiving = asyncio.create_task(client.recv())
        await turns()
        await client.close()
        with pytest.raises(ConnectionClosedOK):
            await receiving


async def test_close_wakes_who_waits_to_send() -> None:
    async with raw_server(receive_buffer=4096, write_limit=2**14, close_timeout=0.2) as (_peer, client):
        sending = asyncio.create_task(_send_for_ever(client))
        await until(lambda: not client.protocol.writable)
        await settle()
        assert not sending.done()
        await client.close()
        with pytest.raises(ConnectionClosed):
            await sending


async def _send_for_ever(websocket: Any) -> None:
    while True:
        await websocket.send(b"x" * 2**14)


async def test_wait_closed_in_another_task() -> None:
    async with connected() as (client, server):
        waiting = [asyncio.create_task(end.wait_closed()) for end in (client, client, server)]
        await turns()
        assert not any(task.done() for task in waiting)
        await client.close()
        await asyncio.gather(*waiting)


@both_ends
async def test_getters_before_and_after(end: str) -> None:
    async with connected() as pair:
        ours, theirs = pair if end == "client" else pair[::-1]
        assert ours.state is State.OPEN
        assert (ours.open, ours.closed) == (True, False)
        assert (ours.close_code, ours.close_reason) == (None, None)
        local, remote = ours.local_address, ours.remote_address
        assert local[0] == remote[0] == "127.0.0.1"
        assert (local, remote) == (theirs.remote_address, theirs.local_address)
        await ours.close()
        assert (ours.open, ours.closed) == (False, True)
        assert (ours.close_code, ours.close_reason) == (1000, "")


# Context managers


async def test_leaving_a_block_closes() -> None:
    async with serving(wait_closed) as (server, uri):
        async with connect(uri) as client:
            (accepted,) = server.connections
        assert client.closed
        assert client.close_code == accepted.close_code == 1000


async def test_connection_is_a_context_manager() -> None:
    async with serving(wait_closed) as (_, uri):
        async with await connect(uri) as client:
            assert client.open
        assert client.closed


async def test_leaving_a_block_with_an_exception_closes_and_raises_it() -> None:
    async with serving(wait_closed) as (_server, uri):
        with pytest.raises(ZeroDivisionError):
            async with connect(uri) as client:
                raise ZeroDivisionError
        assert client.closed
        assert client.close_code is not None


async def test_leaving_a_block_whose_connection_is_closed_already() -> None:
    async with serving(wait_closed) as (_, uri), connect(uri) as client:
        await client.close(4000)
    assert client.close_code == 4000


# Handlers


async def test_handler_that_returns_closes_with_1000() -> None:
    async def handler(websocket: ServerConnection) -> None:
        await websocket.send("a")

    async with serving(handler) as (_, uri), connect(uri) as client:
        assert [message async for message in client] == ["a"]
        assert (client.close_code, client.close_reason) == (1000, "")


async def test_handler_that_raises_closes_with_1011_and_is_logged() -> None:
    async def handler(websocket: ServerConnection) -> None:
        raise ZeroDivisionError("secret")

    log = Log()
    async with serving(handler, logger=log) as (_, uri), connect(uri) as client:
        with pytest.raises(ConnectionClosedError) as raised:
            await client.recv()
        assert raised.value.code == 1011
        assert "secret" not in str(raised.value)
        assert log.errors() == [("connection handler failed", ZeroDivisionError)]


async def test_handler_that_ends_by_connection_closed_is_no_error() -> None:
    async def handler(websocket: ServerConnection) -> None:
        while True:
            await websocket.recv()

    for code in (1000, 4000):
        log = Log()
        async with serving(handler, logger=log) as (server, uri):
            async with connect(uri) as client:
                await client.close(code)
            await until(lambda: not server.connections)
            assert log.errors() == []


async def test_handler_that_ends_by_another_connection_being_closed_is_an_error() -> None:
    async def refuse(websocket: ServerConnection) -> None:
        await websocket.close(4000)

    async with serving(refuse) as (_, other_uri):

        async def handler(websocket: ServerConnection) -> None:
            async with connect(other_uri) as other:
                await other.recv()

        log = Log()
        async with serving(handler, logger=log) as (_, uri), connect(uri) as client:
            with pytest.raises(ConnectionClosedError) as raised:
                await client.recv()
            assert raised.value.code == 1011
            assert log.errors() == [("connection handler failed", ConnectionClosedError)]


async def test_handler_that_closes_by_itself() -> None:
    async def handler(websocket: ServerConnection) -> None:
        await websocket.close(4000, "because")

    async with serving(handler) as (_, uri), connect(uri) as client:
        with pytest.raises(ConnectionClosedError):
            await client.recv()
        assert (client.close_code, client.close_reason) == (4000, "because")


async def test_handler_that_closes_and_then_raises() -> None:
    async def handler(websocket: ServerConnection) -> None:
        await websocket.close(4000)
        raise ZeroDivisionError

    log = Log()
    async with serving(handler, logger=log) as (server, uri), connect(uri) as client:
        with pytest.raises(ConnectionClosedError) as raised:
            await client.recv()
        assert raised.value.code == 4000
        await until(lambda: not server.connections)
        assert log.errors() == [("connection handler failed", ZeroDivisionError)]


async def test_handler_that_outlives_its_connection() -> None:
    finished = asyncio.Event()

    async def handler(websocket: ServerConnection) -> None:
        await websocket.wait_closed()
        await finished.wait()

    async with serving(handler) as (server, uri):
        async with connect(uri):
            pass
        await turns(10)
        assert len(server.connections) == 1
        finished.set()
        await until(lambda: not server.connections)


async def test_openings_and_closings_are_a_line_each() -> None:
    log = Log()
    async with serving(wait_closed, logger=log) as (server, uri):
        async with connect(uri, logger=log) as client:
            await client.close(4000, "bad \x1b[31m")
        await until(lambda: not server.connections)
    messages = log.messages()
    assert messages.count("connection open") == 2
    assert len([message for message in messages if message.startswith("connection closed")]) == 2
    assert not any("\x1b" in message for message in messages)


# Deadlines. The times are as short as they may be; that they are up is seen by what happens then.


@with_tls
async def test_peer_that_never_answers_the_close(tls: bool) -> None:
    # The server reads nothing: its receive queue is full.
    server = {"max_queue": 1}
    async with connected({"close_timeout": 0.2}, server, tls=tls) as (client, deaf):
        deaf.transport.pause_reading()
        await client.close()
        assert client.closed
        assert client.close_code == 1006
        with pytest.raises(ConnectionClosedError) as raised:
            await client.recv()
        assert raised.value.sent == Close(1000)
        assert raised.value.received is None
        assert isinstance(raised.value.__cause__, TimeoutError)
        deaf.transport.abort()


async def test_client_waits_for_the_close_frame_then_for_the_end_of_tcp_then_aborts() -> None:
    async with raw_server(close_timeout=0.2) as (peer, client):
        await client.close(4000)
        assert client.close_code == 1006
        assert await _read_or_reset(peer) == [Frame(CLOSE, close_payload(4000))]


async def _read_or_reset(peer: Peer) -> list[Frame]:
    frames = []
    try:
        while True:
            frames.append(await peer.read_frame())
    except (EOFError, ConnectionResetError):
        return frames


async def test_server_does_not_wait_for_a_client_that_never_answers_the_close() -> None:
    async def handler(websocket: ServerConnection) -> None:
        await websocket.close(4000)

    async with serving(handler, close_timeout=0.2) as (server, _), raw_client(server) as peer:
        (connection,) = server.connections
        await connection.wait_closed()
        assert connection.close_code == 1006
        assert await _read_or_reset(peer) == [Frame(CLOSE, close_payload(4000))]


async def test_server_ends_tcp_first_and_aborts_when_the_client_never_does() -> None:
    async with serving(wait_closed, close_timeout=0.2) as (server, _), raw_client(server) as peer:
        (connection,) = server.connections
        await peer.send(Frame(CLOSE, close_payload(1000)))
        assert await peer.read_frames_to_end() == [Frame(CLOSE, close_payload(1000))]
        await connection.wait_closed()
        assert connection.close_code == 1000
        await until(lambda: not server.connections)


async def test_client_leaves_the_end_of_tcp_to_the_server() -> None:
    async with raw_server(close_timeout=0.2) as (peer, client):
        await peer.send(Frame(CLOSE, close_payload(1000)))
        assert await peer.read_frame() == Frame(CLOSE, close_payload(1000))
        await until(lambda: client.close_code == 1000)
        assert not client.closed
        assert client.state is State.CLOSING
        # The server never ends it.
        await client.wait_closed()
        assert client.close_code == 1000


async def test_no_closing_deadline() -> None:
    async with raw_server(close_timeout=None) as (peer, client):
        closing = asyncio.create_task(client.close())
        await peer.read_frame()
        await settle(0.3)
        assert not closing.done()
        await peer.send(Frame(CLOSE, close_payload(1000)))
        peer.end()
        await closing


# Streams that end without a closing handshake


@pytest.mark.parametrize("after", [b"", b"\x81", b"\x81\x05hel", b"\x01\x03hel", b"\x81\x7e\x01"])
async def test_end_of_file_without_a_close_frame(after: bytes) -> None:
    async with raw_server() as (peer, client):
        await peer.send(Frame(TEXT, b"good"), after)
        peer.end()
        assert await client.recv() == "good"
        with pytest.raises(ConnectionClosedError) as raised:
            await client.recv()
        assert raised.value.code == 1006
        assert raised.value.received is None
        assert isinstance(raised.value.__cause__, EOFError)
        assert ("within a message" if after else "without a close frame") in str(raised.value.__cause__)
        # One attempt to tell the peer.
        (frame,) = await peer.read_frames_to_end()
        assert (frame.opcode, frame.payload[:2]) == (CLOSE, (1002).to_bytes(2, "big"))
        await client.wait_closed()


@both_ends
async def test_reset(end: str) -> None:
    async with connected() as pair:
        ours, theirs = pair if end == "client" else pair[::-1]
        receiving = asyncio.create_task(ours.recv())
        waiting = asyncio.create_task(ours.wait_closed())
        await turns()
        theirs.transport.abort()
        with pytest.raises(ConnectionClosedError) as raised:
            await receiving
        assert (raised.value.code, raised.value.reason) == (1006, "")
        await waiting
        await ours.close()
        with pytest.raises(ConnectionClosedError):
            await ours.send("a")


async def test_reset_is_the_cause() -> None:
    async with raw_server() as (peer, client):
        peer.reset()
        with pytest.raises(ConnectionClosedError) as raised:
            await client.recv()
        assert isinstance(raised.value.__cause__, ConnectionResetError)
        assert raised.value.received is raised.value.sent is None


async def test_reset_while_sending() -> None:
    async with raw_server(receive_buffer=4096, write_limit=2**12) as (peer, client):
        sending = asyncio.create_task(_send_for_ever(client))
        await until(lambda: not client.protocol.writable)
        peer.reset()
        with pytest.raises(ConnectionClosedError) as raised:
            await sending
        assert raised.value.code == 1006


async def test_reset_while_closing() -> None:
    async with raw_server() as (peer, client):
        closing = asyncio.create_task(client.close())
        await peer.read_frame()
        peer.reset()
        await closing
        assert client.close_code == 1006


async def test_reset_after_the_closing_handshake_changes_nothing() -> None:
    async with raw_server() as (peer, client):
        await peer.send(Frame(CLOSE, close_payload(1001)))
        await peer.read_frame()
        peer.reset()
        await client.wait_closed()
        assert client.close_code == 1001
        with pytest.raises(ConnectionClosedOK):
            await client.recv()


async def test_end_of_tcp_that_fails_since_the_peer_has_reset_it() -> None:
    class Transport:
        def __init__(self, transport: Any) -> None:
            self._transport = transport

        def __getattr__(self, name: str) -> Any:
            return getattr(self._transport, name)

        def write_eof(self) -> None:
            # As asyncio's transport does, if it has not read the reset yet.
            raise OSError(errno.ENOTCONN, "Transport endpoint is not connected")

    class Connection(ServerConnection):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(Transport(transport))

    async with serving(wait_closed, create_protocol=Connection) as (server, _):
        for data in (Frame(CLOSE, close_payload(1000)), b"\xff\xff"):
            async with raw_client(server) as peer:
                await peer.send(data)
                await until(lambda: not server.connections)
            async with raw_connection(server) as peer:
                # Here, a task finds out, not the read callback.
                await peer.send(request(), data)
                await until(lambda: not server.connections)


async def test_reset_right_after_what_makes_the_server_end_tcp(runtime: Runtime) -> None:
    # The bytes are read before the reset is noticed: ending TCP is an error then.
    async with serving(wait_closed) as (server, _):
        for data in (Frame(CLOSE, close_payload(1000)), b"\xff\xff"):
            for _ in range(5):
                async with raw_client(server) as peer:
                    await peer.send(data)
                    peer.reset()
        await until(lambda: not server.connections)
    assert runtime.reports == []


async def test_protocol_error_is_the_cause() -> None:
    async with raw_server() as (peer, client):
        await peer.send(b"\xff\xff")
        with pytest.raises(ConnectionClosedError) as raised:
            await client.recv()
        assert raised.value.code == 1006
        assert raised.value.received is None
        assert raised.value.sent is not None
        assert raised.value.sent.code == 1002
        assert isinstance(raised.value.__cause__, ProtocolError)
        assert (await peer.read_frame()).payload[:2] == (1002).to_bytes(2, "big")


# Keepalive


async def test_client_and_server_ping() -> None:
    async with raw_server(ping_interval=0.2) as (peer, client):
        for _ in range(2):
            opcode, payload, *_ = await peer.read_frame()
            assert opcode == PING
            await peer.send(Frame(PONG, payload))
        await until(lambda: client.latency)
    async with serving(wait_closed, ping_interval=0.2) as (server, _), raw_client(server) as peer:
        for _ in range(2):
            opcode, payload, *_ = await peer.read_frame()
            assert opcode == PING
            await peer.send(Frame(PONG, payload))


@pytest.mark.parametrize("open_timeout", [None, 10])
async def test_mute_server_fails_the_keepalive(open_timeout: float | None) -> None:
    options = {"ping_interval": 0.2, "ping_timeout": 0.2, "close_timeout": 0.2, "open_timeout": open_timeout}
    async with raw_server(**options) as (peer, client):
        with pytest.raises(ConnectionClosedError) as raised:
            await client.recv()
        assert raised.value.code == 1006
        assert raised.value.sent == Close(1011, "keepalive ping timeout")
        assert isinstance(raised.value.__cause__, TimeoutError)
        ping, *_, close = await _read_or_reset(peer)
        assert ping.opcode == PING
        assert close == Frame(CLOSE, close_payload(1011, "keepalive ping timeout"))


async def test_mute_client_fails_the_keepalive() -> None:
    options = {"ping_interval": 0.2, "ping_timeout": 0.2, "close_timeout": 0.2}
    async with serving(wait_closed, **options) as (server, _), raw_client(server) as peer:
        (connection,) = server.connections
        with pytest.raises(ConnectionClosedError):
            await connection.recv()
        *_, close = await _read_or_reset(peer)
        assert close == Frame(CLOSE, close_payload(1011, "keepalive ping timeout"))
        await until(lambda: not server.connections)


async def test_any_byte_proves_life() -> None:
    async with raw_server(ping_interval=0.2, ping_timeout=0.4) as (peer, client):
        for _ in range(8):
            await settle(0.1)
            await peer.send(Frame(PONG, b"not asked for"))
        assert client.open


async def test_slow_reader_does_not_fail_the_keepalive() -> None:
    # While we do not read, its pongs stay where they are.
    client_options = {"ping_interval": 0.2, "ping_timeout": 0.2, "max_queue": 2}
    async with connected(client_options) as (client, server):
        for number in range(10):
            await server.send(str(number))
        await settle(0.7)
        assert [await client.recv() for _ in range(10)] == [str(number) for number in range(10)]
        assert client.open


async def test_pong_is_waited_for_again_when_reading_goes_on() -> None:
    # The next ping is far away: the deadline of the pong is nearer when reading is resumed.
    options = {"ping_interval": 0.8, "ping_timeout": 0.2, "max_queue": 2, "close_timeout": 0.2}
    async with raw_server(**options) as (peer, client):
        await peer.send(Frame(TEXT, b"1"), Frame(TEXT, b"2"))
        assert (await peer.read_frame()).opcode == PING
        # The peer is mute from now on.
        assert [await client.recv(), await client.recv()] == ["1", "2"]
        with pytest.raises(ConnectionClosedError) as raised:
            await client.recv()
        assert raised.value.sent == Close(1011, "keepalive ping timeout")
        assert not any(opcode == PING for opcode, *_ in await _read_or_reset(peer))


async def test_peer_that_reads_nothing_and_sends_nothing_is_given_up() -> None:
    options = {"ping_timeout": 0.2, "write_limit": 2**12}
    async with raw_server(receive_buffer=4096, **options) as (_peer, client):
        with pytest.raises(ConnectionClosedError) as raised:
            await _send_for_ever(client)
        assert raised.value.code == 1006
        assert isinstance(raised.value.__cause__, TimeoutError)
        assert "no progress writing" in str(raised.value.__cause__)
        await client.wait_closed()


async def test_blocked_event_loop_is_reported_and_not_blamed_on_the_peer() -> None:
    log = Log()
    options = {"ping_interval": 0.2, "ping_timeout": 0.2, "logger": log}
    async with raw_server(**options) as (peer, client):
        _, payload, *_ = await peer.read_frame()
        await peer.send(Frame(PONG, payload))
        block(0.5)
        await turns(10)
        assert client.open
        # Nobody answers, but it is given one more period.
        with pytest.raises(ConnectionClosedError):
            await client.recv()


async def test_what_is_readable_is_read_before_the_peer_is_blamed() -> None:
    async with (
        raw_server(ping_interval=0.2, ping_timeout=0.4) as (peer, client),
        connected() as (other, sender),
    ):
        _, payload, *_ = await peer.read_frame()

        async def hold_up() -> None:
            # This runs when another connection is read: uvloop sees to its timers before it reads again.
            await other.recv()
            peer.socket.send(build_frame(PONG, payload))
            # Meanwhile, the deadline passes; it is not so late that this alone would be forgiven.
            block(0.45)

        holding_up = asyncio.create_task(hold_up())
        await turns()
        await sender.send("now")
        await holding_up
        await turns(10)
        assert client.open


async def test_no_keepalive() -> None:
    async with raw_server(ping_interval=None, ping_timeout=0.2) as (peer, client):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(peer.read(), 0.5)
        assert client.open


async def test_close_before_the_handshake_ends_is_refused() -> None:
    async with serving(wait_closed) as (server, _), raw_connection(server) as peer:
        await until(lambda: server.connections)
        (connection,) = server.connections
        assert connection.state is State.CONNECTING
        with pytest.raises(Exception, match="opening handshake"):
            await connection.close()
        peer.end()
        await until(lambda: not server.connections)
