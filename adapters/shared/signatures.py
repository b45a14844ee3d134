"""Signatures that show every option, for ``help``, ``inspect.signature`` and interactive shells.

Type checkers know the options of ``connect`` and ``serve`` by ``**options: Unpack[...]``. At runtime, that
is one parameter without names. In its place the signatures made here have a keyword for each option,
with its default from the tables.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from .options import OPTIONS
from .routing import ROUTE_OPTIONS, RouteOptions
from .stream_options import STREAM_OPTIONS, TCP_CLIENT, TCP_SERVER

__all__ = ["ALL_OPTIONS", "option_names", "show_options"]

ALL_OPTIONS = OPTIONS | STREAM_OPTIONS | ROUTE_OPTIONS

_NOT_BY_PATH = {*TCP_CLIENT, *TCP_SERVER, "host", "port"}
_FOR_ONE_CONNECTION = {"sock", "stream"}

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])


def show_options(declared: type) -> Callable[[FunctionT], FunctionT]:
    """Return a decorator that shows the options of a function in its signature.

    Args:
        declared: the ``TypedDict`` of the options that the function takes as keywords. Options for TCP are
            left out for a function with a parameter ``path``, and those for one connection for
            ``reconnect``.
    """

    def decorate(function: FunctionT) -> FunctionT:
        signature = inspect.signature(function)
        parameters = [each for each in signature.parameters.values() if each.kind is not each.VAR_KEYWORD]
        taken = {each.name for each in parameters}
        if "path" in taken:
            taken |= _NOT_BY_PATH
        if function.__name__ == "reconnect":
            taken |= _FOR_ONE_CONNECTION
        for name, annotation in declared.__annotations__.items():
            if name not in taken:
                # As Python has the annotations of functions: as text, because of the __future__ import.
                text = getattr(annotation, "__forward_arg__", annotation)
                default = ALL_OPTIONS[name].default
                parameters.append(
                    inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=text)
                )
        function.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        return function

    return decorate


def option_names(function: Callable[..., Any]) -> list[str]:
    """Return the options that a function shows, without its parameters and those of ``route`` alone."""
    names = list(inspect.signature(function).parameters)
    own = inspect.unwrap(function).__code__
    others = {*own.co_varnames[: own.co_argcount + own.co_kwonlyargcount]}
    if "create_router" in names:
        others |= RouteOptions.__annotations__.keys()
    return [name for name in names if name not in others]
