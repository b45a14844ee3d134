"""Simulate many connections, and print the seed of each in which something does not hold.

Usage: python -m tests.simulation [--runs N] [--first SEED] [--processes N]
       python -m tests.simulation --seed N     this seed alone: tells what happens in it
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
import traceback
from typing import NamedTuple

from wsproto_core import COMPILED

from .connection import simulate

__all__ = ["Failed", "main", "run_batch"]

BATCH = 500
"""Connections that a process runs before it reports."""

MOST_FAILURES = 20
"""Failures after which there is no use in going on."""

REPORTED_EVERY = 10_000


class Failed(NamedTuple):
    """A seed in which something does not hold."""

    seed: int
    reason: str

    def __str__(self) -> str:
        alone = f"python -m tests.simulation --seed {self.seed}"
        return f"seed {self.seed}: {self.reason}\n  to run it alone: {alone}"


def run_batch(seeds: range) -> list[Failed]:
    """Run the connections of these seeds; return those that failed."""
    failures = []
    for seed in seeds:
        try:
            simulate(seed)
        except Exception as error:
            failures.append(Failed(seed, f"{type(error).__name__}: {error}"))
    return failures


def run_one(seed: int) -> int:
    """Run the connection of one seed, and tell what happens in it."""
    try:
        simulate(seed, print)
    except Exception:
        traceback.print_exc(file=sys.stdout)
        return 1
    print(f"seed {seed}: all holds")
    return 0


def run_many(first: int, runs: int, processes: int) -> int:
    """Run the connections of many seeds in several processes."""
    end = first + runs
    batches = [range(start, min(start + BATCH, end)) for start in range(first, end, BATCH)]
    started, done, failures = time.monotonic(), 0, 0
    with multiprocessing.Pool(processes) as pool:
        for batch, failed in zip(batches, pool.imap(run_batch, batches), strict=True):
            for each in failed:
                print(each, flush=True)
            failures += len(failed)
            done += len(batch)
            if done % REPORTED_EVERY < BATCH or done == runs or failures >= MOST_FAILURES:
                print(
                    f"{done} connections, {failures} failures, seeds {first} to {batch[-1]}, "
                    f"{'compiled' if COMPILED else 'pure'}, {time.monotonic() - started:.0f} s",
                    flush=True,
                )
            if failures >= MOST_FAILURES:
                pool.terminate()
                break
    return 1 if failures else 0


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seed", type=int, help="run this seed alone, and tell what happens")
    parser.add_argument("--runs", type=int, default=10_000, help="connections (10000)")
    parser.add_argument("--first", type=int, default=0, help="the seed of the first one (0)")
    parser.add_argument("--processes", type=int, default=1, help="processes that share them (1)")
    options = parser.parse_args(arguments)
    if options.seed is not None:
        return run_one(options.seed)
    return run_many(options.first, options.runs, options.processes)


if __name__ == "__main__":
    sys.exit(main())
