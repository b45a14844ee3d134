"""Checks of arguments: each raises ``TypeError`` for a wrong type and ``ValueError`` for a wrong value.

The error's text has the argument's name, the expected values, and the value.
"""

from __future__ import annotations

import math
from typing import Any

from .http import Headers

__all__ = [
    "check_count",
    "check_extra_headers",
    "check_function",
    "check_seconds",
    "check_text",
    "own_headers",
]


def check_seconds(name: str, value: Any, *, zero: bool = False) -> None:
    """Check a duration in seconds, or ``None``; ``zero`` allows 0, for options where 0 means not to wait."""
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must be a number of seconds or None, not {value!r}")
    if not (0 < value < math.inf or (zero and value == 0)):
        least = "0 or a positive" if zero else "a positive"
        raise ValueError(f"{name} must be {least} number of seconds, or None for no deadline, not {value!r}")


def check_count(name: str, value: Any, least: int = 1) -> None:
    """Check a limit, or ``None``; ``least`` is the smallest one that is allowed."""
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an int or None, not {value!r}")
    if value < least:
        raise ValueError(f"{name} must be at least {least}, or None for no limit, not {value!r}")


def check_text(name: str, value: Any) -> None:
    """Check a text, or ``None``."""
    if value is not None and not isinstance(value, str):
        raise TypeError(f"{name} must be a str or None, not {value!r}")


def check_function(name: str, value: Any) -> None:
    """Check a function or another object that can be called, or ``None``."""
    if value is not None and not callable(value):
        raise TypeError(f"{name} must be callable or None, not {value!r}")


def check_extra_headers(extra: Headers) -> None:
    """Refuse additional headers that the opening handshake sets itself.

    Args:
        extra: the additional headers of the application.

    Raises:
        ValueError: there is such a header.
    """
    for name in own_headers(extra):
        raise ValueError(f"extra_headers must not have {name!r}: the opening handshake sets it")


def own_headers(headers: Headers) -> dict[str, list[str]]:
    """Return the headers that the opening handshake sets itself, by lower-case name."""
    return {
        name: headers.get_all(name)
        for name in headers
        if name in ("upgrade", "connection") or name.startswith("sec-websocket-")
    }
