"""Sending messages: types, sizes, `text=`, order, and messages that cannot be sent."""

from __future__ import annotations

from typing import Any

import pytest

from tests.adapters.runtimes import Runtime
from wsproto_core import OPTIONS

MESSAGES = [
    "",
    "hello",
    "\N{SNOWMAN} \N{PILE OF POO}",
    "x" * 125,
    "x" * 126,
    "x" * 65536,
    b"",
    b"\x00\xff",
    b"y" * 125,
    b"y" * 126,
    b"y" * 65535,
    b"y" * 65536,
    b"y" * 1_000_000,
]


async def test_message_arrives_as_it_was_sent(runtime: Runtime) -> None:
    async with runtime.connected() as (client, server):
        for message in MESSAGES:
            for sender, receiver in ((client, server), (server, client)):
                sending = runtime.spawn(sender.send, message)
                received = await receiver.recv()
                assert type(received) is type(message)
                assert received == message
                await sending.result()


@pytest.mark.parametrize(
    "message",
    [bytearray(b"abc"), memoryview(b"abc"), memoryview(b"a-b-c-")[::2], memoryview(bytearray(b"abc"))],
)
async def test_bytes_like_message_is_binary(runtime: Runtime, message: Any) -> None:
    async with runtime.connected() as (client, server):
        await client.send(message)
        assert await server.recv() == b"abc"


async def test_bytes_like_message_may_be_changed_after_it_was_sent(runtime: Runtime) -> None:
    async with runtime.connected() as (client, server):
        for sender, receiver in ((client, server), (server, client)):
            message = bytearray(b"a" * 50_000)
            await sender.send(message)
            message[:] = b"b" * 50_000
            assert await receiver.recv() == b"a" * 50_000


TEXT_OPTION: list[tuple[Any, bool | None, str | bytes]] = [
    ("caf\xe9", None, "caf\xe9"),
    ("caf\xe9", True, "caf\xe9"),
    ("caf\xe9", False, b"caf\xc3\xa9"),
    (b"caf\xc3\xa9", True, "caf\xe9"),
    (b"caf\xc3\xa9", False, b"caf\xc3\xa9"),
    (bytearray(b"abc"), True, "abc"),
    (["a", b"b"], True, "ab"),
    (["a", b"b"], False, b"ab"),
    ([b"caf\xc3", b"\xa9"], True, "caf\xe9"),
]


async def test_text_chooses_the_type_that_is_sent(runtime: Runtime) -> None:
    async with runtime.connected() as (client, server):
        for message, text, received in TEXT_OPTION:
            await client.send(message, text=text)
            assert await server.recv() == received
            await client.send(message, text)
            assert await server.recv() == received


async def test_text_that_is_not_utf8_is_refused_and_nothing_is_sent(runtime: Runtime) -> None:
    async with runtime.connected() as (client, server):
        with pytest.raises(UnicodeDecodeError):
            await client.send(b"\xff", text=True)
        await client.send("next")
        assert await server.recv() == "next"


async def test_messages_come_in_order(runtime: Runtime) -> None:
    async def send() -> None:
        for number in range(1000):
            await client.send(str(number))

    async with runtime.connected() as (client, server):
        sending = runtime.spawn(send)
        assert [await server.recv() for _ in range(1000)] == [str(number) for number in range(1000)]
        await sending.result()


@pytest.mark.parametrize("message", [None, 1, object, 1.5], ids=repr)
async def test_other_types_cannot_be_sent(runtime: Runtime, message: Any) -> None:
    async with runtime.connected() as (client, server):
        with pytest.raises(TypeError, match="message must be"):
            await client.send(message)
        await client.send("still open")
        assert await server.recv() == "still open"


async def test_mapping_cannot_be_sent(runtime: Runtime) -> None:
    async with runtime.connected() as (client, server):
        with pytest.raises(TypeError, match="must not be a mapping"):
            await client.send({"a": 1})
        await client.send("still open")
        assert await server.recv() == "still open"


@pytest.mark.parametrize("size", [OPTIONS["write_limit"].default * 4, 2**22])
async def test_large_message_is_sent_while_it_is_received(runtime: Runtime, size: int) -> None:
    async with runtime.connected({"max_size": None}, {"max_size": None}) as (client, server):
        for sender, receiver in ((client, server), (server, client)):
            for message in ("x" * size, bytes(size)):
                sending = runtime.spawn(sender.send, message)
                assert await receiver.recv() == message
                await sending.result()
