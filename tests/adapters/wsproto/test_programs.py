"""Libraries that import wsproto, run on this package in its place: the real ones, from the package index."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

HERE = Path(__file__).parent
BUILD = HERE.parents[2] / "build" / "packages"


def installed(requirement: str) -> Path:
    """Return a folder with a package and what it depends on, which is installed once.

    Without a package index, the test is skipped.
    """
    folder = BUILD / f"{requirement}-{sys.version_info.major}.{sys.version_info.minor}"
    if not folder.exists():
        BUILD.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=BUILD) as temporary:
            target = Path(temporary) / "packages"
            command = [
                sys.executable,
                "-m",
                "pip",
                "install",
                "--quiet",
                "--target",
                str(target),
                requirement,
            ]
            result = subprocess.run(command, capture_output=True, text=True, check=False)
            if result.returncode != 0:
                pytest.skip(f"needs {requirement}: {result.stderr[-500:]}")
            # Another process may have done the same.
            if not folder.exists():
                target.rename(folder)
    return folder


@pytest.mark.parametrize(
    ("program", "requirement"),
    [
        ("hypercorn_server", "hypercorn==0.18.0"),
        ("httpx_ws_clients", "httpx-ws==0.9.0"),
        ("simple_websocket_peers", "simple-websocket==1.1.0"),
        ("trio_websocket_peers", "trio-websocket==0.12.2"),
    ],
)
def test_program(program: str, requirement: str) -> None:
    paths = [str(HERE), str(HERE.parents[2]), str(installed(requirement))]
    result = subprocess.run(
        [sys.executable, str(HERE / "programs" / f"{program}.py")],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, (result.stdout + result.stderr)[-10_000:]
