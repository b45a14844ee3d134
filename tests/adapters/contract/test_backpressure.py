"""Backpressure: a peer that does not read makes the sender wait, and memory stays bounded."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest

from tests.adapters.runtimes import Runtime
from tests.adapters.runtimes.base import AMPLE, QUIET, wait_closed
from tests.core.helpers import BINARY, PING, PONG, TEXT, Frame, request
from wsproto_core import ConnectionClosed, ConnectionClosedError, ConnectionClosedOK

with_tls = pytest.mark.parametrize(
    "tls", [False, pytest.param(True, marks=pytest.mark.needs("sockets"))], ids=["plain", "tls"]
)

READ_SIZE = 2**18
"""What one read may bring beyond a mark, at most, whatever the runtime."""


def held(websocket: Any) -> int:
    """Bytes that this end holds of what it is to send."""
    return websocket.protocol.queued + websocket.protocol.unwritten  # type: ignore[no-any-return]


async def send_numbered(websocket: Any, count: int, size: int) -> None:
    for number in range(count):
        await websocket.send(number.to_bytes(4, "big") + bytes(size - 4))


async def send_until_closed(websocket: Any, size: int) -> None:
    with contextlib.suppress(ConnectionClosed):
        while True:
            await websocket.send(bytes(size))


# Who sends to a peer that does not read


@with_tls
async def test_sending_waits_for_a_peer_that_does_not_read_and_resumes(runtime: Runtime, tls: bool) -> None:
    size, count = 2**15, 64
    options = {"write_limit": 2**16}
    async with runtime.connected(options, {"max_queue": 4}, tls=tls, small_buffers=True) as (client, server):
        sending = runtime.spawn(send_numbered, client, count, size)
        await runtime.until_stable(lambda: client.statistics.messages_sent)
        assert not sending.done()
        assert client.statistics.messages_sent < count
        # What was accepted: up to the mark, one message more, and what frames add.
        assert held(client) <= 2**16 + size + 1024
        for number in range(count):
            message = await server.recv()
            assert (len(message), message[:4]) == (size, number.to_bytes(4, "big"))
        await sending.result()
        assert client.protocol.writable


async def test_several_wait_and_all_go_on(runtime: Runtime) -> None:
    options = {"write_limit": 2**16}
    async with runtime.connected(options, {"max_queue": 1}, small_buffers=True) as (client, server):
        tasks = [runtime.spawn(send_numbered, client, 30, 2**14) for _ in range(4)]
        await runtime.until_stable(lambda: client.statistics.messages_sent)
        assert not any(task.done() for task in tasks)
        # each may be one message beyond the mark
        assert held(client) <= 2**16 + 4 * 2**14 + 1024
        for _ in range(120):
            await server.recv()
        for task in tasks:
            await task.result()


async def test_write_limit_decides_how_much_is_accepted(runtime: Runtime) -> None:
    accepted = {}
    for limit in (2**12, 2**20):
        async with runtime.raw_server(small_buffers=True, write_limit=limit) as (peer, client):
            sending = runtime.spawn(send_until_closed, client, 2**10)
            await runtime.until(lambda: not client.protocol.writable)
            accepted[limit] = held(client)
            peer.reset()
            await sending.result()
    assert accepted[2**12] <= 2**12 + 2**10 + 64
    assert accepted[2**20] <= 2**20 + 2**10 + 64
    assert accepted[2**20] > 2**19


async def test_no_write_limit(runtime: Runtime) -> None:
    async with runtime.raw_server(small_buffers=True, write_limit=None) as (peer, client):
        await send_numbered(client, 64, 2**16)
        assert held(client) > 2**20
        peer.reset()


@pytest.mark.parametrize("low", [0, 2**15, 2**17])
async def test_low_mark_decides_when_sending_resumes(runtime: Runtime, low: int) -> None:
    async def send() -> int:
        await client.send(b"x")
        return held(client)

    options = {"write_limit": (2**18, low), "close_timeout": 0.2}
    async with runtime.raw_server(small_buffers=True, **options) as (peer, client):
        first = runtime.spawn(client.send, bytes(2**20))
        await runtime.until(lambda: not client.protocol.writable)
        sending = runtime.spawn(send)
        await runtime.until_stable(lambda: held(client))
        reading = runtime.spawn(peer.read_frames_to_end_or_reset)
        # the mark, and the messages that waited
        assert await sending.result() <= low + 14
        await first.result()
        await client.close()
        await reading.result()


async def test_control_frames_pass_a_message_that_waits(runtime: Runtime) -> None:
    # A ping is answered although messages wait for room: the pong is the next that is written.
    async with runtime.raw_server(small_buffers=True, write_limit=2**14) as (peer, client):
        sending = runtime.spawn(send_until_closed, client, 2**14)
        await runtime.until_stable(lambda: client.statistics.messages_sent)
        await peer.send(Frame(PING, b"?"))
        while (frame := await peer.read_frame()).opcode != PONG:
            assert frame.opcode == BINARY
        assert frame == Frame(PONG, b"?")
        peer.reset()
        await sending.result()


@pytest.mark.needs("sockets")
async def test_peer_that_reads_slowly_is_not_given_up(runtime: Runtime) -> None:
    # It sends nothing, and there are always bytes that wait to be written: but fewer and fewer.
    async with runtime.raw_server(small_buffers=True, ping_timeout=AMPLE) as (peer, client):
        sending = runtime.spawn(send_until_closed, client, 2**22)
        await runtime.until(lambda: not client.protocol.writable)
        for _ in range(60):
            for _ in range(4):
                await peer.read()
            await runtime.settle(0.05)
        assert client.open
        peer.reset()
        await sending.result()


async def test_close_while_messages_wait_is_sent_after_them(runtime: Runtime) -> None:
    options = {"write_limit": 2**14}
    async with runtime.connected(options, {"max_queue": 2}, small_buffers=True) as (client, server):
        sending = runtime.spawn(send_numbered, client, 100, 2**16)
        await runtime.until_stable(lambda: client.statistics.messages_sent)
        closing = runtime.spawn(client.close)
        received = [message async for message in server]
        await closing.result()
        with pytest.raises(ConnectionClosedOK):
            await sending.result()
        assert [message[:4] for message in received] == [
            number.to_bytes(4, "big") for number in range(client.statistics.messages_sent)
        ]
        assert client.close_code == 1000


# Who does not read


@with_tls
@pytest.mark.parametrize(
    ("options", "least"),
    [({"max_queue": 4, "read_limit": None}, 4), ({"max_queue": None, "read_limit": 2**14}, 14)],
    ids=["count", "bytes"],
)
async def test_reading_stops_at_the_mark(
    runtime: Runtime, options: dict[str, Any], least: int, tls: bool
) -> None:
    count = 1500
    async with runtime.connected(options, tls=tls, small_buffers=True) as (client, server):
        sending = runtime.spawn(send_numbered, server, count, 2**10)
        await runtime.until(lambda: not client.protocol.wants_read)
        await runtime.until_stable(lambda: client.statistics.bytes_received)
        # what one read brings beyond the mark
        assert least <= client.protocol.undelivered <= least + READ_SIZE // 2**10
        assert not sending.done()
        for number in range(count):
            message = await client.recv()
            assert message[:4] == number.to_bytes(4, "big")
        await sending.result()
        assert client.protocol.wants_read


@pytest.mark.parametrize(
    ("options", "low"),
    [({"max_queue": 8}, 4), ({"max_queue": (8, 1)}, 1), ({"read_limit": (8 * 65, 65)}, 1)],
    ids=["half", "count", "bytes"],
)
async def test_reading_resumes_at_the_low_mark(runtime: Runtime, options: dict[str, Any], low: int) -> None:
    async with runtime.raw_server(**options) as (peer, client):
        await peer.send(*[Frame(TEXT, b"x")] * 8)
        await runtime.until(lambda: not client.protocol.wants_read)
        await peer.send(Frame(TEXT, b"more"))
        for left in range(7, low, -1):
            await client.recv()
            await runtime.settle(0.01)
            assert client.protocol.undelivered == left
        await client.recv()
        await runtime.until(lambda: client.protocol.undelivered == low + 1)


async def test_iteration_resumes_reading(runtime: Runtime) -> None:
    async with runtime.connected({"max_queue": 2}) as (client, server):
        sending = runtime.spawn(send_numbered, server, 1000, 2**10)
        await runtime.until(lambda: not client.protocol.wants_read)
        received = 0
        async for _ in client:
            received += 1
            if received == 1000:
                break
        await sending.result()


async def test_no_limits_on_what_is_received(runtime: Runtime) -> None:
    async with runtime.connected({"max_queue": None, "read_limit": None}) as (client, server):
        await send_numbered(server, 500, 2**10)
        await runtime.until(lambda: client.protocol.undelivered == 500)
        assert client.protocol.wants_read


async def test_reader_that_is_slow_sees_the_close(runtime: Runtime) -> None:
    async with runtime.connected({"max_queue": 2}) as (client, server):

        async def send_and_close() -> None:
            await send_numbered(server, 300, 2**10)
            await server.close(4000)

        sending = runtime.spawn(send_and_close)
        received = 0
        with contextlib.suppress(ConnectionClosedError):
            while True:
                await client.recv()
                received += 1
        assert client.close_code == 4000
        await sending.result()
        assert received == 300


async def test_slow_client_does_not_delay_the_others(runtime: Runtime) -> None:
    async with (
        runtime.serving(**QUIET, close_timeout=0.2) as (server, uri),
        runtime.raw_client(server, small_buffers=True) as slow,
    ):
        flood = runtime.spawn(send_for_ever, slow)
        async with runtime.connect(uri) as client:
            await runtime.until_stable(
                lambda: sum(each.statistics.bytes_received for each in server.connections)
            )
            for _ in range(50):
                await runtime.check_echo(client)
        server.close()
        await server.wait_closed()
        await flood.result()


async def send_for_ever(peer: Any) -> None:
    frame = b"\x82\xfe\x40\x00\0\0\0\0" + bytes(2**14)
    with contextlib.suppress(OSError):
        while True:
            await peer.send(frame)


# Peers that only send


@with_tls
async def test_ping_flood_from_a_peer_that_never_reads(runtime: Runtime, tls: bool) -> None:
    ping = b"\x89\xfd\0\0\0\0" + bytes(125)
    count, at_once = 15_000, 500
    async with (
        runtime.serving(wait_closed, **QUIET, **runtime.server_tls(tls)) as (server, _),
        runtime.raw_client(server, small_buffers=True, tls=tls) as peer,
    ):
        (connection,) = server.connections
        largest = 0
        for _ in range(count // at_once):
            await peer.send(ping * at_once)
            largest = max(largest, held(connection))
        # All is read, and nothing is kept of it but the pong to come.
        await runtime.until(lambda: connection.statistics.frames_received == count)
        assert max(largest, held(connection)) < 2**18
        assert connection.open
        peer.reset()
        await runtime.until(lambda: not server.connections)


async def test_flood_of_messages_to_a_handler_that_waits(runtime: Runtime) -> None:
    async with (
        runtime.serving(wait_closed, **QUIET, close_timeout=0.2) as (server, _),
        runtime.raw_client(server) as peer,
    ):
        (connection,) = server.connections
        flood = runtime.spawn(send_for_ever, peer)
        await runtime.until(lambda: not connection.protocol.wants_read)
        await runtime.until_stable(lambda: connection.statistics.bytes_received)
        assert connection.statistics.bytes_received < 2**16 + 2 * READ_SIZE
        assert not flood.done()
        server.close()
        await server.wait_closed()
        await flood.result()


async def test_bytes_before_the_answer_to_the_handshake_are_bounded(runtime: Runtime) -> None:
    go_on = runtime.event()

    async def process_request(path: str, headers: Any) -> None:
        await go_on.wait()

    frame = b"\x81\xfe\x03\xe8\0\0\0\0" + b"x" * 1000
    count = 10_000
    options = {"process_request": process_request, "read_limit": 2**14, "open_timeout": None}
    async with (
        runtime.serving(**QUIET, **options) as (server, _),
        runtime.raw_connection(server) as peer,
    ):
        sending = runtime.spawn(peer.send, request(), *[frame] * count)
        await runtime.until(lambda: server.connections)
        (connection,) = server.connections
        await runtime.until_stable(lambda: connection.statistics.bytes_received)
        assert connection.statistics.bytes_received < 2**14 + 2 * READ_SIZE
        assert not sending.done()
        go_on.set()
        assert (await peer.read_head()).status == 101
        for _ in range(count):
            assert await peer.read_frame() == Frame(TEXT, b"x" * 1000)
        await sending.result()
        await peer.finish()
