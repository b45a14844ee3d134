"""Records of TLS: answers that are written together share them."""

from __future__ import annotations

import contextlib
import socket

import pytest

from tests.adapters.runtimes import Runtime
from tests.adapters.runtimes.base import HOST, QUIET, client_context, echo
from tests.adapters.runtimes.peers import RawClient, SocketStream, TLSStream
from tests.core.helpers import KEY, TEXT, Frame, request

# A blocking call has nobody who would write later.
pytestmark = [pytest.mark.needs("sockets"), pytest.mark.needs("coroutines")]

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


async def test_answers_to_messages_that_came_together(runtime: Runtime) -> None:
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
