"""``websockets.protocol``: what both ends of a connection do."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from adapters.websockets.client import WebSocketClientProtocol, connect
from adapters.websockets.exceptions import ConnectionClosed, ConnectionClosedError, ConnectionClosedOK
from adapters.websockets.http import Headers
from adapters.websockets.protocol import WebSocketCommonProtocol
from adapters.websockets.server import WebSocketServerProtocol
from tests.adapters.event_loop import turns
from tests.adapters.runtimes import Runtime
from tests.adapters.runtimes.base import AMPLE, HOST
from tests.adapters.runtimes.peers import RawServer
from tests.core.helpers import CLOSE, PING, PONG, TEXT, Frame

from .peers import connected


async def test_both_ends_are_common_protocols() -> None:
    async with connected() as (client, server):
        assert isinstance(client, WebSocketClientProtocol)
        assert isinstance(server, WebSocketServerProtocol)
        assert isinstance(client, WebSocketCommonProtocol)
        assert isinstance(server, WebSocketCommonProtocol)
        assert (client.is_client, server.is_client) == (True, False)


async def test_loggers() -> None:
    async with connected() as (client, server):
        names = [end.logger.logger.name for end in (client, server)]
        assert names == ["websockets.client", "websockets.server"]


async def test_common_protocols_need_no_opening_handshake() -> None:
    class Client(WebSocketCommonProtocol):
        is_client = True

    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    _, server = await loop.connect_accepted_socket(WebSocketCommonProtocol, ours)
    _, client = await loop.connect_accepted_socket(lambda: Client(max_size=5), theirs)
    assert client.max_size == 5
    assert (server.open, client.open) == (True, True)
    await client.send("Hello")
    assert await server.recv() == "Hello"
    await server.send(b"Hello")
    assert await client.recv() == b"Hello"
    await client.close()
    await server.wait_closed()
    assert server.close_code == 1000


async def test_defaults() -> None:
    protocol = WebSocketCommonProtocol()
    assert (protocol.ping_interval, protocol.ping_timeout) == (20, 20)
    # None is the default in writing.
    assert protocol.close_timeout == WebSocketCommonProtocol(close_timeout=None).close_timeout == 10
    assert (protocol.max_size, protocol.max_queue) == (2**20, 2**5)
    assert (protocol.read_limit, protocol.write_limit) == (2**16, 2**16)
    assert protocol.legacy_recv is False


async def test_defaults_without_a_limit() -> None:
    options: dict[str, Any] = dict.fromkeys(("ping_interval", "ping_timeout", "max_size", "max_queue"))
    async with connected(options, options) as (client, server):
        await client.send(b"x" * (2**20 + 1))
        assert len(await server.recv()) == 2**20 + 1


# Iteration


@pytest.mark.parametrize("code", [1000, 1001])
async def test_iteration_yields_messages_and_ends(code: int) -> None:
    async with connected() as (client, server):
        await server.send("a")
        await server.send(b"b")
        closing = asyncio.ensure_future(server.close(code))
        assert [message async for message in client] == ["a", b"b"]
        await closing


async def test_iteration_raises_when_the_connection_is_closed_otherwise() -> None:
    async with connected() as (client, server):
        closing = asyncio.ensure_future(server.close(4000))
        with pytest.raises(ConnectionClosedError):
            await anext(aiter(client))
        await closing


# Keepalive


@pytest.fixture
def peer_options() -> dict[str, Any]:
    return {"ping_interval": 0.2, "ping_timeout": 0.2, "compression": None}


async def connect_to_peer(listener: Any, **options: Any) -> tuple[RawServer, Any]:
    options = {"close_timeout": AMPLE, **options}
    connecting = asyncio.ensure_future(connect(listener.uri, **options))
    peer = await listener.accept_and_answer()
    return peer, await connecting


async def test_ping_is_sent_every_ping_interval(runtime: Runtime, peer_options: dict[str, Any]) -> None:
    async with runtime.raw_listener() as listener:
        peer, client = await connect_to_peer(listener, **peer_options)
        for _ in range(2):
            ping = await peer.read_frame()
            assert ping.opcode == PING
            await peer.send(Frame(PONG, ping.payload))
        closing = asyncio.ensure_future(client.close())
        await peer.finish()
        peer.close()
        await closing


async def test_connection_is_closed_when_there_is_no_pong(
    runtime: Runtime, peer_options: dict[str, Any]
) -> None:
    async with runtime.raw_listener() as listener:
        peer, client = await connect_to_peer(listener, **peer_options)
        frames = await peer.read_frames_to_end()
        *pings, close = frames
        # On a busy machine, the next ping is due before the deadline is noticed.
        assert {frame.opcode for frame in pings} == {PING}
        assert close.opcode == CLOSE
        assert int.from_bytes(close.payload[:2], "big") == 1011
        with pytest.raises(ConnectionClosedError):
            await client.recv()
        await client.wait_closed()


async def test_no_keepalive(runtime: Runtime) -> None:
    async with runtime.raw_listener() as listener:
        peer, client = await connect_to_peer(listener, ping_interval=None, compression=None)
        await asyncio.sleep(0.3)
        await client.send("x")
        assert (await peer.read_frame()).opcode == TEXT
        closing = asyncio.ensure_future(client.close())
        await peer.finish()
        peer.close()
        await closing


# Limits


async def test_close_timeout(runtime: Runtime) -> None:
    async with runtime.raw_listener() as listener:
        peer, client = await connect_to_peer(listener, close_timeout=0.2)
        await client.close()
        assert client.closed
        peer.close()


async def test_max_size() -> None:
    async with connected({"max_size": 5}) as (client, server):
        await server.send("12345")
        assert await client.recv() == "12345"
        await server.send("123456")
        with pytest.raises(ConnectionClosedError) as raised:
            await client.recv()
        assert raised.value.sent is not None
        assert raised.value.sent.code == 1009
        await server.wait_closed()
        assert server.close_code == 1009


async def test_max_queue_stops_the_reading_until_recv_is_called(runtime: Runtime) -> None:
    async with connected({"max_queue": 4, "compression": None}) as (client, server):
        for number in range(100):
            await server.send(str(number))
        await runtime.until(lambda: client.protocol.undelivered >= 4)
        assert not client.protocol.wants_read
        assert [await client.recv() for _ in range(100)] == [str(number) for number in range(100)]
        assert client.protocol.wants_read


async def test_read_limit_and_write_limit() -> None:
    """The one holds up the peer's ``send``; the other is why it notices."""
    small = {"compression": None, "read_limit": 2**10, "write_limit": 2**10, "max_size": None}
    async with connected(small, small) as (client, server):
        sending = asyncio.ensure_future(server.send([b"x" * 2**20] * 30))
        await asyncio.sleep(0.2)
        assert not sending.done()
        assert len(await client.recv()) == 30 * 2**20
        await sending


# Attributes


async def test_attributes_of_the_opening_handshake() -> None:
    async with connected({"subprotocols": ["a"]}, {"subprotocols": ["a"]}) as ends:
        for end in ends:
            assert end.path == "/"
            assert isinstance(end.request_headers, Headers)
            assert end.request_headers["Connection"] == "Upgrade"
            assert isinstance(end.response_headers, Headers)
            assert "Sec-WebSocket-Accept" in end.response_headers
            assert end.subprotocol == "a"


async def test_close_code_and_close_reason() -> None:
    async with connected() as (client, server):
        await client.close(1000, "reason")
        await server.wait_closed()
        assert (server.close_code, server.close_reason) == (1000, "reason")


async def test_local_address_and_remote_address() -> None:
    protocol = WebSocketClientProtocol()
    assert (protocol.local_address, protocol.remote_address) == (None, None)
    async with connected() as (client, server):
        host, port = client.remote_address
        assert (host, port) == server.local_address == (HOST, port)
        assert client.local_address == server.remote_address


async def test_open_and_closed() -> None:
    protocol = WebSocketServerProtocol(print)
    assert (protocol.open, protocol.closed) == (False, False)
    async with connected() as (client, _):
        assert (client.open, client.closed) == (True, False)
        closing = asyncio.ensure_future(client.close())
        await turns(1)
        assert (client.open, client.closed) == (False, False)
        await closing
        assert (client.open, client.closed) == (False, True)
        for use in (client.recv(), client.send("x"), client.ping(), client.pong()):
            with pytest.raises(ConnectionClosed):
                await use


# close, wait_closed


async def test_close_waits_for_tcp_and_is_idempotent() -> None:
    async with connected() as (client, server):
        assert await client.close(code=1001, reason="away") is None
        assert client.closed
        assert client.transport.is_closing()
        await client.close()
        await client.close(code=4000)
        assert (server.close_code, server.close_reason) == (1001, "away")


async def test_close_in_a_task() -> None:
    async with connected() as (client, _):
        await asyncio.get_running_loop().create_task(client.close())
        assert client.closed


async def test_wait_closed() -> None:
    async with connected() as (client, server):
        waiting = asyncio.ensure_future(client.wait_closed())
        await turns()
        assert not waiting.done()
        await server.close()
        assert await waiting is None


# recv


async def test_recv_returns_str_and_bytes() -> None:
    async with connected() as (client, server):
        await server.send("text")
        await server.send(b"binary")
        assert await client.recv() == "text"
        assert await client.recv() == b"binary"


async def test_recv_raises_at_the_end() -> None:
    async with connected() as (client, server):
        await client.close()
        with pytest.raises(ConnectionClosedOK):
            await client.recv()
        with pytest.raises(ConnectionClosedOK):
            await server.recv()
    async with connected() as (client, server):
        server.transport.abort()
        with pytest.raises(ConnectionClosedError):
            await client.recv()


async def test_cancelling_recv_loses_nothing() -> None:
    async with connected() as (client, server):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.recv(), 0.05)
        await server.send("x")
        assert await asyncio.wait_for(client.recv(), 10) == "x"


async def test_two_coroutines_must_not_call_recv() -> None:
    async with connected() as (client, server):
        receiving = asyncio.ensure_future(client.recv())
        await turns()
        with pytest.raises(RuntimeError):
            await client.recv()
        await server.send("x")
        assert await receiving == "x"


# send


@pytest.mark.parametrize("message", ["text", b"binary", bytearray(b"binary"), memoryview(b"binary")])
async def test_send(message: Any) -> None:
    async with connected() as (client, server):
        assert await client.send(message) is None
        assert await server.recv() == (message if isinstance(message, str) else bytes(message))


async def test_send_an_iterable() -> None:
    async def letters() -> AsyncIterator[str]:
        for letter in "abc":
            yield letter

    def parts() -> Iterator[bytes]:
        yield b"a"
        yield b"b"

    async with connected() as (client, server):
        await client.send(["a", "b"])
        await client.send(parts())
        await client.send(letters())
        assert [await server.recv() for _ in range(3)] == ["ab", b"ab", "abc"]


async def test_items_of_an_iterable_are_sent_in_frames_of_their_own(runtime: Runtime) -> None:
    async with runtime.raw_listener() as listener:
        peer, client = await connect_to_peer(listener, ping_interval=None, compression=None)
        await client.send(["a", "b"])
        frames = [await peer.read_frame() for _ in range(3)]
        assert [(frame.opcode, frame.payload, frame.fin) for frame in frames] == [
            (1, b"a", False),
            (0, b"b", False),
            (0, b"", True),
        ]
        closing = asyncio.ensure_future(client.close())
        await peer.finish()
        peer.close()
        await closing


async def test_items_of_different_types_close_the_connection() -> None:
    async with connected() as (client, server):
        message: Any = ["a", b"b"]
        with pytest.raises(TypeError):
            await client.send(message)
        await client.wait_closed()
        assert server.close_code == 1011


@pytest.mark.parametrize("message", [None, 1, 1.0, [1]])
async def test_send_of_unsupported_types(message: Any) -> None:
    async with connected() as (client, _):
        with pytest.raises(TypeError):
            await client.send(message)


async def test_send_without_a_message() -> None:
    async with connected() as (client, _):
        with pytest.raises(TypeError):
            await client.send()


# ping, pong


async def test_ping_returns_a_future_that_the_pong_completes() -> None:
    async with connected() as (client, _):
        pong_waiter = await client.ping()
        assert isinstance(pong_waiter, asyncio.Future)
        await pong_waiter
        # Or it is ignored.
        await client.ping()


async def test_cancelling_the_future_has_no_effect() -> None:
    async with connected() as (client, server):
        pong_waiter = await client.ping()
        pong_waiter.cancel()
        await (await client.ping())
        await client.send("x")
        assert await server.recv() == "x"


async def test_payloads_of_pings_and_pongs(runtime: Runtime) -> None:
    async with runtime.raw_listener() as listener:
        peer, client = await connect_to_peer(listener, ping_interval=None)
        await client.ping()
        assert len((await peer.read_frame()).payload) == 4
        await client.ping(data="ä")
        assert (await peer.read_frame())[:2] == (PING, "ä".encode())
        await client.ping(bytearray(b"a"))
        assert (await peer.read_frame()).payload == b"a"
        assert await client.pong() is None
        assert (await peer.read_frame())[:2] == (PONG, b"")
        await client.pong(data="ä")
        await client.pong(memoryview(b"a"))
        assert [(await peer.read_frame()).payload for _ in range(2)] == ["ä".encode(), b"a"]
        closing = asyncio.ensure_future(client.close())
        await peer.finish()
        peer.close()
        await closing


async def test_control_frames_are_dealt_with(runtime: Runtime) -> None:
    async with runtime.raw_listener() as listener:
        peer, client = await connect_to_peer(listener, ping_interval=None)
        await peer.send(Frame(PING, b"x"))
        assert (await peer.read_frame())[:2] == (PONG, b"x")
        await peer.finish(1001)
        peer.close()
        await client.wait_closed()
        assert client.close_code == 1001
