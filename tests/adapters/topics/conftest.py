"""Coroutine functions are tests, on each runtime with coroutines: see ``tests/adapters/conftest.py``.

A test with the argument ``engine`` is held against each engine, on the runtimes on which its backplane works.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.adapters.runtimes import Runtime, make_runtime

from .engines import ENGINES, Engine, Memory, NatsServer, RedisServer

RUNTIMES = ("asyncio", "uvloop", "trio", "anyio-asyncio", "anyio-trio")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "engine" in metafunc.fixturenames:
        pairs = [(name, runtime) for name, kind in ENGINES.items() for runtime in kind.runtimes or RUNTIMES]
        metafunc.parametrize(("engine", "runtime"), pairs, indirect=True)
    elif "runtime" in metafunc.fixturenames and metafunc.module.__name__.endswith("test_topics"):
        metafunc.parametrize("runtime", RUNTIMES, indirect=True)


@pytest.fixture
def runtime(request: pytest.FixtureRequest) -> Runtime:
    return make_runtime(request.param)


@pytest.fixture(scope="session")
def redis() -> Iterator[RedisServer]:
    """A server for all tests that do not stop it."""
    server = RedisServer()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def nats() -> Iterator[NatsServer]:
    """A server for all tests that do not stop it."""
    server = NatsServer()
    yield server
    server.stop()


@pytest.fixture
def engine(request: pytest.FixtureRequest) -> Engine:
    engine: Engine = Memory() if request.param == "memory" else request.getfixturevalue(request.param)
    engine.clear()
    return engine
