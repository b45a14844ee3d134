"""Both halves of the core: the compiled one, and a second copy of the whole core in pure Python; and what a
connection does, to be compared."""

from __future__ import annotations

import importlib
import importlib.util
import os
import random
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple
from unittest import mock

import wsproto_core

PURE = "pure_wsproto_core"
"""The name of the copy's package."""


def import_copy(name: str, pure: str, *, built: bool = True) -> ModuleType:
    """Import the choice between the two halves once more, in a package of its own.

    Args:
        name: of the package.
        pure: value of the environment variable ``WSPROTO_CORE_PURE``.
        built: whether the extension module can be imported.
    """
    package = ModuleType(name)
    package.__path__ = [str(Path(wsproto_core.__file__).parent)]
    modules = {name: package} | ({} if built else {f"{name}._speedups._compiled": None})
    sys.modules.update(modules)  # type: ignore[arg-type]
    with mock.patch.dict(os.environ, WSPROTO_CORE_PURE=pure):
        return importlib.import_module(f"{name}._speedups")


def pure_module(name: str) -> Any:
    """Return a module of the core, from the copy in pure Python.

    Args:
        name: for example ``codec``.
    """
    if PURE not in sys.modules:
        assert not import_copy(PURE, "1").COMPILED
    return importlib.import_module(f"{PURE}.{name}")


def is_built() -> bool:
    """Whether the extension module was built, be it used or not."""
    return importlib.util.find_spec("wsproto_core._speedups._compiled") is not None


class Half(NamedTuple):
    """A copy of the core."""

    package: str

    def module(self, name: str) -> Any:
        """Return a module of this copy, for example ``codec``."""
        if self.package == PURE:
            return pure_module(name)
        return importlib.import_module(f"{self.package}.{name}")


HALVES = [Half("wsproto_core"), Half(PURE)]


def outcome(function: Callable[..., Any], *arguments: object) -> Any:
    """What a call returns, or the exception that it raises."""
    try:
        return function(*arguments)
    except Exception as error:
        return repr(error)


def receive(connection: Any, data: bytes, in_place: bool) -> None:
    """Let a connection receive bytes, in its own memory where it offers that."""
    while in_place and data and (buffer := connection.get_buffer()) is not None:
        count = min(len(data), len(buffer))
        buffer[:count] = data[:count]
        connection.buffer_updated(count)
        data = data[count:]
    connection.receive_data(data)


def converse(half: Half, case: dict[str, Any]) -> list[object]:
    """Let a connection receive and send; return all that it does, in order."""
    extensions = []
    if case["deflate"]:
        deflate = half.module("extensions.permessage_deflate").PerMessageDeflate
        extensions.append(deflate(remote_no_context_takeover=False, local_no_context_takeover=False))
    connection = half.module("protocol").Protocol(
        half.module("types").Side(case["side"]),
        clock=lambda: 0.0,
        random=random.Random(0).randbytes,
        extensions=extensions,
        ping_interval=None,
        **case["options"],
    )
    seen: list[object] = []

    def look() -> None:
        seen.append(b"".join(connection.data_to_send()))
        connection.data_sent()
        seen.append((connection.state.value, connection.wants_read, connection.has_input))

    take = getattr(connection, case["take"])

    def take_all() -> None:
        events = []
        while True:
            result = outcome(take)
            events.append(repr(result))
            if result is None or isinstance(result, list) or case["take"] == "events" or len(events) > 500:
                break
            if isinstance(result, str) and "Error" in result:
                break
        seen.append(events)

    for piece, takes, message in zip(case["pieces"], case["takes"], case["sends"], strict=False):
        receive(connection, piece, case["in_place"])
        if takes:
            take_all()
        if message is not None:
            seen.append(outcome(connection.send, message))
        look()
    if case["eof"]:
        connection.receive_eof()
    take_all()
    look()
    return seen
