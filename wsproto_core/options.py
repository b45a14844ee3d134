"""The options of a connection: declaration, default, unit, documentation, validation, parsing.

An option stands in three places, which a test holds to the same names: in a ``TypedDict``, by which
type checkers know the keyword (``**options: Unpack[ClientOptions]``); in the table :data:`OPTIONS`, by
which it is checked, parsed and documented; and in a class of settings, whose attribute is the parsed
value. :func:`resolve` makes the settings of the keywords, once, before any connection is made. All other
code reads settings, and checks nothing again.

The options of ``connect`` and ``serve`` are declared in :mod:`adapters.shared.options`.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from types import MappingProxyType
from typing import Any, ClassVar, Literal, NamedTuple, TypeAlias, TypedDict, TypeVar

from .checks import check_count, check_extra_headers, check_function, check_seconds, check_text
from .extensions.base import ClientExtensionFactory, ServerExtensionFactory
from .http import Headers, Response
from .http.grammar import build_subprotocol
from .http.headers import HeadersLike
from .limits import HeadLimits, MessageLimits, Pair, Watermarks, message_limits, watermarks
from .types import Origin, Subprotocol
from .version import VERSION

__all__ = [
    "OPTIONS",
    "USER_AGENT",
    "ClientOptions",
    "ClientSettings",
    "CommonOptions",
    "CommonSettings",
    "LimitOptions",
    "NegotiationOptions",
    "Option",
    "ServerOptions",
    "ServerSettings",
    "parsed_defaults",
    "resolve",
    "unknown_option",
]

USER_AGENT = f"wsproto-core/{VERSION} Python/{sys.version.split()[0]}"
"""Default of ``user_agent_header`` and ``server_header``."""

ExtraResponseHeaders: TypeAlias = "HeadersLike | Callable[[str, Headers], HeadersLike | None]"
SelectSubprotocol: TypeAlias = Callable[[Sequence[Subprotocol], Sequence[Subprotocol]], Subprotocol | None]
ProcessResponse: TypeAlias = Callable[[str, Headers, Response], Response | None]
OriginLike: TypeAlias = "Origin | str | re.Pattern[str] | None"


class LimitOptions(TypedDict, total=False):
    """Deadlines and limits of both sides; :data:`OPTIONS` documents them."""

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


class CommonOptions(LimitOptions, total=False):
    """Options of both sides; :data:`OPTIONS` documents them."""

    max_headers: int | None
    max_header_line: int | None
    max_header_bytes: int | None
    compression: Literal["deflate"] | None
    subprotocols: Sequence[Subprotocol] | Sequence[str] | None


class ClientOptions(CommonOptions, total=False):
    """Options of a client; :data:`OPTIONS` documents them."""

    origin: Origin | str | None
    extensions: Sequence[ClientExtensionFactory] | None
    extra_headers: HeadersLike | None
    user_agent_header: str | None


class AnswerOptions(TypedDict, total=False):
    """Options of a server's answer to a request; :data:`OPTIONS` documents them."""

    origins: Sequence[OriginLike] | None
    extensions: Sequence[ServerExtensionFactory] | None
    extra_headers: ExtraResponseHeaders | None


class NegotiationOptions(AnswerOptions, total=False):
    """Options of a server that may depend on the request; :data:`OPTIONS` documents them."""

    subprotocols: Sequence[Subprotocol] | Sequence[str] | None


class ServerOptions(CommonOptions, AnswerOptions, total=False):
    """Options of a server; :data:`OPTIONS` documents them."""

    process_response: ProcessResponse | None
    select_subprotocol: SelectSubprotocol | None
    server_header: str | None


def _unchanged(value: Any) -> Any:
    return value


class Option(NamedTuple):
    """The declaration of an option.

    Attributes:
        default: the value of an option that is not given.
        unit: the unit of a number; "" if there is none.
        documentation: sentences for users; the first stands in docstrings.
        check: raises ``TypeError`` or ``ValueError`` for a value that is not allowed, given the option's
            name and the value.
        parse: returns the attribute of the settings for a value that is allowed.
    """

    default: Any
    unit: str
    documentation: str
    check: Callable[[str, Any], None]
    parse: Callable[[Any], Any] = _unchanged


# Validation: each raises TypeError for the wrong type and ValueError for the wrong value.


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
            raise ValueError(f"{name}: the low watermark must be below the high one, not {value!r}")


def _plain_function(name: str, value: Any) -> None:
    check_function(name, value)
    if inspect.iscoroutinefunction(value):
        raise TypeError(f"{name} must be a plain function, not a coroutine function: {value!r}")


def _sequence(name: str, value: Any) -> None:
    if value is not None and (isinstance(value, str | bytes) or not isinstance(value, Sequence)):
        hint = f": write [{value!r}]" if isinstance(value, str) else ""
        raise TypeError(f"{name} must be a sequence or None, not {value!r}{hint}")


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


def _sendable(name: str, headers: Any) -> None:
    wrong_type = f"{name} must be a mapping, pairs or Headers, not {headers!r}"
    if isinstance(headers, str):
        header, _, text = headers.partition(":")
        raise TypeError(f"{wrong_type}: write {{{header.strip()!r}: {text.strip()!r}}}")
    try:
        fields: Any = Headers(headers)
        wrong = [pair for pair in fields.raw_items() if not isinstance(pair[1], str)]
        if not wrong:
            Response(101, fields).serialize()
    except ValueError as error:
        raise ValueError(f"{name} cannot be sent: {error}") from error
    except (AttributeError, TypeError) as error:
        raise TypeError(wrong_type) from error
    for header, value in wrong:
        hint = "; leave the header out" if value is None else ""
        raise TypeError(f"{name}: the value of {header!r} must be a str, not {value!r}{hint}")


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
        check_extra_headers(Headers(value))


def _compression(name: str, value: Any) -> None:
    if value not in ("deflate", None):
        raise ValueError(f"{name} must be 'deflate' or None, not {value!r}")


OPTIONS: dict[str, Option] = {
    "open_timeout": Option(
        10,
        "seconds",
        "Deadline for opening the connection. On a client it runs from the name lookup to the end of the "
        "opening handshake, on a server from the accepted TCP connection on; TLS's handshake and "
        "process_request are included.",
        check_seconds,
    ),
    "close_timeout": Option(
        10,
        "seconds",
        "Deadline for the peer's close frame, and again for the end of the TCP connection. Closing takes at "
        "most twice as long; 0 does not wait. A close frame behind messages that the application does not "
        "receive takes effect after half of it.",
        lambda name, value: check_seconds(name, value, zero=True),
    ),
    "ping_interval": Option(
        20,
        "seconds",
        "Interval between pings (keepalive). They keep intermediaries from dropping an idle connection and "
        "measure the latency. A ping costs one small frame each way.",
        check_seconds,
    ),
    "ping_timeout": Option(
        20,
        "seconds",
        "Deadline for input after a ping, and for progress in writing. If nothing at all is received for "
        "this long after a ping was written, or no byte is written for this long, the connection fails with "
        "code 1011.",
        check_seconds,
    ),
    "max_size": Option(
        2**20,
        "bytes",
        "Limit on a received message; a pair also limits a single fragment. A larger one fails the "
        "connection with code 1009, before it is stored. Memory for a message is taken as it arrives, for "
        "text at worst four times its size. With None, a message under construction is subject to "
        "read_limit until the application asks for it.",
        _count_or_pair,
        message_limits,
    ),
    "max_queue": Option(
        32,
        "messages",
        "High watermark of the receive queue in messages, at which reading stops (backpressure). Reading "
        "resumes at half of it, or at the second number of a pair, the low watermark.",
        _marks,
        partial(watermarks, divisor=2),
    ),
    "read_limit": Option(
        2**16,
        "bytes",
        "High watermark of the receive queue in bytes, at which reading stops (backpressure). Each message "
        "counts 64 bytes more than its size. Reading resumes at half of it, or at the second number of a "
        "pair, the low watermark.",
        _marks,
        partial(watermarks, divisor=2),
    ),
    "write_limit": Option(
        2**16,
        "bytes",
        "High watermark of the send queue in bytes, above which send waits (backpressure). It goes on at a "
        "quarter of it, or at the second number of a pair, the low watermark.",
        _marks,
        partial(watermarks, divisor=4),
    ),
    "max_fragments": Option(
        16384,
        "fragments",
        "Limit on the fragments of a received message, with one more for each 64 bytes of its payload. More "
        "of them fail the connection with code 1009.",
        check_count,
    ),
    "max_pings": Option(
        1024, "pings", "Limit on pings without an answer. One more is a RuntimeError.", check_count
    ),
    "max_headers": Option(128, "headers", "Limit on the headers of the request or response.", check_count),
    "max_header_line": Option(8192, "bytes", "Limit on a line of the request or response.", check_count),
    "max_header_bytes": Option(
        32768, "bytes", "Limit on the whole head of the request or response.", check_count
    ),
    "compression": Option(
        "deflate",
        "",
        "Shortcut for the extension permessage-deflate (RFC 7692) with settings that save memory, or None. "
        "It is not added if extensions has it already.",
        _compression,
    ),
    "subprotocols": Option(
        None,
        "",
        "Subprotocols in order of preference: a client offers them, a server chooses among them.",
        _subprotocols,
    ),
    "origin": Option(None, "", "The Origin header that a client sends; None for none.", _header_value),
    "origins": Option(
        None,
        "",
        "The Origin headers that a server accepts: str, compiled patterns and None; None alone for all. "
        "Patterns match all of a header; None is for a request without one. A server that browsers can "
        "reach should set it. Refusal is HTTP status 403.",
        _origins,
    ),
    "extensions": Option(None, "", "Extension factories in order of preference.", _factories),
    "extra_headers": Option(
        None,
        "",
        "HTTP headers to add to the handshake: a mapping, pairs or Headers. On a server also a function of "
        "the request's path and headers that returns them.",
        _headers,
    ),
    "process_response": Option(
        None,
        "",
        "A plain function that may change the response before it is sent, whatever its status. It is called "
        "with the request's path and headers and the response. It may alter the response's headers, or "
        "return another Response of the same kind: the status 101 and the opening handshake's own headers "
        "stay. It is not called for what is no HTTP request. If it fails, the response has the status 500.",
        _plain_function,
    ),
    "select_subprotocol": Option(
        None,
        "",
        "A function that chooses the subprotocol, given those of the client and of the server. Either may be "
        "empty. It returns one of the client's, or None; it may raise NegotiationError (HTTP status 400) or "
        "AbortHandshake to refuse. By default the preferences of both have the same weight.",
        check_function,
    ),
    "user_agent_header": Option(
        USER_AGENT, "", "The User-Agent header that a client sends; None for none.", _header_value
    ),
    "server_header": Option(
        USER_AGENT, "", "The Server header that a server sends; None for none.", _header_value
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CommonSettings(HeadLimits):
    """Parsed options of both sides: all checked, those that were not given at their defaults.

    The attributes are the options of :data:`OPTIONS`; of limits, the parsed form.

    Attributes:
        given: the options as they were given, by name.
    """

    table: ClassVar[Mapping[str, Option]] = OPTIONS
    factory: ClassVar[type | None] = None

    given: Mapping[str, Any]
    open_timeout: float | None
    close_timeout: float | None
    ping_interval: float | None
    ping_timeout: float | None
    max_size: MessageLimits
    max_queue: Watermarks
    read_limit: Watermarks
    write_limit: Watermarks
    max_fragments: int | None
    max_pings: int | None
    compression: Literal["deflate"] | None
    subprotocols: Sequence[Subprotocol] | Sequence[str] | None

    @property
    def head_limits(self) -> HeadLimits:
        """The limits of the opening handshake's request or response."""
        return HeadLimits(self.max_headers, self.max_header_line, self.max_header_bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSettings(CommonSettings):
    """Parsed options of a client; see :class:`CommonSettings`."""

    factory: ClassVar[type | None] = ClientExtensionFactory

    origin: Origin | str | None
    extensions: Sequence[ClientExtensionFactory] | None
    extra_headers: HeadersLike | None
    user_agent_header: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings(CommonSettings):
    """Parsed options of a server; see :class:`CommonSettings`."""

    factory: ClassVar[type | None] = ServerExtensionFactory

    origins: Sequence[OriginLike] | None
    extensions: Sequence[ServerExtensionFactory] | None
    extra_headers: ExtraResponseHeaders | None
    process_response: ProcessResponse | None
    select_subprotocol: SelectSubprotocol | None
    server_header: str | None


SettingsT = TypeVar("SettingsT", bound=CommonSettings)


_DEFAULTS: dict[type[CommonSettings], Mapping[str, Any]] = {}


def parsed_defaults(kind: type[CommonSettings]) -> Mapping[str, Any]:
    """Return the options that a class of settings has, by name, with their parsed defaults."""
    if kind not in _DEFAULTS:
        options = {field.name: kind.table[field.name] for field in fields(kind) if field.name != "given"}
        _DEFAULTS[kind] = {name: option.parse(option.default) for name, option in options.items()}
    return _DEFAULTS[kind]


def resolve(
    kind: type[SettingsT],
    given: Mapping[str, Any],
    settings: SettingsT | None = None,
    names: Collection[str] | None = None,
) -> SettingsT:
    """Check and parse options.

    Args:
        kind: the class of the settings.
        given: options by name.
        settings: options that were parsed before: those that are not given stay as they are there.
            ``None`` for the defaults.
        names: the options that may be given; ``None`` for all options of ``kind``.

    Returns:
        The settings.

    Raises:
        TypeError: an option is not known, or its value has the wrong type; the message names it.
        ValueError: a value is not allowed; the message names the option.
    """
    if settings is not None and not given:
        return settings
    defaults = parsed_defaults(kind)
    known = defaults if names is None else names
    parsed: dict[str, Any] = {}
    for name, value in given.items():
        if name not in known:
            raise TypeError(unknown_option(name, known))
        option = kind.table[name]
        option.check(name, value)
        parsed[name] = option.parse(value)
    _check_side(kind.factory, given.get("extensions"))
    if settings is None:
        return kind(given=MappingProxyType(dict(given)), **{**defaults, **parsed})
    return replace(settings, given=MappingProxyType({**settings.given, **given}), **parsed)


def _check_side(wanted: type | None, factories: Sequence[object] | None) -> None:
    """Refuse the extension factories of the other side. One class may be for both."""
    for factory in factories or ():
        if wanted is not None and not isinstance(factory, wanted):
            side = "client" if wanted is ClientExtensionFactory else "server"
            raise TypeError(f"extensions of a {side} must be {wanted.__name__} objects, not {factory!r}")


_OTHER_NAMES = {
    "additional_headers": ("extra_headers",),
    "compress": ("compression",),
    "connect_timeout": ("open_timeout",),
    "create_connection": ("create_protocol",),
    "disconnect_timeout": ("close_timeout",),
    "handshake_timeout": ("open_timeout",),
    "header": ("extra_headers",),
    "headers": ("extra_headers",),
    "heartbeat": ("ping_interval",),
    "klass": ("create_protocol",),
    "max_message_size": ("max_size",),
    "max_msg_size": ("max_size",),
    "origin": ("origins",),
    "origins": ("origin",),
    "per_message_deflate": ("compression",),
    "process_exception": ("reconnect_fatal",),
    "protocols": ("subprotocols",),
    "ssl_context": ("ssl",),
    "sslopt": ("ssl",),
    "timeout": ("open_timeout",),
}
"""Names that options have in other libraries, and their names here, which spelling does not tell."""


def unknown_option(name: str, known: Collection[str]) -> str:
    """Return the error message for a keyword argument that a call does not have.

    Args:
        name: the keyword argument.
        known: the options that the call has; only these are suggested.
    """
    if name in _OTHER_NAMES:
        similar = [here for here in _OTHER_NAMES[name] if here in known]
    else:
        import difflib  # for an error only

        similar = difflib.get_close_matches(name, known, n=1)
    return f"unexpected keyword argument {name!r}" + (f"; did you mean {similar[0]!r}?" if similar else "")
