"""Cancellation: no message is lost, none is sent in part, and leaving is quick."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import random
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import pytest

from adapters.asyncio import Connection, ServerConnection, connect
from tests.core.helpers import BINARY, CLOSE, TEXT, Frame, close_payload
from wsproto_core import ConnectionClosedError, ConnectionClosedOK, State

from .runtime import (
    connected,
    raw_client,
    raw_listener,
    raw_server,
    serving,
    settle,
    turns,
    until,
    until_stable,
    wait_closed,
)

# Receiving


@pytest.mark.parametrize("how", ["wait_for", "timeout", "wait"])
async def test_timeouts_of_recv_lose_no_message(how: str) -> None:
    rng = random.Random(1)
    count = 300

    async def send(websocket: Connection) -> None:
        for number in range(count):
            await websocket.send(str(number))
            if rng.random() < 0.5:
                await asyncio.sleep(rng.choice([0, 0.0005, 0.001]))

    async def receive(websocket: Connection, seconds: float) -> str | bytes:
        if how == "wait_for":
            return await asyncio.wait_for(websocket.recv(), seconds)
        if how == "timeout":
            async with asyncio.timeout(seconds):
                return await websocket.recv()
        task = asyncio.create_task(websocket.recv())
        await asyncio.wait([task], timeout=seconds)
        task.cancel()
        try:
            return await task
        except asyncio.CancelledError:
            raise TimeoutError from None

    async with connected() as (client, server):
        sending = asyncio.create_task(send(client))
        received: list[str | bytes] = []
        timeouts = 0
        while len(received) < count:
            try:
                received.append(await receive(server, rng.choice([0, 0.0001, 0.0005, 0.001, 0.01])))
            except TimeoutError:
                timeouts += 1
        await sending
        assert received == [str(number) for number in range(count)]
        assert timeouts


@pytest.mark.parametrize("turns_before", range(6))
async def test_cancelling_recv_around_the_arrival_of_a_message_loses_nothing(turns_before: int) -> None:
    async with connected() as (client, server):
        for number in range(30):
            receiving = asyncio.create_task(server.recv())
            await turns(1)
            await client.send(str(number))
            await turns(turns_before)
            receiving.cancel()
            try:
                received = await receiving
            except asyncio.CancelledError:
                received = await server.recv()
            assert received == str(number)


async def test_cancelling_recv_when_it_has_been_woken_but_not_run() -> None:
    # Woken from within a task, it cannot run at once.
    async with connected() as (_client, server):
        receiving = asyncio.create_task(server.recv())
        await turns()
        _feed(server, b"\x81\x81\0\0\0\0a")
        assert not receiving.done()
        receiving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await receiving
        assert await server.recv() == "a"


def _feed(websocket: Connection, data: bytes) -> None:
    """Let a connection receive bytes, here and now."""
    websocket.get_buffer(-1)[: len(data)] = data
    websocket.buffer_updated(len(data))


async def test_message_that_arrives_when_recv_has_been_cancelled_but_not_run() -> None:
    async with connected() as (_client, server):
        receiving = asyncio.create_task(server.recv())
        await turns()
        receiving.cancel()
        _feed(server, b"\x81\x81\0\0\0\0a")
        with pytest.raises(asyncio.CancelledError):
            await receiving
        assert await server.recv() == "a"


async def test_recv_cancelled_in_the_middle_of_a_message() -> None:
    async with raw_server() as (peer, client):
        await peer.send(Frame(TEXT, b"begun, ", fin=False))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.recv(), 0.05)
        await peer.send(Frame(0, b"done"))
        assert await client.recv() == "begun, done"


async def test_iteration_cancelled_and_taken_up_again() -> None:
    async with connected() as (client, server):

        async def collect() -> None:
            async for message in server:
                received.append(message)

        received: list[str | bytes] = []
        for number in range(50):
            collecting = asyncio.create_task(collect())
            await client.send(str(number))
            await turns(number % 5)
            collecting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await collecting
        while len(received) < 50:
            received.append(await server.recv())
        assert received == [str(number) for number in range(50)]


async def test_cancelled_iteration_over_pieces_loses_nothing() -> None:
    async with raw_server() as (peer, client):

        async def collect() -> None:
            async for piece in client.recv_streaming():
                received.append(piece)

        received: list[str | bytes] = []
        parts = [str(number) for number in range(20)]
        for part in parts:
            collecting = asyncio.create_task(collect())
            await turns(1)
            await peer.send(Frame(0 if part != "0" else TEXT, part.encode(), fin=False))
            await turns(2)
            collecting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await collecting
        await peer.send(Frame(0, b"end"))
        await collect()
        assert "".join(map(str, received)) == "".join(parts) + "end"


async def _run_in_group(*coroutines: Coroutine[Any, Any, Any]) -> None:
    async with asyncio.TaskGroup() as tasks:
        for coroutine in coroutines:
            tasks.create_task(coroutine)


async def test_gather_and_task_group() -> None:
    async with connected() as (client, server):
        _, message = await asyncio.gather(client.send("a"), server.recv())
        assert message == "a"
        async with asyncio.TaskGroup() as tasks:
            receiving = tasks.create_task(server.recv())
            tasks.create_task(client.send("b"))
        assert receiving.result() == "b"
        with pytest.raises(ExceptionGroup) as raised:
            await _run_in_group(server.recv(), client.send(None))  # type: ignore[arg-type]
        assert raised.group_contains(TypeError)
        await client.send("c")
        assert await server.recv() == "c"


# Waking


async def test_waiting_task_keeps_its_context() -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")
    seen = []

    async def receive(websocket: Connection, name: str) -> None:
        variable.set(name)
        async for _ in websocket:
            seen.append(variable.get())
            variable.set(variable.get() + "'")

    async with connected() as (client, server):
        variable.set("test")
        tasks = [
            asyncio.create_task(receive(server, "server")),
            asyncio.create_task(receive(client, "client")),
        ]
        await turns()
        for _ in range(3):
            await client.send("a")
            await server.send("b")
            await settle(0.01)
        assert sorted(seen) == ["client", "client'", "client''", "server", "server'", "server''"]
        assert variable.get() == "test"
        await client.close()
        await asyncio.gather(*tasks)


async def test_current_task_of_a_woken_task_is_itself() -> None:
    async with connected() as (client, server):

        async def receive() -> tuple[str | bytes, asyncio.Task[object] | None]:
            return await server.recv(), asyncio.current_task()

        receiving = asyncio.create_task(receive())
        await turns()
        await client.send("a")
        assert await receiving == ("a", receiving)


async def test_task_in_a_context_that_is_entered_already_is_woken_later() -> None:
    context = contextvars.copy_context()
    async with connected() as (_client, server):
        receiving = asyncio.get_running_loop().create_task(server.recv(), context=context)
        await turns()
        # As if the read callback ran in that context: outside of any task.
        done = asyncio.get_running_loop().create_future()

        def read() -> None:
            _feed(server, b"\x81\x81\0\0\0\0a")
            done.set_result(receiving.done())

        asyncio.get_running_loop().call_soon(read, context=context)
        assert await done is False
        assert await receiving == "a"


async def test_error_in_a_woken_task_stays_there() -> None:
    async with connected() as (client, server):

        async def receive() -> None:
            await server.recv()
            raise RuntimeError("cannot enter context: it is already entered")

        receiving = asyncio.create_task(receive())
        await turns()
        await client.send("a")
        with pytest.raises(RuntimeError, match="already entered"):
            await receiving
        await client.send("b")
        assert await server.recv() == "b"


async def test_woken_task_may_close_the_connection() -> None:
    async with connected() as (client, server):

        async def receive() -> None:
            await server.recv()
            await server.close(1001)

        receiving = asyncio.create_task(receive())
        await turns()
        await client.send("a")
        await client.send("b")
        await receiving
        assert client.close_code == 1001


async def test_woken_task_may_abort_the_transport() -> None:
    async with connected() as (client, server):

        async def receive() -> None:
            await server.recv()
            server.transport.abort()

        receiving = asyncio.create_task(receive())
        await turns()
        await client.send("a")
        await receiving
        with pytest.raises(ConnectionClosedError):
            await client.recv()


async def test_woken_task_may_use_other_connections() -> None:
    # A proxy: what one connection receives is sent on by another, within the read callback.
    async def forward(source: Connection, target: Connection) -> None:
        async for message in source:
            await target.send(message)
        await target.close()

    async with serving() as (_, uri):

        async def proxy(websocket: ServerConnection) -> None:
            async with connect(uri) as upstream, asyncio.TaskGroup() as tasks:
                tasks.create_task(forward(websocket, upstream))
                tasks.create_task(forward(upstream, websocket))

        async with serving(proxy) as (_, proxy_uri), connect(proxy_uri) as client:
            for number in range(100):
                await client.send(str(number))
            assert [await client.recv() for _ in range(100)] == [str(number) for number in range(100)]


# Sending


async def _fill(websocket: Connection) -> asyncio.Task[None]:
    """Send until a send waits; return that."""
    while True:
        sending = asyncio.create_task(websocket.send(b"x" * 2**16))
        await turns(3)
        if not sending.done() and not websocket.protocol.writable:
            return sending
        await sending


async def test_cancelled_send_that_waits_for_room_was_accepted_whole() -> None:
    async with connected({"write_limit": 2**16}, {"read_limit": 2**10}) as (client, server):
        sending = await _fill(client)
        sent = client.statistics.messages_sent
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        for _ in range(sent):
            assert await server.recv() == b"x" * 2**16
        await client.send("next")
        assert await server.recv() == "next"


async def test_cancelled_send_that_waits_for_its_turn_sends_nothing() -> None:
    async with connected({"write_limit": 2**16}, {"read_limit": 2**10}) as (client, server):
        first = await _fill(client)
        sent = client.statistics.messages_sent
        second = asyncio.create_task(client.send("never sent"))
        third = asyncio.create_task(client.send("third"))
        await turns()
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        for _ in range(sent):
            assert await server.recv() == b"x" * 2**16
        assert await server.recv() == "third"
        await asyncio.gather(first, third)


async def test_random_cancellations_of_send_cut_no_message() -> None:
    rng = random.Random(2)
    async with connected({"write_limit": 2**10}, {"read_limit": 2**10}) as (client, server):
        received = []

        async def collect() -> None:
            async for message in server:
                received.append(message)
                if rng.random() < 0.3:
                    await asyncio.sleep(0.001)

        collecting = asyncio.create_task(collect())
        must, may = [], []
        for number in range(200):
            message = bytes([number]) * rng.choice([10, 2**12, 2**17])
            try:
                await asyncio.wait_for(client.send(message), rng.choice([0, 0.0005, 0.002, 0.02]))
                must.append(number)
            except TimeoutError:
                may.append(number)
        await client.close()
        await collecting
        assert all(message == message[:1] * len(message) for message in received)
        assert all(len(message) in (10, 2**12, 2**17) for message in received)
        numbers = [message[0] for message in received]
        assert numbers == sorted(numbers)
        assert set(must) <= set(numbers) <= {*must, *may}
        assert client.close_code == 1000


async def test_cancelled_send_of_fragments_fails_the_connection() -> None:
    async def items() -> AsyncIterator[str]:
        yield "begun"
        await asyncio.get_running_loop().create_future()

    async with connected() as (client, server):
        sending = asyncio.create_task(client.send(items()))
        await until(lambda: client.statistics.frames_sent)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        with pytest.raises(ConnectionClosedError) as raised:
            await server.recv()
        assert raised.value.code == 1011
        with pytest.raises(ConnectionClosedError) as raised:
            await client.send("more")
        assert isinstance(raised.value.__cause__, asyncio.CancelledError)


async def test_send_of_fragments_cancelled_before_the_first_one_sends_nothing() -> None:
    async def items() -> AsyncIterator[str]:
        await asyncio.get_running_loop().create_future()
        yield ""

    async with connected() as (client, server):
        sending = asyncio.create_task(client.send(items()))
        await turns()
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        await client.send("still open")
        assert await server.recv() == "still open"


async def test_cancelled_ping_that_waits_for_room() -> None:
    async with connected({"write_limit": 2**16}, {"read_limit": 2**10}) as (client, server):
        sending = await _fill(client)
        pinging = asyncio.create_task(client.ping(b"?"))
        await turns()
        pinging.cancel()
        with pytest.raises(asyncio.CancelledError):
            await pinging
        for _ in range(client.statistics.messages_sent):
            await server.recv()
        await sending
        # The ping was accepted: its pong still counts.
        await (await client.ping())


# Closing


async def test_cancelled_close_goes_on_by_itself() -> None:
    async with raw_server() as (peer, client):
        closing = asyncio.create_task(client.close(1001, "bye"))
        assert await peer.read_frame() == Frame(CLOSE, close_payload(1001, "bye"))
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
        assert client.state is State.CLOSING
        await peer.send(Frame(CLOSE, close_payload(1001)))
        peer.end()
        await client.close()
        assert client.close_code == 1001


async def test_cancelled_wait_closed_cancels_nothing_else() -> None:
    async with connected() as (client, server):
        first, second = (asyncio.create_task(client.wait_closed()) for _ in range(2))
        await turns()
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        assert client.open
        await server.close()
        await second
        await client.wait_closed()


async def test_block_that_is_cancelled_is_left_at_once() -> None:
    # The server answers nothing: the closing handshake would take its whole deadline.
    async with raw_listener() as listener:
        ready = asyncio.Event()

        async def use() -> None:
            async with connect(listener.uri, close_timeout=600):
                ready.set()
                await asyncio.get_running_loop().create_future()

        using = asyncio.create_task(use())
        peer = await listener.accept_and_answer()
        await ready.wait()
        using.cancel()
        with pytest.raises(asyncio.CancelledError):
            await using
        assert await peer.read_frames_to_end() == [Frame(CLOSE, close_payload(1001))]


async def test_block_that_is_cancelled_while_it_closes_is_left_at_once() -> None:
    async with raw_listener() as listener:

        async def use() -> None:
            async with connect(listener.uri, close_timeout=600) as websocket:
                websockets.append(websocket)

        websockets: list[Connection] = []
        using = asyncio.create_task(use())
        peer = await listener.accept_and_answer()
        assert await peer.read_frame() == Frame(CLOSE, close_payload(1000))
        using.cancel()
        with pytest.raises(asyncio.CancelledError):
            await using
        assert await peer.read_to_end() == b""
        await websockets[0].wait_closed()


async def test_block_of_a_connection_that_is_cancelled_is_left_at_once() -> None:
    async with raw_listener() as listener:

        async def use() -> None:
            async with await connect(listener.uri, close_timeout=600) as websocket:
                await websocket.recv()

        using = asyncio.create_task(use())
        peer = await listener.accept_and_answer()
        await turns(10)
        using.cancel()
        with pytest.raises(asyncio.CancelledError):
            await using
        await peer.read_to_end()


async def test_block_that_is_cancelled_while_the_peer_does_not_read_is_left_at_once() -> None:
    async with raw_listener(receive_buffer=4096) as listener:
        connections: list[Connection] = []

        async def use() -> None:
            async with connect(listener.uri, close_timeout=600) as websocket:
                connections.append(websocket)
                while True:
                    await websocket.send(b"x" * 2**16)

        using = asyncio.create_task(use())
        await listener.accept_and_answer()
        await until(lambda: connections)
        await until_stable(lambda: connections[0].statistics.messages_sent)
        using.cancel()
        with pytest.raises(asyncio.CancelledError):
            await using
        await connections[0].wait_closed()


async def test_connect_cancelled_in_the_opening_handshake_closes_the_stream() -> None:
    async with raw_listener() as listener:
        connecting = asyncio.ensure_future(_connect(listener.uri))
        peer = await listener.accept()
        await peer.read_head()
        connecting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await connecting
        with contextlib.suppress(ConnectionResetError):
            assert await peer.read_to_end() == b""


async def _connect(uri: str) -> Connection:
    return await connect(uri)


async def test_handler_that_is_cancelled_closes_the_connection() -> None:
    async def handler(websocket: ServerConnection) -> None:
        tasks.append(asyncio.current_task())
        await websocket.recv()

    tasks: list[asyncio.Task[None] | None] = []
    async with serving(handler) as (server, _), raw_client(server) as peer:
        await until(lambda: tasks)
        assert tasks[0] is not None
        tasks[0].cancel()
        assert await peer.read_frames_to_end() == [Frame(CLOSE, close_payload(1001))]
        peer.close()
        await until(lambda: not server.connections)


async def test_handler_that_cancels_its_own_scope_goes_on() -> None:
    async def handler(websocket: ServerConnection) -> None:
        try:
            async with asyncio.timeout(0):
                await websocket.recv()
        except TimeoutError:
            await websocket.send("timeout")

    async with serving(handler) as (_, uri), connect(uri) as client:
        assert await client.recv() == "timeout"
        with pytest.raises(ConnectionClosedOK):
            await client.recv()


async def test_server_goes_on_after_a_cancelled_client() -> None:
    async with serving(wait_closed) as (server, uri):
        for _ in range(3):
            using = asyncio.create_task(_use(uri))
            await until(lambda: server.connections)
            using.cancel()
            with pytest.raises(asyncio.CancelledError):
                await using
            await until(lambda: not server.connections)
    async with serving() as (_, uri), connect(uri) as client:
        await client.send(b"x")
        assert await client.recv() == b"x"


async def _use(uri: str) -> None:
    async with connect(uri) as websocket:
        await websocket.recv()


async def test_binary_frame_with_an_empty_payload_wakes() -> None:
    async with raw_server() as (peer, client):
        receiving = asyncio.create_task(client.recv())
        await turns()
        await peer.send(Frame(BINARY))
        assert await receiving == b""
