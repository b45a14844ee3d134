"""Names of version 0.1 that have left their module are still found there."""

from __future__ import annotations

import importlib

import pytest

from wsproto_core._moved import MOVED, MOVED_NAMES


@pytest.mark.parametrize(
    ("module", "name"), [(module, name) for module, names in MOVED_NAMES.items() for name in names]
)
def test_names(module: str, name: str) -> None:
    place, now = MOVED_NAMES[module][name]
    assert getattr(importlib.import_module(module), name) is getattr(importlib.import_module(place), now)


@pytest.mark.parametrize("module", MOVED_NAMES)
def test_names_that_never_were(module: str) -> None:
    with pytest.raises(AttributeError, match=f"module '{module}' has no attribute 'other'"):
        _ = importlib.import_module(module).other


def test_modules() -> None:
    for name, now in MOVED.items():
        assert importlib.import_module(name) is importlib.import_module(now)
