"""Exceptions, and helpers for an opening handshake of one's own."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterable
from typing import Any

from wsproto_core.handshake.headers import accept_key

__all__ = [
    "LocalProtocolError",
    "ProtocolError",
    "RemoteProtocolError",
    "generate_accept_token",
    "generate_nonce",
    "normed_header_dict",
    "split_comma_header",
]


class ProtocolError(Exception):
    """The base class of both errors."""


class LocalProtocolError(ProtocolError):
    """The program asks for what the state of the connection, or the protocol, does not allow."""


class RemoteProtocolError(ProtocolError):
    """The peer broke a rule of the opening handshake.

    Attributes:
        event_hint: the event to send as an answer; ``None`` on a client, which has none to give.
    """

    def __init__(self, message: str, event_hint: Any = None) -> None:
        """
        Args:
            message: what is wrong.
            event_hint: see the attribute.
        """
        self.event_hint = event_hint
        super().__init__(message)


def normed_header_dict(h11_headers: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Return headers by name; several values of one name are joined with commas.

    Args:
        h11_headers: names, in lower case, and values.
    """
    values: dict[bytes, list[bytes]] = {}
    for name, value in h11_headers:
        values.setdefault(name, []).append(value)
    return {name: b", ".join(each) for name, each in values.items()}


def split_comma_header(value: bytes) -> list[str]:
    """Return the elements of a header that is a list.

    Args:
        value: the header.
    """
    return [element.strip() for element in value.decode("ascii", "surrogateescape").split(",")]


def generate_nonce() -> bytes:
    """Return a new ``Sec-WebSocket-Key`` (RFC 6455 section 4.1)."""
    return base64.b64encode(os.urandom(16))


def generate_accept_token(token: bytes) -> bytes:
    """Return the ``Sec-WebSocket-Accept`` for a ``Sec-WebSocket-Key`` (RFC 6455 section 4.2.2).

    Args:
        token: the key.
    """
    return accept_key(token.decode("ascii")).encode("ascii")
