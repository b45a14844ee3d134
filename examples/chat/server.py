"""A chat server on asyncio, with a web page.

Usage: python examples/chat/server.py [PORT]

The first message of a client is its name. Each message after that is said to everybody, as a JSON object
with the members ``name``, ``text`` and ``time`` (seconds since 1970). A message without a name is from the
server.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from pathlib import Path

from adapters.asyncio import (
    CloseCode,
    ConnectionClosed,
    Headers,
    Response,
    ServerConnection,
    broadcast,
    make_response,
    serve,
)

PAGE = Path(__file__).with_name("page.html")
LONGEST_NAME = 20  # characters
LONGEST_MESSAGE = 4096  # bytes
PATIENCE = 60.0  # seconds for a client to say its name

people: dict[ServerConnection, str] = {}


def say(text: str, name: str | None = None) -> None:
    """Say something to everybody. A client that is too slow to read all messages is closed."""
    broadcast(people, json.dumps({"name": name, "text": text, "time": time.time()}), "close")


async def ask_name(websocket: ServerConnection) -> str | None:
    """Return the client's name, or ``None`` if it has none that can be used."""
    try:
        async with asyncio.timeout(PATIENCE):
            name = " ".join((await websocket.recv(decode=True)).split())
    except TimeoutError:
        await websocket.close(CloseCode.POLICY_VIOLATION, "the first message must be a name")
        return None
    if not name.isprintable() or not 1 <= len(name) <= LONGEST_NAME or name in people.values():
        await websocket.close(CloseCode.POLICY_VIOLATION, "this name is taken, or not allowed")
        return None
    return name


async def chat(websocket: ServerConnection) -> None:
    """Take care of one client, from its name to its end."""
    name = await ask_name(websocket)
    if name is None:
        return
    people[websocket] = name
    say(f"{name} is here. Here are now: {', '.join(people.values())}.")
    try:
        async for message in websocket:
            if isinstance(message, str):
                say(message, name)
    except ConnectionClosed:
        pass  # the connection was lost; for the others this is the same as a close
    finally:
        del people[websocket]
        say(f"{name} has left.")


def answer_http(path: str, request_headers: Headers) -> Response | None:
    """Send the page to browsers; a request for WebSocket goes on."""
    if "Upgrade" in request_headers:
        return None
    if path == "/":
        return make_response(200, {"Content-Type": "text/html; charset=utf-8"}, PAGE.read_bytes())
    return make_response(404, body="There is only one page here: /\n")


async def main(port: int) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with serve(
        chat,
        "localhost",
        port,
        process_request=answer_http,
        # Without this, a page of any other site could talk here. Programs send no origin.
        origins=[f"http://localhost:{port}", f"http://127.0.0.1:{port}", None],
        max_size=LONGEST_MESSAGE,
    ):
        print(f"Open http://localhost:{port}/ in a browser. Ctrl-C stops the server.", flush=True)
        await stopped.wait()
    # All connections are closed here, with code 1001.


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 8765))
