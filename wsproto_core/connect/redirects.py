"""Redirects of a client's opening handshake (RFC 6455 section 4.1, RFC 9110 section 15.4).

A redirect makes a client connect to a place that a server chooses. Three rules keep that harmless. The
number of redirects is limited. No redirect from ``wss:`` to ``ws:`` is followed. Credentials, cookies,
the client's TLS certificate and the name in the server's certificate (``server_hostname``) are for one
origin: another origin does not get them, nor does the first one after a redirect back. ``Origin`` and
all other headers are sent to other origins, as by other clients.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, TypeVar, cast

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

__all__ = ["MAX_REDIRECTS", "Redirects", "resolve_reference", "same_origin"]

MAX_REDIRECTS = 10

# Status codes of redirects. For all of them, the next request is a GET.
STATUSES = (301, 302, 303, 307, 308)

# Headers for one origin: credentials, cookies, the name of the origin.
_FOR_ONE_ORIGIN = ("authorization", "cookie", "host", "proxy-authorization")

_SCHEMES = {"http": "ws", "https": "wss"}

OptionsT = TypeVar("OptionsT", bound=Mapping[str, Any])


class Redirects:
    """The redirects of one opening handshake. A client does this::

        redirects = Redirects(uri, options["max_redirects"])
        while True:
            try:
                return connect_once(redirects.uri, redirects.options(options))
            except InvalidStatusCode as error:
                redirects.follow(error)

    Attributes:
        uri: the URI to connect to, with the user information to send there.
        count: the number of redirects that were followed.
        left_origin: whether one of them led to another origin.
    """

    def __init__(
        self, uri: WebSocketURI, limit: int | None = MAX_REDIRECTS, *, fixed: str | None = None
    ) -> None:
        """
        Args:
            uri: the URI that the application gave.
            limit: the limit on redirects; 0 for none, ``None`` for any number.
            fixed: the name of the option that determines where the stream leads to, in the place of the
                URI (``host``, ``port``, ``path`` for a Unix socket, ``sock``); ``None`` without one.
        """
        self.uri = uri
        self.count = 0
        self.left_origin = False
        self._limit = math.inf if limit is None else limit
        self._fixed = fixed

    def follow(self, error: InvalidStatusCode) -> None:
        """Follow the response to an opening handshake, if it is a redirect: set :attr:`uri`.

        The user information in :attr:`uri` stays there for the same origin, and is dropped for another
        origin. User information in a ``Location`` is ignored: the server does not choose credentials.

        Args:
            error: the error of the opening handshake.

        Raises:
            InvalidStatusCode: ``error``, if the response is no redirect.
            RedirectHandshake: the response is a redirect, and the limit is 0.
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
        """Return the options for the connection to :attr:`uri`, without those for another origin.

        After a redirect to another origin, ``extra_headers`` has no ``Authorization``, ``Cookie``,
        ``Host`` and ``Proxy-Authorization``; and there is no ``server_hostname``. A TLS context must have
        no client certificate then: the caller sees to that.

        Args:
            given: the application's options, by name.

        Returns:
            ``given``, if no redirect has led to another origin; else a new mapping.
        """
        if not self.left_origin:
            return given
        options = {name: value for name, value in given.items() if name != "server_hostname"}
        if options.get("extra_headers"):
            extra = Headers(options["extra_headers"])
            options["extra_headers"] = Headers(
                (name, value) for name, value in extra.raw_items() if name.lower() not in _FOR_ONE_ORIGIN
            )
        return cast(OptionsT, options)


def same_origin(one: WebSocketURI, other: WebSocketURI) -> bool:
    """Return whether two URIs have the same scheme, host and port (RFC 6454 section 5)."""
    return (one.secure, one.host, one.port) == (other.secure, other.host, other.port)


def _location(uri: WebSocketURI, response: Response) -> WebSocketURI:
    """Return the URI in the ``Location`` of a response, without user information.

    Raises:
        InvalidHeader: there is no ``Location``, or several, or one that is no WebSocket URI.
    """
    values = response.headers.get_all("Location")
    if len(values) != 1 or not values[0]:
        raise InvalidHeader("Location", hide_user_info(", ".join(values)) if values else None)
    location = values[0]
    try:
        # Not all servers percent-encode other characters than ASCII; they send them in UTF-8.
        reference = location.encode("ascii", "surrogateescape").decode()
        target = parse_uri(resolve_reference(str(uri), reference))
    except (UnicodeError, InvalidURI) as error:
        raise InvalidHeaderValue("Location", hide_user_info(location)) from error
    return dataclasses.replace(target, user_info=None)


def resolve_reference(base: str, reference: str) -> str:
    """Resolve a URI reference (RFC 3986 section 5.2), without its fragment.

    ``http:`` and ``https:`` become ``ws:`` and ``wss:``. Nothing is validated.

    Args:
        base: an absolute URI.
        reference: an absolute URI, or a reference relative to ``base``.
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
    """Do what RFC 3986 section 5.2.4 says with a path that begins with a slash."""
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
