"""The program of the routing guide runs; tests/docs compares the guide with it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"
PROGRAM = DOCS / "examples" / "routing.py"


def test_program_runs() -> None:
    command = [sys.executable, "-X", "utf8", "-W", "error", str(PROGRAM)]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    assert (done.returncode, done.stderr) == (0, "")
    shown = [line.partition(" -> ")[2] for line in done.stdout.splitlines()]
    first_words = ["Welcome", "This", "This", "404", "Welcome", "anna's", "404", "Welcome", "200", "404"]
    assert [line.partition(" ")[0] for line in shown] == first_words
    assert shown[2] == shown[1]
    assert shown[-1] == "404 There are /channel/ID and /room/ID here."
