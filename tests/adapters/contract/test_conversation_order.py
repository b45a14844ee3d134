"""A close frame or an error behind messages: the answers to the messages are sent before the close frame."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.adapters.runtimes import Runtime
from tests.adapters.runtimes.base import QUIET
from tests.adapters.runtimes.peers import Peer
from tests.core.helpers import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Frame, close_payload
from wsproto_core import ConnectionClosed, ConnectionClosedOK

pytestmark = pytest.mark.needs("sockets")

with_tls = pytest.mark.parametrize("tls", [False, True], ids=["tcp", "tls"])
both_sides = pytest.mark.parametrize("side", ["server", "client"])
ends = pytest.mark.parametrize(
    ("end", "code"),
    [(Frame(CLOSE, close_payload(1000)), 1000), (Frame(0x3), 1002), (Frame(TEXT, b"\xff"), 1007)],
    ids=["close", "protocol error", "not UTF-8"],
)


async def echo_until_closed(websocket: Any) -> None:
    with contextlib.suppress(ConnectionClosed):
        async for message in websocket:
            await websocket.send(message)


@contextlib.asynccontextmanager
async def peer_of(
    runtime: Runtime, side: str, handler: Any, tls: bool = False, **options: Any
) -> AsyncIterator[Peer]:
    """A peer made by hand of a server or a client of ours that does what a handler says."""
    options = {**QUIET, **options}
    if side == "client":
        async with runtime.raw_server(tls=tls, **options) as (server, client):
            task = runtime.spawn(handler, client)
            yield server
            await task.result()
    else:
        async with runtime.serving(handler, **runtime.server_tls(tls), **options) as (listening, _):
            async with runtime.raw_client(listening, tls=tls) as client:
                yield client
            await runtime.until(lambda: not listening.connections)


@with_tls
@both_sides
@ends
async def test_an_echo_goes_out_before_the_close_frame(
    runtime: Runtime, side: str, tls: bool, end: Frame, code: int
) -> None:
    async with peer_of(runtime, side, echo_until_closed, tls) as peer:
        messages = [Frame(TEXT, b"one"), Frame(BINARY, b"two"), Frame(TEXT, b"three")]
        await peer.send(*messages, end)
        for message in messages:
            assert await peer.read_frame() == message
        last = await peer.read_frame()
        assert last.opcode == CLOSE
        assert int.from_bytes(last.payload[:2], "big") == code


@both_sides
@ends
async def test_an_answer_that_takes_time(runtime: Runtime, side: str, end: Frame, code: int) -> None:
    async def answer_twice(websocket: Any) -> None:
        with contextlib.suppress(ConnectionClosed):
            async for message in websocket:
                await runtime.sleep(0.2)
                await websocket.send(message)
                await websocket.send([message, message])

    async with peer_of(runtime, side, answer_twice, close_timeout=60) as peer:
        await peer.send(Frame(TEXT, b"x"), end)
        frames = [await peer.read_frame() for _ in range(5)]
        assert [frame.opcode for frame in frames] == [TEXT, TEXT, CONTINUATION, CONTINUATION, CLOSE]


@both_sides
async def test_in_pieces(runtime: Runtime, side: str) -> None:
    async def answer(websocket: Any) -> None:
        with contextlib.suppress(ConnectionClosed):
            while True:
                pieces = [piece async for piece in websocket.recv_streaming()]
                await websocket.send("".join(pieces))

    async with peer_of(runtime, side, answer) as peer:
        await peer.send(Frame(TEXT, b"a", fin=False), Frame(CONTINUATION, b"b"), Frame(CLOSE))
        assert await peer.read_frame() == Frame(TEXT, b"ab")
        assert await peer.read_frame() == Frame(CLOSE)


@with_tls
@both_sides
async def test_nobody_receives(runtime: Runtime, side: str, tls: bool) -> None:
    """After half of close_timeout, the close frame is answered; the messages can still be received."""
    received: list[Any] = []

    async def wait(websocket: Any) -> None:
        await websocket.wait_closed()
        received.extend([message async for message in websocket])

    async with peer_of(runtime, side, wait, tls, close_timeout=0.4) as peer:
        await peer.send(Frame(TEXT, b"x"), Frame(CLOSE, close_payload(1000)), Frame(PING))
        assert await peer.read_frame() == Frame(CLOSE, close_payload(1000))
        if side == "client":
            peer.end()
    assert received == ["x"]


@with_tls
@both_sides
@pytest.mark.parametrize("count", [1, 2])
async def test_nobody_receives_any_more(runtime: Runtime, side: str, tls: bool, count: int) -> None:
    """The same time limit holds after messages were received: one was read together with the close frame."""
    received: list[Any] = []

    async def receive_one(websocket: Any) -> None:
        received.append(await websocket.recv())
        await websocket.wait_closed()
        received.extend([message async for message in websocket])

    async with peer_of(runtime, side, receive_one, tls, close_timeout=0.4, open_timeout=None) as peer:
        await peer.send(*[Frame(TEXT, b"x")] * count, Frame(CLOSE, close_payload(1000)))
        assert await peer.read_frame() == Frame(CLOSE, close_payload(1000))
        if side == "client":
            peer.end()
    assert received == ["x"] * count


@both_sides
async def test_closing_does_not_wait(runtime: Runtime, side: str) -> None:
    """Who closes asks for no more messages: the peer's close frame takes effect."""
    codes = []

    async def close(websocket: Any) -> None:
        await runtime.until(lambda: websocket.protocol.undelivered)
        await websocket.close(4000)
        codes.append(websocket.close_code)

    async with peer_of(runtime, side, close, close_timeout=60) as peer:
        await peer.send(Frame(TEXT, b"x"), Frame(CLOSE, close_payload(3000)))
        assert await peer.read_frame() == Frame(CLOSE, close_payload(3000))
        if side == "client":
            peer.end()
    assert codes == [3000]


@both_sides
async def test_a_recv_that_was_cancelled(runtime: Runtime, side: str) -> None:
    """It loses no message, and does not end the conversation."""
    got = []

    async def receive(websocket: Any) -> None:
        with pytest.raises(TimeoutError):
            await runtime.timeout(0.2, websocket.recv)
        go_on.set()
        with contextlib.suppress(ConnectionClosedOK):
            while True:
                got.append(await websocket.recv())
                await websocket.send("answer")

    go_on = runtime.event()
    async with peer_of(runtime, side, receive) as peer:
        await go_on.wait()
        await peer.send(Frame(TEXT, b"x"), Frame(CLOSE))
        assert await peer.read_frame() == Frame(TEXT, b"answer")
        assert await peer.read_frame() == Frame(CLOSE)
    assert got == ["x"]


@with_tls
@both_sides
async def test_every_ping_is_answered(runtime: Runtime, side: str, tls: bool) -> None:
    """Peers may wait for the answer to each, as tests of conformance do."""
    async with peer_of(runtime, side, echo_until_closed, tls) as peer:
        pings = [Frame(PING, b"%d" % number) for number in range(50)]
        await peer.send(*pings)
        for ping in pings:
            assert await peer.read_frame() == Frame(PONG, ping.payload)
        await peer.send(Frame(CLOSE))
        assert await peer.read_frame() == Frame(CLOSE)


@both_sides
async def test_many_fragments_of_a_large_message(runtime: Runtime, side: str) -> None:
    """A message may have one fragment more for each 64 bytes."""
    async with peer_of(runtime, side, echo_until_closed, max_size=None, max_fragments=10) as peer:
        pieces = [Frame(CONTINUATION, bytes(64), fin=False)] * 4000
        await peer.send(Frame(BINARY, bytes(64), fin=False), *pieces, Frame(CONTINUATION))
        assert (await peer.read_frame()).payload == bytes(64 * 4001)
        await peer.send(Frame(BINARY, b"x", fin=False), *[Frame(CONTINUATION, b"x", fin=False)] * 11)
        last = await peer.read_frame()
        assert last.payload[:2] == close_payload(1009)
