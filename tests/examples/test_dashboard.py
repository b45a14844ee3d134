"""The dashboard: values are pushed, and a slow client gets the latest ones."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

from adapters.threading import ClientConnection, connect
from tests.ports import free_port

from .programs import AMPLE, EXAMPLES, started


def receive(websocket: ClientConnection) -> dict[str, Any]:
    fields: dict[str, Any] = json.loads(websocket.recv(timeout=AMPLE))
    return fields


def test_values_are_pushed() -> None:
    port = free_port()
    with started("dashboard/server.py", port, 0.01) as server:
        server.expect("Open")
        with urllib.request.urlopen(f"http://localhost:{port}/", timeout=AMPLE) as response:
            assert response.read() == (EXAMPLES / "dashboard/page.html").read_bytes()
        with connect(f"ws://localhost:{port}/") as websocket:
            first = receive(websocket)
            assert len(first["history"]) == min(first["number"] + 1, 200)
            number = first["number"]
            for _ in range(10):
                update = receive(websocket)
                number += 1 + update["skipped"]
                assert update["number"] == number
                assert 0 <= update["value"] <= 100
            assert server.stop() == 0
            websocket.wait_closed(AMPLE)
            assert websocket.close_code == 1001


def test_a_slow_client_gets_the_latest_value() -> None:
    port = free_port()
    with started("dashboard/server.py", port, 0.005) as server:
        server.expect("Open")
        uri = f"ws://localhost:{port}/"
        with connect(uri, max_queue=1) as slow, connect(uri) as fast:
            start = receive(slow)["number"]
            while (now := receive(fast)["number"]) < start + 200:
                pass
            # What it reads late are the few values that were sent before it stopped reading.
            late = 0
            while receive(slow)["number"] < now:
                late += 1
            assert late < 10
