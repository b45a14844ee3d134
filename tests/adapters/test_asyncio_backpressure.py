"""Backpressure, with what asyncio's transports hold."""

from __future__ import annotations

import pytest

from adapters.asyncio import Connection
from tests.adapters.runtimes import Runtime
from tests.adapters.runtimes.base import QUIET, wait_closed

from .event_loop import shrink_buffers

with_tls = pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])


def held(websocket: Connection) -> int:
    """Bytes that this end holds of what it is to send."""
    protocol = websocket.protocol
    transport = 0 if websocket.transport.is_closing() else websocket.transport.get_write_buffer_size()
    return protocol.queued + max(protocol.unwritten, transport)


async def send_numbered(websocket: Connection, count: int, size: int) -> None:
    for number in range(count):
        await websocket.send(number.to_bytes(4, "big") + bytes(size - 4))


@with_tls
async def test_sending_waits_for_a_peer_that_does_not_read_and_resumes(runtime: Runtime, tls: bool) -> None:
    size, count = 2**15, 2**22 // 2**15
    async with runtime.connected({"write_limit": 2**16}, {"max_queue": 4}, tls=tls) as (client, server):
        shrink_buffers(client)
        sending = runtime.spawn(send_numbered, client, count, size)
        await runtime.until_stable(lambda: client.statistics.messages_sent)
        assert not sending.done()
        # What was accepted: up to the mark, one message more, and what frames add.
        assert held(client) <= 2**16 + size + 1024
        for _ in range(count):
            assert len(await server.recv()) == size
        await sending.result()
        assert client.protocol.writable
        assert held(client) <= 2**14


@with_tls
async def test_ping_flood_from_a_peer_that_never_reads(runtime: Runtime, tls: bool) -> None:
    ping = b"\x89\xfd\0\0\0\0" + bytes(125)
    count, at_once = 30_000, 500
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
