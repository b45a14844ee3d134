"""All of Autobahn's cases that the runner has, with each adapter, as a server and as a client."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.adapters.runtimes import FEATURES, RUNTIMES, SOCKETS, Runtime, make_runtime
from tests.adapters.runtimes.base import echo
from wsproto_core import ConnectionClosed

pytest.importorskip("kosoku", reason="the package kosoku is not installed")

ROOT = Path(__file__).parents[2]

NAMES = [name for name, kind in RUNTIMES.items() if {SOCKETS, FEATURES} <= kind.abilities]
"""The runtimes that this is tried on."""

COUNT = 301
"""Cases in sections 1 to 7, 9 and 10."""

OK = ["OK", "OK"]

INFORMATIONAL = {key: ["INFORMATIONAL", "INFORMATIONAL"] for key in ("7.1.6", "7.13.1", "7.13.2")}
"""Cases in which everything is right. In all others one thing is."""

ATTEMPTS = 3
"""How often a case is run that ends by a deadline of the runner itself: a busy machine may be too slow."""

CONCURRENCY = 8
"""How many cases a client of ours runs at the same time: in some of them the runner waits for a second."""

Verdicts = dict[str, list[str]]


@contextlib.contextmanager
def runner(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tests.conformance.autobahn", *arguments]
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
    verdicts: Verdicts = json.loads(process.stdout.read())
    return verdicts


async def try_server(runtime: Runtime, *cases: str) -> Verdicts:
    """Run cases with a server of ours."""
    async with runtime.serving(max_size=None) as (_, uri):
        with runner("client", uri, *cases) as process:
            return await end_of(runtime, process)


async def try_client(runtime: Runtime, *cases: str) -> Verdicts:
    """Run cases with clients of ours."""
    with runner("server", *cases) as process:
        assert process.stdout is not None
        uri = process.stdout.readline().strip()
        async with connection(runtime, f"{uri}/getCaseCount") as websocket:
            numbers = iter(range(1, int(await websocket.recv()) + 1))
        tasks = [runtime.spawn(run_cases, runtime, uri, numbers) for _ in range(CONCURRENCY)]
        for task in tasks:
            await task.result()
        async with connection(runtime, f"{uri}/updateReports?agent=ours") as websocket:
            # The runner ends the stream without a close frame.
            with contextlib.suppress(ConnectionClosed):
                await websocket.recv()
        return await end_of(runtime, process)


@contextlib.asynccontextmanager
async def connection(runtime: Runtime, uri: str) -> AsyncIterator[Any]:
    async with runtime.connect(uri, max_size=None) as websocket:
        yield websocket


async def run_cases(runtime: Runtime, uri: str, numbers: Iterator[int]) -> None:
    for number in numbers:
        async with connection(runtime, f"{uri}/runCase?case={number}&agent=ours") as websocket:
            with contextlib.suppress(ConnectionClosed):
                await echo(websocket)


def is_slow(case: str, verdict: list[str]) -> bool:
    """Whether a case has failed that must be done within a time of the runner's: those of section 9."""
    return case.startswith("9.") and verdict != OK


async def check(attempt: Any, runtime: Runtime) -> None:
    verdicts = await attempt(runtime)
    assert len(verdicts) == COUNT
    for _ in range(ATTEMPTS - 1):
        late = [case for case, verdict in verdicts.items() if len(verdict) > 2 or is_slow(case, verdict)]
        if late:
            verdicts |= await attempt(runtime, *late)
    others = {case: verdict for case, verdict in verdicts.items() if verdict != OK}
    assert others == INFORMATIONAL, others


@pytest.mark.parametrize("name", NAMES)
def test_server(name: str) -> None:
    runtime = make_runtime(name)
    runtime.run(check(try_server, runtime))


@pytest.mark.parametrize("name", NAMES)
def test_client(name: str) -> None:
    runtime = make_runtime(name)
    runtime.run(check(try_client, runtime))
