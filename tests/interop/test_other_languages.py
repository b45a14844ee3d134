"""Each adapter with the package ws of node and with gorilla/websocket for Go, both ways.

``make peers`` installs them.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.adapters.runtimes import Runtime, make_runtime
from wsproto_core import ConnectionClosed

from .programs import CERTIFICATES, find
from .through import NAMES, check, serve_case

FOLDER = Path(__file__).parent
PEERS = Path(sys.prefix) / "peers"

CERTIFICATE = str(CERTIFICATES / "localhost.pem")
KEY = str(CERTIFICATES / "localhost.key")

pytestmark = [
    pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"]),
    pytest.mark.parametrize("compression", ["deflate", None]),
    pytest.mark.parametrize("peer", ["node", "gorilla"]),
    pytest.mark.parametrize("name", NAMES),
]

ANSWERS = {
    "node": "permessage-deflate",
    "gorilla": "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
}
"""What their servers answer to what a client of ours offers by default."""


def command_of(peer: str) -> list[str]:
    """The command that runs a peer; a test of one that is not installed is skipped."""
    if peer == "node":
        command = [find("node"), str(FOLDER / "node" / "peer.js")]
        needed = PEERS / "node_modules" / "ws"
    else:
        command = [str(PEERS / "gorilla")]
        needed = PEERS / "gorilla"
    if not needed.exists():
        pytest.skip(f"{needed} is missing; `make peers` installs it if it can")
    return command


@contextlib.contextmanager
def running(
    command: list[str], mode: str, compression: str | None, *arguments: str
) -> Iterator[subprocess.Popen[str]]:
    """A peer at work."""
    environment = {**os.environ, "NODE_PATH": str(PEERS / "node_modules")}
    process = subprocess.Popen(
        [*command, mode, compression or "none", *arguments],
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env=environment,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def output(process: subprocess.Popen[str]) -> Any:
    assert process.stdout is not None
    return process.stdout


def test_their_server(name: str, peer: str, compression: str | None, tls: bool) -> None:
    runtime = make_runtime(name)

    async def test(uri: str) -> None:
        options = runtime.client_tls(tls)
        await check(runtime, uri, **options)
        # All by default, compression too.
        async with runtime.connect(uri, **options) as client:
            answer = client.response_headers.get("Sec-WebSocket-Extensions")
            assert answer == (ANSWERS[peer] if compression else None)
            for message in ("hello", "hello", b"x" * 100_000):
                await client.send(message)
                assert await client.recv() == message
            await client.send(["frag", "ments"])
            assert await client.recv() == "fragments"

    with running(command_of(peer), "serve", compression, *([CERTIFICATE, KEY] if tls else [])) as process:
        port = output(process).readline().strip()
        runtime.run(test(f"{'wss' if tls else 'ws'}://127.0.0.1:{port}/"))


def test_their_client(name: str, peer: str, compression: str | None, tls: bool) -> None:
    command = command_of(peer)
    runtime = make_runtime(name)
    closes: list[Any] = []

    async def handler(websocket: Any) -> None:
        try:
            await serve_case(websocket)
        except ConnectionClosed:
            closes.append((websocket.close_code, websocket.close_reason))

    async def test() -> None:
        options: dict[str, Any] = {"max_size": None, "subprotocols": ["chat"], **runtime.server_tls(tls)}
        # With compression, by default.
        async with runtime.serve(handler, "127.0.0.1", 0, **options) as server:
            uri = runtime.uri_of(server, scheme="wss" if tls else "ws")
            await talk(runtime, uri)
            await runtime.until(lambda: not server.connections)

    async def talk(runtime: Runtime, uri: str) -> None:
        with running(command, "connect", compression, uri, *([CERTIFICATE] if tls else [])) as process:
            await runtime.until(lambda: process.poll() is not None)
            assert process.returncode == 0
            seen = json.load(output(process))
        assert seen["extensions"].startswith("permessage-deflate") is (compression is not None)
        assert seen["subprotocol"] == "chat"
        # The answer to a close frame has its code (RFC 6455 section 5.5.1), without the reason.
        assert seen["answer"] == [4321, ""]
        assert seen["close"] == [4321, "caf\xe9"]

    runtime.run(test())
    assert closes == [(4321, "caf\xe9")]
