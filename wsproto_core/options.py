"""Every option, declared once.

The ``TypedDict`` classes are for type checkers (``**options: Unpack[...]``), the table
:data:`OPTIONS` is for everything else: default, unit, documentation, validation. A test holds
the two to the same names. Options are validated when they are given, by :func:`resolve`, before any
connection is made.
"""

from __future__ import annotations

import difflib
import inspect
import logging
import math
import platform
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias, TypedDict, TypeVar, cast

from .checks import check_count, check_function, check_port, check_seconds, check_text
from .connect.proxy import Proxy, parse_proxy
from .connect.reconnect import Delays
from .connect.redirects import MAX_REDIRECTS
from .extensions.base import ClientExtensionFactory, ServerExtensionFactory
from .http import Headers, Response
from .http.grammar import build_subprotocol
from .http.headers import HeadersLike
from .limits import HeadLimits, Pair
from .types import Origin, Subprotocol
from .version import VERSION

__all__ = [
    "OPTIONS",
    "USER_AGENT",
    "ClientOptions",
    "CommonOptions",
    "ConnectOptions",
    "NegotiationOptions",
    "Option",
    "ServeOptions",
    "ServerOptions",
    "head_limits",
    "resolve",
    "split_options",
    "unknown_option",
]

USER_AGENT = f"wsproto-core/{VERSION} Python/{platform.python_version()}"
"""Default of ``user_agent_header`` and ``server_header``."""

Logger: TypeAlias = "logging.Logger | logging.LoggerAdapter[Any]"
ExtraResponseHeaders: TypeAlias = "HeadersLike | Callable[[str, Headers], HeadersLike | None]"
SelectSubprotocol: TypeAlias = Callable[[Sequence[Subprotocol], Sequence[Subprotocol]], Subprotocol | None]
ProcessRequest: TypeAlias = Callable[[str, Headers], Any]
ProcessResponse: TypeAlias = Callable[[str, Headers, Response], Response | None]
OriginLike: TypeAlias = "Origin | str | re.Pattern[str] | None"


class CommonOptions(TypedDict, total=False):
    """Options of both sides; :data:`OPTIONS` documents them."""

    open_timeout: float | None
    close_timeout: float | None
    ping_interval: float | None
    ping_timeout: float | None
    max_size: int | Pair | None
    max_queue: int | Pair | None
    read_limit: int | Pair | None
    write_limit: int | Pair | None
    max_fragments: int | None
    max_pings: int | None
    max_headers: int | None
    max_header_line: int | None
    max_header_bytes: int | None
    compression: Literal["deflate"] | None
    subprotocols: Sequence[Subprotocol] | Sequence[str] | None
    logger: Logger | None


class ClientOptions(CommonOptions, total=False):
    """Options of a client; :data:`OPTIONS` documents them."""

    origin: Origin | str | None
    extensions: Sequence[ClientExtensionFactory] | None
    extra_headers: HeadersLike | None
    user_agent_header: str | None


class NegotiationOptions(TypedDict, total=False):
    """Options of a server that may depend on the request; :data:`OPTIONS` documents them."""

    origins: Sequence[OriginLike] | None
    extensions: Sequence[ServerExtensionFactory] | None
    extra_headers: ExtraResponseHeaders | None
    subprotocols: Sequence[Subprotocol] | Sequence[str] | None


class ServerOptions(CommonOptions, total=False):
    """Options of a server; :data:`OPTIONS` documents them."""

    origins: Sequence[OriginLike] | None
    extensions: Sequence[ServerExtensionFactory] | None
    extra_headers: ExtraResponseHeaders | None
    process_response: ProcessResponse | None
    select_subprotocol: SelectSubprotocol | None
    server_header: str | None


class ConnectOptions(ClientOptions, total=False):
    """Options of every adapter's ``connect``; :data:`OPTIONS` documents them."""

    create_protocol: Callable[..., Any] | None
    host: str | None
    port: int | None
    proxy: bool | str | Proxy | None
    max_redirects: int | None
    reconnect_delays: Delays | None
    reconnect_fatal: Callable[[BaseException], bool] | None


class ServeOptions(ServerOptions, total=False):
    """Options of every adapter's ``serve``; :data:`OPTIONS` documents them."""

    create_protocol: Callable[..., Any] | None
    process_request: ProcessRequest | None
    max_connections: int | None


class Option(NamedTuple):
    """What there is to know of an option."""

    default: Any
    unit: str
    documentation: str
    check: Callable[[str, Any], None]


# Validation: each raises TypeError for the wrong type and ValueError for the wrong value.


def _delay(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must hold numbers of seconds, not {value!r}")
    if not 0 <= value < math.inf:
        raise ValueError(f"{name} must hold numbers of seconds from 0 on, not {value!r}")


def _count_or_pair(name: str, value: Any) -> None:
    if not isinstance(value, tuple):
        check_count(name, value)
        return
    if len(value) != 2:
        raise ValueError(f"{name} must be an int or a pair, not {len(value)} values")
    for part in value:
        check_count(name, part, least=0)


def _marks(name: str, value: Any) -> None:
    _count_or_pair(name, value)
    if isinstance(value, tuple):
        high, low = value
        check_count(name, high)
        if high is not None and low is not None and low >= high:
            raise ValueError(f"{name}: the low mark must be below the high one, not {value!r}")


def _plain_function(name: str, value: Any) -> None:
    check_function(name, value)
    if inspect.iscoroutinefunction(value):
        raise TypeError(f"{name} must be a plain function, not a coroutine function: {value!r}")


def _sequence(name: str, value: Any) -> None:
    if value is not None and (isinstance(value, str | bytes) or not isinstance(value, Sequence)):
        raise TypeError(f"{name} must be a sequence or None, not {value!r}")


def _subprotocols(name: str, value: Any) -> None:
    _sequence(name, value)
    if value:
        try:
            build_subprotocol(value)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error


def _factories(name: str, value: Any) -> None:
    _sequence(name, value)
    for factory in value or ():
        if not isinstance(factory, ClientExtensionFactory | ServerExtensionFactory):
            raise TypeError(f"{name} must hold extension factories, not {factory!r}")


def _origins(name: str, value: Any) -> None:
    _sequence(name, value)
    for origin in value or ():
        if not isinstance(origin, str | re.Pattern | None):
            raise TypeError(f"{name} must hold str, compiled patterns or None, not {origin!r}")
        if isinstance(origin, re.Pattern) and not isinstance(origin.pattern, str):
            raise TypeError(f"{name} must hold patterns of str, not of bytes: {origin!r}")


def _sendable(name: str, headers: HeadersLike) -> None:
    try:
        Response(101, Headers(headers)).serialize()
    except ValueError as error:
        raise ValueError(f"{name} cannot be sent: {error}") from error
    except (AttributeError, TypeError) as error:
        raise TypeError(f"{name} must be a mapping, pairs or Headers, not {headers!r}") from error


def _header_value(name: str, value: Any) -> None:
    check_text(name, value)
    if value is not None:
        _sendable(name, {"Name": value})


def _headers(name: str, value: Any) -> None:
    if isinstance(value, Iterator):
        # It would be empty when it is needed.
        raise TypeError(f"{name} must be a mapping, pairs or Headers, not an iterator: {value!r}")
    if value is not None and not callable(value):
        _sendable(name, value)


def _compression(name: str, value: Any) -> None:
    if value not in ("deflate", None):
        raise ValueError(f"{name} must be 'deflate' or None, not {value!r}")


def _proxy(name: str, value: Any) -> None:
    if value is not None and value is not True and not isinstance(value, str | Proxy):
        raise TypeError(f"{name} must be True, a URL or None, not {value!r}")
    if isinstance(value, str):
        parse_proxy(value)


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
    "open_timeout": Option(
        10,
        "seconds",
        "How long opening the connection may take in all: on a client from the name lookup to the end of "
        "the opening handshake, on a server from the accepted TCP connection on, TLS's handshake and "
        "process_request included.",
        check_seconds,
    ),
    "close_timeout": Option(
        10,
        "seconds",
        "How long to wait for the peer's close frame, and again for the end of the TCP connection, so that "
        "closing takes at most twice as long. 0 does not wait. A close frame behind messages that the "
        "application does not receive takes effect after half of it.",
        lambda name, value: check_seconds(name, value, zero=True),
    ),
    "ping_interval": Option(
        20,
        "seconds",
        "A ping is sent this often. It keeps intermediaries from dropping an idle connection and measures "
        "the latency. Costs one small frame each way.",
        check_seconds,
    ),
    "ping_timeout": Option(
        20,
        "seconds",
        "If nothing at all is received for this long after a ping was written, the connection fails with "
        "code 1011. "
        "Also how long writing may make no progress, whatever is received meanwhile.",
        check_seconds,
    ),
    "max_size": Option(
        2**20,
        "bytes",
        "Limit on a received message; a pair also limits a single fragment. A larger one fails the "
        "connection with code 1009, before it is stored. Memory for up to this much is taken as it arrives, "
        "four times as much at worst for text. With None, a message under construction is subject to "
        "read_limit until somebody asks for it.",
        _count_or_pair,
    ),
    "max_queue": Option(
        32,
        "messages",
        "Received messages that nobody has asked for yet, at which reading stops; it resumes at half of "
        "that, or at the second of a pair.",
        _marks,
    ),
    "read_limit": Option(
        2**16,
        "bytes",
        "Like max_queue, but by size: the bytes of the messages, and 64 more for each.",
        _marks,
    ),
    "write_limit": Option(
        2**16,
        "bytes",
        "Bytes accepted for sending and not yet written, above which send waits until they are down to a "
        "quarter, or to the second of a pair.",
        _marks,
    ),
    "max_fragments": Option(
        16384,
        "fragments",
        "Limit on the fragments of one received message, beside one more for each 64 bytes of its payload; "
        "more fail the connection with code 1009.",
        check_count,
    ),
    "max_pings": Option(
        1024,
        "pings",
        "Limit on pings sent that wait for their pong; one more is a RuntimeError.",
        check_count,
    ),
    "max_headers": Option(
        128, "headers", "Limit on the headers of the handshake's request or response.", check_count
    ),
    "max_header_line": Option(
        8192, "bytes", "Limit on a line of the handshake's request or response.", check_count
    ),
    "max_header_bytes": Option(
        32768, "bytes", "Limit on the whole head of the handshake's request or response.", check_count
    ),
    "compression": Option(
        "deflate",
        "",
        "Shortcut for the permessage-deflate extension (RFC 7692) with settings that save memory; None "
        "turns it off. It is not added if extensions has it already.",
        _compression,
    ),
    "subprotocols": Option(
        None,
        "",
        "Subprotocols in order of preference: a client offers them, a server chooses among them.",
        _subprotocols,
    ),
    "logger": Option(
        None,
        "",
        "Where openings, closings and errors are logged; None for the logger named wsproto_core.client or "
        "wsproto_core.server.",
        _logger,
    ),
    "origin": Option(None, "", "The Origin header that a client sends.", _header_value),
    "origins": Option(
        None,
        "",
        "The values of the Origin header that a server accepts: str, compiled patterns that match all of it, "
        "and None for a request without one. A server that browsers can reach should set it. Refusal is "
        "HTTP status 403.",
        _origins,
    ),
    "extensions": Option(None, "", "Extension factories in order of preference.", _factories),
    "extra_headers": Option(
        None,
        "",
        "HTTP headers that are added to the handshake: a mapping, pairs or Headers; on a server also a "
        "function of the request's path and headers that returns them.",
        _headers,
    ),
    "process_response": Option(
        None,
        "",
        "A plain function of the request's path and headers and of the response that is about to be sent, "
        "whatever its status. It may alter the response's headers, or return another Response of the same "
        "kind: the status 101 and the opening handshake's own headers stay. It is not called for what is "
        "no HTTP request. If it fails, the response has the status 500.",
        _plain_function,
    ),
    "select_subprotocol": Option(
        None,
        "",
        "A function of the client's and the server's subprotocols, either of which may be none, that "
        "returns one of the client's, or None. It may raise NegotiationError (HTTP status 400) or "
        "AbortHandshake to refuse. By default the preferences of both have the same weight.",
        check_function,
    ),
    "user_agent_header": Option(
        USER_AGENT, "", "The User-Agent header that a client sends; None for none.", _header_value
    ),
    "server_header": Option(
        USER_AGENT, "", "The Server header that a server sends; None for none.", _header_value
    ),
    "create_protocol": Option(
        None,
        "",
        "A class or function that makes the connection object: on a client it is called with the URI, on a "
        "server with the handler and the server, and with the options as keywords. None for the adapter's "
        "own.",
        check_function,
    ),
    "host": Option(None, "", "Where a client connects to by TCP; None for the URI's host.", check_text),
    "port": Option(None, "", "The TCP port that a client connects to; None for the URI's port.", check_port),
    "proxy": Option(
        True,
        "",
        "The proxy to connect through: a URL with the scheme http, https (TLS to the proxy), socks4, "
        "socks4a, socks5 or socks5h; True for what the environment says (wss_proxy, https_proxy, ..., "
        "no_proxy); None for none. SOCKS needs the extra named proxy.",
        _proxy,
    ),
    "max_redirects": Option(
        MAX_REDIRECTS,
        "redirects",
        "How many redirects a client follows; 0 for none, None for any number. Credentials and the "
        "TLS client certificate do not go to another origin, Origin and other extra_headers do; and none "
        "leads from wss: to ws:.",
        lambda name, value: check_count(name, value, least=0),
    ),
    "reconnect_delays": Option(
        None,
        "seconds",
        "The delays between attempts, when connections are iterated over: an iterable, or a function that "
        "returns one, begun anew after each success. None for random ones that grow to a minute.",
        _delays,
    ),
    "reconnect_fatal": Option(
        None,
        "",
        "A function that tells whether it is no use to try again after an error, when connections are "
        "iterated over. None for is_fatal, for which errors of the network, deadlines and the statuses 408, "
        "425, 429 and 5xx will pass, and all others will not.",
        check_function,
    ),
    "max_connections": Option(
        None,
        "connections",
        "How many connections a server has at most, those in the opening handshake included; a request "
        "beyond is answered with HTTP status 503 and Retry-After, while the server goes on accepting.",
        check_count,
    ),
    "process_request": Option(
        None,
        "",
        "A function or coroutine function of the request's path and headers that returns None to go on with "
        "the opening handshake, or the HTTP response to give instead: a Response or a triple of status, "
        "headers and body. It is cancelled (on threads: left to itself) when open_timeout is over or the "
        "client has left.",
        check_function,
    ),
}

T = TypeVar("T", bound=CommonOptions | NegotiationOptions)


def resolve(declared: type[T], given: Mapping[str, Any]) -> T:
    """Check options and add the defaults of those that are not given.

    Args:
        declared: the ``TypedDict`` whose options are known.
        given: options by name.

    Raises:
        TypeError: an option is not known, or its value has the wrong type; the message names it.
        ValueError: a value is not allowed; the message names the option.
    """
    names = declared.__annotations__
    for name, value in given.items():
        if name not in names:
            raise TypeError(unknown_option(name, names))
        OPTIONS[name].check(name, value)
    _check_side(names, given.get("extensions"))
    return cast(T, {name: given[name] if name in given else OPTIONS[name].default for name in names})


def _check_side(names: Mapping[str, Any], factories: Sequence[object] | None) -> None:
    """Refuse the factories of the other side. One class may be for both."""
    client = "origin" in names
    side, wanted = ("client", ClientExtensionFactory) if client else ("server", ServerExtensionFactory)
    for factory in factories or ():
        if not isinstance(factory, wanted):
            raise TypeError(f"extensions of a {side} must be {wanted.__name__} objects, not {factory!r}")


def split_options(
    declared: type[CommonOptions], given: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Tell our options, which are checked, from the others, which may be those of a runtime's call.

    Raises:
        TypeError, ValueError: see :func:`resolve`.
    """
    names = declared.__annotations__
    ours = {name: value for name, value in given.items() if name in names}
    theirs = {name: value for name, value in given.items() if name not in names}
    resolve(declared, ours)
    return ours, theirs


_ELSEWHERE = {
    "additional_headers": "extra_headers",
    "create_connection": "create_protocol",
    "header": "extra_headers",
    "heartbeat": "ping_interval",
    "klass": "create_protocol",
    "max_message_size": "max_size",
    "process_exception": "reconnect_fatal",
    "protocols": "subprotocols",
    "ssl_context": "ssl",
    "timeout": "open_timeout",
}
"""Names that options have in other libraries, which spelling does not tell."""


def unknown_option(name: str, known: Mapping[str, Any] | Sequence[str]) -> str:
    """Return an error message for a keyword argument that nobody knows."""
    here = _ELSEWHERE.get(name)
    similar = [here] if here in known else difflib.get_close_matches(name, known, n=1)
    return f"unexpected keyword argument {name!r}" + (f"; did you mean {similar[0]!r}?" if similar else "")


def head_limits(options: CommonOptions) -> HeadLimits:
    """Return the limits on the opening handshake's request or response."""
    return HeadLimits(options["max_headers"], options["max_header_line"], options["max_header_bytes"])
