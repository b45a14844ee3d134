"""Deadlines that nobody waits for, in virtual time: the keeper meets them, and to the moment."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

from adapters.trio import broadcast, connect, serve_stream
from tests.core.helpers import CLOSE, PING, TEXT, Frame, close_payload, request

from .test_trio_time import QUIET, Peer, connected, run


def test_a_deadline_that_is_near_is_met_while_nobody_has_waited_yet() -> None:
    async def test() -> None:
        start = trio.current_time()
        async with connected(ping_interval=0.03) as (peer, _):
            assert (await peer.read_frame()).opcode == PING
            assert trio.current_time() == pytest.approx(start + 0.03)

    run(test)


def test_a_deadline_between_two_calls_is_met() -> None:
    async def test() -> None:
        start = trio.current_time()
        async with connected(ping_interval=0.25) as (peer, client), trio.open_nursery() as nursery:

            async def receive() -> None:
                # Often enough for the keeper not to stand in.
                for _ in range(4):
                    await peer.send(Frame(TEXT, b"hello"))
                    assert await client.recv() == "hello"
                    await trio.sleep(0.09)

            nursery.start_soon(receive)
            assert (await peer.read_frame()).opcode == PING
            assert trio.current_time() == pytest.approx(start + 0.25)

    run(test)


@pytest.mark.parametrize("patience", [0.0, 1.0], ids=["before the keeper stands in", "after it"])
def test_a_broadcast_that_is_not_taken_has_a_deadline(patience: float) -> None:
    served: list[str] = []

    async def handler(websocket: Any) -> None:
        await trio.sleep(patience)
        # Nobody reads at the other end, on a stream that keeps nothing.
        broadcast([websocket], "hello")
        assert websocket.protocol.unwritten
        # The keeper's deadline, that is: nobody waits for anything of this connection.
        await trio.sleep(9.9)
        assert websocket.open
        await trio.sleep(0.2)
        assert websocket.closed
        served.append("given up")

    async def test() -> None:
        ours, theirs = trio.testing.lockstep_stream_pair()

        async def open_and_stop_reading() -> None:
            await theirs.send_all(request())
            head = b""
            while b"\r\n\r\n" not in head:
                head += await theirs.receive_some(65536)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(open_and_stop_reading)
            with trio.fail_after(100):
                await serve_stream(handler, ours, **QUIET, ping_timeout=10.0)
        assert served

    run(test)


@pytest.mark.parametrize("received", [False, True])
def test_a_peer_that_takes_a_part_now_and_then_is_kept(received: bool) -> None:
    async def test() -> None:
        ours, theirs = trio.testing.memory_stream_pair()
        deliver = ours.send_stream.send_all_hook
        assert deliver is not None
        parts = 0

        async def take_a_part() -> None:
            nonlocal parts
            await trio.sleep(9)
            await deliver()
            parts += 1

        peer = Peer(theirs)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.answer)
            options: dict[str, Any] = {**QUIET, "ping_timeout": 10.0}
            async with connect("ws://localhost/", stream=ours, **options) as client:
                ours.send_stream.send_all_hook = take_a_part
                await client.send(bytes(2**16))
                if received:
                    nursery.start_soon(peer.send, Frame(TEXT, b"meanwhile"))
                    assert await client.recv() == "meanwhile"
                await trio.sleep(100)
                assert client.open
                # It is written in several parts, each of which counts.
                assert parts > 3
                ours.send_stream.send_all_hook = deliver
                nursery.start_soon(peer.send, Frame(CLOSE, close_payload(1000)))
                await client.wait_closed()
                nursery.cancel_scope.cancel()

    run(test)


@pytest.mark.parametrize("tell", [False, True], ids=["silent", "talkative"])
def test_a_peer_that_takes_nothing_is_given_up_whatever_it_sends(tell: bool) -> None:
    async def test() -> None:
        ours, theirs = trio.testing.memory_stream_pair()
        peer = Peer(theirs)

        async def take_nothing() -> None:
            await trio.sleep_forever()

        async def talk() -> None:
            while True:
                await peer.send(Frame(TEXT, b"I am here"))
                await trio.sleep(1)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.answer)
            options: dict[str, Any] = {**QUIET, "ping_timeout": 10.0, "max_queue": None}
            async with connect("ws://localhost/", stream=ours, **options) as client:
                ours.send_stream.send_all_hook = take_nothing
                if tell:
                    nursery.start_soon(talk)
                start = trio.current_time()
                await client.send("never taken")
                await client.wait_closed()
                assert trio.current_time() == pytest.approx(start + 10, abs=0.2)
                nursery.cancel_scope.cancel()

    run(test)
