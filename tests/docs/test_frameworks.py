"""The samples of docs/frameworks.md."""

from __future__ import annotations

import ast
import asyncio
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from types import CodeType, SimpleNamespace
from typing import Any

import pytest
import uvicorn

from adapters.asgi import WebSocketProtocol
from adapters.asyncio import ServerConnection, connect, serve
from adapters.testing import threading as threading_tools
from adapters.testing.asgi import asgi_client
from tests.ports import free_port

from .samples import DEADLINE, Sample, blocks, connected, python, run, serving, until, write

sample = Sample("frameworks.md")
CELLS = blocks("frameworks.md", "cell")


def test_all_samples_are_tested() -> None:
    assert sample.all_are_in(__file__)


@pytest.mark.parametrize("name", ["fastapi", "starlette"])
def test_echoes(name: str) -> None:
    async def main() -> None:
        async with asgi_client(sample(name)["app"], "/echo", timeout=DEADLINE) as websocket:
            await websocket.send("hello")
            assert await websocket.recv() == "hello"

    run(main)


def test_command_of_fastapi() -> None:
    """The same one is run by test_short_samples.py."""
    assert blocks("asgi.md", "run")["uvicorn"].endswith(f"\n{blocks('frameworks.md', 'run')['uvicorn']}")


def test_broadcast_in_fastapi() -> None:
    names = sample("broadcast")

    async def main() -> None:
        port = free_port()
        config = uvicorn.Config(
            names["app"], port=port, ws=WebSocketProtocol, lifespan="off", log_config=None
        )
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve())
        await until(lambda: server.started)
        uri = f"ws://127.0.0.1:{port}/news"
        async with connect(uri, proxy=None) as one, connect(uri, proxy=None) as two:
            await until(lambda: len(names["connections"]) == 2)
            await asyncio.to_thread(post, f"http://127.0.0.1:{port}/news?text=rain")
            assert await one.recv() == await two.recv() == "rain"
        await until(lambda: not names["connections"])
        server.should_exit = True
        await serving

    run(main)


def post(url: str, body: bytes = b"") -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(urllib.request.Request(url, body, method="POST"), timeout=DEADLINE) as response:
        assert response.status == 204


def retry(function: Callable[[], bool]) -> None:
    """Call a function until it returns true."""
    until = time.monotonic() + DEADLINE
    while not function():
        assert time.monotonic() < until
        time.sleep(0.02)


DJANGO = """
import asyncio

from django.conf import settings
settings.configure(
    SECRET_KEY="secret",
    ROOT_URLCONF="__main__",
    SESSION_ENGINE="django.contrib.sessions.backends.file",
    SESSION_FILE_PATH=".",
)

import django
django.setup()
from django.contrib.sessions.backends.file import SessionStore
from django.http import HttpResponse
from django.urls import path
from adapters.testing.asgi import asgi_client

urlpatterns = [path("", lambda request: HttpResponse("a page"))]


async def get(application):
    events, sent = [{"type": "http.request", "body": b""}], []

    async def receive():
        if events:
            return events.pop()
        await asyncio.Event().wait()

    async def send(event):
        sent.append(event)

    headers = [(b"host", b"localhost")]
    scope = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": headers}
    settings.ALLOWED_HOSTS = ["localhost"]
    await application(scope, receive, send)
    return sent[1]["body"]


async def main(application, user_id):
    async with asgi_client(application, "/", timeout=100) as websocket:
        await websocket.send("hello")
        assert await websocket.recv() == "hello"
    assert await get(application) == b"a page"
    session = SessionStore()
    session["_auth_user_id"] = "7"
    await session.asave()
    cookie = f"a=b; sessionid={session.session_key}".encode()
    assert await user_id({"headers": [(b"cookie", cookie)]}) == "7"
    assert await user_id({"headers": [(b"cookie", b"sessionid=unknown")]}) is None
    assert await user_id({"headers": []}) is None
    print("done")
"""


def test_django(tmp_path: Path) -> None:
    program = "\n".join(
        [
            DJANGO,
            sample.blocks["django"],
            sample.blocks["session"],
            "asyncio.run(main(application, user_id))\n",
        ]
    )
    (tmp_path / "program.py").write_text(program, encoding="utf-8")
    assert python(tmp_path, "program.py") == "done\n"


def test_flask(tmp_path: Path) -> None:
    program = blocks("frameworks.md", "program")["flask"]
    port, http = free_port(), free_port()
    write(tmp_path, "app.py", program, {"8765": str(port), "5000": str(http)})

    async def main() -> None:
        with serving(tmp_path, "app.py") as process:
            async with connected(process, f"ws://localhost:{port}/") as websocket:

                def listens() -> bool:
                    try:
                        post(f"http://localhost:{http}/news", b"rain")
                    except urllib.error.HTTPError:
                        raise
                    except OSError:
                        return False
                    return True

                # The server of Flask begins to listen later.
                await asyncio.to_thread(retry, listens)
                assert await websocket.recv() == "rain"

    run(main)


def test_jupyter() -> None:
    def cell(name: str) -> CodeType:
        flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        code: CodeType = compile(CELLS[name].replace("8765", str(port)), name, "exec", flags=flags)
        return code

    async def main() -> None:
        nonlocal port
        names: dict[str, Any] = {}

        async def handler(websocket: ServerConnection) -> None:
            async for message in websocket:
                await websocket.send(message)
                await websocket.send("more")

        async with serve(handler, "localhost", 0) as server:
            assert server.port
            port = server.port
            await eval(cell("connect"), names)
            eval(cell("receive"), names)
            await until(lambda: names["messages"] == ["more"])
            await eval(cell("close"), names)

    port = 0
    run(main)


class Widget:
    """What the sample does with the widgets of tkinter, without a display."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.text = ""
        self.bound: Any = None

    def pack(self) -> None: ...

    def insert(self, where: str, text: str) -> None:
        self.lines.append(text)

    def get(self) -> str:
        return self.text

    def delete(self, first: int, last: str) -> None:
        self.text = ""

    def bind(self, event: str, function: Any) -> None:
        assert event == "<Return>"
        self.bound = function


class Root:
    """A window: its main loop types a line, waits until the answer is shown, and ends."""

    def __init__(self, widgets: list[Widget]) -> None:
        self.widgets = widgets
        self.calls: list[Any] = []

    def after(self, milliseconds: int, function: Any, *arguments: Any) -> None:
        self.calls.append((function, arguments))

    def mainloop(self) -> None:
        listbox, entry = self.widgets
        entry.text = "hello"
        entry.bound(None)
        assert entry.text == ""
        while not listbox.lines:
            function, arguments = self.calls.pop(0)
            function(*arguments)


def test_tkinter(monkeypatch: pytest.MonkeyPatch) -> None:
    widgets: list[Widget] = []

    def widget(root: Root) -> Widget:
        widgets.append(Widget())
        return widgets[-1]

    # Not every installation of Python has tkinter, and it needs a display.
    toolkit = SimpleNamespace(Tk=lambda: Root(widgets), Listbox=widget, Entry=widget)
    monkeypatch.setitem(sys.modules, "tkinter", toolkit)

    def blocking_echo(websocket: Any) -> None:
        for message in websocket:
            websocket.send(message)

    with threading_tools.handler_server(blocking_echo, timeout=DEADLINE) as serving:
        sample("tkinter")["main"](serving.uri)
    assert widgets[0].lines == ["hello"]
