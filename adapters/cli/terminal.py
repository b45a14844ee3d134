"""A conversation on a terminal: what is typed is sent, and what comes is shown above the prompt.

The prompt is prompt_toolkit's: it has the history, completes commands, and takes pasted lines as one text.
rich writes. The prompt stays while a connection is replaced by the next one.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import NamedTuple

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.input.vt100 import Vt100Input
from prompt_toolkit.patch_stdout import patch_stdout
from rich.console import Console
from rich.highlighter import JSONHighlighter
from rich.text import Text

from wsproto_core.exceptions import ConnectionClosed, ConnectionClosedError
from wsproto_core.types import Data

from ..asyncio import ClientConnection
from .conversations import hold_conversations
from .escapes import escape_line
from .failures import describe
from .output import as_block, indent_json, now, shown_lines

__all__ = ["run_terminal"]

INFORMATION = "bright_black"
MISTAKE = "red"


async def run_terminal(parsed: argparse.Namespace) -> None:
    """Connect, and converse until the user or the server ends it.

    Raises:
        CommandFailure: an argument cannot be used.
        KeyboardInterrupt: the user has pressed Ctrl-C at an empty prompt.
        WebSocketException, OSError: connecting failed, or the connection did.
    """
    conversation = _Conversation(parsed)
    with patch_stdout(raw=True):
        try:
            await hold_conversations(parsed, conversation.converse)
        finally:
            await conversation.prompt.stop()
    if conversation.interrupted:
        raise KeyboardInterrupt


class _Interrupted(Exception):
    """Ctrl-C; a ``KeyboardInterrupt`` in a task would end the event loop."""


class _RawInput(Vt100Input):
    """What is typed, key by key, also while a message is shown.

    Otherwise the terminal would go back to lines for that moment, and Ctrl-C and Ctrl-D would be lost in it.
    """

    def cooked_mode(self) -> AbstractContextManager[None]:
        return nullcontext()


class _Prompt:
    """Lines that are typed; one that has been begun survives a change of connections."""

    def __init__(self) -> None:
        self._session: PromptSession[str] = PromptSession(
            input=_RawInput(sys.stdin),
            history=_open_history(),
            completer=_CommandCompleter(),
            interrupt_exception=_Interrupted,
        )
        self._typing: asyncio.Task[str] | None = None

    async def line(self) -> str:
        """Return the next line, or what was pasted.

        Raises:
            EOFError: Ctrl-D at an empty prompt.
            _Interrupted: Ctrl-C at an empty prompt.
        """
        while True:
            if self._typing is None:
                self._typing = asyncio.create_task(self._session.prompt_async("> "))
            await asyncio.wait([self._typing])
            typed, self._typing = self._typing, None
            try:
                return typed.result()
            except _Interrupted:
                # As in a shell, it discards a line that has been begun.
                if not self._session.default_buffer.text:
                    raise

    async def stop(self) -> None:
        """Remove the prompt."""
        if self._typing is not None:
            self._typing.cancel()
            await asyncio.wait([self._typing])


def _open_history() -> History:
    """Open the file of the history, for this user alone; where that is not possible, there is none."""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    path = Path(state) / "wsproto-core" / "history"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError:
        return InMemoryHistory()
    return FileHistory(path)


class _Conversation:
    def __init__(self, parsed: argparse.Namespace) -> None:
        self.prompt = _Prompt()
        self.interrupted = False
        self._ended = False
        self._uri = parsed.uri
        self._indents = parsed.json
        self._timestamps = parsed.timestamps
        self._one_shot = parsed.one_shot
        self._console = Console(highlight=False, soft_wrap=True)
        self._pings: set[asyncio.Task[None]] = set()

    async def converse(self, websocket: ClientConnection) -> bool:
        """Hold a conversation; return whether this side has ended it."""
        self._tell(f"connected to {self._uri}{_describe(websocket)}; /help shows the commands")
        typing = asyncio.create_task(self._send(websocket))
        try:
            async for message in websocket:
                self._show(message)
                if self._one_shot:
                    typing.cancel()
                    self._ended = True
                    break
            await websocket.close()
        except ConnectionClosedError as error:
            # With a code of the user's, it is an error to programs only.
            if not self._ended or error.received is None:
                raise
        finally:
            for task in (typing, *self._pings):
                task.cancel()
            await asyncio.gather(typing, *self._pings, return_exceptions=True)
        end = f"{websocket.close_code} {escape_line(websocket.close_reason or '')}".rstrip()
        self._tell(f"closed with {end}" if self._ended else f"closed by the server with {end}")
        return self._ended

    async def _send(self, websocket: ClientConnection) -> None:
        """Send what is typed, and then close; a lost connection is reported where messages are received."""
        with suppress(ConnectionClosed):
            while True:
                try:
                    line = await self.prompt.line()
                except EOFError:
                    break
                except _Interrupted:
                    self.interrupted = True
                    break
                try:
                    if await self._act(websocket, line):
                        return
                except (ValueError, OSError) as error:
                    self._tell(describe(error), MISTAKE)
            await self._close(websocket, "")

    async def _act(self, websocket: ClientConnection, line: str) -> bool | None:
        """Send a line, or do what it says; return whether that ends the conversation."""
        if not line.startswith("/"):
            await websocket.send(line)
            return None
        if line.startswith("//"):
            await websocket.send(line[1:])
            return None
        name, _, rest = line.partition(" ")
        command = COMMANDS.get(name)
        if command is None:
            raise ValueError(f"{name} is no command: /help shows them; // begins a message with /")
        return await command.action(self, websocket, rest.strip())

    # Commands

    async def _help(self, websocket: ClientConnection, rest: str) -> None:
        for command, (usage, meaning, _) in COMMANDS.items():
            self._tell(f"{f'{command} {usage}':24} {meaning}")
        self._tell("anything else is sent as a text message; // begins a message with /")

    async def _ping(self, websocket: ClientConnection, rest: str) -> None:
        pong = await websocket.ping(rest or None)

        async def wait() -> None:
            with suppress(ConnectionClosed):
                latency = await pong
                self._tell(f"pong after {1000 * latency:.1f} ms")

        task = asyncio.create_task(wait())
        self._pings.add(task)
        task.add_done_callback(self._pings.discard)

    async def _binary(self, websocket: ClientConnection, rest: str) -> None:
        try:
            data = bytes.fromhex(rest)
        except ValueError as error:
            raise ValueError("expected bytes in hexadecimal: /binary 48 65 6c 6c 6f") from error
        await websocket.send(data)

    async def _file(self, websocket: ClientConnection, rest: str) -> None:
        data = await asyncio.to_thread(_read, rest)
        await websocket.send(data)
        self._tell(f"sent {len(data):,} bytes")

    async def _json(self, websocket: ClientConnection, rest: str) -> None:
        self._indents = not self._indents
        self._tell(f"messages that are JSON are {'indented' if self._indents else 'shown as they are'}")

    async def _times(self, websocket: ClientConnection, rest: str) -> None:
        self._timestamps = not self._timestamps
        self._tell(f"messages begin {'with' if self._timestamps else 'without'} the time")

    async def _close(self, websocket: ClientConnection, rest: str) -> bool:
        code, _, reason = rest.partition(" ")
        if code and not code.isdecimal():
            raise ValueError("expected a close code and a reason: /close 1000 bye")
        closing = websocket.close(int(code), reason.strip()) if code else websocket.close()
        self._ended = True
        try:
            await closing
        except ValueError:
            self._ended = False
            raise
        return True

    # What is shown

    def _show(self, message: Data) -> None:
        indented = indent_json(message) if self._indents and isinstance(message, str) else message
        text = Text(as_block(shown_lines(indented)))
        if indented is not message:
            JSONHighlighter().highlight(text)
        if isinstance(message, bytes):
            text.stylize("magenta")
        time = f"{now()} " if self._timestamps else ""
        self._console.print(Text.assemble((f"{time}< ", "green"), text))

    def _tell(self, text: str, style: str = INFORMATION) -> None:
        self._console.print(Text(text, style))


def _read(path: str) -> bytes:
    return Path(path).expanduser().read_bytes()


def _describe(websocket: ClientConnection) -> str:
    """What was negotiated."""
    parts = []
    if websocket.subprotocol is not None:
        parts.append(f"subprotocol {escape_line(websocket.subprotocol)}")
    parts += [extension.name for extension in websocket.extensions]
    return f" ({', '.join(parts)})" if parts else ""


class _Command(NamedTuple):
    """A command: its arguments, its meaning, and what it does."""

    usage: str
    meaning: str
    action: Callable[[_Conversation, ClientConnection, str], Awaitable[bool | None]]


COMMANDS = {
    "/help": _Command("", "show the commands", _Conversation._help),
    "/ping": _Command("[TEXT]", "send a ping, and show its latency", _Conversation._ping),
    "/binary": _Command("HEX", "send a binary message", _Conversation._binary),
    "/file": _Command("PATH", "send a file as a binary message", _Conversation._file),
    "/json": _Command("", "indent messages that are JSON, or show them as they are", _Conversation._json),
    "/times": _Command("", "begin messages with the time, or without", _Conversation._times),
    "/close": _Command("[CODE [REASON]]", "close the connection, and end", _Conversation._close),
    "/quit": _Command("", "the same as /close; so does Ctrl-D", _Conversation._close),
}


class _CommandCompleter(Completer):
    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        return self._find(document.text_before_cursor)

    def _find(self, text: str) -> Iterator[Completion]:
        for name, (_, meaning, _) in COMMANDS.items():
            if text.startswith("/") and name.startswith(text):
                yield Completion(name, start_position=-len(text), display_meta=meaning)
