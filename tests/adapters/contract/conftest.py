"""The contract: what a connection and a server do, on each runtime, by the fixture ``runtime``.

A module is about one feature, which its docstring names before the first colon; runtime and feature are
properties of each test, of which ``docs/features.py`` makes a table of what works where.

``@pytest.mark.needs("coroutines")`` (or ``"sockets"``) says what a test asks of a runtime. One that
has not got that is left out when the tests are collected ("deselected"), so that no test is ever skipped.

``RUNTIMES="trio threading"`` in the environment chooses among the runtimes.
"""

from __future__ import annotations

import os

import pytest

from tests.adapters.runtimes import RUNTIMES, Runtime, make_runtime

CHOSEN = os.environ.get("RUNTIMES", " ".join(RUNTIMES)).split()
assert set(CHOSEN) <= set(RUNTIMES), f"RUNTIMES must be some of: {' '.join(RUNTIMES)}"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        runtime = runtime_of(item)
        if runtime is not None:
            line = (item.getparent(pytest.Module).obj.__doc__ or "").partition("\n")[0]
            feature, _, details = line.partition(": ")
            item.user_properties += [("runtime", runtime), ("feature", feature), ("details", details)]
    left_out = [item for item in items if lacking(item)]
    if left_out:
        items[:] = [item for item in items if not lacking(item)]
        config.hook.pytest_deselected(items=left_out)


def runtime_of(item: pytest.Item) -> str | None:
    """The runtime that a test of the contract runs on; ``None`` for other tests."""
    if not isinstance(item, pytest.Function) or "contract" not in item.path.parts:
        return None
    return item.callspec.params.get("runtime") if hasattr(item, "callspec") else None


def lacking(item: pytest.Item) -> set[str]:
    """What a test needs that its runtime has not got."""
    runtime = runtime_of(item)
    needs = {ability for mark in item.iter_markers("needs") for ability in mark.args}
    return set() if runtime is None else needs - RUNTIMES[runtime].abilities


@pytest.fixture(params=CHOSEN)
def runtime(request: pytest.FixtureRequest) -> Runtime:
    return make_runtime(request.param)
