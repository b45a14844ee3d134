"""The promise of docs/compatibility.md: what was a public name is one.

``names.txt`` has the names of all releases. At a release, the new names are added to it, by
``python -m tests.docs.test_compatibility``, and no line is removed before its five years are over.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from pathlib import Path

from adapters.shared.options import OPTIONS
from adapters.shared.stream_options import STREAM_OPTIONS

from .samples import DOCS

NAMES = Path(__file__).with_name("names.txt")


def modules() -> Iterator[str]:
    """Return the modules that the reference documents."""
    for page in (DOCS / "reference").iterdir():
        yield from re.findall(r"automodule:: (\S+)", page.read_text(encoding="utf-8"))


def public_names() -> set[str]:
    """Return the names that are public now: of modules, of classes, and of options."""
    found = {f"option {name}" for name in (*OPTIONS, *STREAM_OPTIONS)}
    for module_name in modules():
        module = importlib.import_module(module_name)
        for name in module.__all__:
            value = getattr(module, name)
            found.add(f"{module_name}:{name}")
            if isinstance(value, type):
                ours = [
                    cls for cls in value.__mro__ if cls.__module__.startswith(("adapters", "wsproto_core"))
                ]
                attributes = {each for cls in ours for each in vars(cls) if not each.startswith("_")}
                found |= {f"{module_name}:{name}.{each}" for each in attributes}
    return found


def exists(line: str) -> bool:
    kind, _, option = line.partition(" ")
    if kind == "option":
        return option in OPTIONS or option in STREAM_OPTIONS
    module, _, path = line.partition(":")
    value: object = importlib.import_module(module)
    for name in path.split("."):
        if not hasattr(value, name):
            return False
        value = getattr(value, name)
    return True


def test_every_public_name_of_a_release_is_there() -> None:
    lines = NAMES.read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if not exists(line)] == []
    assert lines == sorted(set(lines))
    assert len(lines) > 1000


def test_a_missing_name_is_found() -> None:
    assert exists("adapters.asyncio:connect")
    assert exists("option max_size")
    assert not exists("adapters.asyncio:absent")
    assert not exists("adapters.asyncio:ServerConnection.absent")
    assert not exists("option absent")


if __name__ == "__main__":
    known = set(NAMES.read_text(encoding="utf-8").splitlines()) if NAMES.exists() else set()
    NAMES.write_text("\n".join(sorted(known | public_names())) + "\n", encoding="utf-8")
