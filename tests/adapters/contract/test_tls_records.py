"""TLS records: answers that are written together share them."""

from __future__ import annotations

import contextlib
import socket
from typing import Any

import pytest

from tests.adapters.runtimes import Runtime
from tests.adapters.runtimes.base import HOST, QUIET, client_context, echo
from tests.adapters.runtimes.peers import RawClient, SocketStream, TLSStream
from tests.core.helpers import CLOSE, KEY, TEXT, Frame, close_payload, request

pytestmark = pytest.mark.needs("sockets")

HEADER = 5
APPLICATION_DATA = 23
"""What RFC 8446 section 5.1 has before each record: its type, a version and its length."""


class RecordingStream(SocketStream):
    """Keeps what it has read."""

    def __init__(self, runtime: Runtime, sock: socket.socket) -> None:
        super().__init__(runtime, sock)
        self.received = b""

    async def read(self) -> bytes:
        data = await super().read()
        self.received += data
        return data

    def records(self) -> int:
        """How many records with data have been received; forget them."""
        data, self.received = self.received, b""
        count = 0
        while data:
            count += data[0] == APPLICATION_DATA
            data = data[HEADER + int.from_bytes(data[3:HEADER], "big") :]
        return count


async def test_answers_to_messages_that_came_together(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    # On threads, an answer waits for others only for a time, which is short for a slow machine.
    monkeypatch.setattr("adapters.threading.sending.GATHERING_TIME", 10.0)
    count = 100
    async with runtime.serving(echo, **QUIET, **runtime.server_tls(True)) as (server, _):
        stream = RecordingStream(runtime, socket.create_connection((HOST, runtime.port_of(server))))
        tls = TLSStream(stream, client_context(), server_hostname=HOST)
        await tls.handshake()
        with contextlib.closing(RawClient(tls)) as peer:
            await peer.send(request(Sec_WebSocket_Key=KEY))
            assert (await peer.read_head()).status == 101
            stream.records()
            frames = [Frame(TEXT, b"%d" % number) for number in range(count)]
            await peer.send(*frames)
            assert [await peer.read_frame() for _ in frames] == frames
            # One, if it were not for turns and for what else has to be done at a time.
            assert stream.records() <= count // 10
            await peer.finish()


@pytest.mark.parametrize("tls", [False, True], ids=["tcp", "tls"])
async def test_an_answer_does_not_wait_for_the_next(runtime: Runtime, tls: bool) -> None:
    """Although there are more messages to be answered, and the handler is busy with something else."""
    go_on = runtime.event()

    async def handler(websocket: Any) -> None:
        for _ in range(3):
            await websocket.send(await websocket.recv())
            await go_on.wait()

    async with (
        runtime.serving(handler, **QUIET, **runtime.server_tls(tls)) as (server, _),
        runtime.raw_client(server, tls=tls) as peer,
    ):
        frames = [Frame(TEXT, b"%d" % number) for number in range(3)]
        await peer.send(*frames)
        assert await peer.read_frame() == frames[0]
        go_on.set()
        assert [await peer.read_frame(), await peer.read_frame()] == frames[1:]


async def test_answers_before_the_end_of_a_block(runtime: Runtime) -> None:
    """What was sent is written before the close frame, whatever is undelivered."""
    async with runtime.raw_server(tls=True) as (peer, client):
        frames = [Frame(TEXT, b"%d" % number) for number in range(3)]
        await peer.send(*frames)
        await client.send(await client.recv())
        closing = runtime.spawn(client.close)
        assert await peer.read_frame() == frames[0]
        assert (await peer.read_frame()).opcode == CLOSE
        await peer.send(Frame(CLOSE, close_payload(1000)))
        peer.end()
        await closing.result()
