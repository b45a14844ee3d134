"""The API: the same names, arguments and defaults on every runtime, but for forced differences."""

from __future__ import annotations

import importlib
import inspect
import socket
from collections.abc import Callable
from typing import Any

import pytest

from adapters.shared import public
from adapters.shared.signatures import option_names
from tests.adapters.runtimes import Runtime

ADAPTERS = {
    name: importlib.import_module(f"adapters.{name}") for name in ("asyncio", "trio", "threading", "anyio")
}

on_each_adapter = pytest.mark.parametrize("adapter", ADAPTERS)

# Everything that is exported: functions with their arguments, and classes.

FUNCTIONS = {
    "basic_auth_protocol_factory": "realm, credentials=None, check_credentials=None, "
    "create_protocol=BasicAuthWebSocketServerProtocol",
    "broadcast": "connections, message, policy='skip'",
    "connect": "uri, **options",
    "prepare": "message, *, text=None, compress=None",
    "reconnect": "uri, **options",
    "route": "url_map, host=None, port=None, *, server_name=None, ssl=None, create_router=None, **options",
    "serve": "handler, host=None, port=None, **options",
    "unix_connect": "path, uri='ws://localhost/', **options",
    "unix_route": "url_map, path=None, *, server_name=None, ssl=None, create_router=None, **options",
    "unix_serve": "handler, path=None, **options",
}

CLASSES = {
    "BasicAuthWebSocketServerProtocol",
    "Broadcast",
    "ClientConnection",
    "Connect",
    "Connection",
    "PreparedMessage",
    "Reconnect",
    "Router",
    "Serve",
    "Server",
    "ServerConnection",
    "TLSInfo",
}

MORE = {
    # A stream that the program has opened itself: what it is depends on the runtime.
    "trio": {"serve_stream"},
    "anyio": {"serve_stream"},
    # Nothing can be awaited, so that a ping is waited for by a method.
    "threading": {"PongWaiter"},
}

FEWER = {
    # It listens when it is called, and so returns the server.
    "threading": {"Serve"},
}

# The members of classes: properties, and methods with their arguments.

PROPERTY = "a property"

CONNECTION = {
    "close": "code=1000, reason=''",
    "close_code": PROPERTY,
    "close_reason": PROPERTY,
    "closed": PROPERTY,
    "extensions": PROPERTY,
    "id": PROPERTY,
    "latency": PROPERTY,
    "log_frames": "logger=None",
    "open": PROPERTY,
    "path": PROPERTY,
    "ping": "data=None",
    "pong": "data=b''",
    "recv": "decode=None",
    "recv_streaming": "decode=None",
    "request": PROPERTY,
    "request_headers": PROPERTY,
    "response": PROPERTY,
    "response_headers": PROPERTY,
    "send": "message, text=None, compress=None",
    "state": PROPERTY,
    "statistics": PROPERTY,
    "subprotocol": PROPERTY,
    "wait_closed": "",
}

SERVER_CONNECTION = {
    **CONNECTION,
    "process_request": "path, request_headers",
    "select_subprotocol": "client_subprotocols, server_subprotocols",
}

SERVER = {
    "connections": PROPERTY,
    "close": "close_connections=True, code=1001, reason='', drain=0",
    "is_serving": "",
    "port": PROPERTY,
    "serve_forever": "",
    "sockets": PROPERTY,
    "wait_closed": "",
}

MEMBERS = {
    "BasicAuthWebSocketServerProtocol": SERVER_CONNECTION,
    "ClientConnection": CONNECTION,
    "Connection": CONNECTION,
    "Server": SERVER,
    "ServerConnection": SERVER_CONNECTION,
}

# What takes time: coroutine functions, unless there are none.
WAITING = {"close", "ping", "pong", "recv", "send", "serve_forever", "wait_closed"}

# Members beyond those above: what a runtime has of its own, and what an adapter's parts ask of each other.
MORE_MEMBERS = {
    "asyncio": {
        "Connection": {
            "abort",
            "message_received",
            # of asyncio.BufferedProtocol
            "buffer_updated",
            "connection_lost",
            "connection_made",
            "eof_received",
            "get_buffer",
            "pause_writing",
            "resume_writing",
        },
        "Server": {"start_serving"},
    },
    "trio": {"Connection": set(), "Server": set()},
    "anyio": {"Connection": set(), "Server": set()},
    "threading": {
        "Connection": {"abort"},
        "Server": {"start_serving", "shutdown"},
    },
}

# Arguments beyond those above, each of which may be left out.
MORE_ARGUMENTS: dict[str, dict[str, str]] = {
    "asyncio": {},
    "trio": {
        **dict.fromkeys(("connect", "unix_connect"), "nursery"),
        **dict.fromkeys(("serve", "unix_serve", "route", "unix_route"), "task_status"),
    },
    "anyio": {
        **dict.fromkeys(("connect", "unix_connect"), "task_group"),
        **dict.fromkeys(("serve", "unix_serve", "route", "unix_route"), "task_status"),
    },
    "threading": dict.fromkeys(("recv", "recv_streaming", "send", "wait_closed"), "timeout"),
}


class Written(str):
    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def default_of(parameter: inspect.Parameter) -> object:
    """A default as it is expected above: a member of an enumeration is what it is equal to."""
    match parameter.default:
        case type() as default if default is not inspect.Parameter.empty:
            return Written(default.__name__)
        case int() as default if not isinstance(default, bool):
            return int(default)
        case default:
            return default


def arguments(function: Callable[..., Any], more: str | None) -> str:
    """A function's arguments and defaults as they are expected above, but for one, if it has more.

    Options are shown with their names: instead of these, there is ``**options`` here.
    """
    signature = inspect.signature(function)
    assert more is None or signature.parameters[more].default is None
    options = set(option_names(function))
    parameters = [
        parameter.replace(annotation=inspect.Parameter.empty, default=default_of(parameter))
        for name, parameter in signature.parameters.items()
        if name not in ("self", more) and name not in options
    ]
    if options:
        parameters.append(inspect.Parameter("options", inspect.Parameter.VAR_KEYWORD))
    written = str(signature.replace(parameters=parameters, return_annotation=inspect.Signature.empty))
    return written.removeprefix("(").removesuffix(")")


@on_each_adapter
def test_exports(adapter: str) -> None:
    expected = FUNCTIONS.keys() | CLASSES | MORE.get(adapter, set()) | set(public.__all__)
    expected -= FEWER.get(adapter, set())
    module = ADAPTERS[adapter]
    assert set(module.__all__) == expected
    for name in expected:
        assert getattr(module, name).__doc__, name


@on_each_adapter
@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(adapter: str, name: str) -> None:
    function = getattr(ADAPTERS[adapter], name)
    assert arguments(function, MORE_ARGUMENTS[adapter].get(name)) == FUNCTIONS[name]


@on_each_adapter
@pytest.mark.parametrize("class_name", MEMBERS)
def test_members(adapter: str, class_name: str) -> None:
    kind = getattr(ADAPTERS[adapter], class_name)
    for name, expected in MEMBERS[class_name].items():
        member = inspect.getattr_static(kind, name)
        assert member.__doc__, name
        if isinstance(member, property):
            assert expected == PROPERTY, name
            continue
        assert arguments(member, MORE_ARGUMENTS[adapter].get(name)) == expected, name
        if name != "process_request":  # which may be either
            waits = name in WAITING - ({"close"} if class_name == "Server" else set())
            assert inspect.iscoroutinefunction(member) == (waits and adapter != "threading"), name


@on_each_adapter
@pytest.mark.parametrize("class_name", ["Connection", "Server"])
def test_there_are_no_other_members(adapter: str, class_name: str) -> None:
    kind = getattr(ADAPTERS[adapter], class_name)
    public = {name for name in dir(kind) if not name.startswith("_")}
    # Those that slots show on the class are among them.
    attributes = {"addresses", "local_address", "remote_address", "runtime", "tls"}
    attributes |= {"logger", "protocol", "transport"}
    attributes |= {"logger", "protocol", "transport"}
    expected = MEMBERS[class_name].keys() | MORE_MEMBERS[adapter][class_name]
    assert public - attributes == expected


@on_each_adapter
def test_connections_are_of_one_class(adapter: str) -> None:
    module = ADAPTERS[adapter]
    assert issubclass(module.ClientConnection, module.Connection)
    assert issubclass(module.ServerConnection, module.Connection)
    assert issubclass(module.BasicAuthWebSocketServerProtocol, module.ServerConnection)
    for kind in (module.Connection, module.Reconnect):
        for name in ("__enter__", "__exit__") if adapter == "threading" else ("__aenter__", "__aexit__"):
            assert hasattr(kind, name)
    for name in ("__iter__", "__next__") if adapter == "threading" else ("__aiter__", "__anext__"):
        assert hasattr(module.Connection, name)


@on_each_adapter
@pytest.mark.parametrize(
    "name", ["ssl", "server_hostname", "sock", "proxy_ssl", "proxy_server_hostname", "unknown"]
)
def test_options_of_streams(adapter: str, name: str) -> None:
    connect = ADAPTERS[adapter].connect
    if name == "unknown":
        with pytest.raises(TypeError, match=name):
            connect("ws://localhost", unknown=None)
    else:
        connect("ws://localhost", **{name: None})


@pytest.mark.needs("sockets")
async def test_options_of_listeners(runtime: Runtime) -> None:
    options = {"ssl": None, "family": socket.AF_INET, "backlog": 10, "reuse_port": True}
    async with runtime.serving(**options) as (_, uri), runtime.connect(uri) as client:
        await runtime.check_echo(client)


@pytest.mark.needs("sockets")
async def test_attributes_of_connections(runtime: Runtime) -> None:
    names = {name for name, what in CONNECTION.items() if what == PROPERTY}
    names |= {"local_address", "logger", "protocol", "remote_address", "tls", "transport"}
    async with runtime.connected() as pair:
        for websocket in pair:
            unknown = {name for name in names if getattr(websocket, name) is None}
            assert unknown == {"close_code", "close_reason", "subprotocol", "tls"}


@pytest.mark.needs("sockets")
async def test_attributes_of_servers(runtime: Runtime) -> None:
    async with runtime.serving() as (server, uri), runtime.connect(uri) as client:
        await runtime.check_echo(client)
        assert server.is_serving()
        assert len(server.sockets) >= 1
        assert len(server.connections) == 1
        assert not server.closing
        await client.close()
        server.close()
        await server.wait_closed()
        assert server.closing
        assert not server.is_serving()
        assert (server.sockets, len(server.connections)) == ((), 0)
