"""Metrics of connections, on each runtime."""

from __future__ import annotations

from typing import Any

import pytest

from tests.adapters.runtimes import Runtime
from tests.adapters.runtimes.base import wait_closed
from wsproto_core import ConnectionClosed

from .conftest import Reports

OF_SERVER = {"websocket__side": "server"}
OF_CLIENT = {"websocket__side": "client"}
RECEIVED, SENT = {"network__io__direction": "receive"}, {"network__io__direction": "transmit"}


async def test_messages_bytes_and_connections(runtime: Runtime, reports: Reports) -> None:
    async with runtime.serving(**reports.server) as (_, uri):
        for finished in range(2):
            async with runtime.connect(uri, **reports.client) as client:
                for _ in range(3):
                    await client.send("hello")
                    await client.recv()
                # The open connection, and those that have ended.
                assert reports.value("websocket.connection.messages", **OF_CLIENT, **SENT) == 3 * finished + 3
                assert reports.value("websocket.server.active_connections") == 1
                assert reports.value("websocket.client.active_connections") == 1
            await runtime.until(
                lambda finished=finished: (
                    reports.value("websocket.connection.duration", **OF_SERVER) == finished + 1
                    and reports.value("websocket.connection.duration", **OF_CLIENT) == finished + 1
                )
            )
    for side in (OF_CLIENT, OF_SERVER):
        for direction in (RECEIVED, SENT):
            assert reports.value("websocket.connection.messages", **side, **direction) == 6
    # Who sends sends at once what the other side reads in pieces; handshakes and frames are all counted.
    sent = reports.value("websocket.connection.io", **OF_CLIENT, **SENT)
    assert sent == reports.value("websocket.connection.io", **OF_SERVER, **RECEIVED) > 100
    assert reports.value("websocket.server.active_connections") == 0
    assert reports.value("websocket.client.active_connections") == 0


@pytest.mark.parametrize("closes", ["client", "server", "none"])
async def test_closes_by_code_and_by_who_began(runtime: Runtime, reports: Reports, closes: str) -> None:
    async def handler(websocket: Any) -> None:
        if closes == "server":
            await websocket.close(4001)
        else:
            await wait_closed(websocket)

    async with runtime.serving(handler, **reports.server) as (server, uri):
        if closes == "none":
            async with runtime.raw_client(server):
                pass
        else:
            async with runtime.connect(uri, **reports.client) as client:
                if closes == "client":
                    await client.close(4001)
                else:
                    with pytest.raises(ConnectionClosed):
                        await client.recv()
        await runtime.until(lambda: reports.value("websocket.connection.closes", **OF_SERVER))
    code = 1006 if closes == "none" else 4001
    how = {"websocket__close__code": code, "websocket__close__initiator": closes}
    assert reports.value("websocket.connection.closes", **OF_SERVER, **how) == 1
    if closes != "none":
        await runtime.until(lambda: reports.value("websocket.connection.closes", **OF_CLIENT, **how))


async def test_round_trips_of_pings(runtime: Runtime, reports: Reports) -> None:
    async with runtime.connected(reports.client, reports.server) as (client, _):
        for _ in range(2):
            await runtime.pong(await client.ping())
        assert reports.value("websocket.connection.ping.round_trip_time", **OF_CLIENT) == 2


async def test_time_blocked_in_writing(runtime: Runtime, reports: Reports) -> None:
    client = {**reports.client, "max_size": None}
    async with runtime.connected(client, reports.server, small_buffers=True) as (reader, writer):
        assert reports.value("websocket.connection.write_blocked_time", **OF_SERVER) == 0
        sending = runtime.spawn(writer.send, b"x" * 2**23)
        await runtime.until(lambda: writer.statistics.seconds_not_writable > 0)
        assert reports.value("websocket.connection.write_blocked_time", **OF_SERVER) > 0
        assert len(await reader.recv()) == 2**23
        await sending.result()
