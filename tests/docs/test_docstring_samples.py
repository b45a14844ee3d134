"""The samples in docstrings, which the pages of the reference show, are run on each runtime that has them."""

from __future__ import annotations

import ast
import asyncio
import builtins
import re
import socket
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType
from typing import Any

import anyio
import anyio.to_thread
import pytest
import trio
from werkzeug.routing import Map, Rule

import adapters.anyio
import adapters.asyncio
import adapters.testing.asgi
import adapters.testing.asyncio
import adapters.testing.threading
import adapters.threading
import adapters.trio
import wsproto_core.testing
from adapters.otel import Telemetry
from adapters.shared.client import Connecting
from adapters.shared.options import OPTIONS
from adapters.topics import Topics
from tests.ports import free_port
from wsproto_core import (
    ClientProtocol,
    Close,
    ConnectionClosed,
    InvalidStatusCode,
    ReconnectPolicy,
    Request,
    ServerProtocol,
    exceptions,
)
from wsproto_core.connect.redirects import Redirects
from wsproto_core.http.uri import parse_uri

from .samples import DEADLINE, ROOT

RUNTIMES = {
    "asyncio": adapters.asyncio,
    "trio": adapters.trio,
    "anyio": adapters.anyio,
    "threading": adapters.threading,
}

PLACES = {
    "connect": "{}/client.py",
    "reconnect": "{}/client.py",
    "serve": "{}/server.py",
    "route": "{}/server.py",
}
"""Where the docstrings of these functions are; those of trio and anyio share some."""


def samples() -> Iterator[tuple[str, str]]:
    """Return the samples of all docstrings: ``path: name of the object``, and the code."""
    for package in ("adapters", "wsproto_core"):
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                    text = ast.get_docstring(node) or ""
                    for code in re.findall(r"::\n\n((?:    .*\n|\n)+)", text + "\n"):
                        name = "" if isinstance(node, ast.Module) else f": {node.name}"
                        yield (
                            f"{path.relative_to(ROOT).as_posix()}{name}",
                            textwrap.dedent(code).strip() + "\n",
                        )


SAMPLES = dict(samples())


def place(runtime: str, name: str) -> str:
    folder = "structured" if runtime in ("trio", "anyio") and name in ("serve", "route") else runtime
    return f"adapters/{PLACES[name].format(folder)}: {name}"


def compiled(name: str, **changes: str) -> CodeType:
    source = SAMPLES[name]
    for old, new in changes.items():
        assert old in source
        source = source.replace(old, new)
    code: CodeType = compile(source, name, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    return code


def run(
    runtime: str, code: CodeType, names: dict[str, Any], beside: Callable[[], None] | None = None
) -> None:
    """Run a sample on a runtime, to its end, or until a function that runs beside it in a thread returns."""

    async def sample() -> None:
        waiting = eval(code, names)
        if waiting is not None:
            await waiting

    async def on_asyncio() -> None:
        async with asyncio.timeout(DEADLINE):
            task = asyncio.create_task(sample())
            if beside is not None:
                await asyncio.to_thread(beside)
                task.cancel()
                await asyncio.wait([task])
            else:
                await task

    async def on_trio() -> None:
        with trio.fail_after(DEADLINE):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(sample)
                if beside is not None:
                    await trio.to_thread.run_sync(beside)
                    nursery.cancel_scope.cancel()

    async def on_anyio() -> None:
        with anyio.fail_after(DEADLINE):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(sample)
                if beside is not None:
                    await anyio.to_thread.run_sync(beside)
                    tasks.cancel_scope.cancel()

    if runtime == "asyncio":
        asyncio.run(on_asyncio())
    elif runtime == "trio":
        trio.run(on_trio)
    elif runtime == "anyio":
        anyio.run(on_anyio)
    elif beside is None:
        exec(code, names)
    else:
        thread = threading.Thread(target=exec, args=(code, names))
        thread.start()
        try:
            beside()
        finally:
            # It listens a moment before the block of the sample begins.
            while "server" not in names and thread.is_alive():
                time.sleep(0.01)
            names["server"].shutdown()
            thread.join()


@contextmanager
def server(handler: Callable[[Any], object], **options: Any) -> Iterator[int]:
    """Serve on threads; yields the port."""
    with adapters.threading.serve(handler, "localhost", 0, **options) as running:
        assert running.port is not None
        yield running.port


def blocking_echo(websocket: Any) -> None:
    for message in websocket:
        websocket.send(message)


def wait_for_port(port: int) -> None:
    until = time.monotonic() + DEADLINE
    while True:
        try:
            socket.create_connection(("localhost", port)).close()
            return
        except ConnectionRefusedError:
            assert time.monotonic() < until
            time.sleep(0.02)


def ask(port: int, path: str = "/", **options: Any) -> None:
    """Wait for a server; see that it echoes."""
    wait_for_port(port)
    with adapters.threading.connect(f"ws://localhost:{port}{path}", proxy=None, **options) as websocket:
        websocket.send("hello")
        assert websocket.recv(timeout=DEADLINE) == "hello"


# The functions of each runtime


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_connect(runtime: str, capsys: pytest.CaptureFixture[str]) -> None:
    with server(blocking_echo) as port:
        code = compiled(place(runtime, "connect"), **{"8765": str(port)})
        run(runtime, code, {"connect": RUNTIMES[runtime].connect})
    assert capsys.readouterr().out == "Hello\n"


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_reconnect(runtime: str) -> None:
    """The loop goes on after a connection with an error, and ends when an error is fatal."""
    requests: list[str] = []

    def refuse_the_second(path: str, headers: object) -> tuple[int, list[tuple[str, str]], bytes] | None:
        requests.append(path)
        return (401, [], b"") if len(requests) == 2 else None

    def fail(websocket: Any) -> None:
        websocket.close(1011)

    with server(fail, process_request=refuse_the_second) as port:
        code = compiled(place(runtime, "reconnect"), **{"8765": str(port)})
        names = {"reconnect": RUNTIMES[runtime].reconnect, "ConnectionClosed": ConnectionClosed}
        # In a group on trio and anyio, where the sample is in one.
        with pytest.raises((InvalidStatusCode, ExceptionGroup)) as raised:
            run(runtime, code, names)
        error = raised.value
        fatal = error.exceptions[0] if isinstance(error, ExceptionGroup) else error
        assert isinstance(fatal, InvalidStatusCode)
        assert fatal.status_code == 401
    assert len(requests) == 2


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_serve(runtime: str) -> None:
    port = free_port()
    code = compiled(place(runtime, "serve"), **{"8765": str(port)})
    run(runtime, code, {"serve": RUNTIMES[runtime].serve}, lambda: ask(port))


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_route(runtime: str) -> None:
    port = free_port()

    def talk() -> None:
        wait_for_port(port)
        uri = f"ws://localhost:{port}"
        with adapters.threading.connect(f"{uri}/channel/7", proxy=None) as websocket:
            websocket.wait_closed(DEADLINE)
            assert websocket.close_code == 1000
        with pytest.raises(InvalidStatusCode) as refused:
            adapters.threading.connect(f"{uri}/channel/seven", proxy=None)()
        assert refused.value.status_code == 404

    code = compiled(place(runtime, "route"), **{"8765": str(port)})
    run(runtime, code, {"route": RUNTIMES[runtime].route, "Map": Map, "Rule": Rule}, talk)


# The other modules of adapters


async def echo(websocket: Any) -> None:
    async for message in websocket:
        await websocket.send(message)


def test_topics() -> None:
    port = free_port()
    code = compiled("adapters/topics/topics.py: Topics", **{"8765": str(port)})
    names = {"Topics": Topics, "serve": adapters.asyncio.serve, "handler": echo}
    run("asyncio", code, names, lambda: ask(port))


def test_telemetry() -> None:
    made: list[type] = []

    def record(*_: object, create_protocol: type) -> None:
        made.append(create_protocol)

    ends = (adapters.asyncio.ServerConnection, adapters.asyncio.ClientConnection)
    names = {"Telemetry": Telemetry, "serve": record, "connect": record, "handler": echo, "uri": ""}
    names |= {end.__name__: end for end in ends}
    run("asyncio", compiled("adapters/otel/telemetry.py: Telemetry"), names)
    assert all(issubclass(*pair) for pair in zip(made, ends, strict=True))


def test_basic_auth() -> None:
    name = "adapters/shared/authentication.py: factory"
    factory = adapters.asyncio.basic_auth_protocol_factory
    names = {"basic_auth_protocol_factory": factory, "handler": echo, "serve": adapters.asyncio.serve}
    port = free_port()
    code = compiled(
        name, **{"8765, ssl=context": str(port), "auth): ...": "auth) as s: await s.serve_forever()"}
    )
    options = {"extra_headers": {"Authorization": "Basic dXNlcjpzZWNyZXQ="}}
    run("asyncio", code, names, lambda: ask(port, **options))


async def echo_application(scope: Any, receive: Any, send: Any) -> None:
    assert (scope["path"], scope["query_string"]) == ("/ws", b"token=secret")
    await receive()
    await send({"type": "websocket.accept"})
    while (event := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": event["text"]})


def test_asgi_client() -> None:
    names = {"asgi_client": adapters.testing.asgi.asgi_client, "app": echo_application}
    run("asyncio", compiled("adapters/testing/asgi.py: asgi_client"), names)


@pytest.mark.parametrize("name", ["handler_client", "connection_pair", "handler_server"])
@pytest.mark.parametrize("runtime", ["asyncio", "threading"])
def test_test_tools(name: str, runtime: str) -> None:
    tools = {"asyncio": adapters.testing.asyncio, "threading": adapters.testing.threading}[runtime]
    file = "handlers" if runtime == "asyncio" else runtime
    handler = echo if runtime == "asyncio" else blocking_echo
    names = {name: getattr(tools, name), "echo": handler, "connect": RUNTIMES[runtime].connect}
    run(runtime, compiled(f"adapters/testing/{file}.py: {name}"), names)


def test_virtual_time() -> None:
    names: dict[str, Any] = {"virtual_time": adapters.testing.asyncio.virtual_time, "asyncio": asyncio}
    exec(compiled("adapters/testing/loops.py: virtual_time"), names)
    asyncio.run(names["test_keepalive"]())


# The core


def as_function(name: str, arguments: str) -> Callable[..., Any]:
    """Make a function of a sample with ``return``."""
    names: dict[str, Any] = {
        "InvalidStatusCode": InvalidStatusCode,
        "Redirects": Redirects,
    }
    exec(f"def sample({arguments}):\n{textwrap.indent(SAMPLES[name], '    ')}", names)
    function: Callable[..., Any] = names["sample"]
    return function


def redirect_to(uri: str) -> InvalidStatusCode:
    response = wsproto_core.Response(302, wsproto_core.Headers({"Location": uri}))
    return InvalidStatusCode(302, response=response)


def test_redirects() -> None:
    uris = []

    def connect_once(uri: Any, options: Any) -> str:
        uris.append(str(uri))
        if len(uris) == 1:
            raise redirect_to("wss://example.com/other")
        return "connected"

    options = {name: option.default for name, option in OPTIONS.items()}
    sample = as_function("wsproto_core/connect/redirects.py: Redirects", "uri, options, connect_once")
    assert sample(parse_uri("wss://example.com/"), options, connect_once) == "connected"
    assert uris == ["wss://example.com/", "wss://example.com/other"]


def test_policy_of_reconnecting() -> None:
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)

    def connect_once() -> str:
        if len(slept) == 1:
            raise ConnectionRefusedError
        if len(slept) == 3:
            raise ValueError("fatal")
        return "a connection"

    names = {
        "ReconnectPolicy": ReconnectPolicy,
        "delays": [1, 2],
        "connect_once": connect_once,
        "sleep": sleep,
    }
    names |= {"use": lambda connection: None, "clock": lambda: 0.0}
    with pytest.raises(ValueError, match="fatal"):
        exec(compiled("wsproto_core/connect/reconnect.py: ReconnectPolicy"), names)
    assert len(slept) == 3


def test_events() -> None:
    client = ClientProtocol("ws://localhost/", clock=time.monotonic)
    protocol = ServerProtocol(clock=time.monotonic)
    code = compiled("wsproto_core/events.py")
    names = {"protocol": protocol, "Request": Request, "Close": Close}

    def carry() -> None:
        protocol.receive_data(b"".join(client.data_to_send()))
        client.data_sent()
        exec(code, names)
        client.receive_data(b"".join(protocol.data_to_send()))
        protocol.data_sent()

    carry()
    client.send("hello")
    client.close(1001, "bye")
    carry()
    # The close frame is behind the message: it takes effect when more is asked for.
    carry()
    assert (names["code"], names["reason"]) == (1001, "bye")


def test_connections_in_memory() -> None:
    exec(compiled("wsproto_core/testing.py"), {"connect": wsproto_core.testing.connect})


def test_tree_of_exceptions() -> None:
    """The drawing in the module has each exception below its base."""
    path: list[str] = []
    bases: dict[str, str] = {}
    for line in SAMPLES["wsproto_core/exceptions.py"].splitlines():
        indentation, name, others = re.fullmatch(r"([ │├└─]*)(\w+)(.*)", line).groups()  # type: ignore[union-attr]
        path[len(indentation) // 4 :] = [name]
        bases[name] = path[-2] if len(path) > 1 else ""
        cls = getattr(exceptions, name)
        if found := re.search(r"also an? (\w+)", others):
            assert issubclass(cls, getattr(builtins, found[1]))
        if bases[name]:
            assert bases[name] in [base.__name__ for base in cls.__bases__], name
    assert bases.keys() == set(exceptions.__all__) - {"WebSocketProtocolError"}


def test_each_sample_is_tested() -> None:
    """Only that of `Connecting` is not: it shows what `connect` of each adapter does, step by step."""
    on_runtimes = {place(runtime, name) for runtime in RUNTIMES for name in PLACES}
    tools = {
        f"adapters/testing/{file}.py: {name}"
        for file in ("handlers", "threading")
        for name in ("handler_client", "connection_pair", "handler_server")
    }
    source = Path(__file__).read_text(encoding="utf-8")
    quoted = {name for name in SAMPLES if f'"{name}"' in source}
    left = SAMPLES.keys() - on_runtimes - tools - quoted
    assert left == {f"adapters/shared/client.py: {Connecting.__name__}"}
    assert len(SAMPLES) > 25
