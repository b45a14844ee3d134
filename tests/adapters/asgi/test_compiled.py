"""The compiled awaitables of ``receive`` and ``send``: what coroutines of Python would do, they do, too."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections import UserDict
from collections.abc import Coroutine
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import adapters.asgi
import adapters.asyncio
import wsproto_core
from adapters.asgi import WebSocketProtocol
from adapters.asyncio import connect

from .serving import ACCEPT, Receive, Recorder, Send, echo, serving

compiled = pytest.mark.skipif(not wsproto_core.COMPILED, reason="the compiled half is not used")


@compiled
async def test_no_python_for_a_message() -> None:
    """An echoed message calls no function of this library that is written in Python, but resumes one."""
    modules = (wsproto_core, adapters.asyncio, adapters.asgi)
    folders = tuple(str(Path(str(module.__file__)).parent) for module in modules)
    async with serving(echo) as server, connect(server.uri(), compression=None) as client:
        called: list[str] = []

        def profile(frame: FrameType, event: str, _: object) -> None:
            if event == "call" and frame.f_code.co_filename.startswith(folders):
                called.append(frame.f_code.co_name)

        # The first message is received in Python, which makes the receive queue.
        for message, expected in (("first", None), ("x", ["_run"]), (b"x", ["_run"])):
            called.clear()
            sys.setprofile(profile)
            await client.send(message)
            assert await client.recv() == message
            sys.setprofile(None)
            assert expected is None or called == expected


class Text(str):
    pass


EVENTS: list[Any] = [
    {"type": "websocket.send", "text": "a"},
    {"type": "websocket.send", "text": "a", "bytes": None},
    {"bytes": b"a", "text": None, "type": "".join(["websocket.", "send"]), "more": 1},
    {"type": Text("websocket.send"), "text": Text("a")},
    {Text("type"): "websocket.send", Text("bytes"): bytearray(b"a")},
    UserDict({"type": "websocket.send", "text": "a"}),
]


async def test_forms_of_events() -> None:
    class App(Recorder):
        async def handle(self, event: dict[str, Any]) -> None:
            for each in EVENTS:
                assert await self.send(each) is None  # type: ignore[func-returns-value]

    async with serving(App()) as server, connect(server.uri()) as client:
        await client.send("go")
        expected = ["a" if event.get("text") else b"a" for event in EVENTS]
        assert [await client.recv() for _ in EVENTS] == expected


async def test_receive_after_accept() -> None:
    """The first event is ``websocket.connect``, also for an application that accepts before."""
    events = []

    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        await send(ACCEPT)
        events.extend([await receive(), await receive()])

    async with serving(app) as server, connect(server.uri()) as client:
        await client.send("a")
        await client.wait_closed()
    assert events == [{"type": "websocket.connect"}, {"type": "websocket.receive", "text": "a"}]


@pytest.mark.parametrize("configured", [False, True])
async def test_overridden_methods_are_called(configured: bool) -> None:
    called = []

    class Watched(WebSocketProtocol):
        async def recv(self, *args: Any) -> Any:
            called.append("recv")
            return await super().recv(*args)

        async def send(self, *args: Any) -> None:
            called.append("send")
            await super().send(*args)

    kind = Watched.configured(max_size=100) if configured else Watched
    async with serving(echo, ws=kind) as server, connect(server.uri()) as client:
        await client.send("a")
        assert await client.recv() == "a"
    assert called == ["recv", "send", "recv"]


async def test_end_while_a_task_receives_is_that_of_the_connection() -> None:
    """The application returns while a task of it receives: the task gets the code that was sent."""
    tasks = []

    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        tasks.append(asyncio.ensure_future(receive()))
        await asyncio.sleep(0)

    async with serving(app) as server, connect(server.uri()) as client:
        await client.wait_closed()
        event = await tasks[0]
    assert event == {"type": "websocket.disconnect", "code": 1000, "reason": ""}


async def test_never_awaited() -> None:
    class App(Recorder):
        async def handle(self, event: dict[str, Any]) -> None:
            for name, make in (("_receive_event", self.receive), ("_send_event", lambda: self.send(ACCEPT))):
                with pytest.warns(RuntimeWarning, match=rf"WebSocketProtocol\.{name}' was never awaited"):
                    assert isinstance(make(), Coroutine)
            await super().handle(event)

    async with serving(App()) as server, connect(server.uri()) as client:
        await client.send("a")
        assert await client.recv() == "a"


async def test_no_reference_is_lost_or_kept() -> None:
    message = b"x" * 100
    event = {"type": "websocket.send", "bytes": message}
    counts = []

    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        connection = scope["extensions"]["wsproto_core"]["connection"]
        while (await receive())["type"] == "websocket.receive":
            for _ in range(10):
                await send(event)
            gc.collect()
            counts.append(
                [sys.getrefcount(each) for each in (message, event, connection, connection.protocol)]
            )

    async with serving(app) as server, connect(server.uri(), compression=None) as client:
        for _ in range(20):
            await client.send("go")
            for _ in range(10):
                assert await client.recv() == message
    assert counts[5] == counts[-1]
