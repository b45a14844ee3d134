"""The programs of examples/, in processes of their own."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["AMPLE", "EXAMPLES", "Program", "run", "started"]

EXAMPLES = Path(__file__).parents[2] / "examples"

AMPLE = 60.0
"""Seconds, many times what anything here takes."""


def command(name: str, *arguments: object) -> list[str]:
    return [sys.executable, "-W", "error", str(EXAMPLES / name), *map(str, arguments)]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(EXAMPLES.parent), "PYTHONIOENCODING": "utf-8"}


class Program:
    """A running program, whose output is read line by line."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def line(self) -> str:
        """Return the next line of the output."""
        line = self.lines.get(timeout=AMPLE)
        assert line is not None, f"the program has ended, with status {self.process.wait()}"
        return line

    def expect(self, text: str) -> str:
        """Return the next line with this text, past all others."""
        while text not in (line := self.line()):
            pass
        return line

    def type(self, line: str) -> None:
        """Write a line to the program."""
        assert self.process.stdin
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def stop(self, number: int = signal.SIGINT) -> int:
        """Send a signal; return the exit status."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        """Wait for the end; return the exit status."""
        return self.process.wait(AMPLE)

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.lines.put(line.rstrip("\n"))
        self.lines.put(None)


@contextmanager
def started(name: str, *arguments: object) -> Iterator[Program]:
    """Run a program; its errors are among its output."""
    process = subprocess.Popen(
        command(name, *arguments),
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
    )
    with process:
        program = Program(process)
        try:
            yield program
        finally:
            process.kill()


def run(name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a program to its end."""
    return subprocess.run(
        command(name, *arguments),
        env=environment(),
        capture_output=True,
        encoding="utf-8",
        timeout=AMPLE,
        check=False,
    )
