"""WebSocket URIs (RFC 6455 section 3).

User information is a secret: no error message, no ``repr`` and no ``str`` of this module has it.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from urllib.parse import quote, unquote

from ..exceptions import InvalidURI
from .syntax import CONTROL_CHARACTER, DEFAULT_PORTS, VISIBLE_ASCII, split_reference

__all__ = ["Authority", "WebSocketURI", "host_in_uri", "parse_authority", "parse_uri", "without_zone"]

# The longest host name that the DNS can hold (RFC 1035 section 2.3.4), with a final dot.
_MAX_HOST = 254

_AUTHORITY = re.compile(
    r"(?:(?P<user_info>[^@\[\]\\<>^`{|}\"]*+)@)?+"
    r"(?P<host>\[[0-9A-Fa-f:.]++(?:%[-A-Za-z0-9._~%]*+)?+\]|[^@:\[\]]*+)"
    r"(?::(?P<port>[0-9]*+))?+"
)
# RFC 6874 section 2
_ZONE = re.compile(r"%25((?:[-A-Za-z0-9._~]|%[0-9A-Fa-f]{2})++)")
_HOST_NAME = re.compile(r"(?:[a-z0-9_-]{1,63}\.)*[a-z0-9_-]{1,63}\.?")
# Surrogates are no characters; the other ranges are the C0 controls, space, DEL and the C1 controls.
# Characters that no URI and no IRI (RFC 3987) contains without percent-encoding.
FORBIDDEN = re.compile(r"[\x00-\x20\x7f-\x9f\ud800-\udfff]")


@dataclass(frozen=True)
class WebSocketURI:
    """A WebSocket URI. Its ``str`` is the URI without user information; its ``repr`` has none either.

    Attributes:
        secure: whether the scheme is ``wss``: WebSocket over TLS.
        host: lower-case host name (in the ASCII form of IDNA when it has other characters), or IP
            address; an IPv6 address is without brackets, and with its zone identifier if it has one
            (``fe80::1%eth0``), which has a meaning on this machine only.
        port: TCP port, also when it is the scheme's default.
        resource_name: path, and query if there is one; never empty, and ASCII only.
        user_info: ``(username, password)``, percent-decoded, when the URI has user information.
    """

    secure: bool
    host: str
    port: int
    resource_name: str
    user_info: tuple[str, str] | None = field(default=None, repr=False)

    def __str__(self) -> str:
        scheme = "wss" if self.secure else "ws"
        host = host_in_uri(self.host)
        port = "" if self.port == DEFAULT_PORTS[scheme] else f":{self.port}"
        return f"{scheme}://{host}{port}{self.resource_name}"


def parse_uri(uri: str) -> WebSocketURI:
    """Parse and validate a WebSocket URI (RFC 6455 section 3).

    An IRI (RFC 3987) is accepted too: its host is encoded with IDNA, its path and query in UTF-8 and
    percent-encoded.

    Raises:
        TypeError: ``uri`` is no ``str``.
        InvalidURI: ``uri`` is not a WebSocket URI; this is also a ``ValueError``.
    """
    if not isinstance(uri, str):
        raise TypeError(f"uri must be a str, not {uri!r}")
    forbidden = FORBIDDEN.search(uri)
    if forbidden is not None:
        raise InvalidURI(uri, f"expected no space or control character, got {forbidden.group()!r}")
    given_scheme, given_authority, path, query, fragment = split_reference(uri)
    if given_scheme is None or given_authority is None:
        raise InvalidURI(uri, "expected ws://... or wss://...")
    try:
        scheme = given_scheme.lower()
        if scheme not in DEFAULT_PORTS:
            raise ValueError(f"expected the scheme ws or wss, got {given_scheme!r}")
        if fragment is not None:
            raise ValueError(f"expected no fragment, got '#{fragment}'")
        authority = parse_authority(given_authority)
        if authority.user_info is not None and authority.user_info[1] is None:
            raise ValueError("expected a username, a colon and a password before '@'")
    except ValueError as error:
        message = str(error)
        if any("@" in (part or "") for part in (path, query, fragment)):
            # What looks like a host, a port or a fragment may be a part of a password.
            message = (
                "expected '/', '?', '#' and '@' to be percent-encoded before the '@' in front of the host"
            )
        raise InvalidURI(uri, message) from error.__cause__
    resource_name = path or "/"
    # "'?' if the query component is non-empty" (RFC 6455 section 3)
    if query:
        resource_name += f"?{query}"
    username, password = authority.user_info or (None, None)
    return WebSocketURI(
        secure=scheme == "wss",
        host=authority.host,
        port=authority.port or DEFAULT_PORTS[scheme],
        resource_name=quote(resource_name, safe=VISIBLE_ASCII),
        user_info=None if username is None or password is None else (username, password),
    )


@dataclass(frozen=True)
class Authority:
    """The authority of a URI: user information, host and port (RFC 3986 section 3.2).

    Attributes:
        host: see :class:`WebSocketURI`.
        port: ``None`` if there is none.
        user_info: ``(username, password)``, percent-decoded; the password is ``None`` without a colon.
    """

    host: str
    port: int | None
    user_info: tuple[str, str | None] | None = field(repr=False)


def parse_authority(text: str) -> Authority:
    """Parse ``[username[:password]@]host[:port]``.

    Raises:
        ValueError: the text is not valid; the message does not show the user information.
    """
    match = _AUTHORITY.fullmatch(text)
    if match is None:
        raise ValueError("expected [username:password@]host[:port] after the scheme")
    return Authority(
        _parse_host(match["host"]), _parse_port(match["port"]), _parse_user_info(match["user_info"])
    )


def _parse_host(text: str) -> str:
    if text.startswith("["):
        address, percent, zone = text[1:-1].partition("%")
        try:
            ipaddress.IPv6Address(address)
        except ValueError:
            raise ValueError(f"expected an IPv6 address in brackets, got {text!r}") from None
        return address.lower() + (f"%{_parse_zone(percent + zone)}" if percent else "")
    if len(text) > _MAX_HOST:
        raise ValueError(f"expected a host name of at most {_MAX_HOST} characters, got {len(text)}")
    try:
        host = (text if text.isascii() else text.encode("idna").decode("ascii")).lower()
    except UnicodeError as error:
        raise ValueError(f"expected a host name, got {text!r}: {error}") from error
    # Only now, since IDNA may turn a character into a separator of URIs (U+FF0F into "/").
    if not _HOST_NAME.fullmatch(host):
        raise ValueError(f"expected a host name or address, got {text!r}")
    return host


def _parse_zone(text: str) -> str:
    """Parse the zone identifier of an IPv6 address (RFC 6874 section 2); its case is kept."""
    match = _ZONE.fullmatch(text)
    zone = "" if match is None else unquote(match[1], errors="replace")
    if not zone or any(character not in VISIBLE_ASCII for character in zone):
        raise ValueError(f"expected a zone identifier as in '[fe80::1%25eth0]', got {text!r}")
    return zone


def without_zone(host: str) -> str:
    """Return a host without the zone identifier of an IPv6 address, which other machines do not know."""
    return host.partition("%")[0] if ":" in host else host


def host_in_uri(host: str) -> str:
    """Return a host in the form of a URI: an IPv6 address is in brackets, its zone percent-encoded."""
    if ":" not in host:
        return host
    address, percent, zone = host.partition("%")
    return f"[{address}%25{quote(zone, safe='')}]" if percent else f"[{address}]"


def _parse_port(digits: str | None) -> int | None:
    if not digits:
        return None
    significant = digits.lstrip("0")
    if not significant or len(significant) > 5 or int(significant) > 65535:
        raise ValueError(f"expected a port from 1 to 65535, got {digits!r}")
    return int(significant)


def _parse_user_info(text: str | None) -> tuple[str, str | None] | None:
    if text is None:
        return None
    username, colon, password = text.partition(":")
    try:
        username, password = unquote(username, errors="strict"), unquote(password, errors="strict")
    except UnicodeDecodeError:
        raise ValueError("expected percent-encoded UTF-8 before '@'") from None
    # RFC 7617 section 2: such credentials could not be sent.
    if ":" in username or CONTROL_CHARACTER.search(username + password):
        raise ValueError("expected no colon in the username and no control character before '@'")
    return username, password if colon else None
