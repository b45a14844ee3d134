"""Mistakes in options: a wrong name, a wrong type, or one that contradicts
another is refused at the call itself, by an error that names it. Nothing is connected, nothing listens.
"""

from __future__ import annotations

import contextlib
import inspect
import socket
import ssl
import warnings
from collections.abc import Iterator, KeysView
from pathlib import Path
from typing import Any

import pytest
from werkzeug.routing import Rule

from adapters.shared.options import OPTIONS, ConnectOptions, ServeOptions
from tests.adapters.runtimes import Runtime
from tests.adapters.runtimes.base import HOST, client_context, echo, server_context
from wsproto_core.connect.proxy import Proxy
from wsproto_core.exceptions import InvalidProxy
from wsproto_core.options import Option

pytestmark = pytest.mark.needs("sockets", "features")

PLAIN, SECURE = f"ws://{HOST}:9/", f"wss://{HOST}:9/"


def connect_options(runtime: Runtime) -> set[str]:
    """The names of all options of the adapter's ``connect``."""
    return keywords(runtime.adapter.connect)


def serve_options(runtime: Runtime) -> set[str]:
    return keywords(runtime.adapter.serve)


def keywords(function: Any) -> set[str]:
    parameters = inspect.signature(function).parameters.values()
    return {each.name for each in parameters if each.kind is inspect.Parameter.KEYWORD_ONLY}


class NoStreams:
    """Makes the test fail if a socket is connected or bound."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("connect", "connect_ex", "bind", "listen"):
            monkeypatch.setattr(socket.socket, name, self.fail)

    def fail(self, *args: Any) -> Any:
        raise AssertionError("something was connected, or listens")


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ws", "wss", "socks", "http", "https", "all"):
        monkeypatch.delenv(f"{name}_proxy", raising=False)
        monkeypatch.delenv(f"{name}_proxy".upper(), raising=False)


@contextlib.contextmanager
def sockets() -> Iterator[tuple[socket.socket, socket.socket]]:
    left, right = socket.socketpair()
    with left, right:
        yield left, right


# Wrong names


async def test_wrong_names(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    """One letter too many, at the end of each."""
    NoStreams(monkeypatch)
    adapter = runtime.adapter
    for name in connect_options(runtime):
        wrong = f"{name}x"
        with pytest.raises(TypeError, match=rf"unexpected keyword argument '{wrong}'"):
            adapter.connect(PLAIN, **{wrong: None})
        with pytest.raises(TypeError, match=rf"unexpected keyword argument '{wrong}'"):
            adapter.unix_connect("/socket", **{wrong: None})
        with pytest.raises(TypeError, match=rf"unexpected keyword argument '{wrong}'"):
            adapter.reconnect(PLAIN, **{wrong: None})
    for name in serve_options(runtime):
        wrong = f"{name}x"
        with pytest.raises(TypeError, match=rf"unexpected keyword argument '{wrong}'"):
            adapter.serve(echo, HOST, 0, **{wrong: None})
        with pytest.raises(TypeError, match=rf"unexpected keyword argument '{wrong}'"):
            adapter.unix_serve(echo, "/socket", **{wrong: None})
        with pytest.raises(TypeError, match=rf"unexpected keyword argument '{wrong}'"):
            adapter.route([Rule("/", endpoint=echo)], HOST, 0, **{wrong: None})


@pytest.mark.parametrize("name", ["origins", "process_request", "max_connections", "path", "loop", "timeout"])
async def test_names_that_a_client_has_not_got(runtime: Runtime, name: str) -> None:
    with pytest.raises(TypeError, match=f"'{name}'"):
        runtime.adapter.connect(PLAIN, **{name: None})


@pytest.mark.parametrize("name", ["origin", "proxy", "user_agent_header", "server_hostname", "stream"])
async def test_names_that_a_server_has_not_got(runtime: Runtime, name: str) -> None:
    with pytest.raises(TypeError, match=f"'{name}'"):
        runtime.adapter.serve(echo, HOST, 0, **{name: None})


# Wrong types

NONE_OF_THESE: list[Any] = [object(), b"bytes", {1: 2}.keys(), 1j]
"""Values that are right for hardly any option."""


def option_and_value(names: set[str]) -> Iterator[tuple[str, Any]]:
    for name in sorted(names):
        for value in NONE_OF_THESE:
            # Delays may be anything that can be iterated over again.
            if name != "reconnect_delays" or not isinstance(value, KeysView):
                yield name, value


async def test_wrong_types_on_a_client(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    NoStreams(monkeypatch)
    names = connect_options(runtime)
    assert set(ConnectOptions.__annotations__) <= names
    for name, value in option_and_value(names - loop_lacks(runtime, "create_connection", names)):
        for call in (runtime.adapter.connect, runtime.adapter.reconnect):
            if name in inspect.signature(call).parameters or name not in ("nursery", "task_group"):
                with pytest.raises((TypeError, ValueError), match=rf"\b{name} must"):
                    call(SECURE, **{name: value})


async def test_wrong_types_on_a_server(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    NoStreams(monkeypatch)
    names = serve_options(runtime) - {"task_status"}
    assert set(ServeOptions.__annotations__) <= names
    for name, value in option_and_value(names - loop_lacks(runtime, "create_server", names)):
        with pytest.raises((TypeError, ValueError), match=rf"\b{name} must"):
            runtime.adapter.serve(echo, HOST, 0, **{name: value})


def loop_lacks(runtime: Runtime, call: str, names: set[str]) -> set[str]:
    """Options that are declared and that this event loop has not got, which is refused by name as well."""
    if runtime.adapter.__name__ != "adapters.asyncio":
        return set()
    import asyncio

    from adapters.shared.stream_options import TCP_CLIENT

    known = inspect.signature(getattr(asyncio.get_running_loop(), call)).parameters
    return names - set(OPTIONS) - set(known) - set(TCP_CLIENT) - {"proxy_ssl", "proxy_server_hostname"}


async def test_options_that_this_event_loop_has_not_got(runtime: Runtime) -> None:
    for name in loop_lacks(runtime, "create_connection", connect_options(runtime)):
        with pytest.raises(TypeError, match=f"unexpected keyword argument '{name}'"):
            runtime.adapter.connect(PLAIN, **{name: None})


@pytest.mark.parametrize("uri", [None, b"ws://localhost/", 1, Path("/"), ["ws://localhost/"]])
async def test_uri_of_the_wrong_type(runtime: Runtime, uri: Any) -> None:
    for call in (runtime.adapter.connect, runtime.adapter.reconnect):
        with pytest.raises(TypeError, match="uri must be a str"):
            call(uri)
    with pytest.raises(TypeError, match="uri must be a str"):
        runtime.adapter.unix_connect("/socket", uri)


@pytest.mark.parametrize("path", [None, 1, ["/socket"]])
async def test_path_of_the_wrong_type(runtime: Runtime, path: Any) -> None:
    with pytest.raises(TypeError, match="path must be a str"):
        runtime.adapter.unix_connect(path)
    if path is not None:
        with pytest.raises(TypeError, match="path must be a str"):
            runtime.adapter.unix_serve(echo, path)


@pytest.mark.parametrize(
    ("host", "port", "error", "name"),
    [
        (1, 80, TypeError, "host"),
        (b"localhost", 80, TypeError, "host"),
        (["localhost", 1], 80, TypeError, "host"),
        ("localhost", "80", TypeError, "port"),
        ("localhost", True, TypeError, "port"),
        ("localhost", -1, ValueError, "port"),
        ("localhost", 65536, ValueError, "port"),
        ("localhost", None, ValueError, "port"),
        (None, None, ValueError, "port"),
    ],
)
async def test_where_to_listen(
    runtime: Runtime, host: Any, port: Any, error: type[Exception], name: str
) -> None:
    with pytest.raises(error, match=f"^{name} must be"):
        runtime.adapter.serve(echo, host, port)


@pytest.mark.parametrize("handler", [None, "handler", 1])
async def test_handler_of_the_wrong_type(runtime: Runtime, handler: Any) -> None:
    with pytest.raises(TypeError, match="handler"):
        runtime.adapter.serve(handler, HOST, 0)


# Wrong values of our own options

VALUES: list[tuple[str, Any, type[Exception]]] = [
    ("compression", "gzip", ValueError),
    ("compression", True, ValueError),
    ("open_timeout", 0, ValueError),
    ("ping_interval", float("nan"), ValueError),
    ("max_size", (1,), ValueError),
    ("max_queue", (2, 3), ValueError),
    ("subprotocols", ["a b"], ValueError),
    ("logger", "name", TypeError),
    ("extensions", ["permessage-deflate"], TypeError),
    ("extra_headers", {"X": "a\r\nb"}, ValueError),
]
CLIENT_VALUES: list[tuple[str, Any, type[Exception]]] = [
    ("origin", "a\nb", ValueError),
    ("user_agent_header", "a\0b", ValueError),
    ("port", 0, ValueError),
    ("max_redirects", -1, ValueError),
    ("proxy", False, TypeError),
    ("proxy", "ftp://proxy", InvalidProxy),
    ("proxy", "http://proxy/path", InvalidProxy),
]
SERVER_VALUES: list[tuple[str, Any, type[Exception]]] = [
    ("origins", "https://example.com", TypeError),
    ("origins", [1], TypeError),
    ("server_header", "a\r\nb", ValueError),
    ("max_connections", 0, ValueError),
]


@pytest.mark.parametrize(("name", "value", "error"), VALUES + CLIENT_VALUES)
async def test_wrong_values_on_a_client(
    runtime: Runtime, name: str, value: Any, error: type[Exception]
) -> None:
    with pytest.raises(error, match="proxy" if error is InvalidProxy else rf"^{name}\b"):
        runtime.adapter.connect(PLAIN, **{name: value})


@pytest.mark.parametrize(("name", "value", "error"), VALUES + SERVER_VALUES)
async def test_wrong_values_on_a_server(
    runtime: Runtime, name: str, value: Any, error: type[Exception]
) -> None:
    with pytest.raises(error, match=rf"^{name}\b"):
        runtime.adapter.serve(echo, HOST, 0, **{name: value})


# Contradictions


async def test_two_ways_to_a_server(runtime: Runtime) -> None:
    connect, unix_connect = runtime.adapter.connect, runtime.adapter.unix_connect
    with sockets() as (sock, _):
        for name, value in {"host": HOST, "port": 9}.items():
            with pytest.raises(ValueError, match=f"^sock and {name} must not both be given"):
                connect(PLAIN, sock=sock, **{name: value})
            with pytest.raises(ValueError, match=f"^path and {name} must not both be given"):
                unix_connect("/socket", **{name: value})
        with pytest.raises(ValueError, match=r"^path and sock must not both be given"):
            unix_connect("/socket", sock=sock)
        for proxy in ("http://proxy", Proxy("http", "proxy", 80)):
            with pytest.raises(ValueError, match=r"^proxy must not be given together with sock"):
                connect(PLAIN, sock=sock, proxy=proxy)
            with pytest.raises(ValueError, match=r"^proxy must not be given together with path"):
                unix_connect("/socket", proxy=proxy)


async def test_stream_and_another_way(runtime: Runtime) -> None:
    if "stream" not in connect_options(runtime):
        return

    class Stream:
        send_all = receive_some = send = receive = aclose = extra = None

    with sockets() as (sock, _):
        for other, value in {"sock": sock, "host": HOST, "port": 9}.items():
            names = "sock and stream" if other == "sock" else f"stream and {other}"
            with pytest.raises(ValueError, match=f"^{names} must not both be given"):
                runtime.adapter.connect(PLAIN, stream=Stream(), **{other: value})
        with pytest.raises(ValueError, match=r"^stream must not be given for reconnecting"):
            runtime.adapter.reconnect(PLAIN, stream=Stream())


async def test_tls_and_the_uri(runtime: Runtime) -> None:
    connect = runtime.adapter.connect
    for context in (True, client_context()):
        with pytest.raises(ValueError, match=r"^ssl must not be given for a ws:// URI: use wss://"):
            connect(PLAIN, ssl=context)
    for nothing in (None, False):
        with pytest.raises(ValueError, match=r"^ssl must not be (None|False) for a wss:// URI"):
            connect(SECURE, ssl=nothing)
    with pytest.raises(ValueError, match=r"^server_hostname must not be given for a ws:// URI"):
        connect(PLAIN, server_hostname="localhost")
    with pytest.raises(ValueError, match=r"^ssl must not be a context for a server"):
        connect(SECURE, ssl=server_context())
    with pytest.raises(ValueError, match=r"^ssl must not be a context for a client"):
        runtime.adapter.serve(echo, HOST, 0, ssl=client_context())


async def test_old_contexts_are_for_both_sides(runtime: Runtime) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS)
    runtime.adapter.connect(SECURE, ssl=context)
    close_unused(runtime.adapter.serve(runtime.native_handler(echo), HOST, 0, ssl=context))


def close_unused(serving: Any) -> None:
    """On threads, it listens already."""
    if hasattr(serving, "close"):
        serving.close()


async def test_tls_to_the_proxy(runtime: Runtime) -> None:
    connect = runtime.adapter.connect
    options: dict[str, Any] = {"proxy_ssl": client_context(), "proxy_server_hostname": "name"}
    connect(PLAIN, **options, proxy="https://proxy")
    for name, value in options.items():
        option = {name: value}
        for proxy in (None, "http://proxy", "socks5://proxy", Proxy("http", "proxy", 80)):
            with pytest.raises(ValueError, match=f"^{name} must not be given without a proxy"):
                connect(PLAIN, **option, proxy=proxy)
        with sockets() as (sock, _), pytest.raises(ValueError, match=f"^{name} must not be given together"):
            connect(PLAIN, **option, sock=sock)


TCP: dict[str, Any] = {
    "family": socket.AF_INET,
    "proto": socket.IPPROTO_TCP,
    "flags": socket.AI_NUMERICHOST,
    "local_addr": (HOST, 0),
    "local_address": HOST,
    "source_address": (HOST, 0),
    "happy_eyeballs_delay": 0.25,
    "interleave": 1,
    "all_errors": True,
    "reuse_address": True,
    "reuse_port": True,
    "keep_alive": True,
}


async def test_how_to_connect_by_tcp(runtime: Runtime) -> None:
    names = connect_options(runtime)
    for name in set(TCP) & (names - loop_lacks(runtime, "create_connection", names)):
        option = {name: TCP[name]}
        runtime.adapter.connect(PLAIN, **option)
        with sockets() as (sock, _), pytest.raises(ValueError, match=f"^{name} must not be given together"):
            runtime.adapter.connect(PLAIN, sock=sock, **option)
        with pytest.raises((TypeError, ValueError), match=f"{name}"):
            runtime.adapter.unix_connect("/socket", **option)
        with pytest.raises(ValueError, match=f"^{name} must not be given together with a SOCKS proxy"):
            runtime.adapter.connect(PLAIN, proxy="socks5://proxy", **option)


async def test_how_to_listen_on_tcp(runtime: Runtime) -> None:
    names = serve_options(runtime)
    for name in set(TCP) & (names - loop_lacks(runtime, "create_server", names)):
        option = {name: TCP[name]}
        with sockets() as (sock, _), pytest.raises(ValueError, match=f"^{name} must not be given together"):
            runtime.adapter.serve(echo, sock=sock, **option)
        with pytest.raises((TypeError, ValueError), match=f"{name}"):
            runtime.adapter.unix_serve(echo, "/socket", **option)


async def test_deadlines_of_tls_without_tls(runtime: Runtime) -> None:
    for name in ("ssl_handshake_timeout", "ssl_shutdown_timeout"):
        if name in connect_options(runtime):
            with pytest.raises(ValueError, match=f"^{name} must not be given for a ws:// URI"):
                runtime.adapter.connect(PLAIN, **{name: 1})
            with pytest.raises(ValueError, match=f"^{name} must not be given without ssl"):
                runtime.adapter.serve(echo, HOST, 0, **{name: 1})


async def test_two_ways_to_listen(runtime: Runtime) -> None:
    serve, unix_serve = runtime.adapter.serve, runtime.adapter.unix_serve
    with sockets() as (sock, _):
        with pytest.raises(ValueError, match=r"^host and sock must not both be given"):
            serve(echo, HOST, sock=sock)
        with pytest.raises(ValueError, match=r"^port and sock must not both be given"):
            serve(echo, None, 80, sock=sock)
        with pytest.raises(ValueError, match=r"^path and sock must not both be given"):
            unix_serve(echo, "/socket", sock=sock)
    with pytest.raises(ValueError, match=r"^path must be given, or sock"):
        unix_serve(echo)


async def test_sockets_that_are_none(runtime: Runtime) -> None:
    closed = socket.socket()
    closed.close()
    with socket.socket(type=socket.SOCK_DGRAM) as datagrams:
        for sock, error in ((closed, ValueError), (datagrams, ValueError), ("socket", TypeError)):
            with pytest.raises(error, match=r"^sock must"):
                runtime.adapter.connect(PLAIN, sock=sock)
            with pytest.raises(error, match=r"^sock must"):
                runtime.adapter.serve(echo, sock=sock)


# What is right


async def test_options_of_this_runtime_are_passed_on(runtime: Runtime) -> None:
    names = connect_options(runtime)
    right: dict[str, Any] = {
        "family": socket.AF_INET,
        "local_addr": (HOST, 0),
        "local_address": HOST,
        "source_address": (HOST, 0),
        "happy_eyeballs_delay": 0.1,
        "ssl_handshake_timeout": 5,
        "ssl_shutdown_timeout": 5,
    }
    lacks = loop_lacks(runtime, "create_connection", names)
    options = {name: value for name, value in right.items() if name in names - lacks}
    async with (
        runtime.serving(**runtime.server_tls(True)) as (_, uri),
        runtime.connect(uri, **options, **runtime.client_tls(True)) as client,
    ):
        assert client.local_address[0] == HOST
        await runtime.check_echo(client)


# Parsed once


@pytest.mark.parametrize("named", [False, True], ids=["by default", "by create_protocol"])
async def test_options_are_checked_once(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch, named: bool
) -> None:
    checked: list[str] = []
    for name in ("max_size", "extra_headers"):
        option = OPTIONS[name]

        def check(name: str, value: Any, option: Option = option) -> None:
            checked.append(name)
            option.check(name, value)

        monkeypatch.setitem(OPTIONS, name, option._replace(check=check))
    options: dict[str, Any] = {"max_size": 1000, "extra_headers": {"A": "b"}}
    client, server = dict(options), dict(options)
    if named:

        class Client(runtime.ClientConnection):  # type: ignore[misc, name-defined]
            pass

        class Server(runtime.ServerConnection):  # type: ignore[misc, name-defined]
            pass

        client["create_protocol"], server["create_protocol"] = Client, Server
    async with runtime.serving(**server) as (_, uri):
        assert sorted(checked) == ["extra_headers", "max_size"]
        checked.clear()
        for _ in range(2):
            async with runtime.connect(uri, **client) as connection:
                await runtime.check_echo(connection)
            assert sorted(checked) == ["extra_headers", "max_size"]
            checked.clear()


# Texts of errors


async def test_texts_of_wrong_values(runtime: Runtime) -> None:
    for wrong, text in (
        ({"ssl": True}, "ssl must be an ssl.SSLContext or None, not True: a server's context is made by"),
        (
            {"extra_headers": "A: b"},
            "extra_headers must be a mapping, pairs or Headers, not 'A: b': write {'A': 'b'}",
        ),
        ({"extra_headers": {"A": None}}, "extra_headers: the value of 'A' must be a str, not None; leave"),
        ({"subprotocols": "chat"}, "subprotocols must be a sequence or None, not 'chat': write ['chat']"),
    ):
        options: dict[str, Any] = wrong
        with pytest.raises(TypeError) as raised:
            async with runtime.serve(echo, HOST, 0, **options):
                raise AssertionError
        assert str(raised.value).startswith(text)
        if "ssl" not in options:
            with pytest.raises(TypeError) as raised:
                await runtime.open(PLAIN, **options)
            assert str(raised.value).startswith(text)
