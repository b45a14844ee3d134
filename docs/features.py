"""Write features.md: what works on which runtime, by the tests that hold all adapters to one contract.

    python docs/features.py            run these tests, and write how many of them passed
    python docs/features.py --check    only collect them: does the page have these features and runtimes?

A feature is a module of ``tests/adapters/contract``, whose docstring names it. Nothing is written if a
test fails, or if a runtime has fewer of them for a reason that this file does not explain.
"""

from __future__ import annotations

import os
import re
import sys
from collections import Counter, defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CONTRACT = ROOT / "tests" / "adapters" / "contract"
PAGE = ROOT / "docs" / "features.md"

RUNTIMES = {
    "asyncio": "[asyncio](asyncio.md)",
    "uvloop": "uvloop",
    "trio": "[trio](trio.md)",
    "threading": "[threading](threading.md)",
    "anyio-asyncio": "[anyio](anyio.md) on asyncio",
    "anyio-trio": "anyio on trio",
}

NOTES = {
    "coroutines": "Fewer tests, because there are no coroutines: none that cancels a task, and none whose "
    "handler, function or iterable is asynchronous. A blocking call is given up by its `timeout`, or by "
    "`close()` in another thread.",
}
"""Why tests may be left out on a runtime, by what they need and it has not got."""

HEAD = (
    "# Features\n\n"
    "Every feature is there on every runtime. The numbers count tests that passed: the same ones on all "
    "runtimes, because each is written once, for any of them (`tests/adapters/contract`). `make features` "
    "runs them and writes this page.\n\n"
)


class Results:
    """Counts the tests of a run, by feature and runtime; a plugin of pytest.

    Attributes:
        counts: how many tests there are, or how many have passed.
        details: of each feature.
        lacking: what made tests be left out.
    """

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()
        self.details: dict[str, str] = {}
        self.lacking: defaultdict[tuple[str, str], set[str]] = defaultdict(set)

    def _count(self, properties: list[tuple[str, object]], number: int) -> tuple[str, str] | None:
        told = {name: str(value) for name, value in properties}
        if "feature" not in told:
            return None
        cell = told["feature"], told["runtime"]
        self.counts[cell] += number
        self.details[cell[0]] = told["details"]
        return cell

    def pytest_deselected(self, items: list[pytest.Item]) -> None:
        for item in items:
            cell = self._count(item.user_properties, 0)
            if cell is not None:
                needs = {ability for mark in item.iter_markers("needs") for ability in mark.args}
                self.lacking[cell] |= needs & NOTES.keys()
                if not needs & NOTES.keys():
                    raise pytest.UsageError(f"{item.nodeid} is left out, and NOTES does not say why")

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        if session.config.option.collectonly:
            for item in session.items:
                self._count(item.user_properties, 1)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" and report.passed:
            self._count(report.user_properties, 1)


def check_holes(results: Results) -> None:
    """See that a feature has the same tests on all runtimes, but for those that a note explains.

    Raises:
        SystemExit: it has not.
    """
    for feature in results.details:
        counts = {name: results.counts[feature, name] for name in RUNTIMES}
        explained = {name for name in RUNTIMES if results.lacking.get((feature, name))}
        if len({count for name, count in counts.items() if name not in explained}) > 1:
            sys.exit(f"features.md is left as it was: {feature!r} has holes that nothing explains: {counts}")


def write(results: Results) -> str:
    """Return the page."""
    check_holes(results)
    notes = sorted(set().union(*results.lacking.values()))
    marks = {ability: f" ({letter})" for ability, letter in zip(notes, "abcdefgh", strict=False)}
    lines = [
        f"| feature | | {' | '.join(RUNTIMES.values())} |",
        f"|---|---|{'--:|' * len(RUNTIMES)}",
    ]
    for feature in sorted(results.details, key=str.lower):
        cells = [feature, results.details[feature].rstrip(".").partition(". ")[0]]
        for runtime in RUNTIMES:
            cell = feature, runtime
            mark = "".join(marks[ability] for ability in sorted(results.lacking.get(cell, ())))
            cells.append(f"{results.counts[cell]}{mark}")
        lines.append(f"| {' | '.join(cells)} |")
    lines += [f"\n{marks[ability].strip()} {NOTES[ability]}" for ability in notes]
    lines.append(
        "\n[What differs between runtimes](runtimes.md) has what each of them adds, and calls otherwise. "
        "[Conformance](conformance.md) has Autobahn's cases, section by section."
    )
    return HEAD + "\n".join(lines) + "\n"


def without_numbers(page: str) -> str:
    """What does not depend on how many tests there are, beyond any or none."""
    return re.sub(r"(?<=\| )[1-9]\d*(?= )", "some", page)


def run(*arguments: str) -> Results:
    """Run the contract's tests on the runtimes of the table.

    Raises:
        SystemExit: not all of them passed.
    """
    os.environ["RUNTIMES"] = " ".join(RUNTIMES)
    results = Results()
    status = pytest.main(["-q", "-p", "no:cacheprovider", *arguments, str(CONTRACT)], plugins=[results])
    if status:
        sys.exit(f"features.md is left as it was: pytest ended with status {int(status)}")
    return results


def main() -> None:
    os.chdir(ROOT)
    results = run("--collect-only", "-qq")
    if sys.argv[1:] == ["--check"]:
        if without_numbers(write(results)) != without_numbers(PAGE.read_text(encoding="utf-8")):
            sys.exit("docs/features.md is out of date: run  make features")
    else:
        # Tests may run in other processes, which do not tell what they leave out.
        results.counts = run(*sys.argv[1:]).counts
        PAGE.write_text(write(results), encoding="utf-8")


if __name__ == "__main__":
    main()
