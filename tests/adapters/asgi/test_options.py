"""Options: those of uvicorn, those of `configured`, those of a route; and what the scope has beside ASGI."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import uvicorn

from adapters.asgi import WebSocketProtocol
from adapters.asyncio import ConnectionClosedError, InvalidState, InvalidStatusCode, connect
from tests.adapters.runtimes import Runtime
from tests.core.helpers import CLOSE, PING, TEXT, Frame, close_payload, request

from .serving import ACCEPT, Receive, Recorder, Send, serving


def settings_of(connection: WebSocketProtocol) -> Any:
    return connection.protocol._settings


async def test_defaults_are_those_of_uvicorn() -> None:
    interval = uvicorn.Config(Recorder()).ws_ping_interval
    async with serving(Recorder(), ws_ping_interval=interval) as server, connect(server.uri()):
        settings = settings_of(server.connections[0])
    assert settings.max_size.message == 16 * 2**20
    assert settings.max_queue.high == 32
    assert (settings.ping_interval, settings.ping_timeout) == (20, 20)
    assert settings.compression == "deflate"
    assert settings.open_timeout is None


async def test_options_of_uvicorn(runtime: Runtime) -> None:
    options = {
        "ws_max_size": 10,
        "ws_max_queue": 3,
        "ws_ping_interval": 0.25,
        "ws_ping_timeout": None,
        "ws_per_message_deflate": False,
    }
    async with serving(Recorder(), **options) as server, connect(server.uri()) as client:
        settings = settings_of(server.connections[0])
        assert (settings.max_queue.high, settings.ping_timeout) == (3, None)
        assert client.extensions == ()
        await runtime.until(lambda: client.statistics.frames_received)
        await client.send(bytes(10))
        assert await client.recv() == bytes(10)
        await client.send(bytes(11))
        with pytest.raises(ConnectionClosedError) as raised:
            await client.recv()
        assert raised.value.code == 1009


async def test_zero_is_no_ping() -> None:
    options = {"ws_ping_interval": 0.0, "ws_ping_timeout": 0.0}
    async with serving(Recorder(), **options) as server, connect(server.uri()):
        settings = settings_of(server.connections[0])
    assert (settings.ping_interval, settings.ping_timeout) == (None, None)


@pytest.mark.parametrize("size", [2**15, 2**17])
async def test_size_of_the_request(size: int) -> None:
    """As large as uvicorn takes them with h11, or as its option says."""
    options = {"h11_max_incomplete_event_size": 2 * size} if size > 2**16 else {}
    headers = {"Cookie": "x" * size}
    async with (
        serving(Recorder(), http="h11", **options) as server,
        connect(server.uri(), extra_headers=headers) as client,
    ):
        await client.send("a")
        assert await client.recv() == "a"


async def test_configured(runtime: Runtime) -> None:
    protocol = WebSocketProtocol.configured(max_size=10, ping_interval=None, origins=["http://good"])
    more = protocol.configured(drain=1.5)
    assert issubclass(more, protocol)
    assert issubclass(protocol, WebSocketProtocol)
    assert WebSocketProtocol._options == {}
    assert (WebSocketProtocol._shutdown.drain, more._shutdown.drain) == (0, 1.5)
    async with serving(Recorder(), ws=more) as server:
        with pytest.raises(InvalidStatusCode) as raised:
            await connect(server.uri(), origin="http://bad")
        assert raised.value.status_code == 403
        async with connect(server.uri(), origin="http://good"):
            settings = settings_of(server.connections[0])
        assert (settings.max_size.message, settings.ping_interval, settings.ping_timeout) == (10, None, 20)


async def test_open_timeout(runtime: Runtime) -> None:
    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        await receive()
        events.append(await receive())

    events: list[Any] = []
    async with (
        serving(app, ws=WebSocketProtocol.configured(open_timeout=0.2)) as server,
        runtime.raw_connection(server) as client,
    ):
        await client.send(request())
        assert await client.read_to_end() == b""
    assert events == [{"type": "websocket.disconnect", "code": 1006}]


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"drian": 1}, "unknown|unexpected|drian"),
        ({"drain": None}, "drain must be a number of seconds, 0 for none, not None"),
        ({"drain": "1"}, "drain must be a number of seconds"),
        ({"drain": -1}, "drain must be 0 or a positive number"),
        ({"shutdown_reason": b""}, "close reason must be a str"),
        ({"shutdown_reason": "x" * 124}, "at most 123 fit"),
        ({"max_size": -1}, "max_size"),
        ({"subprotocols": ["a"]}, "subprotocols"),
        ({"server_header": None}, "server_header"),
    ],
)
def test_options_are_checked_at_once(options: dict[str, Any], error: str) -> None:
    with pytest.raises((TypeError, ValueError), match=error):
        WebSocketProtocol.configured(**options)


def test_class_from_the_command_line() -> None:
    config = uvicorn.Config("tests.adapters.asgi.serving:scripted", ws="adapters.asgi:WebSocketProtocol")
    config.load()
    assert config.ws_protocol_class is WebSocketProtocol


def test_uvicorn_is_missing() -> None:
    program = "import sys; sys.modules['uvicorn'] = None; import adapters.asgi"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "ImportError: adapters.asgi needs uvicorn: pip install 'wsproto-core[asgi]'" in result.stderr


# The connection, for what ASGI does not have


class Limited(Recorder):
    """An application that configures its connection before it accepts."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.options = options

    async def receive_event(self) -> dict[str, Any]:
        if not self.events:
            self.connection.configure(**self.options)
        return await super().receive_event()


async def test_limits_of_a_route(http: str) -> None:
    app = Limited(max_size=5, compression=None)
    async with serving(app, http=http) as server, connect(server.uri()) as client:
        assert client.extensions == ()
        await client.send("12345")
        assert await client.recv() == "12345"
        await client.send("123456")
        with pytest.raises(ConnectionClosedError) as raised:
            await client.recv()
        assert raised.value.code == 1009
    assert app.events[-1]["code"] == 1009


async def test_ping_interval_of_a_route(runtime: Runtime) -> None:
    async with serving(Limited(ping_interval=0.2)) as server, runtime.raw_client(server) as client:
        assert (await client.read_frame()).opcode == PING


async def test_route_whose_frames_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", "uvicorn.error")
    async with serving(Limited(max_size=5)) as server, connect(server.uri()) as client:
        await client.send("12345")
        assert await client.recv() == "12345"
    assert "received text frame" in caplog.text


async def test_configure_comes_too_late(runtime: Runtime) -> None:
    errors: list[str] = []

    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        connection = scope["extensions"]["wsproto_core"]["connection"]
        with pytest.raises(TypeError, match="max_szie"):
            connection.configure(max_szie=5)
        await send(ACCEPT)
        with pytest.raises(InvalidState) as raised:
            connection.configure(max_size=5)
        errors.append(str(raised.value))

    async with serving(app) as server:
        client = await connect(server.uri())
        await client.wait_closed()
    assert errors == ["the request has been answered, or the client has gone"]


async def test_configure_after_early_frames(runtime: Runtime) -> None:
    errors: list[str] = []

    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        connection = scope["extensions"]["wsproto_core"]["connection"]
        await runtime.until(lambda: connection.statistics.bytes_received > len(request()))
        try:
            connection.configure(max_size=5)
        except InvalidState as error:
            errors.append(str(error))
            raise

    async with serving(app) as server, runtime.raw_connection(server) as client:
        await client.send(request())
        await runtime.until(lambda: server.connections)
        await client.send(Frame(TEXT, b"early"))
        assert (await client.read_response()).status == 500
    assert errors == ["the client has sent data before its request was answered"]


async def test_connection(runtime: Runtime) -> None:
    latencies: list[float] = []

    class App(Recorder):
        async def handle(self, event: dict[str, Any]) -> None:
            latencies.append(await (await self.connection.ping()))
            await self.connection.send(b"text", text=True, compress=False)
            await self.connection.send("text" * 100, compress=True)
            assert self.connection.statistics.messages_received == 1

    app = App()
    async with serving(app) as server, connect(server.uri()) as client:
        await client.send("a")
        assert [await client.recv(), await client.recv()] == ["text", "text" * 100]
        assert client.statistics.bytes_received < 400
    assert latencies[0] >= 0


async def test_exact_close_codes(runtime: Runtime) -> None:
    app = Recorder()
    async with serving(app) as server, runtime.raw_client(server) as client:
        await client.send(Frame(CLOSE, close_payload(4000, "reason")))
        await client.read_to_end()
        await app.end()
        end = app.connection.protocol.close_exception()
    assert (end.received.code, end.received.reason, end.sent.code) == (4000, "reason", 4000)
    assert end.received_first
    assert app.connection.close_code == 4000
