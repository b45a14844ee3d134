"""A chat room.

Browsers get the page at ``/``; the page, and every other client, talks WebSocket at any path. Text
messages are JSON objects with a ``type``:

- ``{"type": "join", "name": ...}`` is what a client says first, and what everybody is told then; the
  name that they are told may differ from the one that was asked for.
- ``{"type": "message", "text": ...}`` says something; everybody gets it, with a ``name``.
- ``{"type": "leave", "name": ...}`` tells that somebody has left.
- ``{"type": "people", "count": ...}`` tells how many are there now.
- ``{"type": "file", "file": ...}`` says that the next binary message of this client is a file of that name;
  everybody else gets it with a ``name``, immediately before the binary message.
- ``{"type": "ping"}`` is answered by ``{"type": "pong"}``: pages cannot send the pings of WebSocket.

Binary messages are passed on as they are, to everybody else.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from wsproto_core import CloseCode, ConnectionClosed, Data

from ..asyncio import ServerConnection, serve
from .pages import Site

__all__ = ["MAX_SIZE", "PAGE", "ChatServer", "Room", "clean_name", "parse", "serve_chat"]

PAGE = Path(__file__).with_name("chat.html")

MAX_NAME = 24  # characters
MAX_TEXT = 2000  # characters
MAX_FILE_NAME = 100  # characters
MAX_SIZE = 16 * 2**20  # bytes in a message: files are shared, too
PATIENCE = 10  # seconds for somebody to join, and for a slow client to take a message


class Departure(NamedTuple):
    """How somebody left: the close code and the reason that the server received."""

    name: str
    code: int | None
    reason: str | None


class Room:
    """Who is here, and what is said to them.

    Args:
        tell: called with a line for everything worth telling whoever runs the server.
    """

    def __init__(self, tell: Callable[[str], None] = lambda line: None) -> None:
        self.people: dict[ServerConnection, str] = {}
        self.departures: list[Departure] = []
        # Nothing comes between a file and its name.
        self._turns: dict[ServerConnection, asyncio.Lock] = {}
        self._tell = tell
        self._closing: set[asyncio.Task[None]] = set()

    async def handle(self, websocket: ServerConnection) -> None:
        """Take care of one connection from beginning to end."""
        try:
            name = await self._welcome(websocket)
            if name is None:
                return
            file: str | None = None
            async for message in websocket:
                fields = parse(message)
                if isinstance(message, bytes):
                    await self._pass_on_binary(websocket, name, file, message)
                    file = None
                elif fields.get("type") == "ping":
                    await self._deliver(websocket, '{"type": "pong"}')
                elif fields.get("type") == "file":
                    file = clean_name(fields.get("file"), MAX_FILE_NAME, "file")
                elif not await self._pass_on(websocket, name, fields):
                    break
        except ConnectionClosed:
            # Closed with another code than 1000 or 1001, or without any: `_say_goodbye` tells.
            pass
        finally:
            await self._say_goodbye(websocket)

    async def _welcome(self, websocket: ServerConnection) -> str | None:
        try:
            async with asyncio.timeout(PATIENCE):
                fields = parse(await websocket.recv())
        except TimeoutError:
            fields = {}
        if fields.get("type") != "join":
            await websocket.close(CloseCode.POLICY_VIOLATION, "expected a join message first")
            return None
        name = self._unique(clean_name(fields.get("name")))
        self.people[websocket] = name
        self._turns[websocket] = asyncio.Lock()
        self._tell(f"{name} joined, {len(self.people)} here")
        await self._broadcast(json.dumps({"type": "join", "name": name}))
        await self._broadcast_count()
        return name

    async def _pass_on(self, websocket: ServerConnection, name: str, fields: dict[str, object]) -> bool:
        """Pass a message on; say whether it was one that can be."""
        text = fields.get("text")
        if fields.get("type") != "message" or not isinstance(text, str):
            await websocket.close(CloseCode.POLICY_VIOLATION, "expected a message with a text")
            return False
        await self._broadcast(json.dumps({"type": "message", "name": name, "text": text[:MAX_TEXT]}))
        return True

    async def _pass_on_binary(
        self, websocket: ServerConnection, name: str, file: str | None, message: bytes
    ) -> None:
        announcement = [] if file is None else [json.dumps({"type": "file", "name": name, "file": file})]
        await self._broadcast(*announcement, message, but=websocket)

    async def _say_goodbye(self, websocket: ServerConnection) -> None:
        name = self.people.pop(websocket, None)
        if name is None:
            return
        del self._turns[websocket]
        departure = Departure(name, websocket.close_code, websocket.close_reason)
        self.departures.append(departure)
        self._tell(f"{name} left with code {departure.code}, {len(self.people)} here")
        await self._broadcast(json.dumps({"type": "leave", "name": name}))
        await self._broadcast_count()

    def _unique(self, name: str) -> str:
        taken = set(self.people.values())
        unique, number = name, 1
        while unique in taken:
            number += 1
            unique = f"{name} {number}"
        return unique

    async def _broadcast_count(self) -> None:
        await self._broadcast(json.dumps({"type": "people", "count": len(self.people)}))

    async def _broadcast(self, *messages: Data, but: ServerConnection | None = None) -> None:
        """Send messages to everybody at the same time, so that nobody waits for the slowest."""
        people = [person for person in self.people if person is not but]
        await asyncio.gather(*(self._deliver(person, *messages) for person in people))

    async def _deliver(self, person: ServerConnection, *messages: Data) -> None:
        try:
            turn = self._turns.get(person)
            if turn is None:
                return  # it has left meanwhile
            async with asyncio.timeout(PATIENCE), turn:
                for message in messages:
                    await person.send(message)
        except ConnectionClosed:
            pass  # The handler of that connection notices.
        except TimeoutError:
            # Nobody else waits until it is closed.
            closing = asyncio.create_task(person.close(CloseCode.TRY_AGAIN_LATER, "too slow"))
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)


def parse(message: Data) -> dict[str, object]:
    """Return the fields of a JSON object, none if it is not one."""
    if isinstance(message, bytes):
        return {}
    try:
        fields = json.loads(message)
    except (ValueError, RecursionError):
        return {}
    return fields if isinstance(fields, dict) else {}


def clean_name(name: object, length: int = MAX_NAME, otherwise: str = "Somebody") -> str:
    """Make something that can be shown from the name that a client asks for.

    Control characters, among them those that turn the direction of writing around, become spaces.
    Angle brackets and the like stay: whoever shows a name on a page has to escape it anyway.
    """
    text = name if isinstance(name, str) else ""
    text = "".join(character if character.isprintable() else " " for character in text)
    return " ".join(text.split())[:length].rstrip() or otherwise


class ChatServer(NamedTuple):
    """A running server."""

    room: Room
    port: int

    @property
    def page_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    @property
    def chat_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/chat"


@asynccontextmanager
async def serve_chat(room: Room, port: int = 0) -> AsyncIterator[ChatServer]:
    """Run the chat on 127.0.0.1; on leaving, everybody still there is sent code 1001, going away.

    Args:
        port: where to listen; 0 for a free port.
    """
    site = Site(PAGE, local=True)
    async with serve(
        room.handle, "127.0.0.1", port, process_request=site.process_request, max_size=MAX_SIZE
    ) as server:
        assert server.port is not None
        yield ChatServer(room, server.port)
