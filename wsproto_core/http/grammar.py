"""The grammars of the header values of the opening handshake: parsers and builders.

Every parser goes once over its header with a :class:`_Cursor`. Its patterns are possessive (``++``,
``*+``): they never try a second way to match, so that the time is linear in the length of every header.
The headers that are parsed come from the peer, and the parsers raise exceptions of the opening handshake.
The values that are built come from the application, and the builders raise ``ValueError``, also for
values that could not be parsed again.

RFC 6455 refers to RFC 2616. This module refers to RFC 9110, which has replaced it, where that is clearer.
"""

from __future__ import annotations

import base64
import ipaddress
import re
from collections.abc import Callable, Sequence
from typing import NoReturn, TypeVar

from ..exceptions import InvalidHeaderFormat, InvalidHeaderValue
from ..types import (
    ConnectionOption,
    ExtensionHeader,
    ExtensionName,
    ExtensionParameter,
    Subprotocol,
    UpgradeProtocol,
)
from .syntax import CONTROL_CHARACTER, DEFAULT_PORTS, TOKEN

__all__ = [
    "build_authorization_basic",
    "build_extension",
    "build_host",
    "build_subprotocol",
    "build_www_authenticate_basic",
    "parse_authorization_basic",
    "parse_connection",
    "parse_extension",
    "parse_host",
    "parse_subprotocol",
    "parse_upgrade",
]

T = TypeVar("T")

_TOKEN = re.compile(TOKEN)
# RFC 9110 section 5.6.4
_QUOTED_STRING = re.compile(r'"(?:[^"\\]|\\.)*+"')
_QUOTED_PAIR = re.compile(r"\\(.)")
# RFC 9110 section 5.6.3
_WHITESPACE = re.compile(r"[ \t]*+")
# RFC 9110 section 5.6.1.2: empty elements of a list are to be ignored.
_EMPTY_ELEMENTS = re.compile(r"[ \t,]*+")
# RFC 9110 section 7.8
_UPGRADE_PROTOCOL = re.compile(rf"{TOKEN}(?:/{TOKEN})?+")
# RFC 9110 section 7.2 and RFC 3986 section 3.2.2
_HOST = re.compile(r"\[[0-9A-Fa-f:.]++\]|(?:[-A-Za-z0-9._~!$&'()*+,;=]|%[0-9A-Fa-f]{2})++")
_PLAIN_HOST = re.compile(r"([-A-Za-z0-9._~]++)(?::([0-5]?[0-9]{1,4}))?+")
_PORT = re.compile(r"(?::[0-9]{0,5}+)?+\Z")
# RFC 9110 section 11.2
_TOKEN68 = re.compile(r"[-A-Za-z0-9._~+/]++=*+")


class _Cursor:
    """A position in a header's value. It moves forward when elements of the grammar are taken."""

    __slots__ = ("header", "name", "position")

    def __init__(self, name: str, header: str) -> None:
        self.name = name
        self.header = header
        self.position = 0

    @property
    def at_end(self) -> bool:
        return self.position == len(self.header)

    def fail(self, error: str, position: int | None = None) -> NoReturn:
        """Raise :exc:`InvalidHeaderFormat` at ``position``, by default the current one."""
        raise InvalidHeaderFormat(
            self.name, error, self.header, self.position if position is None else position
        )

    def starts_with(self, text: str) -> bool:
        return self.header.startswith(text, self.position)

    def take(self, pattern: re.Pattern[str], expected: str = "") -> str:
        """Return the match of ``pattern`` at the position and move behind it, or fail."""
        match = pattern.match(self.header, self.position)
        if match is None:
            self.fail(f"expected {expected}")
        self.position = match.end()
        return match.group()

    def skip(self, separator: str) -> bool:
        """Move behind ``separator`` and the whitespace around it; return whether it is there."""
        self.take(_WHITESPACE)
        if not self.starts_with(separator):
            return False
        self.position += len(separator)
        self.take(_WHITESPACE)
        return True

    def take_list(self, take_element: Callable[[_Cursor], T]) -> list[T]:
        """Return the elements of a header that is a list; there is at least one."""
        elements: list[T] = []
        self.take(_EMPTY_ELEMENTS)
        while not (elements and self.at_end):
            elements.append(take_element(self))
            self.take(_WHITESPACE)
            if not (self.at_end or self.starts_with(",")):
                self.fail("expected a comma")
            self.take(_EMPTY_ELEMENTS)
        return elements


def _require_token(text: str, what: str) -> str:
    if not _TOKEN.fullmatch(text):
        raise ValueError(f"{what} must be a token (RFC 9110 section 5.6.2), got {text!r}")
    return text


def parse_connection(header: str) -> list[ConnectionOption]:
    """Parse a ``Connection`` header (RFC 9110 section 7.6.1).

    Args:
        header: value of the header.

    Returns:
        The connection options, in their order and case.

    Raises:
        InvalidHeaderFormat: the header is not a list of at least one token.
    """
    return _Cursor("Connection", header).take_list(
        lambda cursor: ConnectionOption(cursor.take(_TOKEN, "a connection option"))
    )


def parse_upgrade(header: str) -> list[UpgradeProtocol]:
    """Parse an ``Upgrade`` header (RFC 9110 section 7.8).

    Args:
        header: value of the header.

    Returns:
        The protocols, each with its version if it has one (``"HTTP/2.0"``), in their order and case.

    Raises:
        InvalidHeaderFormat: the header is not a list of at least one protocol.
    """
    return _Cursor("Upgrade", header).take_list(
        lambda cursor: UpgradeProtocol(cursor.take(_UPGRADE_PROTOCOL, "a protocol"))
    )


def _take_parameter(cursor: _Cursor) -> ExtensionParameter:
    name = cursor.take(_TOKEN, "a parameter name")
    if not cursor.skip("="):
        return name, None
    if not cursor.starts_with('"'):
        return name, cursor.take(_TOKEN, "a parameter value")
    start = cursor.position
    value = _QUOTED_PAIR.sub(r"\1", cursor.take(_QUOTED_STRING, "a quoted string")[1:-1])
    # "When using the quoted-string syntax variant, the value after quoted-string unescaping MUST
    # conform to the 'token' ABNF." (RFC 6455 section 9.1)
    if not _TOKEN.fullmatch(value):
        cursor.fail("expected a token between the quotes", start)
    return name, value


def _take_extension(cursor: _Cursor) -> ExtensionHeader:
    name = ExtensionName(cursor.take(_TOKEN, "an extension name"))
    parameters = []
    while cursor.skip(";"):
        parameters.append(_take_parameter(cursor))
    return name, parameters


def parse_extension(header: str) -> list[ExtensionHeader]:
    """Parse a ``Sec-WebSocket-Extensions`` header (RFC 6455 section 9.1).

    Args:
        header: value of the header.

    Returns:
        A list of ``(extension name, [(parameter name, parameter value), ...])``, in the order of the
        header. The value of a parameter that has none is ``None``.

    Raises:
        InvalidHeaderFormat: the header is not a list of at least one extension.
    """
    return _Cursor("Sec-WebSocket-Extensions", header).take_list(_take_extension)


def build_extension(extensions: Sequence[ExtensionHeader]) -> str:
    """Build a ``Sec-WebSocket-Extensions`` header: the reverse of :func:`parse_extension`.

    Args:
        extensions: a list as :func:`parse_extension` returns it, with at least one extension.

    Raises:
        ValueError: there is no extension, or a name or a value is not a token.
    """
    if not extensions:
        raise ValueError("expected at least one extension")
    elements = []
    for name, parameters in extensions:
        parts = [_require_token(name, "extension name")]
        for parameter, value in parameters:
            part = _require_token(parameter, f"parameter name of extension {name}")
            if value is not None:
                part += "=" + _require_token(value, f"value of parameter {parameter} of extension {name}")
            parts.append(part)
        elements.append("; ".join(parts))
    return ", ".join(elements)


def parse_subprotocol(header: str) -> list[Subprotocol]:
    """Parse a ``Sec-WebSocket-Protocol`` header (RFC 6455 section 11.3.4).

    Args:
        header: value of the header.

    Returns:
        The subprotocols, in their order and case.

    Raises:
        InvalidHeaderFormat: the header is not a list of at least one token.
    """
    return _Cursor("Sec-WebSocket-Protocol", header).take_list(
        lambda cursor: Subprotocol(cursor.take(_TOKEN, "a subprotocol"))
    )


def build_subprotocol(protocols: Sequence[str]) -> str:
    """Build a ``Sec-WebSocket-Protocol`` header: the reverse of :func:`parse_subprotocol`.

    Args:
        protocols: the subprotocols in order of decreasing preference; at least one.

    Raises:
        TypeError: a ``str`` is given in place of a sequence of them.
        ValueError: there is no subprotocol, one is not a token, or one is there twice
            (RFC 6455 section 4.1 forbids both).
    """
    if isinstance(protocols, str):
        raise TypeError(f"expected a sequence of subprotocols, got a str: {protocols!r}")
    if not protocols:
        raise ValueError("expected at least one subprotocol")
    for index, protocol in enumerate(protocols):
        if _require_token(protocol, "subprotocol") in protocols[:index]:
            raise ValueError(f"duplicate subprotocol: {protocol!r}")
    return ", ".join(protocols)


def parse_host(header: str) -> tuple[str, int | None]:
    """Parse a ``Host`` header (RFC 9110 section 7.2).

    Args:
        header: value of the header.

    Returns:
        The host (an IPv6 address without its brackets, a name in its case), and the port, ``None`` if
        there is none.

    Raises:
        InvalidHeaderFormat: the header does not match the grammar, or is empty. (RFC 9110 allows an
            empty header for URIs without a host; a WebSocket URI always has one.)
    """
    plain = _PLAIN_HOST.fullmatch(header)
    if plain is not None:
        return plain[1], int(plain[2]) if plain[2] else None
    cursor = _Cursor("Host", header)
    host = cursor.take(_HOST, "a host name or address")
    if host.startswith("["):
        host = host[1:-1]
        try:
            ipaddress.IPv6Address(host)
        except ValueError:
            cursor.fail("expected an IPv6 address", 1)
    start = cursor.position
    port = cursor.take(_PORT, "a colon and a port, or nothing")[1:]
    if int(port or 0) > 65535:
        cursor.fail("expected a port from 0 to 65535", start + 1)
    return host, int(port) if port else None


def build_host(host: str, port: int, secure: bool) -> str:
    """Build a ``Host`` header (RFC 6455 section 4.1).

    Args:
        host: host name or address, an IPv6 address without brackets. A zone identifier of such an
            address is left out of the header (RFC 6874 section 4).
        port: TCP port; left out of the header when it is the scheme's default.
        secure: whether the scheme is ``wss``, of which the default port is 443, or ``ws``: 80.

    Raises:
        ValueError: the host or the port is not valid.
    """
    # The name of an interface has no meaning on other machines.
    header = f"[{host.partition('%')[0]}]" if ":" in host else host
    if port != DEFAULT_PORTS["wss" if secure else "ws"]:
        header = f"{header}:{port}"
    try:
        parse_host(header)
    except InvalidHeaderFormat as error:
        raise ValueError(f"invalid host {host!r} or port {port!r}: {error.error}") from error
    return header


def build_www_authenticate_basic(realm: str) -> str:
    """Build a ``WWW-Authenticate`` header for HTTP Basic Auth (RFC 7617 section 2).

    Args:
        realm: authentication realm. Characters beyond ASCII are sent in UTF-8; in the returned value
            they are surrogate escapes, as everywhere in header values.

    Raises:
        ValueError: the realm contains a control character.
    """
    if CONTROL_CHARACTER.search(realm):
        raise ValueError(f"realm must not contain control characters, got {realm!r}")
    escaped = realm.replace("\\", "\\\\").replace('"', '\\"')
    quoted = escaped.encode("utf-8").decode("ascii", "surrogateescape")
    return f'Basic realm="{quoted}", charset="UTF-8"'


def parse_authorization_basic(header: str) -> tuple[str, str]:
    """Parse an ``Authorization`` header for HTTP Basic Auth (RFC 7617 section 2).

    The credentials after the scheme are a secret: the exceptions do not show them.

    Args:
        header: value of the header.

    Returns:
        ``(username, password)``, decoded from UTF-8.

    Raises:
        InvalidHeaderFormat: the header is not a scheme and a base64 text.
        InvalidHeaderValue: the scheme is another one, or the text does not encode a username without
            control characters, a colon and a password without control characters.
    """
    name = "Authorization"
    cursor = _Cursor(name, header)
    scheme = cursor.take(_TOKEN, "an authentication scheme")
    if scheme.lower() != "basic":
        raise InvalidHeaderValue(name, f"unsupported scheme: {scheme}")
    match = re.fullmatch(rf" ++({_TOKEN68.pattern})", header[cursor.position :])
    if match is None:
        raise InvalidHeaderFormat(name, "expected credentials in base64", scheme, len(scheme))
    try:
        credentials = base64.b64decode(match[1], validate=True).decode()
    except ValueError:
        raise InvalidHeaderValue(name, "credentials are not UTF-8 in base64") from None
    username, colon, password = credentials.partition(":")
    if not colon or CONTROL_CHARACTER.search(credentials):
        raise InvalidHeaderValue(name, "credentials are not a username, a colon and a password")
    return username, password


def build_authorization_basic(username: str, password: str) -> str:
    """Build an ``Authorization`` header for HTTP Basic Auth: the reverse of
    :func:`parse_authorization_basic`.

    Args:
        username: any text without colons and control characters.
        password: any text without control characters.

    Raises:
        ValueError: the username or the password contains what it must not (RFC 7617 section 2).
    """
    if ":" in username:
        raise ValueError(f"username must not contain a colon, got {username!r}")
    if CONTROL_CHARACTER.search(username + password):
        raise ValueError("username and password must not contain control characters")
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode("ascii")
