"""The headers of the opening handshake: how they are built and checked (RFC 6455 section 4).

These functions take headers, and return a value or raise an exception. The order of the checks, and the
status that answers each exception, are in :mod:`.client` and :mod:`.answers`, as are the checks of the
method, the HTTP version and the status.

Headers of which there may be several (RFC 9110 section 5.3) are combined into one before they are parsed.
A second header where there must be one is an error and never ignored.
"""

from __future__ import annotations

import binascii
import dataclasses
import hashlib
import os
import re
from collections.abc import Callable, Iterable, Sequence

from ..exceptions import (
    InvalidHeader,
    InvalidHeaderValue,
    InvalidMessage,
    InvalidOrigin,
    InvalidUpgrade,
    NegotiationError,
    hide_user_info,
)
from ..http import Headers, Request
from ..http.grammar import parse_connection, parse_host, parse_subprotocol, parse_upgrade
from ..http.headers import HeaderValues, values_by_name
from ..options import OriginLike
from ..types import Origin, Subprotocol

__all__ = [
    "accept_key",
    "build_request",
    "build_response",
    "check_host",
    "check_origin",
    "check_request",
    "check_response",
    "negotiate_subprotocol_response",
    "override_headers",
    "parse_subprotocol_offers",
    "select_subprotocol",
    "to_origin_form",
]

_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_VERSION = "13"

# RFC 9112 section 3.2.2
_ABSOLUTE_FORM = re.compile(r"(?:http|ws)s?+://(?P<authority>[^/?]*+)(?P<resource>.*+)", re.IGNORECASE)


def accept_key(key: str) -> str:
    """Return the ``Sec-WebSocket-Accept`` value for a ``Sec-WebSocket-Key`` (RFC 6455 section 4.2.2)."""
    digest = hashlib.sha1((key + _GUID).encode("ascii")).digest()
    return binascii.b2a_base64(digest, newline=False).decode("ascii")


def build_request(headers: Headers, *, random: Callable[[int], bytes] = os.urandom) -> str:
    """Add the headers of an opening handshake to ``headers`` (RFC 6455 section 4.1).

    Args:
        headers: request headers; changed in place.
        random: returns the given number of unpredictable bytes.

    Returns:
        The key, to be given to :func:`check_response`.
    """
    key = binascii.b2a_base64(random(16), newline=False).decode("ascii")
    headers.extend("Upgrade", "websocket", "Connection", "Upgrade")
    headers.extend("Sec-WebSocket-Key", key, "Sec-WebSocket-Version", _VERSION)
    return key


def check_request(headers: Headers | HeaderValues) -> str:
    """Check the headers of an opening handshake received from a client (RFC 6455 section 4.2.1).

    The method, the HTTP version, ``Host`` and ``Origin`` are not checked here.

    Args:
        headers: request headers, or their values by name, as for the other functions here.

    Returns:
        The key, to be given to :func:`build_response`.

    Raises:
        InvalidUpgrade: the request does not ask for an upgrade to WebSocket.
        InvalidHeader: another header is missing, there twice, malformed or wrong; all exceptions of
            this function are of this class, and their ``name`` says which header it is.
    """
    values = values_by_name(headers)
    _check_connection(values)
    upgrade = _combine(values, "Upgrade")
    if not _lists(upgrade, "websocket", parse_upgrade):
        raise InvalidUpgrade("Upgrade", upgrade)
    key = _require_single(values, "Sec-WebSocket-Key")
    try:
        nonce = binascii.a2b_base64(key, strict_mode=True)
    except ValueError:
        nonce = b""
    if len(nonce) != 16:
        raise InvalidHeaderValue("Sec-WebSocket-Key", key)
    version = _require_single(values, "Sec-WebSocket-Version")
    if version != _VERSION:
        raise InvalidHeaderValue("Sec-WebSocket-Version", version)
    return key


def build_response(headers: Headers, key: str) -> None:
    """Add the headers that accept an opening handshake to ``headers`` (RFC 6455 section 4.2.2).

    Args:
        headers: response headers; changed in place.
        key: what :func:`check_request` returned.
    """
    headers.extend("Upgrade", "websocket", "Connection", "Upgrade", "Sec-WebSocket-Accept", accept_key(key))


def check_response(headers: Headers, key: str) -> None:
    """Check the headers of a server's answer to an opening handshake (RFC 6455 section 4.1).

    The HTTP version and the status are not checked here.

    Args:
        headers: response headers.
        key: what :func:`build_request` returned.

    Raises:
        InvalidUpgrade: the response does not agree to an upgrade to WebSocket, and to nothing else.
        InvalidHeader: another header is missing, there twice, malformed or wrong; all exceptions of
            this function are of this class.
    """
    values = headers.by_name()
    _check_connection(values)
    upgrade = _combine(values, "Upgrade")
    if upgrade is None or [protocol.lower() for protocol in parse_upgrade(upgrade)] != ["websocket"]:
        raise InvalidUpgrade("Upgrade", upgrade)
    accept = _require_single(values, "Sec-WebSocket-Accept")
    if accept != accept_key(key):
        raise InvalidHeaderValue("Sec-WebSocket-Accept", accept)


def to_origin_form(request: Request) -> Request:
    """Return a request with its target in origin form: a path, and a query if there is one.

    The absolute form is taken apart; its authority takes the place of ``Host`` (RFC 9112 section 3.2.2).

    Args:
        request: a request whose method is neither CONNECT nor OPTIONS, which have forms of their own.

    Raises:
        InvalidMessage: the target has another form, or a fragment.
    """
    target = request.path
    if "#" in target:
        raise InvalidMessage(f"expected a request target without a fragment, got {target!r}")
    if target.startswith("/"):
        return request
    match = _ABSOLUTE_FORM.fullmatch(target)
    if match is None:
        raise InvalidMessage(f"expected a request target that begins with a slash, got {target!r}")
    try:
        parse_host(match["authority"])
    except InvalidHeader as error:
        shown = hide_user_info(target)
        raise InvalidMessage(f"expected a host in the request target, got {shown!r}") from error
    headers = request.headers.copy()
    override_headers(headers, Headers(Host=match["authority"]))
    resource = match["resource"]
    path = resource if resource.startswith("/") else f"/{resource}"
    return dataclasses.replace(request, path=path, headers=headers)


def check_host(headers: Headers | HeaderValues) -> None:
    """Check the ``Host`` header of a request (RFC 9112 section 3.2).

    Raises:
        InvalidHeader: there is none, more than one, an empty or a malformed one.
    """
    parse_host(_require_single(values_by_name(headers), "Host"))


def check_origin(headers: Headers | HeaderValues, origins: Iterable[OriginLike] | None) -> Origin | None:
    """Check the ``Origin`` header of a request (RFC 6455 section 10.2).

    Args:
        headers: request headers.
        origins: the accepted ones: texts, which must be equal, and compiled patterns, which must match
            the whole origin; ``None`` among them accepts a request without origin. ``None`` in place
            of them accepts every request.

    Returns:
        The origin, or ``None`` if the request has none.

    Raises:
        TypeError: ``origins`` is a ``str``.
        InvalidHeader: there is more than one.
        InvalidOrigin: it is not an accepted one.
    """
    if isinstance(origins, str):
        raise TypeError(f"expected a list of origins, got a str: {origins!r}")
    values = values_by_name(headers)
    origin = _require_single(values, "Origin") if "origin" in values else None
    if origins is not None and not any(_is_accepted(origin, accepted) for accepted in origins):
        raise InvalidOrigin(origin)
    return None if origin is None else Origin(origin)


def _is_accepted(origin: str | None, accepted: OriginLike) -> bool:
    if isinstance(accepted, re.Pattern):
        return origin is not None and accepted.fullmatch(origin) is not None
    return origin == accepted


def parse_subprotocol_offers(headers: Headers | HeaderValues) -> list[Subprotocol]:
    """Return the subprotocols in all ``Sec-WebSocket-Protocol`` headers (RFC 6455 section 11.3.4).

    Raises:
        InvalidHeaderFormat: there are such headers, but they are not a list of one at least.
    """
    header = _combine(values_by_name(headers), "Sec-WebSocket-Protocol")
    return [] if header is None else parse_subprotocol(header)


def select_subprotocol(
    client_subprotocols: Sequence[Subprotocol], server_subprotocols: Sequence[Subprotocol]
) -> Subprotocol | None:
    """Pick a subprotocol that both sides know, giving equal value to the priorities of both.

    It is the one for which the sum of its positions in both lists is the smallest; of several such,
    the one that the server prefers.

    Args:
        client_subprotocols: offered by the client, in order of decreasing preference.
        server_subprotocols: available on the server, in order of decreasing preference.

    Returns:
        The subprotocol, or ``None`` if no subprotocol is in both lists.
    """
    if not client_subprotocols or not server_subprotocols:
        return None
    known_to_both = [name for name in server_subprotocols if name in client_subprotocols]
    ranks = {
        name: client_subprotocols.index(name) + server_subprotocols.index(name) for name in known_to_both
    }
    return min(ranks, key=ranks.__getitem__, default=None)


def negotiate_subprotocol_response(headers: Headers, offered: Sequence[str]) -> Subprotocol | None:
    """Return the subprotocol that a server has selected (RFC 6455 section 4.1).

    Some servers send an empty header when they have selected none.

    Args:
        headers: response headers.
        offered: the subprotocols that were in the request.

    Returns:
        The subprotocol, or ``None`` if the server has selected none.

    Raises:
        InvalidHeaderFormat: the header is malformed.
        NegotiationError: the server has selected several, or one that was not offered.
    """
    if not any(headers.get_all("Sec-WebSocket-Protocol")):
        return None
    selected = parse_subprotocol_offers(headers)
    if len(selected) > 1:
        raise NegotiationError(f"server selected several subprotocols: {', '.join(selected)}")
    if selected[0] not in offered:
        raise NegotiationError(f"server selected a subprotocol that was not offered: {selected[0]}")
    return selected[0]


def override_headers(headers: Headers, extra: Headers) -> None:
    """Add headers; they replace those with the same names."""
    for name in extra:
        if name in headers:
            del headers[name]
    headers.update(extra)


def _combine(headers: HeaderValues, name: str) -> str | None:
    """Return all headers of this name as one (RFC 9110 section 5.3), or ``None``."""
    values = headers.get(name.lower())
    return ", ".join(values) if values else None


def _require_single(headers: HeaderValues, name: str) -> str:
    """Return the header of this name; raise :exc:`InvalidHeader` unless there is exactly one."""
    values = headers.get(name.lower())
    if not values:
        raise InvalidHeader(name)
    if len(values) > 1:
        raise InvalidHeader(name, ", ".join(values))
    return values[0]


def _check_connection(headers: HeaderValues) -> None:
    connection = _combine(headers, "Connection")
    if not _lists(connection, "upgrade", parse_connection):
        raise InvalidUpgrade("Connection", connection)


def _lists(header: str | None, name: str, parse: Callable[[str], Iterable[str]]) -> bool:
    """Whether a header has a name in its list, in any case. Most have it alone, which needs no parser."""
    return header is not None and (header.lower() == name or name in map(str.lower, parse(header)))
