"""A server without file descriptors: connections go on, and clients that waited are served later."""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.adapters.runtimes import Runtime, make_runtime
from tests.adapters.runtimes.base import HOST, QUIET, Log
from tests.adapters.runtimes.peers import RawClient, SocketStream
from tests.core.helpers import KEY, request

pytestmark = pytest.mark.needs("sockets")

ROOT = Path(__file__).parents[3]

DESCRIPTORS = 128
"""What the process may have."""

WAITING = 5
"""Clients that come while there are none left."""

PAUSE = 0.5
"""Seconds without descriptors."""

REPORTS = 200
"""Reports of failures meanwhile, at most: accepting is not tried again and again without a pause."""

CLOSES = {"uvloop"}
"""Where a client that cannot be accepted is closed, instead of waiting: libuv keeps a descriptor for that."""


async def starve(runtime: Runtime) -> None:
    """Leave the process without descriptors for a while."""
    log = Log()
    closed = 0
    async with runtime.serving(**QUIET, logger=log) as (server, uri), runtime.connect(uri, **QUIET) as client:
        await runtime.check_echo(client)
        waiting = [socket.socket() for _ in range(WAITING)]
        taken: list[int] = []
        try:
            while True:
                taken.append(os.open(os.devnull, os.O_RDONLY))
        except OSError:
            pass
        assert len(taken) < DESCRIPTORS
        for sock in waiting:
            sock.connect((HOST, runtime.port_of(server)))
        await runtime.sleep(PAUSE)
        await runtime.check_echo(client)
        reports = getattr(runtime, "reports", [])
        failures = len(log.errors()) + len(reports)
        # asyncio reports this to the event loop, which fails the test otherwise.
        assert all("accept" in report["message"] for report in reports)
        reports.clear()
        for fd in taken:
            os.close(fd)
        for sock in waiting:
            peer = RawClient(SocketStream(runtime, sock))
            try:
                await peer.send(request(Sec_WebSocket_Key=KEY))
                assert (await peer.read_head()).status == 101
                await peer.finish()
            except (EOFError, OSError):
                closed += 1
            peer.close()
        async with runtime.connect(uri, **QUIET) as other:
            await runtime.check_echo(other)
        reports.clear()
    print(f"{failures} failures, {closed} closed")


def run(name: str) -> None:
    """Do it on a runtime, in a process of its own."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, most))
    runtime = make_runtime(name)
    runtime.run(starve(runtime))


def test_clients_come_when_no_descriptors_are_left(runtime: Runtime) -> None:
    program = f"import {__name__} as this; this.run({runtime.name!r})"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert (done.returncode, done.stderr) == (0, "")
    failures, _, closed, _ = done.stdout.split()
    assert int(failures) <= REPORTS
    assert int(closed) == (WAITING if runtime.name in CLOSES else 0)
