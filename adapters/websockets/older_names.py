"""Deprecated names: they work, and give a warning with the replacement."""

from __future__ import annotations

import asyncio
import inspect
import os
import warnings
from collections.abc import Callable
from typing import Any

__all__ = ["check_loop", "deprecated", "take_close_timeout", "take_create_protocol", "take_legacy_recv"]

CLOSE_TIMEOUT = 10
"""Default of ``close_timeout``, in seconds."""

PACKAGE = os.path.dirname(__file__)


def deprecated(old: str, replacement: str) -> None:
    """Give a ``DeprecationWarning`` for the line that called into this package."""
    level = 1
    frame = inspect.currentframe()
    while frame is not None and frame.f_code.co_filename.startswith(PACKAGE):
        level += 1
        frame = frame.f_back
    warnings.warn(f"{old} is deprecated: {replacement}", DeprecationWarning, level)


def take_close_timeout(given: dict[str, Any], close_timeout: float | None) -> float:
    """Remove ``timeout`` and return the value of ``close_timeout``, which takes precedence."""
    timeout = given.pop("timeout", None)
    if timeout is not None:
        deprecated("timeout", "use close_timeout")
    if close_timeout is not None and close_timeout != CLOSE_TIMEOUT:
        return close_timeout
    return CLOSE_TIMEOUT if timeout is None else float(timeout)


def take_create_protocol(
    given: dict[str, Any], create_protocol: Callable[..., Any] | None, default: Callable[..., Any]
) -> Callable[..., Any]:
    """Remove ``klass`` and return the value of ``create_protocol``, which takes precedence."""
    klass = given.pop("klass", None)
    if klass is not None:
        deprecated("klass", "use create_protocol")
    return create_protocol or klass or default


def take_legacy_recv(given: dict[str, Any]) -> bool:
    """Remove ``legacy_recv`` and return its value."""
    legacy_recv = bool(given.pop("legacy_recv", False))
    if legacy_recv:
        deprecated("legacy_recv", "handle the exception ConnectionClosed, which recv raises without it")
    return legacy_recv


def check_loop(loop: asyncio.AbstractEventLoop | None) -> asyncio.AbstractEventLoop:
    """Return the running event loop.

    Raises:
        RuntimeError: no event loop is running, or ``loop`` is another one.
    """
    running = asyncio.get_running_loop()
    if loop is not None and loop is not running:
        raise RuntimeError("loop must be the event loop that is running: leave it out")
    return running
