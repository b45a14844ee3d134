"""The compiled awaitables of a connection on asyncio: what a coroutine of Python would do, they do, too."""

from __future__ import annotations

import asyncio
import gc
import inspect
import sys
from collections.abc import Coroutine
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import adapters.asyncio
import wsproto_core
from adapters.asyncio import Connection, connect
from adapters.shared.asynchronous import AsyncConnection
from tests.adapters.runtimes import Runtime
from tests.adapters.runtimes.base import echo
from tests.core.helpers import TEXT, Frame
from tests.patching import replace_method

pytestmark = pytest.mark.skipif(not wsproto_core.COMPILED, reason="the compiled half is not used")


@pytest.mark.parametrize("name", ["recv", "send", "__anext__"])
def test_documentation(name: str) -> None:
    method, pure = getattr(Connection, name), getattr(AsyncConnection, name)
    assert method.__doc__ == pure.__doc__
    assert inspect.signature(method) == inspect.signature(pure)
    assert (method.__name__, method.__qualname__) == (pure.__name__, pure.__qualname__)


async def test_no_python_for_a_message(runtime: Runtime) -> None:
    """An echoed message calls no function of this library that is written in Python."""
    folders = tuple(str(Path(file).parent) for file in (wsproto_core.__file__, adapters.asyncio.__file__))
    async with runtime.serving(echo, compression=None) as (_, uri), connect(uri, compression=None) as client:
        called: list[str] = []

        def profile(frame: FrameType, event: str, _: object) -> None:
            if event == "call" and frame.f_code.co_filename.startswith(folders):
                called.append(frame.f_code.co_name)

        for _ in range(2):
            called.clear()
            sys.setprofile(profile)
            await client.send("x")
            assert await client.recv() == "x"
            sys.setprofile(None)
    assert called == []


async def test_awaited_once(runtime: Runtime) -> None:
    async with runtime.connected() as (client, server):
        for call in (client.send("a"), server.recv()):
            await call
            with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
                await call


async def test_never_awaited(runtime: Runtime) -> None:
    async with runtime.connected() as (client, _):
        makers = {"recv": client.recv, "send": lambda: client.send("a"), "__anext__": client.__anext__}
        for name, make in makers.items():
            with pytest.warns(RuntimeWarning, match=rf"'ClientConnection\.{name}' was never awaited"):
                assert isinstance(make(), Coroutine)  # type: ignore[operator]


async def test_closed_before_it_is_awaited(runtime: Runtime) -> None:
    async with runtime.connected() as (client, server):
        client.send("lost").close()
        server.recv().close()
        with pytest.raises(LookupError):
            server.recv().throw(LookupError())
        await client.send("kept")
        assert await server.recv() == "kept"


async def test_thrown_into_while_it_waits(runtime: Runtime) -> None:
    async with runtime.connected() as (client, server):
        for end in ("throw", "close", "collected"):
            call: Any = server.recv()
            call.send(None)
            with pytest.raises(wsproto_core.WebSocketException, match="another task is receiving"):
                await server.recv()
            if end == "throw":
                with pytest.raises(LookupError):
                    call.throw(LookupError())
            elif end == "close":
                call.close()
            else:
                del call
                gc.collect()
            await client.send(end)
            assert await server.recv() == end


async def test_thrown_into_with_too_much(runtime: Runtime) -> None:
    async with runtime.connected() as (_, server):
        for call in (server.recv(), server.send(["a"])):
            thrower: Any = call
            for arguments in ((), (LookupError, LookupError(), None, None)):
                with pytest.raises(TypeError):
                    thrower.throw(*arguments)
            call.close()


async def test_object_without_values(runtime: Runtime) -> None:
    """A subclass may call a method before ``__init__``: an error as in Python, and no crash."""
    connection = Connection.__new__(Connection)
    for call in (connection.recv(), connection.send("a"), anext(connection)):
        with pytest.raises(AttributeError):
            await call
    for name, arguments in (("buffer_updated", (1,)), ("get_buffer", (-1,)), ("_flush", ())):
        with pytest.raises(AttributeError):
            getattr(connection, name)(*arguments)


async def test_description_of_a_task(runtime: Runtime) -> None:
    async with runtime.connected() as (client, server):
        task = asyncio.create_task(server.recv())
        await asyncio.sleep(0)
        assert "ServerConnection.recv" in repr(task)
        task.print_stack()
        await client.send("a")
        assert await task == "a"


async def test_message_of_a_cancellation(runtime: Runtime) -> None:
    async with runtime.connected() as (_, server):
        task = asyncio.create_task(server.recv())
        await asyncio.sleep(0.01)
        task.cancel("enough")
        with pytest.raises(asyncio.CancelledError, match="enough"):
            await task


async def test_overridden_methods_are_called(runtime: Runtime) -> None:
    async with runtime.connected() as (client, server):
        taken = []
        next_message = server.protocol.next_message

        def watched() -> Any:
            taken.append(next_message())
            return taken[-1]

        replace_method(server.protocol, "next_message", watched)
        await client.send("a")
        assert await server.recv() == "a"
        assert "a" in taken


async def test_no_reference_is_lost_or_kept(runtime: Runtime) -> None:
    """Neither by echoes, nor by cancelled calls, nor by calls that go on in Python."""
    message = "x" * 100
    async with runtime.serving(echo) as (_, uri), connect(uri) as client:

        async def exchange() -> None:
            await client.send(message)
            assert await client.recv() == message
            await client.send([message, "b"])
            assert await client.recv() == message + "b"
            receiving = asyncio.create_task(client.recv())
            await asyncio.sleep(0)
            receiving.cancel()
            await asyncio.wait([receiving])

        def kept() -> tuple[int, int, int]:
            gc.collect()
            return sys.getrefcount(client), sys.getrefcount(message), sys.getrefcount(client.protocol)

        for _ in range(10):
            await exchange()
        before = kept()
        for _ in range(100):
            await exchange()
        after = kept()
    assert after == before


async def test_large_messages_in_one_write_and_in_many(runtime: Runtime) -> None:
    """What a socket does not take at once is left to the transport, in order."""
    messages = [bytes([number]) * (number * 50_000) for number in range(1, 30)]
    async with runtime.raw_server(write_limit=2**30, compression=None) as (peer, client):
        for message in messages:
            await client.send(message)
        await client.send("end")
        for message in messages:
            assert (await peer.read_frame()).payload == message
        assert await peer.read_frame() == Frame(TEXT, b"end")


async def test_tasks_written_in_python(runtime: Runtime) -> None:
    """They are resumed, and cancelled, as those of C."""
    loop = asyncio.get_running_loop()
    async with runtime.connected() as (client, server):
        task: Any = asyncio.tasks._PyTask(server.recv(), loop=loop)  # type: ignore[attr-defined]
        await asyncio.sleep(0)
        await client.send("a")
        assert await task == "a"
        task = asyncio.tasks._PyTask(server.recv(), loop=loop)  # type: ignore[attr-defined]
        await asyncio.sleep(0)
        task.cancel("enough")
        with pytest.raises(asyncio.CancelledError, match="enough"):
            await task
        await client.send("b")
        assert await server.recv() == "b"
