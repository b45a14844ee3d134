"""The texts of errors: the event, and a remedy."""

from __future__ import annotations

from typing import Any

import pytest

from tests.adapters.runtimes import Runtime
from tests.adapters.runtimes.base import Log, wait_closed
from wsproto_core import (
    ConcurrencyError,
    ConnectionClosed,
    ConnectionClosedError,
    ConnectionClosedOK,
    InvalidStatusCode,
    Response,
    make_response,
)

needs_sockets = pytest.mark.needs("sockets")
with_tls = pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])


async def lost_by(runtime: Runtime, how: str, **options: Any) -> tuple[str, str]:
    """Open a connection to a raw server, let that do something; return the errors of ``recv``, ``send``."""
    async with runtime.raw_server(**options) as (peer, client):
        receiving = runtime.spawn(client.recv)
        await runtime.settle(0.01)
        if how:
            getattr(peer, how)()
        with pytest.raises(ConnectionClosedError) as received:
            await receiving.result()
        with pytest.raises(ConnectionClosedError) as sent:
            await client.send("a")
    return str(received.value), str(sent.value)


@needs_sockets
@with_tls
async def test_end_of_the_stream(runtime: Runtime, tls: bool) -> None:
    received, sent = await lost_by(runtime, "end", tls=tls)
    expected = "connection lost: the peer ended the stream without a close frame; "
    assert received.startswith(expected + "sent 1002 (protocol error)")
    assert received.endswith("; no close frame was received")
    assert sent.startswith("the connection is closed: " + expected)


@needs_sockets
@with_tls
async def test_reset(runtime: Runtime, tls: bool) -> None:
    received, sent = await lost_by(runtime, "reset", tls=tls)
    assert received == "connection lost: reset by peer; no close frame was received or sent"
    assert sent == f"the connection is closed: {received}"


@needs_sockets
async def test_silent_peer(runtime: Runtime) -> None:
    received, sent = await lost_by(runtime, "", ping_interval=0.2, ping_timeout=0.5)
    expected = "connection lost: nothing received for 0.5 seconds after a ping; "
    assert received.startswith(expected + "sent 1011 (internal error)")
    assert sent.startswith("the connection is closed: " + expected)


@needs_sockets
async def test_peer_that_breaks_the_protocol(runtime: Runtime) -> None:
    async with runtime.raw_server() as (peer, client):
        await peer.send(b"\x83\x00")
        with pytest.raises(ConnectionClosedError, match=r"^connection failed: ") as raised:
            await client.recv()
        assert "; sent 1002 (protocol error)" in str(raised.value)


async def test_use_after_the_close(runtime: Runtime) -> None:
    async with runtime.connected() as (client, server):
        closing = runtime.spawn(server.close, 1001, "bye")
        with pytest.raises(ConnectionClosedOK) as raised:
            await client.recv()
        text = "the connection is closed: received 1001 (going away) 'bye'; then sent 1001 (going away)"
        assert str(raised.value) == text
        await closing.result()
        for call in (client.recv, lambda: client.send("a"), client.ping, client.pong):
            with pytest.raises(ConnectionClosed) as raised:
                await call()
            assert str(raised.value) == text


@needs_sockets
async def test_log_of_a_lost_connection(runtime: Runtime) -> None:
    log = Log()
    async with (
        runtime.serving(wait_closed, logger=log) as (server, _),
        runtime.raw_client(server) as peer,
    ):
        peer.reset()
        await runtime.until(lambda: not server.connections)
    (message,) = [message for message in log.messages() if message.startswith("connection closed")]
    assert message.startswith("connection closed: 'connection lost: reset by peer; ")


async def test_arguments(runtime: Runtime) -> None:
    async with runtime.connected() as (client, _):
        with pytest.raises(TypeError) as raised:
            await client.close("bye")
        assert str(raised.value) == (
            "close code must be an int, not 'bye': the reason is the second argument"
        )
        with pytest.raises(TypeError) as raised:
            await client.send({"a": 1})
        assert str(raised.value) == (
            "message must not be a mapping, but it is a dict: send json.dumps(message)"
        )


async def test_two_receivers(runtime: Runtime) -> None:
    async with runtime.connected() as (client, server):
        receiving = runtime.spawn(client.recv)
        await runtime.settle()
        one = "thread" if runtime.name == "threading" else "task"
        with pytest.raises(ConcurrencyError) as raised:
            await client.recv()
        assert str(raised.value) == (
            f"another {one} is receiving from this connection already: only one at a time may do so; "
            f"let one {one} receive, and hand the messages to the others by a "
            + ("queue.Queue" if one == "thread" else "queue")
        )
        await server.send("a")
        assert await receiving.result() == "a"


@needs_sockets
@pytest.mark.parametrize("status", [200, 403])
async def test_refusals(runtime: Runtime, status: int) -> None:
    def process_request(path: str, headers: object) -> Response:
        return make_response(status, {}, b"\n<h1>\x1b[31mnot here\nmore")

    async with runtime.serving(process_request=process_request) as (_, uri):
        with pytest.raises(InvalidStatusCode) as raised:
            await runtime.open(uri)
    question = ": is this a WebSocket endpoint? The" if status == 200 else "; the"
    assert str(raised.value) == (
        f"server at {uri!r} rejected the connection with HTTP status {status}, expected 101"
        rf"{question} response begins with '<h1>\x1b[31mnot here'"
    )
    assert raised.value.uri == uri


@needs_sockets
async def test_page_of_http(runtime: Runtime) -> None:
    async with (
        runtime.serving() as (server, _),
        runtime.raw_connection(server) as peer,
    ):
        await peer.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        response = await peer.read_response()
    assert response.status == 426
    body = response.body.decode()
    assert body.startswith("Failed to open a WebSocket connection: missing Connection header.\n")
    assert "use a WebSocket\nclient, with a URI that begins with ws:// (or wss:// for TLS)" in body
