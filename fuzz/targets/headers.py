"""The grammars of header values: any text in the place of a value.

- A parser returns, or raises an exception of the opening handshake. What it returns are tokens.
- What a parser returns can be built again, and parsing that gives the same.
- A builder returns what can be parsed, with the same result, or raises ``ValueError``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from fuzz.source import Source
from wsproto_core.exceptions import InvalidHeader
from wsproto_core.http.grammar import (
    build_authorization_basic,
    build_extension,
    build_host,
    build_subprotocol,
    build_www_authenticate_basic,
    parse_authorization_basic,
    parse_connection,
    parse_extension,
    parse_host,
    parse_subprotocol,
    parse_upgrade,
)

TOKEN = re.compile(r"[-!#$%&'*+.^_`|~0-9A-Za-z]+")
PROTOCOL = re.compile(rf"{TOKEN.pattern}(?:/{TOKEN.pattern})?")


def fuzz(data: bytes) -> None:
    source = Source(data)
    check = source.choice(CHECKS)
    check(source)


def header_value(source: Source) -> str:
    """Return the rest as the value of a header: bytes that are not ASCII are surrogate escapes."""
    return source.rest().decode("ascii", "surrogateescape")


def parsed(parse: Callable[[str], Any], value: str) -> Any:
    """Return what a parser makes of a value; ``None`` if it refuses it."""
    try:
        return parse(value)
    except InvalidHeader as error:
        message = str(error)
        assert message.isprintable(), "the message has control characters"
        return None


def check_connection(source: Source) -> None:
    options = parsed(parse_connection, header_value(source))
    if options is not None:
        assert options
        assert all(TOKEN.fullmatch(option) for option in options)
        assert parse_connection(", ".join(options)) == options


def check_upgrade(source: Source) -> None:
    protocols = parsed(parse_upgrade, header_value(source))
    if protocols is not None:
        assert protocols
        assert all(PROTOCOL.fullmatch(protocol) for protocol in protocols)
        assert parse_upgrade(",".join(protocols)) == protocols


def check_subprotocol(source: Source) -> None:
    protocols = parsed(parse_subprotocol, header_value(source))
    if protocols is None:
        return
    assert protocols
    assert all(TOKEN.fullmatch(protocol) for protocol in protocols)
    if len(set(protocols)) == len(protocols):
        assert parse_subprotocol(build_subprotocol(protocols)) == protocols


def check_extension(source: Source) -> None:
    extensions = parsed(parse_extension, header_value(source))
    if extensions is None:
        return
    assert extensions
    for name, parameters in extensions:
        assert TOKEN.fullmatch(name)
        for parameter, value in parameters:
            assert TOKEN.fullmatch(parameter)
            assert value is None or TOKEN.fullmatch(value)
    assert parse_extension(build_extension(extensions)) == extensions


def check_host(source: Source) -> None:
    result = parsed(parse_host, header_value(source))
    if result is None:
        return
    host, port = result
    assert host
    assert host.isascii()
    assert not set(host) & set("/?#@ []")
    assert port is None or 0 <= port <= 65535
    assert parse_host(build_host(host, 80 if port is None else port, False)) in (result, (host, None))


def check_credentials(source: Source) -> None:
    result = parsed(parse_authorization_basic, header_value(source))
    if result is not None:
        assert parse_authorization_basic(build_authorization_basic(*result)) == result


def check_built_credentials(source: Source) -> None:
    pair = source.text(300), source.rest().decode("utf-8", "surrogateescape")
    try:
        header = build_authorization_basic(*pair)
    except ValueError:
        return
    assert re.fullmatch(r"Basic [A-Za-z0-9+/]+=*", header)
    assert parse_authorization_basic(header) == pair


def check_built_host(source: Source) -> None:
    port, secure = source.number(0, 0xFFFF), source.flag()
    host = source.rest().decode("utf-8", "surrogateescape")
    try:
        header = build_host(host, port, secure)
    except ValueError:
        return
    default = 443 if secure else 80
    assert parse_host(header) == (
        host.partition("%")[0] if ":" in host else host,
        None if port == default else port,
    )


def check_built_lists(source: Source) -> None:
    names = source.rest().decode("utf-8", "surrogateescape").split("\n")
    try:
        header = build_subprotocol(names)
    except ValueError:
        assert len(set(names)) < len(names) or not all(TOKEN.fullmatch(name) for name in names)
    else:
        assert parse_subprotocol(header) == names
    extensions: Any = [(name, [(name, None), (name, name)]) for name in names]
    try:
        header = build_extension(extensions)
    except ValueError:
        assert not all(TOKEN.fullmatch(name) for name in names)
    else:
        assert parse_extension(header) == extensions


def check_realm(source: Source) -> None:
    realm = source.rest().decode("utf-8", "replace")
    try:
        header = build_www_authenticate_basic(realm)
    except ValueError:
        return
    value = header.encode("ascii", "surrogateescape").decode()
    match = re.fullmatch(r'Basic realm="((?:[^"\\]|\\.)*)", charset="UTF-8"', value, re.DOTALL)
    assert match is not None
    assert re.sub(r"\\(.)", r"\1", match[1], flags=re.DOTALL) == realm


CHECKS = (
    check_connection,
    check_upgrade,
    check_subprotocol,
    check_extension,
    check_host,
    check_credentials,
    check_built_credentials,
    check_built_host,
    check_built_lists,
    check_realm,
)
"""What the first byte chooses among."""
