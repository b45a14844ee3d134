"""One import gives a program what it needs, on every adapter."""

from __future__ import annotations

import types
from typing import Any

import pytest

import adapters.anyio
import adapters.asyncio
import adapters.threading
import adapters.trio
import wsproto_core
from wsproto_core import exceptions

ADAPTERS = [adapters.anyio, adapters.asyncio, adapters.threading, adapters.trio]


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_what_every_adapter_exports(adapter: types.ModuleType) -> None:
    shared = ["CloseCode", "Headers", "Request", "Response", "State", "__version__", "make_response"]
    for name in [*shared, *exceptions.__all__]:
        assert getattr(adapter, name) is getattr(wsproto_core, name)
        assert name in adapter.__all__
    own = ["ClientConnection", "Connect", "Connection", "Reconnect", "Server", "ServerConnection"]
    functions = ["broadcast", "connect", "prepare", "reconnect", "route", "serve", "unix_connect"]
    for name in [*own, *functions, "unix_route", "unix_serve", "basic_auth_protocol_factory"]:
        assert callable(getattr(adapter, name))
        assert name in adapter.__all__
    assert len(set(adapter.__all__)) == len(adapter.__all__)


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_star_import(adapter: types.ModuleType) -> None:
    namespace: dict[str, Any] = {}
    exec(f"from {adapter.__name__} import *", namespace)
    assert adapter.__all__
    assert set(adapter.__all__) <= namespace.keys()


def test_the_core_exports_its_exceptions() -> None:
    defined = {
        name
        for name, value in vars(exceptions).items()
        if isinstance(value, type) and issubclass(value, Exception)
    }
    assert defined == set(exceptions.__all__) <= set(wsproto_core.__all__)
