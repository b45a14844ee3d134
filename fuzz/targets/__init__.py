"""The targets in Python: each module has a function ``fuzz``, which takes an input and raises if a rule is
broken that the module names.

An input may be any bytes. A target takes no time, no randomness and no state from anywhere else: the same
input gives the same result in every process.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable

__all__ = ["TARGETS", "Target", "load"]

Target = Callable[[bytes], None]

TARGETS = (
    "request",
    "response",
    "headers",
    "heads",
    "negotiation",
    "uri",
    "proxy",
    "redirects",
    "frames",
    "deflate",
    "conversation",
    "halves",
)
"""Their names, which are those of the modules."""


def load(name: str) -> Target:
    """Return the function of a target."""
    target: Target = importlib.import_module(f"{__name__}.{name}").fuzz
    return target
