"""What the benchmarks share: libraries, memory, messages, and tables."""

from __future__ import annotations

import ctypes
import ctypes.util
import gc
import json
import os
import random
import resource
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

if os.environ.get("WITHOUT_ZLIB_NG"):
    # Before anything imports it.
    sys.modules["zlib_ng"] = None  # type: ignore[assignment]

from wsproto_core.extensions.permessage_deflate import ZLIB

LIBRARIES = ["zlib"] if ZLIB == "zlib" else ["zlib", "zlib-ng"]
"""What can compress here."""


def environment(library: str) -> dict[str, str]:
    """Return an environment for a process that is to use this library."""
    return {**os.environ, "WITHOUT_ZLIB_NG": "1" if library == "zlib" else ""}


def trim() -> None:
    """Give back to the system what memory can be given back."""
    gc.collect()
    ctypes.CDLL(ctypes.util.find_library("c")).malloc_trim(0)


def resident() -> int:
    """Bytes of memory that this process has for itself."""
    _, pages, shared, *_ = map(int, Path("/proc/self/statm").read_text().split())
    return (pages - shared) * resource.getpagesize()


def text(size: int, seed: int = 0) -> str:
    """Something like the JSON that applications send, different for each seed."""
    source = random.Random(f"{size} {seed}")
    items: list[dict[str, Any]] = []
    length = 0
    while length < size:
        items.append({"id": source.randrange(10**6), "name": source.choice(["alpha", "beta", "gamma"])})
        length += len(json.dumps(items[-1])) + 2
    return json.dumps(items)[:size]


def print_row(cells: Iterable[object]) -> None:
    """Print a row of a Markdown table."""
    print(f"| {' | '.join(map(str, cells))} |", flush=True)


def print_head(*names: str) -> None:
    """Print the head of a Markdown table."""
    print_row(names)
    print("|" + "---|" * len(names), flush=True)
