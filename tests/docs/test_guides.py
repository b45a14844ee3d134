"""The samples of the guides on TLS, files, closing, tuning and authentication."""

from __future__ import annotations

import asyncio
import json
import logging
import shutil
import ssl
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from adapters.asyncio import (
    CloseCode,
    ConnectionClosed,
    InvalidHandshake,
    InvalidStatusCode,
    ServerConnection,
    basic_auth_protocol_factory,
    connect,
    serve,
)
from adapters.testing.asyncio import connection_pair, handler_client
from tests.ports import free_port

from .samples import CERTIFICATES, DEADLINE, Sample, blocks, run, until

TLS = Sample("tls.md")
FILES = Sample("files.md")
CLOSED = Sample("closed.md")
TUNING = Sample("tuning.md")
AUTHENTICATION = Sample("authentication.md")


async def echo(websocket: ServerConnection) -> None:
    async for message in websocket:
        await websocket.send(message)


@pytest.mark.parametrize("page", [TLS, FILES, CLOSED, TUNING, AUTHENTICATION], ids=lambda page: page.page)
def test_all_samples_are_tested(page: Sample) -> None:
    assert page.all_are_in(__file__)


# TLS


def make_authority(folder: Path, *names: str) -> None:
    """Run commands of the page in a folder."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    commands = blocks("tls.md", "run")
    for name in names:
        done = subprocess.run(
            ["sh", "-e", "-c", commands[name]],
            cwd=folder,
            capture_output=True,
            encoding="utf-8",
            timeout=DEADLINE,
            check=False,
        )
        assert done.returncode == 0, f"{name}: {done.stderr}"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("authority")
    make_authority(folder, "authority", "client")
    return folder


@pytest.fixture
def in_authority(authority: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(authority)


@pytest.mark.usefixtures("in_authority")
def test_a_server_with_a_certificate() -> None:
    async def main() -> None:
        async with TLS("server")["secure_server"](0) as server:
            uri = f"wss://localhost:{server.port}/"
            assert await TLS("client")["ask"](uri, "hello") == "hello"
            with pytest.raises(ssl.SSLCertVerificationError, match="unable to get local issuer certificate"):
                await connect(uri, proxy=None)

    run(main)


@pytest.mark.usefixtures("in_authority")
def test_clients_with_certificates() -> None:
    names = TLS("mutual")

    async def main() -> None:
        async with names["mutual_server"](0) as server:
            uri = f"wss://localhost:{server.port}/"
            async with names["connect_as_alice"](uri) as websocket:
                assert await websocket.recv() == "Hello alice!"
            stranger = ssl.create_default_context(cafile="ca.pem")
            with pytest.raises((OSError, InvalidHandshake)):
                await connect(uri, ssl=stranger, proxy=None)

    run(main)


def test_a_new_certificate(authority: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make_authority(tmp_path, "authority")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority / "server.pem", authority / "server.key")
    old = ssl.create_default_context(cafile=authority / "ca.pem")
    new = ssl.create_default_context(cafile="ca.pem")

    async def main() -> None:
        async with serve(echo, "localhost", 0, ssl=context) as server:
            uri = f"wss://localhost:{server.port}/"
            async with connect(uri, ssl=old, proxy=None) as before:
                TLS("renew")["renew"](context)
                async with connect(uri, ssl=new, proxy=None) as after:
                    for websocket in (before, after):
                        await websocket.send("hello")
                        assert await websocket.recv() == "hello"
            with pytest.raises(ssl.SSLCertVerificationError):
                await connect(uri, ssl=old, proxy=None)

    run(main)


@pytest.mark.usefixtures("in_authority")
def test_errors_of_tls() -> None:
    context = ssl.create_default_context(cafile="ca.pem")

    async def main() -> None:
        async with TLS("server")["secure_server"](0) as server, serve(echo, "localhost", 0) as plain:
            with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
                await connect(
                    f"wss://localhost:{server.port}/", ssl=context, server_hostname="example.com", proxy=None
                )
            with pytest.raises(ssl.SSLError, match=r"wrong version number|record layer failure"):
                await connect(f"wss://localhost:{plain.port}/", ssl=context, proxy=None)

    run(main)


# Files


def file_names() -> dict[str, Any]:
    names = {**FILES("send"), **FILES("receive")}
    return {**names, **FILES("upload", **names)}


def test_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = file_names()
    large = tmp_path / "large.bin"
    large.write_bytes(bytes(range(256)) * 2**12)
    empty = tmp_path / "empty.bin"
    empty.touch()
    stored = tmp_path / "stored"
    stored.mkdir()

    async def handler(websocket: ServerConnection) -> None:
        await names["store"](websocket, stored)

    async def main() -> None:
        async with handler_client(handler, server={"max_size": None}, timeout=DEADLINE) as websocket:
            assert await names["upload"](websocket, large) == 2**20
            assert await names["upload"](websocket, empty) == 0

    run(main)
    assert sorted(path.name for path in stored.iterdir()) == ["1.bin", "2.bin"]
    assert (stored / "1.bin").read_bytes() == large.read_bytes()
    assert capsys.readouterr().out.splitlines() == [
        "stored 'large.bin' as 1.bin",
        "stored 'empty.bin' as 2.bin",
    ]


def test_a_file_in_one_frame_comes_in_pieces() -> None:
    async def main() -> None:
        async with connection_pair(server={"max_size": None}, timeout=DEADLINE) as (client, server):
            sending = asyncio.create_task(client.send(bytes(2**20), compress=False))
            pieces = [len(piece) async for piece in server.recv_streaming(decode=False)]
            await sending
            assert sum(pieces) == 2**20
            assert max(pieces) <= 2**16

    run(main)


def test_a_file_that_is_too_large(tmp_path: Path) -> None:
    receive = FILES("receive")
    receive["LIMIT"] = 10

    async def main() -> None:
        async with connection_pair(timeout=DEADLINE) as (client, server):
            await client.send(bytes(11))
            with pytest.raises(ValueError, match="more than 10 bytes"):
                await receive["receive_file"](server, tmp_path / "a")
            await client.wait_closed()
            assert client.close_code == 1009

    run(main)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_lost_in_the_middle(tmp_path: Path) -> None:
    receive = FILES("receive")["receive_file"]

    async def main() -> None:
        async with connection_pair(timeout=DEADLINE) as (client, server):
            receiving = asyncio.create_task(receive(server, tmp_path / "a"))

            async def half() -> Any:
                yield bytes(1000)
                client.transport.abort()
                while True:
                    await asyncio.sleep(0)
                    yield bytes(1000)

            with pytest.raises(ConnectionClosed):
                await client.send(half())
            with pytest.raises(ConnectionClosed):
                await receiving

    run(main)
    assert list(tmp_path.iterdir()) == []


# Closing


def closed_by(websocket: Any) -> ConnectionClosed:
    closed: ConnectionClosed = websocket.protocol.close_exception()
    return closed


def test_explanations() -> None:
    explain = CLOSED("explain")["explain"]

    async def main() -> None:
        async with connection_pair(timeout=DEADLINE) as (client, server):
            await server.close(1001, "maintenance")
            await client.wait_closed()
            assert explain(closed_by(client)) == "the peer has closed: 1001 maintenance"
            assert explain(closed_by(server)) == "this side has closed: 1001 maintenance"
            assert str(closed_by(client)) == (
                "the connection is closed: received 1001 (going away) 'maintenance'; "
                "then sent 1001 (going away)"
            )
        async with connection_pair(timeout=DEADLINE) as (client, server):
            client.transport.abort()
            await server.wait_closed()
            lost = str(closed_by(server))
            assert lost.startswith("connection lost: ")
            assert "; no close frame was received" in lost or "no close frame was received or sent" in lost
            assert explain(closed_by(server)).startswith("a failure: connection lost: ")
        async with connection_pair(server={"max_size": 10}, timeout=DEADLINE) as (client, server):
            await client.send("a" * 11)
            await client.wait_closed()
            await server.wait_closed()
            assert explain(closed_by(server)).startswith("a failure: ")
            assert explain(closed_by(client)).startswith("the peer has closed: 1009 ")
            assert "sent 1009 (message too big)" in str(closed_by(server))

    run(main)


def test_the_log_shows_frames(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    levels = []
    monkeypatch.setattr(logging, "basicConfig", lambda **options: levels.append(options["level"]))
    CLOSED("log")
    assert levels == [logging.DEBUG]
    caplog.set_level(logging.DEBUG)

    async def main() -> None:
        async with handler_client(echo, timeout=DEADLINE) as websocket:
            await websocket.send("the last words")
            await websocket.recv()

    run(main)
    assert any(
        "received text frame" in message and "the last words" in message for message in caplog.messages
    )
    assert blocks("closed.md", "prints")["line"].rstrip() in caplog.messages


# Tuning


def test_settings_for_idle_connections() -> None:
    async def main() -> None:
        async with handler_client(echo, server=TUNING("idle")["IDLE"], timeout=DEADLINE) as websocket:
            assert websocket.extensions == ()
            await websocket.send("hello")
            assert await websocket.recv() == "hello"

    run(main)


def test_settings_for_large_messages() -> None:
    saved = TUNING("saved")["saved"]
    numbers = []
    text = json.dumps([{"number": number, "text": "the same"} for number in range(10_000)])

    async def handler(websocket: ServerConnection) -> None:
        await websocket.send(await websocket.recv())
        numbers.append(saved(websocket))

    async def main() -> None:
        async with handler_client(
            handler, server=TUNING("large")["LARGE"], max_size=2**24, timeout=DEADLINE
        ) as websocket:
            await websocket.send(text)
            assert await websocket.recv() == text
        assert numbers[0] > len(text)

    run(main)


# Authentication


def test_a_username_and_a_password() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATES / "localhost.pem", CERTIFICATES / "localhost.key")
    trusting = ssl.create_default_context(cafile=CERTIFICATES / "localhost.pem")

    async def main() -> None:
        port = free_port()
        server = asyncio.create_task(AUTHENTICATION.cell("basic", {"8765": str(port)}, context=context))
        options: dict[str, Any] = {"ssl": trusting, "proxy": None}
        while True:
            with suppress(ConnectionRefusedError):
                async with connect(f"wss://user:secret@localhost:{port}/", **options) as websocket:
                    assert await websocket.recv() == "Hello user!"
                break
            assert not server.done(), server.result()
            await asyncio.sleep(0.01)
        for wrong in ("", "user:wrong@"):
            with pytest.raises(InvalidStatusCode) as refused:
                await connect(f"wss://{wrong}localhost:{port}/", **options)
            assert refused.value.status_code == 401
        server.cancel()
        await asyncio.wait([server])

    run(main)


class Database:
    """The users of an application."""

    async def find_user(self, name: str) -> Any:
        return SimpleNamespace(verify=lambda password: password == "secret") if name == "user" else None


def test_a_function_that_checks_passwords() -> None:
    auth = AUTHENTICATION(
        "check", basic_auth_protocol_factory=basic_auth_protocol_factory, database=Database()
    )["auth"]

    async def main() -> None:
        async with serve(echo, "localhost", 0, create_protocol=auth) as server:
            changes = {"wss://": "ws://", "example.com": f"localhost:{server.port}"}
            await AUTHENTICATION.cell("user", changes, connect=connect)
            for wrong in ("user:wrong", "other:secret"):
                with pytest.raises(InvalidStatusCode) as refused:
                    await connect(f"ws://{wrong}@localhost:{server.port}/", proxy=None)
                assert refused.value.status_code == 401

    run(main)


def test_a_token_in_a_header() -> None:
    async def main() -> None:
        async with serve(echo, "localhost", 0) as server:
            changes = {"wss://example.com": f"ws://localhost:{server.port}"}
            names = await AUTHENTICATION.cell("bearer", changes, connect=connect, token="12345")
            assert names["websocket"].request_headers["Authorization"] == "Bearer 12345"

    run(main)


def test_a_request_that_is_refused() -> None:
    async def session_is_good(cookie: str | None) -> bool:
        return cookie == "session=12345"

    async def main() -> None:
        made: dict[str, Any] = {}

        def serve_on_any_port(handler: Any, host: str, port: int, **options: Any) -> Any:
            made.update(options)
            return serve(handler, host, 0, **options)

        given = {"handler": echo, "serve": serve_on_any_port, "session_is_good": session_is_good}
        await AUTHENTICATION.cell("refuse", **given)
        async with serve(echo, "localhost", 0, **made) as server:
            uri = f"ws://localhost:{server.port}/"
            async with connect(uri, extra_headers={"Cookie": "session=12345"}, proxy=None):
                pass
            with pytest.raises(InvalidStatusCode) as refused:
                await connect(uri, proxy=None)
            assert refused.value.status_code == 401

    run(main)


def test_a_cookie() -> None:
    names = AUTHENTICATION("cookie")
    names["sessions"]["12345"] = "Alice"

    async def main() -> None:
        async with names["cookie_server"](0) as server:
            uri = f"ws://localhost:{server.port}/"
            options: dict[str, Any] = {"origin": "https://example.com", "proxy": None}
            cookie = {"Cookie": "theme=dark; session=12345"}
            async with connect(uri, extra_headers=cookie, **options) as websocket:
                assert await websocket.recv() == "Hello Alice!"
            for wrong in ({}, {"Cookie": "session=1"}, {"Cookie": "a b=;;=[]"}):
                with pytest.raises(InvalidStatusCode) as refused:
                    await connect(uri, extra_headers=wrong, **options)
                assert refused.value.status_code == 401
            options["origin"] = "https://attacker.example"
            with pytest.raises(InvalidStatusCode) as refused:
                await connect(uri, extra_headers=cookie, **options)
            assert refused.value.status_code == 403

    run(main)


def test_a_token() -> None:
    names = AUTHENTICATION("token")
    token = names["make_token"]("Al:ice")
    text, _, signature = token.rpartition(":")

    async def answer(first: str) -> Any:
        async with handler_client(names["token_handler"], timeout=DEADLINE) as websocket:
            await websocket.send(first)
            try:
                return await websocket.recv()
            except ConnectionClosed:
                return websocket.close_code

    async def main() -> None:
        assert await answer(token) == "Hello Al:ice!"
        for wrong in (
            "",
            "nonsense",
            "ü:ü",
            f"{text}0:{signature}",
            f"{text}:",
            f"Bob:{int(time.time()) + 9}:",
        ):
            assert await answer(wrong) == CloseCode.POLICY_VIOLATION

    run(main)
    old = f"Alice:{int(time.time()) - 1}"
    assert names["user_of"](f"{old}:{names['sign'](old)}") is None


def test_logging_out() -> None:
    log_out = AUTHENTICATION("logout")["log_out"]
    users: dict[str, set[ServerConnection]] = {}

    async def handler(websocket: ServerConnection) -> None:
        users.setdefault("alice", set()).add(websocket)
        await websocket.wait_closed()

    async def main() -> None:
        async with handler_client(handler, timeout=DEADLINE) as websocket:
            await until(lambda: users)
            await log_out(users, "alice")
            await log_out(users, "bob")
            await websocket.wait_closed()
            assert (websocket.close_code, websocket.close_reason) == (1008, "logged out")

    run(main)
