"""The runtimes that the contract suite runs on, and what each of them can do.

A runtime is driven through one small asynchronous interface, :class:`.base.Runtime`, so that a test
is written once, as a coroutine function. Another runtime takes a module like :mod:`.on_trio`, and a
line in the table below.
"""

from __future__ import annotations

import importlib
from typing import NamedTuple

from .base import Cancelled, Runtime

__all__ = ["COROUTINES", "RUNTIMES", "SOCKETS", "Cancelled", "Runtime", "make_runtime"]

COROUTINES = "coroutines"
"""Handlers and iterables may be asynchronous, and any wait can be cancelled."""

SOCKETS = "sockets"
"""There are TCP, TLS and Unix sockets, and time passes by itself."""


FEATURES = "features"
"""There are redirects, proxies, reconnecting, broadcasts, HTTP Basic, and limits on connections."""

ALL = frozenset({COROUTINES, SOCKETS, FEATURES})


class Kind(NamedTuple):
    """How a runtime is made: by a class of a module here, given its name. And what it can do."""

    module: str
    class_name: str
    abilities: frozenset[str]


RUNTIMES = {
    "asyncio": Kind("on_asyncio", "Asyncio", ALL),
    "uvloop": Kind("on_asyncio", "Asyncio", ALL),
    "trio": Kind("on_trio", "Trio", ALL),
    "threading": Kind("on_threads", "Threads", frozenset({SOCKETS, FEATURES})),
    "anyio-asyncio": Kind("on_anyio", "Anyio", ALL),
    "anyio-trio": Kind("on_anyio", "Anyio", ALL),
    "memory": Kind("in_memory", "Memory", frozenset({COROUTINES})),
}


def make_runtime(name: str) -> Runtime:
    """Make a runtime; an adapter that cannot be imported is an error."""
    kind = RUNTIMES[name]
    module = importlib.import_module(f".{kind.module}", __name__)
    runtime: Runtime = getattr(module, kind.class_name)(name)
    return runtime
