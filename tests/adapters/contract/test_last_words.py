"""Input after a failed write: data that the peer has sent before is read, its close code first of all."""

from __future__ import annotations

import contextlib
import select
from typing import Any

import pytest

from tests.adapters.runtimes import Runtime
from tests.adapters.runtimes.base import QUIET, Log
from tests.adapters.runtimes.peers import Peer
from tests.core.helpers import CLOSE, TEXT, Frame, close_payload
from wsproto_core import ConnectionClosed

pytestmark = pytest.mark.needs("sockets")

with_tls = pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])


async def leave(peer: Peer, *last: Frame) -> None:
    """Say something and close, with something unread: the system ends that with a reset."""
    await peer.send(*last, Frame(CLOSE, close_payload(1008)))
    peer.close()


async def send_until_closed(websocket: Any) -> ConnectionClosed:
    try:
        while True:
            await websocket.send("x" * 100)
    except ConnectionClosed as error:
        return error


@with_tls
async def test_at_a_client(runtime: Runtime, tls: bool) -> None:
    for _ in range(10):
        async with runtime.raw_server(tls=tls) as (peer, client):
            await client.send("unread")
            await leave(peer)
            # There was no turn for the event loop to read in: the first to know is who writes.
            error = await send_until_closed(client)
            assert error.code == client.close_code == 1008
            await client.wait_closed()


@with_tls
async def test_at_a_server(runtime: Runtime, tls: bool) -> None:
    codes = []
    left = runtime.event()

    async def stream(websocket: Any) -> None:
        await send_until_closed(websocket)
        await websocket.wait_closed()
        codes.append(websocket.close_code)
        left.set()

    log = Log()
    async with runtime.serving(stream, **QUIET, **runtime.server_tls(tls), logger=log) as (server, _):
        for _ in range(10):
            left = runtime.event()
            async with runtime.raw_client(server, tls=tls) as peer:
                await peer.read_frame()
                await leave(peer)
                await left.wait()
    assert codes == [1008] * 10
    assert log.errors() == []


@with_tls
async def test_messages_that_came_before(runtime: Runtime, tls: bool) -> None:
    messages = [str(number) for number in range(20)]
    async with runtime.raw_server(tls=tls) as (peer, client):
        await client.send("unread")
        await leave(peer, *[Frame(TEXT, message.encode()) for message in messages])
        with contextlib.suppress(ConnectionClosed):
            while True:
                await client.ping()
        assert [await client.recv() for _ in messages] == messages
        with pytest.raises(ConnectionClosed) as raised:
            await client.recv()
        assert raised.value.code == 1008


@with_tls
async def test_while_it_waits_for_room(runtime: Runtime, tls: bool) -> None:
    # Here it is the system's buffer that is written from, and the event loop that finds out.
    for _ in range(5):
        async with runtime.raw_server(tls=tls, small_buffers=True, write_limit=2**12) as (peer, client):
            sending = runtime.spawn(send_until_closed, client)
            await runtime.until(lambda: not client.protocol.writable)
            await leave(peer)
            assert (await sending.result()).code == client.close_code == 1008
            await client.wait_closed()


WRITES_WAIT = {"trio", "anyio-asyncio", "anyio-trio"}
"""Where a task of its own writes on TLS, so that a call cannot know yet that writing fails."""


@with_tls
async def test_send_after_a_write_has_failed(runtime: Runtime, tls: bool) -> None:
    """The next call raises, before anything is read, and nothing more is written."""
    if tls and runtime.name in WRITES_WAIT:
        return
    async with runtime.raw_server(tls=tls) as (peer, client):
        peer.reset()
        transport = client.transport
        sock = transport.get_extra_info("socket") if hasattr(transport, "get_extra_info") else transport
        poll = select.poll()
        poll.register(sock.fileno(), 0)
        # Without a turn of the event loop, in which that would read.
        assert poll.poll(60_000)
        await client.send("x")
        with pytest.raises(ConnectionClosed):
            await client.send("x")
        await client.wait_closed()
