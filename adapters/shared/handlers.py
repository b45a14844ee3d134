"""Connection handlers: their types, and the checks of them that ``serve`` makes before it listens."""

from __future__ import annotations

import dis
import functools
import inspect
from collections.abc import Awaitable, Callable
from itertools import pairwise
from types import CodeType
from typing import Any, TypeAlias, TypeVar

from .routing import Router

__all__ = ["AsyncHandler", "BlockingHandler", "Handler", "check_async_handler", "check_plain", "takes_path"]

ConnectionT = TypeVar("ConnectionT")

AsyncHandler: TypeAlias = (
    Callable[[ConnectionT], Awaitable[object]] | Callable[[ConnectionT, str], Awaitable[object]]
)
"""A coroutine function of a connection, or of a connection and the request's path."""

BlockingHandler: TypeAlias = Callable[[ConnectionT], None] | Callable[[ConnectionT, str], None]
"""A plain function of a connection, or of a connection and the request's path, which a thread runs."""

Handler: TypeAlias = Callable[..., Any]
"""A connection handler of any adapter, after it has been checked."""

_COROUTINE = inspect.CO_COROUTINE | inspect.CO_ITERABLE_COROUTINE
_GENERATOR = inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR


def takes_path(handler: Handler) -> bool:
    """Return whether a connection handler wants the request's path as a second argument.

    Only those handlers get it that cannot be called with the connection alone.

    Raises:
        TypeError: the handler cannot be called with a connection, nor with a connection and a path.
    """
    if not callable(handler):
        raise TypeError(f"handler must be a function that takes the connection, not {handler!r}")
    try:
        signature = inspect.signature(handler)
    except ValueError:  # built-in callables may have none
        return False
    try:
        signature.bind(None)
    except TypeError:
        try:
            signature.bind(None, None)
        except TypeError:
            raise TypeError(
                f"handler must take the connection, or the connection and the path; it takes {signature}"
            ) from None
        return True
    return False


def check_async_handler(handler: Handler) -> None:
    """Refuse functions that cannot be awaited where a coroutine function is needed.

    A plain function may return an awaitable object. A function is refused when its code shows that
    it does not: when it is a generator function, or all that it returns are constants such as ``None``.

    Raises:
        TypeError: the handler, or one of a router's handlers, is such a function, or cannot be called
            with a connection.
    """
    takes_path(handler)
    for function in _functions_of(handler):
        code = _code_of(function)
        if code is None or code.co_flags & _COROUTINE:
            continue
        name = getattr(function, "__name__", repr(function))
        if code.co_flags & _GENERATOR:
            raise TypeError(
                f"handler must be a coroutine function, but {name} is a generator: it has a yield"
            )
        if _returns_constants(code):
            raise TypeError(f"handler must be a coroutine function: write 'async def' before {name}")


def check_plain(handler: Handler, process_request: Handler | None) -> None:
    """Refuse coroutine functions where threads run the functions of the application.

    Raises:
        TypeError: one of the functions is a coroutine function or a generator function, or the handler
            cannot be called with a connection.
    """
    takes_path(handler)
    functions = [("handler", each) for each in _functions_of(handler)]
    for name, function in [*functions, ("process_request", process_request)]:
        code = _code_of(function)
        if inspect.iscoroutinefunction(function) or (code is not None and code.co_flags & _COROUTINE):
            raise TypeError(f"{name} must be a plain function, not a coroutine function: threads run it")
        if code is not None and code.co_flags & _GENERATOR:
            raise TypeError(f"{name} must be a plain function, not a generator: it has a yield")


def _functions_of(handler: Handler) -> list[Handler]:
    return handler.handlers if isinstance(handler, Router) else [handler]


def _code_of(function: Any) -> CodeType | None:
    """Return the code that a call of a function runs, ``None`` if that is not known."""
    while isinstance(function, functools.partial):
        function = function.func
    if not inspect.isroutine(function) and not inspect.isclass(function) and callable(function):
        function = type(function).__call__
    code = getattr(function, "__code__", None)
    return code if isinstance(code, CodeType) else None


def _returns_constants(code: CodeType) -> bool:
    """Return whether code returns nothing but constants, or never returns."""
    return not any(
        # A jump to a return comes with a value of its own.
        instruction.opname == "RETURN_VALUE" and (before.opname != "LOAD_CONST" or instruction.is_jump_target)
        for before, instruction in pairwise(dis.get_instructions(code))
    )
