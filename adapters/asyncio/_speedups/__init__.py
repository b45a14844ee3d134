"""The compiled fast path of a connection on asyncio, if it is there.

It is compiled together with the fast path of the core, and used if that one is: see
:data:`wsproto_core.COMPILED`.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from types import ModuleType

from wsproto_core import COMPILED

__all__ = ["install"]

_extension: ModuleType | None = None
with suppress(ImportError):
    if COMPILED:
        from . import _compiled as _extension


def install(connection: type, turn_queue: type, **numbers: int) -> None:
    """Give the hot methods of a connection their fast paths, if the extension module is there.

    Args:
        connection, turn_queue: the classes of a connection, and of its queue of senders.
        numbers: the constants of :mod:`adapters.asyncio.connection` that the fast paths need.
    """
    if _extension is None:
        return
    functions = asyncio.current_task, asyncio.get_running_loop
    _extension.use_classes(connection, turn_queue, *functions, **numbers)
