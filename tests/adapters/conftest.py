"""Coroutine functions are tests, and run once on each event loop: see :mod:`.runtime`."""

from __future__ import annotations

import gc
import inspect

import pytest

from .runtime import LOOPS, Runtime


@pytest.fixture(scope="session", autouse=True)
def _small_collections() -> None:
    # Each test ends with a garbage collection, which has little to do if what is there already
    # does not count.
    gc.collect()
    gc.freeze()


@pytest.fixture(params=list(LOOPS))
def runtime(request: pytest.FixtureRequest) -> Runtime:
    return Runtime(request.param)


def pytest_pycollect_makeitem(collector: pytest.Collector, name: str, obj: object) -> None:
    if inspect.iscoroutinefunction(obj) and name.startswith("test_"):
        pytest.mark.usefixtures("runtime")(obj)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    runtime = pyfuncitem.funcargs["runtime"]
    runtime.run(pyfuncitem.obj(**arguments))
    return True
