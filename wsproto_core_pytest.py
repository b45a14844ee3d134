"""The plugin for pytest: fixtures on the runtime under test.

pytest loads this module in each environment where the package is installed, so it imports the tools only when
a test asks for a fixture. It is in no package, so that it can be imported without the core, and without a
package ``adapters``, of which a test suite may have its own.

The fixtures are functions that return context managers, since the block of a test is what begins and ends a
connection: so they work with pytest-asyncio, pytest-trio and anyio's plugin alike.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from importlib import import_module
from typing import Any

import pytest


@pytest.fixture
def ws_runtime(request: pytest.FixtureRequest) -> str:
    """The adapter whose connections ``ws_server`` and ``ws_pair`` make.

    By default, it is ``"threading"`` for a test that is a plain function, ``"trio"`` for one that pytest-trio
    runs, ``"anyio"`` for one that anyio's plugin runs, and ``"asyncio"`` for other coroutine functions. A
    fixture of this name in a test suite may choose another one.
    """
    if not inspect.iscoroutinefunction(request.function):
        return "threading"
    if request.node.get_closest_marker("trio"):
        return "trio"
    return "anyio" if "anyio_backend" in request.fixturenames else "asyncio"


def _tools(runtime: str) -> Any:
    """Return the module for an adapter."""
    if runtime not in ("asyncio", "trio", "anyio", "threading"):
        raise ValueError(f"ws_runtime is 'asyncio', 'trio', 'anyio' or 'threading', not {runtime!r}")
    return _import(f"testing.{runtime}")


def _import(module: str) -> Any:
    """Import a module of the adapters, by the name that the test suite has imported.

    By default, and if it has imported both, the name is ``adapters``. The test suite may have an ``adapters``
    of its own, from which the import fails.
    """
    names = sorted(
        ("adapters", "wsproto_core.adapters"), key=lambda name: f"{name}.shared.connection" not in sys.modules
    )
    with suppress(ImportError):
        return import_module(f"{names[0]}.{module}")
    return import_module(f"{names[1]}.{module}")


@pytest.fixture
def ws_server(ws_runtime: str) -> Any:
    """The function ``handler_server`` of the adapter under test: a handler on a free port."""
    return _tools(ws_runtime).handler_server


@pytest.fixture
def ws_pair(ws_runtime: str) -> Any:
    """The function ``connection_pair`` of the adapter under test: both ends of a connection."""
    return _tools(ws_runtime).connection_pair


@pytest.fixture
def asgi_ws() -> Any:
    """The function ``asgi_client``: a client of an ASGI application, on asyncio and trio."""
    return _import("testing.asgi").asgi_client


@pytest.fixture
def virtual_time(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Let the test run in virtual time: waits end at once when nothing else happens.

    The value is of no use to a test, which reads the clock of its runtime.
    """
    if request.node.get_closest_marker("trio"):
        # pytest-trio uses the clock that is the value of a fixture.
        from trio.testing import MockClock

        yield MockClock(autojump_threshold=0)
        return
    test = request.node.obj
    if not inspect.iscoroutinefunction(test):
        raise TypeError("virtual_time needs a coroutine function as a test: threads have the system's time")
    request.node.obj = _in_virtual_time(test)
    yield
    request.node.obj = test


def _in_virtual_time(test: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    @functools.wraps(test)
    async def run(**arguments: Any) -> None:
        if _import("shared.wrong_runtime").running_runtime() == "trio":
            _check_trio_clock()
            await test(**arguments)
            return
        with _import("testing.asyncio").virtual_time():
            await test(**arguments)

    return run


def _check_trio_clock() -> None:
    """Check that anyio's plugin runs trio in virtual time: its clock cannot be exchanged later."""
    from trio.lowlevel import current_clock
    from trio.testing import MockClock

    if not isinstance(current_clock(), MockClock):
        raise RuntimeError(
            "virtual_time needs trio's MockClock: let the fixture anyio_backend return "
            '("trio", {"clock": trio.testing.MockClock(autojump_threshold=0)})'
        )
