"""The contract: each test here runs on each runtime that is able to, by the fixture ``runtime``.

``@pytest.mark.needs("coroutines")`` (or ``"sockets"``) says what a test asks of a runtime. One that
has not got that is left out when the tests are collected, so that no test is ever skipped.
"""

from __future__ import annotations

import importlib.util

import pytest

from tests.adapters.runtimes import RUNTIMES, Runtime, make_runtime


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs(*abilities): what a test needs of a runtime")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "runtime" in metafunc.fixturenames:
        needs = {ability for mark in metafunc.definition.iter_markers("needs") for ability in mark.args}
        names = [
            name
            for name, kind in RUNTIMES.items()
            if needs <= kind.abilities
            and (not kind.adapter or importlib.util.find_spec(f"adapters.{kind.adapter}"))
        ]
        metafunc.parametrize("runtime", names, indirect=True)


@pytest.fixture
def runtime(request: pytest.FixtureRequest) -> Runtime:
    return make_runtime(request.param)
