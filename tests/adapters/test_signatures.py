"""Every option is in the signature and in the docstring of each function that takes it."""

from __future__ import annotations

import inspect
import pydoc
import socket
import types
from collections.abc import Callable
from typing import Any

import pytest

import adapters.anyio
import adapters.asyncio
import adapters.threading
import adapters.trio
from adapters.anyio.client import AnyioConnectOptions
from adapters.asyncio.client import AsyncioConnectOptions
from adapters.asyncio.server import AsyncioServeOptions
from adapters.shared.listening import BACKLOG
from adapters.shared.options import ConnectOptions, ServeOptions
from adapters.shared.signatures import ALL_OPTIONS, option_names, show_options
from adapters.shared.stream_options import STREAM_OPTIONS, TCP_CLIENT, TCP_SERVER
from adapters.structured.server import StructuredServeOptions
from adapters.threading.client import ThreadingConnectOptions
from adapters.threading.server import MAX_THREADS, ThreadingServeOptions
from adapters.trio.client import TrioConnectOptions

ADAPTERS: list[tuple[types.ModuleType, type, type]] = [
    (adapters.asyncio, AsyncioConnectOptions, AsyncioServeOptions),
    (adapters.trio, TrioConnectOptions, StructuredServeOptions),
    (adapters.anyio, AnyioConnectOptions, StructuredServeOptions),
    (adapters.threading, ThreadingConnectOptions, ThreadingServeOptions),
]
BY_PATH = {*TCP_CLIENT, *TCP_SERVER, "host", "port"}


def functions() -> list[Any]:
    found = []
    for adapter, client, server in ADAPTERS:
        for name, declared, left_out in (
            ("connect", client, set()),
            ("unix_connect", client, BY_PATH),
            ("reconnect", client, {"sock", "stream"}),
            ("serve", server, set()),
            ("unix_serve", server, BY_PATH),
            ("route", server, {"ssl"}),
            ("unix_route", server, BY_PATH | {"ssl"}),
        ):
            names = [each for each in declared.__annotations__ if each not in left_out]
            found.append(pytest.param(getattr(adapter, name), names, id=f"{adapter.__name__}.{name}"))
    return found


@pytest.mark.parametrize(("function", "names"), functions())
def test_every_option_is_shown_with_its_default(function: Callable[..., Any], names: list[str]) -> None:
    signature = inspect.signature(function)
    assert option_names(function) == names
    for name in names:
        parameter = signature.parameters[name]
        assert parameter.kind is parameter.KEYWORD_ONLY
        assert parameter.default is ALL_OPTIONS[name].default
        assert isinstance(parameter.annotation, str)
    assert all(each.kind is not each.VAR_KEYWORD for each in signature.parameters.values())
    if "route" not in function.__name__:
        documentation = inspect.getdoc(function) or ""
        assert [name for name in names if f"\n    {name}: " not in documentation] == []


@pytest.mark.parametrize(("function", "names"), functions())
def test_help(function: Callable[..., Any], names: list[str]) -> None:
    title, _, rest = pydoc.render_doc(function, renderer=pydoc.plaintext).partition("\n\n")
    assert "function" in title
    assert " method of " not in rest.partition("\n")[0]


def test_streams() -> None:
    for adapter in (adapters.trio, adapters.anyio):
        assert option_names(adapter.serve_stream) == list(ServeOptions.__annotations__)


def test_every_option_of_streams_is_declared_once() -> None:
    declared = {name for _, *kinds in ADAPTERS for kind in kinds for name in kind.__annotations__}
    assert (
        declared - {*ConnectOptions.__annotations__, *ServeOptions.__annotations__} == STREAM_OPTIONS.keys()
    )


def test_options_of_streams_are_documented() -> None:
    for name, option in STREAM_OPTIONS.items():
        assert option.documentation.endswith("."), name
        assert option.documentation[0].isupper(), name
        if isinstance(option.default, int | float | str):
            option.check(name, option.default)


def test_defaults_of_streams() -> None:
    assert STREAM_OPTIONS["max_threads"].default == MAX_THREADS
    assert repr(STREAM_OPTIONS["backlog"].default) == "socket.SOMAXCONN"
    assert BACKLOG == socket.SOMAXCONN


def test_what_is_shown_is_what_is_called() -> None:
    @show_options(ServeOptions)
    def function(handler: Any, *, logger: Any = 1, **options: Any) -> Any:
        return handler, logger, options

    assert function(1, max_size=2) == (1, 1, {"max_size": 2})
    # A parameter of the function stays as it is.
    assert inspect.signature(function).parameters["logger"].default == 1
    assert "logger" not in option_names(function)
