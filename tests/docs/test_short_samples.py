"""The samples of a few lines on the pages about adapters and options: each does what its page says."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import shlex
import signal
import sys
import types
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import uvicorn

import adapters.websockets
import adapters.wsproto.events
import wsproto_core
from adapters.asgi import WebSocketProtocol
from adapters.asyncio import (
    ClientConnection,
    CloseCode,
    ConnectionClosedOK,
    InvalidStatusCode,
    ServerConnection,
    broadcast,
    connect,
    reconnect,
    serve,
)
from adapters.otel import Telemetry, span_of
from adapters.testing.asyncio import connection_pair, handler_client
from tests.ports import free_port

from .samples import DEADLINE, DOCS, Sample, blocks, connected, python, run, serving, until, write

ASGI = Sample("asgi.md")
ASYNCIO = Sample("asyncio.md")
BROADCASTING = Sample("broadcasting.md")
COMPRESSION = Sample("compression.md")
EXTENSIONS = Sample("extensions.md")
OBSERVABILITY = Sample("observability.md")
PROXIES = Sample("proxies.md")
RECONNECTING = Sample("reconnecting.md")
THREADING = Sample("threading.md")
WEBSOCKETS = Sample("websockets.md")
WSPROTO = Sample("wsproto.md")


async def echo(websocket: ServerConnection) -> None:
    async for message in websocket:
        await websocket.send(message)


# asyncio


def test_connecting_and_serving() -> None:
    async def main() -> None:
        port = free_port()
        server = asyncio.create_task(ASYNCIO.cell("serve", {"8765": str(port)}))
        await wait_for_a_server(port, server)
        names = await ASYNCIO.cell("connect", {"wss://example.com": f"ws://localhost:{port}"})
        websocket = names["websocket"]
        assert (websocket.path, websocket.close_code) == ("/feed?id=1", CloseCode.NORMAL_CLOSURE)
        assert websocket.request_headers["Sec-WebSocket-Protocol"] == "chat"
        await stop(server)

    run(main)


async def wait_for_a_server(port: int, server: asyncio.Task[Any], **options: Any) -> None:
    """Wait until a task serves."""
    while True:
        assert not server.done(), server.result()
        with suppress(ConnectionRefusedError):
            async with connect(f"ws://localhost:{port}/", proxy=None, **options) as websocket:
                await websocket.ping()
                return
        await asyncio.sleep(0.01)


async def stop(server: asyncio.Task[Any]) -> None:
    server.cancel()
    await asyncio.wait([server])


def test_answering_http() -> None:
    function = ASYNCIO("process_request")["process_request"]

    async def main() -> None:
        async with serve(echo, "localhost", 0, process_request=function) as server:
            uri = f"ws://localhost:{server.port}"
            with pytest.raises(InvalidStatusCode) as answer:
                await connect(f"{uri}/health", proxy=None)
            assert answer.value.response is not None
            assert (answer.value.status_code, answer.value.response.body) == (200, b"OK\n")
            async with connect(f"{uri}/other", proxy=None) as websocket:
                await websocket.send("hello")
                assert await websocket.recv() == "hello"

    run(main)


def test_origins() -> None:
    async def main() -> None:
        options: dict[str, Any] = {}
        await ASYNCIO.cell("origins", serve=lambda _, **given: options.update(given), handler=echo)
        async with serve(echo, "localhost", 0, **options) as server:
            uri = f"ws://localhost:{server.port}/"
            for origin in ("https://example.com", "https://shop.example.com", None):
                async with connect(uri, origin=origin, proxy=None):
                    pass
            for origin in ("https://example.org", "https://example.com.example.org", "null"):
                with pytest.raises(InvalidStatusCode) as refused:
                    await connect(uri, origin=origin, proxy=None)
                assert refused.value.status_code == 403

    run(main)


def test_callbacks() -> None:
    async def main() -> None:
        port = free_port()
        server = asyncio.create_task(ASYNCIO.cell("callbacks", {"8765": str(port)}))
        await wait_for_a_server(port, server)
        async with connect(f"ws://localhost:{port}/", proxy=None) as websocket:
            for message in ("text", b"binary"):
                await websocket.send(message)
                assert await websocket.recv() == message
        await stop(server)

    run(main)


# Broadcasting


def test_a_chat() -> None:
    names = BROADCASTING("chat")

    async def main() -> None:
        async with serve(names["chat"], "localhost", 0) as server:
            uri = f"ws://localhost:{server.port}/"
            async with connect(uri, proxy=None) as one, connect(uri, proxy=None) as two:
                await until(lambda: len(names["present"]) == 2)
                await one.send("hello")
                assert await one.recv() == await two.recv() == "hello"
                await BROADCASTING.cell(
                    "wait", present=names["present"], broadcast=broadcast, message="to all"
                )
                assert await one.recv() == await two.recv() == "to all"
        assert names["present"] == set()

    run(main)


def test_a_prepared_message() -> None:
    names = BROADCASTING("prepared")

    async def main() -> None:
        async with handler_client(names["chat"], timeout=DEADLINE) as websocket:
            assert await websocket.recv() == "Welcome to the chat, of which the rules are ..."

    run(main)


# Options


def test_parameters_of_compression() -> None:
    async def main() -> None:
        options: dict[str, Any] = {}
        await COMPRESSION.cell("factory", serve=lambda _, **given: options.update(given), handler=echo)
        async with handler_client(echo, server=options, timeout=DEADLINE) as websocket:
            answer = websocket.response_headers["Sec-WebSocket-Extensions"]
            assert "server_max_window_bits=11" in answer
            await websocket.send("hello" * 100)
            assert await websocket.recv() == "hello" * 100

    run(main)


def test_an_extension() -> None:
    program = (DOCS / "examples" / "extension.py").read_text(encoding="utf-8")
    names: dict[str, Any] = {"__name__": "extension"}
    exec(program, names)

    async def main() -> None:
        async with serve(echo, "localhost", 0, extensions=[names["ServerChecksum"]()]) as server:
            uri = f"ws://localhost:{server.port}/"
            given = {"connect": connect, "ClientChecksum": names["ClientChecksum"], "uri": uri}
            websocket = (await EXTENSIONS.cell("connect", **given))["websocket"]
            assert [each.name for each in websocket.extensions][:1] == ["x-checksum"]

    run(main)


def test_proxies() -> None:
    calls: list[tuple[str, Any]] = []

    async def main() -> None:
        given = {"connect": lambda uri, proxy: calls.append((uri, proxy)), "uri": "ws://localhost/"}
        await PROXIES.cell("proxies", **given)
        assert [proxy for _, proxy in calls][2] is None
        # Each of the two is the URL of a proxy, which nobody is asked for here.
        for uri, proxy in calls:
            connect(uri, proxy=proxy)
            assert proxy is None or wsproto_core.parse_proxy(proxy).host in {"proxy.example.com", "localhost"}

    run(main)


# Reconnecting


def test_a_loop_over_connections() -> None:
    opened: list[ServerConnection] = []

    async def handler(websocket: ServerConnection) -> None:
        opened.append(websocket)
        await websocket.send("a message")
        if len(opened) == 1:
            await websocket.close(CloseCode.INTERNAL_ERROR)
        await websocket.wait_closed()

    async def main() -> None:
        async with serve(handler, "localhost", 0) as server:
            changes = {"wss://example.com": f"ws://localhost:{server.port}"}
            client = asyncio.create_task(RECONNECTING.cell("loop", changes))
            # The first connection is closed with an error, and the loop goes on.
            await until(lambda: len(opened) == 2)
            assert opened[1].path == "/feed"
            await stop(client)

    run(main)


def test_other_fatal_errors() -> None:
    async def main() -> None:
        made: dict[str, Any] = {}
        given = {"reconnect": lambda uri, **options: made.update(options), "uri": "ws://localhost/"}
        await RECONNECTING.cell("fatal", **given)
        fatal = made["reconnect_fatal"]
        assert not fatal(status_error(404))
        assert not fatal(status_error(503))
        assert fatal(status_error(401))
        reconnect("ws://localhost/", **made)

    run(main)


def status_error(status: int) -> InvalidStatusCode:
    error = InvalidStatusCode(status)
    assert error.status_code == status
    return error


def test_other_delays() -> None:
    async def main() -> None:
        made: list[Any] = []
        given = {
            "reconnect": lambda uri, *, reconnect_delays: made.append(reconnect_delays),
            "uri": "ws://localhost/",
        }
        await RECONNECTING.cell("delays", **given)
        fixed, exponential = made
        # Five attempts: one after each delay, and the first.
        assert len(fixed) == 4
        delays = iter(exponential())
        seconds = [next(delays) for _ in range(20)]
        assert 0.05 <= seconds[0] <= 0.1
        assert all(5 <= each <= 10 for each in seconds[-5:])
        for each in made:
            reconnect("ws://localhost/", reconnect_delays=each)

    run(main)


# Observability


def test_the_format_of_a_log() -> None:
    async def main() -> None:
        formatters: list[logging.Formatter] = []

        def formatter(*arguments: Any, **options: Any) -> None:
            formatters.append(logging.Formatter(*arguments, **options))

        await OBSERVABILITY.cell("format", logging=types.SimpleNamespace(Formatter=formatter))
        record = logging.LogRecord("other", logging.INFO, "", 0, "a message", (), None)
        assert formatters[0].format(record).endswith(" INFO - - a message")
        record.connection_id, record.path = "an id", "/chat"
        assert formatters[0].format(record).endswith(" INFO an id /chat a message")

    run(main)


@pytest.mark.parametrize("name", ["frames", "compressed"])
def test_the_log_of_frames(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """Each line of the page is one that the log has, but for numbers and random bytes."""
    caplog.set_level(logging.DEBUG)

    async def main() -> None:
        async with connection_pair(timeout=DEADLINE) as (client, server):
            await client.send("hello")
            assert await server.recv() == "hello"
            for sender, receiver in ((server, client), (client, server)):
                await sender.send("hello" * 100)
                await receiver.recv()
            await (await server.ping())
            await client.close(reason="bye")

    run(main)
    for line in blocks("observability.md", "prints")[name].splitlines():
        # Numbers, random bytes and the rest of a long text may be others.
        shown = re.split(r"\d+|b'.*'|'\.\.\.", line)
        pattern = ".+".join(re.escape(part) for part in shown)
        assert any(re.fullmatch(f"{pattern}.*", each) for each in caplog.messages), line


def test_instrumented_connections() -> None:
    async def main() -> None:
        made: list[Any] = []

        def record(*_: Any, create_protocol: Any) -> None:
            made.append(create_protocol)

        given = {"serve": record, "connect": record, "handler": echo, "uri": "ws://localhost/"}
        classes = {"ServerConnection": ServerConnection, "ClientConnection": ClientConnection}
        await OBSERVABILITY.cell("instrument", Telemetry=Telemetry, **given, **classes)
        server_class, client_class = made

        async def handler(websocket: ServerConnection) -> None:
            await OBSERVABILITY.cell("span", span_of=span_of, websocket=websocket, channel="news")
            await websocket.send("done")

        async with serve(handler, "localhost", 0, create_protocol=server_class) as server:
            uri = f"ws://localhost:{server.port}/"
            async with connect(uri, create_protocol=client_class, proxy=None) as websocket:
                assert await websocket.recv() == "done"

    run(main)


def test_prometheus_asks_the_port_of_the_program() -> None:
    configuration = blocks("observability.md", "configuration")["prometheus"]
    (target,) = re.findall(r'targets: \["(.*)"\]', configuration)
    program = (DOCS / "examples" / "telemetry.py").read_text(encoding="utf-8")
    (port,) = re.findall(r"metrics_port: int = (\d+)", program)
    assert target == f"localhost:{port}"


# ASGI


APPLICATION = """
async def app(scope, receive, send):
    if scope["type"] != "websocket":
        return
    await receive()
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.send", "text": type(receive.__self__).__module__})
    await receive()
"""


def test_the_flag_of_uvicorn(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APPLICATION, encoding="utf-8")
    _, command = blocks("asgi.md", "run")["uvicorn"].splitlines()
    module, *arguments = shlex.split(command)
    port = free_port()

    async def main() -> None:
        given = ["-m", module, *arguments, "--port", str(port), "--lifespan", "off"]
        with serving(tmp_path, *given) as process:
            async with connected(process, f"ws://127.0.0.1:{port}/") as websocket:
                assert await websocket.recv() == "adapters.asgi.connection"

    run(main)


def test_uvicorn_in_a_program(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APPLICATION, encoding="utf-8")
    port = free_port()
    program = blocks("asgi.md", "program")["uvicorn"]
    write(tmp_path, "program.py", program, {'"app:app"': f'"app:app", port={port}, lifespan="off"'})

    async def main() -> None:
        with serving(tmp_path, "program.py") as process:
            async with connected(process, f"ws://127.0.0.1:{port}/") as websocket:
                assert await websocket.recv() == "adapters.asgi.connection"

    run(main)


async def with_uvicorn(app: Any, protocol: Any, main: Callable[[str], Any], **options: Any) -> None:
    """Run an application on uvicorn while a coroutine runs, which gets the URI of the server."""
    port = free_port()
    config = uvicorn.Config(app, port=port, ws=protocol, lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    await until(lambda: server.started)
    await main(f"ws://127.0.0.1:{port}/")
    server.should_exit = True
    await serving


def test_options_of_asgi() -> None:
    names: dict[str, Any] = {"__name__": "protocols"}
    exec(blocks("asgi.md", "program")["protocols.py"], names)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await receive()

    async def main(uri: str) -> None:
        async with connect(uri, origin="https://example.com", proxy=None):
            pass
        with pytest.raises(InvalidStatusCode) as refused:
            await connect(uri, origin="https://example.org", proxy=None)
        assert refused.value.status_code == 403

    run(lambda: with_uvicorn(app, names["WebSocket"], main))


def test_more_than_asgi(capsys: pytest.CaptureFixture[str]) -> None:
    async def main(uri: str) -> None:
        async with connect(uri, proxy=None) as websocket:
            assert websocket.extensions == ()
            assert json.loads(await websocket.recv()) == {"a": 1}
            await websocket.wait_closed()

    run(lambda: with_uvicorn(ASGI("app")["app"], WebSocketProtocol, main))
    assert re.match(r"\d\S* Statistics\(messages_received=0, messages_sent=1", capsys.readouterr().out)


# Threads


THREADS = """
import signal
from adapters.threading import serve


def echo(websocket):
    for message in websocket:
        websocket.send(message)


with serve(echo, "localhost", {port}) as server:
    {sample}
    server.serve_forever()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGTERM to be handled")
def test_sigterm_on_threads(tmp_path: Path) -> None:
    port = free_port()
    program = THREADS.format(port=port, sample=THREADING.cells["sigterm"].strip())
    (tmp_path / "program.py").write_text(program, encoding="utf-8")

    async def main() -> None:
        with serving(tmp_path, "program.py") as process:
            async with connected(process, f"ws://localhost:{port}/") as websocket:
                await websocket.send("hello")
                assert await websocket.recv() == "hello"
                process.send_signal(signal.SIGTERM)
                with pytest.raises(ConnectionClosedOK) as closed:
                    await websocket.recv()
                assert closed.value.code == CloseCode.GOING_AWAY
            assert process.communicate(timeout=DEADLINE) == ("", "")
            assert process.returncode == 0

    run(main)


# trio and anyio


ECHO = "Hello!\none message, in fragments\n"


@pytest.mark.parametrize(
    ("name", "printed"), [("trio", ECHO), ("hour", "pings all the time: True\n"), ("anyio", ECHO)]
)
def test_complete_programs(name: str, printed: str, tmp_path: Path) -> None:
    programs = {**blocks("trio.md", "program"), **blocks("anyio.md", "program")}
    assert python(tmp_path, "-c", programs[name]) == printed


# Names of other libraries


def test_names_of_websockets() -> None:
    names = WEBSOCKETS("imports")
    assert names["websockets"] is adapters.websockets
    assert names["Headers"] is wsproto_core.Headers


def test_plain_calls() -> None:
    async def main() -> None:
        async def handler(websocket: Any) -> None:
            await WEBSOCKETS.cell("plain", websocket=websocket, message="hello")

        async with (
            adapters.websockets.serve(handler, "localhost", 0) as server,
            connect(f"ws://localhost:{server.port}/", proxy=None) as websocket,
        ):
            assert [message async for message in websocket] == ["hello", "hello"]

    run(main)


def test_names_of_wsproto() -> None:
    names = WSPROTO("imports")
    assert names["WSConnection"] is adapters.wsproto.WSConnection
    assert names["TextMessage"] is adapters.wsproto.events.TextMessage


def test_wsproto_in_its_place(tmp_path: Path) -> None:
    """hypercorn is not installed for the tests; simple-websocket and others do the same import."""
    program = WSPROTO.blocks["in-its-place"].replace("import hypercorn", "import wsproto")
    write(tmp_path, "program.py", f"{program}\nprint(wsproto.__name__, wsproto.events.__name__)\n", {})
    assert python(tmp_path, "program.py") == "adapters.wsproto adapters.wsproto.events\n"


# The compiled half


@pytest.mark.parametrize("pure", ["0", "1"])
def test_which_half(pure: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WSPROTO_CORE_PURE", pure)
    printed = python(tmp_path, "-c", blocks("compiled.md", "program")["compiled"])
    assert printed in ({"True\n", "False\n"} if pure == "0" else {"False\n"})
