"""The page on observability: its program works, and it has what there is."""

from __future__ import annotations

import asyncio
import json
import logging
import runpy
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from adapters.shared.connection import BaseConnection
from wsproto_core import Statistics

DOCS = Path(__file__).parents[2] / "docs"
PROGRAM = DOCS / "examples" / "observability.py"
PAGE = (DOCS / "observability.md").read_text(encoding="utf-8")


@pytest.fixture
def example() -> Iterator[dict[str, Any]]:
    """The program; what it does to loggers is undone."""
    names = ["wsproto_core", "wsproto_core.frames"]
    before = [(logging.getLogger(name).level, list(logging.getLogger(name).handlers)) for name in names]
    yield runpy.run_path(str(PROGRAM))
    for name, (level, handlers) in zip(names, before, strict=True):
        logging.getLogger(name).setLevel(level)
        logging.getLogger(name).handlers = handlers


def test_program(example: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    asyncio.run(example["main"]())
    lines = capsys.readouterr().out.splitlines()
    records = [json.loads(line) for line in lines if line.startswith('{"')]
    opened = [record for record in records if record["message"] == "connection open"]
    assert sorted((record["side"], record["path"]) for record in opened) == [
        ("client", "/"),
        ("client", "/debug/chat"),
        ("server", "/"),
        ("server", "/debug/chat"),
    ]
    of_connections = [
        record for record in records if not record["message"].startswith("server listening on ")
    ]
    assert len(records) == len(of_connections) + 1
    assert len({record["connection_id"] for record in of_connections}) == 4
    frames = [record for record in records if record["level"] == "DEBUG"]
    assert {record["path"] for record in frames} == {"/debug/chat"}
    assert "received text frame, FIN, 5 bytes: 'hello'" in [record["message"] for record in frames]
    assert len([line for line in lines if line.startswith("{'connections': 1, ")]) == 2


def test_formatter_of_errors_and_of_other_records(example: dict[str, Any]) -> None:
    formatter = example["JSONFormatter"]()
    record = logging.LogRecord("other", logging.INFO, "", 0, "a %s", ("b",), None)
    assert json.loads(formatter.format(record)).keys() == {"time", "level", "logger", "message"}
    error = ValueError("wrong")
    record.exc_info = (ValueError, error, None)
    assert "ValueError: wrong" in json.loads(formatter.format(record))["exception"]


def test_page_has_what_there_is() -> None:
    for field in fields(Statistics):
        assert f"| `{field.name}` |" in PAGE
    assert "| `compression_ratio_sent` |" in PAGE
    assert hasattr(BaseConnection, "log_frames")
