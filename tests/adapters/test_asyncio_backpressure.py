"""Backpressure: whoever does not read makes the other end wait, not grow."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from adapters.asyncio import Connection, connect
from tests.core.helpers import BINARY, CLOSE, PING, PONG, TEXT, Frame, close_payload, request
from wsproto_core import ConnectionClosed, ConnectionClosedError, ConnectionClosedOK

from .runtime import (
    HOST,
    QUIET,
    RawClient,
    Server,
    client_context,
    connected,
    port_of,
    raw_client,
    raw_server,
    server_context,
    serving,
    settle,
    shrink_buffers,
    turns,
    until,
    until_stable,
    wait_closed,
)

with_tls = pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])

MUCH = 2**22
"""Bytes, much more than the operating system's buffers hold when they are shrunk."""


def held(websocket: Connection) -> int:
    """Bytes that this end holds of what it is to send."""
    protocol = websocket.protocol
    transport = 0 if websocket.transport.is_closing() else websocket.transport.get_write_buffer_size()
    return protocol.queued + max(protocol.unwritten, transport)


@contextlib.contextmanager
def background(coroutine: Any) -> Iterator[asyncio.Task[Any]]:
    task = asyncio.ensure_future(coroutine)
    yield task
    assert task.done()


async def send_numbered(websocket: Connection, count: int, size: int) -> None:
    for number in range(count):
        await websocket.send(number.to_bytes(4, "big") + bytes(size - 4))


# Who sends to a peer that does not read


@with_tls
async def test_sending_waits_for_a_peer_that_does_not_read_and_resumes(tls: bool) -> None:
    size, count = 2**15, 2**22 // 2**15
    async with connected({"write_limit": 2**16}, {"max_queue": 4}, tls=tls) as (client, server):
        shrink_buffers(client)
        with background(send_numbered(client, count, size)) as sending:
            await until_stable(lambda: client.statistics.messages_sent)
            assert not sending.done()
            assert client.statistics.messages_sent < count
            # What was accepted: up to the mark, one message more, and what frames add.
            assert held(client) <= 2**16 + size + 1024
            for number in range(count):
                message = await server.recv()
                assert isinstance(message, bytes)
                assert (len(message), message[:4]) == (size, number.to_bytes(4, "big"))
            await sending
        assert client.protocol.writable
        assert held(client) <= 2**14


@with_tls
async def test_one_message_larger_than_all_limits(tls: bool) -> None:
    message = bytes(range(256)) * 2**14
    async with connected({"write_limit": 2**10}, {"max_size": None}, tls=tls) as (client, server):
        with background(client.send(message)) as sending:
            assert await server.recv() == message
            await sending


async def test_several_tasks_wait_and_all_go_on() -> None:
    async with connected({"write_limit": 2**16}, {"max_queue": 1}) as (client, server):
        shrink_buffers(client)
        tasks = [asyncio.create_task(send_numbered(client, 100, 2**14)) for _ in range(4)]
        await until_stable(lambda: client.statistics.messages_sent)
        assert not any(task.done() for task in tasks)
        # each task may be one message beyond the mark
        assert held(client) <= 2**16 + 4 * 2**14 + 1024
        for _ in range(400):
            await server.recv()
        await asyncio.gather(*tasks)


async def test_write_limit_decides_how_much_is_accepted() -> None:
    accepted = {}
    for limit in (2**12, 2**22):
        async with raw_server(receive_buffer=4096, write_limit=limit, close_timeout=0.2) as (peer, client):
            with background(_send_until_closed(client, 2**10)) as sending:
                await until(lambda: not client.protocol.writable)
                accepted[limit] = held(client)
                peer.reset()
                await sending
    assert accepted[2**12] <= 2**12 + 2**10 + 64
    assert 2**22 < accepted[2**22] <= 2**22 + 2**10 + 64


async def _send_until_closed(websocket: Connection, size: int) -> None:
    with contextlib.suppress(ConnectionClosed):
        while True:
            await websocket.send(bytes(size))


async def test_no_write_limit() -> None:
    async with raw_server(receive_buffer=4096, write_limit=None) as (peer, client):
        await send_numbered(client, 64, 2**16)
        assert held(client) > 2**16
        peer.reset()


@pytest.mark.parametrize("low", [0, 2**15, 2**17])
async def test_low_mark_decides_when_sending_resumes(low: int) -> None:
    async def send() -> int:
        await client.send(b"x")
        return held(client)

    async with raw_server(receive_buffer=4096, write_limit=(2**18, low)) as (peer, client):
        # What the operating system does not take at once.
        shrink_buffers(client)
        client.protocol.send(bytes(MUCH))
        with background(send()) as sending:
            await until_stable(lambda: held(client))
            while not sending.done():
                assert held(client) > low
                await peer.read()
            # the mark, and the message that waited
            assert await sending <= low + 7
        peer.reset()


async def test_control_frames_pass_a_message_that_waits() -> None:
    # A ping is answered although messages wait for room: the pong is the next that is written.
    async with raw_server(receive_buffer=4096, write_limit=2**14) as (peer, client):
        shrink_buffers(client)
        with background(_send_until_closed(client, 2**14)) as sending:
            await until_stable(lambda: client.statistics.messages_sent)
            await peer.send(Frame(PING, b"?"))
            await settle()
            while (frame := await peer.read_frame()).opcode != PONG:
                assert frame.opcode == BINARY
            assert frame == Frame(PONG, b"?")
            peer.reset()
            await sending


async def test_peer_that_reads_slowly_is_not_given_up() -> None:
    # It sends nothing, and there are always bytes that wait to be written: but fewer and fewer.
    async with raw_server(ping_timeout=0.3) as (peer, client):
        shrink_buffers(client)
        with background(_send_until_closed(client, MUCH)) as sending:
            await until(lambda: not client.protocol.writable)
            for _ in range(25):
                for _ in range(4):
                    await peer.read()
                await settle(0.04)
            assert client.open
            peer.reset()
            await sending


async def test_close_while_messages_wait_is_sent_after_them() -> None:
    async with connected({"write_limit": 2**14}, {"max_queue": 2}) as (client, server):
        shrink_buffers(client)
        with background(send_numbered(client, 100, 2**16)) as sending:
            await until_stable(lambda: client.statistics.messages_sent)
            sent = client.statistics.messages_sent
            with background(client.close()) as closing:
                received = [message async for message in server]
                await closing
            assert len(received) == sent
            with pytest.raises(ConnectionClosedOK):
                await sending


# Who does not read


@with_tls
@pytest.mark.parametrize(
    ("options", "least", "most"),
    [({"max_queue": 4, "read_limit": None}, 4, None), ({"max_queue": None, "read_limit": 2**14}, 14, None)],
    ids=["count", "bytes"],
)
async def test_reading_stops_at_the_mark(options: dict[str, Any], least: int, most: None, tls: bool) -> None:
    async with connected(options, tls=tls) as (client, server):
        with background(send_numbered(server, 4000, 2**10)) as sending:
            await until_stable(lambda: client.statistics.bytes_received)
            undelivered = client.protocol.undelivered
            # what one read brings beyond the mark
            assert least <= undelivered <= least + 2**16 // 2**10
            assert client.statistics.bytes_received < 2**18
            assert not client.protocol.wants_read
            for number in range(4000):
                message = await client.recv()
                assert message[:4] == number.to_bytes(4, "big")
            await sending
        assert client.protocol.wants_read


async def test_reading_resumes_at_half_of_the_mark() -> None:
    async with raw_server(max_queue=8) as (peer, client):
        await peer.send(*[Frame(TEXT, b"x")] * 8)
        await until(lambda: not client.protocol.wants_read)
        await peer.send(Frame(TEXT, b"more"))
        for left in (7, 6, 5):
            await client.recv()
            await turns(10)
            assert client.protocol.undelivered == left
        await client.recv()
        await until(lambda: client.protocol.undelivered == 5)


@pytest.mark.parametrize("options", [{"max_queue": (8, 1)}, {"read_limit": (8 * 65, 65)}], ids=str)
async def test_reading_resumes_at_the_low_mark(options: dict[str, Any]) -> None:
    async with raw_server(**options) as (peer, client):
        await peer.send(*[Frame(TEXT, b"x")] * 8)
        await until(lambda: not client.protocol.wants_read)
        await peer.send(Frame(TEXT, b"more"))
        for left in (7, 6, 5, 4, 3, 2):
            await client.recv()
            await turns(10)
            assert client.protocol.undelivered == left
        await client.recv()
        await until(lambda: client.protocol.undelivered == 2)


async def test_iteration_resumes_reading() -> None:
    async with connected({"max_queue": 2}) as (client, server):
        with background(send_numbered(server, 2000, 2**10)) as sending:
            await until(lambda: not client.protocol.wants_read)
            received = 0
            async for _ in client:
                received += 1
                if received == 2000:
                    break
            await sending


async def test_no_limits_on_what_is_received() -> None:
    async with connected({"max_queue": None, "read_limit": None}) as (client, server):
        await send_numbered(server, 1000, 2**10)
        await until(lambda: client.protocol.undelivered == 1000)
        assert client.protocol.wants_read


async def test_reader_that_is_slow_sees_the_close() -> None:
    async with connected({"max_queue": 2}) as (client, server):
        with background(send_numbered(server, 500, 2**10)) as sending:
            received = 0
            while not sending.done():
                await client.recv()
                received += 1
                await asyncio.sleep(0)
            with background(server.close(4000)):
                with contextlib.suppress(ConnectionClosedError):
                    while True:
                        await client.recv()
                        received += 1
                assert client.close_code == 4000
                await server.wait_closed()
                await turns()
        assert received == 500


async def test_slow_client_does_not_delay_the_others() -> None:
    async with serving(**QUIET) as (server, uri), raw_client(server, receive_buffer=4096) as slow:
        flood = asyncio.create_task(_flood(slow))
        async with connect(uri) as client:
            await until_stable(lambda: sum(each.statistics.bytes_received for each in server.connections))
            for number in range(100):
                await client.send(str(number))
                assert await client.recv() == str(number)
        flood.cancel()
        with pytest.raises(asyncio.CancelledError):
            await flood
        slow.reset()
        await until(lambda: not server.connections)


async def _flood(peer: RawClient) -> None:
    frame = b"\x82\xfe\x40\x00\0\0\0\0" + bytes(2**14)
    while True:
        await peer.send(frame)


# Peers that only send


@contextlib.asynccontextmanager
async def tls_client(server: Server) -> AsyncIterator[asyncio.StreamWriter]:
    """A client on TLS that has done the opening handshake and reads nothing more."""
    reader, writer = await asyncio.open_connection(HOST, port_of(server), ssl=client_context(), limit=1024)
    writer.write(request())
    await reader.readuntil(b"\r\n\r\n")
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    try:
        yield writer
    finally:
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


@with_tls
async def test_ping_flood_from_a_peer_that_never_reads(tls: bool) -> None:
    ping = b"\x89\xfd\0\0\0\0" + bytes(125)
    pings = ping * (2**16 // len(ping))
    options = {"ssl": server_context()} if tls else {}
    async with serving(wait_closed, **QUIET, **options) as (server, _):
        if tls:
            async with tls_client(server) as writer:
                await _check_flood(server, lambda: _write(writer, pings))
        else:
            async with raw_client(server, receive_buffer=4096) as peer:
                await _check_flood(server, lambda: peer.send(pings))
                peer.reset()
        await until(lambda: not server.connections)


async def _write(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(data)
    await writer.drain()


async def _check_flood(server: Server, send: Any) -> None:
    (connection,) = server.connections
    shrink_buffers(connection)
    largest = 0
    for _ in range(MUCH // 2**16):
        await send()
        largest = max(largest, held(connection))
    await until_stable(lambda: connection.statistics.bytes_received)
    # All was read, and nothing is kept of it but the pong to come.
    assert connection.statistics.frames_received > 30_000
    assert max(largest, held(connection)) < 2**18
    assert connection.open


async def test_flood_of_messages_to_a_handler_that_waits() -> None:
    async with serving(wait_closed, **QUIET) as (server, _), raw_client(server) as peer:
        (connection,) = server.connections
        flood = asyncio.create_task(_flood(peer))
        await until_stable(lambda: connection.statistics.bytes_received)
        assert not flood.done()
        assert connection.statistics.bytes_received < 2**18
        flood.cancel()
        with pytest.raises(asyncio.CancelledError):
            await flood
        peer.reset()


async def test_bytes_before_the_answer_to_the_handshake_are_bounded() -> None:
    go_on = asyncio.Event()

    async def process_request(path: str, headers: Any) -> None:
        await go_on.wait()

    options = {"process_request": process_request, "read_limit": 2**14, "open_timeout": None}
    async with serving(**QUIET, **options) as (server, _):
        sock = socket.create_connection((HOST, port_of(server)))
        peer = RawClient(sock)
        frame = b"\x81\xfe\x03\xe8\0\0\0\0" + b"x" * 1000
        sending = asyncio.create_task(peer.send(request(), *[frame] * 10_000))
        await until(lambda: server.connections)
        (connection,) = server.connections
        await until_stable(lambda: connection.statistics.bytes_received)
        assert connection.statistics.bytes_received < 2**14 + 2**17
        assert not sending.done()
        go_on.set()
        assert (await peer.read_head()).status == 101
        for _ in range(10_000):
            assert await peer.read_frame() == Frame(TEXT, b"x" * 1000)
        await sending
        await peer.finish()
        peer.close()


async def test_input_after_a_failure_is_thrown_away() -> None:
    async with serving(wait_closed, **QUIET, close_timeout=0.3) as (server, _), raw_client(server) as peer:
        (connection,) = server.connections
        await peer.send(b"\xff\xff")
        assert (await peer.read_frame()).payload[:2] == (1002).to_bytes(2, "big")
        try:
            while True:
                await peer.send(bytes(2**16))
        except (ConnectionResetError, BrokenPipeError):
            pass
        await connection.wait_closed()
        assert connection.protocol.undelivered == 0


async def test_closing_reads_on_to_the_close_frame() -> None:
    # The receive queue is full; what there is no room for is dropped (ours is the close frame).
    async with raw_server(max_queue=2) as (peer, client):
        await peer.send(*[Frame(TEXT, str(number).encode()) for number in range(50)])
        await until(lambda: not client.protocol.wants_read)
        closing = asyncio.create_task(client.close())
        await peer.read_frame()
        await peer.send(*[Frame(TEXT, b"late")] * 1000, Frame(CLOSE, close_payload(1000)))
        peer.end()
        await closing
        assert client.close_code == 1000


async def test_reset_of_a_peer_that_does_not_read() -> None:
    async with raw_server(receive_buffer=4096, write_limit=2**14) as (peer, client):
        with background(_send_until_closed(client, 2**14)) as sending:
            await until(lambda: not client.protocol.writable)
            await settle()
            peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            peer.close()
            await sending
        await client.wait_closed()
