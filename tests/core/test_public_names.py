"""The names that are public."""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType

import pytest

import wsproto_core
from wsproto_core import exceptions

MODULES = sorted(
    [
        "wsproto_core",
        *(module.name for module in pkgutil.walk_packages(wsproto_core.__path__, "wsproto_core.")),
    ]
)
# These are the adapters by their second name.
MODULES = [name for name in MODULES if not name.startswith("wsproto_core.adapters")]


def names(module: ModuleType) -> list[str]:
    return getattr(module, "__all__", [])


@pytest.mark.parametrize("name", MODULES)
def test_public_names(name: str) -> None:
    module = importlib.import_module(name)
    for public in names(module):
        assert hasattr(module, public), public
        assert not public.startswith("_") or public == "__version__"
    assert len(set(names(module))) == len(names(module))


def in_order(name: str) -> tuple[int, str]:
    """Constants, then classes, then the rest, each by name."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2), name


@pytest.mark.parametrize("name", MODULES)
def test_public_names_are_sorted(name: str) -> None:
    public = names(importlib.import_module(name))
    if name == "wsproto_core":
        own = [each for each in public if each not in exceptions.__all__]
        assert public == own + exceptions.__all__
        public = own
    assert public == sorted(public, key=in_order)


@pytest.mark.parametrize("name", MODULES)
def test_public_names_have_documentation(name: str) -> None:
    """Those that can have it; where the others are documented, nothing can tell."""
    module = importlib.import_module(name)
    for public in names(module):
        value = getattr(module, public)
        if callable(value) and getattr(value, "__module__", "").startswith("wsproto_core"):
            assert value.__doc__, public


def test_the_package_lists_what_it_imports() -> None:
    imported = {
        name
        for name, value in vars(wsproto_core).items()
        if not name.startswith("_") and not isinstance(value, ModuleType)
    }
    assert imported - {"VERSION"} == set(wsproto_core.__all__) - {"__version__"}


def test_the_version() -> None:
    assert wsproto_core.__version__ == wsproto_core.VERSION
    assert all(part.isdigit() for part in wsproto_core.__version__.split(".")[:2])
