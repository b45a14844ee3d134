"""What an import of the package imports: the number of modules has a limit.

The time of an import is that of its modules. What the dependencies import themselves does not count.
"""

from __future__ import annotations

import functools
import subprocess
import sys
from pathlib import Path

import h11
import pytest

from .building import ROOT

PROGRAM = """
import sys

sys.path[:0] = sys.argv[1:3]
# Optional, and imported if it is installed.
sys.modules["zlib_ng"] = None
for module in sys.argv[4:]:
    __import__(module)
before = set(sys.modules)
__import__(sys.argv[3])
print(*sorted(set(sys.modules) - before))
"""

RARELY_NEEDED = {"calendar", "difflib", "email.utils", "importlib.resources", "platform", "tempfile", "uuid"}
"""Modules of the standard library that take long to import, and that most programs never use."""


@functools.cache
def imported(module: str, *before: str) -> set[str]:
    """Return what an import loads in a new process after other imports. Nothing else is loaded there."""
    folders = [str(ROOT), str(Path(h11.__file__).parents[1])]
    command = [sys.executable, "-S", "-c", PROGRAM, *folders, module, *before]
    return set(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.split())


@pytest.mark.parametrize(
    ("module", "before", "own", "others"),
    [
        ("wsproto_core", ("h11",), 50, 20),
        ("adapters.asyncio", ("h11", "asyncio", "wsproto_core"), 42, 4),
        ("adapters.threading", ("h11", "asyncio", "wsproto_core"), 43, 4),
    ],
)
def test_modules(module: str, before: tuple[str, ...], own: int, others: int) -> None:
    loaded = imported(module, *before)
    of_project = {name for name in loaded if name.partition(".")[0] in ("wsproto_core", "adapters")}
    assert module in of_project
    assert len(of_project) <= own, sorted(of_project)
    assert len(loaded - of_project) <= others, sorted(loaded - of_project)


def test_rarely_needed_modules() -> None:
    assert imported("wsproto_core") & RARELY_NEEDED == set()
    # Those that asyncio imports itself do not count.
    assert imported("adapters.asyncio", "asyncio") & RARELY_NEEDED == set()


def test_each_runtime_is_imported_alone() -> None:
    for module in ("wsproto_core", "adapters.threading", "adapters.asyncio"):
        names = imported(module)
        assert not names & {"adapters.session", "adapters.topics"}
        loaded = {name.partition(".")[0] for name in names}
        unwanted = {"anyio", "trio", "uvicorn", "uvloop", "werkzeug", "python_socks"}
        if module != "adapters.asyncio":
            unwanted.add("asyncio")
        assert loaded & unwanted == set()
