"""Programs as they were written for the earlier API: nothing but their imports is changed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAMS = Path(__file__).parent / "programs"
ROOT = Path(__file__).parents[3]

# Without the traceback in log_of_handlers.py, which differs from version to version.
OUTPUTS = {
    "several_messages": "0 | 2 | 4 | closed 1000 enough",
    "iteration": "str text | bytes b'binary' | str fragments",
    "health_check": "/health/ 200 | / 403 | valid",
    "basic_auth": "Hello hello! | 401 | 401",
    "pings_and_timeouts": "pong | nothing yet | late",
    "low_level": "client 101 Switching Protocols | server /path True b'Hello' | client (1000, 'done')",
    "plain_calls": "/clock 0 | /clock 1 | /clock 2 | client is gone",
    "inversion_of_control": (
        "server without a block | client bye | server in a block | client bye | "
        "client closed by the server | True"
    ),
}


def start(name: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-X", "dev", "-W", "error", str(PROGRAMS / f"{name}.py"), *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def without_slowness(errors: str) -> str:
    """What remains when asyncio's debug mode has only complained of the machine's slowness."""
    lines = errors.splitlines(keepends=True)
    return "".join(line for line in lines if not re.fullmatch(r"Executing <.* took [0-9.]+ seconds\n", line))


def finish(program: subprocess.Popen[str], text: str = "") -> list[str]:
    """Give a program its input; return what it writes, if that is no warning and no error."""
    output, errors = program.communicate(text, timeout=60)
    assert (program.returncode, without_slowness(errors)) == (0, "")
    return output.splitlines()


@pytest.mark.parametrize("name", OUTPUTS)
def test_program(name: str) -> None:
    assert finish(start(name)) == OUTPUTS[name].split(" | ")


def test_hello_server_and_hello_client() -> None:
    server = start("hello_server")
    assert server.stdout is not None
    port = server.stdout.readline().strip()
    client = start("hello_client", port)
    assert finish(client, "you\n") == ["> you", "< Hello you!"]
    assert finish(server) == ["< you", "> Hello you!"]


def test_log_of_handlers() -> None:
    lines = finish(start("log_of_handlers"))
    assert "ValueError: something is wrong" in lines
    assert lines[-1] == "closed 1011"


def test_broadcasting_by_hand() -> None:
    output = finish(start("broadcasting_by_hand"))
    assert output == ["I am here", "Hello I am here"]


def test_every_program_is_tried() -> None:
    tried = {*OUTPUTS, "hello_server", "hello_client", "log_of_handlers", "broadcasting_by_hand"}
    assert tried == {path.stem for path in PROGRAMS.glob("*.py")}
