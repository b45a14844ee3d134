"""Answers of an application to the request: WebSocket, a refusal, an HTTP response."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from adapters.asyncio import InvalidStatusCode, Response, connect
from tests.adapters.runtimes import Runtime
from tests.adapters.runtimes.peers import RawClient
from tests.core.helpers import TEXT, Frame, request

from .serving import ACCEPT, Receive, Recorder, Send, Served, scripted, serving

START = "websocket.http.response.start"
BODY = "websocket.http.response.body"


async def refused(server: Served, **options: Any) -> Response:
    with pytest.raises(InvalidStatusCode) as raised:
        await connect(server.uri(), **options)
    assert raised.value.response is not None
    return raised.value.response


async def test_headers_of_server_and_application(http: str) -> None:
    headers = [(b"Server", b"own"), (b"x-twice", b"1"), (b"x-twice", b"2"), (b"set-cookie", b"a=b\xff")]
    app = Recorder(headers=headers)
    async with serving(app, http=http) as server, connect(server.uri()) as client:
        assert client.response is not None
        response = client.response.headers
    assert response.get_all("Server") == ["uvicorn", "own"]
    assert response.get_all("X-Twice") == ["1", "2"]
    assert response.get_all("Set-Cookie") == ["a=b\udcff"]
    assert len(response.get_all("Date")) == 1


async def test_headers_of_uvicorn_may_be_left_out() -> None:
    options = {"date_header": False, "server_header": False, "headers": [("x-all", "1")]}
    async with serving(Recorder(), **options) as server, connect(server.uri()) as client:
        assert client.response is not None
        names = {name.lower() for name in client.response.headers}
    assert names == {"upgrade", "connection", "sec-websocket-accept", "sec-websocket-extensions", "x-all"}


async def test_subprotocol(http: str) -> None:
    async with (
        serving(Recorder(subprotocol="two"), http=http) as server,
        connect(server.uri(), subprotocols=["one", "two"]) as client,
    ):
        assert client.subprotocol == "two"


async def test_no_subprotocol() -> None:
    async with (
        serving(Recorder(subprotocol=None)) as server,
        connect(server.uri(), subprotocols=["one", "two"]) as client,
    ):
        assert client.subprotocol is None


@pytest.mark.parametrize(
    ("accept", "error"),
    [
        ({"subprotocol": "three"}, "which the client did not offer"),
        ({"headers": [(b"Sec-WebSocket-Protocol", b"one")]}, "the opening handshake sets it"),
        ({"headers": [(b"x", b"a\r\nb")]}, "must not contain control characters"),
    ],
)
async def test_accept_that_cannot_be_sent_is_an_error_of_the_application(
    accept: dict[str, Any], error: str
) -> None:
    errors: list[str] = []

    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        try:
            await send({**ACCEPT, **accept})
        except ValueError as raised:
            errors.append(str(raised))
            raise

    async with serving(app) as server:
        response = await refused(server, subprotocols=["one"])
    assert (response.status, response.body) == (500, b"Internal Server Error")
    assert error in errors[0]


async def test_close_before_accept_is_403(http: str) -> None:
    events: list[Any] = []

    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        events.append(await receive())
        await send({"type": "websocket.close", "code": 4000})
        events.append(await receive())
        with pytest.raises(RuntimeError, match=r"Unexpected ASGI message 'websocket\.accept'"):
            await send(ACCEPT)

    async with serving(app, http=http) as server:
        response = await refused(server)
    assert response.status == 403
    assert response.headers["Server"] == "uvicorn"
    assert response.headers["Connection"] == "close"
    assert events == [{"type": "websocket.connect"}, {"type": "websocket.disconnect", "code": 1006}]


async def test_http_response(http: str) -> None:
    headers = [(b"content-type", b"application/json"), (b"x-twice", b"1"), (b"x-twice", b"2")]
    start = {"type": START, "status": 401, "headers": headers}
    async with serving(scripted(start, {"type": BODY, "body": b"\xff{}"}), http=http) as server:
        response = await refused(server)
    assert (response.status, response.body) == (401, b"\xff{}")
    assert response.headers["Content-Length"] == "3"
    assert response.headers["Content-Type"] == "application/json"
    assert response.headers["Server"] == "uvicorn"
    assert response.headers.get_all("X-Twice") == ["1", "2"]


async def test_http_response_without_a_body() -> None:
    async with serving(scripted({"type": START, "status": 204}, {"type": BODY})) as server:
        response = await refused(server)
    assert (response.status, response.body) == (204, b"")


async def raw_answer(client: RawClient) -> tuple[str, bytes]:
    await client.send(request())
    head, _, body = (await client.read_to_end()).partition(b"\r\n\r\n")
    return head.decode().lower(), body


async def test_http_response_in_parts_with_a_length(runtime: Runtime, http: str) -> None:
    start = {"type": START, "status": 404, "headers": [(b"Content-Length", b"6")]}
    parts = [{"type": BODY, "body": body, "more_body": True} for body in (b"ab", b"", b"cd")]
    app = scripted(start, *parts, {"type": BODY, "body": b"ef"})
    async with serving(app, http=http) as server, runtime.raw_connection(server) as client:
        head, body = await raw_answer(client)
    assert head.startswith("http/1.1 404 not found\r\n")
    assert "content-length: 6" in head
    assert "transfer-encoding" not in head
    assert "connection: close" in head
    assert "server: uvicorn" in head
    assert body == b"abcdef"


async def test_http_response_in_parts_without_a_length(runtime: Runtime, http: str) -> None:
    parts = [{"type": BODY, "body": body, "more_body": True} for body in (b"ab", b"", b"c" * 20)]
    app = scripted({"type": START, "status": 404}, *parts, {"type": BODY})
    async with serving(app, http=http) as server, runtime.raw_connection(server) as client:
        head, body = await raw_answer(client)
    assert "transfer-encoding: chunked" in head
    assert "content-length" not in head
    assert body == b"2\r\nab\r\n14\r\n" + b"c" * 20 + b"\r\n0\r\n\r\n"


async def test_part_of_a_response_is_sent_at_once(runtime: Runtime) -> None:
    go_on = asyncio.Event()

    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        await send({"type": START, "status": 404})
        await send({"type": BODY, "body": b"first", "more_body": True})
        await go_on.wait()
        await send({"type": BODY, "body": b"last"})

    async with serving(app) as server, runtime.raw_connection(server) as client:
        await client.send(request())
        await client.read_head()
        assert await client.read_exactly(10) == b"5\r\nfirst\r\n"
        go_on.set()
        assert await client.read_to_end() == b"4\r\nlast\r\n0\r\n\r\n"


async def test_large_response_waits_for_the_client(runtime: Runtime) -> None:
    sent = 0
    part = bytes(2**15)

    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        nonlocal sent
        await send({"type": START, "status": 404})
        while sent < 2**20:
            await send({"type": BODY, "body": part, "more_body": True})
            sent += len(part)
        await send({"type": BODY})

    async with serving(app) as server, runtime.raw_connection(server, small_buffers=True) as client:
        await client.send(request())
        await runtime.until_stable(lambda: sent)
        assert sent < 2**20
        body = (await client.read_to_end()).partition(b"\r\n\r\n")[2]
    assert len(body) > 2**20
    assert body.endswith(b"0\r\n\r\n")


async def test_client_that_leaves_ends_a_response(runtime: Runtime) -> None:
    errors: list[BaseException] = []

    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        await send({"type": START, "status": 404})
        try:
            while True:
                await send({"type": BODY, "body": bytes(2**16), "more_body": True})
        except OSError as error:
            errors.append(error)
            raise

    async with serving(app) as server, runtime.raw_connection(server, small_buffers=True) as client:
        await client.send(request())
        await client.read_head()
        client.reset()
        await runtime.until(lambda: errors)


async def test_client_that_does_not_read_a_response_is_given_up(runtime: Runtime) -> None:
    errors: list[BaseException] = []

    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        await send({"type": START, "status": 404})
        try:
            while True:
                await send({"type": BODY, "body": bytes(2**16), "more_body": True})
        except OSError as error:
            errors.append(error)

    async with (
        serving(app, ws_ping_timeout=0.3) as server,
        runtime.raw_connection(server, small_buffers=True) as client,
    ):
        await client.send(request())
        await runtime.until(lambda: errors)
        await runtime.until(lambda: not server.connections)


@pytest.mark.parametrize("parts", [[b"abcd", b""], [b"a", b"bcd"], [b"a", b"b", b""]])
async def test_body_of_another_length(runtime: Runtime, parts: list[bytes]) -> None:
    errors: list[str] = []

    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        await send({"type": START, "status": 404, "headers": [(b"content-length", b"3")]})
        for position, body in enumerate(parts):
            try:
                await send({"type": BODY, "body": body, "more_body": position < len(parts) - 1})
            except ValueError as error:
                errors.append(str(error))
                raise

    async with serving(app) as server, runtime.raw_connection(server) as client:
        head, body = await raw_answer(client)
    assert len(errors) == 1
    assert errors[0].endswith("data for declared Content-Length")
    # The client sees that it is not complete, or that there was an error.
    assert len(body) < 3 or head.startswith("http/1.1 500 ")


@pytest.mark.parametrize("status", [101, 199, 600, "200"])
async def test_status_that_is_not_that_of_a_response(status: Any) -> None:
    async with serving(scripted({"type": START, "status": status}, {"type": BODY})) as server:
        response = await refused(server)
    assert (response.status, response.body) == (500, b"Internal Server Error")


@pytest.mark.parametrize(
    ("events", "status", "error"),
    [
        ([{"type": "websocket.send", "text": "a"}], 500, "Expected ASGI message 'websocket.accept', "),
        ([{"type": "unknown"}], 500, "Expected ASGI message 'websocket.accept', "),
        ([{"type": START, "status": 404}] * 2, 404, "Expected ASGI message 'websocket.http.response.body' "),
        ([{"type": START, "status": 404}, ACCEPT], 404, "Expected ASGI message 'websocket.http.response.b"),
    ],
)
async def test_unexpected_event(
    events: list[Any], status: int, error: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(scripted(*events)) as server:
        assert (await refused(server)).status == status
    (record,) = [each for each in caplog.records if each.levelname == "ERROR"]
    assert record.getMessage() == "Exception in ASGI application\n"
    assert record.exc_info is not None
    assert str(record.exc_info[1]).startswith(error)


@pytest.mark.parametrize(
    ("events", "status", "error"),
    [
        ([], 500, "ASGI callable returned without completing handshake."),
        ([{"type": START, "status": 404}], 404, "ASGI callable returned without completing response."),
    ],
)
async def test_application_that_does_not_answer(
    events: list[Any], status: int, error: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(scripted(*events)) as server:
        assert (await refused(server)).status == status
    assert [each.getMessage() for each in caplog.records if each.levelname == "ERROR"] == [error]


async def test_response_that_is_not_completed(runtime: Runtime, caplog: pytest.LogCaptureFixture) -> None:
    app = scripted({"type": START, "status": 404}, {"type": BODY, "body": b"a", "more_body": True})
    async with serving(app) as server, runtime.raw_connection(server) as client:
        _, body = await raw_answer(client)
    assert body == b"1\r\na\r\n"
    assert "ASGI callable returned without completing response." in caplog.text


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"Sec_WebSocket_Version": "11"}, 426),
        ({"Sec_WebSocket_Key": "short"}, 400),
        ({"Sec_WebSocket_Key": None}, 400),
    ],
)
async def test_request_that_is_not_valid_does_not_reach_the_application(
    runtime: Runtime, http: str, changes: dict[str, Any], status: int
) -> None:
    app = Recorder()
    async with serving(app, http=http) as server:
        async with runtime.raw_connection(server) as client:
            await client.send(request(**changes))
            head = await client.read_response()
        await runtime.until(lambda: not server.connections)
    assert head.status == status
    assert head.headers["server"] == "uvicorn"
    assert not app.scope


async def test_frames_before_the_answer(runtime: Runtime) -> None:
    """uvicorn drops what comes with the request; what comes later is kept."""
    accept = asyncio.Event()

    class App(Recorder):
        async def receive_event(self) -> dict[str, Any]:
            if not self.events:
                self.asked = True
                await accept.wait()
            return await super().receive_event()

    app = App()
    app.asked = False
    async with serving(app) as server, runtime.raw_connection(server) as client:
        await client.send(request())
        await runtime.until(lambda: app.asked)
        await client.send(Frame(TEXT, b"early"))
        await runtime.until(lambda: server.connections[0].statistics.bytes_received > len(request()))
        accept.set()
        assert (await client.read_head()).status == 101
        assert await client.read_frame() == Frame(TEXT, b"early")
        await client.finish()


async def test_client_that_leaves_before_the_answer(runtime: Runtime) -> None:
    gone = asyncio.Event()
    errors: list[str] = []
    events: list[Any] = []

    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        events.append(await receive())
        gone.set()
        events.append(await receive())
        with pytest.raises(OSError, match="connection") as raised:
            await send(ACCEPT)
        errors.append(type(raised.value).__name__)

    async with serving(app) as server, runtime.raw_connection(server) as client:
        await client.send(request())
        await gone.wait()
        client.close()
        await runtime.until(lambda: errors)
        await runtime.until(lambda: not server.connections)
    assert events == [{"type": "websocket.connect"}, {"type": "websocket.disconnect", "code": 1006}]
    assert errors == ["ClientDisconnected"]


async def test_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "uvicorn.error")
    async with serving(Recorder()) as server, connect(server.uri("/path?x=1")) as client:
        host, port = client.local_address
    messages = [record.getMessage() for record in caplog.records if record.name == "uvicorn.error"]
    assert f'{host}:{port} - "WebSocket /path?x=1" [accepted]' in messages
    assert [message.startswith("connection closed: ") for message in messages].count(True) == 1


async def test_log_of_a_refusal(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "uvicorn.error")
    async with serving(scripted({"type": "websocket.close"})) as server:
        await refused(server)
    messages = [record.getMessage() for record in caplog.records if record.name == "uvicorn.error"]
    (line,) = [message for message in messages if "WebSocket" in message]
    assert line.endswith(' - "WebSocket /" 403')
    assert not [message for message in messages if "handshake" in message]
