"""Streams that end without a closing handshake: end of file, resets, errors of the protocol."""

from __future__ import annotations

from typing import Any

import pytest

from tests.adapters.runtimes import Runtime
from tests.adapters.runtimes.base import QUIET, Log, wait_closed
from tests.core.helpers import CLOSE, PING, TEXT, Frame, close_payload, request
from wsproto_core import ConnectionClosed, ConnectionClosedError, ConnectionClosedOK
from wsproto_core.exceptions import ProtocolError

with_tls = pytest.mark.parametrize(
    "tls", [False, pytest.param(True, marks=pytest.mark.needs("sockets"))], ids=["plain", "tls"]
)


@with_tls
@pytest.mark.parametrize("after", [b"", b"\x81", b"\x81\x05hel", b"\x01\x03hel", b"\x81\x7e\x01"])
async def test_end_of_file_without_a_close_frame(runtime: Runtime, after: bytes, tls: bool) -> None:
    async with runtime.raw_server(tls=tls) as (peer, client):
        await peer.send(Frame(TEXT, b"good"), after)
        peer.end()
        assert await client.recv() == "good"
        with pytest.raises(ConnectionClosedError) as raised:
            await client.recv()
        assert raised.value.code == 1006
        assert raised.value.received is None
        cause = raised.value.__cause__
        if tls:
            # TLS can tell that it was cut off, and need not be able to write after that.
            assert isinstance(cause, EOFError | OSError)
        else:
            assert isinstance(cause, EOFError)
            assert ("within a message" if after else "without a close frame") in str(cause)
            # One attempt to tell the peer.
            (frame,) = await peer.read_frames_to_end()
            assert (frame.opcode, frame.payload[:2]) == (CLOSE, (1002).to_bytes(2, "big"))
        await client.wait_closed()


async def test_end_of_file_while_nobody_waits(runtime: Runtime) -> None:
    async with runtime.raw_server() as (peer, client):
        peer.end()
        await runtime.until(lambda: client.closed)
        assert client.close_code == 1006


async def test_end_of_file_at_a_server(runtime: Runtime) -> None:
    ended: list[BaseException] = []

    async def handler(websocket: Any) -> None:
        try:
            await websocket.recv()
        except ConnectionClosed as error:
            ended.append(error)
            raise

    log = Log()
    async with (
        runtime.serving(handler, **QUIET, logger=log) as (server, _),
        runtime.raw_client(server) as peer,
    ):
        peer.end()
        (frame,) = await peer.read_frames_to_end()
        assert frame.opcode == CLOSE
        await runtime.until(lambda: not server.connections)
        assert [type(error) for error in ended] == [ConnectionClosedError]
        assert log.errors() == []


@with_tls
async def test_reset_is_the_cause(runtime: Runtime, tls: bool) -> None:
    async with runtime.raw_server(tls=tls) as (peer, client):
        waiting = runtime.spawn(client.wait_closed)
        receiving = runtime.spawn(client.recv)
        await runtime.settle(0.01)
        peer.reset()
        with pytest.raises(ConnectionClosedError) as raised:
            await receiving.result()
        assert (raised.value.code, raised.value.reason) == (1006, "")
        assert isinstance(raised.value.__cause__, ConnectionResetError)
        assert raised.value.received is raised.value.sent is None
        await waiting.result()
        await client.close()
        for call in (lambda: client.send("a"), client.recv, client.ping):
            with pytest.raises(ConnectionClosedError):
                await call()


async def test_reset_while_nobody_waits(runtime: Runtime) -> None:
    async with runtime.raw_server() as (peer, client):
        peer.reset()
        await runtime.until(lambda: client.closed)
        assert client.close_code == 1006


async def send_until_closed(websocket: Any, size: int = 2**14) -> ConnectionClosed:
    try:
        while True:
            await websocket.send(bytes(size))
    except ConnectionClosed as error:
        return error


@with_tls
async def test_reset_while_sending(runtime: Runtime, tls: bool) -> None:
    options = {"write_limit": 2**12, "tls": tls}
    async with runtime.raw_server(small_buffers=True, **options) as (peer, client):
        sending = runtime.spawn(send_until_closed, client)
        await runtime.until(lambda: not client.protocol.writable)
        peer.reset()
        assert (await sending.result()).code == 1006
        await client.wait_closed()


async def test_peer_that_goes_away_while_this_end_only_sends(runtime: Runtime) -> None:
    async with runtime.raw_server() as (peer, client):
        peer.close()
        assert (await send_until_closed(client, 100)).code == 1006
        await client.wait_closed()


async def test_reset_while_closing(runtime: Runtime) -> None:
    async with runtime.raw_server() as (peer, client):
        closing = runtime.spawn(client.close)
        await peer.read_frame()
        peer.reset()
        await closing.result()
        assert client.close_code == 1006


async def test_reset_after_the_closing_handshake_changes_nothing(runtime: Runtime) -> None:
    async with runtime.raw_server() as (peer, client):
        await peer.send(Frame(CLOSE, close_payload(1001)))
        await peer.read_frame()
        peer.reset()
        await client.wait_closed()
        assert client.close_code == 1001
        with pytest.raises(ConnectionClosedOK):
            await client.recv()


async def test_reset_right_after_what_makes_the_server_end_tcp(runtime: Runtime) -> None:
    # The bytes are read before the reset is noticed: ending TCP is an error then.
    log = Log()
    async with runtime.serving(wait_closed, **QUIET, logger=log) as (server, _):
        for data in (Frame(CLOSE, close_payload(1000)), b"\xff\xff"):
            for _ in range(5):
                async with runtime.raw_client(server) as peer:
                    await peer.send(data)
                    peer.reset()
        await runtime.until(lambda: not server.connections)
        assert log.errors() == []


async def test_reset_at_any_point_of_the_opening_handshake(runtime: Runtime) -> None:
    log = Log()
    async with runtime.serving(wait_closed, **QUIET, logger=log) as (server, uri):
        for data in (b"", b"G", request()[:-1], request()):
            for end in ("end", "reset", "close"):
                async with runtime.raw_connection(server) as peer:
                    await peer.send(data)
                    getattr(peer, end)()
        await runtime.until(lambda: not server.connections)
        async with runtime.connect(uri) as client:
            assert client.open
        assert log.errors() == []


async def test_protocol_error_is_the_cause(runtime: Runtime) -> None:
    async with runtime.raw_server() as (peer, client):
        await peer.send(b"\xff\xff")
        with pytest.raises(ConnectionClosedError) as raised:
            await client.recv()
        assert raised.value.code == 1006
        assert raised.value.received is None
        assert raised.value.sent is not None
        assert raised.value.sent.code == 1002
        assert isinstance(raised.value.__cause__, ProtocolError)
        assert (await peer.read_frame()).payload[:2] == (1002).to_bytes(2, "big")


async def test_input_after_a_failure_is_thrown_away(runtime: Runtime) -> None:
    async with (
        runtime.serving(wait_closed, **QUIET, close_timeout=0.3) as (server, _),
        runtime.raw_client(server) as peer,
    ):
        (connection,) = server.connections
        await peer.send(b"\xff\xff")
        assert (await peer.read_frame()).payload[:2] == (1002).to_bytes(2, "big")
        try:
            while True:
                await peer.send(bytes(2**16))
        except (ConnectionResetError, BrokenPipeError):
            pass
        await connection.wait_closed()
        assert connection.protocol.undelivered == 0


async def test_reset_while_a_pong_is_waited_for_and_pings_come(runtime: Runtime) -> None:
    async with runtime.raw_server() as (peer, client):
        waiting = runtime.spawn(runtime.pong, await client.ping())
        await peer.send(*[Frame(PING, b"?")] * 100)
        peer.reset()
        with pytest.raises(ConnectionClosedError):
            await waiting.result()
        await client.wait_closed()
