"""What is left of connections: no task, thread, socket, timer or other object, however they ended."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.adapters.runtimes import Runtime
from tests.soak.leaks import TOLERANCE, check_leaks

pytestmark = pytest.mark.needs("sockets")

RUNS = TOLERANCE + 20
"""``python -W error -m tests.soak.leaks`` does the same ten thousand times."""

REPOSITORY = Path(__file__).parents[3]


def test_nothing_is_left_of_connections(runtime: Runtime) -> None:
    # In a process of its own: where coverage is measured, some objects of each thread are kept.
    command = [sys.executable, "-W", "error", "-m", "tests.soak.leaks", "--runs", str(RUNS)]
    process = subprocess.run(
        [*command, "--runtimes", runtime.name], cwd=REPOSITORY, capture_output=True, text=True, timeout=100
    )
    assert process.returncode == 0, process.stderr


async def test_connections_that_are_kept_are_found(runtime: Runtime) -> None:
    kept: list[Any] = []
    with pytest.raises(AssertionError, match=r"objects are left of \d+ connections: .*ServerProtocol': \d+"):
        await check_leaks(runtime, RUNS, kept.append)
