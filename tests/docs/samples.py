"""The samples on the pages of the documentation, and what runs them.

A comment before a block says what it is: ``<!-- program: asyncio/chat.py -->`` is a whole program,
``<!-- sample: name -->`` a part of one, ``<!-- cell: name -->`` a part that waits outside of a function, as a
cell of a notebook may, ``<!-- run: name -->`` commands of a shell, ``<!-- file: name -->`` another file.
``<!-- prints: name -->`` what a program prints, ``<!-- from FILE: region -->`` a part of a program in
``docs``. ``test_every_sample.py`` finds blocks without a comment and blocks that no test runs.
"""

from __future__ import annotations

import ast
import asyncio
import os
import re
import subprocess
import sys
import textwrap
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from adapters.asyncio import ClientConnection, connect

__all__ = [
    "CERTIFICATES",
    "DEADLINE",
    "DOCS",
    "ROOT",
    "Block",
    "Sample",
    "blocks",
    "blocks_of",
    "connected",
    "python",
    "replaced",
    "run",
    "serving",
    "until",
    "write",
]

T = TypeVar("T")

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
CERTIFICATES = ROOT / "tests" / "certificates"

DEADLINE = 100.0
"""Of each wait, in seconds."""

BLOCK = re.compile(
    r"^(?:[ ]*<!-- (?P<comment>[^\n]*?) -->\n\n?)?"
    r"(?P<indent>[ ]*)```(?P<language>[^\n]*)\n(?P<text>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass
class Block:
    """A block of code.

    Attributes:
        kind, name: what the comment before it says, empty without a comment.
        language: the word behind the backquotes.
        text: the code.
    """

    kind: str
    name: str
    language: str
    text: str


def blocks_of(text: str) -> Iterator[Block]:
    """Return the blocks of the text of a page."""
    for found in BLOCK.finditer(text):
        kind, _, name = (found["comment"] or "").partition(": ")
        yield Block(kind, name, found["language"], textwrap.dedent(found["text"]))


def blocks(page: str, kind: str) -> dict[str, str]:
    """Return the blocks of a kind on a page, by their names."""
    text = (DOCS / page).read_text(encoding="utf-8")
    found = [(block.name, block.text) for block in blocks_of(text) if block.kind == kind]
    assert len(dict(found)) == len(found), "two blocks have the same name"
    return dict(found)


class Sample:
    """The samples of a page, each of which defines names."""

    def __init__(self, page: str) -> None:
        self.page = page
        self.blocks = blocks(page, "sample")
        self.cells = blocks(page, "cell")

    def __call__(self, name: str, **given: Any) -> dict[str, Any]:
        """Run a sample; return the names that it defines.

        Args:
            name: the name of the sample.
            given: names that the sample uses, and that are not its own.
        """
        names: dict[str, Any] = {"__name__": name, **given}
        exec(compile(self.blocks[name], f"docs/{self.page}: {name}", "exec"), names)
        return names

    async def cell(self, name: str, changes: Mapping[str, str] | None = None, **given: Any) -> dict[str, Any]:
        """Run a cell to its end; return the names that it defines.

        Args:
            name: the name of the cell.
            changes: texts in it and what takes their place, for example another port.
            given: names that the cell uses, and that are not its own.
        """
        source = replaced(self.cells[name], changes or {})
        code = compile(
            source,
            f"docs/{self.page}: {name}",
            "exec",
            flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT,
            dont_inherit=True,
        )
        names: dict[str, Any] = {"__name__": name, **given}
        waiting = eval(code, names)
        if waiting is not None:
            await waiting
        return names

    def all_are_in(self, tests: str) -> bool:
        """Whether each block of Python on the page has a name, and a test has each name."""
        text = (DOCS / self.page).read_text(encoding="utf-8")
        named = {**self.blocks, **self.cells, **blocks(self.page, "program")}
        source = Path(tests).read_text(encoding="utf-8")
        return text.count("```python") == len(named) and all(f'"{name}"' in source for name in named)


def replaced(source: str, changes: Mapping[str, str]) -> str:
    """Replace each of these texts, which the source contains."""
    for old, new in changes.items():
        assert old in source, old
        source = source.replace(old, new)
    return source


def write(folder: Path, name: str, source: str, changes: Mapping[str, str]) -> Path:
    """Write a program, with each of these texts replaced, which it contains."""
    path = folder / name
    path.write_text(replaced(source, changes), encoding="utf-8")
    return path


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"}


def python(folder: Path, *arguments: str, text: str = "") -> str:
    """Run Python in a folder; return what it has printed. An error fails the test."""
    command = [sys.executable, "-W", "error", *arguments]
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment(),
        input=text,
        capture_output=True,
        encoding="utf-8",
        timeout=DEADLINE,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    return done.stdout


@contextmanager
def serving(folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run a server in a folder, as Python does with these arguments, until the end of the block."""
    command = [sys.executable, "-W", "error", *arguments]
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@asynccontextmanager
async def connected(
    process: subprocess.Popen[str], uri: str, **options: Any
) -> AsyncIterator[ClientConnection]:
    """Connect to the server of a process, as soon as it listens."""
    until = time.monotonic() + DEADLINE
    while True:
        try:
            websocket = await connect(uri, proxy=None, **options)
            break
        except ConnectionRefusedError:
            if process.poll() is not None or time.monotonic() > until:
                process.kill()
                raise AssertionError(f"it does not listen: {process.communicate()}") from None
        await asyncio.sleep(0.02)
    async with websocket:
        yield websocket


def run(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine function, with a deadline."""

    async def within_deadline() -> T:
        async with asyncio.timeout(DEADLINE):
            return await main()

    return asyncio.run(within_deadline())


async def until(condition: Callable[[], object]) -> None:
    """Wait until a condition is true, in a test with a deadline."""
    while True:
        if condition():
            return
        await asyncio.sleep(0.01)
