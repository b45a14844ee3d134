"""Parsers and builders of the headers of the opening handshake."""

from wsproto_core.http.grammar import (
    build_authorization_basic,
    build_extension,
    build_subprotocol,
    build_www_authenticate_basic,
    parse_authorization_basic,
    parse_connection,
    parse_extension,
    parse_subprotocol,
    parse_upgrade,
)
from wsproto_core.types import ConnectionOption, UpgradeProtocol

__all__ = [
    "ConnectionOption",
    "UpgradeProtocol",
    "build_authorization_basic",
    "build_extension",
    "build_subprotocol",
    "build_www_authenticate_basic",
    "parse_authorization_basic",
    "parse_connection",
    "parse_extension",
    "parse_subprotocol",
    "parse_upgrade",
]
