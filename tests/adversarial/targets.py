"""Processes that are attacked: this library's adapters, and their memory."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .driver import HOST

ROOT = Path(__file__).parents[2]

ENDING = 60.0
"""Seconds in which a process ends that has nothing to do any more, on a busy machine."""

TARGETS: dict[str, tuple[str, dict[str, str]]] = {
    "asyncio": ("asyncio", {}),
    "asyncio-pure": ("asyncio", {"WSPROTO_CORE_PURE": "1"}),
    "uvloop": ("uvloop", {}),
    "trio": ("trio", {}),
    "anyio-asyncio": ("anyio-asyncio", {}),
    "anyio-trio": ("anyio-trio", {}),
    "threading": ("threading", {}),
}
"""By name, the runtime and the environment: every adapter, and both halves of the core."""


class Memory:
    """The resident memory of a process, by the counters of Linux."""

    def __init__(self, pid: int) -> None:
        self._folder = Path(f"/proc/{pid}")

    def _read(self, name: str) -> int:
        for line in (self._folder / "status").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
        raise LookupError("the process has ended")

    def start(self) -> None:
        """Begin to measure the peak."""
        (self._folder / "clear_refs").write_text("5")
        self._before = self._read("VmRSS")

    def growth(self) -> int:
        """How many bytes more than at the start the process had at its peak."""
        return self._read("VmHWM") - self._before


class Target:
    """A process of :mod:`.program`."""

    def __init__(self, name: str) -> None:
        self.name = name
        runtime, variables = TARGETS[name]
        control, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-m", "tests.adversarial.program", runtime, str(theirs.fileno())]
            environment = {**os.environ, "CONTRACT_DEADLINE": "3600", **variables}
            self.process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=environment,
                pass_fds=[theirs.fileno()],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        self._control = control
        self._lines = control.makefile("rw")
        self._ports: dict[str, int] = {}
        self.memory = Memory(self.process.pid)

    def command(self, do: str, **members: Any) -> Any:
        self.start_command(do, **members)
        return self.answer()

    def start_command(self, do: str, **members: Any) -> None:
        print(json.dumps({"do": do, **members}), file=self._lines, flush=True)

    def answer(self) -> Any:
        line = self._lines.readline()
        if not line:
            raise AssertionError(f"the process has ended: {self.process.communicate()[0]}")
        return json.loads(line)

    def port(self, options: Mapping[str, Any]) -> int:
        """The port of a server with these options, which is started once."""
        key = json.dumps(dict(options), sort_keys=True)
        if key not in self._ports:
            self._ports[key] = self.command("serve", options=dict(options))
        return self._ports[key]

    def wait_until_idle(self, port: int) -> None:
        """Wait until a server has no connection any more."""
        deadline = time.monotonic() + ENDING
        while self.command("connections", port=port):
            assert time.monotonic() < deadline, f"a connection of {self.name} does not end"
            time.sleep(0.005)

    def stop(self) -> None:
        """End the process, and see that it leaves nothing behind."""
        self._lines.close()
        self._control.close()
        output, _ = self.process.communicate(timeout=2 * ENDING)
        assert self.process.returncode == 0, output


@contextlib.contextmanager
def running(name: str) -> Iterator[Target]:
    target = Target(name)
    try:
        yield target
        target.stop()
    finally:
        target.process.kill()
        target.process.wait()


@contextlib.contextmanager
def listening() -> Iterator[tuple[socket.socket, str]]:
    """A socket that waits for clients, and its URI."""
    with socket.create_server((HOST, 0)) as sock:
        yield sock, f"ws://{HOST}:{sock.getsockname()[1]}/"
