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


def install(*classes: type, **numbers: int) -> None:
    """Give the hot methods of a connection their fast paths, if the extension module is there.

    Args:
        classes: those of a connection, of its queue of senders, and of the two parts of TLS.
        numbers: the constants of :mod:`adapters.asyncio.connection` that the fast paths need.
    """
    if _extension is not None:
        _extension.use_classes(*classes, **numbers)


def install_events(websocket_protocol: type, accepted: object) -> None:
    """Give the methods for events of ASGI their fast paths, if the extension module is there.

    Args:
        websocket_protocol: the class for ASGI.
        accepted: the stage in which it exchanges messages.
    """
    if _extension is not None:
        _extension.use_events(websocket_protocol, accepted)
