"""Slow readers: the connection of a peer that reads a little all the time does not fail."""

from __future__ import annotations

import contextlib
import socket
import time
from typing import Any

import pytest

from tests.adapters.runtimes import Runtime
from tests.adapters.runtimes.base import HOST, QUIET, client_context
from tests.adapters.runtimes.peers import RawClient, SocketStream, Stream, TLSStream
from tests.core.helpers import KEY, PING, PONG, Frame, request
from wsproto_core import ConnectionClosed

pytestmark = pytest.mark.needs("sockets")

TIMEOUT = 2.0
"""Seconds of ``ping_timeout``, in which writing must get on."""

PERIODS = 3
"""How many of them the peer reads for."""


class SlowStream(SocketStream):
    """Reads in small pieces, with pauses between them that are short."""

    piece = 2**16
    pause = 0.0

    async def read(self) -> bytes:
        await self._runtime.sleep(self.pause)
        while True:
            try:
                return self.socket.recv(self.piece)
            except BlockingIOError:
                await self._runtime.readable(self.socket)


async def stream(websocket: Any) -> None:
    with contextlib.suppress(ConnectionClosed):
        while True:
            await websocket.send(bytes(2**22))


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("small_buffers", [False, True], ids=["usual buffers", "small buffers"])
async def test_it_is_never_given_up(runtime: Runtime, small_buffers: bool, tls: bool) -> None:
    options = {**QUIET, "ping_timeout": TIMEOUT, "close_timeout": 0.5, **runtime.server_tls(tls)}
    async with runtime.serving(stream, **options) as (server, _):
        address = (HOST, runtime.port_of(server))
        sock = runtime.small_socket(server) if small_buffers else socket.create_connection(address)
        slow = SlowStream(runtime, sock)
        end: Stream = slow
        if tls:
            end = TLSStream(slow, client_context(), server_hostname=HOST)
            await end.handshake()
        peer = RawClient(end)
        await peer.send(request(Sec_WebSocket_Key=KEY))
        assert (await peer.read_head()).status == 101
        (connection,) = server.connections
        # About 200 kB/s: with the usual buffers, it takes many times as long as the deadline until there
        # is as much room as Linux would wait for.
        slow.piece, slow.pause = 2**12, 0.02
        end_of_reading = time.monotonic() + PERIODS * TIMEOUT
        while connection.open and time.monotonic() < end_of_reading:
            await end.read()
        assert connection.open
        peer.reset()
        await runtime.until(lambda: not server.connections)


async def test_ping_behind_a_long_message(runtime: Runtime) -> None:
    """The deadline for its pong begins when the ping has been written, not when it is queued."""
    size = 2**20

    async def send_one(websocket: Any) -> None:
        await websocket.send(bytes(size))
        await websocket.wait_closed()

    options = {**QUIET, "ping_interval": TIMEOUT / 4, "ping_timeout": TIMEOUT}
    async with runtime.serving(send_one, **options) as (server, _):
        slow = SlowStream(runtime, runtime.small_socket(server))
        peer = RawClient(slow)
        await peer.send(request(Sec_WebSocket_Key=KEY))
        assert (await peer.read_head()).status == 101
        (connection,) = server.connections
        # Twice the deadline and more.
        slow.piece, slow.pause = 2**12, 0.02
        begun = time.monotonic()
        assert len((await peer.read_frame()).payload) == size
        assert time.monotonic() - begun > 2 * TIMEOUT
        ping = await peer.read_frame()
        assert ping.opcode == PING
        await peer.send(Frame(PONG, ping.payload))
        await runtime.until(lambda: connection.latency or connection.closed)
        assert connection.open
        peer.reset()
        await runtime.until(lambda: not server.connections)
