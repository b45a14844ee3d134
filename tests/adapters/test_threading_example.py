"""The program in the documentation is the one that is run here."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from .threads import DEADLINE

DOCS = Path(__file__).parent.parent.parent / "docs"
PROGRAM = DOCS / "examples" / "threading_echo.py"


def test_program() -> None:
    command = [sys.executable, "-W", "error", str(PROGRAM)]
    environment = {**os.environ, "PYTHONPATH": str(DOCS.parent)}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=DEADLINE, check=False
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == [f"Hello from {name}!" for name in ("Alice", "Bob", "Carol")]
