"""Each documented name is where it is documented, and takes the arguments that are documented."""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from adapters import websockets
from adapters.websockets.auth import BasicAuthWebSocketServerProtocol

PACKAGE = "adapters.websockets"
PAGE = Path(__file__).parents[3] / "docs" / "websockets.md"

COMMON = (
    "ping_interval=20, ping_timeout=20, close_timeout=10, max_size=2 ** 20, max_queue=2 ** 5, "
    "read_limit=2 ** 16, write_limit=2 ** 16, loop=None"
)
SERVER = (
    "origins=None, extensions=None, subprotocols=None, extra_headers=None, process_request=None, "
    "select_subprotocol=None"
)
CLIENT = "origin=None, extensions=None, subprotocols=None, extra_headers=None"
DEFLATE = (
    "server_no_context_takeover=False, client_no_context_takeover=False, server_max_window_bits=None, "
    "client_max_window_bits=None, compress_settings=None"
)
HANDSHAKE = "origins=None, available_extensions=None, available_subprotocols=None, extra_headers=None"

# Of a class, the arguments with which it is called.
SIGNATURES = {
    "server.serve": f"ws_handler, host=None, port=None, *, create_protocol=None, {COMMON}, "
    f"compression='deflate', {SERVER}, **kwds",
    "server.unix_serve": "ws_handler, path, **kwargs",
    "server.WebSocketServer": "loop",
    "server.WebSocketServer.close": "",
    "server.WebSocketServer.wait_closed": "",
    "server.WebSocketServerProtocol": f"ws_handler, ws_server, *, {COMMON}, {SERVER}, **kwargs",
    "server.WebSocketServerProtocol.handshake": HANDSHAKE,
    "server.WebSocketServerProtocol.process_request": "path, request_headers",
    "server.WebSocketServerProtocol.select_subprotocol": "client_subprotocols, server_subprotocols",
    "client.connect": f"uri, *, create_protocol=None, {COMMON}, compression='deflate', {CLIENT}, **kwds",
    "client.unix_connect": "path, uri='ws://localhost/', **kwargs",
    "client.WebSocketClientProtocol": f"*, {COMMON}, {CLIENT}, **kwargs",
    "client.WebSocketClientProtocol.handshake": f"wsuri, {HANDSHAKE.replace('origins', 'origin')}",
    "protocol.WebSocketCommonProtocol": f"*, {COMMON.replace('close_timeout=10', 'close_timeout=None')}, "
    "host=None, port=None, secure=None, legacy_recv=False, timeout=None",
    "protocol.WebSocketCommonProtocol.close": "code=1000, reason=''",
    "protocol.WebSocketCommonProtocol.wait_closed": "",
    "protocol.WebSocketCommonProtocol.recv": "",
    "protocol.WebSocketCommonProtocol.send": "message",
    "protocol.WebSocketCommonProtocol.ping": "data=None",
    "protocol.WebSocketCommonProtocol.pong": "data=b''",
    "extensions.permessage_deflate.ServerPerMessageDeflateFactory": DEFLATE,
    "extensions.permessage_deflate.ClientPerMessageDeflateFactory": DEFLATE,
    "auth.basic_auth_protocol_factory": "realm, credentials=None, check_credentials=None, "
    "create_protocol=BasicAuthWebSocketServerProtocol",
    "auth.BasicAuthWebSocketServerProtocol": "*args, realm, check_credentials, **kwargs",
    "auth.BasicAuthWebSocketServerProtocol.process_request": "path, request_headers",
    "exceptions.ConnectionClosed": "code, reason",
    "exceptions.ConnectionClosedError": "code, reason",
    "exceptions.ConnectionClosedOK": "code, reason",
    "exceptions.InvalidHeader": "name, value=None",
    "exceptions.InvalidHeaderFormat": "name, error, header, pos",
    "exceptions.InvalidHeaderValue": "name, value=None",
    "exceptions.InvalidOrigin": "origin",
    "exceptions.InvalidUpgrade": "name, value=None",
    "exceptions.InvalidStatusCode": "status_code",
    "exceptions.DuplicateParameter": "name",
    "exceptions.InvalidParameterName": "name",
    "exceptions.InvalidParameterValue": "name, value",
    "exceptions.AbortHandshake": "status, headers, body=b''",
    "exceptions.RedirectHandshake": "uri",
    "exceptions.InvalidURI": "uri",
    "handshake.build_request": "headers",
    "handshake.check_request": "headers",
    "handshake.build_response": "headers, key",
    "handshake.check_response": "headers, key",
    "framing.Frame.check": "",
    "framing.Frame.read": "reader, *, mask, max_size=None, extensions=None",
    "framing.Frame.write": "writer, *, mask, extensions=None",
    "framing.prepare_data": "data",
    "framing.encode_data": "data",
    "framing.parse_close": "data",
    "framing.serialize_close": "code, reason",
    "uri.parse_uri": "uri",
    "headers.parse_connection": "header",
    "headers.parse_upgrade": "header",
    "headers.parse_extension": "header",
    "headers.build_extension": "extensions",
    "headers.parse_subprotocol": "header",
    "headers.build_subprotocol": "protocols",
    "headers.build_www_authenticate_basic": "realm",
    "headers.parse_authorization_basic": "header",
    "headers.build_authorization_basic": "username, password",
    "http.read_request": "stream",
    "http.read_response": "stream",
    "http.Headers.clear": "",
    "http.Headers.get_all": "key",
    "http.Headers.raw_items": "",
}

# Names without arguments, or with those of a class of the standard library.
OTHERS = [
    "server.WebSocketServer.sockets",
    "protocol.WebSocketCommonProtocol.local_address",
    "protocol.WebSocketCommonProtocol.remote_address",
    "protocol.WebSocketCommonProtocol.open",
    "protocol.WebSocketCommonProtocol.closed",
    "protocol.WebSocketCommonProtocol.path",
    "protocol.WebSocketCommonProtocol.request_headers",
    "protocol.WebSocketCommonProtocol.response_headers",
    "protocol.WebSocketCommonProtocol.subprotocol",
    "protocol.WebSocketCommonProtocol.close_code",
    "protocol.WebSocketCommonProtocol.close_reason",
    "auth.BasicAuthWebSocketServerProtocol.username",
    "server.Serve",
    "client.Connect",
    "typing.Data",
    "typing.Origin",
    "typing.Subprotocol",
    "typing.ConnectionOption",
    "typing.UpgradeProtocol",
    "extensions.base.Extension",
    "extensions.base.ClientExtensionFactory",
    "extensions.base.ServerExtensionFactory",
    "exceptions.WebSocketException",
    "exceptions.InvalidHandshake",
    "exceptions.SecurityError",
    "exceptions.InvalidMessage",
    "exceptions.NegotiationError",
    "exceptions.InvalidState",
    "exceptions.PayloadTooBig",
    "exceptions.ProtocolError",
    "exceptions.WebSocketProtocolError",
    "framing.Frame",
    "framing.OP_CONT",
    "framing.OP_TEXT",
    "framing.OP_BINARY",
    "framing.OP_CLOSE",
    "framing.OP_PING",
    "framing.OP_PONG",
    "uri.WebSocketURI",
    "http.Headers",
    "http.MultipleValuesError",
]

MODULES = [
    "auth",
    "client",
    "exceptions",
    "extensions.base",
    "extensions.permessage_deflate",
    "framing",
    "handshake",
    "headers",
    "http",
    "protocol",
    "server",
    "typing",
    "uri",
]


def module_of(name: str) -> str:
    """The part of a documented name that is a module."""
    return max((module for module in MODULES if name.startswith(f"{module}.")), key=len)


def find(name: str) -> Any:
    value: Any = importlib.import_module(f"{PACKAGE}.{module_of(name)}")
    for part in name.removeprefix(f"{module_of(name)}.").split("."):
        value = getattr(value, part)
    return value


def parameters_of(function: Any) -> list[inspect.Parameter]:
    parameters = list(inspect.signature(function).parameters.values())
    return [parameter for parameter in parameters if parameter.name != "self"]


def documented_parameters(signature: str) -> list[inspect.Parameter]:
    names: dict[str, Any] = {"BasicAuthWebSocketServerProtocol": BasicAuthWebSocketServerProtocol}
    exec(f"def function({signature}): pass", names)
    return parameters_of(names["function"])


@pytest.mark.parametrize("name", [*SIGNATURES, *OTHERS])
def test_name_is_there(name: str) -> None:
    assert find(name) is not inspect.Parameter.empty


@pytest.mark.parametrize(("name", "signature"), SIGNATURES.items(), ids=SIGNATURES.keys())
def test_arguments_and_defaults(name: str, signature: str) -> None:
    documented = documented_parameters(signature)
    ours = {parameter.name: parameter for parameter in parameters_of(find(name))}
    order = [
        parameter.name for parameter in ours.values() if parameter.kind is parameter.POSITIONAL_OR_KEYWORD
    ]
    for position, parameter in enumerate(documented):
        if parameter.kind is parameter.VAR_KEYWORD:
            assert any(own.kind is own.VAR_KEYWORD for own in ours.values())
            continue
        own = ours[parameter.name]
        assert own.kind is parameter.kind
        if parameter.default is not parameter.empty:
            assert own.default == parameter.default
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD:
            assert order[position] == parameter.name
    # What is more than documented need not be given.
    for name in ours.keys() - {parameter.name for parameter in documented}:
        own = ours[name]
        assert own.default is not own.empty or own.kind in (own.VAR_KEYWORD, own.VAR_POSITIONAL)


@pytest.mark.parametrize("name", [*SIGNATURES, *OTHERS])
def test_names_of_the_package(name: str) -> None:
    """All can be imported from the package, but those of two modules."""
    module = module_of(name)
    first = name.removeprefix(f"{module}.").split(".")[0]
    if module in ("headers", "http"):
        assert not hasattr(websockets, first)
    else:
        assert getattr(websockets, first) is find(f"{module}.{first}")
        assert first in websockets.__all__


@pytest.mark.parametrize("name", MODULES)
def test_modules(name: str) -> None:
    """They are attributes of the package without an import, and list what they offer."""
    module: Any = websockets
    for part in name.split("."):
        module = getattr(module, part)
    assert module is importlib.import_module(f"{PACKAGE}.{name}")
    assert module.__doc__
    for public in module.__all__:
        assert hasattr(module, public)


def test_star_import() -> None:
    names: dict[str, Any] = {}
    exec("from adapters.websockets import *", names)
    assert names["connect"] is websockets.connect
    assert "Headers" not in names


def test_star_import_replaces_no_module() -> None:
    names: dict[str, Any] = {}
    exec("import asyncio, http, typing\nfrom adapters.websockets import *", names)
    for module in "http", "asyncio", "typing":
        assert names[module] is sys.modules[module]
    assert not [name for name in websockets.__all__ if isinstance(names[name], ModuleType)]


# The documentation


def documented_names() -> list[str]:
    """The names in the first column of the tables on the page about the facade."""
    tables = PAGE.read_text(encoding="utf-8").split("\n## All names\n")[1]
    rows = [line.split(" | ")[0] for line in tables.splitlines() if line.startswith("| `")]
    return [name for row in rows for name in re.findall(r"`([^`]+)`", row)]


def test_the_page_has_every_name_once() -> None:
    assert sorted(documented_names()) == sorted([*SIGNATURES, *OTHERS])
