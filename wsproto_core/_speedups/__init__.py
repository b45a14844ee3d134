"""The choice between the compiled functions and classes of the core and those in Python.

The extension module ``_compiled`` has compiled versions of the hot path. Here is the one place that chooses:
a module that defines a function or a class of which there may be a compiled version passes it through
:func:`prefer_compiled`. The version in Python is the specification; tests hold the compiled one to it.
"""

from __future__ import annotations

import os
from contextlib import suppress
from types import ModuleType
from typing import TypeVar

__all__ = ["COMPILED", "install", "prefer_compiled"]

T = TypeVar("T")


_extension: ModuleType | None = None
# Without a compiler, the package is installed without the extension module.
with suppress(ImportError):
    if os.environ.get("WSPROTO_CORE_PURE", "") in ("", "0"):
        from . import _compiled as _extension

COMPILED = _extension is not None
"""Whether the hot path of the core is compiled. It is not if the environment variable ``WSPROTO_CORE_PURE``
was set, to anything but ``0``, when it was imported, or if there was no compiler when it was installed."""


def prefer_compiled(pure: T) -> T:
    """Return the compiled version of a function or a class, if there is one; decorates the one in Python."""
    compiled: T = getattr(_extension, pure.__name__, pure)  # type: ignore[attr-defined]
    return compiled


def install() -> None:
    """Give the hot methods of :class:`~.protocol.Protocol` their fast paths, if they are compiled.

    A fast path does what the method in Python does, in the cases that nearly every message is; in all other
    cases it calls the method in Python. It reads and writes the ``__slots__`` of the objects.
    """
    if _extension is not None:
        _extension.install()
