"""Programs written for the API that this one continues: only their imports are changed.

One test for each call, attribute and default that is documented there, apart from compression and
HTTP Basic, in the words of that documentation.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest

import wsproto_core
from adapters.asyncio import (
    ClientConnection,
    Connection,
    Server,
    ServerConnection,
    connect,
    serve,
    unix_connect,
    unix_serve,
)
from adapters.shared.options import OPTIONS, ConnectOptions, ServeOptions
from wsproto_core import ConnectionClosed, ConnectionClosedError, ConnectionClosedOK, Data, Headers
from wsproto_core.exceptions import InvalidHandshake, InvalidStatusCode, InvalidURI

from .event_loop import port_of, turns, uri_of
from .runtimes.base import HOST, Log, client_context, server_context


async def echo(websocket: ServerConnection, path: str) -> None:
    async for message in websocket:
        await websocket.send(message)


async def idle(websocket: ServerConnection, path: str) -> None:
    await websocket.wait_closed()


# Programs


async def test_hello_server_and_client() -> None:
    greetings = []

    async def hello(websocket: ServerConnection, path: str) -> None:
        name = await websocket.recv()
        assert isinstance(name, str)
        greeting = f"Hello {name}!"
        await websocket.send(greeting)

    server = await serve(hello, "localhost", 0)

    async def client() -> None:
        uri = f"ws://localhost:{port_of(server)}"
        async with connect(uri) as websocket:
            await websocket.send("name")
            greetings.append(await websocket.recv())

    await client()
    assert greetings == ["Hello name!"]
    server.close()
    await server.wait_closed()


async def test_consumer_and_producer() -> None:
    consumed: list[Data] = []

    async def consumer_handler(websocket: Connection, path: str) -> None:
        async for message in websocket:
            consumed.append(message)

    async def producer_handler(websocket: Connection, path: str) -> None:
        for number in range(3):
            await websocket.send(str(number))
        await asyncio.get_running_loop().create_future()

    async def handler(websocket: ServerConnection, path: str) -> None:
        consumer_task = asyncio.ensure_future(consumer_handler(websocket, path))
        producer_task = asyncio.ensure_future(producer_handler(websocket, path))
        _, pending = await asyncio.wait([consumer_task, producer_task], return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()

    async with serve(handler, HOST, 0) as server, connect(uri_of(server)) as websocket:
        assert [await websocket.recv() for _ in range(3)] == ["0", "1", "2"]
        await websocket.send("a")
        await websocket.send("b")
    assert consumed == ["a", "b"]


async def test_registration() -> None:
    connected = set()

    async def handler(websocket: ServerConnection, path: str) -> None:
        connected.add(websocket)
        try:
            await asyncio.wait([asyncio.ensure_future(ws.send("Hello!")) for ws in connected])
            await websocket.recv()
        except ConnectionClosed:
            pass
        finally:
            connected.remove(websocket)

    async with (
        serve(handler, HOST, 0) as server,
        connect(uri_of(server)) as first,
        connect(uri_of(server)) as second,
    ):
        assert [await first.recv(), await first.recv(), await second.recv()] == ["Hello!"] * 3
    assert connected == set()


# serve


async def test_serve_yields_a_server() -> None:
    server = await serve(echo, HOST, 0)
    assert isinstance(server, Server)
    assert server.close() is None
    assert await server.wait_closed() is None


async def test_serve_is_an_asynchronous_context_manager() -> None:
    async with serve(echo, HOST, 0) as server:
        uri = uri_of(server)
        async with connect(uri) as websocket:
            await websocket.send("x")
            assert await websocket.recv() == "x"
    with pytest.raises(ConnectionRefusedError):
        await connect(uri)


async def test_connection_is_closed_when_the_handler_completes() -> None:
    async def handler(websocket: ServerConnection, path: str) -> None:
        await websocket.send(path)

    async with serve(handler, HOST, 0) as server, connect(uri_of(server, "/path?query")) as websocket:
        assert await websocket.recv() == "/path?query"
        with pytest.raises(ConnectionClosedOK):
            await websocket.recv()


async def test_connection_is_closed_when_the_handler_raises_and_it_is_logged() -> None:
    async def handler(websocket: ServerConnection, path: str) -> None:
        raise Exception("error in the handler")

    log = Log()
    async with serve(handler, HOST, 0, logger=log) as server, connect(uri_of(server)) as websocket:
        with pytest.raises(ConnectionClosedError) as raised:
            await websocket.recv()
        assert raised.value.code == 1011
        assert len(log.errors()) == 1


async def test_closing_the_server_closes_connections_with_going_away() -> None:
    exceptions = []

    async def handler(websocket: ServerConnection, path: str) -> None:
        try:
            await websocket.recv()
        except ConnectionClosedOK as exception:
            exceptions.append(exception)

    async with serve(handler, HOST, 0) as server, connect(uri_of(server)) as websocket:
        server.close()
        server.close()
        await server.wait_closed()
        with pytest.raises(ConnectionClosedOK) as raised:
            await websocket.recv()
        assert raised.value.code == 1001
        assert len(exceptions) == 1


async def test_closing_the_server_rejects_new_connections() -> None:
    async def process_request(path: str, request_headers: Headers) -> None:
        server.close()

    server = await serve(echo, HOST, 0, process_request=process_request)
    with pytest.raises(InvalidStatusCode) as raised:
        await connect(uri_of(server))
    assert raised.value.status_code == 503
    await server.wait_closed()


async def test_sockets() -> None:
    server = await serve(echo, HOST, 0)
    assert server.sockets is not None
    assert [sock.getsockname()[0] for sock in server.sockets] == [HOST]
    server.close()
    assert server.sockets == ()
    await server.wait_closed()


async def test_serve_passes_keywords_to_create_server() -> None:
    async with (
        serve(echo, HOST, 0, ssl=server_context(), backlog=5) as server,
        connect(uri_of(server, scheme="wss"), ssl=client_context()) as websocket,
    ):
        await websocket.send("x")
        assert await websocket.recv() == "x"


async def test_serve_create_protocol() -> None:
    class Protocol(ServerConnection):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            protocols.append(self)

    protocols: list[ServerConnection] = []
    async with serve(idle, HOST, 0, create_protocol=Protocol) as server, connect(uri_of(server)):
        assert len(protocols) == 1


async def test_unix_serve_and_unix_connect(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    async with unix_serve(echo, path):
        async with unix_connect(path) as websocket:
            await websocket.send("x")
            assert await websocket.recv() == "x"
            assert websocket.path == "/"
        async with unix_connect(path, uri="ws://localhost/path", ping_interval=None) as websocket:
            assert websocket.path == "/path"


async def test_origins() -> None:
    async with serve(idle, HOST, 0, origins=["http://localhost", None]) as server:
        async with connect(uri_of(server), origin="http://localhost"):
            pass
        async with connect(uri_of(server)):
            pass
        with pytest.raises(InvalidStatusCode, match="HTTP status 403"):
            await connect(uri_of(server), origin="http://otherhost")


async def test_extensions_may_be_given() -> None:
    async with (
        serve(idle, HOST, 0, extensions=[], compression=None) as server,
        connect(uri_of(server), extensions=[], compression=None) as websocket,
    ):
        assert list(websocket.extensions) == []


async def test_subprotocols() -> None:
    async with serve(idle, HOST, 0, subprotocols=["superchat", "chat"]) as server:
        async with connect(uri_of(server), subprotocols=["otherchat", "chat"]) as websocket:
            assert websocket.subprotocol == "chat"
        # Without one that both know, it proceeds without.
        async with connect(uri_of(server), subprotocols=["otherchat"]) as websocket:
            assert websocket.subprotocol is None


@pytest.mark.parametrize(
    "extra_headers",
    [
        Headers({"X-Spam": "Eggs"}),
        {"X-Spam": "Eggs"},
        [("X-Spam", "Eggs")],
        lambda path, request_headers: Headers({"X-Spam": "Eggs"}),
        lambda path, request_headers: {"X-Spam": "Eggs"},
        lambda path, request_headers: [("X-Spam", "Eggs")],
    ],
)
async def test_extra_headers(extra_headers: Any) -> None:
    async with serve(idle, HOST, 0, extra_headers=extra_headers) as server:
        async with connect(uri_of(server)) as websocket:
            assert websocket.response_headers["X-Spam"] == "Eggs"
        if not callable(extra_headers):
            async with connect(uri_of(server), extra_headers=extra_headers) as websocket:
                assert websocket.request_headers["X-Spam"] == "Eggs"


@pytest.mark.parametrize("headers", [[], {}, Headers(), [("X-Access", "OK")]], ids=str)
async def test_process_request_as_argument(headers: Any) -> None:
    async def process_request(path: str, request_headers: Headers) -> Any:
        if path == "/__health__/":
            return HTTPStatus.OK, headers, b"status = green\n"
        return None

    async with serve(idle, HOST, 0, process_request=process_request) as server:
        with pytest.raises(InvalidStatusCode) as raised:
            await connect(uri_of(server, "/__health__/"))
        assert raised.value.status_code == 200
        async with connect(uri_of(server)):
            pass


async def test_process_request_as_method() -> None:
    class Protocol(ServerConnection):
        async def process_request(self, path: str, request_headers: Headers) -> Any:
            if "Authorization" not in request_headers:
                return HTTPStatus.UNAUTHORIZED, {}, b""
            self.authorization = request_headers["Authorization"]
            return None

    async with serve(idle, HOST, 0, create_protocol=Protocol) as server:
        with pytest.raises(InvalidStatusCode, match="HTTP status 401"):
            await connect(uri_of(server))
        async with connect(f"ws://user:password@{HOST}:{port_of(server)}/"):
            (protocol,) = server.connections
            assert isinstance(protocol, Protocol)
            assert protocol.authorization.startswith("Basic ")


async def test_process_request_that_waits_for_wait_closed() -> None:
    class Protocol(ServerConnection):
        async def process_request(self, path: str, request_headers: Headers) -> Any:
            waiting.set()
            await self.wait_closed()

    waiting = asyncio.Event()
    server = await serve(idle, HOST, 0, create_protocol=Protocol)
    connecting = asyncio.ensure_future(_connect(uri_of(server)))
    await waiting.wait()
    server.close()
    with pytest.raises(InvalidHandshake):
        await connecting
    await server.wait_closed()


async def _connect(uri: str) -> ClientConnection:
    return await connect(uri)


async def test_select_subprotocol_as_argument_and_as_method() -> None:
    def select_subprotocol(client_subprotocols: Any, server_subprotocols: Any) -> Any:
        return "chat" if "chat" in client_subprotocols else None

    class Protocol(ServerConnection):
        def select_subprotocol(self, client_subprotocols: Any, server_subprotocols: Any) -> Any:
            return super().select_subprotocol(client_subprotocols, server_subprotocols)

    for options in ({"select_subprotocol": select_subprotocol}, {"create_protocol": Protocol}):
        async with (
            serve(idle, HOST, 0, subprotocols=["superchat", "chat"], **options) as server,
            connect(uri_of(server), subprotocols=["chat"]) as websocket,
        ):
            assert websocket.subprotocol == "chat"


# connect


async def test_connect_yields_a_connection() -> None:
    async with serve(echo, HOST, 0) as server:
        websocket = await connect(uri_of(server))
        assert isinstance(websocket, ClientConnection)
        await websocket.close()


async def test_connect_closes_the_connection_on_exit() -> None:
    async with serve(echo, HOST, 0) as server:
        async with connect(uri_of(server)) as websocket:
            assert websocket.open
        assert websocket.closed


async def test_connect_host_and_port() -> None:
    async with (
        serve(idle, HOST, 0) as server,
        connect("ws://other.example.com/", host=HOST, port=port_of(server)) as websocket,
    ):
        assert websocket.request_headers["Host"] == "other.example.com"


async def test_connect_to_a_wss_uri_with_a_context() -> None:
    async with serve(idle, HOST, 0, ssl=server_context()) as server:
        # The host name from the URI is used in the TLS handshake.
        uri = f"wss://localhost:{port_of(server)}/"
        async with connect(uri, ssl=client_context(), host=HOST) as websocket:
            assert websocket.open
        # Without one, the default context does not know our certificate.
        with pytest.raises(OSError, match="certificate"):
            await connect(uri)


async def test_connect_create_protocol() -> None:
    class Protocol(ClientConnection):
        pass

    async with serve(idle, HOST, 0) as server:
        for create_protocol in (Protocol, lambda *args, **kwargs: Protocol(*args, **kwargs)):
            async with connect(uri_of(server), create_protocol=create_protocol) as websocket:
                assert isinstance(websocket, Protocol)


async def test_connect_raises_for_an_invalid_uri() -> None:
    with pytest.raises(InvalidURI):
        await connect("http://localhost/")


async def test_connect_raises_for_a_handshake_that_fails() -> None:
    async with serve(idle, HOST, 0, origins=[]) as server:
        with pytest.raises(InvalidHandshake):
            await connect(uri_of(server))


# Defaults


@pytest.mark.parametrize(
    ("option", "default"),
    {
        "create_protocol": None,
        "ping_interval": 20,
        "ping_timeout": 20,
        "close_timeout": 10,
        "max_size": 2**20,
        "max_queue": 2**5,
        "read_limit": 2**16,
        "write_limit": 2**16,
        "compression": "deflate",
        "origins": None,
        "origin": None,
        "extensions": None,
        "subprotocols": None,
        "extra_headers": None,
        "process_request": None,
        "select_subprotocol": None,
    }.items(),
)
def test_defaults_of_options(option: str, default: Any) -> None:
    assert OPTIONS[option].default == default
    sides = {
        "origins": [ServeOptions],
        "process_request": [ServeOptions],
        "select_subprotocol": [ServeOptions],
        "origin": [ConnectOptions],
    }.get(option, [ServeOptions, ConnectOptions])
    for side in sides:
        assert option in side.__annotations__


def test_signatures() -> None:
    def parameters(function: Any) -> list[Any]:
        return [
            parameter.name if parameter.default is parameter.empty else (parameter.name, parameter.default)
            for parameter in inspect.signature(function).parameters.values()
            # The others are options: see test_signatures.py.
            if parameter.kind is not parameter.KEYWORD_ONLY or not hasattr(function, "__signature__")
        ]

    assert parameters(serve) == ["handler", ("host", None), ("port", None)]
    assert parameters(unix_serve) == ["handler", ("path", None)]
    assert parameters(connect) == ["uri"]
    assert parameters(unix_connect) == ["path", ("uri", "ws://localhost/")]
    assert parameters(Connection.close) == ["self", ("code", 1000), ("reason", "")]
    assert parameters(Connection.ping) == ["self", ("data", None)]
    assert parameters(Connection.pong) == ["self", ("data", b"")]
    assert parameters(Connection.recv)[:1] == ["self"]
    assert parameters(Connection.send)[:2] == ["self", "message"]
    assert parameters(Connection.wait_closed) == ["self"]
    assert parameters(Server.wait_closed) == ["self"]
    assert parameters(ServerConnection.process_request) == ["self", "path", "request_headers"]
    assert parameters(ServerConnection.select_subprotocol) == [
        "self",
        "client_subprotocols",
        "server_subprotocols",
    ]
    for name in ("recv", "send", "ping", "pong", "close", "wait_closed"):
        assert inspect.iscoroutinefunction(getattr(Connection, name))


# Connections


class Pair:
    """A client and the server's end of its connection."""

    async def __aenter__(self) -> tuple[ClientConnection, ServerConnection]:
        self.server = await serve(idle, HOST, 0)
        self.client = await connect(uri_of(self.server))
        (connection,) = self.server.connections
        return self.client, connection

    async def __aexit__(self, *exc_info: Any) -> None:
        await self.client.close()
        self.server.close()
        await self.server.wait_closed()


async def test_asynchronous_iteration() -> None:
    async with Pair() as (client, server):
        await server.send("a")
        await server.send(b"b")
        closing = asyncio.ensure_future(server.close(code=1001))
        messages = []
        async for message in client:
            messages.append(message)
        assert messages == ["a", b"b"]
        await closing
    async with Pair() as (client, server):
        closing = asyncio.ensure_future(server.close(code=1011))
        with pytest.raises(ConnectionClosedError):
            await anext(client)
        await closing


async def test_recv_returns_str_or_bytes() -> None:
    async with Pair() as (client, server):
        await server.send("tea")
        await server.send(b"tea")
        assert [await client.recv(), await client.recv()] == ["tea", b"tea"]


async def test_recv_raises_connection_closed() -> None:
    async with Pair() as (client, server):
        await server.close()
        with pytest.raises(ConnectionClosedOK) as raised:
            await client.recv()
        assert (raised.value.code, raised.value.reason) == (1000, "")


async def test_recv_can_be_cancelled_and_loses_nothing() -> None:
    async with Pair() as (client, server):
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(client.recv(), 0.01)
        await server.send("a")
        assert await client.recv() == "a"


async def test_two_recv_at_once_are_a_runtime_error() -> None:
    async with Pair() as (client, server):
        first = asyncio.ensure_future(client.recv())
        await turns()
        with pytest.raises(RuntimeError):
            await client.recv()
        await server.send("a")
        await first


async def test_message_larger_than_max_size() -> None:
    async with serve(echo, HOST, 0) as server, connect(uri_of(server), max_size=1000) as client:
        await client.send("x" * 1001)
        with pytest.raises(ConnectionClosedError):
            await client.recv()
        (connection,) = server.connections
        await connection.wait_closed()
        assert connection.close_code == 1009


@pytest.mark.parametrize(
    ("message", "received"),
    [
        ("text", "text"),
        (b"bytes", b"bytes"),
        (bytearray(b"bytearray"), b"bytearray"),
        (memoryview(b"memoryview"), b"memoryview"),
        (["a", "b"], "ab"),
        ([b"a", bytearray(b"b"), memoryview(b"c")], b"abc"),
    ],
    ids=["str", "bytes", "bytearray", "memoryview", "fragments of text", "binary fragments"],
)
async def test_send(message: Any, received: Data) -> None:
    async def asynchronous() -> AsyncIterator[Any]:
        for item in message:
            yield item

    async with Pair() as (client, server):
        assert await client.send(message) is None
        assert await server.recv() == received
        if isinstance(message, list):
            await client.send(asynchronous())
            assert await server.recv() == received


@pytest.mark.parametrize("message", [None, 5, {"key": "value"}])
async def test_send_raises_type_error_for_unsupported_inputs(message: Any) -> None:
    async with Pair() as (client, _):
        with pytest.raises(TypeError):
            await client.send(message)


async def test_send_of_items_of_different_types_raises_type_error_and_closes() -> None:
    async with Pair() as (client, _):
        with pytest.raises(TypeError):
            await client.send(["text", b"bytes"])  # type: ignore[list-item]
        await client.wait_closed()
        assert not client.open


async def test_ping_returns_a_future() -> None:
    async with Pair() as (ws, _):
        pong_waiter = await ws.ping()
        assert isinstance(pong_waiter, asyncio.Future)
        await pong_waiter  # only if you want to wait for the pong
        for data in ("text", b"bytes", bytearray(b"bytearray")):
            await (await ws.ping(data))
        # Cancelling it has no effect.
        waiter = await ws.ping()
        waiter.cancel()
        await (await ws.ping())
        assert ws.open


async def test_pong() -> None:
    async with Pair() as (client, server):
        for data in ("text", b"bytes", bytearray(b"bytearray")):
            assert await client.pong(data) is None
        await client.pong()
        await client.send("x")
        assert await server.recv() == "x"


async def test_close() -> None:
    async with Pair() as (client, server):
        assert await client.close(code=1001, reason="away") is None
        assert (server.close_code, server.close_reason) == (1001, "away")
        assert client.closed
        await client.close()
        await client.close(code=4000)
        assert server.close_code == 1001
        # In a task, too.
        await asyncio.get_running_loop().create_task(client.close())


async def test_wait_closed() -> None:
    async with Pair() as (client, server):
        waiting = asyncio.ensure_future(client.wait_closed())
        await turns()
        assert not waiting.done()
        await server.close()
        assert await waiting is None
        assert client.closed


async def test_local_address_and_remote_address() -> None:
    async with Pair() as (client, server):
        assert client.remote_address == server.local_address
        assert client.local_address == server.remote_address
        host, port = client.remote_address
        assert host == HOST
        assert isinstance(port, int)


async def test_open_and_closed() -> None:
    async with Pair() as (client, _server):
        assert (client.open, client.closed) == (True, False)
        closing = asyncio.ensure_future(client.close())
        await turns(1)
        # Both are false during the closing sequence.
        assert (client.open, client.closed) == (False, False)
        await closing
        assert (client.open, client.closed) == (False, True)
        with pytest.raises(ConnectionClosed):
            await client.send("x")


async def test_path_and_headers() -> None:
    async with Pair() as (client, server):
        for connection in (client, server):
            assert connection.path == "/"
            assert isinstance(connection.request_headers, Headers)
            assert isinstance(connection.response_headers, Headers)
            assert connection.request_headers["Upgrade"] == "websocket"
            assert connection.response_headers["Upgrade"] == "websocket"


async def test_close_code_and_close_reason() -> None:
    async with Pair() as (client, server):
        assert (client.close_code, client.close_reason) == (None, None)
        await server.close(1000, "reason")
        await client.wait_closed()
        assert (client.close_code, client.close_reason) == (1000, "reason")


async def test_exceptions_have_code_and_reason() -> None:
    assert issubclass(ConnectionClosedOK, ConnectionClosed)
    assert issubclass(ConnectionClosedError, ConnectionClosed)
    async with Pair() as (client, server):
        await server.close(4000, "reason")
        with pytest.raises(ConnectionClosed) as raised:
            await client.recv()
        assert isinstance(raised.value, ConnectionClosedError)
        assert (raised.value.code, raised.value.reason) == (4000, "reason")


def test_data_is_str_or_bytes() -> None:
    assert wsproto_core.Data == str | bytes
