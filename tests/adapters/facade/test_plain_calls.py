"""``send``, ``ping`` and ``pong`` act when they are called, and return something to await."""

from __future__ import annotations

import asyncio
import gc
import threading
import types
from collections.abc import AsyncIterator, Generator, Iterator
from typing import Any
from unittest.mock import AsyncMock

import pytest

from adapters.websockets.client import connect
from adapters.websockets.exceptions import (
    ConnectionClosed,
    ConnectionClosedError,
    ConnectionClosedOK,
    InvalidState,
)
from adapters.websockets.server import WebSocketServerProtocol
from tests.adapters.event_loop import shrink_buffers, turns
from tests.adapters.runtimes import Runtime
from tests.adapters.runtimes.base import QUIET
from tests.core.helpers import BINARY, CLOSE, PING, PONG, TEXT, Frame, close_payload
from tests.patching import replace_method

from .peers import connected, serving


async def letters(*items: str) -> AsyncIterator[str]:
    for item in items:
        await asyncio.sleep(0)
        yield item


# Plain calls, as in programs of the first documentation


async def test_plain_calls_act_in_their_order(runtime: Runtime) -> None:
    async with runtime.raw_listener() as listener:
        connecting = asyncio.ensure_future(connect(listener.uri, **QUIET, close_timeout=0.2))
        peer = await listener.accept_and_answer()
        client: Any = await connecting
        client.send("a")
        client.ping("p")
        client.pong(b"q")
        client.send(b"b")
        frames = [await peer.read_frame() for _ in range(4)]
        assert [(frame.opcode, frame.payload) for frame in frames] == [
            (TEXT, b"a"),
            (PING, b"p"),
            (PONG, b"q"),
            (BINARY, b"b"),
        ]
        closing = asyncio.ensure_future(client.close())
        await peer.finish()
        peer.close()
        await closing


async def test_a_message_is_written_by_the_call() -> None:
    """Not when the event loop turns next: a program may be busy, or stop the loop."""
    async with connected({"compression": None}) as (client, server):
        before = client.protocol.statistics.bytes_sent
        client.send("x")
        assert client.protocol.statistics.bytes_sent > before
        assert await server.recv() == "x"


async def test_plain_calls_come_before_the_close_frame() -> None:
    async with connected() as (client, server):
        for number in range(100):
            client.send(str(number))
        closing = asyncio.ensure_future(client.close())
        assert [message async for message in server] == [str(number) for number in range(100)]
        await closing


async def test_plain_calls_in_a_handler_that_returns() -> None:
    async def handler(websocket: Any, path: str) -> None:
        websocket.send("Hello")
        websocket.send(path)

    async with serving(handler) as (_, uri), connect(uri + "x") as client:
        assert [message async for message in client] == ["Hello", "/x"]
        assert client.close_code == 1000


async def test_plain_call_of_the_event_loop() -> None:
    async with connected() as (client, server):
        loop = asyncio.get_running_loop()
        await asyncio.to_thread(loop.call_soon_threadsafe, client.send, "x")
        assert await server.recv() == "x"


async def test_answers_in_plain_calls_share_writes(runtime: Runtime) -> None:
    async def handler(websocket: Any, path: str) -> None:
        async for message in websocket:
            websocket.send(message)

    async with serving(handler, compression=None) as (server, _), runtime.raw_client(server) as client:
        (websocket,) = server.connections
        writes = 0
        take = websocket.protocol.data_to_send

        def data_to_send() -> list[bytes]:
            nonlocal writes
            buffers: list[bytes] = take()
            writes += bool(buffers)
            return buffers

        replace_method(websocket.protocol, "data_to_send", data_to_send)
        await client.send(*[Frame(TEXT, b"x")] * 32)
        for _ in range(32):
            await client.read_frame()
        assert writes < 16


# What is returned


async def test_it_is_awaited() -> None:
    async with connected() as (client, server):
        sending: Any = client.send("x")
        assert await server.recv() == "x"
        assert await sending is None
        with pytest.raises(RuntimeError, match="already awaited"):
            await sending


async def test_it_is_made_a_task() -> None:
    async with connected() as (client, server):
        await asyncio.create_task(client.send("a"))
        await asyncio.ensure_future(client.send("b"))
        await asyncio.wait_for(client.send("c"), 10)
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(client.send("d"))
            assert "Called" in repr(task)
            ping = tasks.create_task(client.ping())
        assert isinstance(ping.result(), asyncio.Future)
        await asyncio.gather(client.send("e"), client.pong(), client.send(["f", "g"]))
        assert [await server.recv() for _ in range(6)] == ["a", "b", "c", "d", "e", "fg"]


async def test_it_can_be_yielded_from() -> None:
    async with connected() as (client, server):

        @types.coroutine
        def program() -> Generator[Any, Any, str]:
            yield from client.send("x")
            waiter = yield from client.ping()
            yield from waiter
            message: str = yield from server.recv()
            return message

        assert await program() == "x"


async def test_a_task_that_is_cancelled_before_it_begins_has_sent_all() -> None:
    async with connected() as (client, server):
        asyncio.create_task(client.send("x")).cancel()
        sending: Any = client.send("y")
        sending.close()
        await turns()
        assert [await server.recv() for _ in range(2)] == ["x", "y"]


async def test_overriding() -> None:
    """A class that awaits what it overrides works as ever."""

    class Shouting(WebSocketServerProtocol):
        async def send(self, message: Any) -> None:  # type: ignore[override]
            await super().send(message.upper())

    async def handler(websocket: Any, path: str) -> None:
        await websocket.send("hello")

    async with serving(handler, create_protocol=Shouting) as (_, uri), connect(uri) as client:
        assert await client.recv() == "HELLO"


@pytest.mark.parametrize("name", ["send", "ping", "pong", "recv", "close"])
async def test_fakes_of_a_connection_can_be_awaited(name: str) -> None:
    fake = AsyncMock(spec=WebSocketServerProtocol)
    assert await getattr(fake, name)("x") is not None


# Other threads


async def test_other_threads() -> None:
    """Nothing is done there: a coroutine is returned, for the thread of the event loop."""
    async with connected() as (client, server):
        loop = asyncio.get_running_loop()
        where = []
        send = client.protocol.send

        def watched(*args: Any, **options: Any) -> None:
            where.append(threading.current_thread())
            send(*args, **options)

        replace_method(client.protocol, "send", watched)

        def other_thread() -> None:
            asyncio.run_coroutine_threadsafe(client.send("x"), loop).result()
            waiter = asyncio.run_coroutine_threadsafe(client.ping(), loop).result()
            assert isinstance(waiter, asyncio.Future)
            asyncio.run_coroutine_threadsafe(client.pong(), loop).result()
            asyncio.run_coroutine_threadsafe(client.send(["a", "b"]), loop).result()
            sending = client.send("never awaited")
            with pytest.warns(RuntimeWarning, match="was never awaited"):
                del sending
            asyncio.run(other_loop())

        async def other_loop() -> None:
            asyncio.run_coroutine_threadsafe(client.send("y"), loop).result()

        await asyncio.to_thread(other_thread)
        assert set(where) == {threading.current_thread()}
        assert [await server.recv() for _ in range(3)] == ["x", "ab", "y"]


# Errors


@pytest.mark.parametrize("message", [None, 1, {"a": "b"}])
async def test_mistakes_are_told_by_the_call(message: Any) -> None:
    async with connected() as (client, _):
        with pytest.raises(TypeError):
            client.send(message)
        with pytest.raises(UnicodeDecodeError):
            client.send(b"\xff", text=True)
        with pytest.raises(ValueError, match="125"):
            client.ping(b"x" * 126)
        with pytest.raises(ValueError, match="125"):
            client.pong(b"x" * 126)
        client.ping("same")
        with pytest.raises(ValueError, match="same"):
            client.ping("same")
        assert client.open


async def test_too_early() -> None:
    with pytest.raises(InvalidState):
        WebSocketServerProtocol(print).send("x")


async def test_nobody_awaits_that_the_connection_is_closed() -> None:
    """The second plain call raises: a loop of them ends."""
    async with connected() as (client, server):
        await server.close()
        await client.wait_closed()
        calls = (lambda: client.send("x"), client.ping, client.pong)
        for call in calls:
            call()
            with pytest.raises(ConnectionClosedOK):
                call()
        # Whoever awaits it is told by awaiting, as long as nothing has been dropped.
        for call in calls:
            result = call()
            with pytest.raises(ConnectionClosedOK):
                await result


@pytest.mark.parametrize("task", [False, True])
async def test_who_has_been_told_is_not_told_by_the_next_call(task: bool) -> None:
    async with connected() as (client, server):
        await server.close()
        await client.wait_closed()
        for _ in range(2):
            sending = client.send("x")
            with pytest.raises(ConnectionClosedOK):
                await (asyncio.create_task(sending) if task else sending)
            del sending
            await turns()
            gc.collect()


async def test_a_loop_of_plain_calls_ends() -> None:
    ended = asyncio.Event()

    async def handler(websocket: Any, path: str) -> None:
        try:
            while True:
                websocket.send("x")
                await asyncio.sleep(0)
        except ConnectionClosed:
            ended.set()
            raise

    async with serving(handler) as (_, uri):
        async with connect(uri) as client:
            await client.recv()
        await ended.wait()


async def test_one_of_many_is_closed() -> None:
    """Messages to all: the call must not fail for those that come after it."""
    async with connected() as (closed, other_end), connected() as (client, server):
        await other_end.close()
        await closed.wait_closed()
        results = await asyncio.gather(
            *[websocket.send("x") for websocket in (closed, client)], return_exceptions=True
        )
        assert [type(result) for result in results] == [ConnectionClosedOK, type(None)]
        assert await server.recv() == "x"
        tasks = {asyncio.create_task(websocket.send("y")) for websocket in (closed, client)}
        done, _ = await asyncio.wait(tasks)
        errors = [task.exception() for task in done]
        assert sorted(type(error).__name__ for error in errors) == ["ConnectionClosedOK", "NoneType"]
        assert await server.recv() == "y"


# Backpressure


async def test_awaiting_waits_for_room_and_the_call_does_not() -> None:
    options = {"compression": None, "write_limit": 2**14, "read_limit": 2**14, "max_size": None}
    async with connected(options, options) as (client, server):
        shrink_buffers(client, server)
        message = b"x" * 2**18
        for _ in range(8):
            client.send(message)
        waiting = asyncio.ensure_future(client.send(b"last"))
        await asyncio.sleep(0.2)
        assert not waiting.done()
        for _ in range(8):
            assert await server.recv() == message
        assert await server.recv() == b"last"
        await waiting


async def test_awaiting_ends_when_the_connection_does() -> None:
    options = {"compression": None, "write_limit": 2**14, "read_limit": 2**14, "max_size": None}
    async with connected(options, options) as (client, server):
        shrink_buffers(client, server)
        waiting = asyncio.ensure_future(client.send(b"x" * 2**24))
        await turns()
        server.transport.abort()
        with pytest.raises(ConnectionClosedError):
            await waiting


# Fragments


async def test_fragments_are_sent_without_being_awaited(runtime: Runtime) -> None:
    async with connected() as (client, server):
        client.send(["a", "b"])
        client.send(letters("c", "d"))
        client.send("e")
        assert [await server.recv() for _ in range(3)] == ["ab", "cd", "e"]
        await runtime.until(lambda: not client._sending)


async def test_what_is_sent_within_fragments_waits_for_its_turn(runtime: Runtime) -> None:
    go_on = asyncio.Event()

    async def items() -> AsyncIterator[str]:
        yield "a"
        await go_on.wait()
        yield "b"

    async with connected() as (client, server):
        client.send(items())
        client.send("c")
        last = asyncio.ensure_future(client.send("d"))
        # A ping need not wait (RFC 6455 section 5.4).
        await (await client.ping())
        assert not last.done()
        go_on.set()
        assert [await server.recv() for _ in range(3)] == ["ab", "c", "d"]
        await last


async def test_backpressure_within_fragments() -> None:
    taken = 0

    def items() -> Iterator[bytes]:
        nonlocal taken
        for _ in range(64):
            taken += 1
            yield b"x" * 2**15

    options = {"compression": None, "write_limit": 2**14, "read_limit": 2**14, "max_size": None}
    async with connected(options, options) as (client, server):
        shrink_buffers(client, server)
        client.send(items())
        await asyncio.sleep(0.2)
        assert taken < 64
        assert len(await server.recv()) == 2**21


async def test_cancelling_fragments_fails_the_connection() -> None:
    async def items() -> AsyncIterator[str]:
        yield "a"
        await asyncio.Event().wait()

    async with connected() as (client, server):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.send(items()), 0.2)
        with pytest.raises(ConnectionClosedError):
            await server.recv()
        assert server.close_code == 1011


async def test_error_in_fragments_that_nobody_awaits(runtime: Runtime) -> None:
    def items() -> Iterator[str]:
        yield "a"
        raise KeyError("wrong")

    told: list[Any] = []
    loop = asyncio.get_running_loop()
    async with connected() as (client, server):
        handler = loop.get_exception_handler()
        loop.set_exception_handler(lambda loop, context: told.append(context))
        try:
            client.send(items())
            with pytest.raises(ConnectionClosedError):
                await client.recv()
            await client.wait_closed()
            await runtime.until(lambda: gc.collect() >= 0 and told)
        finally:
            loop.set_exception_handler(handler)
        assert isinstance(told[0]["exception"], KeyError)
        assert server.close_code == 1011
        # Those that come later tell why.
        with pytest.raises(ConnectionClosedError) as raised:
            await client.send("x")
        assert isinstance(raised.value.__cause__, KeyError)


async def test_fragments_on_a_closed_connection() -> None:
    async with connected() as (client, server):
        await server.close()
        await client.wait_closed()
        # Nothing is logged that nobody has retrieved the exception of a task.
        client.send(["a", "b"])
        client.send(letters("a"))
        with pytest.raises(ConnectionClosedOK):
            await client.send(["a"])


async def test_connection_that_is_closed_within_fragments(runtime: Runtime) -> None:
    async def items() -> AsyncIterator[str]:
        yield "a"
        await asyncio.sleep(0.2)
        yield "b"

    async with connected() as (client, server):
        client.send(items())
        last = asyncio.ensure_future(client.send("c"))
        await turns()
        await server.close()
        with pytest.raises(ConnectionClosed):
            await last
        await runtime.until(lambda: not client._sending)


# A close frame of the client's is sent after plain calls.


async def test_close_is_the_last_frame(runtime: Runtime) -> None:
    async with runtime.raw_listener() as listener:
        connecting = asyncio.ensure_future(connect(listener.uri, **QUIET, close_timeout=0.2))
        peer = await listener.accept_and_answer()
        client: Any = await connecting
        client.send("a")
        closing = asyncio.ensure_future(client.close())
        frames = [await peer.read_frame() for _ in range(2)]
        assert [frame.opcode for frame in frames] == [TEXT, CLOSE]
        await peer.send(Frame(CLOSE, close_payload(1000)))
        peer.close()
        await closing
