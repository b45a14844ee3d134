"""What the type checker knows of the public surface, and what it refuses.

The programs are checked in one run of mypy, strictly. Where they do something wrong on purpose, a
``type: ignore`` names the error: mypy complains about one that is not needed.
"""

from __future__ import annotations

from pathlib import Path

from mypy import api

ROOT = Path(__file__).parent.parent.parent
PROGRAMS = Path(__file__).parent / "programs"


def test_programs_have_the_types_that_they_say() -> None:
    arguments = ["--config-file", str(ROOT / "pyproject.toml"), "--no-pretty", str(PROGRAMS)]
    output, errors, status = api.run(arguments)
    assert (errors, status) == ("", 0), output
