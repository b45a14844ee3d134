"""Standard input, cut into messages."""

from __future__ import annotations

import asyncio
import os
from collections import deque

from wsproto_core.types import Data

from .failures import CommandFailure
from .workers import Worker

__all__ = ["InputMessages", "LineInput", "PieceInput"]

READ_SIZE = 2**16
"""Bytes that are read at once."""


class InputMessages:
    """The messages in standard input, read in a thread.

    A message stays the first one until :meth:`done` is called, so that it can be sent on another connection.
    """

    def __init__(self) -> None:
        self._worker = Worker()
        self._reading: asyncio.Future[bytes] | None = None
        self._messages: deque[Data] = deque()
        self._ended = False

    async def first(self) -> Data | None:
        """Return the first message that is not done; ``None`` at the end of the input.

        A call that is cancelled loses no input.

        Raises:
            CommandFailure: it is no text.
            OSError: reading failed.
        """
        while not self._messages and not self._ended:
            if self._reading is None:
                self._reading = self._worker.submit(os.read, 0, READ_SIZE)
            await asyncio.wait([self._reading])
            data, self._reading = self._reading.result(), None
            self._ended = not data
            self._messages += self._cut(data)
        return self._messages[0] if self._messages else None

    def done(self) -> None:
        """Go on to the next message."""
        self._messages.popleft()

    def _cut(self, data: bytes) -> list[Data]:
        """Return the messages that are complete with more input, which is empty at its end."""
        raise NotImplementedError


class PieceInput(InputMessages):
    """Binary messages: what is read at once is one of them."""

    def _cut(self, data: bytes) -> list[Data]:
        return [data] if data else []


class LineInput(InputMessages):
    """Text messages: each line is one of them, without its end."""

    def __init__(self, errors: str = "strict") -> None:
        """
        Args:
            errors: how input is decoded that is not UTF-8, as for :meth:`bytes.decode`.
        """
        super().__init__()
        self._errors = errors
        self._begun: list[bytes] = []
        self._number = 0

    def _cut(self, data: bytes) -> list[Data]:
        *lines, rest = data.split(b"\n")
        if lines:
            lines[0] = b"".join([*self._begun, lines[0]])
            self._begun.clear()
        if rest:
            self._begun.append(rest)
        if not data and self._begun:
            # The last line has no end.
            lines.append(b"".join(self._begun))
            self._begun.clear()
        return [self._decode(line) for line in lines]

    def _decode(self, line: bytes) -> str:
        self._number += 1
        try:
            return line.removesuffix(b"\r").decode(errors=self._errors)
        except UnicodeDecodeError as error:
            raise CommandFailure(
                f"line {self._number} of standard input is not UTF-8: --binary sends input as it is"
            ) from error
