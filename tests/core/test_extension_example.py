"""The extension of the documentation."""

import runpy
from pathlib import Path
from typing import Any

import pytest

from wsproto_core import Close
from wsproto_core.testing import connect

DOCS = Path(__file__).parents[2] / "docs"
PROGRAM = DOCS / "examples" / "extension.py"


@pytest.fixture(scope="module")
def example() -> dict[str, Any]:
    return runpy.run_path(str(PROGRAM))


def test_program(example: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    example["main"]()
    output = capsys.readouterr().out
    assert "received 'What could go wrong?', checked" in output
    assert "extensions: x-checksum, permessage-deflate" in output


def test_fragments_and_both_directions(example: dict[str, Any]) -> None:
    link = connect(
        client_options={"extensions": [example["ClientChecksum"]()], "compression": None},
        server_options={"extensions": [example["ServerChecksum"]()], "compression": None},
    )
    link.client.send("Hel", fin=False)
    link.client.send("lo")
    link.server.send(b"bytes")
    link.run()
    assert link.server_events[-1] == "Hello"
    assert link.client_events[-1] == b"bytes"


def test_a_wrong_checksum_fails_the_connection(example: dict[str, Any]) -> None:
    link = connect(
        client_options={"extensions": [example["ClientChecksum"]()], "compression": None},
        server_options={"extensions": [example["ServerChecksum"]()], "compression": None},
    )
    (extension,) = link.client.extensions
    object.__setattr__(extension, "encode_message", lambda message: message + b"0000")
    link.client.send(b"bytes")
    link.run()
    assert Close(1007, "wrong checksum") in link.client_events
