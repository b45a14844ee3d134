"""Coroutine functions are tests, on each runtime with coroutines: see ``tests/adapters/conftest.py``."""

from __future__ import annotations

import pytest

from tests.adapters.runtimes import Runtime, make_runtime


@pytest.fixture(params=["asyncio", "uvloop", "trio", "anyio-asyncio", "anyio-trio"])
def runtime(request: pytest.FixtureRequest) -> Runtime:
    return make_runtime(request.param)
