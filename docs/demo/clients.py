"""People in the chat, each behind a connection of this library.

There are two kinds of connections, the asyncio adapter's and one that is made from the bare core,
and :class:`ChatClient` does not care which one it has.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator

from core_client import ThreadedClient
from transcript import Tally, Transcript, describe, milliseconds, size

from adapters.asyncio import ClientConnection, connect
from adapters.cli.chat import MAX_SIZE, parse
from wsproto_core import CloseCode, ConnectionClosed, Data

CHUNK = 2**16


class ChatClient:
    """Somebody in the chat, who reports everything to the transcript."""

    def __init__(
        self, name: str, connection: ClientConnection | ThreadedClient, transcript: Transcript
    ) -> None:
        self.name = name
        self.people = 0
        self.tally = transcript.tallies[name] = Tally()
        self._connection = connection
        self._transcript = transcript

    async def join(self) -> None:
        """Join the chat, and wait until the server says so."""
        await self._send(json.dumps({"type": "join", "name": self.name}))
        await self.expect("join", name=self.name)
        await self.expect("people")
        self.tell(f"joined, sees a count of {self.people}")

    async def say(self, text: str) -> None:
        """Send a text message to everybody."""
        self.tell(f"→ everybody: {describe(text)}")
        await self._send(json.dumps({"type": "message", "text": text}))

    async def send_binary(self, data: bytes) -> None:
        """Send a binary message to everybody else."""
        self.tell(f"→ everybody: {describe(data)}")
        await self._send(data)

    async def expect(self, kind: str, **fields: object) -> None:
        """Wait for a text message of that type with these fields, past all others."""
        wanted = {"type": kind, **fields}
        while not wanted.items() <= (got := parse(await self._receive())).items():
            pass
        if kind == "message":
            self.tell(f"← {got['name']}: {describe(str(got['text']))}")

    async def expect_count(self, count: int) -> None:
        """Wait until that many people are there."""
        await self.expect("people", count=count)
        self.tell(f"sees a count of {count}")

    async def expect_binary(self) -> bytes:
        """Wait for a binary message, past all text."""
        while not isinstance(message := await self._receive(), bytes):
            pass
        self.tell(f"← {describe(message)}")
        return message

    async def ping(self) -> float:
        """Send a ping, wait for its pong, return the latency in seconds."""
        pong = await self._connection.ping()
        latency = await pong
        self.tally.latencies.append(latency)
        self.tell(f"ping, answered in {milliseconds(latency)}")
        return latency

    async def leave(self, code: int = CloseCode.NORMAL_CLOSURE, reason: str = "") -> None:
        """Close the connection."""
        self.tell(f"closes with {code} {reason!r}")
        await self._connection.close(code, reason)
        await self.wait_closed()

    async def wait_closed(self) -> None:
        """Take what is left to receive, until the connection is closed."""
        try:
            while True:
                await self._receive()
        except ConnectionClosed:
            pass
        self.tally.close_code = self._connection.close_code
        self.tally.statistics = self._connection.statistics
        self.tell(f"is closed, with code {self.tally.close_code}")

    def tell(self, text: str) -> None:
        self._transcript.line(self.name, text)

    async def _send(self, message: Data) -> None:
        await self._connection.send(message)
        self.tally.messages_sent += 1
        self.tally.bytes_sent += _length(message)

    async def _receive(self) -> Data:
        message = await self._connection.recv()
        self._count(_length(message))
        if isinstance(count := parse(message).get("count"), int):
            self.people = count
        return message

    def _count(self, length: int) -> None:
        self.tally.messages_received += 1
        self.tally.bytes_received += length


class AsyncioClient(ChatClient):
    """Somebody with the asyncio adapter, who can send and receive in pieces, too."""

    _connection: ClientConnection

    @classmethod
    async def connect(cls, uri: str, name: str, transcript: Transcript) -> AsyncioClient:
        connection = await connect(uri, max_size=MAX_SIZE)
        transcript.line(name, f"connected on asyncio, from port {connection.local_address[1]}")
        return cls(name, connection, transcript)

    async def say_in_fragments(self, text: str) -> int:
        """Send a text message, each word a fragment of its own; return the number of fragments."""
        words = json.dumps({"type": "message", "text": text}).split(" ")
        before = self._connection.statistics.frames_sent

        async def fragments() -> AsyncIterator[str]:
            for index, word in enumerate(words):
                fragment = word if index == 0 else f" {word}"
                self.tally.bytes_sent += _length(fragment)
                yield fragment

        await self._connection.send(fragments())
        self.tally.messages_sent += 1
        frames = self._connection.statistics.frames_sent - before
        self.tell(f"→ everybody: text in {frames} fragments: {text!r}")
        return frames

    async def send_file(self, data: bytes) -> None:
        """Send a file in fragments, and show how far it is: the next is asked for when there is room."""

        async def fragments() -> AsyncIterator[bytes]:
            sent = 0
            while sent < len(data):
                chunk = data[sent : sent + CHUNK]
                yield chunk
                sent += len(chunk)
                self.tally.bytes_sent += len(chunk)
                self._transcript.progress(
                    self.name, f"→ everybody: a file, {size(len(data))}", sent, len(data)
                )

        await self._connection.send(fragments())
        self.tally.messages_sent += 1

    async def receive_file(self) -> str:
        """Receive a file in pieces, none of which is kept; return its SHA-256."""
        while True:
            digest = hashlib.sha256()
            binary = False
            pieces = length = 0
            async for piece in self._connection.recv_streaming():
                binary = isinstance(piece, bytes)
                chunk = piece.encode() if isinstance(piece, str) else piece
                digest.update(chunk)
                length += len(chunk)
                pieces += 1
            self._count(length)
            if binary:
                self.tell(f"← a file, {size(length)} in {pieces} pieces, SHA-256 {digest.hexdigest()[:16]}…")
                return digest.hexdigest()


class CoreClient(ChatClient):
    """Somebody with nothing but the core, a blocking socket and a thread."""

    _connection: ThreadedClient

    @classmethod
    async def connect(cls, uri: str, name: str, transcript: Transcript) -> CoreClient:
        connection = await ThreadedClient.connect(uri, max_size=MAX_SIZE)
        transcript.line(name, "connected by the bare core on a blocking socket, in a thread")
        return cls(name, connection, transcript)

    def end(self) -> None:
        """End the thread, whatever it waits for."""
        self._connection.end()


def _length(message: Data) -> int:
    return len(message) if isinstance(message, bytes) else len(message.encode())
