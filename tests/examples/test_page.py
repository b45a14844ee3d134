"""The commands of docs/examples.md, each on a free port or with the address of a server on one."""

from __future__ import annotations

import shlex
import socket
from pathlib import Path

from adapters.threading import ServerConnection, serve
from tests.adapters.topics.engines import RedisServer
from tests.docs.samples import blocks
from tests.ports import free_port

from .programs import AMPLE, EXAMPLES, run, started

COMMANDS = {name: text.splitlines() for name, text in blocks("examples.md", "run").items()}


def arguments(command: str) -> list[str]:
    """Return the program of a command, and its arguments."""
    python, path, *others = shlex.split(command)
    assert python == "python"
    folder, _, name = path.partition("/")
    assert folder == EXAMPLES.name
    return [name, *others]


def test_chat() -> None:
    server_command, client_command = COMMANDS["chat"]
    port = free_port()
    with started(*arguments(server_command), port) as server:
        server.expect("Open http://localhost")
        with started(*arguments(client_command), f"ws://localhost:{port}/") as client:
            client.expect("* Ada is here")


def test_dashboard() -> None:
    (command,) = COMMANDS["dashboard"]
    with started(*arguments(command), "--port", free_port()) as server:
        assert server.line().startswith("Without --redis: one process")
        server.expect("Open http://localhost")


def test_dashboard_with_redis() -> None:
    install, command = COMMANDS["dashboard-redis"]
    assert install == "pip install '.[redis]'"
    *options, url = arguments(command)
    redis = RedisServer()
    try:
        url = url.replace("localhost:6379", f"127.0.0.1:{redis.port}")
        with started(*options, url, "--port", free_port(), "--processes", 1) as server:
            assert server.line().startswith("1 processes serve and one publishes")
            server.expect("Open http://localhost")
            assert server.stop() == 0
    finally:
        redis.stop()


def test_files(tmp_path: Path) -> None:
    server_command, put_command, get_command = COMMANDS["files"]
    (original := tmp_path / "photo.jpg").write_bytes(bytes(range(256)))
    (shared := tmp_path / "shared").mkdir()
    *server_arguments, folder = arguments(server_command)
    *put, name = arguments(put_command)
    *get, stored, copy = arguments(get_command)
    assert (folder, name, stored) == ("/tmp", "photo.jpg", "photo.jpg")
    port = free_port()
    uri = f"ws://localhost:{port}/"
    with started(*server_arguments, shared, port) as server:
        server.expect("Files of")
        assert run(*put, original, uri).returncode == 0
        assert run(*get, stored, tmp_path / copy, uri).returncode == 0
    assert (tmp_path / copy).read_bytes() == original.read_bytes()


def test_ticker() -> None:
    server_command, client_command = COMMANDS["ticker"]
    port = free_port()
    with started(*arguments(server_command), port) as server:
        server.expect("Numbers at")
        with started(*arguments(client_command), f"ws://localhost:{port}/") as client:
            while not client.line().isdigit():
                pass


def test_gateway() -> None:
    """The server of the command line is an echo, as this one; `nc` is a socket and a terminal."""

    def echo(websocket: ServerConnection) -> None:
        for message in websocket:
            websocket.send(message)

    server_command, gateway_command, client_command = COMMANDS["gateway"]
    assert server_command == "python -m adapters serve"
    name, public_port, uri = arguments(gateway_command)
    assert client_command == f"nc localhost {public_port}"
    with serve(echo, "localhost", 0) as server:
        port = free_port()
        with started(name, port, uri.replace("8765", str(server.port))) as program:
            program.expect("Listening on port")
            with socket.create_connection(("localhost", port), timeout=AMPLE) as sock:
                sock.sendall(b"hello\n")
                assert sock.recv(100) == b"hello\n"
