"""Floods: a peer that sends without a pause lets other tasks run, after each 64 KiB."""

from __future__ import annotations

import contextlib
import socket
from typing import Any

import pytest

from tests.adapters.runtimes import Cancelled, Runtime
from tests.adapters.runtimes.base import wait_closed
from tests.core.helpers import CONTINUATION, PING, PONG, TEXT, Frame
from wsproto_core.exceptions import ConnectionClosed, InvalidHandshake

# Threads take turns by themselves.
pytestmark = [pytest.mark.needs("sockets"), pytest.mark.needs("coroutines")]

AT_ONCE = 2**18
"""Bytes that may be read without letting others run: 64 KiB, and a few reads more; libuv likes several."""

FLOOD = 2**20
"""Bytes that come without a pause: the system holds many of them."""

FLOODS = {
    "pongs": [Frame(PONG, bytes(14))],
    "pings": [Frame(PING, bytes(14))],
    "fragments": [Frame(CONTINUATION, bytes(14), fin=False)],
    "pongs and messages": [Frame(PONG, bytes(14))] * 100 + [Frame(TEXT, b"x")],
}


class Watcher:
    """Another task, which looks at how much a connection reads between two of its turns."""

    def __init__(self, runtime: Runtime, connection: Any) -> None:
        self._runtime = runtime
        self._connection = connection
        self._before = connection.statistics.bytes_received
        self.most = 0
        self._done = False

    async def run(self) -> None:
        done = False
        while not done:
            done = self._done
            received = self._connection.statistics.bytes_received
            self.most = max(self.most, received - self._before)
            self._before = received
            await self._runtime.sleep(0)

    def finish(self) -> None:
        self._done = True

    @property
    def at_once(self) -> int:
        """Bytes read between two turns at most."""
        # trio lets all that can run do so in an order of its own: this task first, then last.
        return self.most if "trio" not in self._runtime.name else self.most // 2


def hold_much(client: Any) -> None:
    """Let the system hold many bytes for a client on uvloop: libuv reads again while a buffer is filled."""
    client.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, FLOOD)


async def receive(websocket: Any) -> None:
    with contextlib.suppress(ConnectionClosed):
        while True:
            await websocket.recv()


@pytest.mark.parametrize(
    ("flood", "tls", "received"),
    [*[(flood, False, True) for flood in FLOODS], ("pongs", True, True), ("pongs", False, False)],
)
@pytest.mark.parametrize("ping_interval", [20, 0.01], ids=["without-deadlines", "with-deadlines"])
async def test_others_run_meanwhile(
    runtime: Runtime, flood: str, tls: bool, received: bool, ping_interval: float
) -> None:
    options: dict[str, Any] = {"max_fragments": None, "max_size": None, "max_queue": None, "read_limit": None}
    options |= {"ping_interval": ping_interval, "max_pings": None}
    async with runtime.raw_server(tls=tls, **options) as (peer, client):
        if runtime.name == "uvloop":
            hold_much(client)
        if flood == "fragments":
            await peer.send(Frame(TEXT, b"", fin=False))
        data = b"".join(map(peer.build, FLOODS[flood]))
        data *= FLOOD // len(data)
        end = client.statistics.bytes_received + FLOOD // 2
        watcher = Watcher(runtime, client)
        watching = runtime.spawn(watcher.run)
        receiving = runtime.spawn(receive if received else wait_closed, client)
        sending = runtime.spawn(peer.send, data)
        await runtime.until(lambda: client.statistics.bytes_received >= end)
        watcher.finish()
        await watching.result()
        sending.cancel()
        with contextlib.suppress(Cancelled):
            await sending.result()
        # Nobody has read the answers to pings.
        peer.reset()
        await receiving.result()
        assert 0 < watcher.at_once <= AT_ONCE


async def test_others_run_while_a_server_sends_nothing_but_interim_responses(runtime: Runtime) -> None:
    async def flood() -> None:
        peer = await listener.accept()
        await peer.read_head()
        with contextlib.suppress(ConnectionError):
            while True:
                await peer.send(b"HTTP/1.1 100 Continue\r\n\r\n" * 2000)

    async with runtime.raw_listener() as listener:
        flooding = runtime.spawn(flood)
        watchers: list[Watcher] = []

        def create(*args: Any, **options: Any) -> Any:
            client = runtime.ClientConnection(*args, **options)
            watchers.append(Watcher(runtime, client))
            return client

        connecting = runtime.spawn(open_in_vain, runtime, listener.uri, create)
        await runtime.until(lambda: watchers)
        (watcher,) = watchers
        watching = runtime.spawn(watcher.run)
        await connecting.result()
        watcher.finish()
        await watching.result()
        await flooding.result()
        assert 0 < watcher.at_once <= AT_ONCE


async def open_in_vain(runtime: Runtime, uri: str, create: Any) -> None:
    with pytest.raises(InvalidHandshake):
        await runtime.open(uri, create_protocol=create, open_timeout=1.0)
