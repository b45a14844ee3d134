"""The contract: each test here runs on each runtime that is able to, by the fixture ``runtime``.

``@pytest.mark.needs("coroutines")`` (or ``"sockets"``) says what a test asks of a runtime. One that
has not got that is left out when the tests are collected, so that no test is ever skipped.
"""

from __future__ import annotations

import pytest

from tests.adapters.runtimes import RUNTIMES, Runtime, make_runtime


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs(*abilities): what a test needs of a runtime")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items[:] = [item for item in items if is_able(item)]


def is_able(item: pytest.Item) -> bool:
    """Whether a test's runtime has what the test needs."""
    runtime = item.callspec.params.get("runtime") if hasattr(item, "callspec") else None
    needs = {ability for mark in item.iter_markers("needs") for ability in mark.args}
    return runtime not in RUNTIMES or needs <= RUNTIMES[runtime].abilities


@pytest.fixture(params=RUNTIMES)
def runtime(request: pytest.FixtureRequest) -> Runtime:
    return make_runtime(request.param)
