"""The mutants that survive for a reason: ``equivalent.toml``."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from .operators import Key
from .running import Result

__all__ = ["LIST", "Listed", "Verdict", "compare", "read_list"]

LIST = Path(__file__).parent / "equivalent.toml"


class Listed(NamedTuple):
    """An entry of the list."""

    module: str
    """Path of the module, from the project's folder."""
    key: Key
    reason: str


class Verdict(NamedTuple):
    """How results and the list go together."""

    survived: list[Result]
    """Survivors that are not listed."""
    outdated: list[tuple[Listed, str]]
    """Entries whose mutant was killed, or does not exist, and which of the two."""
    listed: list[Listed]
    """Entries whose mutant survived."""


def read_list(path: Path = LIST) -> list[Listed]:
    """Read the list.

    Raises:
        ValueError: an entry has no reason, or stands twice.
    """
    entries = []
    for entry in tomllib.loads(path.read_text(encoding="utf-8")).get("mutant", []):
        key = Key(entry.get("function", ""), entry["original"], entry["mutated"])
        entries.append(Listed(entry["module"], key, " ".join(entry.get("reason", "").split())))
    for number, each in enumerate(entries):
        if not each.reason:
            raise ValueError(f"no reason for {each}")
        if any((each.module, each.key) == (other.module, other.key) for other in entries[:number]):
            raise ValueError(f"listed twice: {each}")
    return entries


def compare(results: Iterable[Result], listed: Sequence[Listed], root: Path) -> Verdict:
    """Compare results with the list; entries of modules without results are left alone.

    Two mutants with the same key, from a line that stands twice in a function, share an entry.
    """
    by_key: dict[tuple[str, Key], list[Result]] = {}
    for result in results:
        module = result.mutant.path.relative_to(root).as_posix()
        by_key.setdefault((module, result.mutant.key), []).append(result)
    modules = {module for module, _ in by_key}
    known = {(each.module, each.key) for each in listed}
    survived = [
        result for key, same in by_key.items() for result in same if not result.killed and key not in known
    ]
    outdated, confirmed = [], []
    for entry in listed:
        if entry.module not in modules:
            continue
        same = by_key.get((entry.module, entry.key), [])
        if not same:
            outdated.append((entry, "does not exist"))
        elif all(result.killed for result in same):
            outdated.append((entry, "is killed"))
        else:
            confirmed.append(entry)
    return Verdict(survived, outdated, confirmed)
