"""Keepalive: `ping_interval`, `ping_timeout`, and delays of this side, which are no failure of the peer."""

from __future__ import annotations

from typing import Any

import pytest

from tests.adapters.runtimes import Runtime
from tests.adapters.runtimes.base import AMPLE, QUIET, wait_closed
from tests.core.helpers import CLOSE, PING, PONG, TEXT, Frame, close_payload
from wsproto_core import ConnectionClosedError
from wsproto_core.types import Close

CLOSE_FRAME = Frame(CLOSE, close_payload(1011, "keepalive ping timeout"))


async def send_for_ever(websocket: Any) -> None:
    while True:
        await websocket.send(b"x" * 2**14)


async def test_client_and_server_ping(runtime: Runtime) -> None:
    async with runtime.raw_server(ping_interval=0.2) as (peer, client):
        for _ in range(2):
            opcode, payload, *_ = await peer.read_frame()
            assert opcode == PING
            await peer.send(Frame(PONG, payload))
        await runtime.until(lambda: client.latency)
    options = {**QUIET, "ping_interval": 0.2}
    async with (
        runtime.serving(wait_closed, **options) as (server, _),
        runtime.raw_client(server) as peer,
    ):
        for _ in range(2):
            opcode, payload, *_ = await peer.read_frame()
            assert opcode == PING
            await peer.send(Frame(PONG, payload))


@pytest.mark.parametrize("open_timeout", [None, 10])
async def test_mute_server_fails_the_keepalive(runtime: Runtime, open_timeout: float | None) -> None:
    options = {"ping_interval": 0.2, "ping_timeout": 0.2, "close_timeout": 0.2, "open_timeout": open_timeout}
    async with runtime.raw_server(**options) as (peer, client):
        with pytest.raises(ConnectionClosedError) as raised:
            await client.recv()
        assert raised.value.code == 1006
        assert raised.value.sent == Close(1011, "keepalive ping timeout")
        assert isinstance(raised.value.__cause__, TimeoutError)
        ping, *_, close = await peer.read_frames_to_end_or_reset()
        assert ping.opcode == PING
        assert close == CLOSE_FRAME


async def test_mute_client_fails_the_keepalive(runtime: Runtime) -> None:
    options = {**QUIET, "ping_interval": 0.2, "ping_timeout": 0.2, "close_timeout": 0.2}
    async with (
        runtime.serving(wait_closed, **options) as (server, _),
        runtime.raw_client(server) as peer,
    ):
        (connection,) = server.connections
        *_, close = await peer.read_frames_to_end_or_reset()
        assert close == CLOSE_FRAME
        with pytest.raises(ConnectionClosedError):
            await connection.recv()
        await runtime.until(lambda: not server.connections)


async def test_keepalive_fails_while_nobody_waits(runtime: Runtime) -> None:
    options = {"ping_interval": 0.2, "ping_timeout": 0.2, "close_timeout": 0.2}
    async with runtime.raw_server(**options) as (peer, client):
        *_, close = await peer.read_frames_to_end_or_reset()
        assert close == CLOSE_FRAME
        await runtime.until(lambda: client.closed)


async def test_any_byte_proves_life(runtime: Runtime) -> None:
    async with runtime.raw_server(ping_interval=0.2, ping_timeout=AMPLE) as (peer, client):
        for _ in range(12):
            await runtime.settle(0.2)
            await peer.send(Frame(PONG, b"not asked for"))
        assert client.open


async def test_slow_reader_does_not_fail_the_keepalive(runtime: Runtime) -> None:
    # While we do not read, its pongs stay where they are.
    async with runtime.raw_server(ping_interval=0.2, ping_timeout=0.8, max_queue=2) as (peer, client):

        async def answer() -> None:
            while (frame := await peer.read_frame()).opcode == PING:
                await peer.send(Frame(PONG, frame.payload))

        await peer.send(*[Frame(TEXT, str(number).encode()) for number in range(10)])
        answering = runtime.spawn(answer)
        await runtime.settle(1.4)
        assert client.open
        assert [await client.recv() for _ in range(10)] == [str(number) for number in range(10)]
        await client.send("last")
        await answering.result()


async def test_pong_is_waited_for_again_when_reading_goes_on(runtime: Runtime) -> None:
    # The next ping is far away: the deadline of the pong is nearer when reading is resumed.
    options = {"ping_interval": 0.8, "ping_timeout": 0.2, "max_queue": 2, "close_timeout": 0.2}
    async with runtime.raw_server(**options) as (peer, client):
        await peer.send(Frame(TEXT, b"1"), Frame(TEXT, b"2"))
        assert (await peer.read_frame()).opcode == PING
        # The peer is mute from now on.
        assert [await client.recv(), await client.recv()] == ["1", "2"]
        with pytest.raises(ConnectionClosedError) as raised:
            await client.recv()
        assert raised.value.sent == Close(1011, "keepalive ping timeout")


async def test_peer_that_reads_nothing_and_sends_nothing_is_given_up(runtime: Runtime) -> None:
    options = {"ping_timeout": 0.2, "write_limit": 2**12}
    async with runtime.raw_server(small_buffers=True, **options) as (_peer, client):
        with pytest.raises(ConnectionClosedError) as raised:
            await send_for_ever(client)
        assert raised.value.code == 1006
        assert isinstance(raised.value.__cause__, TimeoutError)
        assert "no progress writing" in str(raised.value.__cause__)
        await client.wait_closed()


async def test_no_keepalive(runtime: Runtime) -> None:
    async with runtime.raw_server(ping_interval=None, ping_timeout=0.2) as (peer, client):
        reading = runtime.spawn(peer.read_frame)
        await runtime.settle(0.5)
        assert not reading.done()
        assert client.open
        await client.send("first")
        assert await reading.result() == Frame(TEXT, b"first")
