"""The command: ``python -m tests.mutants [--processes N] [MODULE ...]``, see the docstring of the package."""

from __future__ import annotations

import argparse
import sys
import time

from .listed import compare, read_list
from .report import LEAST_KILLED, Row, read_rows, write_page
from .running import TestsFail, run
from .subjects import ROOT, SUBJECTS

__all__ = ["main"]


def tell(text: str) -> None:
    print(f"  {text}", file=sys.stderr, flush=True)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description="Test the tests by mutants.")
    parser.add_argument("modules", nargs="*", metavar="MODULE", help=f"among {', '.join(SUBJECTS)} (all)")
    parser.add_argument("--processes", type=int, default=2, help="how many run at a time (2)")
    options = parser.parse_args(arguments)
    if unknown := set(options.modules) - set(SUBJECTS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(SUBJECTS)}")
    listed = read_list()
    rows = read_rows()
    failed = False
    for name in options.modules or SUBJECTS:
        started = time.monotonic()
        print(f"{name}", flush=True)
        try:
            results = run(SUBJECTS[name], processes=options.processes, tell=tell)
        except TestsFail as error:
            print(f"  the tests fail without a change:\n{error}")
            return 1
        verdict = compare(results, listed, ROOT)
        for result in verdict.survived:
            print(f"  survived, of {result.tests} tests that reach it: {result.mutant}")
        for entry, what in verdict.outdated:
            print(f"  listed, but {what}: {entry.module} {entry.key.function}")
            print(f"- {entry.key.original}\n+ {entry.key.mutated}")
        killed = sum(result.killed for result in results)
        row = Row(name, len(results), killed, len(verdict.listed))
        rows[name] = row
        print(
            f"  {row.mutants} mutants, {killed} killed ({row.percent:.1f} %), {row.listed} listed, "
            f"{len(verdict.survived)} not listed, {time.monotonic() - started:.0f} s",
            flush=True,
        )
        if row.percent < LEAST_KILLED:
            print(f"  too few: {LEAST_KILLED} % have to be killed")
        failed |= bool(verdict.survived or verdict.outdated) or row.percent < LEAST_KILLED
        if not failed:
            write_page(rows, listed, list(SUBJECTS))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
