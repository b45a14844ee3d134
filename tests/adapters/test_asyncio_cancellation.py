"""Cancelling and waking, turn by turn of the event loop: no message is lost, every task stays itself."""

from __future__ import annotations

import asyncio
import contextvars
import random
from collections.abc import Coroutine
from typing import Any

import pytest

from adapters.asyncio import Connection, ServerConnection, connect
from tests.adapters.runtimes import Runtime
from tests.core.helpers import CLOSE, PONG, Frame, close_payload
from wsproto_core import ConnectionClosedError, State

from .event_loop import turns


@pytest.mark.parametrize("how", ["wait_for", "timeout", "wait"])
async def test_timeouts_of_recv_lose_no_message(runtime: Runtime, how: str) -> None:
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

    async with runtime.connected() as (client, server):
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


@pytest.mark.parametrize("turns_before", range(20))
async def test_cancelling_connect_around_the_moment_when_the_socket_is_connected(
    runtime: Runtime, turns_before: int
) -> None:
    async def use(uri: str) -> None:
        async with connect(uri, open_timeout=1):
            pass

    async with runtime.raw_listener() as listener:
        opening = asyncio.create_task(use(listener.uri))
        await turns(turns_before)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening


@pytest.mark.parametrize("turns_before", range(6))
async def test_cancelling_recv_around_the_arrival_of_a_message_loses_nothing(
    runtime: Runtime, turns_before: int
) -> None:
    async with runtime.connected() as (client, server):
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


async def test_cancelling_recv_when_it_has_been_woken_but_not_run(runtime: Runtime) -> None:
    # Woken from within a task, it cannot run at once.
    async with runtime.connected() as (_client, server):
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


async def test_message_that_arrives_when_recv_has_been_cancelled_but_not_run(runtime: Runtime) -> None:
    async with runtime.connected() as (_client, server):
        receiving = asyncio.create_task(server.recv())
        await turns()
        receiving.cancel()
        _feed(server, b"\x81\x81\0\0\0\0a")
        with pytest.raises(asyncio.CancelledError):
            await receiving
        assert await server.recv() == "a"


async def _run_in_group(*coroutines: Coroutine[Any, Any, Any]) -> None:
    async with asyncio.TaskGroup() as tasks:
        for coroutine in coroutines:
            tasks.create_task(coroutine)


async def test_gather_and_task_group(runtime: Runtime) -> None:
    async with runtime.connected() as (client, server):
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


async def test_calls_are_coroutines(runtime: Runtime) -> None:
    # wait_for, gather and create_task want them, and take nothing that only looks like a future.
    async with runtime.connected() as (client, server):
        for call in (server.recv(), client.send("a"), client.ping(), client.pong(), client.wait_closed()):
            assert asyncio.iscoroutine(call)
            call.close()


async def test_cancelling_a_pong_waiter_has_no_effect(runtime: Runtime) -> None:
    async with runtime.raw_server() as (peer, client):
        first, second = await client.ping(b"1"), await client.ping(b"2")
        first.cancel()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(second, 0.2)
        third = await client.ping(b"3")
        await peer.send(Frame(PONG, b"1"), Frame(PONG, b"2"), Frame(PONG, b"3"))
        await third
        assert client.state is State.OPEN


# Waking


async def test_waiting_task_keeps_its_context(runtime: Runtime) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")
    seen = []

    async def receive(websocket: Connection, name: str) -> None:
        variable.set(name)
        async for _ in websocket:
            seen.append(variable.get())
            variable.set(variable.get() + "'")

    async with runtime.connected() as (client, server):
        variable.set("test")
        tasks = [
            asyncio.create_task(receive(server, "server")),
            asyncio.create_task(receive(client, "client")),
        ]
        await turns()
        for _ in range(3):
            await client.send("a")
            await server.send("b")
            await runtime.settle(0.01)
        assert sorted(seen) == ["client", "client'", "client''", "server", "server'", "server''"]
        assert variable.get() == "test"
        await client.close()
        await asyncio.gather(*tasks)


async def test_current_task_of_a_woken_task_is_itself(runtime: Runtime) -> None:
    async with runtime.connected() as (client, server):

        async def receive() -> tuple[str | bytes, asyncio.Task[object] | None]:
            return await server.recv(), asyncio.current_task()

        receiving = asyncio.create_task(receive())
        await turns()
        await client.send("a")
        assert await receiving == ("a", receiving)


async def test_task_in_a_context_that_is_entered_already_is_woken_later(runtime: Runtime) -> None:
    context = contextvars.copy_context()
    async with runtime.connected() as (_client, server):
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


async def test_error_in_a_woken_task_stays_there(runtime: Runtime) -> None:
    async with runtime.connected() as (client, server):

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


async def test_woken_task_may_close_the_connection(runtime: Runtime) -> None:
    async with runtime.connected() as (client, server):

        async def receive() -> None:
            await server.recv()
            await server.close(1001)

        receiving = asyncio.create_task(receive())
        await turns()
        await client.send("a")
        await client.send("b")
        await receiving
        assert client.close_code == 1001


async def test_woken_task_may_abort_the_transport(runtime: Runtime) -> None:
    async with runtime.connected() as (client, server):

        async def receive() -> None:
            await server.recv()
            server.transport.abort()

        receiving = asyncio.create_task(receive())
        await turns()
        await client.send("a")
        await receiving
        with pytest.raises(ConnectionClosedError):
            await client.recv()


async def test_woken_task_may_use_other_connections(runtime: Runtime) -> None:
    # A proxy: what one connection receives is sent on by another, within the read callback.
    async def forward(source: Connection, target: Connection) -> None:
        async for message in source:
            await target.send(message)
        await target.close()

    async with runtime.serving() as (_, uri):

        async def proxy(websocket: ServerConnection) -> None:
            async with connect(uri) as upstream, asyncio.TaskGroup() as tasks:
                tasks.create_task(forward(websocket, upstream))
                tasks.create_task(forward(upstream, websocket))

        async with runtime.serving(proxy) as (_, proxy_uri), connect(proxy_uri) as client:
            for number in range(100):
                await client.send(str(number))
            assert [await client.recv() for _ in range(100)] == [str(number) for number in range(100)]


# Sending


# Closing


async def test_handler_that_is_cancelled_closes_the_connection(runtime: Runtime) -> None:
    async def handler(websocket: ServerConnection) -> None:
        tasks.append(asyncio.current_task())
        await websocket.recv()

    tasks: list[asyncio.Task[None] | None] = []
    async with runtime.serving(handler) as (server, _), runtime.raw_client(server) as peer:
        await runtime.until(lambda: tasks)
        assert tasks[0] is not None
        tasks[0].cancel()
        assert await peer.read_frames_to_end() == [Frame(CLOSE, close_payload(1001))]
        peer.close()
        await runtime.until(lambda: not server.connections)


async def test_a_ping_that_nobody_waits_for_any_more(runtime: Runtime) -> None:
    async with runtime.connected() as (client, server):
        server.transport.pause_reading()
        waiter = await client.ping()
        waiter.cancel()
        client.abort()
        await client.wait_closed()
        assert waiter.cancelled()
        server.transport.resume_reading()
