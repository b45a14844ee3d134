"""WebSocket URIs (RFC 6455 section 3).

The URI is taken apart with the regular expression of RFC 3986 appendix B rather than with
``urllib.parse.urlsplit``, which silently removes control characters, ignores what stands around an
address in brackets, and takes what stands before several ``@`` for user information: each of these
once made two programs see two different hosts in one URI.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import quote, unquote

from .exceptions import InvalidURI

__all__ = ["WebSocketURI", "parse_uri"]

_DEFAULT_PORTS = {"ws": 80, "wss": 443}

_URI = re.compile(
    r"(?P<scheme>[^:/?#]*+)://(?P<authority>[^/?#]*+)"
    r"(?P<path>[^?#]*+)(?:\?(?P<query>[^#]*+))?+(?P<fragment>#.*+)?+"
)
_AUTHORITY = re.compile(
    r"(?:(?P<user_info>[^@\[\]\\<>^`{|}\"]*+)@)?+"
    r"(?P<host>\[[0-9A-Fa-f:.]++\]|[^@:\[\]]*+)"
    r"(?::(?P<port>[0-9]*+))?+"
)
_HOST_NAME = re.compile(r"(?:[a-z0-9_-]{1,63}\.)*[a-z0-9_-]{1,63}\.?")
# Surrogates are no characters; the other ranges are the C0 controls, space, DEL and the C1 controls.
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f-\x9f\ud800-\udfff]")
_CONTROL_CHARACTER = re.compile(r"[\x00-\x1f\x7f]")
_VISIBLE_ASCII = "".join(map(chr, range(0x21, 0x7F)))


@dataclass(frozen=True)
class WebSocketURI:
    """A WebSocket URI.

    Attributes:
        secure: whether the scheme is ``wss``: WebSocket over TLS.
        host: lower-case host name (in the ASCII form of IDNA when it has other characters), or IP
            address; an IPv6 address is without brackets.
        port: TCP port, also when it is the scheme's default.
        resource_name: path, and query if there is one; never empty, and ASCII only.
        user_info: ``(username, password)``, percent-decoded, when the URI has user information.
    """

    secure: bool
    host: str
    port: int
    resource_name: str
    user_info: tuple[str, str] | None = None


def parse_uri(uri: str) -> WebSocketURI:
    """Parse and validate a WebSocket URI (RFC 6455 section 3).

    An IRI (RFC 3987) is accepted too: its host is encoded with IDNA, its path and query in UTF-8 and
    percent-encoded.

    Raises:
        InvalidURI: it is not a WebSocket URI; also a ``ValueError``.
    """
    forbidden = _FORBIDDEN.search(uri)
    if forbidden is not None:
        raise InvalidURI(uri, f"expected no space or control character, got {forbidden.group()!r}")
    match = _URI.fullmatch(uri)
    if match is None:
        raise InvalidURI(uri, "expected ws://... or wss://...")
    scheme = match["scheme"].lower()
    if scheme not in _DEFAULT_PORTS:
        raise InvalidURI(uri, f"expected the scheme ws or wss, got {match['scheme']!r}")
    if match["fragment"] is not None:
        raise InvalidURI(uri, f"expected no fragment, got {match['fragment']!r}")
    authority = _AUTHORITY.fullmatch(match["authority"])
    if authority is None:
        raise InvalidURI(uri, "expected [username:password@]host[:port] after the scheme")
    resource_name = match["path"] or "/"
    # "'?' if the query component is non-empty" (RFC 6455 section 3)
    if match["query"]:
        resource_name += "?" + match["query"]
    return WebSocketURI(
        secure=scheme == "wss",
        host=_parse_host(uri, authority["host"]),
        port=_parse_port(uri, authority["port"] or str(_DEFAULT_PORTS[scheme])),
        resource_name=quote(resource_name, safe=_VISIBLE_ASCII),
        user_info=_parse_user_info(uri, authority["user_info"]),
    )


def _parse_host(uri: str, text: str) -> str:
    if text.startswith("["):
        try:
            ipaddress.IPv6Address(text[1:-1])
        except ValueError:
            raise InvalidURI(uri, f"expected an IPv6 address in brackets, got {text!r}") from None
        return text[1:-1].lower()
    try:
        host = (text if text.isascii() else text.encode("idna").decode("ascii")).lower()
    except UnicodeError as error:
        raise InvalidURI(uri, f"expected a host name, got {text!r}: {error}") from error
    # Only now, since IDNA may turn a character into a separator of URIs (U+FF0F into "/").
    if not _HOST_NAME.fullmatch(host):
        raise InvalidURI(uri, f"expected a host name or address, got {text!r}")
    return host


def _parse_port(uri: str, digits: str) -> int:
    significant = digits.lstrip("0")
    if not significant or len(significant) > 5 or int(significant) > 65535:
        raise InvalidURI(uri, f"expected a port from 1 to 65535, got {digits!r}")
    return int(significant)


def _parse_user_info(uri: str, text: str | None) -> tuple[str, str] | None:
    if text is None:
        return None
    username, colon, password = text.partition(":")
    if not colon:
        raise InvalidURI(uri, "expected a username, a colon and a password before '@'")
    try:
        user_info = unquote(username, errors="strict"), unquote(password, errors="strict")
    except UnicodeDecodeError:
        raise InvalidURI(uri, "expected percent-encoded UTF-8 before '@'") from None
    # RFC 7617 section 2: such credentials could not be sent.
    if ":" in user_info[0] or _CONTROL_CHARACTER.search("".join(user_info)):
        raise InvalidURI(uri, "expected no colon in the username and no control character before '@'")
    return user_info
