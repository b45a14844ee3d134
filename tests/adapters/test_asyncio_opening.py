"""Opening connections: every option of connect and serve, and what goes wrong."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import re
import socket
import ssl
import sys
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest

from adapters.asyncio import (
    ClientConnection,
    ServerConnection,
    connect,
    serve,
    unix_connect,
    unix_serve,
)
from tests.core.helpers import TEXT, Frame, parse_head, request, response
from wsproto_core import (
    HandshakeTimeout,
    Headers,
    InvalidHandshake,
    InvalidStatusCode,
    InvalidURI,
    Response,
    State,
    make_response,
)
from wsproto_core.exceptions import (
    AbortHandshake,
    InvalidHeader,
    InvalidMessage,
    NegotiationError,
    SecurityError,
)
from wsproto_core.options import OPTIONS, USER_AGENT, ConnectOptions, ServeOptions

from .runtime import (
    HOST,
    Log,
    client_context,
    connected,
    echo,
    port_of,
    raw_client,
    raw_connection,
    raw_listener,
    server_context,
    serving,
    settle,
    until,
    uri_of,
    wait_closed,
)


async def check_echo(client: ClientConnection) -> None:
    await client.send("hello")
    assert await client.recv() == "hello"


@contextlib.asynccontextmanager
async def refused(uri: str, status: int, **options: Any) -> Any:
    """Connect and get another status than 101; yields the response."""
    with pytest.raises(InvalidStatusCode) as raised:
        await connect(uri, **options)
    assert raised.value.status_code == status
    assert raised.value.response is not None
    assert raised.value.response.status == status
    yield raised.value.response


# connect


async def test_connect_is_awaitable() -> None:
    async with serving() as (_, uri):
        client = await connect(uri)
        assert isinstance(client, ClientConnection)
        assert client.state is State.OPEN
        await check_echo(client)
        await client.close()


async def test_connect_is_a_context_manager() -> None:
    async with serving() as (_, uri), connect(uri) as client:
        assert isinstance(client, ClientConnection)
        await check_echo(client)


async def test_handshake_is_at_hand_on_both_sides() -> None:
    async with connected() as (client, server):
        for end in (client, server):
            assert end.path == "/"
            assert end.request is not None
            assert end.request.method == "GET"
            assert end.request_headers is end.request.headers
            assert end.request_headers["User-Agent"] == USER_AGENT
            assert end.response is not None
            assert end.response.status == 101
            assert end.response_headers is end.response.headers
            assert end.response_headers["Server"] == USER_AGENT
            assert "Date" in end.response_headers
            assert (end.subprotocol, list(end.extensions), end.latency) == (None, [], 0.0)
        assert client.id != server.id
        assert str(client.id) in repr(client)
        assert "OPEN" in repr(client)


async def test_path_and_query_are_the_uris() -> None:
    async def handler(websocket: ServerConnection) -> None:
        assert websocket.path is not None
        await websocket.send(websocket.path)

    async with serving(handler) as (server, _):
        for path in ("/", "/chat", "/a/b?c=d&e=%20", "/?x"):
            async with connect(uri_of(server, path)) as client:
                assert await client.recv() == client.path == path


async def test_host_and_port_change_where_to_but_not_what_for() -> None:
    async with serving(wait_closed) as (server, _):
        uri = "ws://example.com:1234/chat"
        async with connect(uri, host=HOST, port=port_of(server)) as client:
            assert client.remote_address == (HOST, port_of(server))
            (accepted,) = server.connections
            assert accepted.request_headers is not None
            assert accepted.request_headers["Host"] == "example.com:1234"
        async with connect(f"ws://example.com:{port_of(server)}/", host=HOST) as client:
            assert client.open
        async with connect(f"ws://{HOST}:1/", port=port_of(server)) as client:
            assert client.open


async def test_server_that_is_not_there() -> None:
    with socket.create_server((HOST, 0)) as sock:
        uri = f"ws://{HOST}:{sock.getsockname()[1]}/"
    with pytest.raises(ConnectionRefusedError):
        await connect(uri)


@pytest.mark.parametrize("uri", ["http://localhost/", "localhost", "ws://localhost/#fragment", "ws:///path"])
async def test_uri_that_is_none_is_refused_before_any_connection(uri: str) -> None:
    with pytest.raises(InvalidURI):
        connect(uri)


async def test_sock() -> None:
    async with serving() as (server, uri):
        sock = socket.create_connection((HOST, port_of(server)))
        async with connect(uri, sock=sock) as client:
            assert client.local_address == sock.getsockname()
            await check_echo(client)


async def test_options_of_the_event_loop_are_passed_on() -> None:
    async with serving() as (server, uri):
        async with connect(uri, family=socket.AF_INET, local_addr=("127.0.0.1", 0)) as client:
            await check_echo(client)
        with pytest.raises(socket.gaierror):
            await connect(f"ws://[::1]:{port_of(server)}/", family=socket.AF_INET)


@pytest.mark.parametrize(
    ("option", "similar"),
    [("ping_intervall", "ping_interval"), ("max_sise", "max_size"), ("sll", "ssl"), ("origins", "origin")],
)
async def test_unknown_option_of_connect_is_named_before_any_connection(option: str, similar: str) -> None:
    async with serving() as (server, uri):
        with pytest.raises(TypeError, match=f"{option!r}; did you mean {similar!r}"):
            await connect(uri, **{option: None})  # type: ignore[call-overload]
        with pytest.raises(TypeError, match=r"'nothing_like_it'$"):
            await connect(uri, nothing_like_it=1)  # type: ignore[call-arg]
        assert not server.connections


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"max_size": "1"}, TypeError),
        ({"max_size": -1}, ValueError),
        ({"open_timeout": 0}, ValueError),
        ({"ping_interval": "20"}, TypeError),
        ({"compression": "gzip"}, ValueError),
        ({"origin": "a\r\nb"}, ValueError),
        ({"extra_headers": {"X": "\0"}}, ValueError),
        ({"extra_headers": 1}, TypeError),
        ({"user_agent_header": "a\nb"}, ValueError),
        ({"subprotocols": ["a b"]}, ValueError),
        ({"subprotocols": "chat"}, TypeError),
        ({"extensions": [1]}, TypeError),
        ({"logger": 1}, TypeError),
        ({"create_protocol": 1}, TypeError),
        ({"host": 1}, TypeError),
        ({"port": 65536}, ValueError),
        ({"ssl": True}, ValueError),
    ],
    ids=str,
)
async def test_value_of_an_option_of_connect_is_refused_before_any_connection(
    options: dict[str, Any], error: type[Exception]
) -> None:
    (name,) = options
    with pytest.raises(error, match=name):
        await connect(f"ws://{HOST}:9/", **options)


@pytest.mark.parametrize("name", ["Upgrade", "Connection", "Sec-WebSocket-Key", "sec-websocket-version"])
async def test_headers_of_the_handshake_cannot_be_overridden(name: str) -> None:
    with pytest.raises(ValueError, match=name.lower()):
        await connect(f"ws://{HOST}:9/", extra_headers={name: "x"})


HEADER_FORMS: list[Any] = [
    {"X-One": "1", "X-Two": "2"},
    [("X-One", "1"), ("X-Two", "2")],
    (("X-One", "1"), ("X-Two", "2")),
    Headers(X_One="0"),
]
HEADER_FORMS[-1] = Headers([("X-One", "1"), ("X-Two", "2")])


@pytest.mark.parametrize("extra_headers", HEADER_FORMS, ids=lambda value: type(value).__name__)
async def test_extra_headers_of_the_request(extra_headers: Any) -> None:
    async with connected({"extra_headers": extra_headers}) as (client, server):
        assert server.request_headers is not None
        assert (server.request_headers["X-One"], server.request_headers["X-Two"]) == ("1", "2")
        assert client.request_headers is not None
        assert client.request_headers["X-One"] == "1"


async def test_extra_headers_may_override_host_and_user_agent() -> None:
    async with connected({"extra_headers": {"Host": "other", "User-Agent": "mine"}}) as (_, server):
        assert server.request_headers is not None
        assert server.request_headers.get_all("Host") == ["other"]
        assert server.request_headers.get_all("User-Agent") == ["mine"]


@pytest.mark.parametrize("value", ["mine/1.0", None])
async def test_user_agent_and_server_header(value: str | None) -> None:
    async with connected({"user_agent_header": value}, {"server_header": value}) as (client, server):
        assert server.request_headers is not None
        assert server.request_headers.get("User-Agent") == value
        assert client.response_headers is not None
        assert client.response_headers.get("Server") == value


async def test_process_response() -> None:
    def process_response(path: str, request_headers: Headers, response: Response) -> None:
        response.headers["X-Path"] = path

    async with connected({}, {"process_response": process_response}) as (client, server):
        assert client.response_headers is not None
        assert client.response_headers["X-Path"] == server.path


async def test_user_information_is_sent_as_basic_credentials() -> None:
    async with (
        serving(wait_closed) as (server, _),
        connect(f"ws://Aladdin:open%20sesame@{HOST}:{port_of(server)}/") as client,
    ):
        (accepted,) = server.connections
        assert accepted.request_headers is not None
        assert accepted.request_headers["Authorization"] == "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
        assert accepted.request_headers["Host"] == f"{HOST}:{port_of(server)}"
        assert client.path == "/"


async def test_origin() -> None:
    async with connected({"origin": "https://example.com"}) as (_, server):
        assert server.request_headers is not None
        assert server.request_headers["Origin"] == "https://example.com"


async def test_logger() -> None:
    log, other = Log(), Log()
    async with connected({"logger": log}, {"logger": other}) as (client, server):
        assert client.logger.logger is log.logger
        assert server.logger.logger is other.logger
    assert log.records
    assert other.records


async def test_default_loggers(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "wsproto_core")
    async with connected() as (client, server):
        assert client.logger.logger is logging.getLogger("wsproto_core.client")
        assert server.logger.logger is logging.getLogger("wsproto_core.server")
    opened = [record.name for record in caplog.records if record.getMessage() == "connection open"]
    assert sorted(opened) == ["wsproto_core.client", "wsproto_core.server"]


# create_protocol


class OurClient(ClientConnection):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.arguments = (args, kwargs)
        super().__init__(*args, **kwargs)


class OurServer(ServerConnection):
    def __init__(self, *args: Any, extra: int = 0, **kwargs: Any) -> None:
        self.arguments = (args, kwargs)
        self.extra = extra
        super().__init__(*args, **kwargs)


async def test_create_protocol_of_a_client_is_a_class_or_a_function() -> None:
    made = []

    def create(*args: Any, **kwargs: Any) -> OurClient:
        made.append(OurClient(*args, **kwargs))
        return made[-1]

    async with serving() as (_, uri):
        for create_protocol in (OurClient, create):
            async with connect(uri, create_protocol=create_protocol, max_size=10, ping_interval=7) as client:
                assert type(client) is OurClient
                args, kwargs = client.arguments
                assert [str(args[0].host)] == [HOST]
                assert kwargs == {"max_size": 10, "ping_interval": 7}
                await check_echo(client)
        assert made == [client]


async def test_create_protocol_of_a_server_is_a_class_or_a_function() -> None:
    create_function = functools.partial(OurServer, extra=1)
    for create_protocol, extra in ((OurServer, 0), (create_function, 1)):
        async with (
            serving(wait_closed, create_protocol=create_protocol, max_size=10) as (server, uri),
            connect(uri),
        ):
            (accepted,) = server.connections
            assert isinstance(accepted, OurServer)
            assert accepted.extra == extra
            args, kwargs = accepted.arguments
            assert args == (wait_closed, server)
            assert kwargs == {"max_size": 10, "compression": None}
            assert accepted.handler is wait_closed
            assert accepted.server is server


async def test_create_protocol_gets_all_options() -> None:
    # It may be a class that was written for another version: nothing is held back.
    async with serving(wait_closed) as (server, uri):
        options = {"host": HOST, "port": port_of(server), "subprotocols": ["a"]}
        async with connect(uri, create_protocol=OurClient, **options) as client:
            assert isinstance(client, OurClient)
            assert client.arguments[1].items() >= {"subprotocols": ["a"]}.items()


async def test_none_is_the_default_of_create_protocol() -> None:
    async with (
        serving(wait_closed, create_protocol=None) as (server, uri),
        connect(uri, create_protocol=None) as client,
    ):
        assert type(client) is ClientConnection
        assert [type(connection) for connection in server.connections] == [ServerConnection]


# Handlers


async def one(websocket: ServerConnection) -> None:
    await websocket.send("one")


async def two(websocket: ServerConnection, path: str) -> None:
    await websocket.send(path)


async def optional(websocket: ServerConnection, option: str = "optional") -> None:
    await websocket.send(option)


async def variable(*args: Any) -> None:
    await args[0].send(str(len(args)))


class Handlers:
    async def one(self, websocket: ServerConnection) -> None:
        await websocket.send("method")

    async def two(self, websocket: ServerConnection, path: str) -> None:
        await websocket.send(f"method {path}")

    @staticmethod
    async def static(websocket: ServerConnection, path: str) -> None:
        await websocket.send(f"static {path}")

    async def __call__(self, websocket: ServerConnection) -> None:
        await websocket.send("callable")


class PathHandler:
    async def __call__(self, websocket: ServerConnection, path: str) -> None:
        await websocket.send(f"callable {path}")


async def three(first: Any, websocket: ServerConnection, path: str) -> None:
    await websocket.send(f"{first} {path}")


async def keyword(websocket: ServerConnection, *, option: str = "keyword") -> None:
    await websocket.send(option)


def returning(websocket: ServerConnection) -> Any:
    return one(websocket)


@pytest.mark.parametrize(
    ("handler", "expected"),
    [
        (one, "one"),
        (two, "/path"),
        (optional, "optional"),
        (variable, "1"),
        (Handlers().one, "method"),
        (Handlers().two, "method /path"),
        (Handlers.static, "static /path"),
        (Handlers(), "callable"),
        (PathHandler(), "callable /path"),
        (functools.partial(two, path="fixed"), "fixed"),
        (functools.partial(three, "first"), "first /path"),
        (keyword, "keyword"),
        (lambda websocket: one(websocket), "one"),
        (lambda websocket, path: two(websocket, path), "/path"),
        (returning, "one"),
    ],
    ids=lambda value: getattr(value, "__qualname__", type(value).__name__),
)
async def test_handler_gets_the_path_if_it_cannot_do_without(
    handler: Callable[..., Any], expected: str
) -> None:
    async with serving(handler) as (server, _), connect(uri_of(server, "/path")) as client:
        assert await client.recv() == expected


@pytest.mark.parametrize("handler", [lambda: None, lambda a, b, c: None, lambda *, a: None])
async def test_handler_that_cannot_be_called_is_refused_by_serve(handler: Any) -> None:
    with pytest.raises(TypeError, match="handler must take the connection"):
        serve(handler, HOST, 0)


# serve


@pytest.mark.parametrize(
    ("option", "similar"),
    [("ping_timeot", "ping_timeout"), ("orgins", "origins"), ("back_log", "backlog"), ("origin", "origins")],
)
async def test_unknown_option_of_serve_is_named(option: str, similar: str) -> None:
    with pytest.raises(TypeError, match=f"{option!r}; did you mean {similar!r}"):
        await serve(echo, HOST, 0, **{option: None})  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"max_queue": 0}, ValueError),
        ({"close_timeout": -1}, ValueError),
        ({"origins": "https://example.com"}, TypeError),
        ({"origins": [1]}, TypeError),
        ({"process_request": 1}, TypeError),
        ({"select_subprotocol": "a"}, TypeError),
        ({"extra_headers": {"a b": "c"}}, ValueError),
        ({"server_header": "\0"}, ValueError),
        ({"write_limit": (1, 2)}, ValueError),
    ],
    ids=str,
)
async def test_value_of_an_option_of_serve_is_refused(
    options: dict[str, Any], error: type[Exception]
) -> None:
    (name,) = options
    with pytest.raises(error, match=name):
        await serve(echo, HOST, 0, **options)


async def test_listener_options_are_passed_on() -> None:
    options: dict[str, Any] = {
        "backlog": 1,
        "reuse_port": True,
        "reuse_address": True,
        "family": socket.AF_INET,
    }
    async with serve(echo, "localhost", 0, **options) as server, connect(uri_of(server)) as client:
        await check_echo(client)
        async with serve(echo, "localhost", port_of(server), reuse_port=True, family=socket.AF_INET):
            pass


async def test_serve_on_a_socket() -> None:
    sock = socket.create_server((HOST, 0))
    async with serve(echo, sock=sock) as server, connect(uri_of(server)) as client:
        await check_echo(client)


async def test_serve_on_a_port_that_is_taken() -> None:
    async with serving() as (server, _):
        with pytest.raises(OSError, match="in use"):
            await serve(echo, HOST, port_of(server))


@pytest.mark.parametrize("extra_headers", HEADER_FORMS, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("called", [False, True])
async def test_extra_headers_of_the_response(extra_headers: Any, called: bool) -> None:
    seen = []

    def function(path: str, request_headers: Headers) -> Any:
        seen.append((path, request_headers["User-Agent"]))
        return extra_headers

    async with connected(server={"extra_headers": function if called else extra_headers}) as (client, _):
        assert client.response_headers is not None
        assert (client.response_headers["X-One"], client.response_headers["X-Two"]) == ("1", "2")
        assert seen == [("/", USER_AGENT)] * called


async def test_function_for_extra_headers_may_return_none() -> None:
    async with connected(server={"extra_headers": lambda path, headers: None}) as (client, _):
        assert client.open


async def test_error_in_the_function_for_extra_headers_is_500() -> None:
    def function(path: str, request_headers: Headers) -> Any:
        raise ZeroDivisionError

    log = Log()
    async with serving(extra_headers=function, logger=log) as (_, uri):
        async with refused(uri, 500):
            pass
        assert [error for _, error in log.errors()] == [ZeroDivisionError]


@pytest.mark.parametrize(
    ("origins", "origin", "accepted"),
    [
        (None, None, True),
        (None, "https://other", True),
        (["https://one", "https://two"], "https://two", True),
        (["https://one"], "https://two", False),
        (["https://one"], None, False),
        (["https://one", None], None, True),
        ([None], "https://one", False),
        ([], "https://one", False),
        ([re.compile(r"https://[a-z]+\.example\.com")], "https://a.example.com", True),
        ([re.compile(r"https://[a-z]+\.example\.com")], "https://a.example.com.evil", False),
    ],
    ids=str,
)
async def test_origins(origins: Any, origin: str | None, accepted: bool) -> None:
    async with serving(origins=origins) as (_, uri):
        if accepted:
            async with connect(uri, origin=origin) as client:
                await check_echo(client)
        else:
            async with refused(uri, 403, origin=origin) as refusal:
                assert b"Origin" in refusal.body


@pytest.mark.parametrize(
    ("offered", "available", "selected"),
    [
        (None, None, None),
        (["a", "b"], None, None),
        (None, ["a", "b"], None),
        (["a", "b"], ["c"], None),
        (["a", "b", "c"], ["c", "b"], "c"),
        (["a"], ["a"], "a"),
    ],
)
async def test_subprotocols(offered: Any, available: Any, selected: str | None) -> None:
    async with connected({"subprotocols": offered}, {"subprotocols": available}) as (client, server):
        assert client.subprotocol == server.subprotocol == selected


async def test_select_subprotocol_function() -> None:
    seen = []

    def select(client: Any, server: Any) -> Any:
        seen.append((list(client), list(server)))
        return client[-1]

    options = {"subprotocols": ["x", "a", "b"], "select_subprotocol": select}
    async with connected({"subprotocols": ["a", "b"]}, options) as (client, _):
        assert client.subprotocol == "b"
        assert seen == [(["a", "b"], ["x", "a", "b"])]


async def test_select_subprotocol_method() -> None:
    class Connection(ServerConnection):
        def select_subprotocol(self, client_subprotocols: Any, server_subprotocols: Any) -> Any:
            return client_subprotocols[-1]

    options = {"subprotocols": ["a", "b"], "create_protocol": Connection}
    async with connected({"subprotocols": ["a", "b"]}, options) as (client, _):
        assert client.subprotocol == "b"
    # The option comes first.
    options["select_subprotocol"] = lambda client, server: client[0]
    async with connected({"subprotocols": ["a", "b"]}, options) as (client, _):
        assert client.subprotocol == "a"


async def test_select_subprotocol_default_can_be_called() -> None:
    class Connection(ServerConnection):
        def select_subprotocol(self, client_subprotocols: Any, server_subprotocols: Any) -> Any:
            return super().select_subprotocol(client_subprotocols, server_subprotocols[:1])

    options = {"subprotocols": ["a", "b"], "create_protocol": Connection}
    async with connected({"subprotocols": ["b", "a"]}, options) as (client, _):
        assert client.subprotocol == "a"


async def test_subprotocol_that_was_not_offered_is_an_error_of_the_server() -> None:
    log = Log()
    options = {"subprotocols": ["a"], "select_subprotocol": lambda client, server: "z", "logger": log}
    async with serving(**options) as (_, uri):
        async with refused(uri, 500, subprotocols=["a"]):
            pass
        assert [error for _, error in log.errors()] == [ValueError]


# process_request

ANSWERS: list[Any] = [
    Response(200, Headers({"X-Answer": "yes"}), b"answer"),
    make_response(200, {"X-Answer": "yes"}, b"answer"),
    (200, {"X-Answer": "yes"}, b"answer"),
    (HTTPStatus.OK, [("X-Answer", "yes")], b"answer"),
    (HTTPStatus.OK, Headers({"X-Answer": "yes"}), b"answer"),
]


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("how", ["function", "coroutine", "method", "coroutine method"])
async def test_process_request_may_answer_the_request(how: str, answer: Any) -> None:
    seen = []

    def function(path: str, request_headers: Headers) -> Any:
        seen.append((path, request_headers["Host"]))
        return answer if path == "/health" else None

    async def coroutine(path: str, request_headers: Headers) -> Any:
        await asyncio.sleep(0)
        return function(path, request_headers)

    class Connection(ServerConnection):
        def process_request(self, path: str, request_headers: Headers) -> Any:
            assert self.state is State.CONNECTING
            return function(path, request_headers)

    class CoroutineConnection(ServerConnection):
        async def process_request(self, path: str, request_headers: Headers) -> Any:
            return await coroutine(path, request_headers)

    options: dict[str, Any] = {
        "function": {"process_request": function},
        "coroutine": {"process_request": coroutine},
        "method": {"create_protocol": Connection},
        "coroutine method": {"create_protocol": CoroutineConnection},
    }[how]
    async with serving(**options) as (server, uri):
        async with connect(uri) as client:
            await check_echo(client)
        async with refused(uri_of(server, "/health"), 200) as refusal:
            assert refusal.headers["X-Answer"] == "yes"
            assert refusal.body == b"answer"
        # Also to those who never heard of WebSocket.
        async with raw_connection(server) as peer:
            await peer.send(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            head = await peer.read_response()
            assert (head.status, head.body) == (200, b"answer")
            assert (head.headers["content-length"], head.headers["connection"]) == ("6", "close")
        async with raw_connection(server) as peer:
            await peer.send(b"HEAD /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            head = await peer.read_response()
            assert (head.status, head.body, head.headers["content-length"]) == (200, b"", "6")
        host = f"{HOST}:{port_of(server)}"
        assert seen == [("/", host), ("/health", host), ("/health", "localhost"), ("/health", "localhost")]
        await until(lambda: not server.connections)


async def test_process_request_that_returns_none_leaves_it_to_the_handshake() -> None:
    async with serving(process_request=lambda path, headers: None) as (server, uri):
        async with connect(uri) as client:
            await check_echo(client)
        async with raw_connection(server) as peer:
            await peer.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            head = await peer.read_response()
            assert (head.status, head.headers["upgrade"]) == (426, "websocket")


@pytest.mark.parametrize("how", ["function", "coroutine"])
async def test_abort_handshake_in_process_request_is_the_answer(how: str) -> None:
    def function(path: str, headers: Headers) -> Any:
        raise AbortHandshake(HTTPStatus.PAYMENT_REQUIRED, {"X-Price": "1"}, b"pay")

    async def coroutine(path: str, headers: Headers) -> Any:
        function(path, headers)

    log = Log()
    process_request = {"function": function, "coroutine": coroutine}[how]
    async with serving(process_request=process_request, logger=log) as (_, uri):
        async with refused(uri, 402) as refusal:
            assert (refusal.headers["X-Price"], refusal.body) == ("1", b"pay")
        assert log.errors() == []


def _raise(error: Exception) -> Any:
    raise error


@pytest.mark.parametrize(
    ("process_request", "error"),
    [
        (lambda path, headers: _raise(ZeroDivisionError("secret")), ZeroDivisionError),
        (lambda path, headers: 404, TypeError),
        (lambda path, headers: (404, {}), TypeError),
        (lambda path, headers: (404, {"a b": "c"}, b""), ValueError),
        (lambda path, headers: (101, {}, b""), ValueError),
        (lambda path, headers: (200, {}, 1), TypeError),
        (lambda path, headers: (200, {"X": "\r\nY: 1"}, b""), ValueError),
        (lambda path, headers: _raise(AbortHandshake(200, {"X": "\n"})), ValueError),
        (lambda: None, TypeError),
    ],
)
async def test_error_in_process_request_is_500_and_logged(
    process_request: Any, error: type[Exception]
) -> None:
    log = Log()
    async with serving(process_request=process_request, logger=log) as (server, uri):
        async with refused(uri, 500) as refusal:
            assert b"internal server error" in refusal.body
            assert b"secret" not in refusal.body
        ((message, logged),) = log.errors()
        assert message == "opening handshake failed"
        assert logged is not None
        assert issubclass(logged, error)
        await until(lambda: not server.connections)


async def test_process_request_counts_against_the_opening_deadline() -> None:
    cancelled = asyncio.Event()

    async def process_request(path: str, headers: Headers) -> None:
        await cancelled.wait()

    async with serving(process_request=process_request, open_timeout=0.2) as (server, uri):
        with pytest.raises(InvalidHandshake):
            await connect(uri)
        cancelled.set()
        await until(lambda: not server.connections)


async def test_frames_after_a_request_that_is_refused_are_not_parsed() -> None:
    async with (
        serving(process_request=lambda path, headers: (404, {}, b"")) as (server, _),
        raw_connection(server) as peer,
    ):
        await peer.send(request(), Frame(TEXT, b"x"), request())
        assert (await peer.read_response()).status == 404


# Refusals, as the client sees them


@pytest.mark.parametrize("status", [200, 300, 401, 404, 500, 503])
async def test_status_and_response_of_a_refusal(status: int) -> None:
    answer = (status, {"X-Reason": "some", "Location": "/x"}, b"body" * 1000)
    async with serving(process_request=lambda path, headers: answer) as (_, uri):
        with pytest.raises(InvalidStatusCode, match=f"HTTP status {status}") as raised:
            await connect(uri)
        error = raised.value
        assert error.status_code == status
        assert error.response is not None
        assert error.response.status == status
        assert error.response.headers["X-Reason"] == "some"
        assert error.response.body == b"body" * 1000
        with pytest.raises(InvalidStatusCode):
            async with connect(uri):
                raise AssertionError


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"", InvalidMessage),
        (b"HTTP/1.1 101 Swi", InvalidMessage),
        (b"garbage\r\n\r\n", InvalidMessage),
        (b"SSH-2.0-OpenSSH_9.6\r\n", InvalidMessage),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", InvalidHeader),
        (b"HTTP/1.1 200 OK\r\n" + b"X: 1\r\n" * 200 + b"\r\n", SecurityError),
        (response("wrong key"), InvalidHeader),
        (None, NegotiationError),
    ],
)
async def test_answer_that_is_wrong(answer: bytes | None, error: type[Exception]) -> None:
    async with raw_listener() as listener:

        async def serve_one() -> None:
            peer = await listener.accept()
            head = await peer.read_head()
            key = head.headers["sec-websocket-key"]
            await peer.send(response(key, Sec_WebSocket_Protocol="z") if answer is None else answer)
            peer.end()
            with contextlib.suppress(ConnectionResetError):
                assert await peer.read_to_end() == b""

        task = asyncio.create_task(serve_one())
        with pytest.raises(error):
            await connect(listener.uri)
        await task


async def test_frames_in_the_segment_of_the_response_are_received() -> None:
    async with raw_listener() as listener:

        async def serve_one() -> None:
            peer = await listener.accept()
            head = await peer.read_head()
            frames = Frame(TEXT, b"first"), Frame(TEXT, b"second"), Frame(8, b"\x03\xe8")
            await peer.send(response(head.headers["sec-websocket-key"]), *frames)
            peer.end()

        task = asyncio.create_task(serve_one())
        async with connect(listener.uri) as client:
            assert [message async for message in client] == ["first", "second"]
        await task


# TLS


async def test_tls() -> None:
    async with serving(ssl=server_context()) as (server, uri):
        assert uri.startswith("wss:")
        async with connect(uri, ssl=client_context()) as client:
            await check_echo(client)
            assert client.transport.get_extra_info("ssl_object") is not None
        async with connect(uri_of(server, scheme="wss", host="localhost"), ssl=client_context()) as client:
            await check_echo(client)


async def test_certificate_is_checked_by_default() -> None:
    async with serving(ssl=server_context()) as (server, uri):
        with pytest.raises(ssl.SSLCertVerificationError):
            await connect(uri)
        await until(lambda: not server.connections)


async def test_certificate_is_checked_against_the_host_of_the_uri() -> None:
    async with serving(ssl=server_context()) as (server, _):
        port = port_of(server)
        uri = f"wss://example.com:{port}/"
        with pytest.raises(ssl.SSLCertVerificationError):
            await connect(uri, host=HOST, ssl=client_context())
        async with connect(f"wss://localhost:{port}/", host=HOST, ssl=client_context()) as client:
            await check_echo(client)
        async with connect(uri, host=HOST, ssl=client_context(), server_hostname="localhost") as client:
            await check_echo(client)


async def test_ssl_and_the_uri_must_agree() -> None:
    with pytest.raises(ValueError, match="ssl must not be None"):
        await connect(f"wss://{HOST}:9/", ssl=None)
    with pytest.raises(ValueError, match="ssl must not be given"):
        await connect(f"ws://{HOST}:9/", ssl=client_context())
    with pytest.raises(ValueError, match="ssl must not be False"):
        await connect(f"wss://{HOST}:9/", ssl=False)


async def test_plain_client_of_a_tls_server() -> None:
    async with serving(ssl=server_context()) as (server, _):
        with pytest.raises((InvalidHandshake, OSError)):
            await connect(uri_of(server))


async def test_tls_client_of_a_plain_server() -> None:
    async with serving() as (server, _):
        with pytest.raises((ssl.SSLError, OSError)):
            await connect(uri_of(server, scheme="wss"), ssl=client_context())
        await until(lambda: not server.connections)


async def test_large_messages_on_tls() -> None:
    async with (
        serving(ssl=server_context(), max_size=None) as (_, uri),
        connect(uri, ssl=client_context(), max_size=None) as client,
    ):
        for message in ("x" * 2**22, bytes(2**22)):
            sending = asyncio.create_task(client.send(message))
            assert await client.recv() == message
            await sending


# Unix sockets


async def test_unix_sockets(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    async with unix_serve(echo, path) as server:
        async with unix_connect(path) as client:
            await check_echo(client)
            (accepted,) = server.connections
            assert accepted.request_headers is not None
            assert accepted.request_headers["Host"] == "localhost"
        client = await unix_connect(path, "ws://example.com:1234/path")
        assert client.path == "/path"
        assert client.request_headers is not None
        assert client.request_headers["Host"] == "example.com:1234"
        await client.close()


async def test_unix_sockets_with_tls(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    async with (
        unix_serve(echo, path, ssl=server_context()),
        unix_connect(path, "wss://localhost/", ssl=client_context()) as client,
    ):
        await check_echo(client)


async def test_unix_serve_on_a_socket(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(path)
    async with unix_serve(echo, sock=sock), unix_connect(path) as client:
        await check_echo(client)


async def test_unix_socket_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        await unix_connect(str(tmp_path / "socket"))


async def test_options_of_unix_sockets_are_checked(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    with pytest.raises(TypeError, match="'backlogg'; did you mean 'backlog'"):
        await unix_serve(echo, path, backlogg=1)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="'local_addr'"):
        await unix_connect(path, local_addr=("127.0.0.1", 0))
    with pytest.raises(TypeError, match="'reuse_port'"):
        await unix_serve(echo, path, reuse_port=True)
    with pytest.raises(InvalidURI):
        unix_connect(path, "http://localhost/")


# Deadlines


async def test_server_that_accepts_tcp_and_never_answers() -> None:
    async with raw_listener() as listener:
        with pytest.raises(HandshakeTimeout, match=r"0\.2") as raised:
            await connect(listener.uri, open_timeout=0.2)
        assert isinstance(raised.value, TimeoutError)
        assert isinstance(raised.value, InvalidHandshake)
        peer = await listener.accept()
        with contextlib.suppress(ConnectionResetError):
            await peer.read_to_end()


async def test_server_that_never_answers_the_tls_handshake() -> None:
    async with raw_listener() as listener:
        uri = listener.uri.replace("ws:", "wss:")
        with pytest.raises(HandshakeTimeout) as raised:
            await connect(uri, open_timeout=0.2, ssl=client_context())
        assert isinstance(raised.value, TimeoutError)


async def test_server_that_answers_a_byte_at_a_time() -> None:
    async with raw_listener() as listener:

        async def serve_one() -> None:
            peer = await listener.accept()
            with contextlib.suppress(OSError):
                for byte in b"HTTP/1.1 101 Switching Protocols\r\n" * 100:
                    await peer.send(bytes([byte]))
                    await asyncio.sleep(0.02)

        task = asyncio.create_task(serve_one())
        with pytest.raises(HandshakeTimeout):
            await connect(listener.uri, open_timeout=0.2)
        await task


@pytest.mark.parametrize("data", [b"", request()[:-1]])
async def test_client_that_never_completes_its_request(data: bytes) -> None:
    async with serving(open_timeout=0.2, close_timeout=0.2) as (server, uri):
        async with raw_connection(server) as peer:
            await peer.send(data)
            assert await peer.read_to_end() == b""
            await until(lambda: not server.connections)
        async with connect(uri) as client:
            await check_echo(client)


async def test_client_that_sends_a_byte_at_a_time() -> None:
    async with serving(open_timeout=0.2, close_timeout=0.2) as (server, _), raw_connection(server) as peer:
        with contextlib.suppress(OSError):
            for byte in request() * 10:
                await peer.send(bytes([byte]))
                await asyncio.sleep(0.02)
        await until(lambda: not server.connections)


async def test_no_opening_deadline() -> None:
    async with serving(open_timeout=None) as (server, _), raw_connection(server) as peer:
        await settle(0.3)
        await peer.send(request())
        assert (await peer.read_head()).status == 101
        await peer.finish()
    async with raw_listener() as listener:
        connecting = asyncio.ensure_future(_connect(listener.uri, open_timeout=None))
        peer = await listener.accept()
        await settle(0.3)
        assert not connecting.done()
        await peer.answer()
        client = await connecting
        peer.close()
        await client.wait_closed()


async def _connect(uri: str, **options: Any) -> ClientConnection:
    return await connect(uri, **options)


async def test_deadline_does_not_go_on_after_the_opening() -> None:
    options = {"open_timeout": 0.2}
    async with connected(options, options) as (client, server):
        await settle(0.5)
        await client.send("still open")
        assert await server.recv() == "still open"


# Limits on the head


@pytest.mark.parametrize(
    ("option", "changes"),
    [
        ("max_headers", {f"X{number}": "x" for number in range(10)}),
        ("max_header_line", {"X": "x" * 400}),
        ("max_header_bytes", {"X": "x" * 100, "Y": "y" * 100}),
    ],
)
async def test_limits_on_the_head(option: str, changes: dict[str, str]) -> None:
    limit = {"max_headers": 12, "max_header_line": 300, "max_header_bytes": 300}[option]
    async with serving(**{option: limit}) as (server, _):
        async with raw_client(server) as peer:
            await peer.finish()
        async with raw_connection(server) as peer:
            await peer.send(request(**changes))
            assert (await peer.read_response()).status in (400, 431)
    async with raw_listener() as listener:
        task = asyncio.create_task(listener.accept_and_answer(**changes))
        with pytest.raises(SecurityError):
            await connect(listener.uri, **{option: limit})
        await task


# The table of options


def test_every_option_is_tried_here() -> None:
    # What a test of this module does not use is used in another one.
    elsewhere = {"max_fragments", "max_pings", "read_limit", "write_limit", "max_queue", "ping_timeout"}
    elsewhere |= {"proxy", "max_redirects", "reconnect_delays", "reconnect_fatal", "max_connections"}
    tried = Path(__file__).read_text()
    declared = {*ConnectOptions.__annotations__, *ServeOptions.__annotations__}
    assert declared <= OPTIONS.keys()
    assert {name for name in declared - elsewhere if f"{name}" not in tried} == set()


def test_uvloop_is_there_to_be_tested() -> None:
    assert "uvloop" in sys.modules
    assert parse_head(b"GET / HTTP/1.1\r\n\r\n").start == "GET / HTTP/1.1"
