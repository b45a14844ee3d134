"""Coroutine functions are tests, on each runtime: see ``tests/adapters/conftest.py`` and ``clients``."""

from __future__ import annotations

import pytest

from tests.adapters.runtimes import Runtime, make_runtime

from .clients import WithThreads


@pytest.fixture(params=["asyncio", "uvloop", "trio", "threading", "anyio-asyncio", "anyio-trio"])
def runtime(request: pytest.FixtureRequest) -> Runtime:
    return WithThreads() if request.param == "threading" else make_runtime(request.param)
