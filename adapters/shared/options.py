"""The options of ``connect`` and ``serve`` that are no options of the protocol.

They are declared as the core's options are, see :mod:`wsproto_core.options`: in a ``TypedDict``, in the
table :data:`OPTIONS`, which has the core's as well, and in a class of settings. ``connect`` and ``serve``
make the settings of their keywords once, and hand them on to everything else.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias, TypeVar

from wsproto_core.checks import check_count, check_function, check_text
from wsproto_core.connect.proxy import Proxy, parse_proxy
from wsproto_core.connect.reconnect import Delays
from wsproto_core.connect.redirects import MAX_REDIRECTS
from wsproto_core.http import Headers, Response
from wsproto_core.http.headers import HeadersLike
from wsproto_core.options import OPTIONS as CORE_OPTIONS
from wsproto_core.options import (
    ClientOptions,
    ClientSettings,
    CommonSettings,
    Option,
    ServerOptions,
    ServerSettings,
    parsed_defaults,
    resolve,
)
from wsproto_core.types import BytesLike

__all__ = [
    "OPTIONS",
    "ConnectOptions",
    "ConnectSettings",
    "HTTPAnswer",
    "Logger",
    "ProcessRequest",
    "ServeOptions",
    "ServeSettings",
    "check_port",
    "connection_options",
    "make_connection",
    "split_options",
]

Logger: TypeAlias = "logging.Logger | logging.LoggerAdapter[Any]"
HTTPAnswer: TypeAlias = "Response | tuple[int, HeadersLike, BytesLike | str] | None"
"""The result of ``process_request``: a response, a tuple of status, headers and body, or ``None``."""

ProcessRequest: TypeAlias = "Callable[[str, Headers], HTTPAnswer | Awaitable[HTTPAnswer]]"


class ConnectOptions(ClientOptions, total=False):
    """Options of every adapter's ``connect``; :data:`OPTIONS` documents them."""

    logger: Logger | None
    create_protocol: Callable[..., Any] | None
    host: str | None
    port: int | None
    proxy: bool | str | Proxy | None
    max_redirects: int | None
    reconnect_delays: Delays | None
    reconnect_fatal: Callable[[BaseException], bool] | None


class ServeOptions(ServerOptions, total=False):
    """Options of every adapter's ``serve``; :data:`OPTIONS` documents them."""

    logger: Logger | None
    create_protocol: Callable[..., Any] | None
    process_request: ProcessRequest | None
    max_connections: int | None


def check_port(name: str, value: Any, least: int = 1) -> None:
    """Check a TCP port, or ``None``."""
    if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
        raise TypeError(f"{name} must be an int or None, not {value!r}")
    if value is not None and not least <= value <= 65535:
        raise ValueError(f"{name} must be from {least} to 65535, not {value!r}")


def _delay(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must hold numbers of seconds, not {value!r}")
    if not 0 <= value < math.inf:
        raise ValueError(f"{name} must hold numbers of seconds from 0 on, not {value!r}")


def _proxy(name: str, value: Any) -> None:
    if value is not None and value is not True and not isinstance(value, str | Proxy):
        raise TypeError(f"{name} must be True, a URL or None, not {value!r}")
    _parse_proxy(value)


def _parse_proxy(value: bool | str | Proxy | None) -> bool | Proxy | None:
    return parse_proxy(value) if isinstance(value, str) else value


def _delays(name: str, value: Any) -> None:
    if value is None or callable(value):
        return
    if isinstance(value, str | bytes | Iterator) or not isinstance(value, Iterable):
        raise TypeError(f"{name} must be an iterable of seconds, a function or None, not {value!r}")
    for delay in value if isinstance(value, Sequence) else ():
        _delay(name, delay)


def _logger(name: str, value: Any) -> None:
    if value is not None and not isinstance(value, logging.Logger | logging.LoggerAdapter):
        raise TypeError(f"{name} must be a logging.Logger, a LoggerAdapter or None, not {value!r}")


OPTIONS: dict[str, Option] = {
    **CORE_OPTIONS,
    "logger": Option(
        None,
        "",
        "Logger of openings, closings and errors; None for wsproto_core.client or wsproto_core.server.",
        _logger,
    ),
    "create_protocol": Option(
        None,
        "",
        "A class or function that makes the connection object; None for the adapter's class. It is called "
        "with the URI on a client, with the handler and the server on a server, and with the options that "
        "were given as keywords.",
        check_function,
    ),
    "host": Option(None, "", "The host to connect to by TCP; None for the URI's.", check_text),
    "port": Option(None, "", "The TCP port to connect to; None for the URI's.", check_port),
    "proxy": Option(
        True,
        "",
        "The proxy to connect through: its URL, True for that of the environment, None for none. The URL has "
        "the scheme http, https (TLS to the proxy), socks4, socks4a, socks5 or socks5h; SOCKS needs the "
        "extra named proxy. The environment's variables are wss_proxy, https_proxy, ..., no_proxy.",
        _proxy,
        _parse_proxy,
    ),
    "max_redirects": Option(
        MAX_REDIRECTS,
        "redirects",
        "Limit on the redirects that a client follows; 0 for none, None for any number. Credentials and the "
        "TLS client certificate do not go to another origin, Origin and other extra_headers do. A redirect "
        "from wss: to ws: is refused.",
        lambda name, value: check_count(name, value, least=0),
    ),
    "reconnect_delays": Option(
        None,
        "seconds",
        "Delays between attempts to reconnect: an iterable, or a function that returns one. The delays begin "
        "anew after each success. None for random delays that grow to a minute.",
        _delays,
    ),
    "reconnect_fatal": Option(
        None,
        "",
        "A function of an error that returns whether reconnecting ends with it; None for is_fatal. For that, "
        "errors of the network, deadlines and the statuses 408, 425, 429 and 5xx will pass, and all others "
        "will not.",
        check_function,
    ),
    "max_connections": Option(
        None,
        "connections",
        "Limit on the connections of a server, those in the opening handshake included. A request beyond is "
        "answered with HTTP status 503 and Retry-After, while the server goes on accepting.",
        check_count,
    ),
    "process_request": Option(
        None,
        "",
        "A function or coroutine function that may answer the HTTP request. It is called with the request's "
        "path and headers. It returns None to go on with the opening handshake, or the response: a Response "
        "or a triple of status, headers and body. It is cancelled (on threads: left to itself) when "
        "open_timeout is over or the client has left.",
        check_function,
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectSettings(ClientSettings):
    """Parsed options of ``connect``, and of a client's connection; see :class:`.CommonSettings`."""

    table: ClassVar[Mapping[str, Option]] = OPTIONS

    logger: Logger | None
    create_protocol: Callable[..., Any] | None
    host: str | None
    port: int | None
    proxy: bool | Proxy | None
    max_redirects: int | None
    reconnect_delays: Delays | None
    reconnect_fatal: Callable[[BaseException], bool] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeSettings(ServerSettings):
    """Parsed options of ``serve``, and of a server's connection; see :class:`.CommonSettings`."""

    table: ClassVar[Mapping[str, Option]] = OPTIONS

    logger: Logger | None
    create_protocol: Callable[..., Any] | None
    process_request: ProcessRequest | None
    max_connections: int | None


_OF_CONNECT = frozenset(
    ("create_protocol", "host", "port", "proxy", "max_redirects", "reconnect_delays", "reconnect_fatal")
)
"""Options of ``connect`` that are none of the connection."""


def make_connection(
    settings: ConnectSettings | ServeSettings, connection_class: Callable[..., Any], *arguments: Any
) -> Any:
    """Make a connection object by the adapter's class, or by ``create_protocol``.

    A function, and a class with an ``__init__`` of its own, are given the options as keywords, as
    documented; these are parsed once more then. Other classes are given the settings.

    Args:
        settings: the options.
        connection_class: the adapter's class.
        arguments: the URI; or the handler and the server.
    """
    create = settings.create_protocol or connection_class
    if isinstance(create, type) and create.__init__ is connection_class.__init__:  # type: ignore[misc]
        return create(*arguments, settings=settings)
    return create(*arguments, **connection_options(settings))


def connection_options(settings: ConnectSettings | ServeSettings) -> dict[str, Any]:
    """Return the options that a function given as ``create_protocol`` is called with: those given."""
    names = _OF_CONNECT if isinstance(settings, ConnectSettings) else {"create_protocol"}
    return {name: value for name, value in settings.given.items() if name not in names}


SettingsT = TypeVar("SettingsT", bound=CommonSettings)


def split_options(kind: type[SettingsT], given: Mapping[str, Any]) -> tuple[SettingsT, dict[str, Any]]:
    """Parse the options that a class of settings has, and leave the others, which a stream may have.

    Args:
        kind: the class of the settings.
        given: options by name.

    Returns:
        The settings, and the other options.

    Raises:
        TypeError, ValueError: see :func:`wsproto_core.options.resolve`.
    """
    names = parsed_defaults(kind)
    ours = {name: value for name, value in given.items() if name in names}
    theirs = {name: value for name, value in given.items() if name not in names}
    return resolve(kind, ours), theirs
