"""The examples in the documentation of FastAPI and Starlette, unchanged, on uvicorn with this library."""

from __future__ import annotations

import re
import runpy
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from adapters.asyncio import ConnectionClosed, InvalidStatusCode, connect
from tests.adapters.runtimes import Runtime
from tests.adapters.runtimes.base import HOST
from tests.browser.devtools import Chromium, DevTools
from tests.ports import free_port

from .sdists import sources
from .serving import serving

MESSAGES = "[...document.querySelectorAll('li')].map(item => item.textContent)"
"""What the page of FastAPI's example shows."""


@pytest.fixture(autouse=True)
def _no_errors(caplog: pytest.LogCaptureFixture) -> Any:
    """No example leaves an error in the log."""
    yield
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []


def fastapi(name: str) -> Any:
    """The application of an example of FastAPI."""
    return runpy.run_path(str(sources("fastapi") / "docs_src" / "websockets_" / f"{name}.py"))["app"]


def starlette(page: str, number: int) -> Any:
    """The application of an example of Starlette: the block of this number about WebSocket on a page."""
    text = (sources("starlette") / "docs" / page).read_text(encoding="utf-8")
    blocks = re.findall(r"^```python.*?\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    namespace: dict[str, Any] = {}
    exec([block for block in blocks if "WebSocket" in block][number], namespace)
    return namespace.get("app") or namespace["App"]


# FastAPI


async def test_fastapi_echo(http: str) -> None:
    async with serving(fastapi("tutorial001"), http=http) as server, connect(server.uri("/ws")) as client:
        for text in ("one", "two"):
            await client.send(text)
            assert await client.recv() == f"Message text was: {text}"


async def test_fastapi_parameters_and_dependencies() -> None:
    async with serving(fastapi("tutorial002")) as server:
        uri = server.uri("/items/foo/ws?token=secret&q=3")
        async with connect(uri) as client:
            await client.send("hello")
            assert [await client.recv() for _ in range(3)] == [
                "Session cookie or query token value is: secret",
                "Query parameter q is: 3",
                "Message text was: hello, for item ID: foo",
            ]
        cookie = {"Cookie": "session=cookie"}
        async with connect(server.uri("/items/bar/ws"), extra_headers=cookie) as client:
            await client.send("hello")
            assert await client.recv() == "Session cookie or query token value is: cookie"
            assert await client.recv() == "Message text was: hello, for item ID: bar"


@pytest.mark.parametrize("path", ["/items/foo/ws", "/items/foo/ws?token=a&q=none", "/unknown"])
async def test_fastapi_refuses(path: str) -> None:
    async with serving(fastapi("tutorial002")) as server:
        with pytest.raises(InvalidStatusCode) as raised:
            await connect(server.uri(path))
        assert raised.value.status_code == 403


async def test_fastapi_broadcast_and_disconnect(runtime: Runtime) -> None:
    async with serving(fastapi("tutorial003")) as server, connect(server.uri("/ws/1")) as one:
        async with connect(server.uri("/ws/2")) as two:
            await two.send("hello")
            assert await two.recv() == "You wrote: hello"
            assert await two.recv() == "Client #2 says: hello"
            assert await one.recv() == "Client #2 says: hello"
        assert await one.recv() == "Client #2 left the chat"
        lost = await connect(server.uri("/ws/3"))
        lost.transport.abort()
        assert await one.recv() == "Client #3 left the chat"
        await lost.wait_closed()


@pytest.fixture(scope="module")
def chromium() -> Iterator[tuple[Chromium, int]]:
    """A browser, and the port for the server to which it connects when a page asks for the one below."""
    executable = shutil.which("chromium")
    if executable is None:
        pytest.skip("chromium is not installed")
    port = free_port()
    # The pages of FastAPI's examples connect to this port.
    with Chromium(executable, f"--host-resolver-rules=MAP localhost:8000 {HOST}:{port}") as running:
        yield running, port


async def test_fastapi_chat_in_chromium(chromium: tuple[Chromium, int]) -> None:
    """Two tabs; one of them is closed."""
    browser, port = chromium
    async with (
        serving(fastapi("tutorial003"), port=port) as server,
        DevTools.connect(browser.uri) as devtools,
    ):
        one, two = [await devtools.open(server.uri(scheme="http")) for _ in range(2)]
        for page in (one, two):
            await page.wait_for("ws.readyState === WebSocket.OPEN")
        number = await two.evaluate("client_id")
        await two.type("#messageText", "Hello! ✓")
        await two.wait_for("document.querySelectorAll('li').length === 2")
        says = f"Client #{number} says: Hello! ✓"
        assert await two.evaluate(MESSAGES) == ["You wrote: Hello! ✓", says]
        await one.wait_for("document.querySelectorAll('li').length === 1")
        await two.close()
        await one.wait_for("document.querySelectorAll('li').length === 2")
        assert await one.evaluate(MESSAGES) == [says, f"Client #{number} left the chat"]
        assert (await one.evaluate("ws.extensions")).startswith("permessage-deflate")


# Starlette


async def test_starlette_hello() -> None:
    async with serving(starlette("websockets.md", 0)) as server, connect(server.uri()) as client:
        assert await client.recv() == "Hello, world!"
        with pytest.raises(ConnectionClosed) as raised:
            await client.recv()
        assert raised.value.code == 1000


async def test_starlette_iteration(http: str) -> None:
    async with serving(starlette("websockets.md", 1), http=http) as server:
        client = await connect(server.uri())
        for text in ("one", "two"):
            await client.send(text)
            assert await client.recv() == f"Message text was: {text}"
        await client.close()
        assert client.close_code == 1000


async def test_starlette_denial_and_subprotocols(http: str) -> None:
    async with serving(starlette("websockets.md", 2), http=http) as server:
        with pytest.raises(InvalidStatusCode) as raised:
            await connect(server.uri("/ws"))
        response = raised.value.response
        assert response is not None
        assert (response.status, response.body) == (401, b"Unauthorized")
        async with connect(server.uri("/ws"), subprotocols=["Authorization", "token"]) as client:
            assert client.subprotocol == "Authorization"
            assert await client.recv() == "Hello, world!"


async def test_starlette_endpoints() -> None:
    async with serving(starlette("endpoints.md", 0)) as server, connect(server.uri()) as client:
        await client.send(b"hello")
        assert await client.recv() == b"Message: hello"
    async with serving(starlette("endpoints.md", 1)) as server, connect(server.uri("/ws")) as client:
        await client.send("hello")
        assert await client.recv() == "Message text was: hello"
