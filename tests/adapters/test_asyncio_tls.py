"""TLS over the event loop's transports: :mod:`adapters.asyncio.tls`."""

from __future__ import annotations

import contextlib
import socket
import ssl
from typing import Any

import pytest

from adapters.asyncio.tls import TLSTransport
from tests.adapters.runtimes import Runtime
from tests.adapters.runtimes.base import QUIET, Log, echo, wait_closed
from tests.adapters.runtimes.peers import RawClient, TLSStream
from tests.core.helpers import BINARY, CLOSE, TEXT, Frame, close_payload, request
from wsproto_core import ConnectionClosedError

from .event_loop import turns


def under(peer: Any) -> Any:
    """The stream that a peer's TLS goes over."""
    assert isinstance(peer.stream, TLSStream)
    return peer.stream._stream


async def test_server_ends_its_half_and_reads_to_the_end(runtime: Runtime) -> None:
    async with (
        runtime.serving(wait_closed, **QUIET, **runtime.server_tls(True)) as (server, _),
        runtime.raw_client(server, tls=True) as peer,
    ):
        (connection,) = server.connections
        await peer.send(Frame(CLOSE, close_payload(1000)))
        assert await peer.read_frames_to_end() == [Frame(CLOSE, close_payload(1000))]
        # What the peer sends after that is read, or closing would be a reset.
        await peer.send(Frame(TEXT, b"late"))
        await turns(10)
        assert not connection.closed
        peer.end()
        await runtime.until(lambda: not server.connections)


async def test_what_is_no_tls_any_more(runtime: Runtime) -> None:
    log = Log()
    async with runtime.raw_server(tls=True, logger=log) as (peer, client):
        await peer.send(Frame(TEXT, b"good"))
        await under(peer).write(b"\x17\x03\x03\x00\x20" + bytes(32))
        assert await client.recv() == "good"
        with pytest.raises(ConnectionClosedError) as raised:
            await client.recv()
        assert raised.value.code == 1006
        assert isinstance(raised.value.__cause__, ssl.SSLError)
        await client.wait_closed()
    assert log.errors() == []


async def test_refused_because_there_are_too_many(runtime: Runtime) -> None:
    # The answer comes within TLS.
    options = {**QUIET, "max_connections": 1, **runtime.server_tls(True)}
    async with runtime.serving(echo, **options) as (server, _), runtime.raw_client(server, tls=True):
        refused = RawClient(await runtime.raw_stream(server, tls=True))
        await refused.send(request())
        assert (await refused.read_response()).status == 503
        refused.close()


@pytest.mark.parametrize("seconds", [0.3, 20])
async def test_handshake_timeout(runtime: Runtime, seconds: float) -> None:
    options = {**QUIET, "open_timeout": None, "ssl_handshake_timeout": seconds, **runtime.server_tls(True)}
    async with runtime.serving(echo, **options) as (server, uri):
        if seconds < 1:
            async with runtime.raw_connection(server) as silent:
                assert await silent.read_to_end() == b""
                await runtime.until(lambda: not server.connections)
        else:
            async with runtime.connect(uri, **runtime.client_tls(True)) as client:
                await runtime.check_echo(client)


async def test_handshake_timeout_ends_with_the_handshake(runtime: Runtime) -> None:
    """Or it would end the connection later; nor does it outlive a client that leaves before."""

    def is_cancelled(connection: Any) -> bool:
        cancelled: bool = connection._tls._timeout.cancelled()
        return cancelled

    options = {**QUIET, "ssl_handshake_timeout": 1000, **runtime.server_tls(True)}
    async with runtime.serving(echo, **options) as (server, uri):
        async with runtime.connect(uri, **runtime.client_tls(True)) as client:
            await runtime.check_echo(client)
            (connection,) = server.connections
            assert is_cancelled(connection)
        await runtime.until(lambda: not server.connections)
        async with runtime.raw_connection(server):
            await runtime.until(lambda: server.connections)
            (connection,) = server.connections
            assert not is_cancelled(connection)
        await runtime.until(lambda: not server.connections)
        assert is_cancelled(connection)


async def test_what_the_transport_tells(runtime: Runtime) -> None:
    async with runtime.serving(echo, **QUIET, **runtime.server_tls(True)) as (server, uri):
        async with runtime.raw_connection(server):
            await runtime.until(lambda: server.connections)
            (connection,) = server.connections
            transport = connection.transport
            assert isinstance(transport, TLSTransport)
            assert connection.tls is None
            assert transport.get_extra_info("peercert", "none yet") == "none yet"
            assert transport.get_protocol() is connection
            assert transport.is_reading()
            assert transport.get_write_buffer_limits() == (0, 0)
            assert connection.remote_address == transport.get_extra_info("peername")
        await runtime.until(lambda: not server.connections)
        async with runtime.connect(uri, **runtime.client_tls(True)) as client:
            info = client.transport.get_extra_info
            assert info("peercert")["subject"]
            assert info("cipher") == info("ssl_object").cipher()
            assert info("sslcontext") is info("ssl_object").context
            assert info("compression") is None
            transport = client.transport
        assert transport.is_closing()
        assert not transport.is_reading()


async def send_until_closed(websocket: Any) -> int:
    with contextlib.suppress(ConnectionClosedError):
        while True:
            await websocket.send("x")
    code: int = websocket.close_code
    return code


async def test_much_that_came_before_a_reset(runtime: Runtime) -> None:
    # More than is read at once, and no more than the system takes from the peer before it is read.
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**20)
    async with runtime.raw_listener(tls=True) as listener:
        accepting = runtime.spawn(listener.accept_and_answer)
        sock.connect(listener.address)
        options = {**QUIET, "sock": sock, "read_limit": None, **runtime.client_tls(True)}
        async with runtime.connect(listener.uri, **options) as client:
            peer = await accepting.result()
            await client.send("unread")
            await peer.send(*[Frame(BINARY, bytes(2**14))] * 6, Frame(CLOSE, close_payload(1008)))
            peer.close()
            assert await send_until_closed(client) == 1008
            assert client.protocol.undelivered == 6
