"""Check an installation of the package, outside of the sources: versions, both names, the compiled half.

python .ci/installed.py --compiled | --pure
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import importlib.util
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import wsproto_core

NAMES = ("adapters", "wsproto_core.adapters")
EXTENSIONS = ("wsproto_core._speedups", *(f"{name}.asyncio._speedups" for name in NAMES))


async def echo(websocket: Any) -> None:
    async for message in websocket:
        await websocket.send(message)


async def check_echo(name: str) -> None:
    adapter = importlib.import_module(f"{name}.asyncio")
    async with (
        asyncio.timeout(100),
        adapter.serve(echo, "localhost", 0) as server,
        adapter.connect(f"ws://localhost:{server.port}/") as websocket,
    ):
        await websocket.send("hello")
        assert await websocket.recv() == "hello"


def check(compiled: bool) -> None:
    place = Path(wsproto_core.__file__)
    assert place.is_relative_to(sys.prefix), f"{place} is not in {sys.prefix}"
    assert metadata.version("wsproto-core") == wsproto_core.__version__
    assert compiled is wsproto_core.COMPILED
    for folder in EXTENSIONS:
        found = importlib.util.find_spec(f"{folder}._compiled") is not None
        assert found is compiled, f"{folder}: compiled is {found}"
    for name in NAMES:
        asyncio.run(check_echo(name))
    (command,) = metadata.entry_points(group="console_scripts", name="wsproto-core")
    assert callable(command.load())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="check an installation of wsproto-core")
    kinds = parser.add_mutually_exclusive_group(required=True)
    kinds.add_argument("--compiled", action="store_true", help="it has the extension modules")
    kinds.add_argument("--pure", action="store_true", help="it has none")
    check(parser.parse_args().compiled)
    print("installed:", "compiled" if wsproto_core.COMPILED else "pure Python", sys.version.split()[0])
