"""What can be instrumented, what is imported, and the program on the page on observability."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from adapters.asyncio import ClientConnection, ServerConnection
from adapters.otel import Telemetry, span_of
from tests.adapters.runtimes import Runtime
from wsproto_core.types import Side

DOCS = Path(__file__).parents[3] / "docs"
PROGRAM = DOCS / "examples" / "telemetry.py"

# Runs the program, connects, and prints what Prometheus would get.
DRIVER = """
import asyncio, runpy, sys, urllib.request
from adapters.asyncio import reconnect
from tests.ports import free_port

program = runpy.run_path(sys.argv[1])

async def drive():
    port, metrics_port = free_port(), free_port()
    running = asyncio.create_task(program["main"](port, metrics_port))
    async with reconnect(f"ws://localhost:{port}/") as connections:
        async for websocket in connections:
            await websocket.send("hello")
            await websocket.recv()
            await websocket.close()
            break
    # The client's end of the connection comes before the server's.
    page = ""
    async with asyncio.timeout(60):
        while "websocket_connection_closes_total" not in page:
            answer = await asyncio.to_thread(urllib.request.urlopen, f"http://localhost:{metrics_port}/metrics")
            page = answer.read().decode()
    print(page)
    running.cancel()
    await asyncio.wait([running])

asyncio.run(drive())
"""


def run(code: str, *args: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, args)], capture_output=True, text=True, cwd=DOCS.parent
    )


def test_program_of_the_page() -> None:
    done = run(DRIVER, PROGRAM)
    assert done.returncode == 0, done.stderr
    assert '"url.path": "/"' in done.stdout  # the span
    lines = done.stdout.splitlines()
    for name in (
        "websocket_server_active_connections",
        "websocket_connection_duration_seconds_count",
        "websocket_connection_messages_total",
        "websocket_connection_io_bytes_total",
        "websocket_connection_closes_total",
        "websocket_connection_write_blocked_time_seconds_total",
    ):
        assert any(line.startswith(name) for line in lines), done.stdout


def test_page_shows_the_program_and_the_metrics() -> None:
    page = (DOCS / "observability.md").read_text(encoding="utf-8")
    assert f"```python\n{PROGRAM.read_text(encoding='utf-8')}```" in page
    for name in ("messages", "io", "write_blocked_time", "duration", "closes", "ping.round_trip_time"):
        assert f"| `websocket.connection.{name}` |" in page


def test_command_is_named_when_the_package_is_missing() -> None:
    done = run("import sys; sys.modules['opentelemetry'] = None; import adapters.otel")
    assert "adapters.otel needs opentelemetry-api: pip install 'wsproto-core[otel]'" in done.stderr


def test_others_do_not_import_it() -> None:
    names = "asyncio, adapters.trio, adapters.anyio, adapters.threading, sys"
    done = run(f"import adapters.{names}; assert 'opentelemetry' not in sys.modules")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("wrong", [object, None, len, Side, Telemetry().instrument(ServerConnection)])
def test_what_cannot_be_instrumented(wrong: Any) -> None:
    with pytest.raises(TypeError, match="ServerConnection or ClientConnection of an adapter"):
        Telemetry().instrument(wrong)


@pytest.mark.parametrize("connection_class", [ClientConnection, ServerConnection])
def test_instrumented_class_is_a_subclass_with_the_same_name(connection_class: type[Any]) -> None:
    instrumented = Telemetry().instrument(connection_class)
    assert issubclass(instrumented, connection_class)
    assert instrumented.__name__ == connection_class.__name__
    assert instrumented.__doc__ == connection_class.__doc__


async def test_connection_that_does_not_report(runtime: Runtime) -> None:
    async with runtime.connected() as ends:
        for end in ends:
            assert not span_of(runtime.native(end)).is_recording()
