"""The page with the results: ``docs/mutants.md``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from .listed import Listed
from .subjects import ROOT

__all__ = ["LEAST_KILLED", "PAGE", "Row", "read_rows", "write_page"]

PAGE = ROOT / "docs" / "mutants.md"

LEAST_KILLED = 95
"""Percent of a module's mutants that its tests have to kill."""

HEAD = """# Mutation testing

Do the tests notice when the code is wrong? `make mutants` changes a module in one place and runs the tests of
this module: they have to fail, which *kills* the mutant. Then it changes the next place. It made this page.

What is changed: comparisons and their boundaries, numbers (by one, up and down), `and` and `or`, `not`,
conditions, arithmetic and the operators of bits, values that are returned, names and header values; a
statement is left out. What is not: text for people, annotations, decorators, `__slots__`. A mutant whose code
is the same is none.

Each module is tested by its own tests alone (the table in `tests/mutants/subjects.py`), in pure Python, with
few examples of each property. Some mutants make no difference that a user could see: they survive, and are
*listed* in `tests/mutants/equivalent.toml`, each with the reason. The command fails if another one survives,
if a listed one is killed or does not exist, and if less than {least} % of a module's mutants are killed.

| module | mutants | killed | listed | killed, % |
|---|--:|--:|--:|--:|
"""


class Row(NamedTuple):
    """The results of a subject."""

    name: str
    mutants: int
    killed: int
    listed: int

    @property
    def percent(self) -> float:
        return 100 * self.killed / self.mutants

    def __str__(self) -> str:
        return f"| `{self.name}` | {self.mutants} | {self.killed} | {self.listed} | {self.percent:.1f} |"


def read_rows(page: Path = PAGE) -> dict[str, Row]:
    """Read the rows of a page, by the names of their subjects; none if there is no page."""
    text = page.read_text(encoding="utf-8") if page.exists() else ""
    found = re.findall(r"^\| `(\w+)` \| (\d+) \| (\d+) \| (\d+) \|", text, re.MULTILINE)
    return {name: Row(name, *map(int, numbers)) for name, *numbers in found}


def write_page(
    rows: Mapping[str, Row], listed: Sequence[Listed], names: Sequence[str], page: Path = PAGE
) -> None:
    """Write the page.

    Args:
        rows: by the names of their subjects; those without a row are left out.
        listed: the list of equivalent mutants.
        names: the order of the rows.
    """
    lines = [HEAD.format(least=LEAST_KILLED)]
    lines += [f"{rows[name]}\n" for name in names if name in rows]
    lines.append("\n## Listed mutants\n")
    module = ""
    for entry in sorted(listed, key=lambda entry: entry.module):
        if entry.module != module:
            module = entry.module
            lines.append(f"\n### {module}\n\n")
        place = f"`{entry.key.function}`: " if entry.key.function else ""
        lines.append(f"- {place}`{entry.key.original}` becomes `{entry.key.mutated}`. {entry.reason}\n")
    page.write_text("".join(lines), encoding="utf-8")
