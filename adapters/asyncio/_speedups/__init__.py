"""The compiled fast path of a connection on asyncio, if it is there.

It is compiled together with the fast path of the core, and used if that one is: see
:data:`wsproto_core.COMPILED`.
"""

from __future__ import annotations

from contextlib import suppress
from types import ModuleType

from wsproto_core import COMPILED

__all__ = ["install"]

_extension: ModuleType | None = None
with suppress(ImportError):
    if COMPILED:
        from . import _compiled as _extension


def install(function: str, *objects: object, **numbers: int) -> None:
    """Give the hot methods of a connection their fast paths, if the extension module is there.

    Args:
        function: of the extension module: ``use_classes`` or, for events of ASGI, ``use_events``.
        objects: the classes of a connection, of its queue of senders, and of the two parts of TLS; or
            the class for ASGI and the stage in which it exchanges messages.
        numbers: the constants of :mod:`adapters.asyncio.connection` that the fast paths need.
    """
    if _extension is not None:
        getattr(_extension, function)(*objects, **numbers)
