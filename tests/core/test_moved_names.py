"""Names of version 0.1 that have left their module are still found there."""

from __future__ import annotations

import importlib

import pytest

from wsproto_core._moved import MOVED, MOVED_NAMES, RENAMED


@pytest.mark.parametrize(
    ("module", "place", "name"),
    [
        (module, place, name)
        for module, places in MOVED_NAMES.items()
        for place, names in places.items()
        for name in names.split()
    ],
)
def test_names(module: str, place: str, name: str) -> None:
    now = RENAMED.get(name, name)
    assert getattr(importlib.import_module(module), name) is getattr(importlib.import_module(place), now)


@pytest.mark.parametrize("module", MOVED_NAMES)
def test_names_that_never_were(module: str) -> None:
    with pytest.raises(AttributeError, match=f"module '{module}' has no attribute 'other'"):
        _ = importlib.import_module(module).other


def test_modules() -> None:
    for name, now in MOVED.items():
        assert importlib.import_module(name) is importlib.import_module(now)
