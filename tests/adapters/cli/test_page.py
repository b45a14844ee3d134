"""Every command in docs/command-line.md is run."""

from __future__ import annotations

import os
import random
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from adapters.threading import ServerConnection, connect
from tests.ports import free_port

from .commands import AMPLE, ROOT, environment, program, served
from .terminals import on_terminal

PAGE = (ROOT / "docs" / "command-line.md").read_text("utf-8")
COMMANDS = dict(re.findall(r"<!-- run: ([\w-]+) -->\n```\n(.*?)```\n", PAGE, re.DOTALL))

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs a POSIX shell")


def echo(websocket: ServerConnection) -> None:
    for message in websocket:
        websocket.send(message)


def for_port(command: str, port: int) -> str:
    """A command of the page, for another port."""
    command = command.replace("localhost:8765", f"localhost:{port}")
    return command.replace("python -m adapters", shlex.join(program()))


def run_command(name: str, directory: Path, port: int) -> bytes:
    done = subprocess.run(
        ["sh", "-c", for_port(COMMANDS[name], port)],
        cwd=directory,
        env=environment(),
        capture_output=True,
        timeout=AMPLE,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    return done.stdout


def port_of(uri: str) -> int:
    return int(uri.rpartition(":")[2].strip("/"))


def connect_when_it_listens(port: int) -> None:
    deadline = time.monotonic() + AMPLE
    while True:
        with suppress(OSError), socket.create_connection(("localhost", port)):
            return
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_all_commands_are_named() -> None:
    assert PAGE.count("```") == 2 * len(COMMANDS)
    tested = {"first", "echo", "binary", "one-shot", "options", "broadcast", "bench"}
    assert set(COMMANDS) == tested


def test_first(tmp_path: Path) -> None:
    serve, connect = COMMANDS["first"].splitlines()
    port = free_port()
    server = subprocess.Popen(
        ["sh", "-c", f"exec {for_port(serve, port)} --port {port}"],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    with server:
        try:
            assert server.stdout is not None
            assert server.stdout.readline().startswith(b"echo at ")
            *_, uri = shlex.split(for_port(connect, port))
            with on_terminal(tmp_path, "connect", uri) as it:
                it.expect(">")
                it.type("hello\r")
                it.expect("< hello")
                it.type("\x04")
                assert it.end() == 0
        finally:
            server.terminate()


@pytest.mark.parametrize("name", ["echo", "one-shot"])
def test_one_line(name: str, tmp_path: Path) -> None:
    with served(echo) as uri:
        assert run_command(name, tmp_path, port_of(uri)) == b"hello\n"


def test_binary(tmp_path: Path) -> None:
    data = random.randbytes(10_000)
    (tmp_path / "image.png").write_bytes(data)
    with served(echo) as uri:
        run_command("binary", tmp_path, port_of(uri))
    assert (tmp_path / "copy.png").read_bytes() == data


def test_options(tmp_path: Path) -> None:
    def handle(websocket: ServerConnection) -> None:
        headers = websocket.request_headers
        websocket.send(f"{headers['Authorization']}, {websocket.subprotocol}, {len(websocket.extensions)}")

    with served(handle, subprotocols=["chat"]) as uri:
        assert run_command("options", tmp_path, port_of(uri)) == b"Bearer token, chat, 0\n"


def test_broadcast(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    log.write_text("early\n")
    port = free_port()
    command = for_port(COMMANDS["broadcast"], port).rstrip() + f" --port {port}"
    shell = subprocess.Popen(
        ["sh", "-c", command], cwd=tmp_path, env=environment(), start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    with shell:
        try:
            connect_when_it_listens(port)
            with connect(f"ws://localhost:{port}/") as client:
                with log.open("a") as file:
                    file.write("a line\n")
                assert client.recv() in ("early", "a line")
        finally:
            os.killpg(shell.pid, signal.SIGKILL)


def test_bench(tmp_path: Path) -> None:
    with served(echo) as uri:
        output = run_command("bench", tmp_path, port_of(uri))
    assert "messages/s" in output.decode()
    assert (tmp_path / "latencies.png").read_bytes().startswith(b"\x89PNG")
