"""Receiving messages: `recv`, `decode=`, iteration, and messages that remain after the close."""

from __future__ import annotations

from typing import Any

import pytest

from tests.adapters.runtimes import Runtime
from tests.adapters.runtimes.base import QUIET, wait_closed
from tests.core.helpers import BINARY, CLOSE, TEXT, Frame, close_payload
from wsproto_core import ConnectionClosedError, ConnectionClosedOK


async def collect(iterable: Any, items: list[Any]) -> None:
    async for item in iterable:
        items.append(item)


DECODE_OPTION: list[tuple[str | bytes, bool | None, str | bytes]] = [
    ("caf\xe9", None, "caf\xe9"),
    ("caf\xe9", True, "caf\xe9"),
    ("caf\xe9", False, b"caf\xc3\xa9"),
    (b"caf\xc3\xa9", None, b"caf\xc3\xa9"),
    (b"caf\xc3\xa9", True, "caf\xe9"),
    (b"caf\xc3\xa9", False, b"caf\xc3\xa9"),
]


async def test_decode_chooses_the_type_that_is_received(runtime: Runtime) -> None:
    async with runtime.connected() as (client, server):
        for message, decode, received in DECODE_OPTION:
            await client.send(message)
            assert await server.recv(decode=decode) == received
            await client.send(message)
            assert await server.recv(decode) == received


async def test_decoding_what_is_not_utf8_is_an_error_of_that_call_only(runtime: Runtime) -> None:
    async with runtime.connected() as (client, server):
        await client.send(b"\xff")
        await client.send("next")
        with pytest.raises(UnicodeDecodeError):
            await server.recv(decode=True)
        assert await server.recv() == "next"


async def test_empty_frame_is_a_message(runtime: Runtime) -> None:
    async with runtime.raw_server() as (peer, client):
        for opcode, message in ((BINARY, b""), (TEXT, "")):
            receiving = runtime.spawn(client.recv)
            await runtime.settle(0.01)
            await peer.send(Frame(opcode))
            assert await receiving.result() == message


@pytest.mark.parametrize("code", [1000, 1001, 1005])
async def test_iteration_ends_when_the_connection_is_closed_normally(runtime: Runtime, code: int) -> None:
    async with runtime.connected() as (client, server):
        await server.send("a")
        await server.send(b"b")
        closing = runtime.spawn(server.close, code)
        assert [message async for message in client] == ["a", b"b"]
        assert [message async for message in client] == []
        await closing.result()


@pytest.mark.parametrize("code", [1002, 1011, 3000, 4999])
async def test_iteration_raises_when_the_connection_is_closed_otherwise(runtime: Runtime, code: int) -> None:
    messages: list[str | bytes] = []
    async with runtime.connected() as (client, server):
        await server.send("a")
        closing = runtime.spawn(server.close, code, "why")
        with pytest.raises(ConnectionClosedError) as raised:
            await collect(client, messages)
        assert messages == ["a"]
        assert (raised.value.code, raised.value.reason) == (code, "why")
        await closing.result()


async def test_iteration_goes_on_where_it_was_left(runtime: Runtime) -> None:
    async with runtime.connected({"max_queue": None}) as (client, server):
        for number in range(100):
            await server.send(str(number))
        received = []
        async for message in client:
            received.append(message)
            if len(received) == 40:
                break
        received.append(await client.recv())
        async for message in client:
            received.append(message)
            if len(received) == 100:
                break
        assert received == [str(number) for number in range(100)]


async def test_messages_from_before_the_close_are_received_after_it(runtime: Runtime) -> None:
    async with runtime.connected() as (client, server):
        await server.send("a")
        await server.send("b")
        await server.close()
        await client.wait_closed()
        assert client.closed
        assert [await client.recv(), await client.recv()] == ["a", "b"]
        for _ in range(2):
            with pytest.raises(ConnectionClosedOK):
                await client.recv()
        assert [message async for message in client] == []


async def test_bytes_after_the_close_are_ignored(runtime: Runtime) -> None:
    async with (
        runtime.serving(wait_closed, **QUIET) as (server, _),
        runtime.raw_client(server) as peer,
    ):
        (connection,) = server.connections
        await peer.send(
            Frame(TEXT, b"a"), Frame(CLOSE, close_payload(1000)), Frame(TEXT, b"b"), b"\xff" * 1000
        )
        assert await peer.read_frames_to_end() == [Frame(CLOSE, close_payload(1000))]
        assert [message async for message in connection] == ["a"]


async def test_good_messages_before_an_error_are_delivered(runtime: Runtime) -> None:
    async with (
        runtime.serving(wait_closed, **QUIET) as (server, _),
        runtime.raw_client(server) as peer,
    ):
        (connection,) = server.connections
        await peer.send(Frame(TEXT, b"good"), Frame(TEXT, b"\xff"), Frame(TEXT, b"late"))
        *_, last = await peer.read_frames_to_end()
        assert last.payload[:2] == (1007).to_bytes(2, "big")
        assert await connection.recv() == "good"
        with pytest.raises(ConnectionClosedError) as raised:
            await connection.recv()
        assert raised.value.code == 1006


async def test_receiving_when_nothing_comes_is_given_up_in_time(runtime: Runtime) -> None:
    async with runtime.connected() as (client, server):
        with pytest.raises(TimeoutError):
            await runtime.timeout(0.2, client.recv)
        await server.send("late")
        assert await client.recv() == "late"
