"""The client of ASGI applications, on asyncio and trio."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import anyio
import pytest
from fastapi import FastAPI, WebSocket, WebSocketException
from starlette.responses import PlainTextResponse

from adapters.testing.asgi import ASGIClient, asgi_client
from tests.adapters.runtimes import Runtime, make_runtime
from tests.adapters.runtimes.base import DEADLINE
from wsproto_core import ConnectionClosed, ConnectionClosedError, ConnectionClosedOK, InvalidStatusCode

from .expiring import EXPIRING

Receive = Callable[[], Awaitable[Any]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

ACCEPT: dict[str, Any] = {"type": "websocket.accept"}


@pytest.fixture(params=["anyio-asyncio", "anyio-trio"])
def runtime(request: pytest.FixtureRequest) -> Runtime:
    return make_runtime(request.param)


def client_of(application: Any, uri: str = "/", **options: Any) -> AbstractAsyncContextManager[ASGIClient]:
    return asgi_client(application, uri, **{"timeout": DEADLINE, **options})


async def accept(receive: Receive, send: Send, **event: Any) -> None:
    assert await receive() == {"type": "websocket.connect"}
    await send({**ACCEPT, **event})


async def echo(scope: Any, receive: Receive, send: Send) -> None:
    await accept(receive, send)
    while (event := await receive())["type"] == "websocket.receive":
        await send({**event, "type": "websocket.send"})


def sends(*events: dict[str, Any]) -> Any:
    """An application that sends these events and returns."""

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await receive()
        for event in events:
            await send(event)

    return application


async def test_messages() -> None:
    async with client_of(echo) as client:
        for message in ("hello", b"\x00\xff", ""):
            await client.send(message)
            assert await client.recv() == message
        await client.send(bytearray(b"abc"))
        assert await client.recv() == b"abc"
        with pytest.raises(TypeError, match="must be str or bytes-like, not 1"):
            await client.send(1)  # type: ignore[arg-type]
    assert client.close_code == 1000


async def test_scope() -> None:
    async with client_of(
        echo,
        "/a%20b/c?x=%201",
        subprotocols=["one", "two"],
        origin="https://example.com",
        extra_headers={"X-Token": "secret"},
        root_path="/root",
        client=("192.0.2.1", 1),
        state={"pool": 1},
        extensions={"other": {}},
    ) as client:
        scope = client.scope
        headers = dict(scope.pop("headers"))
        assert scope == {
            "type": "websocket",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "scheme": "ws",
            "server": ("localhost", 80),
            "client": ("192.0.2.1", 1),
            "root_path": "/root",
            "path": "/root/a b/c",
            "raw_path": b"/root/a%20b/c",
            "query_string": b"x=%201",
            "subprotocols": ["one", "two"],
            "state": {"pool": 1},
            "extensions": {"websocket.http.response": {}, "other": {}},
        }
        assert headers[b"host"] == b"localhost"
        assert headers[b"origin"] == b"https://example.com"
        assert headers[b"x-token"] == b"secret"
        assert headers[b"sec-websocket-version"] == b"13"
    async with client_of(echo, "wss://example.com:4000/x") as client:
        assert (client.scope["scheme"], client.scope["server"]) == ("wss", ("example.com", 4000))


async def test_subprotocol_and_headers() -> None:
    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await accept(receive, send, subprotocol="two", headers=[(b"X-Version", b"1")])
        await receive()

    async with client_of(application, subprotocols=["one", "two"]) as client:
        assert client.subprotocol == "two"
        assert client.response_headers["x-version"] == "1"


# Ends


async def test_application_closes() -> None:
    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        await send({"type": "websocket.send", "text": "last"})
        await send({"type": "websocket.close", "code": 4001, "reason": "enough"})
        for _ in range(2):
            event = await receive()
            assert event == {"type": "websocket.disconnect", "code": 4001, "reason": "enough"}

    async with client_of(application) as client:
        assert await client.recv() == "last"
        with pytest.raises(ConnectionClosedError) as raised:
            await client.recv()
        assert (raised.value.code, raised.value.reason) == (4001, "enough")
        assert raised.value.received_first
        assert (client.close_code, client.close_reason) == (4001, "enough")
        with pytest.raises(ConnectionClosed):
            await client.send("too late")


async def test_client_closes() -> None:
    events = []

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        events.append(await receive())

    async with client_of(application) as client:
        assert client.close_code is None
        await client.close(4002, "bye")
        await client.close(4003)
        with pytest.raises(ConnectionClosedError) as raised:
            await client.recv()
        assert (raised.value.code, raised.value.received_first) == (4002, False)
    assert events == [{"type": "websocket.disconnect", "code": 4002, "reason": "bye"}]


@pytest.mark.parametrize(("code", "reason"), [(1005, "x"), (1006, ""), (999, ""), (1000, "x" * 124)])
async def test_close_codes_that_are_not_allowed(code: int, reason: str) -> None:
    async with client_of(echo) as client:
        with pytest.raises(ValueError, match="close"):
            await client.close(code, reason)
        await client.send("still open")
        assert await client.recv() == "still open"


async def test_answer_to_the_last_message() -> None:
    async with client_of(echo) as client:
        await client.send("hello")
        await client.close()
        assert await client.recv() == "hello"
        with pytest.raises(ConnectionClosedOK):
            await client.recv()


async def test_iteration() -> None:
    text, data = {"type": "websocket.send", "text": "a"}, {"type": "websocket.send", "bytes": b"b"}
    async with client_of(sends(ACCEPT, text, data)) as client:
        assert [message async for message in client] == ["a", b"b"]
    async with client_of(sends(ACCEPT, text, {"type": "websocket.close", "code": 1011})) as client:
        assert await anext(client) == "a"
        with pytest.raises(ConnectionClosedError):
            await anext(client)


async def test_application_returns_early() -> None:
    async with client_of(sends(ACCEPT)) as client:
        with pytest.raises(ConnectionClosedOK) as raised:
            await client.recv()
        assert raised.value.code == 1000
        with pytest.raises(ConnectionClosedOK):
            await client.send("hello")


async def test_sending_after_the_end() -> None:
    errors: list[Exception] = []

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        await receive()
        await send({"type": "websocket.close"})
        try:
            await send({"type": "websocket.send", "text": "too late"})
        except OSError as error:
            errors.append(error)
        await send({"type": "websocket.send", "text": "leaves the application, and is no failure"})

    async with client_of(application) as client:
        await client.close()
    assert str(errors[0]) == "the client has closed the connection"


# Refusals


async def test_close_in_the_place_of_accept() -> None:
    with pytest.raises(InvalidStatusCode) as raised:
        async with client_of(sends({"type": "websocket.close"}), "/path"):
            pytest.fail("the block does not begin")
    assert raised.value.status_code == 403
    assert raised.value.uri == "ws://localhost/path"


async def test_denial_response() -> None:
    start = {"type": "websocket.http.response.start", "status": 401, "headers": [(b"X-Why", b"no token")]}
    bodies: list[dict[str, Any]] = [
        {"type": "websocket.http.response.body", "body": b"un", "more_body": True},
        {"type": "websocket.http.response.body", "body": b"authorized"},
    ]
    with pytest.raises(InvalidStatusCode) as raised:
        async with client_of(sends(start, *bodies)):
            pytest.fail("the block does not begin")
    response = raised.value.response
    assert response is not None
    assert (response.status, response.headers["X-Why"], response.body) == (401, "no token", b"unauthorized")


@pytest.mark.parametrize(
    ("events", "said"),
    [
        ([], "without answering the request: a server answers with HTTP status 500"),
        ([{"type": "websocket.http.response.start", "status": 401}], "without completing its HTTP response"),
    ],
)
async def test_application_returns_without_an_answer(events: list[dict[str, Any]], said: str) -> None:
    with pytest.raises(RuntimeError, match=said):
        async with client_of(sends(*events)):
            pytest.fail("the block does not begin")


# Errors of the application


@pytest.mark.parametrize(
    ("events", "error", "said"),
    [
        ([{"type": "websocket.send", "text": ""}], RuntimeError, "Expected ASGI message 'websocket.accept'"),
        ([{"type": "websocket.http.response.body"}], RuntimeError, "Expected ASGI message"),
        ([{"type": "websocket.http.response.start", "status": 101}], RuntimeError, "Invalid HTTP status"),
        ([{**ACCEPT, "subprotocol": "x"}], ValueError, "chosen subprotocol 'x'; the client offers"),
        ([{**ACCEPT, "headers": [("X", "y")]}], AttributeError, "decode"),
        ([ACCEPT, ACCEPT], RuntimeError, "Expected ASGI message 'websocket.send' or 'websocket.close'"),
        ([ACCEPT, {"type": "websocket.send"}], TypeError, "must have bytes, or text of type str, not None"),
        ([ACCEPT, {"type": "websocket.send", "text": b""}], TypeError, "must have bytes, or text of type"),
        ([ACCEPT, {"type": "websocket.send", "bytes": ""}], TypeError, "must be bytes-like"),
        ([ACCEPT, {"type": "websocket.close", "code": 1006}], ValueError, "close code must be"),
        ([ACCEPT, {"type": "websocket.close"}, ACCEPT], RuntimeError, "after sending 'websocket.close'"),
    ],
)
@pytest.mark.parametrize("catches", [False, True])
async def test_events_that_are_not_allowed(events: Any, error: Any, said: str, catches: bool) -> None:
    async def application(scope: Any, receive: Receive, send: Send) -> None:
        with contextlib.suppress(Exception) if catches else contextlib.nullcontext():
            await sends(*events)(scope, receive, send)
        while catches and (await receive())["type"] != "websocket.disconnect":
            pass

    async def test() -> None:
        async with client_of(application) as client:
            async for _ in client:
                pass

    with pytest.raises(error, match=said):
        await test()


async def fails_on_message(scope: Any, receive: Receive, send: Send) -> None:
    await accept(receive, send)
    await receive()
    raise KeyError("of the application")


async def test_error_where_the_test_waits() -> None:
    async with client_of(fails_on_message) as client:
        await client.send("go")
        with pytest.raises(KeyError, match="of the application"):
            await client.recv()
        with pytest.raises(KeyError, match="of the application"):
            await client.send("more")


async def test_error_that_no_wait_has_raised() -> None:
    with pytest.raises(KeyError, match="of the application"):
        async with client_of(fails_on_message) as client:
            await client.send("go")


async def test_error_is_a_note_on_that_of_the_test() -> None:
    ended = anyio.Event()

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        try:
            await fails_on_message(scope, receive, send)
        finally:
            ended.set()

    async def test() -> None:
        async with client_of(application) as client:
            await client.send("go")
            await ended.wait()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as raised:
        await test()
    assert "the application has failed" in raised.value.__notes__[0]
    assert "KeyError: 'of the application'" in raised.value.__notes__[0]


async def test_error_before_the_answer() -> None:
    async def application(scope: Any, receive: Receive, send: Send) -> None:
        raise KeyError("at once")

    with pytest.raises(KeyError, match="at once"):
        async with client_of(application):
            pytest.fail("the block does not begin")


async def test_error_after_the_test_has_closed() -> None:
    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        await receive()
        raise KeyError("while cleaning up")

    with pytest.raises(KeyError, match="while cleaning up"):
        async with client_of(application):
            pass


# Timeouts


async def test_no_message_in_time() -> None:
    async with client_of(echo) as client:
        client.timeout = EXPIRING
        with pytest.raises(TimeoutError) as raised:
            await client.recv()
        assert str(raised.value) == (
            "no message from the application in 0.2 seconds; "
            "it has received 1 event, and waits for the next one"
        )
        client.timeout = DEADLINE
        await client.send("late, but no message is lost")
        assert await client.recv() == "late, but no message is lost"


async def test_no_answer_in_time() -> None:
    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await anyio.sleep_forever()

    with pytest.raises(TimeoutError) as raised:
        async with client_of(application, timeout=EXPIRING):
            pytest.fail("the block does not begin")
    assert str(raised.value) == (
        "no answer from the application in 0.2 seconds; "
        "it has received 0 events, and is busy or waits for something else than an event"
    )


async def test_application_that_does_not_return() -> None:
    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        await anyio.sleep_forever()

    with pytest.raises(TimeoutError, match="closed, but the application has not returned in"):
        async with client_of(application) as client:
            client.timeout = EXPIRING


async def test_application_that_does_not_receive() -> None:
    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        await anyio.sleep_forever()

    async def test() -> None:
        async with client_of(application) as client:
            await client.send("hello")
            client.timeout = EXPIRING
            await client.close()

    with pytest.raises(TimeoutError, match=r"has not received all messages in 0\.2 seconds"):
        await test()


async def test_error_of_the_test_cancels_the_application() -> None:
    cancelled = []

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        try:
            await anyio.sleep_forever()
        finally:
            cancelled.append(True)

    with pytest.raises(ZeroDivisionError):
        async with client_of(application):
            raise ZeroDivisionError
    assert cancelled


async def test_cancelled_test() -> None:
    with anyio.move_on_after(EXPIRING) as scope:
        async with client_of(echo) as client:
            await client.recv()
    assert scope.cancelled_caught


# Frameworks


def make_app() -> FastAPI:
    app = FastAPI()

    @app.websocket("/echo")
    async def echo_text(websocket: WebSocket) -> None:
        await websocket.accept(subprotocol="chat")
        while True:
            await websocket.send_text(await websocket.receive_text())

    @app.websocket("/private")
    async def private(websocket: WebSocket) -> None:
        if websocket.query_params.get("token") != "secret":
            raise WebSocketException(1008)
        await websocket.accept()
        await websocket.send_json({"path": websocket.url.path})
        await websocket.close(1001)

    @app.websocket("/denied")
    async def denied(websocket: WebSocket) -> None:
        await websocket.send_denial_response(PlainTextResponse("no entry", 402))

    return app


async def test_fastapi() -> None:
    app = make_app()
    async with client_of(app, "/echo", subprotocols=["chat"]) as client:
        assert client.subprotocol == "chat"
        await client.send("hello")
        assert await client.recv() == "hello"
    async with client_of(app, "/private?token=secret") as client:
        assert await client.recv() == '{"path":"/private"}'
        with pytest.raises(ConnectionClosedOK) as raised:
            await client.recv()
        assert raised.value.code == 1001
    for uri, status, body in (("/private", 403, b""), ("/denied", 402, b"no entry"), ("/unknown", 403, b"")):
        with pytest.raises(InvalidStatusCode) as refused:
            async with client_of(app, uri):
                pytest.fail("the block does not begin")
        assert refused.value.response is not None
        assert (refused.value.status_code, refused.value.response.body) == (status, body)
