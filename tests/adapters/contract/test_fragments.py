"""Sending in fragments: iterables, their errors, and frames between fragments."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from tests.adapters.runtimes import RUNTIMES, Runtime
from tests.core.helpers import BINARY, CONTINUATION, PING, TEXT, Frame
from wsproto_core import ConnectionClosedError, ConnectionClosedOK


async def _asynchronous(items: Any) -> AsyncIterator[Any]:
    for item in items:
        yield item


def kinds(runtime: Runtime) -> list[Any]:
    """The kinds of iterables that fragments can come from, as functions of a list."""
    return [list, iter, _asynchronous] if "coroutines" in RUNTIMES[runtime.name].abilities else [list, iter]


@pytest.mark.parametrize(
    "items",
    [
        ["a", "b", "c"],
        [b"a", b"b"],
        [b"a", bytearray(b"b"), memoryview(b"c")],
        ["only"],
        ["", "a", ""],
        [b""],
    ],
    ids=["str", "bytes", "bytes-like", "one", "with empty ones", "empty"],
)
async def test_iterable_is_sent_as_fragments(runtime: Runtime, items: list[Any]) -> None:
    text = isinstance(items[0], str)
    payloads = [item.encode() if text else bytes(item) for item in items]
    opcodes = [TEXT if text else BINARY, *[CONTINUATION] * len(items)]
    fins = [False] * len(items) + [True]
    async with runtime.raw_server() as (peer, client):
        for kind in kinds(runtime):
            await client.send(kind(items))
            assert [await peer.read_frame() for _ in range(len(items) + 1)] == [
                Frame(opcode, payload, fin)
                for opcode, payload, fin in zip(opcodes, [*payloads, b""], fins, strict=True)
            ]


async def test_empty_iterable_sends_nothing(runtime: Runtime) -> None:
    async with runtime.connected() as (client, server):
        for kind in kinds(runtime):
            await client.send(kind([]))
            await client.send("next")
            assert await server.recv() == "next"


@pytest.mark.parametrize("items", [["a", b"b"], [b"a", "b"], ["a", 1], [b"a", None]], ids=str)
async def test_fragments_of_different_types_fail_the_connection(runtime: Runtime, items: list[Any]) -> None:
    for kind in kinds(runtime):
        async with runtime.connected() as (client, server):
            with pytest.raises(TypeError):
                await client.send(kind(items))
            with pytest.raises(ConnectionClosedError) as raised:
                await server.recv()
            assert raised.value.code == 1011
            with pytest.raises(ConnectionClosedError) as raised:
                await client.send("more")
            assert raised.value.sent is not None
            assert raised.value.sent.code == 1011
            assert isinstance(raised.value.__cause__, TypeError)


async def test_wrong_first_item_sends_nothing(runtime: Runtime) -> None:
    async with runtime.connected() as (client, server):
        for kind in kinds(runtime):
            with pytest.raises(TypeError):
                await client.send(kind([1]))
            await client.send("still open")
            assert await server.recv() == "still open"


@pytest.mark.parametrize("first", [[], ["begun"]], ids=["before", "after"])
async def test_error_in_an_iterable(runtime: Runtime, first: list[str]) -> None:
    def items() -> Iterator[str]:
        yield from first
        raise ZeroDivisionError

    for kind in kinds(runtime)[1:]:
        async with runtime.connected() as (client, server):
            with pytest.raises(ZeroDivisionError):
                await client.send(kind(items()))
            if first:
                with pytest.raises(ConnectionClosedError) as raised:
                    await server.recv()
                assert raised.value.code == 1011
                with pytest.raises(ConnectionClosedError) as raised:
                    await client.send("more")
                assert isinstance(raised.value.__cause__, ZeroDivisionError)
            else:
                await client.send("still open")
                assert await server.recv() == "still open"


@pytest.mark.needs("coroutines")
async def test_asynchronous_iterable_may_wait(runtime: Runtime) -> None:
    async def items() -> AsyncIterator[str]:
        for item in "abc":
            await runtime.sleep(0.01)
            yield item

    async with runtime.connected() as (client, server):
        await client.send(items())
        assert await server.recv() == "abc"


async def test_other_messages_wait_until_a_fragmented_one_is_complete(runtime: Runtime) -> None:
    go_on = runtime.event()
    async with runtime.raw_server() as (peer, client):
        fragmented = runtime.spawn(client.send, runtime.fragments(go_on))
        assert await peer.read_frame() == Frame(TEXT, b"a", fin=False)
        others = [runtime.spawn(client.send, "other"), runtime.spawn(client.send, [b"an", b"other"])]
        await runtime.settle()
        # Control frames may come in between (RFC 6455 section 5.4).
        await client.ping(b"?")
        assert await peer.read_frame() == Frame(PING, b"?")
        assert not any(task.done() for task in others)
        go_on.set()
        for task in (fragmented, *others):
            await task.result()
        assert [await peer.read_frame() for _ in range(2)] == [
            Frame(CONTINUATION, b"b", fin=False),
            Frame(CONTINUATION, b""),
        ]
        frames = [await peer.read_frame() for _ in range(4)]
        # They come whole, in whatever order.
        whole = [Frame(TEXT, b"other")]
        parts = [
            Frame(BINARY, b"an", fin=False),
            Frame(CONTINUATION, b"other", fin=False),
            Frame(CONTINUATION, b""),
        ]
        assert frames in (whole + parts, parts + whole)


async def test_closing_in_the_middle_of_a_fragmented_message_is_a_normal_close(runtime: Runtime) -> None:
    go_on = runtime.event()
    async with runtime.connected() as (client, server):
        fragmented = runtime.spawn(client.send, runtime.fragments(go_on))
        await runtime.until(lambda: client.statistics.frames_sent)
        closing = runtime.spawn(client.close)
        with pytest.raises(ConnectionClosedOK):
            await server.recv()
        go_on.set()
        with pytest.raises(ConnectionClosedOK):
            await fragmented.result()
        await closing.result()
        assert client.close_code == server.close_code == 1000


async def test_peer_closing_in_the_middle_of_a_fragmented_message(runtime: Runtime) -> None:
    go_on = runtime.event()
    async with runtime.connected() as (client, server):
        fragmented = runtime.spawn(client.send, runtime.fragments(go_on))
        await runtime.until(lambda: client.statistics.frames_sent)
        await server.close(1001)
        go_on.set()
        with pytest.raises(ConnectionClosedOK):
            await fragmented.result()
        assert client.close_code == 1001


class Letters:
    """An asynchronous iterable that is no generator: there is nothing to be closed."""

    def __init__(self, letters: str) -> None:
        self._letters = iter(letters)

    def __aiter__(self) -> Letters:
        return self

    async def __anext__(self) -> str:
        for letter in self._letters:
            return letter
        raise StopAsyncIteration


@pytest.mark.needs("coroutines")
async def test_asynchronous_iterable_that_is_no_generator(runtime: Runtime) -> None:
    async with runtime.connected() as (client, server):
        await client.send(Letters("abc"))
        assert await server.recv() == "abc"
