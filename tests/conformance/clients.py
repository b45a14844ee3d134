"""Clients of this library and of others that echo, for servers that run cases.

    python -m tests.conformance.clients NAME URI [--at-once N]

The name is one of :data:`CLIENTS`. The client asks ``/getCaseCount`` how many cases there are, answers each
message of ``/runCase?case=NUMBER`` with the same message, and ends with ``/updateReports``.
"""

from __future__ import annotations

import argparse
import asyncio
import concurrent.futures
import contextlib
import socket
import traceback
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

Message = Any
Visit = Callable[[str, bool], Message]
"""Connect to a URI, and return the last message when the server has closed. Is each sent back?"""

AsyncVisit = Callable[[str, bool], Awaitable[Message]]

UNLIMITED: dict[str, Any] = {"max_size": None}


async def converse(websocket: Any, echo: bool) -> Message:
    last = None
    async for message in websocket:
        last = message
        if echo:
            await websocket.send(message)
    return last


def on_asyncio(visit: AsyncVisit, loop: str = "asyncio") -> Visit:
    factory = asyncio.new_event_loop
    if loop == "uvloop":
        import uvloop

        factory = uvloop.new_event_loop

    def blocking(uri: str, echo: bool) -> Message:
        async def run() -> Message:
            return await visit(uri, echo)

        with asyncio.Runner(loop_factory=factory) as runner:
            return runner.run(run())

    return blocking


# This library


async def own_asyncio(uri: str, echo: bool) -> Message:
    from adapters.asyncio import connect

    async with connect(uri, **UNLIMITED) as websocket:
        return await converse(websocket, echo)


def own_trio(uri: str, echo: bool) -> Message:
    import trio

    from adapters.trio import connect

    async def run() -> Message:
        async with connect(uri, **UNLIMITED) as websocket:
            return await converse(websocket, echo)

    return trio.run(run)


def own_anyio(backend: str) -> Visit:
    import anyio

    from adapters.anyio import connect

    async def run(uri: str, echo: bool) -> Message:
        async with connect(uri, **UNLIMITED) as websocket:
            return await converse(websocket, echo)

    return lambda uri, echo: anyio.run(run, uri, echo, backend=backend)


def own_threading(uri: str, echo: bool) -> Message:
    from adapters.threading import connect

    last = None
    with connect(uri, **UNLIMITED) as websocket:
        for message in websocket:
            last = message
            if echo:
                websocket.send(message)
    return last


# Others


async def websockets_asyncio(uri: str, echo: bool) -> Message:
    from websockets.asyncio.client import connect

    async with connect(uri, **UNLIMITED) as websocket:
        return await converse(websocket, echo)


async def picows_websockets(uri: str, echo: bool) -> Message:
    from picows.websockets import connect

    async with connect(uri, **UNLIMITED) as websocket:
        return await converse(websocket, echo)


async def aiohttp_client(uri: str, echo: bool) -> Message:
    from aiohttp import ClientSession, WSMsgType

    last = None
    async with ClientSession() as session, session.ws_connect(uri, max_msg_size=0, compress=15) as websocket:
        async for message in websocket:
            last = message.data
            if echo and message.type is WSMsgType.TEXT:
                await websocket.send_str(message.data)
            elif echo and message.type is WSMsgType.BINARY:
                await websocket.send_bytes(message.data)
    return last


def wsproto_socket(uri: str, echo: bool) -> Message:
    """wsproto on a blocking socket: it has no client of its own."""
    from wsproto import ConnectionType, WSConnection
    from wsproto.connection import ConnectionState
    from wsproto.events import BytesMessage, CloseConnection, Message, Ping, Request, TextMessage
    from wsproto.extensions import PerMessageDeflate

    parts = urlsplit(uri)
    target = f"{parts.path or '/'}?{parts.query}"
    protocol = WSConnection(ConnectionType.CLIENT)
    last, fragments = None, []
    with socket.create_connection((parts.hostname or "", parts.port or 80)) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        request = Request(host=parts.netloc, target=target, extensions=[PerMessageDeflate()])
        sock.sendall(protocol.send(request))
        while protocol.state is not ConnectionState.CLOSED:
            protocol.receive_data(sock.recv(2**16) or None)
            for event in protocol.events():
                if isinstance(event, Message):
                    fragments.append(event.data)
                    if event.message_finished:
                        last = type(event.data)().join(fragments)
                        fragments.clear()
                        if echo:
                            kind = TextMessage if isinstance(last, str) else BytesMessage
                            sock.sendall(protocol.send(kind(data=last)))
                elif isinstance(event, Ping) or (
                    isinstance(event, CloseConnection) and protocol.state is ConnectionState.REMOTE_CLOSING
                ):
                    sock.sendall(protocol.send(event.response()))
    return last


CLIENTS: dict[str, Callable[[], Visit]] = {
    "adapters.asyncio/asyncio": lambda: on_asyncio(own_asyncio),
    "adapters.asyncio/uvloop": lambda: on_asyncio(own_asyncio, "uvloop"),
    "adapters.asyncio pure/asyncio": lambda: on_asyncio(own_asyncio),
    "adapters.trio": lambda: own_trio,
    "adapters.threading": lambda: own_threading,
    "adapters.anyio/asyncio": lambda: own_anyio("asyncio"),
    "adapters.anyio/trio": lambda: own_anyio("trio"),
    "websockets/asyncio": lambda: on_asyncio(websockets_asyncio),
    "aiohttp/asyncio": lambda: on_asyncio(aiohttp_client),
    "picows.websockets/asyncio": lambda: on_asyncio(picows_websockets),
    "wsproto": lambda: wsproto_socket,
}
"""By name: what makes the function that connects."""


def run_cases(visit: Visit, uri: str, at_once: int) -> None:
    count = int(visit(f"{uri}/getCaseCount", False))

    def run_case(number: int) -> None:
        # What goes wrong is in the verdict; the traceback helps to see why.
        try:
            visit(f"{uri}/runCase?case={number}&agent=client", True)
        except Exception:
            traceback.print_exc()

    with concurrent.futures.ThreadPoolExecutor(at_once) as executor:
        list(executor.map(run_case, range(1, count + 1)))
    # Autobahn ends this connection without a close frame.
    with contextlib.suppress(Exception):
        visit(f"{uri}/updateReports?agent=client", False)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("name", choices=CLIENTS)
    parser.add_argument("uri")
    parser.add_argument("--at-once", type=int, default=1)
    arguments = parser.parse_args()
    run_cases(CLIENTS[arguments.name](), arguments.uri, arguments.at_once)
