"""The programs in docs/migrating.md: those before and those after do the same."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from socket import create_connection

import pytest

from adapters.threading import connect, serve
from tests.ports import free_port

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "migrating.md").read_text(encoding="utf-8")
PORT = "8765"
"""The one in the programs, in the place of which they get a free one."""

DEADLINE = 60.0

PROGRAMS: dict[tuple[str, str], str] = {
    (name, when): source
    for when, name, source in re.findall(
        r"<!-- (before|after): ([a-z-]+) -->\n```python\n(.*?)```\n", PAGE, re.DOTALL
    )
}
NAMES = sorted({name for name, _ in PROGRAMS})
SERVERS = [name for name in NAMES if name.endswith("-server")]
CLIENTS = [name for name in NAMES if name not in SERVERS]

OUTPUTS = {
    "aiohttp-client": ["chat", "Hello!", "1000"],
    "trio-websocket-client": ["chat", "Hello!", "1000"],
    "websocket-client-app": ["open", "Hello!", "closed"],
    "websocket-client-short": ["chat", "Hello!", "b'bytes'", "no answer"],
    "websockets-asyncio-client": ["chat 1", "Hello!", "1000 done False"],
    "websockets-legacy-client": ["Hello! True", "1000 1000 True"],
    "websockets-sync-client": ["Hello!", "no answer", "in fragments"],
    "websockets-trio-client": ["1", "Hello!", "1000 done False"],
    "wsproto-client": ["Hello!", "closed 1000"],
}


def start(name: str, when: str, port: int) -> subprocess.Popen[str]:
    # What others deprecate is none of our business.
    warnings = ["-W", "ignore" if when == "before" else "error"]
    return subprocess.Popen(
        [sys.executable, *warnings, "-c", PROGRAMS[name, when].replace(PORT, str(port))],
        env={**os.environ, "PYTHONPATH": str(ROOT), "no_proxy": "*"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture(scope="module")
def echo_port() -> Iterator[int]:
    def echo(websocket: object) -> None:
        for message in websocket:  # type: ignore[attr-defined]
            websocket.send(message)  # type: ignore[attr-defined]

    with serve(echo, "localhost", 0, subprotocols=["chat"]) as server:
        assert server.sockets is not None
        # "localhost" may be two addresses, with a port for each.
        port = server.sockets[0].getsockname()[1]
        yield port


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("name", CLIENTS)
def test_client(name: str, when: str, echo_port: int) -> None:
    program = start(name, when, echo_port)
    output, errors = program.communicate(timeout=DEADLINE)
    assert (program.returncode, errors) == (0, "")
    assert output.splitlines() == OUTPUTS[name]


@contextmanager
def running(name: str, when: str) -> Iterator[int]:
    """A server program, once it listens, and its port."""
    port = free_port()
    program = start(name, when, port)
    try:
        end = time.monotonic() + DEADLINE
        while True:
            try:
                create_connection(("localhost", port)).close()
                break
            except OSError:
                assert program.poll() is None, program.communicate()[1]
                assert time.monotonic() < end, "it does not listen"
                time.sleep(0.05)
        yield port
    finally:
        program.kill()
        program.communicate()


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("name", SERVERS)
def test_server(name: str, when: str) -> None:
    answer = "/ Hello!" if "legacy" in name else "Hello!"
    with running(name, when) as port:
        with connect(f"ws://localhost:{port}/", proxy=None) as websocket:
            websocket.send("Hello!")
            assert websocket.recv(timeout=DEADLINE) == answer
            if "legacy" in name:
                assert websocket.response_headers is not None
                assert websocket.response_headers["X-Server"] == "echo"
        assert websocket.close_code == 1000
        if "/health" in PROGRAMS[name, when]:
            http = HTTPConnection("localhost", port, timeout=DEADLINE)
            http.request("GET", "/health")
            response = http.getresponse()
            assert (response.status, response.read()) == (200, b"OK\n")
            http.close()


def test_the_page_is_read() -> None:
    assert set(PROGRAMS) == {(name, when) for name in NAMES for when in ("before", "after")}
    assert PAGE.count("```python") == len(PROGRAMS)
    assert set(CLIENTS) == OUTPUTS.keys()
    assert all(PORT in source for source in PROGRAMS.values())
