"""``websockets.client``: clients, and the client's end of a connection."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest

from adapters import asyncio as asyncio_adapter
from adapters import websockets
from adapters.websockets.client import WebSocketClientProtocol
from adapters.websockets.exceptions import (
    InvalidHandshake,
    InvalidMessage,
    InvalidStatusCode,
    InvalidURI,
)
from adapters.websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from adapters.websockets.http import Headers
from adapters.websockets.uri import parse_uri
from tests.adapters.runtimes import Runtime
from tests.adapters.runtimes.base import HOST, client_context, server_context
from tests.ports import free_port
from wsproto_core import HandshakeTimeout

from .peers import connected, echo, idle, serving, uri_of

# connect


async def test_awaiting_connect_yields_a_connection() -> None:
    async with serving(echo) as (_, uri):
        websocket = await websockets.connect(uri)
        assert isinstance(websocket, WebSocketClientProtocol)
        await websocket.send("x")
        assert await websocket.recv() == "x"
        await websocket.close()


async def test_connect_is_an_asynchronous_context_manager_that_closes_the_connection() -> None:
    async with serving(echo) as (_, uri):
        async with websockets.connect(uri=uri) as websocket:
            assert websocket.open
        assert websocket.closed
        assert websocket.close_code == 1000


async def test_ssl() -> None:
    async with websockets.serve(idle, HOST, 0, ssl=server_context()) as server:
        uri = uri_of(server).replace("ws:", "wss:")
        async with websockets.connect(uri, ssl=client_context()) as websocket:
            assert websocket.open
        # Python's default context, which does not know the certificate.
        with pytest.raises(OSError, match="certificate verify failed"):
            await websockets.connect(uri)


async def test_host_and_port_change_where_tcp_connects_to() -> None:
    async with serving() as (server, _):
        host, port = server.sockets[0].getsockname()[:2]
        async with websockets.connect("ws://example.com/path", host=host, port=port) as websocket:
            assert websocket.request_headers["Host"] == "example.com"
            assert websocket.remote_address == (host, port)


async def test_host_name_of_the_uri_is_used_in_tls() -> None:
    async with websockets.serve(idle, HOST, 0, ssl=server_context()) as server:
        assert server.sockets is not None
        host, port = server.sockets[0].getsockname()[:2]
        options: dict[str, Any] = {"ssl": client_context(), "host": host, "port": port}
        async with websockets.connect("wss://localhost/", **options) as websocket:
            assert websocket.open
        with pytest.raises(OSError, match="mismatch"):
            await websockets.connect("wss://example.com/", **options)


async def test_other_keywords_are_those_of_create_connection() -> None:
    async with serving() as (_, uri):
        address = (HOST, free_port())
        async with websockets.connect(uri, local_addr=address) as websocket:
            assert websocket.local_address == address
        with pytest.raises(TypeError, match="unexpected keyword argument 'local_address'"):
            await websockets.connect(uri, local_address=address)


async def test_create_protocol_takes_the_arguments_that_are_documented() -> None:
    given = {}

    def create_protocol(**arguments: Any) -> Any:
        given.update(arguments)
        return WebSocketClientProtocol(**arguments)

    async with connected({"create_protocol": create_protocol, "compression": None, "max_size": 1}):
        pass
    assert given == {
        "ping_interval": 20,
        "ping_timeout": 20,
        "close_timeout": 10,
        "max_size": 1,
        "max_queue": 32,
        "read_limit": 2**16,
        "write_limit": 2**16,
        "origin": None,
        "extensions": None,
        "subprotocols": None,
        "extra_headers": None,
    }


async def test_create_protocol_may_be_a_class() -> None:
    class Protocol(WebSocketClientProtocol):
        pass

    async with connected({"create_protocol": Protocol}) as (client, _):
        assert isinstance(client, Protocol)


@pytest.mark.parametrize("compression", ["deflate", None])
async def test_compression(compression: str | None) -> None:
    async with connected({"compression": compression}) as (client, server):
        names = [] if compression is None else ["permessage-deflate"]
        assert [extension.name for extension in client.extensions] == names
        assert ("Sec-WebSocket-Extensions" in server.request_headers) is bool(names)


async def test_compression_is_deflate_only() -> None:
    with pytest.raises(ValueError, match="compression"):
        websockets.connect("ws://localhost/", compression="gzip")


async def test_compression_is_not_offered_twice() -> None:
    factory = ClientPerMessageDeflateFactory(client_no_context_takeover=True)
    async with connected({"extensions": [factory]}) as (_, server):
        offer = "permessage-deflate; client_no_context_takeover"
        assert server.request_headers["Sec-WebSocket-Extensions"] == offer


async def test_origin() -> None:
    async with connected({"origin": "http://localhost"}) as (_, server):
        assert server.request_headers["Origin"] == "http://localhost"


async def test_extensions_are_offered_in_order_of_preference() -> None:
    factories = [
        ClientPerMessageDeflateFactory(server_no_context_takeover=True),
        ClientPerMessageDeflateFactory(),
    ]
    async with connected({"extensions": factories}) as (_, server):
        offers = "permessage-deflate; server_no_context_takeover, permessage-deflate"
        assert server.request_headers["Sec-WebSocket-Extensions"] == offers


async def test_subprotocols_are_offered_in_order_of_preference() -> None:
    async with connected({"subprotocols": ["a", "b"]}) as (client, server):
        assert server.request_headers["Sec-WebSocket-Protocol"] == "a, b"
        assert client.subprotocol is None


@pytest.mark.parametrize("extra_headers", [Headers(A="b"), {"A": "b"}, [("A", "b")]], ids=repr)
async def test_extra_headers(extra_headers: Any) -> None:
    async with connected({"extra_headers": extra_headers}) as (_, server):
        assert server.request_headers["A"] == "b"


async def test_extra_headers_may_be_any_iterable_of_pairs() -> None:
    async with connected({"extra_headers": (pair for pair in [("A", "b")])}) as (_, server):
        assert server.request_headers["A"] == "b"


async def test_user_information_is_sent() -> None:
    async with serving() as (server, _), websockets.connect(uri_of(server, user="user:pass@")) as websocket:
        assert websocket.request_headers["Authorization"] == "Basic dXNlcjpwYXNz"


def test_invalid_uri() -> None:
    for uri in "http://localhost/", "ws://", "localhost":
        with pytest.raises(InvalidURI):
            websockets.connect(uri)


async def test_invalid_handshake(runtime: Runtime) -> None:
    async with runtime.raw_listener() as listener:
        connecting = asyncio.ensure_future(websockets.connect(listener.uri))
        peer = await listener.accept()
        await peer.read_head()
        await peer.send(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        with pytest.raises(InvalidStatusCode) as raised:
            await connecting
        assert raised.value.status_code == 404
        connecting = asyncio.ensure_future(websockets.connect(listener.uri))
        peer = await listener.accept()
        await peer.answer(Sec_WebSocket_Accept="wrong")
        with pytest.raises(InvalidHandshake):
            await connecting


async def test_deadline_of_the_opening_handshake(runtime: Runtime) -> None:
    async with runtime.raw_listener() as listener:
        with pytest.raises(TimeoutError):
            await websockets.connect(listener.uri, open_timeout=0.2)


async def test_no_deadline_of_the_opening_handshake() -> None:
    async with serving() as (_, uri), websockets.connect(uri, open_timeout=None) as websocket:
        assert websocket.open


async def test_a_future_is_made_of_connect() -> None:
    async with serving() as (_, uri):
        websocket = await asyncio.wait_for(websockets.connect(uri), 10)
        await websocket.close()


async def test_redirects_are_followed() -> None:
    async def process_request(path: str, request_headers: Headers) -> Any:
        return (302, {"Location": "/there"}, b"") if path == "/here" else None

    async with serving(idle, process_request=process_request, max_connections=5) as (_, uri):
        websocket = await websockets.connect(uri + "here", max_redirects=3, origin="http://a")
        assert websocket.path == "/there"
        assert websocket.request_headers["Origin"] == "http://a"
        await websocket.close()


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    nobody = f"http://{HOST}:{free_port()}"
    for name in "http_proxy", "https_proxy", "socks_proxy", "all_proxy":
        monkeypatch.setenv(name, nobody)
    monkeypatch.delenv("no_proxy", raising=False)
    async with serving() as (_, uri), websockets.connect(uri) as websocket:
        assert websocket.open
        with pytest.raises(ConnectionRefusedError):
            await websockets.connect(uri, proxy=True)


async def test_iterating_connects_again() -> None:
    async def handler(websocket: Any, path: str) -> None:
        await websocket.send("x")

    async with serving(handler) as (_, uri):
        messages = []
        async for websocket in websockets.connect(uri):
            messages.append(await websocket.recv())
            if len(messages) == 2:
                await websocket.close()
                break
        assert messages == ["x", "x"]


# unix_connect


async def test_unix_connect(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    async with websockets.unix_serve(idle, path):
        async with websockets.unix_connect(path) as websocket:
            assert (websocket.path, websocket.request_headers["Host"]) == ("/", "localhost")
        async with websockets.unix_connect(path=path, uri="ws://host/path", origin="http://a") as websocket:
            assert (websocket.path, websocket.request_headers["Host"]) == ("/path", "host")
            assert websocket.request_headers["Origin"] == "http://a"
    assert isinstance(websockets.unix_connect(path), websockets.client.Connect)


# WebSocketClientProtocol


async def test_connection_that_is_made_by_hand() -> None:
    """As the event loop makes it, without ``connect``."""
    async with serving(echo, subprotocols=["a"], origins=["http://a"]) as (server, uri):
        host, port = server.sockets[0].getsockname()[:2]
        _, websocket = await asyncio.get_running_loop().create_connection(
            WebSocketClientProtocol, host=host, port=port
        )
        # Nothing is sent before it is known where to.
        await asyncio.sleep(0.05)
        assert (websocket.open, websocket.closed) == (False, False)
        assert not server.connections or all(connection.path is None for connection in server.connections)
        factory = ClientPerMessageDeflateFactory()
        result: Any = await websocket.handshake(
            parse_uri(uri + "path"), "http://a", [factory], ["b", "a"], {"A": "b"}
        )
        assert result is None
        assert websocket.open
        assert websocket.path == "/path"
        assert websocket.subprotocol == "a"
        assert websocket.extensions[0].name == "permessage-deflate"
        assert websocket.request_headers["A"] == "b"
        await websocket.send("x")
        assert await websocket.recv() == "x"
        with pytest.raises(InvalidHandshake):
            await websocket.handshake(parse_uri(uri))
        await websocket.close()


async def test_handshake_is_called_with_what_was_configured() -> None:
    calls = []

    class Protocol(WebSocketClientProtocol):
        async def handshake(self, *args: Any, **kwargs: Any) -> None:
            calls.append((args, kwargs))
            await super().handshake(*args, **kwargs)

    factory = ClientPerMessageDeflateFactory()
    options: dict[str, Any] = {
        "origin": "http://a",
        "extensions": [factory],
        "subprotocols": ["a"],
        "extra_headers": {"A": "b"},
    }
    async with serving() as (_, uri), websockets.connect(uri, create_protocol=Protocol, **options):
        pass
    assert calls == [
        (
            (parse_uri(uri),),
            {
                "origin": "http://a",
                "available_extensions": [factory],
                "available_subprotocols": ["a"],
                "extra_headers": {"A": "b"},
            },
        )
    ]


async def test_handshake_goes_by_its_arguments() -> None:
    class Protocol(WebSocketClientProtocol):
        async def handshake(self, wsuri: Any, *args: Any, **kwargs: Any) -> None:
            await super().handshake(wsuri, origin="http://b", extra_headers=[("A", "c")])

    options = {"origin": "http://a", "subprotocols": ["a"], "extra_headers": {"A": "b"}}
    async with connected({**options, "create_protocol": Protocol}) as (_, server):
        assert server.request_headers["Origin"] == "http://b"
        assert server.request_headers["A"] == "c"
        assert "Sec-WebSocket-Protocol" not in server.request_headers
        assert "Sec-WebSocket-Extensions" not in server.request_headers


async def test_handshake_on_a_stream_that_was_lost(runtime: Runtime) -> None:
    async with runtime.raw_listener() as listener:
        host, port = listener.socket.getsockname()
        transport, websocket = await asyncio.get_running_loop().create_connection(
            WebSocketClientProtocol, host, port
        )
        waiting = asyncio.ensure_future(websocket.wait_closed())
        await asyncio.sleep(0)
        transport.close()
        await waiting
        with pytest.raises(InvalidMessage):
            await websocket.handshake(parse_uri(listener.uri))


async def test_server_that_speaks_before_it_is_asked(runtime: Runtime) -> None:
    async with runtime.raw_listener() as listener:
        host, port = listener.socket.getsockname()
        _, websocket = await asyncio.get_running_loop().create_connection(WebSocketClientProtocol, host, port)
        peer = await listener.accept()
        await peer.send(b"SSH-2.0-x\r\n")
        await websocket.wait_closed()
        with pytest.raises(InvalidMessage, match="before it was asked"):
            await websocket.handshake(parse_uri(listener.uri))


# Logs


async def test_log_of_frames_is_that_of_this_connection(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with serving(echo) as (_, uri), websockets.connect(uri + "path") as websocket:
        await websocket.send("x")
        assert await websocket.recv() == "x"
    lines = [record.message for record in caplog.records if record.name == "websockets.client"]
    assert [line for line in lines if line.startswith("request:")] == ["request: 'GET' '/path'"]
    hosts = [line for line in lines if line.startswith("request header: Host")]
    assert hosts == [f"request header: Host: '{uri[5:-1]}'"]
    assert "sent text frame, FIN, 1 bytes: 'x'" in lines
    assert "received text frame, FIN, 1 bytes: 'x'" in lines


async def test_log_frames_before_the_handshake(caplog: pytest.LogCaptureFixture) -> None:
    class Protocol(WebSocketClientProtocol):
        async def handshake(self, *args: Any, **kwargs: Any) -> None:
            self.log_frames()
            await super().handshake(*args, **kwargs)

    caplog.set_level(logging.DEBUG, "websockets.client")
    async with connected({"create_protocol": Protocol}) as (client, server):
        await client.send("x")
        await server.recv()
    assert "sent text frame, FIN, 1 bytes: 'x'" in caplog.messages


async def test_broadcast_to_clients() -> None:
    async with connected() as (client, server):
        asyncio_adapter.broadcast([client], "x")
        assert await server.recv() == "x"
        # Behind what has been sent, and before what is sent next.
        await client.send("y")
        asyncio_adapter.broadcast([client], "z")
        assert [await server.recv() for _ in range(2)] == ["y", "z"]


# Deadlines


async def test_timeout_in_messages_is_the_one_that_was_given(runtime: Runtime) -> None:
    async with runtime.raw_listener() as listener:
        with pytest.raises(HandshakeTimeout) as raised:
            await websockets.connect(listener.uri, open_timeout=0.3)
        assert str(raised.value) == "the server did not answer within 0.3 seconds"


async def test_time_before_a_redirect_counts() -> None:
    async def slow(path: str, request_headers: Headers) -> Any:
        await asyncio.sleep(0.4)
        return (302, {"Location": "/there"}, b"") if path == "/" else None

    async with serving(process_request=slow) as (_, uri):
        # The second answer would be in time, if the time began anew.
        with pytest.raises(HandshakeTimeout, match=r"within 0\.6 seconds"):
            await websockets.connect(uri, open_timeout=0.6)


async def test_connect_object_is_for_one_use() -> None:
    async with serving(echo) as (_, uri):
        connecting = websockets.connect(uri)
        async with connecting:
            with pytest.raises(RuntimeError):
                await connecting
