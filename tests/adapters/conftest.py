"""Coroutine functions are tests, and run on a runtime: see :mod:`.runtimes`.

Those in this folder are about asyncio alone, and run on both of its event loops. What all adapters
have in common is in the folder `contract`.
"""

from __future__ import annotations

import inspect

import pytest

from .runtimes import Runtime, make_runtime


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs(*abilities): what a test of the contract needs of a runtime")


@pytest.fixture(params=["asyncio", "uvloop"])
def runtime(request: pytest.FixtureRequest) -> Runtime:
    return make_runtime(request.param)


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
