#!/usr/bin/env python3
"""Run the tests in three processes side by side, and print what each says when all have ended.

    .ci/tests.py [--coverage] [-k name -x ...]

With arguments for pytest there is one process, which prints at once.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile

CONTRACT = "tests/adapters/contract"
PARTS = ([CONTRACT], ["tests/adapters", f"--ignore={CONTRACT}"], ["tests", "--ignore=tests/adapters"])
"""Of about the same length. The first two mostly wait."""


def main(arguments: list[str]) -> int:
    pytest = [sys.executable, "-m", "pytest"]
    if arguments[:1] == ["--coverage"]:
        pytest = [sys.executable, "-m", "coverage", "run", "-m", "pytest"]
        del arguments[0]
    if arguments:
        return subprocess.call([*pytest, *arguments])
    status = 0
    with contextlib.ExitStack() as stack:
        running = []
        for part in PARTS:
            # Nothing is printed before the end, so that they do not mix.
            output = stack.enter_context(tempfile.TemporaryFile())
            running.append((output, subprocess.Popen([*pytest, *part], stdout=output, stderr=output)))
        for output, process in running:
            status = process.wait() or status
            output.seek(0)
            sys.stdout.buffer.write(output.read())
            sys.stdout.flush()
    return status


sys.exit(main(sys.argv[1:]))
