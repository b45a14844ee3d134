"""The programs in the documentation's pages do what the pages say."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"

ECHO = ["Hello!", "one message, in fragments"]

PRINTED = {"trio.md": [ECHO, ["pings all day: True"]], "anyio.md": [ECHO]}


def programs(page: str) -> list[str]:
    """The blocks of code that are whole programs: they run something."""
    text = (DOCS / page).read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    return [block for block in blocks if re.search(r"^\w+\.run\(", block, re.MULTILINE)]


@pytest.mark.parametrize("page", PRINTED)
def test_programs_print_what_they_should(page: str) -> None:
    printed = [
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
        for program in programs(page)
    ]
    assert [output.splitlines() for output in printed] == PRINTED[page]
