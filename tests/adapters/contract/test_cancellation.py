"""Giving up a wait, by a timeout or a cancellation: no message is lost, none is sent in part."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.adapters.runtimes import Cancelled, Runtime
from tests.adapters.runtimes.base import QUIET, wait_closed
from tests.core.helpers import CLOSE, PING, TEXT, Frame, close_payload
from wsproto_core import ConnectionClosedError, ConnectionClosedOK, State

needs_coroutines = pytest.mark.needs("coroutines")
needs_sockets = pytest.mark.needs("sockets")

# Receiving


async def test_timeouts_of_recv_lose_no_message(runtime: Runtime) -> None:
    rng = runtime.random(1)
    count = 200

    async def send() -> None:
        for number in range(count):
            await client.send(str(number))
            if rng.random() < 0.5:
                await runtime.sleep(rng.choice([0, 0.0005, 0.001]))
            if number % 50 == 0:
                # Here at least it comes too late.
                await runtime.until(lambda: len(received) > number)  # noqa: B023

    async with runtime.connected() as (client, server):
        received: list[str | bytes] = []
        sending = runtime.spawn(send)
        timeouts = 0
        while len(received) < count:
            try:
                seconds = rng.choice([0, 0.0001, 0.0005, 0.001, 0.01])
                received.append(await runtime.timeout(seconds, server.recv))
            except TimeoutError:
                timeouts += 1
        await sending.result()
        assert received == [str(number) for number in range(count)]
        assert timeouts


@needs_coroutines
async def test_cancelling_recv_around_the_arrival_of_a_message_loses_nothing(runtime: Runtime) -> None:
    rng = runtime.random(2)
    async with runtime.connected() as (client, server):
        for number in range(100):
            receiving = runtime.spawn(server.recv)
            await runtime.sleep(0)
            await client.send(str(number))
            await runtime.sleep(rng.choice([0, 0, 0.0001, 0.0005]))
            receiving.cancel()
            try:
                received = await receiving.result()
            except Cancelled:
                received = await server.recv()
            assert received == str(number)


async def test_recv_given_up_in_the_middle_of_a_message(runtime: Runtime) -> None:
    async with runtime.raw_server() as (peer, client):
        await peer.send(Frame(TEXT, b"begun, ", fin=False))
        with pytest.raises(TimeoutError):
            await runtime.timeout(0.05, client.recv)
        await peer.send(Frame(0, b"do", fin=False), Frame(PING, b"?"))
        with pytest.raises(TimeoutError):
            await runtime.timeout(0.05, client.recv)
        await peer.send(b"\x80\x02n")
        with pytest.raises(TimeoutError):
            await runtime.timeout(0.05, client.recv)
        await peer.send(b"e")
        assert await client.recv() == "begun, done"


@needs_coroutines
async def test_iteration_cancelled_and_taken_up_again(runtime: Runtime) -> None:
    async with runtime.connected() as (client, server):

        async def collect() -> None:
            async for message in server:
                received.append(message)

        received: list[str | bytes] = []
        for number in range(50):
            collecting = runtime.spawn(collect)
            await client.send(str(number))
            await runtime.sleep(0.0002 * (number % 5))
            collecting.cancel()
            with pytest.raises(Cancelled):
                await collecting.result()
        while len(received) < 50:
            received.append(await server.recv())
        assert received == [str(number) for number in range(50)]


@needs_coroutines
async def test_cancelled_iteration_over_pieces_loses_nothing(runtime: Runtime) -> None:
    async with runtime.raw_server() as (peer, client):

        async def collect() -> None:
            async with contextlib.aclosing(client.recv_streaming()) as pieces:
                async for piece in pieces:
                    received.append(piece)

        received: list[str | bytes] = []
        parts = [str(number) for number in range(20)]
        for part in parts:
            collecting = runtime.spawn(collect)
            await runtime.sleep(0)
            await peer.send(Frame(0 if part != "0" else TEXT, part.encode(), fin=False))
            await runtime.sleep(0.0002)
            collecting.cancel()
            with pytest.raises(Cancelled):
                await collecting.result()
        await peer.send(Frame(0, b"end"))
        await collect()
        assert "".join(map(str, received)) == "".join(parts) + "end"


async def test_timeout_in_a_handler(runtime: Runtime) -> None:
    async def handler(websocket: Any) -> None:
        try:
            await runtime.timeout(0.01, websocket.recv)
        except TimeoutError:
            await websocket.send("timeout")

    async with runtime.serving(handler) as (_, uri), runtime.connect(uri) as client:
        assert await client.recv() == "timeout"
        with pytest.raises(ConnectionClosedOK):
            await client.recv()


# Sending


FIRST, LARGE = b"x" * 2**16, b"x" * 2**20


async def fill(runtime: Runtime, websocket: Any) -> Any:
    """Send a message that stops the peer's reading, and one that no buffers hold: return the second."""
    await websocket.send(FIRST)
    sending = runtime.spawn(websocket.send, LARGE)
    await runtime.until(lambda: websocket.statistics.messages_sent == 2)
    return sending


async def test_send_given_up_while_it_waits_for_room_is_sent_whole_or_not_at_all(runtime: Runtime) -> None:
    options = {"write_limit": 2**14}
    async with runtime.connected(options, {"max_queue": 2}, small_buffers=True) as (client, server):
        messages = [bytes([number]) * 2**16 for number in range(20)]
        sent, given_up = [], []
        for message in messages:
            try:
                await runtime.timeout(0.02, client.send, message)
                sent.append(message)
            except TimeoutError:
                given_up.append(message)
        assert given_up
        last = runtime.spawn(client.send, "last")
        received = []
        while (message := await server.recv()) != "last":
            received.append(message)
        await last.result()
        assert received == [message for message in messages if message in received]
        assert set(sent) <= set(received)


async def test_random_timeouts_of_send_cut_no_message(runtime: Runtime) -> None:
    rng = runtime.random(2)
    options = {"write_limit": 2**10}
    async with runtime.connected(options, {"read_limit": 2**10}, small_buffers=True) as (client, server):
        received = []

        async def collect() -> None:
            slow = runtime.random(3)
            async for message in server:
                received.append(message)
                if slow.random() < 0.3:
                    await runtime.sleep(0.001)

        collecting = runtime.spawn(collect)
        must, may = [], []
        for number in range(200):
            message = bytes([number]) * rng.choice([10, 2**12, 2**17])
            try:
                await runtime.timeout(rng.choice([0, 0.0005, 0.002, 0.02]), client.send, message)
                must.append(number)
            except TimeoutError:
                may.append(number)
        await client.close()
        await collecting.result()
        assert all(message == message[:1] * len(message) for message in received)
        assert all(len(message) in (10, 2**12, 2**17) for message in received)
        numbers = [message[0] for message in received]
        assert numbers == sorted(numbers)
        assert set(must) <= set(numbers) <= {*must, *may}
        assert client.close_code == 1000


@needs_coroutines
async def test_cancelled_send_that_waits_for_its_turn_sends_nothing(runtime: Runtime) -> None:
    options = {"write_limit": 2**16}
    async with runtime.connected(options, {"read_limit": 2**10}, small_buffers=True) as (client, server):
        first = await fill(runtime, client)
        second = runtime.spawn(client.send, "never sent")
        await runtime.settle()
        second.cancel()
        with pytest.raises(Cancelled):
            await second.result()
        third = runtime.spawn(client.send, "third")
        assert [await server.recv(), await server.recv()] == [FIRST, LARGE]
        assert await server.recv() == "third"
        await first.result()
        await third.result()


@needs_coroutines
async def test_cancelled_send_of_fragments_fails_the_connection(runtime: Runtime) -> None:
    async def items() -> AsyncIterator[str]:
        yield "begun"
        await runtime.event().wait()

    async with runtime.connected() as (client, server):
        sending = runtime.spawn(client.send, items())
        await runtime.until(lambda: client.statistics.frames_sent)
        sending.cancel()
        with pytest.raises(Cancelled):
            await sending.result()
        with pytest.raises(ConnectionClosedError) as raised:
            await server.recv()
        assert raised.value.code == 1011
        with pytest.raises(ConnectionClosedError) as raised:
            await client.send("more")
        assert raised.value.__cause__ is not None


async def test_timeout_of_a_send_of_fragments_that_wait_for_room(runtime: Runtime) -> None:
    options = {"write_limit": 2**14, "close_timeout": 0.3}
    async with runtime.raw_server(small_buffers=True, **options) as (_, client):
        with pytest.raises(TimeoutError):
            await runtime.timeout(0.2, client.send, [bytes(2**16)] * 1000)
        with pytest.raises(ConnectionClosedError) as raised:
            await client.send("more")
        assert raised.value.sent is None or raised.value.sent.code == 1011


@needs_coroutines
async def test_send_of_fragments_cancelled_before_the_first_one_sends_nothing(runtime: Runtime) -> None:
    async def items() -> AsyncIterator[str]:
        await runtime.event().wait()
        yield ""

    async with runtime.connected() as (client, server):
        sending = runtime.spawn(client.send, items())
        await runtime.settle()
        sending.cancel()
        with pytest.raises(Cancelled):
            await sending.result()
        await client.send("still open")
        assert await server.recv() == "still open"


@needs_coroutines
async def test_cancelled_ping_that_waits_for_room(runtime: Runtime) -> None:
    options = {"write_limit": 2**16}
    async with runtime.connected(options, {"read_limit": 2**10}, small_buffers=True) as (client, server):
        sending = await fill(runtime, client)
        pinging = runtime.spawn(client.ping, b"?")
        await runtime.settle()
        pinging.cancel()
        with contextlib.suppress(Cancelled):
            await pinging.result()
        assert [await server.recv(), await server.recv()] == [FIRST, LARGE]
        await sending.result()
        # The connection is none the worse for it.
        await runtime.pong(await client.ping(b"!"))


# Closing


@needs_coroutines
async def test_cancelled_close_goes_on_by_itself(runtime: Runtime) -> None:
    async with runtime.raw_server() as (peer, client):
        closing = runtime.spawn(client.close, 1001, "bye")
        assert await peer.read_frame() == Frame(CLOSE, close_payload(1001, "bye"))
        closing.cancel()
        with pytest.raises(Cancelled):
            await closing.result()
        assert client.state is State.CLOSING
        await peer.send(Frame(CLOSE, close_payload(1001)))
        peer.end()
        await runtime.until(lambda: client.closed)
        await client.close()
        assert client.close_code == 1001


async def test_wait_closed_that_is_given_up_changes_nothing_else(runtime: Runtime) -> None:
    async with runtime.connected() as (client, server):
        other = runtime.spawn(client.wait_closed)
        for _ in range(2):
            with pytest.raises(TimeoutError):
                await runtime.timeout(0.05, client.wait_closed)
        assert client.open
        await client.send("still open")
        assert await server.recv() == "still open"
        await server.close()
        await other.result()
        await client.wait_closed()


# Who reads is relieved by who waits: a wait that is given up must pass that on.


async def test_who_gives_up_lets_others_read(runtime: Runtime) -> None:
    async with runtime.raw_server() as (peer, client):
        for number in range(5):
            waiter = await client.ping(str(number))
            assert (await peer.read_frame()).opcode == PING
            first = runtime.spawn(timeout_of, runtime, client.recv)
            await runtime.settle(0.01)
            pong = runtime.spawn(runtime.pong, waiter)
            closed = runtime.spawn(timeout_of, runtime, client.wait_closed)
            await first.result()
            await closed.result()
            # Of those who wait, only this one is left.
            await peer.send(Frame(0xA, str(number).encode()))
            await pong.result()
        await peer.send(Frame(TEXT, b"message"))
        assert await client.recv() == "message"


async def timeout_of(runtime: Runtime, function: Any) -> None:
    with pytest.raises(TimeoutError):
        await runtime.timeout(0.05, function)


@needs_coroutines
async def test_who_is_cancelled_lets_others_read(runtime: Runtime) -> None:
    async with runtime.raw_server() as (peer, client):
        for number in range(5):
            waiter = await client.ping(str(number))
            assert (await peer.read_frame()).opcode == PING
            receiving = runtime.spawn(client.recv)
            await runtime.sleep(0.001)
            pong = runtime.spawn(runtime.pong, waiter)
            await runtime.sleep(0.001)
            receiving.cancel()
            with pytest.raises(Cancelled):
                await receiving.result()
            await peer.send(Frame(0xA, str(number).encode()))
            await pong.result()
        await peer.send(Frame(TEXT, b"message"))
        assert await client.recv() == "message"


# Leaving blocks


@needs_coroutines
@needs_sockets
async def test_block_that_is_cancelled_is_left_at_once(runtime: Runtime) -> None:
    # The server answers nothing: the closing handshake would take its whole deadline.
    async with runtime.raw_listener() as listener:
        ready = runtime.event()

        async def use() -> None:
            async with runtime.connect(listener.uri, **QUIET, close_timeout=600):
                ready.set()
                await runtime.event().wait()

        using = runtime.spawn(use)
        peer = await listener.accept_and_answer()
        await ready.wait()
        using.cancel()
        with pytest.raises(Cancelled):
            await using.result()
        assert await peer.read_frames_to_end() == [Frame(CLOSE, close_payload(1001))]


@needs_coroutines
@needs_sockets
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_block_that_is_cancelled_while_it_closes_is_left_at_once(runtime: Runtime, tls: bool) -> None:
    websockets: list[Any] = []
    async with runtime.raw_listener(tls=tls) as listener:

        async def use() -> None:
            options = {**QUIET, "close_timeout": 600, **runtime.client_tls(tls)}
            async with runtime.connect(listener.uri, **options) as websocket:
                websockets.append(websocket)

        using = runtime.spawn(use)
        peer = await listener.accept_and_answer()
        assert await peer.read_frame() == Frame(CLOSE, close_payload(1000))
        using.cancel()
        with pytest.raises(Cancelled):
            await using.result()
        assert await peer.read_frames_to_end_or_reset() == []
        await runtime.until(lambda: websockets[0].closed)


@needs_coroutines
@needs_sockets
async def test_block_that_is_cancelled_in_recv_is_left_at_once(runtime: Runtime) -> None:
    async with runtime.raw_listener() as listener:

        async def use() -> None:
            async with runtime.connect(listener.uri, **QUIET, close_timeout=600) as websocket:
                await websocket.send("first")
                await websocket.recv()

        using = runtime.spawn(use)
        peer = await listener.accept_and_answer()
        assert await peer.read_frame() == Frame(TEXT, b"first")
        using.cancel()
        with pytest.raises(Cancelled):
            await using.result()
        await peer.read_frames_to_end_or_reset()


@needs_coroutines
@needs_sockets
async def test_block_that_is_cancelled_while_the_peer_does_not_read_is_left_at_once(runtime: Runtime) -> None:
    websockets: list[Any] = []
    async with runtime.raw_listener(small_buffers=True) as listener:

        async def use() -> None:
            async with runtime.connect(listener.uri, **QUIET, close_timeout=600) as websocket:
                websockets.append(websocket)
                while True:
                    await websocket.send(b"x" * 2**16)

        using = runtime.spawn(use)
        await listener.accept_and_answer()
        await runtime.until(lambda: websockets)
        await runtime.until_stable(lambda: websockets[0].statistics.messages_sent)
        using.cancel()
        with pytest.raises(Cancelled):
            await using.result()
        await runtime.until(lambda: websockets[0].closed)


@needs_coroutines
@needs_sockets
@pytest.mark.parametrize("scheme", ["ws", "wss"])
async def test_connect_cancelled_in_a_handshake_closes_the_stream(runtime: Runtime, scheme: str) -> None:
    async with runtime.raw_listener() as listener:
        uri = listener.uri.replace("ws:", f"{scheme}:")
        tls = runtime.client_tls(scheme == "wss")

        async def use() -> None:
            async with runtime.connect(uri, **tls):
                raise AssertionError

        using = runtime.spawn(use)
        peer = await listener.accept()
        assert await peer.read()
        using.cancel()
        with pytest.raises(Cancelled):
            await using.result()
        with contextlib.suppress(ConnectionResetError):
            assert await peer.read_to_end() == b""


@needs_coroutines
async def test_server_goes_on_after_a_cancelled_client(runtime: Runtime) -> None:
    async def use() -> None:
        async with runtime.connect(uri) as websocket:
            await websocket.recv()

    async with runtime.serving(wait_closed) as (server, uri):
        for _ in range(3):
            using = runtime.spawn(use)
            await runtime.until(lambda: server.connections)
            using.cancel()
            with pytest.raises(Cancelled):
                await using.result()
            await runtime.until(lambda: not server.connections)
        async with runtime.connect(uri) as client:
            assert client.open


async def test_several_timeouts_of_several_waits_at_once(runtime: Runtime) -> None:
    async with runtime.connected() as (client, server):
        waits = [client.recv, client.wait_closed, client.wait_closed]
        for _ in range(3):
            tasks = [runtime.spawn(timeout_of, runtime, wait) for wait in waits]
            for task in tasks:
                await task.result()
        await server.send("still open")
        assert await client.recv() == "still open"
        assert await client_and_server_close(runtime, client, server) == (1000, 1000)


async def client_and_server_close(runtime: Runtime, client: Any, server: Any) -> tuple[int, int]:
    waiting = runtime.spawn(server.wait_closed)
    await client.close()
    await waiting.result()
    return client.close_code, server.close_code
