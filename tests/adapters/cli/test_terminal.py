"""``connect`` on a terminal."""

from __future__ import annotations

import os
import stat
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from adapters.threading import ServerConnection
from wsproto_core import ConnectionClosed

from .commands import environment, served
from .terminals import on_terminal

PASTE = "\x1b[200~{}\x1b[201~"


def echo(websocket: ServerConnection) -> None:
    for message in websocket:
        websocket.send(message)


def test_a_conversation(tmp_path: Path) -> None:
    with (
        served(echo, subprotocols=["chat"]) as uri,
        on_terminal(tmp_path, "connect", "-s", "chat", uri) as it,
    ):
        it.expect(f"connected to {uri} (subprotocol chat, permessage-deflate)")
        it.expect(">")
        it.type("hello\r")
        it.expect("< hello")
        it.type("/binary 00 41 ff\r")
        it.expect("< binary, 3 bytes")
        it.expect("00000000  00 41 ff")
        it.expect(".A.")
        it.type("//slash\r")
        it.expect("< /slash")
        it.type("/nothing\r")
        it.expect("/nothing is no command")
        it.type("/binary 4\r")
        it.expect("expected bytes in hexadecimal")
        it.type("/ping\r")
        it.expect("pong after ")
        it.expect(" ms")
        # Ctrl-D
        it.type("\x04")
        it.expect("closed with 1000")
        assert it.end() == 0


def test_what_is_received_is_escaped(tmp_path: Path) -> None:
    evil = "\x1b]0;title\x07\x1b[2J\x9b1m\u202egnp\r\x08ünd ✓\nsecond"

    def handle(websocket: ServerConnection) -> None:
        websocket.send(evil)
        websocket.close(4000, "end\x1b[31m")

    with served(handle) as uri, on_terminal(tmp_path, "connect", uri) as it:
        it.expect(r"\x1b]0;title\x07\x1b[2J\x9b1m\u202egnp\r\x08ünd ✓" + "\n  second")
        it.expect("closed")
        it.expect("4000")
        assert it.end() == 1
        assert b"\x07" not in it.raw
        assert b"\x1b[2J" not in it.raw.replace(b"\x1b[2J\x1b[H", b"")
        assert b"\x1b]0" not in it.raw
        assert b"\x1b[31mend" not in it.raw
        assert "Traceback" not in it.text


def test_json_and_times(tmp_path: Path) -> None:
    with served(echo) as uri, on_terminal(tmp_path, "connect", uri) as it:
        it.expect(">")
        it.type('{"a": 1}\r')
        it.expect('< {"a": 1}')
        it.type("/json\r")
        it.expect("indented")
        it.type('{"b": [2]}\r')
        it.expect('< {\n    "b": [\n')
        it.type("/times\r")
        it.expect("with the time")
        it.type("late\r")
        it.expect(" < late")
        it.type("/close 4321 bye\r")
        it.expect("closed with 4321")
        assert it.end() == 0


def test_pasted_lines_are_one_message(tmp_path: Path) -> None:
    with served(echo) as uri, on_terminal(tmp_path, "connect", uri) as it:
        it.expect(">")
        it.type(PASTE.format("one\ntwo\nthree") + "\r")
        it.expect("< one\n  two\n  three")
        it.type("\x04")
        assert it.end() == 0


def test_history_and_completion(tmp_path: Path) -> None:
    for number in range(2):
        with served(echo) as uri, on_terminal(tmp_path, "connect", uri) as it:
            it.expect(">")
            if number == 0:
                it.type("remember me\r")
            else:
                # Up, in another process: behind the two commands below.
                it.type("\x1b[A\x1b[A\x1b[A\r")
            it.expect("< remember me")
            it.type("/hel")
            # The completion, and what it means.
            it.expect("show the commands")
            it.type("\t\r")
            it.expect("send a ping, and show its latency")
            it.type("/quit\r")
            assert it.end() == 0
    file = tmp_path / "wsproto-core" / "history"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_home_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with served(echo) as uri, on_terminal(tmp_path / "file", "connect", uri) as it:
        it.expect(">")
        it.type("hello\r")
        it.expect("< hello")
        it.type("\x04")
        assert it.end() == 0


def test_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(range(256)) * 4)
    with served(echo) as uri, on_terminal(tmp_path, "connect", uri) as it:
        it.expect(">")
        it.type(f"/file {tmp_path / 'file'}\r")
        it.expect("sent 1,024 bytes")
        it.expect("... 512 bytes more")
        it.type(f"/file {tmp_path / 'nothing'}\r")
        it.expect("No such file")
        it.type("\x04")
        assert it.end() == 0


def test_ctrl_c(tmp_path: Path) -> None:
    codes = []

    def handle(websocket: ServerConnection) -> None:
        with suppress(ConnectionClosed):
            echo(websocket)
        codes.append(websocket.close_code)

    with served(handle) as uri, on_terminal(tmp_path, "connect", uri) as it:
        it.expect(">")
        it.type("begun")
        it.expect("begun")
        it.type("\x03")
        it.expect(">")
        it.type("other\r")
        it.expect("< other")
        it.type("\x03")
        assert it.end() == 130
        assert "Traceback" not in it.text
        assert "< begun" not in it.text
    assert codes == [1000]


def test_one_shot(tmp_path: Path) -> None:
    with served(echo) as uri, on_terminal(tmp_path, "connect", "--one-shot", uri) as it:
        it.expect(">")
        it.type("hello\r")
        it.expect("< hello")
        assert it.end() == 0


def test_the_prompt_stays_while_it_connects_again(tmp_path: Path) -> None:
    connections = []

    def handle(websocket: ServerConnection) -> None:
        connections.append(websocket)
        if len(connections) == 1:
            assert websocket.recv() == "end"
            websocket.close(1012)
        else:
            websocket.send("welcome back")
            echo(websocket)

    with served(handle) as uri, on_terminal(tmp_path, "connect", "--reconnect", uri) as it:
        it.expect(">")
        it.type("end\r")
        it.type("begun ")
        it.expect("connecting again")
        it.expect("welcome back")
        it.type("and ended\r")
        it.expect("< begun and ended")
        it.type("\x04")
        assert it.end() == 0


def test_what_is_piped_to_a_terminal_is_escaped(tmp_path: Path) -> None:
    with (
        served(echo) as uri,
        on_terminal(tmp_path, "connect", uri, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as it,
    ):
        assert it.process.stdin is not None
        it.process.stdin.write(b"\x1b[31mred\n")
        it.process.stdin.close()
        it.expect(r"\x1b[31mred" + "\n")
        assert it.end() == 0
        assert b"\x1b" not in it.raw


@pytest.mark.parametrize("missing", ["prompt_toolkit", "rich"])
def test_what_is_missing(missing: str, tmp_path: Path) -> None:
    (tmp_path / f"{missing}.py").write_text(f"raise ModuleNotFoundError('hidden', name={missing!r})")
    path = os.pathsep.join([str(tmp_path), environment()["PYTHONPATH"]])
    options: dict[str, Any] = {"env": environment(PYTHONPATH=path)}
    with on_terminal(tmp_path, "connect", "ws://localhost:1/", **options) as it:
        it.expect(
            f"connect on a terminal needs {missing}: pip install 'wsproto-core[cli]', "
            "or in a checkout: pip install '.[cli]'"
        )
        assert it.end() == 1
        assert "Traceback" not in it.text
