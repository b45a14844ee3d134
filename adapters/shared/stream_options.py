"""Options of streams: the table, and the checks of their types and of options that contradict each other.

The runtimes have these options by the same names. A runtime refuses a wrong value late, when there is a
connection, or not at all. So ``connect`` and ``serve`` check all values before any connection is made.
The checks need no runtime.
"""

from __future__ import annotations

import inspect
import os
import socket
import ssl
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from wsproto_core.checks import check_count, check_seconds, check_text
from wsproto_core.connect.proxy import Proxy, parse_proxy
from wsproto_core.http.uri import WebSocketURI, without_zone
from wsproto_core.options import Option, unknown_option
from wsproto_core.types import SocketPath

from .addresses import ADDRESS_DELAY
from .options import OPTIONS, ConnectOptions, ServeOptions, check_port

__all__ = [
    "GIVEN_STREAMS",
    "STREAM_OPTIONS",
    "TCP_CLIENT",
    "TCP_SERVER",
    "StreamConnectOptions",
    "StreamListenOptions",
    "check_alternatives",
    "check_connect",
    "check_names",
    "check_path",
    "check_reconnect",
    "check_serve",
    "check_tasks",
    "complete_tls",
]


class StreamConnectOptions(ConnectOptions, total=False):
    """Options of every adapter's ``connect``, with those of the stream, which :data:`STREAM_OPTIONS` has."""

    ssl: bool | ssl.SSLContext | None
    server_hostname: str | None
    sock: socket.socket | None
    happy_eyeballs_delay: float | None
    proxy_ssl: ssl.SSLContext | None
    proxy_server_hostname: str | None


class StreamListenOptions(ServeOptions, total=False):
    """Options of every adapter's ``serve`` but ``ssl``, with those of listening sockets."""

    sock: socket.socket | None
    family: int
    backlog: int
    reuse_port: bool | None


GIVEN_STREAMS = ("path", "sock", "stream")
"""Options by which an application gives the stream itself, or the path of a Unix socket."""

TCP_CLIENT = (
    "family",
    "proto",
    "flags",
    "local_addr",
    "local_address",
    "source_address",
    "happy_eyeballs_delay",
    "interleave",
    "all_errors",
)
"""Options of TCP connections on a client."""

TCP_SERVER = ("family", "flags", "reuse_address", "reuse_port", "keep_alive")
"""Options of listening TCP sockets on a server."""

_TLS = ("server_hostname", "ssl_handshake_timeout", "ssl_shutdown_timeout")

_PROXY_TLS = ("proxy_ssl", "proxy_server_hostname")


def check_path(path: SocketPath) -> str:
    """Return the path of a Unix socket as a ``str``, which every runtime takes.

    Args:
        path: the path.

    Raises:
        TypeError: ``path`` is no path.
        ValueError: ``path`` is empty.
    """
    if not isinstance(path, str | bytes | os.PathLike):
        raise TypeError(f"path must be a str, bytes or an os.PathLike, not {path!r}")
    decoded = os.fsdecode(path)
    if not decoded:
        raise ValueError("path must not be empty")
    return decoded


def _sock(name: str, value: Any) -> None:
    if value is None:
        return
    if not all(hasattr(value, method) for method in ("fileno", "getsockname", "recv", "detach")):
        raise TypeError(f"{name} must be a socket.socket or None, not {value!r}")
    if inspect.iscoroutinefunction(value.recv):
        raise TypeError(
            f"{name} must be a socket.socket, not one of a runtime, whose methods are asynchronous, "
            f"as {value!r}: give a stream instead, where there is an option for that"
        )
    if hasattr(value, "do_handshake"):
        raise TypeError(f"{name} must be a plain socket: TLS is asked for by ssl; it is {value!r}")
    # It is an enumeration; numbers differ between systems.
    if getattr(value.type, "name", "SOCK_STREAM") != "SOCK_STREAM":
        raise ValueError(f"{name} must be a socket for streams (SOCK_STREAM), not {value!r}")
    if value.fileno() < 0:
        raise ValueError(f"{name} must not be closed: {value!r}")


def _stream(name: str, value: Any) -> None:
    methods = [{"send_all", "receive_some"}, {"send", "receive"}]
    if value is not None and not any(each <= set(dir(value)) for each in methods):
        raise TypeError(f"{name} must be a stream of bytes or None, not {value!r}")


def _context(name: str, value: Any, other_side: str) -> None:
    """Check a TLS context, which must not be one for the other side."""
    if not hasattr(value, "wrap_bio"):
        expected = "an ssl.SSLContext" if other_side == "client" else "an ssl.SSLContext, True"
        raise TypeError(f"{name} must be {expected} or None, not {value!r}")
    if getattr(getattr(value, "protocol", None), "name", "") == f"PROTOCOL_TLS_{other_side.upper()}":
        raise ValueError(f"{name} must not be a context for a {other_side}: {value!r}")


def _client_context(name: str, value: Any) -> None:
    if value is not None and not isinstance(value, bool):
        _context(name, value, "server")


def _local_address(name: str, value: Any) -> None:
    if value is None:
        return
    if not isinstance(value, tuple) or len(value) < 2 or not isinstance(value[0], str):
        raise TypeError(f"{name} must be a pair of host and port, or None, not {value!r}")
    check_port(name, value[1], least=0)


def _flag(name: str, value: Any) -> None:
    """Check a truth value, or ``None``."""
    if value is not None and not isinstance(value, bool):
        raise TypeError(f"{name} must be True, False or None, not {value!r}")


def _number(name: str, value: Any) -> None:
    """Check a constant of the socket module."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an int, not {value!r}")


def _backlog(name: str, value: Any) -> None:
    _number(name, value)
    check_count(name, value, least=0)


def _delay(name: str, value: Any) -> None:
    if value:
        check_seconds(name, value)
    elif value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise TypeError(f"{name} must be a number of seconds or None, not {value!r}")


class _Text:
    """A default that depends on the system or the side; its ``repr`` is a text."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


STREAM_OPTIONS: dict[str, Option] = {
    "ssl": Option(
        None,
        "",
        "TLS context; on a client, the default context for a wss: URI if it is left out.",
        # It differs between clients and servers.
        lambda name, value: None,
    ),
    "server_hostname": Option(
        None, "", "Name that the server's certificate must have; None for the URI's host.", check_text
    ),
    "sock": Option(
        None, "", "A socket in the place of host and port: connected on a client, bound on a server.", _sock
    ),
    "stream": Option(None, "", "A stream of the runtime that leads to the server.", _stream),
    "family": Option(0, "", "Address family, such as socket.AF_INET; 0 for all.", _number),
    "proto": Option(0, "", "Protocol number for the name lookup; 0 for any.", _number),
    "flags": Option(
        _Text("AI_PASSIVE on a server, else 0"),
        "",
        "Flags for the name lookup, such as socket.AI_NUMERICHOST.",
        _number,
    ),
    "local_addr": Option(None, "", "Pair of host and port to connect from.", _local_address),
    "local_address": Option(None, "", "IP address to connect from.", check_text),
    "source_address": Option(None, "", "Pair of host and port to connect from.", _local_address),
    "happy_eyeballs_delay": Option(
        ADDRESS_DELAY,
        "seconds",
        "Delay until the next address of the host is tried as well (RFC 8305); None waits for failure.",
        _delay,
    ),
    "interleave": Option(
        None,
        "addresses",
        "Addresses of the first family before the other has its turn (RFC 8305).",
        check_count,
    ),
    "all_errors": Option(
        False, "", "Whether the errors of all addresses are raised, as an ExceptionGroup.", _flag
    ),
    "ssl_handshake_timeout": Option(
        None, "seconds", "Deadline for TLS's handshake; None for open_timeout alone.", check_seconds
    ),
    "ssl_shutdown_timeout": Option(
        None, "seconds", "Has no effect: close_timeout is the deadline for the end of TLS.", check_seconds
    ),
    "proxy_ssl": Option(
        None, "", "TLS context for an https: proxy; None for the default context.", _client_context
    ),
    "proxy_server_hostname": Option(
        None, "", "Name that the proxy's certificate must have; None for the host in its URL.", check_text
    ),
    "backlog": Option(
        _Text("socket.SOMAXCONN"), "connections", "Connections that may wait to be accepted.", _backlog
    ),
    "reuse_address": Option(
        None, "", "Whether SO_REUSEADDR is set; None for what the platform needs.", _flag
    ),
    "reuse_port": Option(
        None, "", "Whether SO_REUSEPORT is set, so that several servers share a port.", _flag
    ),
    "keep_alive": Option(None, "", "Whether SO_KEEPALIVE is set.", _flag),
    "start_serving": Option(True, "", "Whether connections are accepted at once.", _flag),
    "cleanup_socket": Option(True, "", "Whether a Unix socket is removed when the server is closed.", _flag),
    "max_threads": Option(
        1000,
        "threads",
        "Limit on connections at once, each with its thread; None for none. Other connections wait to be "
        "accepted.",
        check_count,
    ),
}
"""Options of streams. The defaults are documentation: an option that is not given is not passed on."""


# Names


def check_names(known: Iterable[str], given: Mapping[str, Any]) -> None:
    """Refuse keyword arguments that are not known.

    Args:
        known: the names of known arguments.
        given: the keyword arguments, by name.

    Raises:
        TypeError: an argument is not known.
    """
    names = list(known)
    for name in given:
        if name not in names:
            hint = "; leave it out: no event loop has to be given" if name == "loop" else ""
            raise TypeError(unknown_option(name, names) + hint)


# Contradictions


def check_alternatives(**ways: Any) -> None:
    """Refuse two options that both determine where a stream leads to.

    Args:
        ways: the options, by name; ``None`` and "" are not given.

    Raises:
        ValueError: two of them are given.
    """
    given = [name for name, value in ways.items() if value]
    if len(given) > 1:
        raise ValueError(
            f"{given[0]} and {given[1]} must not both be given: each says where a stream leads to"
        )


def _check_types(given: Mapping[str, Any]) -> None:
    for name, value in given.items():
        if name in STREAM_OPTIONS:
            STREAM_OPTIONS[name].check(name, value)


def _refuse(names: Iterable[str], given: Mapping[str, Any], reason: str) -> None:
    """Refuse options that have no effect together with others.

    Raises:
        ValueError: one of them is given.
    """
    for name in names:
        if given.get(name):
            raise ValueError(f"{name} must not be given {reason}")


def check_connect(uri: WebSocketURI, given: Mapping[str, Any]) -> str | None:
    """Check the options of a client's stream.

    Args:
        uri: the URI to connect to.
        given: all options, with ``path`` for a Unix socket; those of this library have been checked.

    Returns:
        The option that determines where the stream leads to, in the place of the URI; ``None`` without one.

    Raises:
        TypeError: an option has the wrong type.
        ValueError: an option's value is not allowed, or it contradicts another.
    """
    _check_types(given)
    fixed = _fixed(given)
    complete_tls(uri, dict(given))
    if not uri.secure:
        _refuse(_TLS, given, "for a ws:// URI: use wss://")
    if fixed in GIVEN_STREAMS:
        _refuse(TCP_CLIENT, given, f"together with {fixed}: it says how to connect by TCP")
        _refuse(_PROXY_TLS, given, f"together with {fixed}: there is no proxy then")
    proxy = given.get("proxy", OPTIONS["proxy"].default)
    if proxy is not True:
        proxy = parse_proxy(proxy) if isinstance(proxy, str) else proxy
        _check_proxy(proxy, given)
    return fixed


def _check_proxy(proxy: Proxy | None, given: Mapping[str, Any]) -> None:
    if proxy is None or proxy.scheme != "https":
        _refuse(_PROXY_TLS, given, f"without a proxy that is connected to by TLS: proxy is {proxy}")
    if proxy is not None and proxy.is_socks:
        _refuse(TCP_CLIENT, given, f"together with a SOCKS proxy: proxy is {proxy}")


def _fixed(given: Mapping[str, Any]) -> str | None:
    """Return the option that determines where the stream leads to, in the place of the URI.

    Raises:
        ValueError: there are two.
    """
    ways = {name: given.get(name) for name in GIVEN_STREAMS}
    target = {name: given.get(name) for name in ("host", "port")}
    check_alternatives(**ways, host=target["host"])
    check_alternatives(**ways, port=target["port"])
    return next((name for name, value in (ways | target).items() if value is not None), None)


def check_reconnect(given: Mapping[str, Any]) -> None:
    """Refuse options for a single connection, if a client reconnects.

    Raises:
        ValueError: there is such an option.
    """
    _refuse(("sock", "stream"), given, "for reconnecting: it can be used for one connection only")


def check_serve(host: Any, port: Any, path: Any, given: Mapping[str, Any]) -> str | None:
    """Check the addresses on which a server listens, and the options of its streams.

    Args:
        host: an address or name, several, or ``None`` for all interfaces.
        port: the TCP port.
        path: the path of a Unix socket; ``None`` for TCP, "" for a Unix socket in the option ``sock``.
        given: the options that are not this library's.

    Returns:
        The path, as a ``str`` if there is one.

    Raises:
        TypeError: an option has the wrong type.
        ValueError: an option's value is not allowed, or it contradicts another, or one is missing.
    """
    _check_types(given)
    hosts = [host] if host is None or isinstance(host, str) else host
    if not isinstance(hosts, Sequence) or not all(isinstance(each, str | None) for each in hosts):
        raise TypeError(f"host must be a str, several, or None, not {host!r}")
    if not hosts:
        raise ValueError(f"host must not be empty: None is for all interfaces; it is {host!r}")
    check_port("port", port, least=0)
    if path:
        path = check_path(path)
    context = given.get("ssl")
    if isinstance(context, bool):
        raise TypeError(
            f"ssl must be an ssl.SSLContext or None, not {context!r}: a server's context is made by "
            "ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), and has the server's certificate by "
            "load_cert_chain"
        )
    if context is not None:
        _context("ssl", context, "client")
    sock = given.get("sock")
    check_alternatives(host=host, path=path, sock=sock)
    check_alternatives(port=port, path=path, sock=sock)
    if context is None:
        _refuse(_TLS, given, "without ssl")
    if sock is not None:
        _refuse(TCP_SERVER, given, "together with sock: it says how to listen on another one")
    elif path is not None:
        if not path:
            raise ValueError("path must be given, or sock")
        _refuse(TCP_SERVER, given, "together with path: it says how to listen on TCP")
    elif port is None:
        raise ValueError("port must be given: 0 for any free one; or sock")
    return cast(str | None, path)


def check_tasks(name: str, tasks: object) -> None:
    """Refuse an object that is no nursery and no task group.

    Raises:
        TypeError: it has no ``start_soon``.
    """
    if tasks is not None and not hasattr(tasks, "start_soon"):
        raise TypeError(f"{name} must be one in which tasks can be started, or None, not {tasks!r}")


def complete_tls(uri: WebSocketURI, given: dict[str, Any]) -> dict[str, Any]:
    """Add the ``ssl`` and ``server_hostname`` of a client's URI to the options.

    Raises:
        TypeError: ``ssl`` is no context.
        ValueError: ``ssl`` and the URI contradict each other, or it is a context for servers.
    """
    context = given.get("ssl", True if uri.secure else None)
    _client_context("ssl", context)
    if uri.secure and not context:
        raise ValueError(f"ssl must not be {context} for a wss:// URI: leave it out for the default context")
    if not uri.secure and context:
        raise ValueError("ssl must not be given for a ws:// URI: use wss://")
    if not uri.secure:
        return given
    return {"ssl": True, **given, "server_hostname": given.get("server_hostname") or without_zone(uri.host)}
