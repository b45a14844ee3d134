"""The choice between the compiled functions and classes of the core and those in Python.

The extension module ``_compiled`` has compiled versions of the hot path. Here is the one place that chooses:
a module that defines a function or a class of which there may be a compiled version passes it through
:func:`prefer_compiled`. The version in Python is the specification; tests hold the compiled one to it.
"""

from __future__ import annotations

import os
from types import ModuleType
from typing import TypeVar

__all__ = ["COMPILED", "prefer_compiled"]

T = TypeVar("T")


def _import_extension() -> ModuleType | None:
    if os.environ.get("WSPROTO_CORE_PURE", "") not in ("", "0"):
        return None
    try:
        from . import _compiled
    except ImportError:
        # There was no compiler when the package was installed.
        return None
    return _compiled


_extension = _import_extension()

COMPILED = _extension is not None
"""Whether the hot path of the core is compiled. It is not if the environment variable ``WSPROTO_CORE_PURE``
was set, to anything but ``0``, when it was imported, or if there was no compiler when it was installed."""


def prefer_compiled(pure: T) -> T:
    """Return the compiled version of a function or a class, if there is one; decorates the one in Python."""
    compiled: T = getattr(_extension, pure.__name__, pure)  # type: ignore[attr-defined]
    return compiled
