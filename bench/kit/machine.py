"""What a report says about the machine, the interpreter and the libraries."""

from __future__ import annotations

import contextlib
import datetime
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import wsproto_core

PACKAGES = (
    "picows",
    "aiohttp",
    "websockets",
    "wsproto",
    "tornado",
    "uvicorn",
    "trio-websocket",
    "websocket-client",
    "websocket-rs",
    "aiofastnet",
    "uvloop",
    "trio",
    "anyio",
    "zlib-ng",
)


def describe_machine(seconds: float, rounds: int) -> dict[str, Any]:
    versions = {}
    for package in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            versions[package] = version(package)
    return {
        "machine": processor(),
        "processors": len(os.sched_getaffinity(0)),
        "kernel": platform.release().split("-")[0],
        "python": platform.python_version(),
        "own_version": own_version(),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "seconds": seconds,
        "rounds": rounds,
        "versions": versions,
    }


def own_version() -> str:
    """Return this library's version, and whether its extension module is in use."""
    return f"{wsproto_core.__version__} ({'compiled' if wsproto_core.COMPILED else 'not compiled'})"


def processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
