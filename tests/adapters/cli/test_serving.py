"""``serve``: echo, chat and broadcast; pages; signals; several processes."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from adapters.cli.pages import Site
from adapters.threading import connect
from wsproto_core import ConnectionClosedOK, Headers, InvalidStatusCode

from .commands import AMPLE, CERTIFICATES, run, serving


def get(address: str, path: str = "/") -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://{address}{path}", timeout=AMPLE) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, ""


@pytest.mark.parametrize("more", [[], ["--uvloop", "--compression", "none"]], ids=["asyncio", "uvloop"])
def test_echo(more: list[str]) -> None:
    with serving("echo", *more) as (process, address):
        with connect(f"ws://{address}/any/path", origin="http://example.com") as client:
            for message in ("hello", b"\x00\xff"):
                client.send(message)
                assert client.recv() == message
        status, page = get(address)
        assert status == 200
        assert "<title>WebSocket</title>" in page
        assert get(address, "/other")[0] == 404
        with connect(f"ws://{address}/") as client:
            process.send_signal(signal.SIGTERM)
            with pytest.raises(ConnectionClosedOK) as caught:
                client.recv()
            assert caught.value.code == 1001
        assert process.wait(AMPLE) == 0
        assert process.stderr is not None
        assert b"connection open" in process.stderr.read()


def test_ctrl_c() -> None:
    with serving("--quiet") as (process, address), connect(f"ws://{address}/") as client:
        process.send_signal(signal.SIGINT)
        with pytest.raises(ConnectionClosedOK):
            client.recv()
        assert process.wait(AMPLE) == 130
        assert process.stderr is not None
        assert process.stderr.read() == b""


def test_chat() -> None:
    with serving("chat") as (process, address):
        assert "<title>Chat</title>" in get(address)[1]
        with pytest.raises(InvalidStatusCode, match="403"):
            connect(f"ws://{address}/chat", origin="http://example.com").__enter__()
        with connect(f"ws://{address}/chat", origin=f"http://{address}") as client:
            client.send(json.dumps({"type": "join", "name": "Ada\x1b"}))
            assert json.loads(client.recv()) == {"type": "join", "name": "Ada"}
        process.send_signal(signal.SIGTERM)
        assert process.wait(AMPLE) == 0
        assert process.stderr is not None
        assert b"Ada joined, 1 here" in process.stderr.read()


def test_broadcast_of_standard_input() -> None:
    with serving("broadcast") as (process, address):
        with connect(f"ws://{address}/") as one, connect(f"ws://{address}/") as two:
            assert process.stdin is not None
            process.stdin.write(b"one\ntwo \xff\nthree")
            process.stdin.close()
            for client in (one, two):
                assert list(client) == ["one", "two \ufffd", "three"]
                assert client.close_code == 1001
        assert process.wait(AMPLE) == 0


def test_a_port_that_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
        status, output, errors = run("serve", "--host", "127.0.0.1", "--port", port)
    assert (status, output) == (1, b"")
    assert errors.startswith("wsproto-core serve: ")
    assert errors.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--port", "65536"], "a port, 0 to 65535"),
        (["--processes", "0"], "1 or more"),
        (["chat", "--processes", "2"], "echo and broadcast"),
        (["--key", "file"], "--cert"),
        (["--cert", "/nothing.pem"], "/nothing.pem"),
        (["talk"], "echo"),
    ],
)
def test_wrong_usage(arguments: list[str], said: str) -> None:
    status, output, errors = run("serve", *arguments)
    assert (status, output) == (2, b"")
    assert said in errors
    assert "Traceback" not in errors


def test_tls() -> None:
    files = ("--cert", str(CERTIFICATES / "localhost.pem"), "--key", str(CERTIFICATES / "localhost.key"))
    with serving("echo", *files) as (_, address):
        uri = f"wss://localhost:{address.partition(':')[2]}/"
        trusted = ("--ca-file", str(CERTIFICATES / "localhost.pem"))
        assert run("connect", *trusted, uri, data=b"hello\n") == (0, b"hello\n", "")


# Which pages may connect


@pytest.mark.parametrize(
    ("local", "origin", "host", "accepted"),
    [
        (True, None, "localhost:1", True),
        (True, "http://localhost:1", "localhost:1", True),
        (True, "http://[::1]:1", "[::1]:1", True),
        (True, "http://localhost:2", "localhost:1", False),
        (True, "http://evil.example:1", "evil.example:1", False),
        (True, "http://friend.example", "localhost:1", True),
        (True, "null", "localhost:1", False),
        (False, "http://server.example:1", "server.example:1", True),
        (False, "http://evil.example:1", "server.example:1", False),
    ],
)
def test_origins(local: bool, origin: str | None, host: str, accepted: bool) -> None:
    site = Site(Path(), local=local, origins=["http://friend.example"])
    headers = Headers(Host=host, Upgrade="websocket")
    if origin is not None:
        headers["Origin"] = origin
    response = site.process_request("/", headers)
    assert (response is None) is accepted
    if response is not None:
        assert response.status == 403


# Several processes


def children(process: int) -> list[int]:
    tasks = Path(f"/proc/{process}/task/{process}/children")
    return [int(each) for each in tasks.read_text().split()] if tasks.exists() else []


def is_running(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


needs_children = pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs /proc")
needs_reuse_port = pytest.mark.skipif(not hasattr(socket, "SO_REUSEPORT"), reason="no SO_REUSEPORT")


@needs_reuse_port
@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_processes(number: int, status: int) -> None:
    with serving("--processes", "2") as (process, address):
        clients = [connect(f"ws://{address}/").__enter__() for _ in range(8)]
        for client in clients:
            client.send("hello")
            assert client.recv() == "hello"
        process.send_signal(number)
        for client in clients:
            with pytest.raises(ConnectionClosedOK):
                client.recv()
            assert client.close_code == 1001
            client.close()
        assert process.wait(AMPLE) == status


@needs_reuse_port
@needs_children
def test_a_process_that_ends_is_replaced() -> None:
    with serving("--processes", "2") as (process, _):
        first = children(process.pid)
        assert len(first) == 2
        os.kill(first[0], signal.SIGKILL)
        assert process.stderr is not None
        errors = b""
        while b"starting another" not in errors:
            errors = process.stderr.readline()
            assert errors
        deadline = time.monotonic() + AMPLE
        while len(set(children(process.pid)) - set(first)) < 1:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(AMPLE) == 0


@needs_reuse_port
@needs_children
def test_processes_end_with_their_parent() -> None:
    with serving("--processes", "2") as (process, _):
        left = children(process.pid)
        process.kill()
        process.wait()
        deadline = time.monotonic() + AMPLE
        while any(map(is_running, left)):
            assert time.monotonic() < deadline
            time.sleep(0.1)


@needs_reuse_port
def test_broadcast_by_processes() -> None:
    with serving("broadcast", "--processes", "2") as (process, address):
        clients = [connect(f"ws://{address}/").__enter__() for _ in range(8)]
        assert process.stdin is not None
        process.stdin.write(b"one\ntwo")
        process.stdin.close()
        for client in clients:
            assert list(client) == ["one", "two"]
            client.close()
        assert process.wait(AMPLE) == 0


@needs_reuse_port
def test_processes_that_cannot_listen() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
        status, _, errors = run("serve", "--processes", "2", "--host", "127.0.0.1", "--port", port)
    assert status == 1
    assert re.fullmatch(r"wsproto-core serve: .*\n", errors)
