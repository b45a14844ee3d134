"""The command line in processes of its own, and servers that it talks to."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import coverage

from adapters.threading import ServerConnection, serve

__all__ = ["AMPLE", "CERTIFICATES", "ROOT", "environment", "program", "run", "served", "serving", "spawn"]

ROOT = Path(__file__).parents[3]
CERTIFICATES = ROOT / "tests" / "certificates"

AMPLE = 100.0
"""Seconds, many times what anything here takes."""


def program() -> list[str]:
    """The beginning of a command. What it runs is measured where the tests are."""
    measured = ["-m", "coverage", "run", f"--rcfile={ROOT / 'pyproject.toml'}"]
    return [sys.executable, *(measured if coverage.Coverage.current() else []), "-m", "adapters"]


def environment(**more: str) -> dict[str, str]:
    own = {"PYTHONWARNINGS": "error", "COVERAGE_FILE": str(ROOT / ".coverage"), "PYTHONPATH": str(ROOT)}
    return {**os.environ, **own, **more}


def spawn(*arguments: str, **options: Any) -> subprocess.Popen[bytes]:
    options = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    return subprocess.Popen([*program(), *arguments], env=environment(), **options)


def run(*arguments: str, data: bytes = b"") -> tuple[int, bytes, str]:
    """Run a command in pipes; return its exit status, output and errors."""
    with spawn(*arguments) as process:
        try:
            output, errors = process.communicate(data, timeout=AMPLE)
        finally:
            process.kill()
    return process.returncode, output, errors.decode()


@contextmanager
def served(handler: Callable[[ServerConnection], Any], **options: Any) -> Iterator[str]:
    """A server of the test; yields its URI."""
    with serve(handler, "127.0.0.1", 0, **options) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"{'wss' if options.get('ssl') else 'ws'}://localhost:{server.port}/"
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def serving(*arguments: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """The command ``serve`` on a free port; yields its process and the address that it prints."""
    with spawn("serve", *arguments, "--host", "127.0.0.1", "--port", "0") as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline().decode()
            match = re.search(r"wss?://([\w.]+:\d+)/", line)
            assert match, (line, process.stderr.read() if process.stderr else b"")
            yield process, match[1]
        finally:
            process.kill()
