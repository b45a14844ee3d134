"""Stopping a server: clients that have sent a request get an answer, others are not waited for."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest

from tests.adapters.runtimes import Runtime
from tests.adapters.runtimes.base import Log
from tests.core.helpers import request
from wsproto_core import InvalidHandshake

EVER: dict[str, Any] = {"open_timeout": None, "close_timeout": None}
"""Without these deadlines, a server that waited for a client would wait for ever."""

needs_sockets = pytest.mark.needs("sockets")
plain_or_tls = pytest.mark.parametrize(
    "tls", [False, pytest.param(True, marks=needs_sockets)], ids=["plain", "TLS"]
)


@plain_or_tls
async def test_clients_that_have_sent_nothing(runtime: Runtime, tls: bool) -> None:
    log = Log()
    async with (
        runtime.serving(**EVER, **runtime.server_tls(tls), logger=log) as (server, _),
        runtime.raw_connection(server) as first,
        runtime.raw_connection(server) as second,
    ):
        await runtime.until(lambda: len(server.connections) == 2)
        server.close()
        await server.wait_closed()
        assert not server.connections
        # At once: they are given no time to read an answer.
        for peer in (first, second):
            answer = b""
            with contextlib.suppress(ConnectionError):
                answer = await peer.read_to_end()
            assert answer == b""
    assert not log.errors()


@needs_sockets
async def test_client_that_has_sent_nothing_within_tls(runtime: Runtime) -> None:
    options = {**EVER, **runtime.server_tls(True)}
    async with runtime.serving(**options) as (server, _), runtime.raw_connection(server, tls=True):
        await runtime.settle(0.1)
        server.close()
        await server.wait_closed()


@needs_sockets
async def test_client_in_its_tls_handshake(runtime: Runtime) -> None:
    options = {**EVER, **runtime.server_tls(True)}
    async with runtime.serving(**options) as (server, _), runtime.raw_connection(server) as peer:
        await peer.send(b"\x16\x03\x01\x02\x00\x01\x00")
        await runtime.until(lambda: server.connections)
        await runtime.settle(0.1)
        server.close()
        await server.wait_closed()


@plain_or_tls
async def test_client_whose_request_is_not_complete(runtime: Runtime, tls: bool) -> None:
    """It reads 503, and need not leave by itself."""
    options = {**EVER, **runtime.server_tls(tls)}
    async with runtime.serving(**options) as (server, _), runtime.raw_connection(server, tls=tls) as peer:
        await peer.send(request()[:-10])
        await runtime.until(lambda: server.connections)
        await runtime.settle(0.2)
        server.close()
        if not tls:
            # What it sends meanwhile must not make a reset of the end.
            await peer.send(b"X: " + b"x" * 1000)
        head = await peer.read_response()
        assert head.status == 503
        assert b"shutting down" in head.body
        await server.wait_closed()


@needs_sockets
@pytest.mark.parametrize("missing", [pytest.param(0, marks=pytest.mark.needs("coroutines")), 10])
async def test_client_whose_request_has_arrived_and_was_not_read(runtime: Runtime, missing: int) -> None:
    """Nothing runs between its arrival and the end. (A thread may just have accepted a complete request.)"""
    data = request()
    async with (
        runtime.serving(**EVER) as (server, _),
        runtime.raw_connection(server) as peer,
    ):
        # Its thread may come later, where there is one.
        await runtime.until(lambda: any(each.remote_address for each in server.connections))
        await runtime.settle(0.1)
        # This waits for nothing.
        await peer.send(data[: len(data) - missing])
        server.close()
        assert (await peer.read_response()).status == 503
        peer.close()
        await server.wait_closed()


@plain_or_tls
async def test_client_that_has_been_answered(runtime: Runtime, tls: bool) -> None:
    """A client that keeps its side open after an HTTP response has all it wanted."""
    options = {**EVER, **runtime.server_tls(tls), "process_request": lambda path, headers: (404, {}, b"x")}
    async with runtime.serving(**options) as (server, _), runtime.raw_connection(server, tls=tls) as peer:
        await peer.send(request())
        head = await peer.read_response()
        assert (head.status, head.body) == (404, b"x")
        server.close()
        await server.wait_closed()


@needs_sockets
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
async def test_server_that_is_closed_while_it_accepts(runtime: Runtime, tls: bool) -> None:
    """The connection comes into being when the others have been told."""
    servers: list[Any] = []
    handled: list[Any] = []

    def create(*args: Any, **options: Any) -> Any:
        if runtime.name in ("asyncio", "uvloop"):
            # The event loop has a server of its own, which must not be closed just now.
            asyncio.get_running_loop().call_soon(servers[0].close)
        else:
            servers[0].close()
        return runtime.ServerConnection(*args, **options)

    async def handler(websocket: Any) -> None:
        handled.append(websocket)

    options = {**EVER, **runtime.server_tls(tls), "create_protocol": create}
    async with runtime.serving(handler, **options) as (server, uri):
        servers.append(server)
        with pytest.raises((OSError, InvalidHandshake)):
            await runtime.open(uri, **runtime.client_tls(tls))
        await server.wait_closed()
        assert not server.connections
        assert not handled
