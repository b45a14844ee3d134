"""Growth: work grows with the number of tasks that send, ping or wait, not with its square."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from tests.adapters.runtimes import Cancelled, Runtime
from tests.core.helpers import CLOSE, PING, PONG, TEXT, Frame, close_payload
from tests.counting import counting
from wsproto_core import ConnectionClosed

pytestmark = [pytest.mark.needs("sockets"), pytest.mark.needs("coroutines")]

COUNT = 200

RATIO = 2.3
"""How much more work there may be for twice as many: it is 4 if each looks at all others."""


async def ratio(work: Callable[[int], Awaitable[int]]) -> float:
    """How much more work something is for twice as many."""
    await work(50)
    once = await work(COUNT)
    return await work(2 * COUNT) / once


async def test_senders_that_wait(runtime: Runtime) -> None:
    async def work(count: int) -> int:
        asked: list[int] = []
        async with runtime.raw_server(small_buffers=True, write_limit=2**12) as (peer, client):

            async def send(number: int) -> None:
                asked.append(number)
                await client.send(b"%d" % number)

            much = runtime.spawn(client.send, bytes(2**16))
            await runtime.until(lambda: not client.protocol.writable)
            with counting() as calls:
                sending = [runtime.spawn(send, number) for number in range(count)]
                await runtime.until(lambda: len(asked) == count)
                await peer.read_frame()
                received = [int((await peer.read_frame()).payload) for _ in range(count)]
                for task in (much, *sending):
                    await task.result()
            # First in, first out.
            assert received == asked
            return calls.count

    assert await ratio(work) < RATIO


async def test_senders_that_give_up(runtime: Runtime) -> None:
    async def work(count: int) -> int:
        asked: list[int] = []
        async with runtime.raw_server(small_buffers=True, write_limit=2**12) as (peer, client):

            async def send(number: int) -> None:
                asked.append(number)
                await client.send(b"%d" % number)

            much = runtime.spawn(client.send, bytes(2**16))
            await runtime.until(lambda: not client.protocol.writable)
            sending = [runtime.spawn(send, number) for number in range(count)]
            await runtime.until(lambda: len(asked) == count)
            # Every second one, beginning in the middle.
            given_up = asked[count // 2 :: 2] + asked[: count // 2 : 2]
            with counting() as calls:
                for number in given_up:
                    sending[number].cancel()
                for number in given_up:
                    with pytest.raises(Cancelled):
                        await sending[number].result()
            left = [number for number in asked if number not in given_up]
            await peer.read_frame()
            assert [int((await peer.read_frame()).payload) for _ in left] == left
            for number in left:
                await sending[number].result()
            await much.result()
            return calls.count

    assert await ratio(work) < RATIO


async def test_senders_behind_a_message_that_is_never_complete(runtime: Runtime) -> None:
    never = runtime.event()

    async def work(count: int) -> int:
        async with runtime.raw_server() as (peer, client):
            fragmented = runtime.spawn(client.send, runtime.fragments(never))
            assert (await peer.read_frame()).payload == b"a"
            sending = [runtime.spawn(client.send, "behind") for _ in range(count)]
            await runtime.settle()
            with counting() as calls:
                await peer.send(Frame(CLOSE, close_payload(1000)))
                for task in sending:
                    # They need not wait for what may never come.
                    with pytest.raises(ConnectionClosed):
                        await task.result()
            fragmented.cancel()
            with pytest.raises(Cancelled):
                await fragmented.result()
            return calls.count

    assert await ratio(work) < RATIO


async def test_pongs_that_are_waited_for(runtime: Runtime) -> None:
    async def work(count: int) -> int:
        async with runtime.raw_server(max_pings=None) as (peer, client):
            waiters = [await client.ping(b"%d" % number) for number in range(count)]
            waiting = [runtime.spawn(runtime.pong, waiter) for waiter in waiters]
            for number in range(count):
                assert await peer.read_frame() == Frame(PING, b"%d" % number)
            with counting() as calls:
                for number in range(count):
                    await peer.send(Frame(PONG, b"%d" % number))
                    assert await waiting[number].result() >= 0
            return calls.count

    assert await ratio(work) < RATIO


async def test_tasks_that_wait_for_the_end(runtime: Runtime) -> None:
    async def work(count: int) -> int:
        async with runtime.raw_server() as (peer, client):
            waiting = [runtime.spawn(client.wait_closed) for _ in range(count)]
            await runtime.settle()
            with counting() as calls:
                for number in range(count):
                    await peer.send(Frame(TEXT, b"%d" % number))
                    assert await client.recv() == str(number)
                await peer.send(Frame(CLOSE, close_payload(1000)))
                peer.end()
                for task in waiting:
                    await task.result()
            return calls.count

    assert await ratio(work) < RATIO
