"""Servers behind nginx, configured as docs/deployment.md says."""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.adapters.runtimes import Runtime, make_runtime
from tests.adapters.runtimes.base import DEADLINE, wait_closed
from tests.docs.samples import blocks
from tests.ports import free_port
from wsproto_core import ConnectionClosedError, ConnectionClosedOK, InvalidStatusCode

from .programs import CERTIFICATES, HOST, nginx
from .through import NAMES, check, serve_case

KINDS = ["plain", "TLS", "Unix socket", "TLS to the server"]


def documented() -> str:
    """The configuration in the documentation."""
    return blocks("deployment.md", "configuration")["nginx"]


def replace(text: str, old: str, new: str) -> str:
    assert text.count(old) == 1, old
    return text.replace(old, new)


class Nginx:
    """nginx in front of a server of ours, with the addresses of both."""

    def __init__(self, runtime: Runtime, kind: str, directory: Path, **changes: str) -> None:
        self.runtime = runtime
        self.kind = kind
        self.port = free_port()
        self.path = str(directory / "socket")
        self.upstream_port = free_port()
        self._directory = directory
        self._changes = changes

    @property
    def uri(self) -> str:
        return f"{'wss' if self.kind == 'TLS' else 'ws'}://{HOST}:{self.port}/"

    @property
    def client_options(self) -> dict[str, Any]:
        # On a busy machine, many connections take long to open.
        return {"open_timeout": DEADLINE, **self.runtime.client_tls(self.kind == "TLS")}

    def configuration(self) -> str:
        text = documented()
        if self.kind == "TLS":
            text = replace(text, "listen 443 ssl", f"listen {HOST}:{self.port} ssl")
            text = replace(text, "/etc/ssl/example.com.pem", str(CERTIFICATES / "localhost.pem"))
            text = replace(text, "/etc/ssl/example.com.key", str(CERTIFICATES / "localhost.key"))
        else:
            text = replace(text, "listen 443 ssl", f"listen {HOST}:{self.port}")
            text = re.sub(r"    ssl_certificate.*\n", "", text)
        if self.kind == "Unix socket":
            text = replace(text, "unix:/run/websocket.sock", f"unix:{self.path}")
        else:
            text = replace(text, "unix:/run/websocket.sock", f"{HOST}:{self.upstream_port}")
        if self.kind == "TLS to the server":
            text = replace(text, "http://websocket", "https://websocket")
        for old, new in self._changes.items():
            text = re.sub(rf"{old} .*;", f"{old} {new};", text)
        return text

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        with nginx(self._directory, self.configuration(), self.port):
            yield

    @contextlib.asynccontextmanager
    async def serving(self, handler: Any, **options: Any) -> AsyncIterator[Any]:
        runtime = self.runtime
        options.setdefault("open_timeout", DEADLINE)
        options |= runtime.server_tls(self.kind == "TLS to the server")
        if self.kind == "Unix socket":
            async with runtime.unix_serve(handler, self.path, **options) as server:
                yield server
        else:
            async with runtime.serve(handler, HOST, self.upstream_port, **options) as server:
                yield server

    def connect(self, path: str = "", **options: Any) -> Any:
        return self.runtime.connect(self.uri + path, **options, **self.client_options)

    async def open(self, path: str = "", **options: Any) -> Any:
        return await self.runtime.open(self.uri + path, **options, **self.client_options)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", NAMES)
def test_everything_gets_through(name: str, kind: str, tmp_path: Path) -> None:
    front = Nginx(make_runtime(name), kind, tmp_path)
    runtime = front.runtime

    async def subprotocol(websocket: Any) -> None:
        headers = websocket.request_headers
        assert headers["Host"] == f"{HOST}:{front.port}"
        assert headers["X-Forwarded-For"] == HOST
        assert headers["X-Forwarded-Proto"] == ("https" if kind == "TLS" else "http")
        await websocket.send(str(websocket.subprotocol))
        await (await websocket.ping())
        await websocket.send(["frag", "ments"])
        assert await websocket.recv() == "that is all"

    async def handler(websocket: Any) -> None:
        if websocket.path == "/subprotocol":
            await subprotocol(websocket)
        else:
            await serve_case(websocket)

    async def test() -> None:
        async with front.serving(handler, max_size=None, subprotocols=["chat", "other"]):
            await check(runtime, front.uri, **front.client_options)
            async with front.connect("subprotocol", subprotocols=["x", "other"]) as client:
                assert client.subprotocol == "other"
                assert await client.recv() == "other"
                assert await client.recv() == "fragments"
                await client.send("that is all")
                with pytest.raises(ConnectionClosedOK) as raised:
                    await client.recv()
                assert raised.value.code == 1000

    with front.running():
        runtime.run(test())


@pytest.mark.parametrize("name", NAMES)
def test_close_codes_of_the_client(name: str, tmp_path: Path) -> None:
    front = Nginx(make_runtime(name), "Unix socket", tmp_path)
    codes: list[Any] = []

    async def handler(websocket: Any) -> None:
        await wait_closed(websocket)
        codes.append((websocket.close_code, websocket.close_reason))

    async def test() -> None:
        async with front.serving(handler) as server:
            for code, reason in ((1000, ""), (1001, "going"), (3000, "caf\xe9"), (4999, "x" * 123)):
                async with front.connect() as client:
                    await client.close(code, reason)
                await front.runtime.until(lambda: not server.connections)
                assert codes[-1] == (code, reason)

    with front.running():
        front.runtime.run(test())


@pytest.mark.parametrize("keepalive", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_idle_connection_stays_open_by_keepalive(name: str, keepalive: bool, tmp_path: Path) -> None:
    front = Nginx(make_runtime(name), "plain", tmp_path, proxy_read_timeout="2s")
    server_options = {"ping_interval": 0.5 if keepalive else None}

    async def test() -> None:
        async with front.serving(serve_case, **server_options) as server:
            async with front.connect(ping_interval=None) as client:
                if keepalive:
                    await front.runtime.sleep(3.5)
                    await front.runtime.check_echo(client)
                else:
                    with pytest.raises(ConnectionClosedError) as raised:
                        await client.recv()
                    assert raised.value.code == 1006
            await front.runtime.until(lambda: not server.connections)

    with front.running():
        front.runtime.run(test())


@pytest.mark.parametrize("kind", ["plain", "TLS"])
@pytest.mark.parametrize("name", NAMES)
def test_server_that_shuts_down(name: str, kind: str, tmp_path: Path) -> None:
    front = Nginx(make_runtime(name), kind, tmp_path)

    async def test() -> None:
        async with front.serving(wait_closed) as server, front.connect() as client:
            server.close()
            with pytest.raises(ConnectionClosedOK) as raised:
                await client.recv()
            assert raised.value.code == 1001
            await server.wait_closed()
        with pytest.raises(InvalidStatusCode, match="HTTP status 502"):
            await front.open()
        # And comes back.
        async with front.serving(serve_case), front.connect() as client:
            await front.runtime.check_echo(client)

    with front.running():
        front.runtime.run(test())


@pytest.mark.parametrize("name", NAMES)
def test_other_responses(name: str, tmp_path: Path) -> None:
    front = Nginx(make_runtime(name), "Unix socket", tmp_path)

    async def process_request(path: str, headers: Any) -> Any:
        return (404, {"X-Ours": "yes"}, b"not here") if path == "/nowhere" else None

    async def test() -> None:
        async with front.serving(serve_case, process_request=process_request):
            with pytest.raises(InvalidStatusCode, match="HTTP status 404") as raised:
                await front.open("nowhere")
            assert raised.value.response is not None
            assert raised.value.response.headers["X-Ours"] == "yes"
            assert raised.value.response.body == b"not here"
        # Another server: a connection that was refused counts until nginx has closed it.
        async with front.serving(serve_case, max_connections=1), front.connect() as client:
            with pytest.raises(InvalidStatusCode, match="HTTP status 503") as raised:
                await front.open()
            assert raised.value.response is not None
            assert "Retry-After" in raised.value.response.headers
            await front.runtime.check_echo(client)

    with front.running():
        front.runtime.run(test())


@pytest.mark.parametrize("name", NAMES)
def test_many_connections(name: str, tmp_path: Path) -> None:
    front = Nginx(make_runtime(name), "Unix socket", tmp_path)
    runtime = front.runtime

    async def use(number: int) -> None:
        async with front.connect() as client:
            for _ in range(10):
                await client.send(f"{number}" * 100)
                assert await client.recv() == f"{number}" * 100

    async def test() -> None:
        async with front.serving(serve_case) as server:
            tasks = [runtime.spawn(use, number) for number in range(30)]
            for task in tasks:
                await task.result()
            await runtime.until(lambda: not server.connections)

    with front.running():
        runtime.run(test())
