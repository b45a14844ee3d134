"""docs/migrating.md has a word on every public name of websockets that is not here by the same name."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import websockets
import websockets.exceptions

import adapters.asyncio
import adapters.threading
import adapters.trio
import wsproto_core
import wsproto_core.exceptions

PAGE = (Path(__file__).parents[2] / "docs" / "migrating.md").read_text(encoding="utf-8")
# What stands in backticks, without the programs.
EXPLAINED = set(
    re.findall(r"\w+", " ".join(re.findall(r"`([^`]+)`", re.sub(r"```.*?```", "", PAGE, flags=re.S))))
)

ADAPTERS = {"asyncio": adapters.asyncio, "sync": adapters.threading, "trio": adapters.trio}

# Of its classes, what its documentation has not got, nor this library.
INTERNAL = {
    "SHUTDOWN_POLLING_INTERVAL",
    "acknowledge_pending_pings",
    "acknowledge_pings",
    "close_socket",
    "close_stream",
    "data_received",
    "drain",
    "keepalive",
    "maybe_raise_legacy_warning",
    "pause_reading",
    "process_event",
    "recv_bufsize",
    "recv_events",
    "resume_reading",
    "send_context",
    "send_data",
    "set_connection_exc",
    "start_keepalive",
    "terminate_pending_pings",
}


def names_of(runtime: str) -> Iterator[tuple[str, Any]]:
    for part in "client", "server", "router":
        module = importlib.import_module(f"websockets.{runtime}.{part}")
        for name in module.__all__:
            yield name, getattr(module, name)


def options_of(adapter: Any) -> set[str]:
    """The options of all that is called by an adapter's users."""
    names: set[str] = set()
    for function in filter(inspect.isroutine, vars(adapter).values()):
        for value in inspect.unwrap(getattr(function, "__func__", function)).__globals__.values():
            if isinstance(value, type) and value.__name__.endswith("Options"):
                names |= value.__annotations__.keys()
    return names


@pytest.mark.parametrize("runtime", ADAPTERS)
def test_functions_and_their_arguments(runtime: str) -> None:
    adapter = ADAPTERS[runtime]
    options = options_of(adapter)
    for name, value in names_of(runtime):
        if name[0].isupper():
            continue
        assert hasattr(adapter, name) or name in EXPLAINED, name
        here = set(inspect.signature(getattr(adapter, name, lambda: None)).parameters)
        for parameter in inspect.signature(value).parameters.values():
            if parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
                assert parameter.name in options | here | EXPLAINED, f"{name}({parameter.name}=)"


def attributes_of(runtime: str) -> Iterator[tuple[Any, str, Any]]:
    """Our class, if there is one, and each public attribute of theirs, with its name."""
    for name, value in names_of(runtime):
        if name[0].isupper():
            for attribute in sorted(set(dir(value)) - INTERNAL):
                if not attribute.startswith("_"):
                    yield getattr(ADAPTERS[runtime], name), attribute, getattr(value, attribute)


@pytest.mark.parametrize("runtime", ADAPTERS)
def test_attributes_of_classes(runtime: str) -> None:
    for here, name, _ in attributes_of(runtime):
        assert hasattr(here, name) or name in EXPLAINED, f"{here.__name__}.{name}"


@pytest.mark.parametrize("runtime", ADAPTERS)
def test_arguments_of_methods(runtime: str) -> None:
    for here, name, theirs in attributes_of(runtime):
        ours = getattr(here, name, None)
        if inspect.isfunction(theirs) and ours is not None:
            known = EXPLAINED | set(inspect.signature(ours).parameters)
            for parameter in inspect.signature(theirs).parameters:
                assert parameter in known, f"{here.__name__}.{name}({parameter}=)"


@pytest.mark.parametrize("name", sorted({*websockets.__all__, *websockets.exceptions.__all__}))
def test_names_of_the_package(name: str) -> None:
    here = wsproto_core, wsproto_core.exceptions, adapters.asyncio
    assert any(hasattr(module, name) for module in here) or name in EXPLAINED
