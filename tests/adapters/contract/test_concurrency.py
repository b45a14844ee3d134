"""Concurrent use: one receives, any number send, ping and close."""

from __future__ import annotations

import pytest

from tests.adapters.runtimes import Runtime
from wsproto_core import ConcurrencyError, ConnectionClosed, ConnectionClosedOK


async def test_two_cannot_receive_at_the_same_time(runtime: Runtime) -> None:
    async with runtime.connected() as (client, server):
        tasks = [runtime.spawn(server.recv) for _ in range(2)]
        await runtime.until(lambda: any(task.done() for task in tasks))
        refused, receiving = sorted(tasks, key=lambda task: not task.done())
        with pytest.raises(ConcurrencyError, match="another") as raised:
            await refused.result()
        assert isinstance(raised.value, RuntimeError)
        # Whatever is tried while it waits.
        for call in (server.recv, lambda: anext(server), lambda: anext(server.recv_streaming())):
            with pytest.raises(ConcurrencyError):
                await call()
        assert not receiving.done()
        await client.send("for the first")
        assert await receiving.result() == "for the first"
        await client.send("for whoever comes next")
        assert await server.recv() == "for whoever comes next"


async def test_two_cannot_receive_when_one_receives_in_pieces(runtime: Runtime) -> None:
    async with runtime.connected() as (client, server):
        pieces = server.recv_streaming()
        tasks = [runtime.spawn(lambda: anext(pieces)), runtime.spawn(lambda: anext(server.recv_streaming()))]
        await runtime.until(lambda: any(task.done() for task in tasks))
        refused, receiving = sorted(tasks, key=lambda task: not task.done())
        with pytest.raises(ConcurrencyError):
            await refused.result()
        with pytest.raises(ConcurrencyError):
            await server.recv()
        await client.send("message")
        assert await receiving.result() == "message"
        await client.send("next")
        assert await server.recv() == "next"


async def test_who_waits_keeps_the_message_from_others(runtime: Runtime) -> None:
    async with runtime.connected() as (client, server):
        first = runtime.spawn(server.recv)
        await runtime.settle()
        await client.send("a")
        await client.send("b")
        assert await first.result() == "a"
        assert await server.recv() == "b"


async def test_messages_of_several_senders_are_not_mixed_up(runtime: Runtime) -> None:
    messages = {letter * 100_000 for letter in "abcdefgh"} | {bytes([number]) * 1000 for number in range(8)}
    async with runtime.connected() as (client, server):
        tasks = [runtime.spawn(client.send, message) for message in messages]
        assert {await server.recv() for _ in messages} == messages
        for task in tasks:
            await task.result()


async def test_both_ends_send_much_at_once(runtime: Runtime) -> None:
    # Each waits for the other to read: only because each also reads does this end.
    async def send(websocket: object) -> None:
        for number in range(100):
            await websocket.send(bytes([number]) * 2**15)  # type: ignore[attr-defined]

    async with runtime.connected(small_buffers=True) as (client, server):
        sending = [runtime.spawn(send, end) for end in (client, server)]

        async def receive(websocket: object) -> None:
            for number in range(100):
                message = await websocket.recv()  # type: ignore[attr-defined]
                assert message == bytes([number]) * 2**15

        receiving = [runtime.spawn(receive, end) for end in (client, server)]
        for task in (*sending, *receiving):
            await task.result()


async def test_echo_while_sending(runtime: Runtime) -> None:
    count = 300

    async def send() -> None:
        for number in range(count):
            await client.send(str(number))

    async with runtime.serving() as (_, uri), runtime.connect(uri) as client:
        sending = runtime.spawn(send)
        assert [await client.recv() for _ in range(count)] == [str(number) for number in range(count)]
        await sending.result()


async def test_close_wakes_who_waits_to_receive(runtime: Runtime) -> None:
    async with runtime.connected() as (client, _server):
        receiving = runtime.spawn(client.recv)
        await runtime.settle()
        await client.close()
        with pytest.raises(ConnectionClosedOK):
            await receiving.result()


async def test_close_wakes_everybody(runtime: Runtime) -> None:
    async def iterate() -> list[object]:
        return [message async for message in client]

    async with runtime.raw_server(close_timeout=0.2) as (_, client):
        waiting = [
            runtime.spawn(iterate),
            runtime.spawn(client.wait_closed),
            runtime.spawn(client.wait_closed),
        ]
        pings = [runtime.spawn(runtime.pong, await client.ping()) for _ in range(2)]
        await runtime.settle()
        await client.close()
        for ping in pings:
            with pytest.raises(ConnectionClosed):
                await ping.result()
        with pytest.raises(ConnectionClosed):
            await waiting[0].result()
        for task in waiting[1:]:
            await task.result()


async def test_several_close_at_once(runtime: Runtime) -> None:
    async with runtime.connected() as (client, server):
        tasks = [runtime.spawn(client.close, 3000 + number) for number in range(5)]
        tasks.append(runtime.spawn(server.close, 1001))
        for task in tasks:
            await task.result()
        assert client.closed
        assert server.closed
        assert {client.close_code, server.close_code} <= {1001, *range(3000, 3005)}


async def test_wait_closed_in_several_tasks(runtime: Runtime) -> None:
    async with runtime.connected() as (client, server):
        waiting = [runtime.spawn(end.wait_closed) for end in (client, client, server)]
        await runtime.settle()
        assert not any(task.done() for task in waiting)
        await client.close()
        for task in waiting:
            await task.result()


async def test_a_message_that_another_waiting_call_reads(runtime: Runtime) -> None:
    """The call that waits for the end reads the stream; the one that receives is told."""
    async with runtime.connected() as (client, server):
        ending = runtime.spawn(client.wait_closed)
        await runtime.settle(0.01)
        receiving = runtime.spawn(client.recv)
        await runtime.settle(0.01)
        await server.send("hello")
        assert await receiving.result() == "hello"
        await client.close()
        await ending.result()
