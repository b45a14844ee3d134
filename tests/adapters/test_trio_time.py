"""Who reads and when, in virtual time: connections over memory streams, with trio's own test clock.

Where time jumps to the next deadline, that something takes none of it can be told exactly: that a
reader hands over at once, say, and is not replaced by the keeper a tenth of a second later.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing

from adapters.trio import ClientConnection, connect, serve_stream
from tests.adapters.runtimes.base import Log
from tests.core.helpers import (
    CLOSE,
    PING,
    PONG,
    TEXT,
    Frame,
    close_payload,
    frame,
    mask,
    parse_head,
    response,
)
from wsproto_core.exceptions import ConnectionClosedError, ConnectionClosedOK, HandshakeTimeout

QUIET: dict[str, Any] = {"ping_interval": None, "compression": None}


def run(test: Callable[[], Awaitable[None]]) -> None:
    """Run in virtual time, in which nothing takes any but waiting."""
    clock = trio.testing.MockClock(autojump_threshold=0)

    async def supervise() -> None:
        # Everybody else's tasks are in nurseries of the test.
        before = trio.lowlevel.current_statistics().tasks_living
        await test()
        assert trio.lowlevel.current_statistics().tasks_living == before

    trio.run(supervise, clock=clock)


class Peer:
    """A server at the other end of a stream, which does only what it is told to."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self._received = b""

    async def answer(self) -> None:
        while b"\r\n\r\n" not in self._received:
            self._received += await self.stream.receive_some(65536)
        head = parse_head(self._received)
        self._received = b""
        await self.stream.send_all(response(head.headers["sec-websocket-key"]))

    async def send(self, *frames: Frame) -> None:
        data = [frame(opcode, payload, fin=fin, masked=False) for opcode, payload, fin, _ in frames]
        await self.stream.send_all(b"".join(data))

    async def read(self, count: int) -> bytes:
        while len(self._received) < count:
            data = await self.stream.receive_some(65536)
            if not data:
                raise EOFError
            self._received += data
        data, self._received = self._received[:count], self._received[count:]
        return data

    async def read_frame(self) -> Frame:
        first, second = await self.read(2)
        key = await self.read(4)
        return Frame(first & 0x0F, mask(await self.read(second & 0x7F), key), bool(first & 0x80))


@asynccontextmanager
async def connected(**options: Any) -> AsyncIterator[tuple[Peer, ClientConnection]]:
    ours, theirs = trio.testing.memory_stream_pair()
    peer = Peer(theirs)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(peer.answer)
        client = await connect("ws://localhost/", stream=ours, nursery=nursery, **{**QUIET, **options})
        yield peer, client
        nursery.cancel_scope.cancel()


# Reading


def test_a_reader_that_is_cancelled_passes_the_baton_on() -> None:
    async def test() -> None:
        async with connected() as (peer, client), trio.open_nursery() as nursery:
            receiving = trio.CancelScope()

            async def receive() -> None:
                with receiving:
                    await client.recv()

            nursery.start_soon(receive)
            await trio.testing.wait_all_tasks_blocked()
            waiter = await client.ping(b"?")
            assert await peer.read_frame() == Frame(PING, b"?")
            done = trio.Event()

            async def wait_for_pong() -> None:
                await waiter
                done.set()

            nursery.start_soon(wait_for_pong)
            await trio.testing.wait_all_tasks_blocked()
            start = trio.current_time()
            receiving.cancel()
            await trio.testing.wait_all_tasks_blocked()
            await peer.send(Frame(PONG, b"?"))
            await done.wait()
            assert trio.current_time() == start

    run(test)


def test_many_wait_at_once_and_one_reads() -> None:
    async def test() -> None:
        async with connected() as (peer, client), trio.open_nursery() as nursery:
            start = trio.current_time()
            seen: list[object] = []

            async def wait(name: str, function: Callable[[], Awaitable[object]]) -> None:
                try:
                    seen.append((name, await function()))
                except ConnectionClosedOK:
                    seen.append((name, "closed"))

            async def pong(waiter: Awaitable[float]) -> object:
                return await waiter >= 0

            nursery.start_soon(wait, "recv", client.recv)
            for name in ("1", "2", "3"):
                nursery.start_soon(wait, name, partial(pong, await client.ping(name)))
            nursery.start_soon(wait, "wait_closed", client.wait_closed)
            await trio.testing.wait_all_tasks_blocked()
            for _ in range(3):
                await peer.read_frame()
            await peer.send(Frame(PONG, b"1"))
            await trio.testing.wait_all_tasks_blocked()
            assert seen == [("1", True)]
            await peer.send(Frame(TEXT, b"hi"))
            await trio.testing.wait_all_tasks_blocked()
            assert seen == [("1", True), ("recv", "hi")]
            nursery.start_soon(wait, "close", client.close)
            assert await peer.read_frame() == Frame(CLOSE, close_payload(1000))
            await peer.send(Frame(PONG, b"2"), Frame(CLOSE, close_payload(1000)))
            await trio.testing.wait_all_tasks_blocked()
            assert dict(seen[2:]) == {"2": True, "3": "closed"}
            await peer.stream.send_eof()
            await trio.testing.wait_all_tasks_blocked()
            assert dict(seen[4:]) == {"close": None, "wait_closed": None}
            assert client.close_code == 1000
            assert trio.current_time() == start

    run(test)


def test_the_keeper_steps_aside_at_once() -> None:
    async def test() -> None:
        async with connected() as (peer, client), trio.open_nursery() as nursery:
            for _ in range(3):
                await trio.sleep(1)
                start = trio.current_time()

                async def receive() -> None:
                    assert await client.recv() == "hi"

                nursery.start_soon(receive)
                await trio.testing.wait_all_tasks_blocked()
                await peer.send(Frame(TEXT, b"hi"))
                await trio.testing.wait_all_tasks_blocked()
                assert trio.current_time() == start
                assert client.statistics.messages_received

    run(test)


def test_while_nobody_waits_pings_are_answered_and_a_close_is_seen() -> None:
    async def test() -> None:
        async with connected() as (peer, client):
            await peer.send(Frame(PING, b"?"))
            start = trio.current_time()
            assert await peer.read_frame() == Frame(PONG, b"?")
            assert trio.current_time() - start < 1
            await peer.send(Frame(TEXT, b"hi"), Frame(CLOSE, close_payload(1000)))
            assert await peer.read_frame() == Frame(CLOSE, close_payload(1000))
            await peer.stream.send_eof()
            await trio.sleep(1)
            assert client.closed
            assert await client.recv() == "hi"

    run(test)


def test_backpressure_stops_the_keeper() -> None:
    async def test() -> None:
        async with connected(max_queue=4) as (peer, client):
            for number in range(20):
                await peer.send(Frame(TEXT, b"%d" % number))
                await trio.sleep(1)
            await peer.send(Frame(PING, b"?"))
            await trio.sleep(1)
            assert client.protocol.undelivered == 4
            received = [await client.recv() for _ in range(20)]
            assert received == [str(number) for number in range(20)]
            assert await peer.read_frame() == Frame(PONG, b"?")

    run(test)


# Deadlines


def test_a_nearer_deadline_moves_that_of_who_reads() -> None:
    async def test() -> None:
        async with connected(close_timeout=3.0) as (_, client), trio.open_nursery() as nursery:

            async def receive() -> None:
                with pytest.raises(ConnectionClosedError):
                    await client.recv()

            nursery.start_soon(receive)
            await trio.sleep(5)
            start = trio.current_time()
            # For the peer's close frame, and for the end of its stream.
            await client.close()
            assert trio.current_time() == pytest.approx(start + 6)

    run(test)


@pytest.mark.parametrize("receiving", [False, True])
def test_a_peer_that_keeps_silent_is_given_up(receiving: bool) -> None:
    async def test() -> None:
        options = {"ping_interval": 20.0, "ping_timeout": 10.0, "close_timeout": 5.0}
        async with connected(**options) as (peer, client), trio.open_nursery() as nursery:
            start = trio.current_time()
            if receiving:

                async def receive() -> None:
                    with pytest.raises(ConnectionClosedError, match="ping timeout"):
                        await client.recv()
                    assert trio.current_time() == pytest.approx(start + 30)

                nursery.start_soon(receive)
            assert (await peer.read_frame()).opcode == PING
            assert trio.current_time() == pytest.approx(start + 20)
            assert (await peer.read_frame()) == Frame(CLOSE, close_payload(1011, "keepalive ping timeout"))
            assert trio.current_time() == pytest.approx(start + 30)
            await client.wait_closed()
            assert trio.current_time() == pytest.approx(start + 35)

    run(test)


def test_a_peer_that_answers_pings_is_kept() -> None:
    async def test() -> None:
        async with connected(ping_interval=20.0, ping_timeout=10.0) as (peer, client):
            for _ in range(10):
                ping = await peer.read_frame()
                assert ping.opcode == PING
                await trio.sleep(3)
                await peer.send(Frame(PONG, ping.payload))
            await trio.sleep(1)
            assert client.open
            assert client.latency == pytest.approx(3, abs=0.2)

    run(test)


def test_a_server_that_never_answers_has_a_deadline() -> None:
    async def test() -> None:
        ours, theirs = trio.testing.memory_stream_pair()
        start = trio.current_time()
        with pytest.raises(HandshakeTimeout):
            async with connect("ws://localhost/", stream=ours, open_timeout=7.0):
                pass
        assert trio.current_time() == start + 7
        while await theirs.receive_some(65536):
            pass

    run(test)


def test_a_client_that_asks_for_nothing_has_a_deadline() -> None:
    async def test() -> None:
        ours, theirs = trio.testing.memory_stream_pair()
        start = trio.current_time()
        log = Log()

        async def handler(websocket: Any) -> None:
            raise AssertionError("there is no connection")

        await serve_stream(handler, ours, open_timeout=7.0, close_timeout=2.0, logger=log)
        assert start + 7 <= trio.current_time() <= start + 9
        assert await theirs.receive_some(65536) == b""
        assert not log.errors()

    run(test)


def test_a_stream_that_takes_no_more_has_a_deadline() -> None:
    async def test() -> None:
        ours, theirs = trio.testing.lockstep_stream_pair()
        peer = Peer(theirs)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.answer)
            async with connect(
                "ws://localhost/", stream=ours, ping_interval=None, ping_timeout=10.0, compression=None
            ) as client:
                start = trio.current_time()
                # Nobody reads at the other end, on a stream that keeps nothing.
                await client.send(b"?")
                with pytest.raises(ConnectionClosedError) as raised:
                    await client.recv()
                assert isinstance(raised.value.__cause__, TimeoutError)
                assert trio.current_time() == start + 10

    run(test)


def test_what_is_being_written_has_a_moment_when_a_connection_is_cancelled() -> None:
    async def test() -> None:
        ours, theirs = trio.testing.lockstep_stream_pair()
        peer = Peer(theirs)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.answer)
            with trio.CancelScope() as scope:
                async with connect("ws://localhost/", stream=ours, **QUIET) as client:
                    await client.send("?")
                    start = trio.current_time()
                    scope.cancel()
                    await client.recv()
        assert start < trio.current_time() < start + 1
        assert client.closed

    run(test)


def test_a_stream_that_takes_no_more_later_has_a_deadline_while_one_receives() -> None:
    async def test() -> None:
        ours, theirs = trio.testing.memory_stream_pair()
        peer = Peer(theirs)
        waits = [0.0, 5.0, float("inf")]
        deliver = ours.send_stream.send_all_hook
        assert deliver is not None

        async def stall() -> None:
            await deliver()
            await trio.sleep(waits.pop(0))

        ours.send_stream.send_all_hook = stall
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.answer)
            options = {**QUIET, "ping_timeout": 10.0}
            async with connect("ws://localhost/", stream=ours, **options) as client:
                await trio.testing.wait_all_tasks_blocked()
                start = trio.current_time()
                nursery.start_soon(client.send, "one")
                await trio.testing.wait_all_tasks_blocked()
                await client.send("two")
                with trio.fail_after(100), pytest.raises(ConnectionClosedError) as raised:
                    await client.recv()
                assert isinstance(raised.value.__cause__, TimeoutError)
                assert trio.current_time() == start + 15

    run(test)


def test_a_peer_that_never_stops_sending_does_not_put_off_the_deadline() -> None:
    class Endless(trio.abc.Stream):
        """A stream on which there is always something to read at once, while time passes."""

        def __init__(self, stream: trio.abc.Stream) -> None:
            self._stream = stream
            self.endless = 0

        async def send_all(self, data: Any) -> None:
            await self._stream.send_all(data)

        async def wait_send_all_might_not_block(self) -> None:
            raise NotImplementedError

        async def receive_some(self, max_bytes: int | None = None) -> Any:
            if not self.endless:
                return await self._stream.receive_some(max_bytes)
            self.endless -= 1
            await trio.lowlevel.cancel_shielded_checkpoint()
            clock = trio.lowlevel.current_clock()
            assert isinstance(clock, trio.testing.MockClock)
            clock.jump(0.01)
            return frame(TEXT, b"x", masked=False)

        async def aclose(self) -> None:
            await self._stream.aclose()

    async def test() -> None:
        ours, theirs = trio.testing.memory_stream_pair()
        stream, peer = Endless(ours), Peer(theirs)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.answer)
            async with connect("ws://localhost/", stream=stream, close_timeout=3.0, **QUIET) as client:
                stream.endless = 2000
                start = trio.current_time()
                await client.close()
                assert trio.current_time() == pytest.approx(start + 6, abs=0.1)
                assert stream.endless

    run(test)
