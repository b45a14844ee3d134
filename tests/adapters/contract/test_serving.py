"""Accepting connections as a server: the options of `serve`, handlers, and every answer."""

from __future__ import annotations

import contextlib
import functools
import re
import socket
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import pytest

from tests.adapters.runtimes import Runtime
from tests.adapters.runtimes.base import HOST, QUIET, Log, wait_closed
from tests.core.helpers import TEXT, Frame, request
from wsproto_core import Headers, InvalidHandshake, InvalidStatusCode, Response, State, make_response
from wsproto_core.exceptions import AbortHandshake
from wsproto_core.options import USER_AGENT

from .test_opening import HEADER_FORMS

needs_sockets = pytest.mark.needs("sockets")
needs_coroutines = pytest.mark.needs("coroutines")


async def refused(runtime: Runtime, uri: str, status: int, **options: Any) -> Response:
    """Connect and get another status than 101; return the response."""
    with pytest.raises(InvalidStatusCode) as raised:
        await runtime.open(uri, **options)
    assert raised.value.status_code == status
    assert raised.value.response is not None
    return raised.value.response


# Handlers


async def one(websocket: Any) -> None:
    await websocket.send("one")


async def two(websocket: Any, path: str) -> None:
    await websocket.send(path)


async def optional(websocket: Any, option: str = "optional") -> None:
    await websocket.send(option)


async def variable(*args: Any) -> None:
    await args[0].send(str(len(args)))


class Handlers:
    async def one(self, websocket: Any) -> None:
        await websocket.send("method")

    async def two(self, websocket: Any, path: str) -> None:
        await websocket.send(f"method {path}")

    @staticmethod
    async def static(websocket: Any, path: str) -> None:
        await websocket.send(f"static {path}")

    async def __call__(self, websocket: Any) -> None:
        await websocket.send("callable")


class PathHandler:
    async def __call__(self, websocket: Any, path: str) -> None:
        await websocket.send(f"callable {path}")


async def three(first: Any, websocket: Any, path: str) -> None:
    await websocket.send(f"{first} {path}")


async def keyword(websocket: Any, *, option: str = "keyword") -> None:
    await websocket.send(option)


def returning(websocket: Any) -> Any:
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
    runtime: Runtime, handler: Callable[..., Any], expected: str
) -> None:
    async with (
        runtime.serving(handler) as (server, _),
        runtime.connect(runtime.uri_of(server, "/path")) as client,
    ):
        assert await client.recv() == expected


@pytest.mark.parametrize("handler", [lambda: None, lambda a, b, c: None, lambda *, a: None])
async def test_handler_that_cannot_be_called_is_refused(runtime: Runtime, handler: Any) -> None:
    with pytest.raises(TypeError, match="handler must take the connection"):
        async with runtime.serving(handler):
            raise AssertionError


# Options


@needs_sockets
@pytest.mark.parametrize(
    ("option", "similar"),
    [
        ("ping_timeot", "ping_timeout"),
        ("orgins", "origins"),
        ("origin", "origins"),
        ("heartbeat", "ping_interval"),
        ("ssl_context", "ssl"),
    ],
)
async def test_unknown_option_is_named(runtime: Runtime, option: str, similar: str) -> None:
    with pytest.raises(TypeError, match=f"{option!r}; did you mean {similar!r}"):
        async with runtime.serving(**{option: None}):
            raise AssertionError


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
async def test_value_of_an_option_is_refused(
    runtime: Runtime, options: dict[str, Any], error: type[Exception]
) -> None:
    (name,) = options
    with pytest.raises(error, match=name):
        async with runtime.serving(**options):
            raise AssertionError


@needs_sockets
async def test_serve_on_a_socket(runtime: Runtime) -> None:
    sock = socket.create_server((HOST, 0))
    async with (
        runtime.serve(one, sock=sock) as server,
        runtime.connect(runtime.uri_of(server)) as client,
    ):
        assert await client.recv() == "one"
    assert sock.fileno() == -1


@needs_sockets
async def test_serve_on_a_port_that_is_taken(runtime: Runtime) -> None:
    async with runtime.serving() as (server, _):
        with pytest.raises(OSError, match="in use"):
            async with runtime.serve(one, HOST, runtime.port_of(server)):
                raise AssertionError


async def test_create_protocol_is_a_class_or_a_function(runtime: Runtime) -> None:
    class OurServer(runtime.ServerConnection):  # type: ignore[name-defined,misc]
        def __init__(self, *args: Any, extra: int = 0, **kwargs: Any) -> None:
            self.arguments = (args, kwargs)
            self.extra = extra
            super().__init__(*args, **kwargs)

    for create_protocol, extra in ((OurServer, 0), (functools.partial(OurServer, extra=1), 1)):
        async with (
            runtime.serving(wait_closed, create_protocol=create_protocol, max_size=10) as (server, uri),
            runtime.connect(uri),
        ):
            (accepted,) = server.connections
            assert isinstance(runtime.native(accepted), OurServer)
            assert accepted.extra == extra
            args, kwargs = accepted.arguments
            assert args[0] is runtime.native_handler(wait_closed)
            assert kwargs.items() >= {"max_size": 10, "compression": None}.items()
            assert accepted.handler is args[0]
            assert accepted.server is args[1]
    async with (
        runtime.serving(wait_closed, create_protocol=None) as (server, uri),
        runtime.connect(uri),
    ):
        assert [type(runtime.native(each)) for each in server.connections] == [runtime.ServerConnection]


@pytest.mark.parametrize("extra_headers", HEADER_FORMS, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("called", [False, True])
async def test_extra_headers(runtime: Runtime, extra_headers: Any, called: bool) -> None:
    seen = []

    def function(path: str, request_headers: Headers) -> Any:
        seen.append((path, request_headers["User-Agent"]))
        return extra_headers

    options = {"extra_headers": function if called else extra_headers}
    async with runtime.connected(server=options) as (client, _):
        assert (client.response_headers["X-One"], client.response_headers["X-Two"]) == ("1", "2")
        assert seen == [("/", USER_AGENT)] * called


async def test_function_for_extra_headers_may_return_none(runtime: Runtime) -> None:
    async with runtime.connected(server={"extra_headers": lambda path, headers: None}) as (client, _):
        assert client.open


async def test_error_in_the_function_for_extra_headers_is_500(runtime: Runtime) -> None:
    def function(path: str, request_headers: Headers) -> Any:
        raise ZeroDivisionError

    log = Log()
    async with runtime.serving(extra_headers=function, logger=log) as (_, uri):
        await refused(runtime, uri, 500)
        assert [error for _, error in log.errors()] == [ZeroDivisionError]


async def test_process_response(runtime: Runtime) -> None:
    def process_response(path: str, request_headers: Headers, response: Response) -> None:
        response.headers["X-Path"] = path

    async with runtime.connected(server={"process_response": process_response}) as (client, _):
        assert client.response_headers["X-Path"] == "/"


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
async def test_origins(runtime: Runtime, origins: Any, origin: str | None, accepted: bool) -> None:
    async with runtime.serving(origins=origins) as (_, uri):
        if accepted:
            async with runtime.connect(uri, origin=origin) as client:
                await runtime.check_echo(client)
        else:
            refusal = await refused(runtime, uri, 403, origin=origin)
            assert b"Origin" in refusal.body


# Subprotocols


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
async def test_subprotocols(runtime: Runtime, offered: Any, available: Any, selected: str | None) -> None:
    async with runtime.connected({"subprotocols": offered}, {"subprotocols": available}) as ends:
        assert [end.subprotocol for end in ends] == [selected, selected]


async def test_select_subprotocol_function(runtime: Runtime) -> None:
    seen = []

    def select(client: Any, server: Any) -> Any:
        seen.append((list(client), list(server)))
        return client[-1]

    options = {"subprotocols": ["x", "a", "b"], "select_subprotocol": select}
    async with runtime.connected({"subprotocols": ["a", "b"]}, options) as (client, _):
        assert client.subprotocol == "b"
        assert seen == [(["a", "b"], ["x", "a", "b"])]


async def test_select_subprotocol_method(runtime: Runtime) -> None:
    class Last(runtime.ServerConnection):  # type: ignore[name-defined,misc]
        def select_subprotocol(self, client_subprotocols: Any, server_subprotocols: Any) -> Any:
            return client_subprotocols[-1]

    class Default(runtime.ServerConnection):  # type: ignore[name-defined,misc]
        def select_subprotocol(self, client_subprotocols: Any, server_subprotocols: Any) -> Any:
            return super().select_subprotocol(client_subprotocols, server_subprotocols[:1])

    options: dict[str, Any] = {"subprotocols": ["a", "b"]}
    async with runtime.connected(options, {**options, "create_protocol": Last}) as (client, _):
        assert client.subprotocol == "b"
    # The option comes first.
    first = {"select_subprotocol": lambda client, server: client[0], "create_protocol": Last}
    async with runtime.connected(options, {**options, **first}) as (client, _):
        assert client.subprotocol == "a"
    offered = {"subprotocols": ["b", "a"]}
    async with runtime.connected(offered, {**options, "create_protocol": Default}) as (client, _):
        assert client.subprotocol == "a"


async def test_subprotocol_that_was_not_offered_is_an_error_of_the_server(runtime: Runtime) -> None:
    log = Log()
    options = {"subprotocols": ["a"], "select_subprotocol": lambda client, server: "z", "logger": log}
    async with runtime.serving(**options) as (_, uri):
        await refused(runtime, uri, 500, subprotocols=["a"])
        assert [error for _, error in log.errors()] == [ValueError]


# process_request

ANSWERS: list[Any] = [
    Response(200, Headers({"X-Answer": "yes"}), b"answer"),
    make_response(200, {"X-Answer": "yes"}, b"answer"),
    (200, {"X-Answer": "yes"}, b"answer"),
    (HTTPStatus.OK, [("X-Answer", "yes")], b"answer"),
    (HTTPStatus.OK, Headers({"X-Answer": "yes"}), b"answer"),
]

HOW = [
    "function",
    pytest.param("coroutine", marks=needs_coroutines),
    "method",
    pytest.param("coroutine method", marks=needs_coroutines),
]


@pytest.mark.parametrize("how", HOW)
async def test_process_request_may_answer_the_request(runtime: Runtime, how: str) -> None:
    seen = []
    answers = iter([*ANSWERS, *ANSWERS[:2]])

    def function(path: str, request_headers: Headers) -> Any:
        seen.append((path, "Upgrade" in request_headers))
        return next(answers) if path == "/health" else None

    async def coroutine(path: str, request_headers: Headers) -> Any:
        await runtime.sleep(0)
        return function(path, request_headers)

    class Connection(runtime.ServerConnection):  # type: ignore[name-defined,misc]
        def process_request(self, path: str, request_headers: Headers) -> Any:
            assert self.state is State.CONNECTING
            return function(path, request_headers)

    class CoroutineConnection(runtime.ServerConnection):  # type: ignore[name-defined,misc]
        async def process_request(self, path: str, request_headers: Headers) -> Any:
            return await coroutine(path, request_headers)

    options: dict[str, Any] = {
        "function": {"process_request": function},
        "coroutine": {"process_request": coroutine},
        "method": {"create_protocol": Connection},
        "coroutine method": {"create_protocol": CoroutineConnection},
    }[how]
    async with runtime.serving(**options) as (server, uri):
        async with runtime.connect(uri) as client:
            await runtime.check_echo(client)
        assert seen == [("/", True)]
        for _ in ANSWERS:
            refusal = await refused(runtime, runtime.uri_of(server, "/health"), 200)
            assert refusal.headers["X-Answer"] == "yes"
            assert refusal.body == b"answer"
        # Also to those who never heard of WebSocket.
        async with runtime.raw_connection(server) as peer:
            await peer.send(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            head = await peer.read_response()
            assert (head.status, head.body) == (200, b"answer")
            assert (head.headers["content-length"], head.headers["connection"]) == ("6", "close")
        async with runtime.raw_connection(server) as peer:
            await peer.send(b"HEAD /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            head = await peer.read_response()
            assert (head.status, head.body, head.headers["content-length"]) == (200, b"", "6")
        assert seen[-2:] == [("/health", False), ("/health", False)]
        await runtime.until(lambda: not server.connections)


async def test_process_request_that_returns_none_leaves_it_to_the_handshake(runtime: Runtime) -> None:
    async with runtime.serving(process_request=lambda path, headers: None) as (server, uri):
        async with runtime.connect(uri) as client:
            await runtime.check_echo(client)
        async with runtime.raw_connection(server) as peer:
            await peer.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            head = await peer.read_response()
            assert (head.status, head.headers["upgrade"]) == (426, "websocket")


@pytest.mark.parametrize("how", HOW[:2])
async def test_abort_handshake_in_process_request_is_the_answer(runtime: Runtime, how: str) -> None:
    def function(path: str, headers: Headers) -> Any:
        raise AbortHandshake(HTTPStatus.PAYMENT_REQUIRED, {"X-Price": "1"}, b"pay")

    async def coroutine(path: str, headers: Headers) -> Any:
        function(path, headers)

    log = Log()
    process_request = {"function": function, "coroutine": coroutine}[how]
    async with runtime.serving(process_request=process_request, logger=log) as (_, uri):
        refusal = await refused(runtime, uri, 402)
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
    runtime: Runtime, process_request: Any, error: type[Exception]
) -> None:
    log = Log()
    async with runtime.serving(process_request=process_request, logger=log) as (server, uri):
        refusal = await refused(runtime, uri, 500)
        assert b"internal server error" in refusal.body
        assert b"secret" not in refusal.body
        ((message, logged),) = log.errors()
        assert message == "opening handshake failed"
        assert logged is not None
        assert issubclass(logged, error)
        await runtime.until(lambda: not server.connections)


async def test_process_request_counts_against_the_opening_deadline(runtime: Runtime) -> None:
    go_on = runtime.event()

    async def process_request(path: str, headers: Headers) -> None:
        await go_on.wait()

    async with runtime.serving(process_request=process_request, open_timeout=0.2) as (server, uri):
        with pytest.raises(InvalidHandshake):
            await runtime.open(uri)
        go_on.set()
        await runtime.until(lambda: not server.connections)


async def test_frames_after_a_request_that_is_refused_are_not_parsed(runtime: Runtime) -> None:
    async with (
        runtime.serving(process_request=lambda path, headers: (404, {}, b"")) as (server, _),
        runtime.raw_connection(server) as peer,
    ):
        await peer.send(request(), Frame(TEXT, b"x"), request())
        assert (await peer.read_response()).status == 404


async def test_frames_in_the_segment_of_the_request_are_delivered(runtime: Runtime) -> None:
    async with runtime.serving(**QUIET) as (server, _), runtime.raw_connection(server) as peer:
        await peer.send(request(), Frame(TEXT, b"early"), Frame(TEXT, b"bird"))
        assert (await peer.read_head()).status == 101
        assert [await peer.read_frame(), await peer.read_frame()] == [
            Frame(TEXT, b"early"),
            Frame(TEXT, b"bird"),
        ]
        await peer.finish()


async def test_client_that_goes_away_while_its_request_is_processed(runtime: Runtime) -> None:
    go_on = runtime.event()
    handled = []

    async def process_request(path: str, headers: Any) -> None:
        await go_on.wait()

    async def handler(websocket: Any) -> None:
        handled.append(websocket)

    log = Log()
    async with runtime.serving(handler, process_request=process_request, logger=log) as (server, _):
        async with runtime.raw_connection(server) as peer:
            await peer.send(request())
            await runtime.until(lambda: server.connections)
            await runtime.settle()
            peer.reset()
        await runtime.settle(0.3)
        go_on.set()
        await runtime.until(lambda: not server.connections)
        assert log.errors() == []
    # Whether the reset was noticed in time is another matter.
    assert len(handled) <= 1


# Deadlines


@pytest.mark.parametrize("data", [b"", request()[:-1]], ids=["nothing", "almost all"])
async def test_client_that_never_completes_its_request(runtime: Runtime, data: bytes) -> None:
    async with runtime.serving(open_timeout=0.2, close_timeout=0.2) as (server, _):
        async with runtime.raw_connection(server) as peer:
            await peer.send(data)
            assert await peer.read_frames_to_end_or_reset() == []
        await runtime.until(lambda: not server.connections)


@needs_sockets
async def test_client_that_never_begins_the_tls_handshake(runtime: Runtime) -> None:
    options = {**runtime.server_tls(True), "open_timeout": 0.2, **runtime.tls_handshake_timeout(0.2)}
    async with runtime.serving(**options) as (server, _), runtime.raw_connection(server) as peer:
        with contextlib.suppress(ConnectionResetError):
            assert await peer.read_to_end() == b""


async def test_client_that_sends_a_byte_at_a_time(runtime: Runtime) -> None:
    async with (
        runtime.serving(open_timeout=0.2, close_timeout=0.2) as (server, _),
        runtime.raw_connection(server) as peer,
    ):
        with contextlib.suppress(OSError):
            for byte in request() * 10:
                await peer.send(bytes([byte]))
                await runtime.sleep(0.02)
        await runtime.until(lambda: not server.connections)


async def test_no_opening_deadline(runtime: Runtime) -> None:
    async with (
        runtime.serving(open_timeout=None, **QUIET) as (server, _),
        runtime.raw_connection(server) as peer,
    ):
        await runtime.settle(0.3)
        await peer.send(request())
        assert (await peer.read_head()).status == 101
        await peer.finish()
