"""The scope of an application: ASGI 3, spec version 2.4."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from adapters.asgi import WebSocketProtocol
from adapters.asyncio import connect
from tests.adapters.runtimes import Runtime
from tests.adapters.runtimes.base import HOST, client_context
from tests.core.helpers import request

from .serving import TLS, Receive, Recorder, Send, serving


async def test_scope(http: str) -> None:
    app = Recorder()
    async with serving(app, http=http, root_path="/root") as server:
        headers = [("X-Twice", "1"), ("X-Twice", "2")]
        subprotocols = ["chat", "superchat"]
        async with connect(
            server.uri("/a%20b%2Fc?x=%20&y"), extra_headers=headers, subprotocols=subprotocols
        ) as client:
            address = client.local_address
    scope = app.scope
    got = scope.pop("headers")
    assert [value for name, value in got if name == b"x-twice"] == [b"1", b"2"]
    assert [value for name, value in got if name == b"host"] == [f"{HOST}:{server.port}".encode()]
    assert all(type(name) is type(value) is bytes and name == name.lower() for name, value in got)
    connection = scope["extensions"]["wsproto_core"].pop("connection")
    assert isinstance(connection, WebSocketProtocol)
    assert scope == {
        "type": "websocket",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "scheme": "ws",
        "server": (HOST, server.port),
        "client": address,
        "root_path": "/root",
        "path": "/root/a b/c",
        "raw_path": b"/root/a%20b%2Fc",
        "query_string": b"x=%20&y",
        "subprotocols": subprotocols,
        "state": {},
        "extensions": {"websocket.http.response": {}, "wsproto_core": {}},
    }


async def test_header_that_is_not_ascii(http: str, runtime: Runtime) -> None:
    app = Recorder()
    async with (
        serving(app, http=http) as server,
        runtime.raw_connection(server) as client,
    ):
        head = request().replace(b"\r\n\r\n", b"\r\nname: abra\xc3\xa3o \xff\r\n\r\n")
        await client.send(head)
        assert (await client.read_head()).status == 101
        assert (b"name", b"abra\xc3\xa3o \xff") in app.scope["headers"]
        await client.finish()


async def test_scheme_with_tls() -> None:
    app = Recorder()
    async with (
        serving(app, **TLS) as server,
        connect(server.uri(scheme="wss"), ssl=client_context()),
    ):
        pass
    assert app.scope["scheme"] == "wss"


async def test_unix_socket(tmp_path: Any) -> None:
    app = Recorder()
    path = str(tmp_path / "socket")
    async with serving(app, uds=path):
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(path)
        async with connect("ws://localhost/", sock=sock) as client:
            await client.send("a")
            assert await client.recv() == "a"
    assert app.scope["server"] == (path, None)
    assert app.scope["client"] is None


async def test_state_is_a_copy_for_each_connection() -> None:
    states: list[dict[str, Any]] = []

    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        event = await receive()
        if scope["type"] == "lifespan":
            scope["state"]["shared"] = [1]
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        assert event == {"type": "websocket.connect"}
        states.append(dict(scope["state"]))
        scope["state"]["own"] = True
        await send({"type": "websocket.accept"})

    async with serving(app, lifespan="on") as server:
        for _ in range(2):
            async with connect(server.uri()):
                pass
    assert states == [{"shared": [1]}, {"shared": [1]}]
    assert states[0]["shared"] is states[1]["shared"]


@pytest.mark.parametrize("version", ["asgi2", "asgi3"])
async def test_asgi_version(version: str) -> None:
    class Application2:
        def __init__(self, scope: dict[str, Any]) -> None:
            app.scope = scope

        async def __call__(self, receive: Receive, send: Send) -> None:
            await app(app.scope, receive, send)

    app = Recorder()
    interface = {"asgi2": Application2, "asgi3": app}[version]
    async with serving(interface, interface=version) as server, connect(server.uri()) as client:
        await client.send("a")
        assert await client.recv() == "a"
    assert app.scope["asgi"]["version"] == {"asgi2": "2.0", "asgi3": "3.0"}[version]
