"""Both halves of the core: the compiled one, and a second copy of the whole core in pure Python."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import wsproto_core

PURE = "pure_wsproto_core"
"""The name of the copy's package."""


def import_copy(name: str, pure: str, *, built: bool = True) -> ModuleType:
    """Import the choice between the two halves once more, in a package of its own.

    Args:
        name: of the package.
        pure: value of the environment variable ``WSPROTO_CORE_PURE``.
        built: whether the extension module can be imported.
    """
    package = ModuleType(name)
    package.__path__ = [str(Path(wsproto_core.__file__).parent)]
    modules = {name: package} | ({} if built else {f"{name}._speedups._compiled": None})
    sys.modules.update(modules)  # type: ignore[arg-type]
    with mock.patch.dict(os.environ, WSPROTO_CORE_PURE=pure):
        return importlib.import_module(f"{name}._speedups")


def pure_module(name: str) -> Any:
    """Return a module of the core, from the copy in pure Python.

    Args:
        name: for example ``codec``.
    """
    if PURE not in sys.modules:
        assert not import_copy(PURE, "1").COMPILED
    return importlib.import_module(f"{PURE}.{name}")


def is_built() -> bool:
    """Whether the extension module was built, be it used or not."""
    return importlib.util.find_spec("wsproto_core._speedups._compiled") is not None
