"""The chat: a server with a page, and clients on terminals."""

from __future__ import annotations

import json
import re
import signal
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from adapters.threading import ClientConnection, ConnectionClosed, InvalidStatusCode, connect
from tests.ports import free_port

from .programs import AMPLE, EXAMPLES, started


def receive(websocket: ClientConnection) -> dict[str, Any]:
    fields: dict[str, Any] = json.loads(websocket.recv(timeout=AMPLE))
    return fields


def test_people_talk() -> None:
    port = free_port()
    uri = f"ws://localhost:{port}/"
    with started("chat/server.py", port) as server:
        server.expect("Open http://localhost")
        with started("chat/client.py", "Ada", uri) as ada:
            ada.expect("* Ada is here")
            with started("chat/client.py", "Grace", uri) as grace:
                ada.expect("* Grace is here")
                grace.expect("* Grace is here")
                ada.type("Hello, Grace! ✓")
                for client in (ada, grace):
                    assert re.fullmatch(r"\d\d:\d\d Ada: Hello, Grace! ✓", client.line())
                assert ada.process.stdin
                ada.process.stdin.close()
                assert ada.wait() == 0
                grace.expect("* Ada has left.")
                # The terminal of the other client is waiting for a line; that does not keep the program.
                assert server.stop() == 0
                grace.expect("The server has shut down.")
                assert grace.wait() == 0


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """The port of a server for several tests."""
    port = free_port()
    with started("chat/server.py", port) as server:
        server.expect("Open")
        yield port
        assert server.stop(signal.SIGTERM) == 0


def test_names(port: int) -> None:
    uri = f"ws://localhost:{port}/"
    with connect(uri) as ada:
        ada.send(" Ada \n Lovelace ")
        assert receive(ada)["text"] == "Ada Lovelace is here. Here are now: Ada Lovelace."
        for name in ("Ada Lovelace", " ", "x" * 21, "\x1b[31m"):
            with connect(uri) as other:
                other.send(name)
                with pytest.raises(ConnectionClosed, match="not allowed"):
                    other.recv(timeout=AMPLE)
        ada.send("\x1b[31m")
        assert receive(ada)["text"] == "\x1b[31m"


def test_control_characters_do_not_reach_the_terminal(port: int) -> None:
    with started("chat/client.py", "Grace", f"ws://localhost:{port}/") as grace:
        grace.expect("Grace is here")
        with connect(f"ws://localhost:{port}/") as eve:
            eve.send("Eve")
            eve.send("\x1b[31mred")
            assert grace.expect("Eve: ").endswith("Eve: ?[31mred")


def test_page_and_origins(port: int) -> None:
    page = f"http://localhost:{port}"
    with urllib.request.urlopen(f"{page}/", timeout=AMPLE) as response:
        assert response.read() == (EXAMPLES / "chat/page.html").read_bytes()
    with connect(f"ws://localhost:{port}/", origin=page) as websocket:
        websocket.send("Hedy")
        assert receive(websocket)["name"] is None
    with pytest.raises(InvalidStatusCode):
        connect(f"ws://localhost:{port}/", origin="http://example.com")()
