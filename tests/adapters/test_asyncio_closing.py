"""The end of a connection where asyncio has a part in it: its transports, and a loop that is blocked."""

from __future__ import annotations

import asyncio
import errno
from typing import Any

import pytest

from adapters.asyncio import ServerConnection
from tests.adapters.runtimes import Runtime
from tests.adapters.runtimes.base import Log, wait_closed
from tests.core.helpers import CLOSE, PONG, Frame, close_payload, request
from tests.core.helpers import frame as build_frame
from wsproto_core import ConnectionClosedError

from .event_loop import block, turns


async def test_end_of_tcp_that_fails_since_the_peer_has_reset_it(runtime: Runtime) -> None:
    class Transport:
        def __init__(self, transport: Any) -> None:
            self._transport = transport

        def __getattr__(self, name: str) -> Any:
            return getattr(self._transport, name)

        def write_eof(self) -> None:
            # As asyncio's transport does, if it has not read the reset yet.
            raise OSError(errno.ENOTCONN, "Transport endpoint is not connected")

    class Connection(ServerConnection):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(Transport(transport))

    # There is no deadline either: nothing else would close the stream.
    options = {"create_protocol": Connection, "close_timeout": None}
    async with runtime.serving(wait_closed, **options) as (server, _):
        for data in (Frame(CLOSE, close_payload(1000)), b"\xff\xff"):
            async with runtime.raw_client(server) as peer:
                await peer.send(data)
                await runtime.until(lambda: not server.connections)
            async with runtime.raw_connection(server) as peer:
                # Here, a task finds out, not the read callback.
                await peer.send(request(), data)
                await runtime.until(lambda: not server.connections)


async def test_blocked_event_loop_is_reported_and_not_blamed_on_the_peer(runtime: Runtime) -> None:
    log = Log()
    options = {"ping_interval": 0.2, "ping_timeout": 0.2, "logger": log}
    async with runtime.raw_server(**options) as (peer, client):
        _, payload, *_ = await peer.read_frame()
        await peer.send(Frame(PONG, payload))
        block(0.5)
        await turns(10)
        assert client.open
        # Nobody answers, but it is given one more period.
        with pytest.raises(ConnectionClosedError):
            await client.recv()


async def test_what_is_readable_is_read_before_the_peer_is_blamed(runtime: Runtime) -> None:
    async with (
        runtime.raw_server(ping_interval=0.2, ping_timeout=0.4) as (peer, client),
        runtime.connected() as (other, sender),
    ):
        _, payload, *_ = await peer.read_frame()

        async def hold_up() -> None:
            # This runs when another connection is read: uvloop sees to its timers before it reads again.
            await other.recv()
            peer.stream.socket.send(build_frame(PONG, payload))
            # Meanwhile, the deadline passes; it is not so late that this alone would be forgiven.
            block(0.45)

        holding_up = asyncio.create_task(hold_up())
        await turns()
        await sender.send("now")
        await holding_up
        await turns(10)
        assert client.open
