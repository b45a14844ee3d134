"""Replace a method of one object whose class has ``__slots__``."""

from collections.abc import Callable
from typing import Any

__all__ = ["replace_method"]


def replace_method(owner: Any, name: str, function: Callable[..., Any]) -> None:
    """Give an object a class of its own, with a function in the place of a method; it gets no ``self``."""
    kind = type(owner)
    owner.__class__ = type(kind.__name__, (kind,), {"__slots__": (), name: staticmethod(function)})
