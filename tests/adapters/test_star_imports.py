"""``from ... import *`` gives what a module offers, and replaces nothing that an application has."""

from __future__ import annotations

import builtins
import importlib
import pkgutil
import sys
from collections.abc import Iterator
from types import ModuleType

import pytest

import adapters
import wsproto_core


def modules() -> Iterator[str]:
    yield "wsproto_core"
    for package in wsproto_core, adapters:
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            yield module.name


@pytest.mark.parametrize("name", list(modules()))
def test_star_import(name: str) -> None:
    module = importlib.import_module(name)
    for public in getattr(module, "__all__", []):
        value = getattr(module, public)
        assert not isinstance(value, ModuleType), f"{name} lists the module {public}"
        assert public not in sys.stdlib_module_names, f"{name} hides the standard library's {public}"
        assert not hasattr(builtins, public), f"{name} hides the built-in {public}"
