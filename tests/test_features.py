"""The page on features is about the features and runtimes that there are. No test is run for it."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
SCRIPT = ROOT / "docs" / "features.py"
FEATURES = runpy.run_path(str(SCRIPT))


def test_page_is_up_to_date() -> None:
    command = [sys.executable, str(SCRIPT), "--check"]
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert result.returncode == 0, result.stdout


def results(threading: int, lacking: set[str]) -> Any:
    results = FEATURES["Results"]()
    results.details = {"Pings": "`ping`, `pong`. More of that"}
    results.counts = {("Pings", name): 7 for name in FEATURES["RUNTIMES"]} | {
        ("Pings", "threading"): threading
    }
    results.lacking["Pings", "threading"] |= lacking
    return results


@pytest.mark.parametrize("number", [0, 6])
def test_holes_are_explained_or_refused(number: int) -> None:
    page = FEATURES["write"](results(number, {"coroutines"}))
    assert f"| Pings | `ping`, `pong` | 7 | 7 | 7 | {number} (a) | 7 | 7 |\n" in page
    assert "\n(a) Fewer tests, because there are no coroutines" in page
    with pytest.raises(SystemExit, match="'Pings' has holes that nothing explains"):
        FEATURES["write"](results(number, set()))


def test_only_numbers_may_be_out_of_date() -> None:
    write, without_numbers = FEATURES["write"], FEATURES["without_numbers"]
    page = without_numbers(write(results(6, {"coroutines"})))
    assert without_numbers(write(results(5, {"coroutines"}))) == page
    assert without_numbers(write(results(0, {"coroutines"}))) != page
    assert without_numbers(write(results(7, set()))) != page
