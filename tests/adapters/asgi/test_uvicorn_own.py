"""uvicorn's own tests of its WebSocket implementations, run with the class of this library."""

from __future__ import annotations

import importlib.metadata
import os
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from .sdists import sources

DIFFERENT = {
    "test_duplicate_handshake": "wants the client to see 1006 after the application has raised: it sees 1011",
    "test_asgi_return_value": "wants 1006 after the application has returned something: it is 1011",
    "test_close_transport_on_asgi_return": "wants 1006 after the application has returned: it is 1000",
    "test_shutdown_while_the_close_reply_is_pending": (
        "wants the stream closed before the client's close frame has come: then the client's data would turn "
        "the end into a reset, and what was sent last could be lost. That there is no second close frame is "
        "in test_shutdown.py: test_close_of_the_application_that_the_client_has_not_answered"
    ),
}
"""Tests that want something else, with the reason."""

MAY_FAIL = {
    "test_send_binary_data_to_server_bigger_than_default_on_websockets": (
        "in the client, asyncio's selector transport of some versions raises AttributeError in abort() after "
        "close() with unwritten bytes; uvicorn's own class resets the stream, where this one reads to the end"
    ),
    "test_frame_after_close_handshake_is_ignored": (
        "wants the stream closed as soon as the client sees the end of it: the server reads to its end before"
    ),
}
"""Tests whose outcome depends on the client or on the time."""

FEWEST = 100


@pytest.mark.skipif(importlib.metadata.version("uvicorn") != "0.54.0", reason="these are the tests of 0.54.0")
def test_own_tests_of_uvicorn(tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    # Their configuration makes an error of a warning of pytest-asyncio, which they do not use.
    plugins = ["-p", "replacing", "-p", "no:asyncio"]
    command = [sys.executable, "-m", "pytest", *plugins, "-o", "addopts=", "-n", "2", "--quiet"]
    result = subprocess.run(
        [
            *command,
            f"--junitxml={report}",
            "tests/protocols/test_websocket.py",
            "-k",
            "not wsproto and not zttp",
        ],
        cwd=sources("uvicorn"),
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    cases = ElementTree.parse(report).getroot().iter("testcase")
    outcomes = {case.attrib["name"]: {child.tag for child in case} - {"system-out"} for case in cases}
    failed = {re.sub(r"\[.*", "", name) for name, found in outcomes.items() if found & {"failure", "error"}}
    assert failed - MAY_FAIL.keys() == DIFFERENT.keys(), result.stdout[-10_000:]
    passed = [name for name, found in outcomes.items() if not found]
    for http in ("h11", "httptools"):
        assert len([name for name in passed if http in name]) > FEWEST // 2
