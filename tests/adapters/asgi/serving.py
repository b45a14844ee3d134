"""A real server of uvicorn, in this process, and small applications."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import uvicorn

from adapters.asgi import WebSocketProtocol
from tests.adapters.runtimes.base import CERTIFICATES, HOST

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Application = Callable[[dict[str, Any], Receive, Send], Awaitable[Any]]

TLS: dict[str, Any] = {
    "ssl_certfile": str(CERTIFICATES / "localhost.pem"),
    "ssl_keyfile": str(CERTIFICATES / "localhost.key"),
}


class Served:
    """A server that listens."""

    def __init__(self, server: uvicorn.Server) -> None:
        self.uvicorn = server
        self.sockets: tuple[socket.socket, ...] = tuple(server.servers[0].sockets)
        address = self.sockets[0].getsockname()
        self.port = address[1] if isinstance(address, tuple) else None

    @property
    def connections(self) -> list[Any]:
        """The connections of the library, while uvicorn knows them."""
        state = self.uvicorn.server_state
        return [each for each in state.connections if isinstance(each, WebSocketProtocol)]

    @property
    def tasks(self) -> list[Any]:
        return list(self.uvicorn.server_state.tasks)

    def uri(self, path: str = "/", scheme: str = "ws") -> str:
        return f"{scheme}://{HOST}:{self.port}{path}"


@contextlib.asynccontextmanager
async def serving(app: Any, **options: Any) -> AsyncIterator[Served]:
    """Run an application by uvicorn."""
    defaults: dict[str, Any] = {
        "host": HOST,
        "port": 0,
        "ws": WebSocketProtocol,
        "http": "httptools",
        "lifespan": "off",
        "log_config": None,
        "ws_ping_interval": None,
    }
    server = uvicorn.Server(uvicorn.Config(app, **{**defaults, **options}))
    running = asyncio.create_task(server.serve())
    while not server.started:
        assert not running.done()
        await asyncio.sleep(0.005)
    try:
        yield Served(server)
    except BaseException:
        # Do not wait for applications of a test that has failed.
        for task in server.server_state.tasks:
            task.cancel()
        server.force_exit = True
        raise
    finally:
        server.should_exit = True
        await running


async def echo(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """An application for any number of connections."""
    await receive()
    await send({"type": "websocket.accept"})
    while (event := await receive())["type"] != "websocket.disconnect":
        await send({**event, "type": "websocket.send"})


class Recorder:
    """An application for one connection, that keeps all events, and echoes messages until the end."""

    def __init__(self, **accept: Any) -> None:
        self.accept = accept
        self.scope: dict[str, Any] = {}
        self.events: list[dict[str, Any]] = []
        self.ended = asyncio.Event()

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        self.scope = scope
        self.receive, self.send = receive, send
        try:
            await self.receive_event()
            await send({"type": "websocket.accept", **self.accept})
            while (event := await self.receive_event())["type"] != "websocket.disconnect":
                await self.handle(event)
        finally:
            self.ended.set()

    async def receive_event(self) -> dict[str, Any]:
        event = await self.receive()
        self.events.append(event)
        return event

    async def handle(self, event: dict[str, Any]) -> None:
        await self.send({**event, "type": "websocket.send"})

    @property
    def connection(self) -> Any:
        """What the scope has for more than ASGI."""
        return self.scope["extensions"]["wsproto_core"]["connection"]

    async def end(self) -> dict[str, Any]:
        """Wait for the end; return the last event."""
        await self.ended.wait()
        return self.events[-1]


def scripted(*events: dict[str, Any]) -> Application:
    """An application that sends these events, and returns."""

    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        await receive()
        for event in events:
            await send(event)

    return app


ACCEPT = {"type": "websocket.accept"}
