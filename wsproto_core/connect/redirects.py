"""Redirects of a client's opening handshake (RFC 6455 section 4.1, RFC 9110 section 15.4).

A redirect makes a client connect where a server tells it to. Three rules keep that harmless: it is
followed a limited number of times; it never leads from ``wss:`` to ``ws:``; and what was meant for
one origin (credentials, cookies, the client's TLS certificate, the name that a server's certificate is
checked against) is not given to another, nor does it come back when a later redirect leads to the first
origin again. ``Origin`` and all other headers go along, as with other clients.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, TypeVar, cast
from weakref import WeakKeyDictionary

from ..exceptions import (
    InvalidHandshake,
    InvalidHeader,
    InvalidHeaderValue,
    InvalidStatusCode,
    InvalidURI,
    RedirectHandshake,
    SecurityError,
    hide_user_info,
)
from ..http import Headers, Response
from ..http.syntax import split_reference
from ..http.uri import WebSocketURI, parse_uri

__all__ = [
    "MAX_REDIRECTS",
    "Redirects",
    "note_trust",
    "resolve_reference",
    "same_origin",
    "without_certificate",
]

MAX_REDIRECTS = 10

STATUSES = (301, 302, 303, 307, 308)
"""Those that say where to go. All of them ask for a GET, or keep it."""

# Headers that are meant for one origin: credentials, cookies, its own name.
_FOR_ONE_ORIGIN = ("authorization", "cookie", "host", "proxy-authorization")

_SCHEMES = {"http": "ws", "https": "wss"}

OptionsT = TypeVar("OptionsT", bound=Mapping[str, Any])

_trusts_its_own: WeakKeyDictionary[Any, bool] = WeakKeyDictionary()
"""Of TLS contexts, whether they hold certificates to trust before their first handshake."""


class Redirects:
    """The redirects of one opening handshake. Whoever connects does this::

        redirects = Redirects(uri, options["max_redirects"])
        while True:
            try:
                return connect_once(redirects.uri, redirects.options(options))
            except InvalidStatusCode as error:
                redirects.follow(error)

    Attributes:
        uri: what to connect to, with the user information to send there.
        count: how many redirects have been followed.
        left_origin: whether one of them led to another origin.
    """

    def __init__(
        self, uri: WebSocketURI, limit: int | None = MAX_REDIRECTS, *, fixed: str | None = None
    ) -> None:
        """
        Args:
            uri: what the application wants to connect to.
            limit: how many redirects to follow; 0 for none, ``None`` for any number.
            fixed: the name of the option by which the application says where the stream leads to,
                whatever the URI says (``host``, ``port``, ``path`` for a Unix socket, ``sock``);
                ``None`` if it does not.
        """
        self.uri = uri
        self.count = 0
        self.left_origin = False
        self._limit = math.inf if limit is None else limit
        self._fixed = fixed

    def follow(self, error: InvalidStatusCode) -> None:
        """The server has answered with another status than 101: go where it says.

        The user information in :attr:`uri` stays there for the same origin, and is dropped for
        another one. That in a ``Location`` is ignored: credentials are not for the server to choose.

        Args:
            error: what the opening handshake raised.

        Raises:
            InvalidStatusCode: this one, if it is no redirect.
            RedirectHandshake: it is a redirect, but none are to be followed.
            InvalidHeader: ``Location`` is missing, there twice, or leads to no WebSocket URI.
            SecurityError: the redirect may not be followed.
        """
        response = error.response
        if response is None or response.status not in STATUSES:
            raise error
        try:
            uri = _location(self.uri, response)
            self._check(uri)
        except InvalidHandshake as reason:
            if reason.__cause__ is None:
                reason.__cause__ = error
            raise
        if not same_origin(self.uri, uri):
            self.left_origin = True
        elif self.uri.user_info is not None:
            uri = dataclasses.replace(uri, user_info=self.uri.user_info)
        self.uri = uri
        self.count += 1

    def _check(self, uri: WebSocketURI) -> None:
        if not self._limit:
            raise RedirectHandshake(str(uri))
        if self.count >= self._limit:
            raise SecurityError(f"more than {self._limit} redirects; the last one leads to {str(uri)!r}")
        if self.uri.secure and not uri.secure:
            raise SecurityError(f"redirect from wss: to {str(uri)!r}, which is not encrypted")
        if self._fixed == "sock":
            raise SecurityError(
                f"redirect to {str(uri)!r}, but the socket was given: it cannot be used again"
            )
        if self._fixed is not None and not same_origin(self.uri, uri):
            raise SecurityError(f"redirect to {str(uri)!r}, but {self._fixed} says where to connect to")

    def options(self, given: OptionsT) -> OptionsT:
        """Return the options to connect to :attr:`uri` with: those that were given, or fewer.

        To another origin go no ``Authorization``, ``Cookie``, ``Host`` and ``Proxy-Authorization``
        in ``extra_headers``; its certificate is not checked against the given ``server_hostname``; and
        ``ssl`` is a context that has no certificate of ours: see :func:`without_certificate`.

        Args:
            given: the application's options, ours and those of the runtime's call alike.
        """
        if not self.left_origin:
            return given
        options = {name: value for name, value in given.items() if name != "server_hostname"}
        if options.get("ssl") not in (None, True):
            options["ssl"] = without_certificate(options["ssl"])
        if options.get("extra_headers"):
            extra = Headers(options["extra_headers"])
            options["extra_headers"] = Headers(
                (name, value) for name, value in extra.raw_items() if name.lower() not in _FOR_ONE_ORIGIN
            )
        return cast(OptionsT, options)


def note_trust(context: Any) -> None:
    """Remember whether a client's TLS context has certificates to trust of its own.

    Call it before the first handshake: that one adds certificates which it has found in a directory.

    Args:
        context: an :class:`ssl.SSLContext`; ``True`` or ``None`` for the default one.
    """
    if context not in (None, True) and context not in _trusts_its_own:
        with suppress(AttributeError, TypeError):  # it may be a context of another kind
            _trusts_its_own[context] = bool(context.cert_store_stats()["x509"])


def without_certificate(context: Any) -> Any:
    """Return a TLS context that verifies as another one does, but presents no certificate.

    What a context presents cannot be taken from it, nor asked for. So a new one is made, with the
    versions, the ciphers, the verification and the trusted certificates of the other one, as far as that
    tells them: certificates in a directory are not among these. The system's certificates are trusted if
    the other one held none before its first handshake. ALPN protocols and the like are left behind.

    Args:
        context: an :class:`ssl.SSLContext` for a client.
    """
    other = type(context)(context.protocol)
    other.check_hostname = False  # or verify_mode could not be lowered
    for name in ("options", "minimum_version", "maximum_version", "verify_flags", "verify_mode"):
        setattr(other, name, getattr(context, name))
    other.check_hostname = context.check_hostname
    other.hostname_checks_common_name = context.hostname_checks_common_name
    # Those of TLS 1.3 are not chosen by this call.
    ciphers = [each["name"] for each in context.get_ciphers() if not each["name"].startswith("TLS_")]
    other.set_ciphers(":".join([*ciphers, f"@SECLEVEL={context.security_level}"]))
    trusted = context.get_ca_certs(binary_form=True)
    if trusted:
        other.load_verify_locations(cadata=b"".join(trusted))
    if not _trusts_its_own.get(context, bool(trusted)):
        other.load_default_certs()
    return other


def same_origin(one: WebSocketURI, other: WebSocketURI) -> bool:
    """Whether two URIs have the same scheme, host and port (RFC 6454 section 5)."""
    return (one.secure, one.host, one.port) == (other.secure, other.host, other.port)


def _location(uri: WebSocketURI, response: Response) -> WebSocketURI:
    """Return where a response leads to, without user information.

    Raises:
        InvalidHeader: it does not lead to a WebSocket URI.
    """
    values = response.headers.get_all("Location")
    if len(values) != 1 or not values[0]:
        raise InvalidHeader("Location", hide_user_info(", ".join(values)) if values else None)
    location = values[0]
    try:
        # Not all servers percent-encode what is not ASCII; what they send is UTF-8 in practice.
        reference = location.encode("ascii", "surrogateescape").decode()
        target = parse_uri(resolve_reference(str(uri), reference))
    except (UnicodeError, InvalidURI) as error:
        raise InvalidHeaderValue("Location", hide_user_info(location)) from error
    return dataclasses.replace(target, user_info=None)


def resolve_reference(base: str, reference: str) -> str:
    """Resolve a URI reference (RFC 3986 section 5.2), without its fragment.

    ``http:`` and ``https:`` become ``ws:`` and ``wss:``. Nothing is validated.

    Args:
        base: an absolute URI, to which the reference is relative.
        reference: absolute or relative.
    """
    base_scheme, base_authority, base_path, base_query, _ = split_reference(base)
    scheme, authority, path, query, _ = split_reference(reference)
    if scheme is None:
        scheme = base_scheme
        if authority is None:
            authority = base_authority
            if not path:
                path = base_path
                query = base_query if query is None else query
            elif not path.startswith("/"):
                path = base_path.rpartition("/")[0] + "/" + path
    scheme = _SCHEMES.get((scheme or "").lower(), scheme)
    resolved = _remove_dot_segments(path)
    if authority is not None:
        resolved = f"//{authority}{resolved}"
    if query is not None:
        resolved = f"{resolved}?{query}"
    return f"{scheme}:{resolved}"


def _remove_dot_segments(path: str) -> str:
    """RFC 3986 section 5.2.4, for a path that is empty or begins with a slash; else nothing is done."""
    if not path.startswith("/"):
        return path
    segments = path.split("/")[1:]
    output: list[str] = []
    for segment in segments:
        if segment == "..":
            del output[-1:]
        elif segment != ".":
            output.append(segment)
    if segments[-1] in (".", ".."):
        output.append("")
    return "/" + "/".join(output)
