"""Opening a connection as a client: the options of `connect`, and every error."""

from __future__ import annotations

import contextlib
import logging
import socket
from typing import Any

import pytest

from tests.adapters.runtimes import Runtime
from tests.adapters.runtimes.base import AMPLE, HOST, QUIET, Log, wait_closed
from tests.core.helpers import TEXT, Frame, request, response
from tests.ports import free_port
from wsproto_core import HandshakeTimeout, Headers, InvalidHandshake, InvalidStatusCode, InvalidURI
from wsproto_core.exceptions import InvalidHeader, InvalidMessage, NegotiationError, SecurityError

needs_sockets = pytest.mark.needs("sockets")

HEADER_FORMS: list[Any] = [
    {"X-One": "1", "X-Two": "2"},
    [("X-One", "1"), ("X-Two", "2")],
    (("X-One", "1"), ("X-Two", "2")),
    Headers([("X-One", "1"), ("X-Two", "2")]),
]


# Where to


async def test_connect_is_a_context_manager(runtime: Runtime) -> None:
    async with runtime.serving() as (_, uri), runtime.connect(uri) as client:
        assert isinstance(runtime.native(client), runtime.ClientConnection)
        await runtime.check_echo(client)


@needs_sockets
async def test_host_and_port_change_where_to_but_not_what_for(runtime: Runtime) -> None:
    async with runtime.serving(wait_closed) as (server, _):
        port = runtime.port_of(server)
        async with runtime.connect("ws://example.com:1234/chat", host=HOST, port=port) as client:
            assert client.remote_address == (HOST, port)
            (accepted,) = server.connections
            assert accepted.request_headers["Host"] == "example.com:1234"
        async with runtime.connect(f"ws://example.com:{port}/", host=HOST) as client:
            assert client.open
        async with runtime.connect(f"ws://{HOST}:1/", port=port) as client:
            assert client.open


@needs_sockets
async def test_name_is_looked_up(runtime: Runtime) -> None:
    async with (
        runtime.serving() as (server, _),
        runtime.connect(runtime.uri_of(server, host="localhost")) as client,
    ):
        await runtime.check_echo(client)


@needs_sockets
async def test_server_that_is_not_there(runtime: Runtime) -> None:
    with pytest.raises(OSError, match=r"refused|failed"):
        await runtime.open(f"ws://{HOST}:{free_port()}/")


@pytest.mark.parametrize("uri", ["http://localhost/", "localhost", "ws://localhost/#fragment", "ws:///path"])
async def test_uri_that_is_none_is_refused(runtime: Runtime, uri: str) -> None:
    with pytest.raises(InvalidURI):
        await runtime.open(uri)


@needs_sockets
async def test_sock(runtime: Runtime) -> None:
    async with runtime.serving() as (server, uri):
        sock = socket.create_connection((HOST, runtime.port_of(server)))
        address = sock.getsockname()
        async with runtime.connect(uri, sock=sock) as client:
            assert client.local_address == address
            await runtime.check_echo(client)
    assert sock.fileno() == -1


# Options


@needs_sockets
@pytest.mark.parametrize(
    ("option", "similar"),
    [
        ("ping_intervall", "ping_interval"),
        ("max_sise", "max_size"),
        ("sll", "ssl"),
        ("origins", "origin"),
        ("headers", "extra_headers"),
        ("ssl_context", "ssl"),
        ("klass", "create_protocol"),
        ("process_exception", "reconnect_fatal"),
    ],
)
async def test_unknown_option_is_named_before_any_connection(
    runtime: Runtime, option: str, similar: str
) -> None:
    async with runtime.serving() as (server, uri):
        with pytest.raises(TypeError, match=f"{option!r}; did you mean {similar!r}"):
            await runtime.open(uri, **{option: None})
        with pytest.raises(TypeError, match=r"'nothing_like_it'$"):
            await runtime.open(uri, nothing_like_it=1)
        # An option of servers.
        with pytest.raises(TypeError, match=r"'max_connection'$"):
            await runtime.open(uri, max_connection=1)
        assert not server.connections


@needs_sockets
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
async def test_value_of_an_option_is_refused_before_any_connection(
    runtime: Runtime, options: dict[str, Any], error: type[Exception]
) -> None:
    (name,) = options
    with pytest.raises(error, match=name):
        await runtime.open(f"ws://{HOST}:9/", **options)


@pytest.mark.parametrize("name", ["Upgrade", "Connection", "Sec-WebSocket-Key", "sec-websocket-version"])
async def test_headers_of_the_handshake_cannot_be_overridden(runtime: Runtime, name: str) -> None:
    with pytest.raises(ValueError, match=name.lower()):
        await runtime.open(f"ws://{HOST}:9/", extra_headers={name: "x"})


@pytest.mark.parametrize("extra_headers", HEADER_FORMS, ids=lambda value: type(value).__name__)
async def test_extra_headers(runtime: Runtime, extra_headers: Any) -> None:
    async with runtime.connected({"extra_headers": extra_headers}) as (client, server):
        for end in (client, server):
            assert (end.request_headers["X-One"], end.request_headers["X-Two"]) == ("1", "2")


async def test_extra_headers_may_override_host_and_user_agent(runtime: Runtime) -> None:
    options = {"extra_headers": {"Host": "other", "User-Agent": "mine"}}
    async with runtime.connected(options) as (_, server):
        assert server.request_headers.get_all("Host") == ["other"]
        assert server.request_headers.get_all("User-Agent") == ["mine"]


@pytest.mark.parametrize("value", ["mine/1.0", None])
async def test_user_agent_and_server_header(runtime: Runtime, value: str | None) -> None:
    async with runtime.connected({"user_agent_header": value}, {"server_header": value}) as (client, server):
        assert server.request_headers.get("User-Agent") == value
        assert client.response_headers.get("Server") == value


@needs_sockets
async def test_user_information_is_sent_as_basic_credentials(runtime: Runtime) -> None:
    async with runtime.serving(wait_closed) as (server, _):
        port = runtime.port_of(server)
        async with runtime.connect(f"ws://Aladdin:open%20sesame@{HOST}:{port}/") as client:
            (accepted,) = server.connections
            assert accepted.request_headers["Authorization"] == "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
            assert accepted.request_headers["Host"] == f"{HOST}:{port}"
            assert client.path == "/"


async def test_origin(runtime: Runtime) -> None:
    async with runtime.connected({"origin": "https://example.com"}) as (_, server):
        assert server.request_headers["Origin"] == "https://example.com"


async def test_logger(runtime: Runtime) -> None:
    log, other = Log(), Log()
    async with runtime.connected({"logger": log}, {"logger": other}) as (client, server):
        client.logger.info("the client's")
        server.logger.info("the server's")
    assert {"connection open", "the client's"} <= set(log.messages())
    assert {"connection open", "the server's"} <= set(other.messages())
    assert "the client's" not in other.messages()


async def test_default_loggers(runtime: Runtime, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "wsproto_core")
    async with runtime.connected({"logger": None}) as (client, server):
        client.logger.info("here")
        server.logger.info("there")
    names = {record.getMessage(): record.name for record in caplog.records}
    assert (names["here"], names["there"]) == ("wsproto_core.client", "wsproto_core.server")
    opened = [record.name for record in caplog.records if record.getMessage() == "connection open"]
    assert sorted(opened) == ["wsproto_core.client", "wsproto_core.server"]


async def test_create_protocol_is_a_class_or_a_function(runtime: Runtime) -> None:
    made = []

    class OurClient(runtime.ClientConnection):  # type: ignore[name-defined,misc]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            self.arguments = (args, kwargs)
            super().__init__(*args, **kwargs)

    def create(*args: Any, **kwargs: Any) -> OurClient:
        made.append(OurClient(*args, **kwargs))
        return made[-1]

    async with runtime.serving() as (_, uri):
        for create_protocol in (OurClient, create):
            options = {"max_size": 10, "ping_interval": 7, "subprotocols": ["a"]}
            async with runtime.connect(uri, create_protocol=create_protocol, **options) as client:
                assert type(runtime.native(client)) is OurClient
                args, kwargs = client.arguments
                assert f"//{args[0].host}" in uri
                # It may be a class that was written for another version: nothing is held back.
                assert kwargs.items() >= options.items()
                await runtime.check_echo(client)
        assert made == [runtime.native(client)]
        async with runtime.connect(uri, create_protocol=None) as client:
            assert type(runtime.native(client)) is runtime.ClientConnection


# What a server answers


@pytest.mark.parametrize("status", [200, 401, 404, 500, 503])
async def test_status_and_response_of_a_refusal(runtime: Runtime, status: int) -> None:
    answer = (status, {"X-Reason": "some"}, b"body" * 1000)
    async with runtime.serving(process_request=lambda path, headers: answer) as (server, uri):
        with pytest.raises(InvalidStatusCode, match=f"HTTP status {status}") as raised:
            await runtime.open(uri)
        error = raised.value
        assert error.status_code == status
        assert error.response is not None
        assert error.response.status == status
        assert error.response.headers["X-Reason"] == "some"
        assert error.response.body == b"body" * 1000
        with pytest.raises(InvalidStatusCode):
            async with runtime.connect(uri):
                raise AssertionError
        await runtime.until(lambda: not server.connections)


@needs_sockets
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
    ids=lambda value: (value or b"")[:12].decode() if isinstance(value, bytes | None) else "",
)
async def test_answer_that_is_wrong(runtime: Runtime, answer: bytes | None, error: type[Exception]) -> None:
    async with runtime.raw_listener() as listener:

        async def serve_one() -> None:
            peer = await listener.accept()
            head = await peer.read_head()
            key = head.headers["sec-websocket-key"]
            await peer.send(response(key, Sec_WebSocket_Protocol="z") if answer is None else answer)
            peer.end()
            with contextlib.suppress(ConnectionResetError):
                assert await peer.read_to_end() == b""

        serving = runtime.spawn(serve_one)
        with pytest.raises(error):
            await runtime.open(listener.uri)
        await serving.result()


@needs_sockets
async def test_reset_instead_of_an_answer(runtime: Runtime) -> None:
    async with runtime.raw_listener() as listener:

        async def serve_one() -> None:
            peer = await listener.accept()
            await peer.read_head()
            peer.reset()

        serving = runtime.spawn(serve_one)
        with pytest.raises((InvalidHandshake, OSError)):
            await runtime.open(listener.uri)
        await serving.result()


@needs_sockets
async def test_frames_in_the_segment_of_the_response_are_received(runtime: Runtime) -> None:
    async with runtime.raw_listener() as listener:

        async def serve_one() -> None:
            peer = await listener.accept()
            head = await peer.read_head()
            frames = Frame(TEXT, b"first"), Frame(TEXT, b"second"), Frame(8, b"\x03\xe8")
            await peer.send(response(head.headers["sec-websocket-key"]), *frames)
            peer.end()

        serving = runtime.spawn(serve_one)
        async with runtime.connect(listener.uri) as client:
            assert [message async for message in client] == ["first", "second"]
        await serving.result()


# Deadlines and limits


@needs_sockets
@pytest.mark.parametrize("scheme", ["ws", "wss"])
async def test_server_that_accepts_tcp_and_never_answers(runtime: Runtime, scheme: str) -> None:
    async with runtime.raw_listener() as listener:
        options = runtime.client_tls(scheme == "wss")
        with pytest.raises(HandshakeTimeout, match=r"open_timeout|0\.2") as raised:
            await runtime.open(listener.uri.replace("ws:", f"{scheme}:"), open_timeout=0.2, **options)
        assert isinstance(raised.value, TimeoutError)
        assert isinstance(raised.value, InvalidHandshake)
        peer = await listener.accept()
        # The stream is closed.
        with contextlib.suppress(ConnectionResetError):
            await peer.read_to_end()


@needs_sockets
async def test_server_that_answers_a_byte_at_a_time(runtime: Runtime) -> None:
    async with runtime.raw_listener() as listener:

        async def serve_one() -> None:
            peer = await listener.accept()
            with contextlib.suppress(OSError):
                for byte in b"HTTP/1.1 101 Switching Protocols\r\n" * 100:
                    await peer.send(bytes([byte]))
                    await runtime.sleep(0.02)

        serving = runtime.spawn(serve_one)
        with pytest.raises(HandshakeTimeout):
            await runtime.open(listener.uri, open_timeout=0.2)
        await serving.result()


@needs_sockets
async def test_no_opening_deadline(runtime: Runtime) -> None:
    async with runtime.raw_listener() as listener:

        async def use() -> None:
            async with runtime.connect(listener.uri, **QUIET, open_timeout=None) as client:
                assert await client.recv() == "open"

        using = runtime.spawn(use)
        peer = await listener.accept()
        await runtime.settle(0.3)
        assert not using.done()
        await peer.answer()
        await peer.send(Frame(TEXT, b"open"))
        await peer.read_frame()
        peer.close()
        await using.result()


async def test_deadline_does_not_go_on_after_the_opening(runtime: Runtime) -> None:
    options = {"open_timeout": AMPLE}
    async with runtime.connected(options, options) as (client, server):
        await runtime.settle(AMPLE + 0.2)
        await client.send("still open")
        assert await server.recv() == "still open"


@needs_sockets
@pytest.mark.parametrize(
    ("option", "limit", "changes"),
    [
        ("max_headers", 12, {f"X{number}": "x" for number in range(10)}),
        ("max_header_line", 300, {"X": "x" * 400}),
        ("max_header_bytes", 300, {"X": "x" * 100, "Y": "y" * 100}),
    ],
)
async def test_limits_on_the_head(runtime: Runtime, option: str, limit: int, changes: dict[str, str]) -> None:
    async with runtime.serving(**{option: limit}) as (server, _):
        async with runtime.raw_client(server) as peer:
            await peer.finish()
        async with runtime.raw_connection(server) as peer:
            await peer.send(request(**changes))
            assert (await peer.read_response()).status in (400, 431)
    async with runtime.raw_listener() as listener:

        async def answer() -> None:
            peer = await listener.accept()
            await peer.answer(**changes)

        answering = runtime.spawn(answer)
        with pytest.raises(SecurityError):
            await runtime.open(listener.uri, **{option: limit})
        await answering.result()
