"""``websockets.server``: servers, and the server's end of a connection."""

from __future__ import annotations

import asyncio
import inspect
import logging
import socket
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest

from adapters import websockets
from adapters.websockets.exceptions import (
    AbortHandshake,
    ConnectionClosed,
    ConnectionClosedError,
    ConnectionClosedOK,
    InvalidHandshake,
    InvalidOrigin,
    InvalidStatusCode,
    InvalidUpgrade,
)
from adapters.websockets.extensions.permessage_deflate import (
    ClientPerMessageDeflateFactory,
    ServerPerMessageDeflateFactory,
)
from adapters.websockets.http import Headers
from adapters.websockets.server import WebSocketServer, WebSocketServerProtocol
from tests.adapters.event_loop import turns
from tests.adapters.runtimes import Runtime
from tests.adapters.runtimes.base import HOST, client_context, server_context
from tests.core.helpers import request

from .peers import connected, echo, idle, serving, uri_of

# serve


async def test_awaiting_serve_yields_a_server() -> None:
    server = await websockets.serve(echo, HOST, 0)
    assert isinstance(server, WebSocketServer)
    async with websockets.connect(uri_of(server)) as websocket:
        await websocket.send("x")
        assert await websocket.recv() == "x"
    server.close()
    await server.wait_closed()


async def test_serve_is_an_asynchronous_context_manager_that_shuts_down_the_server() -> None:
    async with websockets.serve(echo, HOST, 0) as server:
        uri = uri_of(server)
    with pytest.raises(ConnectionRefusedError):
        await websockets.connect(uri)


async def test_handler_by_its_name_is_given_the_connection_and_the_path() -> None:
    calls = []

    async def handler(*arguments: Any) -> None:
        calls.append(arguments)

    async with (
        websockets.serve(ws_handler=handler, host=HOST, port=0) as server,
        websockets.connect(uri_of(server, "/path?query")) as websocket,
    ):
        await websocket.wait_closed()
    ((connection, path),) = calls
    assert isinstance(connection, WebSocketServerProtocol)
    assert path == "/path?query"


async def test_handler_with_a_default_for_the_path_is_given_it_too() -> None:
    async def handler(websocket: Any, path: str = "none") -> None:
        await websocket.send(path)

    async with serving(handler) as (_, uri), websockets.connect(uri + "path") as websocket:
        assert await websocket.recv() == "/path"


async def test_handler_of_one_argument() -> None:
    async def handler(websocket: Any) -> None:
        await websocket.send("one")

    async with serving(handler) as (_, uri), websockets.connect(uri) as websocket:
        assert await websocket.recv() == "one"


async def test_handler_without_a_signature() -> None:
    # Of some of what is built in, nobody can tell how it is called.
    with pytest.raises(ValueError, match="signature"):
        inspect.signature(max)
    async with serving(max) as (_, uri), websockets.connect(uri) as websocket:
        with pytest.raises(ConnectionClosedError):
            await websocket.recv()


async def test_connection_is_closed_when_the_handler_completes() -> None:
    async def handler(websocket: Any, path: str) -> None:
        pass

    async with serving(handler) as (_, uri), websockets.connect(uri) as websocket:
        with pytest.raises(ConnectionClosedOK):
            await websocket.recv()
        assert websocket.close_code == 1000


async def test_exceptions_in_handlers_are_logged_and_close_the_connection(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def handler(websocket: Any, path: str) -> None:
        raise ZeroDivisionError

    with caplog.at_level(logging.ERROR, "websockets.server"):
        async with serving(handler) as (_, uri), websockets.connect(uri) as websocket:
            with pytest.raises(ConnectionClosedError):
                await websocket.recv()
            assert websocket.close_code == 1011
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("websockets.server", logging.ERROR)
    assert record.exc_info is not None
    assert record.exc_info[0] is ZeroDivisionError


async def test_host_port_and_other_keywords_are_those_of_create_server() -> None:
    with socket.create_server((HOST, 0)) as sock:
        async with websockets.serve(idle, sock=sock, backlog=7) as server:
            assert server.sockets is not None
            assert server.sockets[0].fileno() == sock.fileno()
    with pytest.raises(TypeError, match="unexpected keyword argument 'backlogs'"):
        await websockets.serve(idle, HOST, 0, backlogs=7)


async def test_any_free_port() -> None:
    for options in ({"port": 0}, {"port": None}, {}):
        async with websockets.serve(idle, HOST, **options) as server:
            assert server.sockets is not None
            assert server.sockets[0].getsockname()[1] > 0


async def test_ssl() -> None:
    async with websockets.serve(idle, HOST, 0, ssl=server_context()) as server:
        uri = uri_of(server).replace("ws:", "wss:")
        async with websockets.connect(uri, ssl=client_context()) as websocket:
            assert websocket.open


async def test_create_protocol_takes_the_arguments_that_are_documented() -> None:
    given = {}

    def create_protocol(ws_handler: Any, ws_server: Any, **arguments: Any) -> Any:
        given.update(arguments, ws_handler=ws_handler, ws_server=ws_server)
        return WebSocketServerProtocol(ws_handler, ws_server, **arguments)

    async with (
        serving(idle, create_protocol=create_protocol, max_size=1, compression=None) as (server, uri),
        websockets.connect(uri),
    ):
        pass
    assert given == {
        "ws_handler": idle,
        "ws_server": server,
        "ping_interval": 20,
        "ping_timeout": 20,
        "close_timeout": 10,
        "max_size": 1,
        "max_queue": 32,
        "read_limit": 2**16,
        "write_limit": 2**16,
        "origins": None,
        "extensions": None,
        "subprotocols": None,
        "extra_headers": None,
        "process_request": None,
        "select_subprotocol": None,
    }


async def test_create_protocol_may_be_a_class() -> None:
    class Protocol(WebSocketServerProtocol):
        pass

    async with serving(idle, create_protocol=Protocol) as (server, uri), websockets.connect(uri):
        (connection,) = server.connections
        assert isinstance(connection, Protocol)


async def test_options_become_attributes_of_the_connection() -> None:
    options = {
        "ping_interval": 3,
        "ping_timeout": 4,
        "close_timeout": 5,
        "max_size": 6,
        "max_queue": 7,
        "read_limit": 8,
        "write_limit": 9,
    }
    async with connected(options, options) as ends:
        for end in ends:
            assert {name: getattr(end, name) for name in options} == options
            assert end.loop is asyncio.get_running_loop()


@pytest.mark.parametrize("compression", ["deflate", None])
async def test_compression(compression: str | None) -> None:
    async with connected(server={"compression": compression}) as (client, server):
        names = [] if compression is None else ["permessage-deflate"]
        assert [extension.name for extension in client.extensions] == names
        assert [extension.name for extension in server.extensions] == names


async def test_compression_is_on_by_default_and_deflate_only() -> None:
    async with connected() as (client, _):
        assert client.extensions[0].name == "permessage-deflate"
    with pytest.raises(ValueError, match="compression"):
        websockets.serve(idle, HOST, 0, compression="gzip")


async def test_origins() -> None:
    async with serving(idle, origins=["http://localhost", None]) as (_, uri):
        async with websockets.connect(uri, origin="http://localhost"), websockets.connect(uri):
            pass
        with pytest.raises(InvalidStatusCode) as raised:
            await websockets.connect(uri, origin="http://other")
        assert raised.value.status_code == 403
    async with serving(idle, origins=["http://localhost"]) as (_, uri):
        with pytest.raises(InvalidStatusCode):
            await websockets.connect(uri)


async def test_extensions_are_in_order_of_preference() -> None:
    factories = [
        ServerPerMessageDeflateFactory(server_max_window_bits=9),
        ServerPerMessageDeflateFactory(server_max_window_bits=10),
    ]
    async with connected(server={"extensions": factories}) as (client, _):
        (extension,) = client.extensions
        assert extension.remote_max_window_bits == 9


async def test_subprotocols_are_in_order_of_preference() -> None:
    async with connected({"subprotocols": ["a", "b"]}, {"subprotocols": ["b", "a"]}) as (client, server):
        assert client.subprotocol == server.subprotocol == "b"


@pytest.mark.parametrize(
    "extra_headers",
    [
        Headers(A="b"),
        {"A": "b"},
        [("A", "b")],
        lambda path, headers: Headers(A="b"),
        lambda path, headers: {"A": "b"} if path == "/" and isinstance(headers, Headers) else {},
        lambda path, headers: iter([("A", "b")]),
    ],
)
async def test_extra_headers(extra_headers: Any) -> None:
    async with serving(idle, extra_headers=extra_headers) as (_, uri), websockets.connect(uri) as websocket:
        assert websocket.response_headers["A"] == "b"


async def test_extra_headers_may_be_any_iterable_of_pairs() -> None:
    async with serving(idle, extra_headers=(pair for pair in [("A", "b")])) as (_, uri):
        for _ in range(2):
            async with websockets.connect(uri) as websocket:
                assert websocket.response_headers["A"] == "b"


async def test_process_request_as_an_argument() -> None:
    async def process_request(path: str, request_headers: Headers) -> Any:
        assert "Upgrade" in request_headers
        return (HTTPStatus.OK, [("A", "b")], b"fine") if path == "/health" else None

    async with serving(idle, process_request=process_request) as (_, uri):
        with pytest.raises(InvalidStatusCode) as raised:
            await websockets.connect(uri + "health")
        response = raised.value.response
        assert response is not None
        assert (response.status, response.headers["A"], response.body) == (200, "b", b"fine")
        async with websockets.connect(uri):
            pass


async def test_select_subprotocol_as_an_argument() -> None:
    def select_subprotocol(client_subprotocols: Any, server_subprotocols: Any) -> Any:
        assert (client_subprotocols, server_subprotocols) == (["a", "b"], ["c", "b"])
        return "a"

    options = {"subprotocols": ["c", "b"], "select_subprotocol": select_subprotocol}
    async with connected({"subprotocols": ["a", "b"]}, options) as (client, _):
        assert client.subprotocol == "a"


async def test_a_future_is_made_of_serve() -> None:
    server = await asyncio.ensure_future(websockets.serve(idle, HOST, 0))
    server.close()
    await server.wait_closed()


# unix_serve


async def test_unix_serve(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    async with websockets.unix_serve(ws_handler=echo, path=path, compression=None) as server:
        assert isinstance(server, WebSocketServer)
        async with websockets.unix_connect(path) as websocket:
            await websocket.send("x")
            assert await websocket.recv() == "x"
            assert websocket.extensions == ()
    assert isinstance(websockets.unix_serve(echo, path), websockets.server.Serve)


# WebSocketServer


async def test_closing_the_server_closes_open_connections_with_going_away() -> None:
    raised = []

    async def handler(websocket: Any, path: str) -> None:
        try:
            await websocket.recv()
        except ConnectionClosedOK as error:
            raised.append(error)

    async with serving(handler) as (server, uri), websockets.connect(uri) as websocket:
        assert server.close() is None
        assert server.close() is None
        assert await server.wait_closed() is None
        assert not server.connections
        assert len(raised) == 1
        with pytest.raises(ConnectionClosedOK):
            await websocket.recv()
        assert websocket.close_code == 1001


async def test_closing_the_server_rejects_connections_in_the_opening_handshake(runtime: Runtime) -> None:
    async with serving() as (server, _), runtime.raw_connection(server) as client:
        await client.send(request()[:-2])
        await runtime.until(lambda: server.connections)
        server.close()
        response = await client.read_response()
        assert response.status == 503
        client.close()
        await server.wait_closed()


async def test_wait_closed_waits_for_handlers(runtime: Runtime) -> None:
    released = asyncio.Event()

    async def handler(websocket: Any, path: str) -> None:
        await websocket.wait_closed()
        await released.wait()

    async with serving(handler) as (server, uri), websockets.connect(uri):
        server.close()
        waiting = asyncio.ensure_future(server.wait_closed())
        await runtime.until(lambda: all(connection.closed for connection in server.connections))
        await turns()
        assert not waiting.done()
        released.set()
        await waiting


async def test_sockets() -> None:
    async with serving() as (server, _):
        (sock,) = server.sockets
        assert sock.getsockname()[0] == HOST
        assert server.server.is_serving()
        server.close()
        assert server.sockets is None
    assert WebSocketServer(asyncio.get_running_loop()).sockets is None


# WebSocketServerProtocol


async def test_connection_without_a_server() -> None:
    connection = WebSocketServerProtocol(idle)
    assert (connection.ws_handler, connection.origins) == (idle, None)
    assert isinstance(connection.ws_server, WebSocketServer)
    assert (connection.open, connection.closed, connection.path) == (False, False, None)


async def test_connection_that_is_made_by_hand() -> None:
    """As the event loop makes it, without ``serve``."""
    server = WebSocketServer(asyncio.get_running_loop())
    listener = await asyncio.get_running_loop().create_server(
        lambda: WebSocketServerProtocol(echo, server, max_size=3, extra_headers={"A": "b"}), HOST, 0
    )
    port = listener.sockets[0].getsockname()[1]
    async with listener, websockets.connect(f"ws://{HOST}:{port}") as websocket:
        assert websocket.response_headers["A"] == "b"
        # Compression is up to serve.
        assert websocket.extensions == ()
        await websocket.send("abc")
        assert await websocket.recv() == "abc"
        await websocket.send("abcd")
        with pytest.raises(ConnectionClosedError):
            await websocket.recv()


async def test_handshake_is_called_with_what_was_configured_and_returns_the_path() -> None:
    calls = []

    class Protocol(WebSocketServerProtocol):
        async def handshake(self, *args: Any, **kwargs: Any) -> str:
            path = await super().handshake(*args, **kwargs)
            calls.append((args, kwargs, path))
            return path

    factory = ServerPerMessageDeflateFactory()
    options: dict[str, Any] = {
        "origins": [None],
        "extensions": [factory],
        "subprotocols": ["a"],
        "extra_headers": {"A": "b"},
    }
    async with (
        serving(idle, create_protocol=Protocol, **options) as (_, uri),
        websockets.connect(uri + "path"),
    ):
        pass
    ((args, kwargs, path),) = calls
    assert path == "/path"
    assert args == ()
    assert kwargs == {
        "origins": [None],
        "available_extensions": [factory],
        "available_subprotocols": ["a"],
        "extra_headers": {"A": "b"},
    }


async def test_handshake_goes_by_its_arguments() -> None:
    class Protocol(WebSocketServerProtocol):
        async def handshake(self, *args: Any, **kwargs: Any) -> str:
            return await super().handshake(
                [None, "http://localhost"],
                [ServerPerMessageDeflateFactory(server_max_window_bits=9)],
                ["b"],
                [("A", "c")],
            )

    options = {"origins": ["http://other"], "subprotocols": ["a"], "extra_headers": {"A": "b"}}
    client = {"subprotocols": ["a", "b"], "extensions": [ClientPerMessageDeflateFactory()]}
    async with connected(client, {**options, "create_protocol": Protocol}) as (websocket, _):
        assert websocket.subprotocol == "b"
        assert websocket.response_headers["A"] == "c"
        assert websocket.extensions[0].remote_max_window_bits == 9


async def test_handshake_without_arguments_negotiates_nothing() -> None:
    class Protocol(WebSocketServerProtocol):
        async def handshake(self, *args: Any, **kwargs: Any) -> str:
            return await super().handshake()

    options = {"origins": ["http://other"], "subprotocols": ["a"], "extra_headers": {"A": "b"}}
    client = {"subprotocols": ["a"]}
    async with connected(client, {**options, "create_protocol": Protocol}) as (websocket, _):
        assert (websocket.subprotocol, websocket.extensions) == (None, ())
        assert "A" not in websocket.response_headers


async def test_handshake_raises_when_it_fails() -> None:
    errors = []

    class Protocol(WebSocketServerProtocol):
        async def handshake(self, *args: Any, **kwargs: Any) -> str:
            try:
                return await super().handshake(*args, **kwargs)
            except InvalidHandshake as error:
                errors.append(error)
                raise

    async def process_request(path: str, request_headers: Headers) -> Any:
        return None if path == "/" else (HTTPStatus.NOT_FOUND, {}, b"")

    options: dict[str, Any] = {"origins": ["http://a"], "process_request": process_request}
    async with serving(idle, create_protocol=Protocol, **options) as (_, uri):
        for path, status in ("", 403), ("other", 404):
            with pytest.raises(InvalidStatusCode) as raised:
                await websockets.connect(uri + path)
            assert raised.value.status_code == status
    assert [type(error) for error in errors] == [InvalidOrigin, InvalidHandshake]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (AbortHandshake(HTTPStatus.IM_A_TEAPOT, {"A": "b"}, b"tea"), 418),
        (InvalidOrigin("http://a"), 403),
        (InvalidUpgrade("Upgrade"), 426),
        (InvalidHandshake("no"), 400),
        (ZeroDivisionError(), 500),
    ],
    ids=repr,
)
async def test_errors_of_an_overridden_handshake_are_answered(error: Exception, status: int) -> None:
    class Protocol(WebSocketServerProtocol):
        async def handshake(self, *args: Any, **kwargs: Any) -> str:
            raise error

    async with serving(idle, create_protocol=Protocol) as (_, uri):
        with pytest.raises(InvalidStatusCode) as raised:
            await websockets.connect(uri)
    assert raised.value.status_code == status
    if isinstance(error, AbortHandshake):
        response = raised.value.response
        assert response is not None
        assert (response.headers["A"], response.body) == ("b", b"tea")


async def test_error_of_an_overridden_handshake_that_has_succeeded(caplog: pytest.LogCaptureFixture) -> None:
    class Protocol(WebSocketServerProtocol):
        async def handshake(self, *args: Any, **kwargs: Any) -> str:
            await super().handshake(*args, **kwargs)
            raise ZeroDivisionError

    async def handler(websocket: Any, path: str) -> None:
        called.append(websocket)

    called: list[Any] = []
    async with serving(handler, create_protocol=Protocol) as (_, uri), websockets.connect(uri) as websocket:
        with pytest.raises(ConnectionClosedError):
            await websocket.recv()
        assert websocket.close_code == 1011
    assert called == []
    assert "opening handshake failed" in caplog.text


async def test_handshake_out_of_turn() -> None:
    with pytest.raises(InvalidHandshake):
        await WebSocketServerProtocol(idle).handshake()


async def test_process_request_as_a_method() -> None:
    class Protocol(WebSocketServerProtocol):
        async def process_request(self, path: str, request_headers: Headers) -> Any:
            self.user = request_headers.get("X-User")
            if self.user is None:
                return HTTPStatus.UNAUTHORIZED, {}, b""
            return await super().process_request(path, request_headers)

    async def process_request(path: str, request_headers: Headers) -> Any:
        return (HTTPStatus.FORBIDDEN, Headers(), b"") if path == "/no" else None

    options = {"create_protocol": Protocol, "process_request": process_request}
    async with serving(idle, **options) as (server, uri):
        for path, headers, status in ("", {}, 401), ("no", {"X-User": "u"}, 403):
            with pytest.raises(InvalidStatusCode) as raised:
                await websockets.connect(uri + path, extra_headers=headers)
            assert raised.value.status_code == status
        async with websockets.connect(uri, extra_headers={"X-User": "u"}):
            assert [connection.user for connection in server.connections] == ["u"]


async def test_process_request_returns_none_by_default() -> None:
    connection = WebSocketServerProtocol(idle)
    assert await connection.process_request("/", Headers()) is None
    # A plain function is as good.
    connection = WebSocketServerProtocol(idle, process_request=lambda path, headers: (200, {}, b""))
    assert await connection.process_request(path="/", request_headers=Headers()) == (200, {}, b"")


async def test_process_request_that_waits_for_the_end_of_the_connection(runtime: Runtime) -> None:
    class Protocol(WebSocketServerProtocol):
        async def process_request(self, path: str, request_headers: Headers) -> Any:
            await self.wait_closed()

    async with serving(idle, create_protocol=Protocol) as (server, uri):
        connecting = asyncio.ensure_future(asyncio.wait_for(websockets.connect(uri), 10))
        await runtime.until(lambda: server.connections)
        server.close()
        await server.wait_closed()
        with pytest.raises(InvalidHandshake):
            await connecting


async def test_select_subprotocol_as_a_method() -> None:
    connection = WebSocketServerProtocol(idle)
    # Equal value is given to the priorities of both.
    select: Any = connection.select_subprotocol
    assert select(["a", "b", "c"], ["d", "c", "b", "a"]) in ("a", "b", "c")
    assert select(client_subprotocols=["a", "b"], server_subprotocols=["b", "c", "a"]) == "b"
    assert select(["a"], ["b"]) is None

    class Protocol(WebSocketServerProtocol):
        def select_subprotocol(self, client_subprotocols: Any, server_subprotocols: Any) -> Any:
            return client_subprotocols[-1]

    options = {"subprotocols": ["a"], "create_protocol": Protocol}
    async with connected({"subprotocols": ["a", "b"]}, options) as (client, _):
        assert client.subprotocol == "b"
    # An argument takes the place of the method.
    options["select_subprotocol"] = lambda client_subprotocols, server_subprotocols: None
    async with connected({"subprotocols": ["a", "b"]}, options) as (client, _):
        assert client.subprotocol is None


async def test_handler_gets_connection_closed_when_the_client_goes() -> None:
    ended: asyncio.Future[ConnectionClosed] = asyncio.get_running_loop().create_future()

    async def handler(websocket: Any, path: str) -> None:
        try:
            await websocket.recv()
        except ConnectionClosed as error:
            ended.set_result(error)

    async with serving(handler) as (_, uri):
        async with websockets.connect(uri) as websocket:
            await websocket.close(4000, "reason")
        error = await ended
    assert (error.code, error.reason) == (4000, "reason")
    assert isinstance(error, ConnectionClosedError)


async def test_waiting_for_the_server_in_its_own_handler() -> None:
    told = asyncio.Event()

    async def handler(websocket: Any, path: str) -> None:
        with pytest.raises(RuntimeError, match="handler"):
            await websocket.ws_server.wait_closed()
        told.set()

    async with serving(handler) as (_, uri), websockets.connect(uri):
        await told.wait()
