"""The docstrings of connections and servers, which ``help()`` and editors show."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import re
from collections.abc import Iterator
from typing import Any

import pytest

ADAPTERS = ("asyncio", "trio", "anyio", "threading")
CLASSES = ("ClientConnection", "ServerConnection", "Server", "BasicAuthWebSocketServerProtocol")
SECTIONS = re.compile(r"^(Args|Returns|Raises|Attributes|Yields|[A-Z][a-z]+):$", re.MULTILINE)


def members() -> Iterator[Any]:
    for adapter in ADAPTERS:
        try:
            module = importlib.import_module(f"adapters.{adapter}")
        except ImportError:
            continue
        for class_name in CLASSES:
            cls = getattr(module, class_name)
            for name in dir(cls):
                # asyncio calls and documents some of them.
                if not name.startswith("_") and not hasattr(asyncio.BufferedProtocol, name):
                    yield pytest.param(cls, name, id=f"{adapter}-{class_name}-{name}")


@pytest.mark.parametrize(("cls", "name"), list(members()))
def test_public_members(cls: type[Any], name: str) -> None:
    member = inspect.getattr_static(cls, name)
    if isinstance(member, property):
        assert inspect.getdoc(member)
    elif callable(member):
        documentation = inspect.getdoc(getattr(cls, name)) or ""
        assert documentation.partition("\n")[0].endswith((".", ":"))
        sections = SECTIONS.findall(documentation)
        assert set(sections) <= {"Args", "Returns", "Raises", "Attributes"}
        parameters = [each for each in inspect.signature(getattr(cls, name)).parameters if each != "self"]
        assert ("Args" in sections) is bool(parameters)
        for parameter in parameters:
            assert re.search(rf"^ +(\w+, )*{parameter}\b.*:", documentation, re.MULTILINE), parameter
