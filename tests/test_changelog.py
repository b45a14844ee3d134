"""The fragments of the changelog, and what moves them into it."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from .building import ROOT


def load() -> Any:
    spec = importlib.util.spec_from_file_location("changelog", ROOT / ".ci" / "changelog.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


changelog = load()

BEFORE = """\
# Changelog

The format.

## Unreleased

### Added

- One.

### Fixed

- Two,
  in two lines.

## 0.1.0 - 2026-01-01

### Added

- Three.
"""

AFTER = """\
# Changelog

The format.

## Unreleased

### Added

- One.
- Four.

### Removed

- Five.

### Fixed

- Two,
  in two lines.

## 0.1.0 - 2026-01-01

### Added

- Three.
"""


def test_fragments_of_this_project() -> None:
    fragments = changelog.read_fragments(ROOT / "changelog.d")
    page = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    # Without fragments, it stays as it is.
    assert changelog.add(page, []) == page
    assert changelog.add(page, list(fragments.values())).count("\n") >= page.count("\n") + len(fragments)


def test_add() -> None:
    assert changelog.add(BEFORE, [("Added", "Four."), ("Removed", "Five.")]) == AFTER
    assert changelog.add(BEFORE, []) == BEFORE


def test_release() -> None:
    released = changelog.release(BEFORE, "0.2.0", "2026-02-01")
    assert released == BEFORE.replace("Unreleased", "0.2.0 - 2026-02-01")
    next_one = changelog.add(released, [("Fixed", "Six.")])
    assert next_one == released.replace("## 0.2.0", "## Unreleased\n\n### Fixed\n\n- Six.\n\n## 0.2.0")
    assert changelog.add("# Changelog\n", [("Fixed", "Six.")]) == (
        "# Changelog\n## Unreleased\n\n### Fixed\n\n- Six.\n"
    )


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("new.md", "Text.", "a fragment is called"),
        ("new.news.md", "Text.", "a fragment is called"),
        ("New.added.md", "Text.", "a fragment is called"),
        ("new.added.md", "", "one line"),
        ("new.added.md", "One.\nTwo.", "one line"),
        ("new.added.md", "- Text.", "one line"),
    ],
)
def test_no_fragment(tmp_path: Path, name: str, text: str, problem: str) -> None:
    (tmp_path / "README.md").touch()
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=problem):
        changelog.read_fragments(tmp_path)
    (tmp_path / name).unlink()
    (tmp_path / "new.added.md").write_text("Text.\n")
    assert changelog.read_fragments(tmp_path) == {tmp_path / "new.added.md": ("Added", "Text.")}
