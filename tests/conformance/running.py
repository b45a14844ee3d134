"""Run the cases of a runner, in a process of its own, with either side of a runtime."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.adapters.runtimes import FEATURES, RUNTIMES, SOCKETS, Runtime
from tests.adapters.runtimes.base import echo
from wsproto_core import ConnectionClosed

from .verdicts import Verdict, load

__all__ = ["NAMES", "each_runtime", "start", "try_client", "try_server"]

ROOT = Path(__file__).parents[2]

NAMES = [name for name, kind in RUNTIMES.items() if {SOCKETS, FEATURES} <= kind.abilities]
"""The runtimes that the cases are tried on."""

DIFFERENT = ("asyncio", "threading", "trio")
"""Those of them on which other code moves messages."""

each_runtime = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in DIFFERENT else pytest.mark.thorough) for name in NAMES]
)

Verdicts = dict[str, Verdict]


@contextlib.contextmanager
def start(module: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Start a runner, a module of this package, with what its command line needs."""
    command = [sys.executable, "-m", f"tests.conformance.{module}", *arguments]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        with process:
            yield process
    finally:
        process.kill()


async def end_of(runtime: Runtime, process: subprocess.Popen[str]) -> Verdicts:
    """Wait until the runner is done; return what it has printed at the end."""
    # The verdicts fit into a pipe.
    await runtime.until(lambda: process.poll() is not None)
    assert process.returncode == 0
    assert process.stdout is not None
    return load(process.stdout.read())


async def try_server(
    runtime: Runtime, module: str, *arguments: str, cases: Sequence[str], **options: Any
) -> Verdicts:
    """Run cases with a server of ours.

    Args:
        runtime: what the server runs on.
        module: the runner.
        arguments: for the runner.
        cases: numbers of cases, or patterns.
        options: for the server.
    """
    async with runtime.serving(max_size=None, **options) as (_, uri):
        with start(module, *arguments, "client", uri, *cases) as process:
            return await end_of(runtime, process)


async def try_client(
    runtime: Runtime, module: str, *arguments: str, cases: Sequence[str], at_once: int = 1, **options: Any
) -> Verdicts:
    """Run cases with clients of ours.

    Args:
        runtime: what the clients run on.
        module: the runner.
        arguments: for the runner.
        cases: numbers of cases, or patterns.
        at_once: how many clients there are at the same time.
        options: for the clients.
    """
    options = {"max_size": None, **options}
    with start(module, *arguments, "server", *cases) as process:
        assert process.stdout is not None
        uri = process.stdout.readline().strip()
        async with runtime.connect(f"{uri}/getCaseCount", **options) as websocket:
            numbers = iter(range(1, int(await websocket.recv()) + 1))
        tasks = [runtime.spawn(run_cases, runtime, uri, numbers, options) for _ in range(at_once)]
        for task in tasks:
            await task.result()
        async with runtime.connect(f"{uri}/updateReports?agent=ours", **options) as websocket:
            # Autobahn ends the stream without a close frame.
            with contextlib.suppress(ConnectionClosed):
                await websocket.recv()
        return await end_of(runtime, process)


async def run_cases(runtime: Runtime, uri: str, numbers: Iterator[int], options: dict[str, Any]) -> None:
    for number in numbers:
        async with runtime.connect(f"{uri}/runCase?case={number}&agent=ours", **options) as websocket:
            with contextlib.suppress(ConnectionClosed):
                await echo(websocket)
