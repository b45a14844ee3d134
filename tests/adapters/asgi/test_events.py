"""The events of an open connection: messages, the end, and errors of ``send``."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import pytest
import websockets.asyncio.client

from adapters.asgi import WebSocketProtocol
from adapters.asyncio import ConnectionClosed, ConnectionClosedError, connect
from tests.adapters.event_loop import block
from tests.adapters.runtimes import Runtime
from tests.adapters.runtimes.base import client_context
from tests.core.helpers import BINARY, CLOSE, CONTINUATION, PING, TEXT, Frame, close_payload

from .serving import ACCEPT, TLS, Receive, Recorder, Send, serving

MESSAGES: list[str | bytes] = ["text", b"bytes", "", b"", "é\U0001f600" * 1000, bytes(200_000)]


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("compression", ["deflate", None])
async def test_messages(http: str, tls: bool, compression: Any) -> None:
    app = Recorder()
    options: Any = {"ssl": client_context()} if tls else {}
    async with (
        serving(app, http=http, **(TLS if tls else {})) as server,
        connect(server.uri(scheme="wss" if tls else "ws"), compression=compression, **options) as client,
    ):
        for message in MESSAGES:
            await client.send(message)
            assert await client.recv() == message
    expected = [
        {"type": "websocket.receive", "text" if isinstance(message, str) else "bytes": message}
        for message in MESSAGES
    ]
    assert app.events == [
        {"type": "websocket.connect"},
        *expected,
        {"type": "websocket.disconnect", "code": 1000, "reason": ""},
    ]


async def test_client_of_websockets(http: str) -> None:
    app = Recorder(subprotocol="chat")
    async with (
        serving(app, http=http) as server,
        websockets.asyncio.client.connect(server.uri(), subprotocols=["chat"]) as client,
    ):
        assert client.subprotocol == "chat"
        assert [extension.name for extension in client.protocol.extensions] == ["permessage-deflate"]
        for message in MESSAGES:
            await client.send(message)
            assert await client.recv() == message
        await client.send(["a", "b", "c"])
        assert await client.recv() == "abc"
        await (await client.ping())
        await client.close(4321, "reason")
    assert app.events[-1] == {"type": "websocket.disconnect", "code": 4321, "reason": "reason"}


async def test_bytes_like() -> None:
    class App(Recorder):
        async def handle(self, event: dict[str, Any]) -> None:
            data = event["bytes"]
            for message in (bytearray(data), memoryview(data)):
                await self.send({"type": "websocket.send", "bytes": message, "text": None})

    async with serving(App()) as server, connect(server.uri()) as client:
        await client.send(b"abc")
        assert [await client.recv(), await client.recv()] == [b"abc", b"abc"]


@pytest.mark.parametrize(
    ("event", "error"),
    [
        ({}, "must have bytes, or text of type str, not None"),
        ({"text": None, "bytes": None}, "must have bytes, or text"),
        ({"text": b"bytes"}, "must have bytes, or text"),
        ({"bytes": "text"}, "must be bytes-like, not 'text'"),
        ({"bytes": [b"fragment"]}, "must be bytes-like"),
    ],
)
async def test_message_of_another_type(event: dict[str, Any], error: str) -> None:
    class App(Recorder):
        async def handle(self, received: dict[str, Any]) -> None:
            with pytest.raises(TypeError, match=error):
                await self.send({"type": "websocket.send", **event})
            await super().handle(received)

    async with serving(App()) as server, connect(server.uri()) as client:
        await client.send("a")
        assert await client.recv() == "a"


# The end


@pytest.mark.parametrize(
    ("end", "event"),
    [
        ([Frame(CLOSE, close_payload(1000, "done"))], {"code": 1000, "reason": "done"}),
        ([Frame(CLOSE, close_payload(4000))], {"code": 4000, "reason": ""}),
        ([Frame(CLOSE)], {"code": 1005, "reason": ""}),
        # Its own faults: the code that it was told.
        ([Frame(TEXT, b"\xff")], {"code": 1007}),
        ([Frame(CONTINUATION, b"a")], {"code": 1002}),
        ([Frame(BINARY, bytes(101))], {"code": 1009}),
        # The connection is lost.
        (None, {"code": 1006}),
        ([Frame(TEXT, b"a", fin=False)], {"code": 1006}),
    ],
)
async def test_disconnect(runtime: Runtime, end: list[Frame] | None, event: dict[str, Any]) -> None:
    app = Recorder()
    async with serving(app, ws_max_size=100) as server, runtime.raw_client(server) as client:
        await client.send(Frame(TEXT, b"first"))
        assert await client.read_frame() == Frame(TEXT, b"first")
        if end:
            await client.send(*end)
        if event["code"] == 1006:
            client.end()
        got = await app.end()
    if "reason" not in event:
        got.pop("reason", None)
    assert got == {"type": "websocket.disconnect", **event}
    assert type(got["code"]) is int


async def test_reset_is_1006(runtime: Runtime) -> None:
    app = Recorder()
    async with serving(app) as server, runtime.raw_client(server) as client:
        client.reset()
        assert await app.end() == {"type": "websocket.disconnect", "code": 1006}


async def test_client_that_does_not_answer_pings_is_1006(runtime: Runtime) -> None:
    app = Recorder()
    async with (
        serving(app, ws_ping_interval=0.2, ws_ping_timeout=0.3) as server,
        runtime.raw_client(server) as client,
    ):
        assert (await client.read_frame()).opcode == PING
        while (frame := await client.read_frame()).opcode == PING:
            pass
        assert frame == Frame(CLOSE, close_payload(1011, "keepalive ping timeout"))
        assert await app.end() == {"type": "websocket.disconnect", "code": 1006}


async def test_messages_before_the_end_are_received() -> None:
    class App(Recorder):
        async def handle(self, event: dict[str, Any]) -> None:
            await closed.wait()
            await super().handle(event)

    app, closed = App(), asyncio.Event()
    async with serving(app) as server, connect(server.uri()) as client:
        for message in "abc":
            await client.send(message)
        closing = asyncio.create_task(client.close(1000, "done"))
        await asyncio.sleep(0.1)
        closed.set()
        # Answers to what came before the close frame still arrive.
        assert [await client.recv() for _ in "abc"] == ["a", "b", "c"]
        await closing
    assert [event.get("text") for event in app.events[1:]] == ["a", "b", "c", None]
    assert app.events[-1] == {"type": "websocket.disconnect", "code": 1000, "reason": "done"}


async def test_the_end_is_told_as_often_as_it_is_asked_for() -> None:
    class App(Recorder):
        async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
            await super().__call__(scope, receive, send)
            for _ in range(3):
                self.events.append(await receive())

    app = App()
    async with serving(app) as server, connect(server.uri()) as client:
        await client.close(4000, "reason")
    assert app.events[1:] == [{"type": "websocket.disconnect", "code": 4000, "reason": "reason"}] * 4


@pytest.mark.parametrize(
    ("event", "code", "reason"),
    [
        ({}, 1000, ""),
        ({"code": None, "reason": None}, 1000, ""),
        ({"code": 4000}, 4000, ""),
        ({"code": 1001, "reason": "é" * 61}, 1001, "é" * 61),
    ],
)
async def test_application_closes(event: dict[str, Any], code: int, reason: str) -> None:
    class App(Recorder):
        async def handle(self, received: dict[str, Any]) -> None:
            await self.send({"type": "websocket.send", "text": "last"})
            await self.send({"type": "websocket.close", **event})
            for kind in ("websocket.send", "websocket.close", "websocket.accept"):
                with pytest.raises(RuntimeError, match=r"after sending 'websocket\.close'"):
                    await self.send({"type": kind, "text": "a"})

    app = App()
    async with serving(app) as server, connect(server.uri()) as client:
        await client.send("a")
        assert await client.recv() == "last"
        with pytest.raises(ConnectionClosed):
            await client.recv()
        assert (client.close_code, client.close_reason) == (code, reason)
    assert app.events[-1] == {"type": "websocket.disconnect", "code": code, "reason": reason}


@pytest.mark.parametrize("event", [{"code": 1006}, {"code": 999}, {"reason": "é" * 62}])
async def test_close_that_is_not_allowed(event: dict[str, Any]) -> None:
    class App(Recorder):
        async def handle(self, received: dict[str, Any]) -> None:
            with pytest.raises(ValueError, match=r"^close (code|reason)"):
                await self.send({"type": "websocket.close", **event})
            await super().handle(received)

    async with serving(App()) as server, connect(server.uri()) as client:
        await client.send("a")
        assert await client.recv() == "a"


async def test_unexpected_event_after_accept() -> None:
    class App(Recorder):
        async def handle(self, received: dict[str, Any]) -> None:
            for kind in ("websocket.accept", "websocket.http.response.start", "unknown"):
                with pytest.raises(RuntimeError, match=f"'websocket.close' but got '{kind}'"):
                    await self.send({"type": kind})
            await super().handle(received)

    async with serving(App()) as server, connect(server.uri()) as client:
        await client.send("a")
        assert await client.recv() == "a"


async def test_close_after_the_end_does_nothing(caplog: pytest.LogCaptureFixture) -> None:
    class App(Recorder):
        async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
            await super().__call__(scope, receive, send)
            for _ in range(2):
                await send({"type": "websocket.close", "code": 1011})
            self.events.append(await receive())

    app = App()
    async with serving(app) as server, connect(server.uri()) as client:
        await client.close(4000)
        assert client.close_code == 4000
    assert app.events[1:] == [{"type": "websocket.disconnect", "code": 4000, "reason": ""}] * 2
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


async def test_send_after_the_end_is_an_os_error() -> None:
    errors: list[OSError] = []

    class App(Recorder):
        async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
            await super().__call__(scope, receive, send)
            for _ in range(2):
                with pytest.raises(OSError, match="the connection is closed") as raised:
                    await send({"type": "websocket.send", "text": "a"})
                errors.append(raised.value)
            await send({"type": "websocket.send", "text": "a"})

    async with serving(App()) as server, connect(server.uri()):
        pass
    assert [type(error).__name__ for error in errors] == ["ClientDisconnected"] * 2


async def test_client_disconnected_is_no_error_in_the_log(
    runtime: Runtime, caplog: pytest.LogCaptureFixture
) -> None:
    class App(Recorder):
        async def handle(self, event: dict[str, Any]) -> None:
            while True:
                await super().handle(event)

    async with serving(App()) as server, runtime.raw_client(server) as client:
        await client.send(Frame(TEXT, b"a"))
        await client.read_frame()
        client.reset()
        await runtime.until(lambda: not server.tasks)
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


# The end of the application


async def failing(send: Send) -> None:
    raise LookupError("oops")


async def returning(send: Send) -> None:
    pass


async def returning_something(send: Send) -> Any:
    return 123


@pytest.mark.parametrize(
    ("end", "code", "logged"),
    [
        (failing, 1011, ["Exception in ASGI application\n"]),
        (returning, 1000, []),
        (returning_something, 1011, ["ASGI callable should return None, but returned '123'."]),
    ],
)
async def test_end_of_the_application(
    end: Callable[..., Any], code: int, logged: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> Any:
        await send(ACCEPT)
        await send({"type": "websocket.send", "text": "last"})
        return await end(send)

    async with serving(app) as server:
        client = await connect(server.uri())
        assert await client.recv() == "last"
        await client.wait_closed()
        assert client.close_code == code
    assert [each.getMessage() for each in caplog.records if each.levelname == "ERROR"] == logged


async def test_last_message_and_close_frame_arrive_although_the_client_sends(runtime: Runtime) -> None:
    """Unread bytes would turn the end of TCP into a reset, and what was sent last would be lost."""

    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        await send(ACCEPT)
        await receive()
        await receive()
        await send({"type": "websocket.send", "bytes": bytes(2**18)})

    async with serving(app) as server, runtime.raw_client(server, small_buffers=True) as client:
        await client.send(Frame(BINARY, bytes(1000)))
        await asyncio.sleep(0.1)
        await client.send(*[Frame(BINARY, bytes(1000))] * 20)
        assert len((await client.read_frame()).payload) == 2**18
        assert await client.read_frame() == Frame(CLOSE, close_payload(1000))


# Backpressure and keepalive


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_send_waits_while_the_client_does_not_read(runtime: Runtime, tls: bool) -> None:
    sent = 0
    size, count = 2**16, 256

    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        nonlocal sent
        await send(ACCEPT)
        for _ in range(count):
            await send({"type": "websocket.send", "bytes": bytes(size)})
            sent += 1
        await receive()
        await receive()

    async with (
        serving(app, **(TLS if tls else {})) as server,
        runtime.raw_client(server, small_buffers=True, tls=tls) as client,
    ):
        await runtime.until_stable(lambda: sent)
        (connection,) = server.connections
        held = connection.protocol.queued + connection.protocol.unwritten
        assert sent < count
        assert held <= 2**16 + size + 1024
        for _ in range(count):
            assert len((await client.read_frame()).payload) == size
        await client.finish()


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_send_that_waits_fails_when_the_client_has_gone(runtime: Runtime, tls: bool) -> None:
    errors: list[BaseException] = []

    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        await send(ACCEPT)
        try:
            while True:
                await send({"type": "websocket.send", "bytes": bytes(2**16)})
        except OSError as error:
            errors.append(error)

    async with (
        serving(app, **(TLS if tls else {})) as server,
        runtime.raw_client(server, small_buffers=True, tls=tls) as client,
    ):
        (connection,) = server.connections
        await runtime.until(lambda: not connection.protocol.writable)
        client.reset()
        await runtime.until(lambda: errors)
        await runtime.until(lambda: not server.connections)


async def test_application_that_does_not_receive_stops_the_client(runtime: Runtime) -> None:
    finish = asyncio.Event()

    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        await send(ACCEPT)
        await finish.wait()

    async with serving(app, ws_max_queue=4) as server, runtime.raw_client(server) as client:
        await client.send(*[Frame(TEXT, b"a")] * 10)
        (connection,) = server.connections
        await runtime.until(lambda: not connection.protocol.wants_read)
        assert connection.protocol.undelivered >= 4
        finish.set()
        assert await client.read_frame() == Frame(CLOSE, close_payload(1000))


async def test_pongs_are_seen_while_the_application_works(runtime: Runtime) -> None:
    """Also when the application blocks the event loop, and when messages wait."""
    go_on = asyncio.Event()

    class App(Recorder):
        async def handle(self, event: dict[str, Any]) -> None:
            await go_on.wait()
            await super().handle(event)

    async with (
        serving(App(), ws_ping_interval=0.2, ws_ping_timeout=0.4, ws_max_queue=1) as server,
        connect(server.uri(), ping_interval=None) as client,
    ):
        for message in "abc":
            await client.send(message)
        block(1.0)
        await asyncio.sleep(1.0)
        go_on.set()
        assert [await client.recv() for _ in "abc"] == ["a", "b", "c"]


async def test_ping_flood(runtime: Runtime) -> None:
    ping = b"\x89\xfd\0\0\0\0" + bytes(125)
    async with serving(Recorder()) as server, runtime.raw_client(server, small_buffers=True) as client:
        (connection,) = server.connections
        largest = 0
        for _ in range(40):
            await client.send(ping * 500)
            largest = max(largest, connection.transport.get_write_buffer_size() + connection.protocol.queued)
        await runtime.until(lambda: connection.statistics.frames_received == 20_000)
        assert largest < 2**18


async def test_number_of_fragments_is_limited(runtime: Runtime) -> None:
    app = Recorder()
    async with (
        serving(app, ws=WebSocketProtocol.configured(max_fragments=10)) as server,
        runtime.raw_client(server) as client,
    ):
        await client.send(Frame(TEXT, b"", fin=False), *[Frame(CONTINUATION, b"", fin=False)] * 20)
        frame = await client.read_frame()
        assert frame.opcode == CLOSE
        assert frame.payload[:2] == close_payload(1009)
        assert (await app.end())["code"] == 1009


async def test_text_is_checked_as_it_arrives(runtime: Runtime) -> None:
    app = Recorder()
    async with serving(app) as server, runtime.raw_client(server) as client:
        await client.send(Frame(TEXT, b"\xff", fin=False))
        assert (await client.read_frame()).payload[:2] == close_payload(1007)
        assert (await app.end())["code"] == 1007


# Tasks


async def test_receive_that_is_cancelled_loses_no_message() -> None:
    class App(Recorder):
        async def receive_event(self) -> dict[str, Any]:
            while True:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.01):
                        event = await self.receive()
                        self.events.append(event)
                        return event

    app = App()
    async with serving(app) as server, connect(server.uri()) as client:
        for number in range(20):
            await asyncio.sleep(0.005)
            await client.send(str(number))
            assert await client.recv() == str(number)
    assert [event.get("text") for event in app.events[1:-1]] == [str(number) for number in range(20)]


async def test_one_task_receives_and_several_send() -> None:
    class App(Recorder):
        async def handle(self, event: dict[str, Any]) -> None:
            async with asyncio.TaskGroup() as group:
                for number in range(10):
                    message = f"{event['text']}{number}"
                    group.create_task(self.send({"type": "websocket.send", "text": message}))

    async with serving(App()) as server, connect(server.uri()) as client:
        await client.send("a")
        assert sorted([await client.recv() for _ in range(10)]) == [f"a{number}" for number in range(10)]


async def test_nothing_is_left_of_a_connection(runtime: Runtime) -> None:
    async with serving(Recorder()) as server:
        for _ in range(3):
            async with connect(server.uri()) as client:
                await runtime.check_echo(client)
        await runtime.until(lambda: not server.connections and not server.tasks)


async def test_client_sees_the_error_of_an_application() -> None:
    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        await send(ACCEPT)
        await receive()
        await receive()
        raise LookupError("oops")

    async with serving(app) as server, connect(server.uri()) as client:
        await client.send("a")
        await client.send("b")
        with pytest.raises(ConnectionClosedError) as raised:
            await client.recv()
        assert raised.value.code == 1011
