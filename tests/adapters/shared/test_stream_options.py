"""Options of the runtimes' own calls: their names, their types, and what contradicts what."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

import pytest

from adapters.shared.client import Connecting, Target
from adapters.shared.stream_options import (
    check_connect,
    check_names,
    check_path,
    check_reconnect,
    check_serve,
    check_tasks,
    complete_tls,
)
from tests.core.helpers import Clock
from wsproto_core.http.uri import parse_uri

PLAIN, SECURE = parse_uri("ws://example.com/"), parse_uri("wss://example.com/")
CLIENT_CONTEXT = ssl.create_default_context()
SERVER_CONTEXT = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)


@pytest.fixture
def sock() -> Iterator[socket.socket]:
    with socket.socket() as sock:
        yield sock


class Stream:
    """Looks like a stream of trio."""

    send_all = receive_some = None


class OtherStream:
    """Looks like a stream of anyio."""

    send = receive = None


# Names


def test_names() -> None:
    names = {"ssl", "local_addr", "max_size"}
    check_names(names, {"ssl": None, "local_addr": None})
    with pytest.raises(TypeError, match="'local_address'; did you mean 'local_addr'"):
        check_names(names, {"local_address": None})
    with pytest.raises(TypeError, match="'max_sice'; did you mean 'max_size'"):
        check_names(names, {"ssl": None, "max_size": 1, "max_sice": 1})
    # The call of the other side has it.
    with pytest.raises(TypeError, match=r"unexpected keyword argument 'max_connection'$"):
        check_names(names, {"max_connection": 1})


def test_other_names() -> None:
    check_names(["ssl", "max_size"], {"ssl": None})
    with pytest.raises(TypeError, match="'sll'; did you mean 'ssl'"):
        check_names(["ssl", "max_size"], {"sll": None})
    with pytest.raises(TypeError, match=r"'loop'; leave it out: no event loop has to be given$"):
        check_names(["ssl", "max_size"], {"loop": None})


# Types and values

CLIENT_TYPES: list[tuple[str, list[Any], list[Any]]] = [
    ("all_errors", [True, False, None], [1, "yes"]),
    ("family", [0, socket.AF_INET, socket.AF_UNSPEC], ["AF_INET", None, True, 2.0]),
    ("flags", [0, socket.AI_PASSIVE], ["x", None, False]),
    ("proto", [0, socket.IPPROTO_TCP], ["tcp", None]),
    ("interleave", [1, None], ["1", True]),
    ("happy_eyeballs_delay", [0, 0.25, 1, None], ["0.25", "", False, True, []]),
    ("local_addr", [("127.0.0.1", 0), ("::1", 0, 0, 0), None], ["127.0.0.1", ("a",), ["a", 1], (1, 2)]),
    ("source_address", [("127.0.0.1", 0), None], ["127.0.0.1", ("a", "1")]),
    ("local_address", ["127.0.0.1", None], [("127.0.0.1", 0), b"a"]),
    ("server_hostname", ["localhost", None], [b"localhost", 1]),
    ("ssl_handshake_timeout", [1, 0.5, None], ["1", True]),
    ("ssl_shutdown_timeout", [1, 0.5, None], ["1", True]),
    ("ssl", [True, CLIENT_CONTEXT], ["context", 1, object()]),
    ("proxy_ssl", [True, CLIENT_CONTEXT, None], ["context", 1, object()]),
    ("proxy_server_hostname", ["localhost", None], [b"localhost", 1]),
    ("sock", [None], ["socket", 3, object()]),
    ("stream", [Stream(), OtherStream(), None], ["stream", 3, object()]),
]


@pytest.mark.parametrize(("name", "good", "bad"), CLIENT_TYPES)
def test_types_on_a_client(name: str, good: list[Any], bad: list[Any]) -> None:
    for value in good:
        check_connect(SECURE, {name: value})
    for value in bad:
        with pytest.raises(TypeError, match=rf"^{name} must be .*not "):
            check_connect(SECURE, {name: value})


CLIENT_VALUES: list[tuple[str, Any]] = [
    ("interleave", 0),
    ("happy_eyeballs_delay", -1),
    ("local_addr", ("a", -1)),
    ("local_addr", ("a", 65536)),
    ("ssl_handshake_timeout", 0),
    ("ssl_shutdown_timeout", -1),
    ("ssl", SERVER_CONTEXT),
    ("ssl", False),
    ("ssl", None),
    ("proxy_ssl", SERVER_CONTEXT),
]


@pytest.mark.parametrize(("name", "value"), CLIENT_VALUES)
def test_values_on_a_client(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"^{name} must"):
        check_connect(SECURE, {name: value})


SERVER_TYPES: list[tuple[str, list[Any], list[Any]]] = [
    ("backlog", [0, 100], ["100", None, True]),
    ("cleanup_socket", [True, False, None], ["yes", 1]),
    ("family", [0, socket.AF_INET], ["AF_INET", None]),
    ("flags", [0, socket.AI_PASSIVE], ["x", None]),
    ("keep_alive", [True, None], [1, "yes"]),
    ("max_threads", [1, None], ["1", 1.5]),
    ("reuse_address", [True, None], [1, "yes"]),
    ("reuse_port", [True, None], [1, "yes"]),
    ("start_serving", [True, False], [1, "yes"]),
    ("sock", [None], ["socket", 3]),
    ("ssl", [None, SERVER_CONTEXT], ["context", 1, True, False]),
]


@pytest.mark.parametrize(("name", "good", "bad"), SERVER_TYPES)
def test_types_on_a_server(name: str, good: list[Any], bad: list[Any]) -> None:
    for value in good:
        check_serve("localhost", 0, None, {name: value})
    for value in bad:
        with pytest.raises(TypeError, match=rf"^{name} must be .*not "):
            check_serve("localhost", 0, None, {name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [("backlog", -1), ("max_threads", 0), ("ssl", CLIENT_CONTEXT)],
    ids=["backlog", "max_threads", "ssl"],
)
def test_values_on_a_server(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"^{name} must"):
        check_serve("localhost", 0, None, {name: value})


def test_the_text_for_a_server_without_a_certificate() -> None:
    with pytest.raises(TypeError) as raised:
        check_serve("localhost", 0, None, {"ssl": True})
    with pytest.raises(TypeError, match=r"^ssl must be an ssl\.SSLContext or None, not 'cert.pem'$"):
        check_serve("localhost", 0, None, {"ssl": "cert.pem"})
    with pytest.raises(TypeError, match=r"^ssl must be an ssl\.SSLContext, True or None, not 'cert.pem'$"):
        check_connect(SECURE, {"ssl": "cert.pem"})
    assert str(raised.value) == (
        "ssl must be an ssl.SSLContext or None, not True: a server's context is made by "
        "ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), and has the server's certificate by "
        "load_cert_chain"
    )


def test_where_to_listen() -> None:
    for host in (None, "", "localhost", ["localhost", "::1"], ("localhost",), [None]):
        check_serve(host, 8765, None, {})
    check_serve(None, None, "/run/socket", {})
    for host in (1, b"localhost", [1], {"localhost"}):
        with pytest.raises(TypeError, match=r"^host must be"):
            check_serve(host, 0, None, {})
    for port in ("80", 80.0, True):
        with pytest.raises(TypeError, match=r"^port must be"):
            check_serve(None, port, None, {})
    for port in (-1, 65536):
        with pytest.raises(ValueError, match=r"^port must be from 0 to 65535"):
            check_serve(None, port, None, {})
    with pytest.raises(TypeError, match=r"^path must be"):
        check_serve(None, None, 1, {})
    with pytest.raises(ValueError, match=r"^path must be given, or sock"):
        check_serve(None, None, "", {})
    for host in (None, "localhost"):
        with pytest.raises(ValueError, match=r"^port must be given: 0"):
            check_serve(host, None, None, {})


def test_paths() -> None:
    assert check_path("/run/socket") == "/run/socket"
    for path in (b"/run/socket", PurePosixPath("/run/socket"), BytesPath()):
        assert check_path(path) == "/run/socket"
        assert check_serve(None, None, path, {}) == "/run/socket"
    assert check_path(b"\0\xff") == "\0\udcff"
    for other in (None, 1, bytearray(b"/run/socket")):
        with pytest.raises(TypeError, match=r"^path must be a str, bytes or an os.PathLike"):
            check_path(other)  # type: ignore[arg-type]
    for empty in ("", b""):
        with pytest.raises(ValueError, match=r"^path must not be empty"):
            check_path(empty)


class BytesPath:
    def __fspath__(self) -> bytes:
        return b"/run/socket"


def test_sockets(sock: socket.socket) -> None:
    check_connect(PLAIN, {"sock": sock})
    check_serve(None, None, None, {"sock": sock})
    check_serve(None, None, "", {"sock": sock})
    with socket.socket(type=socket.SOCK_DGRAM) as datagrams:
        for check in (check_client, check_server):
            with pytest.raises(ValueError, match=r"^sock must be a socket for streams"):
                check(datagrams)
    with CLIENT_CONTEXT.wrap_socket(sock, server_hostname="a") as secure:
        for check in (check_client, check_server):
            with pytest.raises(TypeError, match=r"^sock must be a plain socket: TLS is asked for by ssl"):
                check(secure)
    for check in (check_client, check_server):
        with pytest.raises(ValueError, match=r"^sock must not be closed"):
            check(sock)


def check_client(sock: socket.socket) -> None:
    check_connect(PLAIN, {"sock": sock})


def check_server(sock: socket.socket) -> None:
    check_serve(None, None, None, {"sock": sock})


def test_tasks() -> None:
    class Nursery:
        start_soon = None

    check_tasks("nursery", None)
    check_tasks("nursery", Nursery())
    with pytest.raises(TypeError, match=r"^nursery must be one in which tasks can be started"):
        check_tasks("nursery", "nursery")


# Contradictions

TCP_CLIENT: dict[str, Any] = {
    "family": socket.AF_INET,
    "proto": 6,
    "flags": 1,
    "local_addr": ("127.0.0.1", 0),
    "local_address": "127.0.0.1",
    "source_address": ("127.0.0.1", 0),
    "happy_eyeballs_delay": 0.25,
    "interleave": 1,
    "all_errors": True,
}


@pytest.mark.parametrize("name", TCP_CLIENT)
def test_how_to_connect_by_tcp(name: str, sock: socket.socket) -> None:
    option = {name: TCP_CLIENT[name]}
    check_connect(PLAIN, {**option, "host": "a", "port": 1, "proxy": "http://proxy"})
    for other in ({"sock": sock}, {"path": "/socket"}, {"stream": Stream()}):
        with pytest.raises(ValueError, match=f"^{name} must not be given together with {next(iter(other))}"):
            check_connect(PLAIN, {**option, **other})
    with pytest.raises(ValueError, match=f"^{name} must not be given together with a SOCKS proxy"):
        check_connect(PLAIN, {**option, "proxy": "socks5h://user:secret@proxy"})


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("path", "sock"),
        ("path", "stream"),
        ("sock", "stream"),
        ("path", "host"),
        ("sock", "host"),
        ("sock", "port"),
        ("stream", "port"),
    ],
)
def test_two_ways_to_a_server(one: str, other: str, sock: socket.socket) -> None:
    ways = {"path": "/socket", "sock": sock, "stream": Stream(), "host": "a", "port": 1}
    with pytest.raises(ValueError, match=f"^{one} and {other} must not both be given"):
        check_connect(PLAIN, {one: ways[one], other: ways[other]})


def test_what_is_fixed(sock: socket.socket) -> None:
    assert check_connect(PLAIN, {}) is None
    assert check_connect(PLAIN, {"host": "a", "port": 1}) == "host"
    assert check_connect(PLAIN, {"port": 1}) == "port"
    assert check_connect(PLAIN, {"sock": sock}) == "sock"
    assert check_connect(PLAIN, {"path": "/socket", "host": ""}) == "path"


@pytest.mark.parametrize(
    ("name", "value"),
    [("server_hostname", "a"), ("ssl_handshake_timeout", 1), ("ssl_shutdown_timeout", 1)],
)
def test_tls_without_tls(name: str, value: Any) -> None:
    check_connect(PLAIN, {name: None})
    with pytest.raises(ValueError, match=f"^{name} must not be given for a ws:// URI"):
        check_connect(PLAIN, {name: value})
    check_serve(None, 0, None, {name: value, "ssl": SERVER_CONTEXT})
    with pytest.raises(ValueError, match=f"^{name} must not be given without ssl"):
        check_serve(None, 0, None, {name: value})


def test_tls_to_a_proxy(sock: socket.socket) -> None:
    option = {"proxy_ssl": CLIENT_CONTEXT}
    for proxy in (True, "https://proxy"):
        check_connect(PLAIN, {**option, "proxy": proxy})
    # The environment decides.
    check_connect(PLAIN, option)
    for other in (None, "http://proxy", "socks5://proxy"):
        with pytest.raises(ValueError, match=r"^proxy_ssl must not be given without a proxy that is"):
            check_connect(PLAIN, {**option, "proxy": other})
    with pytest.raises(ValueError, match=r"^proxy_ssl must not be given together with sock"):
        check_connect(PLAIN, {**option, "sock": sock})


def test_two_ways_to_listen(sock: socket.socket) -> None:
    with pytest.raises(ValueError, match=r"^host and sock must not both be given"):
        check_serve("localhost", None, None, {"sock": sock})
    with pytest.raises(ValueError, match=r"^port and sock must not both be given"):
        check_serve(None, 80, None, {"sock": sock})
    with pytest.raises(ValueError, match=r"^path and sock must not both be given"):
        check_serve(None, None, "/socket", {"sock": sock})


@pytest.mark.parametrize(
    ("name", "value"),
    [("family", 2), ("flags", 1), ("reuse_address", True), ("reuse_port", True), ("keep_alive", True)],
)
def test_how_to_listen_on_tcp(name: str, value: Any, sock: socket.socket) -> None:
    with pytest.raises(ValueError, match=f"^{name} must not be given together with sock"):
        check_serve(None, None, None, {name: value, "sock": sock})
    with pytest.raises(ValueError, match=f"^{name} must not be given together with path"):
        check_serve(None, None, "/socket", {name: value})


def test_what_cannot_be_connected_again(sock: socket.socket) -> None:
    check_reconnect({"sock": None, "host": "a"})
    for name, value in {"sock": sock, "stream": Stream()}.items():
        with pytest.raises(ValueError, match=f"^{name} must not be given for reconnecting"):
            check_reconnect({name: value})


def test_tls_as_the_uri_asks_for() -> None:
    assert complete_tls(SECURE, {}) == {"ssl": True, "server_hostname": "example.com"}
    assert complete_tls(SECURE, {"server_hostname": None})["server_hostname"] == "example.com"
    own = {"ssl": CLIENT_CONTEXT, "server_hostname": "other", "x": 1}
    assert complete_tls(SECURE, own) == own
    assert complete_tls(PLAIN, {"x": 1}) == {"x": 1}
    assert complete_tls(PLAIN, {"ssl": None}) == {"ssl": None}
    with pytest.raises(TypeError, match=r"ssl must be an ssl\.SSLContext"):
        complete_tls(SECURE, {"ssl": "context"})
    with pytest.raises(ValueError, match="ssl must not be False for a wss:// URI"):
        complete_tls(SECURE, {"ssl": False})
    with pytest.raises(ValueError, match="ssl must not be None for a wss:// URI"):
        complete_tls(SECURE, {"ssl": None})
    with pytest.raises(ValueError, match="ssl must not be given for a ws:// URI"):
        complete_tls(PLAIN, {"ssl": True})


# As a whole


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"sock": "x", "host": "a"}, TypeError, "^sock must be a socket"),
        ({"max_sise": 1, "max_size": "x"}, TypeError, "^max_size must be an int"),
        ({"path": "/socket", "proxy": "http://proxy"}, ValueError, "^proxy must not be given together with"),
        ({"proxy": "ftp://proxy"}, ValueError, "expected one of the schemes"),
    ],
)
def test_all_of_a_clients_options(options: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Connecting(Target("ws://localhost/", options), clock=Clock(), environment={})
