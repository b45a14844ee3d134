"""The programs of docs/processes.md: two workers and a hub, in three processes."""

from __future__ import annotations

import signal
import socket
import sys
from pathlib import Path

import pytest

from tests.ports import free_port

from .samples import DEADLINE, blocks, connected, run, serving, until, write

PROGRAMS = blocks("processes.md", "program")

pytestmark = pytest.mark.skipif(
    not hasattr(socket, "SO_REUSEPORT") or sys.platform == "win32",
    reason="the system has no SO_REUSEPORT, or no Unix sockets",
)


def test_messages_between_processes(tmp_path: Path) -> None:
    """Each worker has a port here, so that it is known which of them a client talks to."""
    ports = [free_port(), free_port()]
    write(tmp_path, "hub.py", PROGRAMS["hub.py"], {})
    for port in ports:
        write(tmp_path, f"worker_{port}.py", PROGRAMS["worker.py"], {"8765": str(port)})

    async def main() -> None:
        with serving(tmp_path, "hub.py") as hub:
            await until((tmp_path / "hub.sock").exists)
            with (
                serving(tmp_path, f"worker_{ports[0]}.py") as one,
                serving(tmp_path, f"worker_{ports[1]}.py") as two,
            ):
                async with (
                    connected(one, f"ws://localhost:{ports[0]}/") as alice,
                    connected(two, f"ws://localhost:{ports[1]}/") as bob,
                ):
                    await alice.send("from Alice")
                    assert await alice.recv() == await bob.recv() == "from Alice"
                    await bob.send("from Bob")
                    assert await alice.recv() == await bob.recv() == "from Bob"
                    # A worker that is stopped closes its clients, and the other goes on.
                    one.send_signal(signal.SIGTERM)
                    await alice.wait_closed()
                    assert alice.close_code == 1001
                    assert one.communicate(timeout=DEADLINE) == ("", "")
                    await bob.send("alone")
                    assert await bob.recv() == "alone"
                    # With the hub, everything ends.
                    hub.send_signal(signal.SIGTERM)
                    await bob.wait_closed()
                    assert bob.close_code == 1001
                    for process in (hub, two):
                        assert process.communicate(timeout=DEADLINE) == ("", "")
                        assert process.returncode == 0

    run(main)
