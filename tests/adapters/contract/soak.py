"""Run the contract again and again; stop at the first failure and show it.

In each run every runtime has a process of its own, all at the same time. Every second run shares the
processors with as many busy loops, so that what is quick here may be slow, and come in another order.

Usage: python -m tests.adapters.contract.soak [--runs N] [--runtimes "NAME ..."] [arguments for pytest]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.adapters.runtimes import RUNTIMES

ROOT = Path(__file__).parents[3]
FOLDER = Path(__file__).parent.relative_to(ROOT)


@contextmanager
def busy_processors(busy: bool) -> Iterator[None]:
    """Let something else use every processor."""
    count = (os.cpu_count() or 1) if busy else 0
    # Until its parent is gone, however that ended.
    loop = "import os; parent = os.getppid()\nwhile os.getppid() == parent: pass"
    children = [subprocess.Popen([sys.executable, "-c", loop]) for _ in range(count)]
    try:
        yield
    finally:
        for child in children:
            child.kill()
            child.wait()


def run(seed: int, runtimes: list[str], arguments: list[str]) -> str | None:
    """Run everything once; return what was printed about the first failure."""
    with tempfile.TemporaryDirectory() as folder:
        processes = []
        for name in runtimes:
            command = [
                sys.executable,
                "-m",
                "pytest",
                "-q",
                "-x",
                "-p",
                "no:cacheprovider",
                str(FOLDER),
                *arguments,
            ]
            environment = {
                **os.environ,
                "RUNTIMES": name,
                "CONTRACT_SEED": str(seed),
                "PYTHONHASHSEED": str(seed),
            }
            with Path(folder, name).open("wb") as output:
                processes.append(
                    subprocess.Popen(
                        command, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT
                    )
                )
        try:
            while all(process.poll() in (None, 0) for process in processes):
                if all(process.poll() == 0 for process in processes):
                    return None
                time.sleep(0.1)
        finally:
            for process in processes:
                if process.poll() is None:
                    process.kill()
                    process.wait()
        outputs = zip(runtimes, processes, strict=True)
        name = next(name for name, process in outputs if process.returncode not in (0, -9))
        return f"on {name}:\n{Path(folder, name).read_text(errors='replace')}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--runs", type=int, default=100, help="how many times (default: 100)")
    parser.add_argument("--first", type=int, default=1, help="number of the first run (default: 1)")
    parser.add_argument("--runtimes", default=" ".join(RUNTIMES), help="which (default: all)")
    options, arguments = parser.parse_known_args()
    for seed in range(options.first, options.first + options.runs):
        busy = seed % 2 == 0
        started = time.monotonic()
        with busy_processors(busy):
            failure = run(seed, options.runtimes.split(), arguments)
        state = f"{'busy' if busy else 'quiet'}, {time.monotonic() - started:.0f} s"
        print(f"run {seed} ({state}): {'failed' if failure else 'passed'}", flush=True)
        if failure:
            print(f"{failure}\nTo repeat it: --first {seed} --runs 1")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
