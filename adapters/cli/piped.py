"""A conversation through pipes: standard input is sent, and what comes goes to standard output."""

from __future__ import annotations

import argparse
import asyncio
import math
from contextlib import suppress

from wsproto_core.exceptions import ConnectionClosed
from wsproto_core.types import CloseCode

from ..asyncio import ClientConnection
from .conversations import hold_conversations
from .failures import CommandFailure
from .input import InputMessages, LineInput, PieceInput
from .output import MessageOutput

__all__ = ["run_piped"]

WAIT = 1.0
"""Seconds without a message after which the client closes, once the input has ended."""

LAST_WORDS = 1.0
"""Seconds for the closing handshake when nobody reads the output any more."""


async def run_piped(parsed: argparse.Namespace) -> None:
    """Connect, and converse until the input or the connection ends.

    Raises:
        CommandFailure: an argument or the input cannot be used, or no message came with ``--one-shot``.
        WebSocketException, OSError: connecting failed, or the connection did.
    """
    source = PieceInput() if parsed.binary else LineInput()
    output = MessageOutput(pretty=parsed.json, timestamps=parsed.timestamps)
    wait = (math.inf if parsed.one_shot else WAIT) if parsed.wait is None else parsed.wait
    await hold_conversations(
        parsed, _Piped(source, output, None if math.isinf(wait) else wait, parsed.one_shot).converse
    )


class _Piped:
    """At the end of the input, the client waits until nothing has come for a while, and then closes.

    Messages that come before the server's close frame are written, too.
    """

    def __init__(
        self, source: InputMessages, output: MessageOutput, wait: float | None, one_shot: bool
    ) -> None:
        self._source = source
        self._output = output
        self._wait = wait
        self._one_shot = one_shot
        self._received = asyncio.Event()
        self._writing = False
        self._ended = False
        self._failure: Exception | None = None

    async def converse(self, websocket: ClientConnection) -> bool:
        sending = asyncio.create_task(self._send(websocket))
        try:
            await self._receive(websocket)
        finally:
            sending.cancel()
            await asyncio.wait([sending])
        if self._failure is not None:
            raise self._failure
        if self._one_shot and not self._ended:
            raise CommandFailure("the server has closed the connection and has sent no message")
        return self._ended

    async def _receive(self, websocket: ClientConnection) -> None:
        closing: asyncio.Task[None] | None = None
        async for message in websocket:
            if closing is not None:
                # The close frame of the server is behind it.
                continue
            self._received.set()
            self._writing = True
            try:
                await self._output.write(message)
            except BrokenPipeError:
                with suppress(TimeoutError):
                    async with asyncio.timeout(LAST_WORDS):
                        await websocket.close(CloseCode.GOING_AWAY)
                raise
            self._writing = False
            if self._one_shot:
                self._ended = True
                closing = asyncio.create_task(websocket.close())
        if closing is not None:
            await closing

    async def _send(self, websocket: ClientConnection) -> None:
        with suppress(ConnectionClosed):
            try:
                await self._send_input(websocket)
                await self._wait_for_silence()
            except (CommandFailure, OSError) as error:
                self._failure = error
            self._ended = True
            await websocket.close()

    async def _send_input(self, websocket: ClientConnection) -> None:
        while (message := await self._source.first()) is not None:
            await websocket.send(message)
            self._source.done()

    async def _wait_for_silence(self) -> None:
        while self._wait != 0:
            self._received.clear()
            try:
                async with asyncio.timeout(self._wait):
                    await self._received.wait()
            except TimeoutError:
                # A reader that is slow is no silence: messages may be waiting.
                if not self._writing:
                    return
