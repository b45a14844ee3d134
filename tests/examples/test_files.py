"""The file server: files of all sizes, both ways, and what is refused."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

import pytest

from adapters.threading import ConnectionClosed, InvalidStatusCode, connect
from tests.ports import free_port

from .programs import AMPLE, run, started


def test_both_ways(tmp_path: Path) -> None:
    (shared := tmp_path / "shared").mkdir()
    content = random.randbytes(2_000_000)
    original, copy = tmp_path / "a file.bin", tmp_path / "copy"
    original.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    port = free_port()
    with started("files/server.py", shared, port) as server:
        server.expect("Files of")
        put = run("files/client.py", "put", original, f"ws://localhost:{port}")
        assert (put.returncode, put.stdout) == (0, f"{digest}\n")
        assert [path.name for path in shared.iterdir()] == ["a file.bin"]
        assert (shared / "a file.bin").read_bytes() == content
        get = run("files/client.py", "get", "a file.bin", copy, f"ws://localhost:{port}/")
        assert (get.returncode, get.stdout) == (0, f"{digest}\n")
        assert copy.read_bytes() == content
        for done in (put, get):
            assert "100 %, 2000000 of 2000000 bytes" in done.stderr
        assert server.line() == "put 'a file.bin'"
        assert server.line() == "get 'a file.bin'"
        assert server.stop() == 0


def test_an_empty_file(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.touch()
    port = free_port()
    with started("files/server.py", tmp_path, port) as server:
        server.expect("Files of")
        for arguments in (["put", empty], ["get", "empty", tmp_path / "copy"]):
            done = run("files/client.py", *arguments, f"ws://localhost:{port}")
            assert (done.returncode, done.stdout) == (0, f"{hashlib.sha256(b'').hexdigest()}\n")
        assert (tmp_path / "copy").read_bytes() == b""


def test_what_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (shared := tmp_path / "shared").mkdir()
    port = free_port()
    with started("files/server.py", shared, port) as server:
        server.expect("Files of")
        uri = f"ws://localhost:{port}"
        for path in ("/get/..%2Fsecret", "/get/../secret", "/put/.hidden", "/get/", "/get", "/", "/remove/a"):
            with connect(uri + path) as websocket, pytest.raises(ConnectionClosed) as caught:
                websocket.recv(timeout=AMPLE)
            assert caught.value.code == 1008, path
        assert (
            "'there is no such file'" in run("files/client.py", "get", "absent", tmp_path / "b", uri).stderr
        )
        with pytest.raises(InvalidStatusCode):
            connect(f"{uri}/get/a", origin=f"http://localhost:{port}")()


def test_a_damaged_or_incomplete_file_is_not_stored(tmp_path: Path) -> None:
    port = free_port()
    with started("files/server.py", tmp_path, port) as server:
        server.expect("Files of")
        with connect(f"ws://localhost:{port}/put/a", compression=None) as websocket:
            websocket.send(b"content")
            websocket.send(hashlib.sha256(b"another content").hexdigest())
            with pytest.raises(ConnectionClosed, match="damaged"):
                websocket.recv(timeout=AMPLE)
        with connect(f"ws://localhost:{port}/put/a") as websocket:
            websocket.send(b"content")
            websocket.send("0" * 1000)
            with pytest.raises(ConnectionClosed, match="64 hexadecimal digits"):
                websocket.recv(timeout=AMPLE)
        with connect(f"ws://localhost:{port}/put/a") as websocket:
            websocket.send(b"content")
        assert server.stop() == 0
    assert list(tmp_path.iterdir()) == []
