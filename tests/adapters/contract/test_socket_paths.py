"""Paths of Unix sockets: `str`, `bytes` or `os.PathLike`."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from werkzeug.routing import Rule

from tests.adapters.runtimes import Runtime
from tests.adapters.runtimes.base import echo

pytestmark = pytest.mark.needs("sockets", "features")


@pytest.mark.parametrize("form", [str, os.fsencode, Path], ids=["str", "bytes", "PathLike"])
async def test_forms_of_paths(runtime: Runtime, tmp_path: Path, form: Callable[[str], Any]) -> None:
    path = form(str(tmp_path / "socket"))
    async with runtime.unix_serve(echo, path), runtime.unix_connect(path) as client:
        await runtime.check_echo(client)


@pytest.mark.parametrize("form", [str, os.fsencode, Path], ids=["str", "bytes", "PathLike"])
async def test_forms_of_paths_with_routes(
    runtime: Runtime, tmp_path: Path, form: Callable[[str], Any]
) -> None:
    path = form(str(tmp_path / "socket"))
    rules = [Rule("/", endpoint=runtime.native_handler(echo))]
    async with runtime.unix_route(rules, path), runtime.unix_connect(path) as client:
        await runtime.check_echo(client)


@pytest.mark.parametrize("path", [1, bytearray(b"socket"), None], ids=repr)
async def test_path_that_is_none(runtime: Runtime, path: Any) -> None:
    with pytest.raises(TypeError, match=r"path must be a str, bytes or an os\.PathLike"):
        async with runtime.unix_connect(path):
            raise AssertionError
    with pytest.raises((TypeError, ValueError), match="path must be"):
        async with runtime.unix_serve(echo, path):
            raise AssertionError
