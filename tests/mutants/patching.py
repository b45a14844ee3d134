"""Which functions a mutant changes, so that they can be changed in a process that has imported them.

A function object stays where it is and gets the code of the mutant: so all who have a reference to it run the
mutant, and nothing is imported anew. What runs when the module is imported (constants, defaults of arguments,
the bodies of classes) cannot be changed in this way.
"""

from __future__ import annotations

import gc
import inspect
import types
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

__all__ = ["compile_module", "differences", "find_functions", "patch"]


class Place(NamedTuple):
    """Where a function is defined."""

    name: str
    line: int


def compile_module(source: bytes, path: Path) -> types.CodeType:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return compile(source, path, "exec", dont_inherit=True)


def _parts(code: types.CodeType) -> Iterator[types.CodeType]:
    return (each for each in code.co_consts if isinstance(each, types.CodeType))


def _shallow(code: types.CodeType) -> tuple[object, ...]:
    """What a code object does, but for the code objects in it."""
    constants = [
        None if isinstance(each, types.CodeType) else (type(each), repr(each)) for each in code.co_consts
    ]
    return (
        *(code.co_code, constants, code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars),
        *(code.co_flags, code.co_exceptiontable, code.co_argcount, code.co_kwonlyargcount),
    )


def _interface(code: types.CodeType) -> tuple[object, ...]:
    """What has to stay the same for a function to get another code."""
    return code.co_freevars, code.co_flags & inspect.CO_GENERATOR


def _place(code: types.CodeType) -> Place:
    return Place(code.co_qualname, code.co_firstlineno)


def differences(original: types.CodeType, mutated: types.CodeType) -> dict[Place, types.CodeType] | None:
    """Return the functions that differ, with the code of the mutant; ``None`` if something else differs.

    An empty result means that the code is the same.
    """
    changed: dict[Place, types.CodeType] = {}
    if not _compare(original, mutated, changed, inside=False):
        return None
    return changed


def _compare(
    original: types.CodeType, mutated: types.CodeType, changed: dict[Place, types.CodeType], *, inside: bool
) -> bool:
    """Add the functions that differ; return whether there is no other difference."""
    is_function = bool(original.co_flags & inspect.CO_OPTIMIZED)
    same = _shallow(original) == _shallow(mutated)
    if not same and not (is_function and _interface(original) == _interface(mutated)):
        return False
    pairs = list(zip(_parts(original), _parts(mutated), strict=False))
    if len({_place(part) for part, _ in pairs}) < len(pairs) and _deep(original) != _deep(mutated):
        return False
    for part, mutated_part in pairs:
        before = len(changed)
        if not _compare(part, mutated_part, changed, inside=inside or is_function):
            return False
        if len(changed) > before:
            same = False
            # A comprehension runs where it stands.
            if not (inside or is_function) and part.co_name in (
                "<listcomp>",
                "<setcomp>",
                "<dictcomp>",
                "<genexpr>",
            ):
                return False
    if is_function and not same:
        changed[_place(original)] = mutated
    return True


def _deep(code: types.CodeType) -> tuple[object, ...]:
    return (*_shallow(code), *(_deep(part) for part in _parts(code)))


def find_functions(path: Path) -> dict[Place, list[types.FunctionType]]:
    """Return the functions that a module has defined, by their places."""
    found: dict[Place, list[types.FunctionType]] = {}
    for each in gc.get_objects():
        if type(each) is types.FunctionType and each.__code__.co_filename == str(path):
            found.setdefault(_place(each.__code__), []).append(each)
    return found


def patch(functions: dict[Place, list[types.FunctionType]], changed: dict[Place, types.CodeType]) -> bool:
    """Give functions the code of a mutant; return whether there was one."""
    patched = False
    for place, code in changed.items():
        for function in functions.get(place, ()):
            function.__code__ = code
            patched = True
    return patched
