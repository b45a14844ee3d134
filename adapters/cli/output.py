"""Messages on standard output: shown on a terminal, and written as they are to a pipe or a file."""

from __future__ import annotations

import json
import os
import select
from collections.abc import Iterable
from datetime import datetime

from wsproto_core.types import Data

from .escapes import escape_lines, hex_lines
from .workers import Worker

__all__ = ["MessageOutput", "as_block", "indent_json", "now", "shown_lines"]


class MessageOutput:
    """Writes messages to standard output, in a thread, because a pipe may be full.

    Of a text, a pipe gets its bytes and a line feed; of a binary message, the bytes. A terminal gets escaped
    text, and binary messages in hexadecimal.
    """

    def __init__(self, *, pretty: bool, timestamps: bool) -> None:
        """
        Args:
            pretty: whether texts that are JSON are indented.
            timestamps: whether each message on a terminal, and each text elsewhere, begins with the time.
        """
        self._pretty = pretty
        self._timestamps = timestamps
        self._terminal = os.isatty(1)
        self._worker = Worker()

    async def write(self, message: Data) -> None:
        """Write a message.

        Raises:
            BrokenPipeError: nobody reads the pipe any more.
        """
        data = self._encode(message)
        # So much can be written to a pipe that is ready without waiting; a thread would take longer.
        if len(data) <= select.PIPE_BUF and select.select([], [1], [], 0)[1]:
            _write(data)
        else:
            await self._worker.submit(_write, data)

    def _encode(self, message: Data) -> bytes:
        if isinstance(message, str) and self._pretty:
            message = indent_json(message)
        time = f"{now()} " if self._timestamps else ""
        if self._terminal:
            return f"{time}{as_block(shown_lines(message))}\n".encode(errors="backslashreplace")
        return (
            message if isinstance(message, bytes) else f"{time}{message}\n".encode(errors="backslashreplace")
        )


def _write(data: bytes) -> None:
    """Write to standard output without a buffer."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(1, rest) :]


def now() -> str:
    """The time of day, in milliseconds."""
    return datetime.now().isoformat(" ", "milliseconds").partition(" ")[2]


def indent_json(text: str) -> str:
    """Indent a text that is JSON; return any other as it is."""
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return text


def shown_lines(message: Data) -> Iterable[str]:
    """The lines that show a message on a terminal."""
    return hex_lines(message) if isinstance(message, bytes) else escape_lines(message)


def as_block(lines: Iterable[str]) -> str:
    """Join lines, all but the first one indented: none can be taken for another message."""
    return "\n  ".join(lines)
