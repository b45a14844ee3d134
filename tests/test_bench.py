"""The benchmarks run, with little to do, and print their tables."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BENCH = ROOT / "bench"
TIMEOUT = 500

LITTLE = {
    "bomb": ["128"],
    "broadcast": ["100", "2"],
    "calls": [],
    "compression_settings": ["3", "no compression", "the defaults"],
    "fairness": ["1024"],
    "growth": [],
    "idle_connections": ["3", "256"],
    "structured_round_trip": ["10"],
    "threading_round_trip": ["10"],
}
"""By script, its arguments."""

LIMITED = ("calls", "fairness", "growth")
"""Those that measure each adapter and have limits."""

ADAPTERS = ("asyncio", "uvloop", "trio", "threading", "anyio-asyncio", "anyio-trio")

MARKDOWN = ("bomb", "broadcast", "compression_settings", "idle_connections")
"""Those that print tables for the documentation."""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is measured by means of Linux")


def test_all_are_tried_and_run_by_make() -> None:
    scripts = {path.stem for path in BENCH.glob("*.py") if "__main__" in path.read_text(encoding="utf-8")}
    scripts.remove("run")
    assert scripts == set(LITTLE)
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert set(re.findall(r"python bench/(\w+)\.py", makefile)) == scripts


def run(name: str, *options: str, more: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *options, BENCH / f"{name}.py", *LITTLE[name], *more],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


@pytest.mark.parametrize("name", MARKDOWN)
def test_benchmark_for_the_documentation(name: str) -> None:
    done = run(name, "-W", "error")
    assert (done.returncode, done.stderr) == (0, "")
    table = [line for line in done.stdout.splitlines() if line.startswith("|")]
    assert len(table) > 2
    # Every row has a figure, and as many cells as the head.
    assert len({line.count("|") for line in table}) == 1
    assert all(re.search(r"\d", line) for line in table if not line.startswith(("|--", table[0])))


@pytest.mark.parametrize("name", sorted(set(LITTLE) - {*MARKDOWN, *LIMITED}))
def test_benchmark(name: str) -> None:
    done = run(name)
    assert done.returncode == 0, done.stderr
    assert len(re.findall(r"\d\.\d", done.stdout)) > 2


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_others_get_their_turn(adapter: str) -> None:
    done = run("fairness", more=[adapter])
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(f"\n| {adapter} ") >= 5


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_calls_of_an_echo(adapter: str) -> None:
    done = run("calls", more=[adapter])
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(rf"^\| {adapter} \| \d+ \| \d+ \|$", done.stdout, re.MULTILINE)


@pytest.mark.parametrize("place", ["core", *ADAPTERS])
def test_work_is_in_proportion(place: str) -> None:
    done = run("growth", more=[f"{place}: "])
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(f"\n| {place}: ") >= 3


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (
            "import bomb; bomb.LIMIT = 1000; bomb.main(128 * 2**20)",
            r"the peak rose by [\d.]+ times max_size",
        ),
        (
            "import calls; calls.LIMITS['asyncio'] = 5; calls.main(['asyncio'], False)",
            r"more calls than the limit: asyncio: \d+",
        ),
        (
            "import fairness; fairness.BYTES = 1000; fairness.main(64, 'asyncio')",
            r"others do not get their turn: asyncio, bytes of pongs; asyncio, bytes of pongs on TLS; ",
        ),
        (
            "import growth; growth.CALLS = 1.5; growth.ATTEMPTS = 1; growth.main('asyncio: tasks')",
            r"more than in proportion: asyncio: tasks that wait to send",
        ),
        (
            "import growth; growth.TIME = 0.5; growth.ATTEMPTS = 1; growth.main('core: fragments')",
            r"more than in proportion: core: fragments of a message",
        ),
    ],
)
def test_limits_that_are_not_kept_are_noticed(code: str, said: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=BENCH,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 1
    assert re.search(said, done.stderr)
