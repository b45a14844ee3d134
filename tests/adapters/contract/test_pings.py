"""Pings and pongs: `ping`, its second awaitable, `pong`, `latency`."""

from __future__ import annotations

import zlib
from typing import Any

import pytest

from tests.adapters.runtimes import Runtime
from tests.core.helpers import CLOSE, PING, PONG, RSV1, TEXT, Frame, close_payload
from wsproto_core import ConnectionClosedError, ConnectionClosedOK
from wsproto_core.extensions.permessage_deflate import ClientPerMessageDeflateFactory


async def test_value_of_a_ping_is_the_latency(runtime: Runtime) -> None:
    async with runtime.connected() as (client, server):
        for end in (client, server):
            assert end.latency == 0.0
            waiter = await end.ping()
            latency = await runtime.pong(waiter)
            assert isinstance(latency, float)
            assert latency >= 0
            assert end.latency == latency


async def test_pong_proves_that_what_was_sent_before_has_arrived(runtime: Runtime) -> None:
    async with runtime.connected() as (client, server):
        await client.send("before")
        await runtime.pong(await client.ping())
        assert server.statistics.messages_received == 1
        assert await server.recv() == "before"


@pytest.mark.parametrize(
    ("data", "payload"),
    [
        ("caf\xe9", b"caf\xc3\xa9"),
        (b"\xff", b"\xff"),
        (bytearray(b"abc"), b"abc"),
        (memoryview(b"abc"), b"abc"),
        (b"", b""),
        (b"x" * 125, b"x" * 125),
    ],
)
async def test_payload_of_pings_and_pongs(runtime: Runtime, data: Any, payload: bytes) -> None:
    async with runtime.raw_server() as (peer, client):
        waiter = await client.ping(data)
        assert await peer.read_frame() == Frame(PING, payload)
        await peer.send(Frame(PONG, payload))
        await runtime.pong(waiter)
        await client.pong(data)
        assert await peer.read_frame() == Frame(PONG, payload)
        await client.pong()
        assert await peer.read_frame() == Frame(PONG)


async def test_pings_have_four_random_bytes(runtime: Runtime) -> None:
    async with runtime.raw_server() as (peer, client):
        payloads = set()
        for _ in range(10):
            await client.ping()
            opcode, payload, *_ = await peer.read_frame()
            assert (opcode, len(payload)) == (PING, 4)
            payloads.add(payload)
        assert len(payloads) == 10


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"x" * 126, ValueError),
        ("\xe9" * 63, ValueError),
        (1, TypeError),
        (["a"], TypeError),
        (1.5, TypeError),
    ],
    ids=lambda value: repr(value)[:10],
)
async def test_payload_that_cannot_be_sent_is_refused(
    runtime: Runtime, data: Any, error: type[Exception]
) -> None:
    async with runtime.raw_server() as (peer, client):
        with pytest.raises(error):
            await client.ping(data)
        with pytest.raises(error):
            await client.pong(data)
        await client.ping(b"good")
        assert await peer.read_frame() == Frame(PING, b"good")


async def test_payload_that_is_under_way_is_refused(runtime: Runtime) -> None:
    async with runtime.raw_server() as (peer, client):
        first = await client.ping(b"same")
        with pytest.raises(ValueError, match="waits for its pong already"):
            await client.ping(b"same")
        await peer.send(Frame(PONG, b"same"))
        await runtime.pong(first)
        second = await client.ping(b"same")
        await peer.send(Frame(PONG, b"same"))
        await runtime.pong(second)


async def test_too_many_pings_are_refused(runtime: Runtime) -> None:
    async with runtime.raw_server(max_pings=3) as (peer, client):
        waiters = [await client.ping() for _ in range(3)]
        with pytest.raises(RuntimeError, match="3 pings wait"):
            await client.ping()
        for _ in range(3):
            _, payload, *_ = await peer.read_frame()
            await peer.send(Frame(PONG, payload))
        for waiter in waiters:
            await runtime.pong(waiter)
        await client.ping()


async def test_pong_to_a_later_ping_answers_the_earlier_ones(runtime: Runtime) -> None:
    async with runtime.raw_server() as (peer, client):
        waiters = [await client.ping(payload) for payload in (b"1", b"2", b"3")]
        await peer.send(Frame(PONG, b"2"))
        for waiter in waiters[:2]:
            await runtime.pong(waiter)
        last = runtime.spawn(runtime.pong, waiters[2])
        await runtime.settle()
        assert not last.done()
        await peer.send(Frame(PONG, b"3"))
        await last.result()


async def test_several_wait_for_pongs_while_one_receives(runtime: Runtime) -> None:
    async with runtime.raw_server() as (peer, client):
        receiving = runtime.spawn(client.recv)
        waiting = [runtime.spawn(runtime.pong, await client.ping(payload)) for payload in (b"1", b"2", b"3")]
        await runtime.settle()
        await peer.send(Frame(PONG, b"1"))
        await waiting[0].result()
        await peer.send(Frame(TEXT, b"message"))
        assert await receiving.result() == "message"
        # Nobody receives any more: those who wait see to it.
        await peer.send(Frame(PONG, b"2"))
        await waiting[1].result()
        await peer.send(Frame(PONG, b"3"))
        await waiting[2].result()


async def test_giving_up_to_wait_for_a_pong_has_no_effect(runtime: Runtime) -> None:
    async with runtime.raw_server() as (peer, client):
        first, second = await client.ping(b"1"), await client.ping(b"2")
        for waiter in (first, second):
            with pytest.raises(TimeoutError):
                await runtime.timeout(0.05, runtime.pong, waiter)
        third = await client.ping(b"3")
        await peer.send(Frame(PONG, b"1"), Frame(PONG, b"2"), Frame(PONG, b"3"), Frame(TEXT, b"message"))
        await runtime.pong(third)
        assert await client.recv() == "message"
        assert client.open


async def test_pong_waiter_ends_with_the_connection(runtime: Runtime) -> None:
    async with runtime.raw_server() as (peer, client):
        waiters = [await client.ping() for _ in range(3)]
        # Nobody needs to look at this one.
        await client.ping()
        await peer.send(Frame(CLOSE, close_payload(1001)))
        for waiter in waiters:
            with pytest.raises(ConnectionClosedOK):
                await runtime.pong(waiter)
    async with runtime.raw_server() as (peer, client):
        waiter = await client.ping()
        peer.reset()
        with pytest.raises(ConnectionClosedError) as raised:
            await runtime.pong(waiter)
        assert raised.value.code == 1006


async def test_pong_waiter_of_a_connection_that_is_closed_by_this_side(runtime: Runtime) -> None:
    async with runtime.connected() as (client, _server):
        # The pong is still given: it comes before the answer to the close frame.
        waiter = await client.ping()
        await client.close()
        assert await runtime.pong(waiter) >= 0
        with pytest.raises(ConnectionClosedOK):
            await client.ping()
        with pytest.raises(ConnectionClosedOK):
            await client.pong()


async def test_pings_are_answered_while_messages_are_undelivered(runtime: Runtime) -> None:
    async with runtime.connected() as (client, server):
        for number in range(20):
            await client.send(str(number))
        await runtime.pong(await client.ping())
        assert await server.recv() == "0"


async def test_unsolicited_pong_is_ignored(runtime: Runtime) -> None:
    async with runtime.connected() as (client, server):
        await client.pong()
        await client.pong(b"heartbeat")
        await client.send("message")
        assert await server.recv() == "message"


async def test_only_the_latest_ping_of_a_read_is_answered(runtime: Runtime) -> None:
    async with runtime.raw_server() as (peer, client):
        await peer.send(Frame(PING, b"1"), Frame(PING, b"2"), Frame(PING, b"3"))
        while (frame := await peer.read_frame()) != Frame(PONG, b"3"):
            assert frame.opcode == PONG
        assert client.open


async def test_pings_are_answered_in_whatever_the_program_waits(runtime: Runtime) -> None:
    async with runtime.raw_server() as (peer, client):
        waiter = await client.ping(b"ours")
        assert await peer.read_frame() == Frame(PING, b"ours")
        for wait in (client.recv, client.wait_closed):
            waiting = runtime.spawn(wait)
            await peer.send(Frame(PING, b"?"))
            assert await peer.read_frame() == Frame(PONG, b"?")
            if wait == client.recv:
                await peer.send(Frame(TEXT, b"message"))
                assert await waiting.result() == "message"
        pong = runtime.spawn(runtime.pong, waiter)
        await peer.send(Frame(PING, b"??"))
        assert await peer.read_frame() == Frame(PONG, b"??")
        await peer.send(Frame(PONG, b"ours"))
        await pong.result()
        await peer.send(Frame(CLOSE, close_payload(1000)))
        peer.end()
        await waiting.result()


async def test_pings_are_answered_while_nobody_waits(runtime: Runtime) -> None:
    async with runtime.raw_server() as (peer, _client):
        for number in range(3):
            payload = str(number).encode()
            await peer.send(Frame(PING, payload))
            assert await peer.read_frame() == Frame(PONG, payload)


async def test_ping_behind_a_compressed_message_is_answered_while_we_receive(runtime: Runtime) -> None:
    # The queue has room for one message. So decoding stops behind it, and goes on when it has been taken.
    options: dict[str, Any] = {
        "answer": {"Sec_WebSocket_Extensions": "permessage-deflate; server_no_context_takeover"},
        # There is no deadline after which the connection would go on by itself.
        "extensions": [ClientPerMessageDeflateFactory(idle_timeout=None)],
        "max_queue": 1,
    }
    async with runtime.raw_server(**options) as (peer, client):
        compressor = zlib.compressobj(wbits=-15)
        payload = compressor.compress(b"message") + compressor.flush(zlib.Z_SYNC_FLUSH)
        message = Frame(TEXT, payload[:-4], reserved=RSV1)
        await peer.send(message, Frame(PING, b"ping"))
        assert await client.recv() == "message"
        receiving = runtime.spawn(client.recv)
        assert await peer.read_frame() == Frame(PONG, b"ping")
        await peer.send(message)
        assert await receiving.result() == "message"
