"""Messages: sending and receiving them, whole and in pieces; pings."""

from __future__ import annotations

import array
import asyncio
import inspect
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from tests.core.helpers import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Frame,
    close_payload,
    frame_header,
)
from wsproto_core import ConcurrencyError, ConnectionClosedError, ConnectionClosedOK, State

from .runtime import connected, raw_client, raw_server, serving, settle, turns, until, wait_closed

# Whole messages

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


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: f"{type(message).__name__}-{len(message)}")
async def test_message_arrives_as_it_was_sent(message: str | bytes) -> None:
    async with connected() as (client, server):
        for sender, receiver in ((client, server), (server, client)):
            await sender.send(message)
            received = await receiver.recv()
            assert type(received) is type(message)
            assert received == message


@pytest.mark.parametrize(
    "message", [bytearray(b"abc"), memoryview(b"abc"), memoryview(b"a-b-c-")[::2], array.array("B", b"abc")]
)
async def test_bytes_like_message_is_binary(message: Any) -> None:
    if isinstance(message, array.array):
        message = memoryview(message)
    async with connected() as (client, server):
        await client.send(message)
        assert await server.recv() == b"abc"


async def test_bytes_like_message_may_be_changed_after_it_was_sent() -> None:
    async with connected() as (client, server):
        for sender, receiver in ((client, server), (server, client)):
            message = bytearray(b"a" * 100_000)
            await sender.send(message)
            message[:] = b"b" * 100_000
            assert await receiver.recv() == b"a" * 100_000


@pytest.mark.parametrize(
    ("message", "text", "received"),
    [
        ("caf\xe9", None, "caf\xe9"),
        ("caf\xe9", True, "caf\xe9"),
        ("caf\xe9", False, b"caf\xc3\xa9"),
        (b"caf\xc3\xa9", True, "caf\xe9"),
        (b"caf\xc3\xa9", False, b"caf\xc3\xa9"),
        (bytearray(b"abc"), True, "abc"),
        (["a", b"b"], True, "ab"),
        (["a", b"b"], False, b"ab"),
        ([b"caf\xc3", b"\xa9"], True, "caf\xe9"),
    ],
)
async def test_text_chooses_the_type_that_is_sent(message: Any, text: bool | None, received: Any) -> None:
    async with connected() as (client, server):
        await client.send(message, text=text)
        assert await server.recv() == received


async def test_text_that_is_not_utf8_is_refused_and_nothing_is_sent() -> None:
    async with connected() as (client, server):
        with pytest.raises(UnicodeDecodeError):
            await client.send(b"\xff", text=True)
        await client.send("next")
        assert await server.recv() == "next"


@pytest.mark.parametrize(
    ("message", "decode", "received"),
    [
        ("caf\xe9", None, "caf\xe9"),
        ("caf\xe9", True, "caf\xe9"),
        ("caf\xe9", False, b"caf\xc3\xa9"),
        (b"caf\xc3\xa9", True, "caf\xe9"),
        (b"caf\xc3\xa9", False, b"caf\xc3\xa9"),
    ],
)
async def test_decode_chooses_the_type_that_is_received(message: Any, decode: bool, received: Any) -> None:
    async with connected() as (client, server):
        await client.send(message)
        assert await server.recv(decode=decode) == received
        await client.send(message)
        pieces = [piece async for piece in server.recv_streaming(decode=decode)]
        assert pieces == [received]


async def test_decoding_what_is_not_utf8_is_an_error_of_that_call_only() -> None:
    async with connected() as (client, server):
        await client.send(b"\xff")
        await client.send("next")
        with pytest.raises(UnicodeDecodeError):
            await server.recv(decode=True)
        assert await server.recv() == "next"


async def test_messages_come_in_order() -> None:
    async with connected() as (client, server):
        sending = asyncio.create_task(_send_all(client, map(str, range(1000))))
        assert [await server.recv() for _ in range(1000)] == [str(number) for number in range(1000)]
        await sending


async def _send_all(websocket: Any, messages: Iterator[str]) -> None:
    for message in messages:
        await websocket.send(message)


async def test_messages_of_several_tasks_are_not_mixed_up() -> None:
    async with connected() as (client, server):
        async with asyncio.TaskGroup() as tasks:
            for letter in "abcdefgh":
                tasks.create_task(client.send(letter * 100_000))
            received = {await server.recv() for _ in range(8)}
        assert received == {letter * 100_000 for letter in "abcdefgh"}


@pytest.mark.parametrize("message", [None, 1, object(), 1.5], ids=repr)
async def test_other_types_cannot_be_sent(message: Any) -> None:
    async with connected() as (client, server):
        with pytest.raises(TypeError, match="message must be"):
            await client.send(message)
        await client.send("still open")
        assert await server.recv() == "still open"


async def test_mapping_cannot_be_sent() -> None:
    async with connected() as (client, server):
        with pytest.raises(TypeError, match="must not be a mapping"):
            await client.send({"a": 1})  # type: ignore[arg-type]
        await client.send("still open")
        assert await server.recv() == "still open"


async def test_statistics_count_both_ways() -> None:
    async with connected() as (client, server):
        await client.send("abc")
        await client.send(["a", "b"])
        await server.send(b"x")
        assert [await server.recv(), await server.recv(), await client.recv()] == ["abc", "ab", b"x"]
        there, here = client.statistics, server.statistics
        assert (there.messages_sent, there.messages_received) == (2, 1)
        assert (here.messages_sent, here.messages_received) == (1, 2)
        # "abc", then "a", "b" and the empty last fragment
        assert (there.frames_sent, here.frames_received) == (4, 4)
        assert there.bytes_sent == here.bytes_received
        assert there.bytes_received == here.bytes_sent


# Fragments


async def _asynchronous(*items: Any) -> AsyncIterator[Any]:
    for item in items:
        await asyncio.sleep(0)
        yield item


@pytest.mark.parametrize("asynchronous", [False, True])
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
    ids=str,
)
async def test_iterable_is_sent_as_fragments(items: list[Any], asynchronous: bool) -> None:
    async with raw_server() as (peer, client):
        await client.send(_asynchronous(*items) if asynchronous else iter(items))
        frames = [await peer.read_frame() for _ in range(len(items) + 1)]
        text = isinstance(items[0], str)
        payloads = [item.encode() if text else bytes(item) for item in items]
        opcodes = [TEXT if text else BINARY, *[CONTINUATION] * len(items)]
        fins = [False] * len(items) + [True]
        assert frames == [
            Frame(opcode, payload, fin)
            for opcode, payload, fin in zip(opcodes, [*payloads, b""], fins, strict=True)
        ]


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_empty_iterable_sends_nothing(asynchronous: bool) -> None:
    async with connected() as (client, server):
        await client.send(_asynchronous() if asynchronous else [])
        await client.send("next")
        assert await server.recv() == "next"


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("items", [["a", b"b"], [b"a", "b"], ["a", 1], [b"a", None]], ids=str)
async def test_fragments_of_different_types_fail_the_connection(items: list[Any], asynchronous: bool) -> None:
    async with connected() as (client, server):
        with pytest.raises(TypeError):
            await client.send(_asynchronous(*items) if asynchronous else items)
        with pytest.raises(ConnectionClosedError) as raised:
            await server.recv()
        assert raised.value.code == 1011
        with pytest.raises(ConnectionClosedError) as raised:
            await client.send("more")
        assert raised.value.sent is not None
        assert raised.value.sent.code == 1011
        assert isinstance(raised.value.__cause__, TypeError)


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_wrong_first_item_sends_nothing(asynchronous: bool) -> None:
    async with connected() as (client, server):
        with pytest.raises(TypeError):
            await client.send(_asynchronous(1) if asynchronous else [1])  # type: ignore[list-item]
        await client.send("still open")
        assert await server.recv() == "still open"


async def test_error_in_an_iterable_of_fragments_fails_the_connection() -> None:
    async def items() -> AsyncIterator[str]:
        yield "begun"
        raise ZeroDivisionError

    async with connected() as (client, server):
        with pytest.raises(ZeroDivisionError):
            await client.send(items())
        with pytest.raises(ConnectionClosedError) as raised:
            await server.recv()
        assert raised.value.code == 1011
        await client.wait_closed()


async def test_error_before_the_first_fragment_leaves_the_connection_alone() -> None:
    async def items() -> AsyncIterator[str]:
        raise ZeroDivisionError
        yield ""

    async with connected() as (client, server):
        with pytest.raises(ZeroDivisionError):
            await client.send(items())
        await client.send("still open")
        assert await server.recv() == "still open"


async def test_other_messages_wait_until_a_fragmented_one_is_complete() -> None:
    go_on = asyncio.Event()

    async def items() -> AsyncIterator[str]:
        yield "a"
        await go_on.wait()
        yield "b"

    async with raw_server() as (peer, client):
        fragmented = asyncio.create_task(client.send(items()))
        assert await peer.read_frame() == Frame(TEXT, b"a", fin=False)
        others = [
            asyncio.create_task(client.send("other")),
            asyncio.create_task(client.send([b"an", b"other"])),
        ]
        await turns()
        # Control frames may come in between (RFC 6455 section 5.4).
        await client.ping(b"?")
        assert await peer.read_frame() == Frame(PING, b"?")
        assert not any(task.done() for task in others)
        go_on.set()
        await asyncio.gather(fragmented, *others)
        assert [await peer.read_frame() for _ in range(6)] == [
            Frame(CONTINUATION, b"b", fin=False),
            Frame(CONTINUATION, b""),
            Frame(TEXT, b"other"),
            Frame(BINARY, b"an", fin=False),
            Frame(CONTINUATION, b"other", fin=False),
            Frame(CONTINUATION, b""),
        ]


async def test_closing_in_the_middle_of_a_fragmented_message_is_a_normal_close() -> None:
    go_on = asyncio.Event()

    async def items() -> AsyncIterator[str]:
        yield "a"
        await go_on.wait()
        yield "b"

    async with connected() as (client, server):
        fragmented = asyncio.create_task(client.send(items()))
        await until(lambda: client.statistics.frames_sent)
        closing = asyncio.create_task(client.close())
        await turns(1)
        go_on.set()
        with pytest.raises(ConnectionClosedOK):
            await fragmented
        await closing
        assert client.close_code == server.close_code == 1000


async def test_peer_closing_in_the_middle_of_a_fragmented_message() -> None:
    go_on = asyncio.Event()

    async def items() -> AsyncIterator[str]:
        yield "a"
        await go_on.wait()
        yield "b"

    async with connected() as (client, server):
        fragmented = asyncio.create_task(client.send(items()))
        await until(lambda: client.statistics.frames_sent)
        await server.close(1001)
        go_on.set()
        with pytest.raises(ConnectionClosedOK):
            await fragmented
        assert client.close_code == 1001


# Iteration


@pytest.mark.parametrize("code", [1000, 1001])
async def test_iteration_ends_when_the_connection_is_closed_normally(code: int) -> None:
    async with connected() as (client, server):
        await server.send("a")
        await server.send(b"b")
        closing = asyncio.create_task(server.close(code))
        assert [message async for message in client] == ["a", b"b"]
        await closing


@pytest.mark.parametrize("code", [1002, 1011, 3000, 4999])
async def test_iteration_raises_when_the_connection_is_closed_otherwise(code: int) -> None:
    messages: list[str | bytes] = []
    async with connected() as (client, server):
        await server.send("a")
        closing = asyncio.create_task(server.close(code, "why"))
        with pytest.raises(ConnectionClosedError) as raised:
            await _collect(client, messages)
        assert messages == ["a"]
        assert (raised.value.code, raised.value.reason) == (code, "why")
        await closing


async def _collect(iterable: Any, items: list[Any]) -> None:
    async for item in iterable:
        items.append(item)


async def test_iteration_goes_on_where_it_was_left() -> None:
    async with connected() as (client, server):
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


async def test_messages_from_before_the_close_are_received_after_it() -> None:
    async with connected() as (client, server):
        await server.send("a")
        await server.send("b")
        await server.close()
        assert client.closed
        assert [await client.recv(), await client.recv()] == ["a", "b"]
        for _ in range(2):
            with pytest.raises(ConnectionClosedOK):
                await client.recv()
        assert [message async for message in client] == []


async def test_bytes_after_the_close_are_ignored() -> None:
    async with serving(wait_closed) as (server, _), raw_client(server) as peer:
        (connection,) = server.connections
        await peer.send(
            Frame(TEXT, b"a"), Frame(CLOSE, close_payload(1000)), Frame(TEXT, b"b"), b"\xff" * 1000
        )
        assert await peer.read_frames_to_end() == [Frame(CLOSE, close_payload(1000))]
        assert [message async for message in connection] == ["a"]


# One message, in pieces


async def test_pieces_arrive_before_the_message_ends() -> None:
    async with raw_server() as (peer, client):
        pieces = client.recv_streaming()
        await peer.send(Frame(TEXT, b"one", fin=False))
        assert await anext(pieces) == "one"
        await peer.send(frame_header(CONTINUATION, 6), b"tw")
        assert await anext(pieces) == "tw"
        await peer.send(b"o")
        assert await anext(pieces) == "o"
        await peer.send(b"end")
        assert [piece async for piece in pieces] == ["end"]
        await peer.send(Frame(BINARY, b"next"))
        assert [piece async for piece in client.recv_streaming()] == [b"next"]


async def test_pieces_of_text_never_end_within_a_character() -> None:
    async with raw_server() as (peer, client):
        pieces = client.recv_streaming()
        await peer.send(Frame(TEXT, "caf\xe9".encode()[:-1], fin=False))
        assert await anext(pieces) == "caf"
        await peer.send(Frame(CONTINUATION, b"\xa9"))
        assert [piece async for piece in pieces] == ["\xe9"]


@pytest.mark.parametrize(
    ("opcode", "decode", "expected"), [(BINARY, True, ["caf", "\xe9"]), (TEXT, False, [b"caf", b"\xc3\xa9"])]
)
async def test_pieces_are_converted(opcode: int, decode: bool, expected: list[Any]) -> None:
    async with raw_server() as (peer, client):
        pieces = client.recv_streaming(decode=decode)
        await peer.send(Frame(opcode, b"caf\xc3", fin=False))
        first = await anext(pieces)
        await peer.send(Frame(CONTINUATION, b"\xa9"))
        assert [first, *[piece async for piece in pieces]] == expected


async def test_pieces_that_cannot_be_decoded() -> None:
    async with raw_server() as (peer, client):
        await peer.send(Frame(BINARY, b"caf\xc3"), Frame(TEXT, b"next"))
        with pytest.raises(UnicodeDecodeError):
            await _collect(client.recv_streaming(decode=True), [])
        assert await client.recv() == "next"


async def test_empty_message_has_no_pieces() -> None:
    async with connected() as (client, server):
        await client.send("")
        await client.send("next")
        assert [piece async for piece in server.recv_streaming()] == []
        assert [piece async for piece in server.recv_streaming()] == ["next"]


async def test_messages_that_are_there_are_one_piece_each() -> None:
    async with connected() as (client, server):
        for number in range(5):
            await client.send(str(number))
        await until(lambda: server.statistics.messages_received == 5)
        for number in range(5):
            assert [piece async for piece in server.recv_streaming()] == [str(number)]


async def test_one_huge_frame_is_received_in_bounded_memory() -> None:
    size = 8 * 2**20
    async with raw_server(max_size=None, read_limit=2**14) as (peer, client):

        async def send() -> None:
            await peer.send(frame_header(BINARY, size))
            for _ in range(size // 2**16):
                await peer.send(b"x" * 2**16)

        sending = asyncio.create_task(send())
        received = largest = 0
        async for piece in client.recv_streaming():
            assert isinstance(piece, bytes)
            received += len(piece)
            largest = max(largest, len(piece))
        await sending
        assert received == size
        # the mark, and at most one read beyond it
        assert largest <= 2**14 + 2**16


async def test_nothing_is_read_beyond_the_mark_until_somebody_asks() -> None:
    async with raw_server(max_size=None, read_limit=2**14) as (peer, client):
        size = 2**23

        async def send() -> None:
            await peer.send(frame_header(BINARY, size))
            for _ in range(size // 2**16):
                await peer.send(b"x" * 2**16)

        sending = asyncio.create_task(send())
        await until(lambda: not client.protocol.wants_read)
        await settle(0.2)
        assert client.statistics.bytes_received < 2**14 + 2**17
        assert not sending.done()
        # Somebody asks for all of it.
        assert await client.recv() == b"x" * size
        await sending


async def test_iteration_over_pieces_can_be_given_up_and_resumed() -> None:
    async with raw_server() as (peer, client):
        await peer.send(Frame(TEXT, b"one", fin=False))
        async for piece in client.recv_streaming():
            assert piece == "one"
            break
        await turns()
        for _ in range(2):
            with pytest.raises(ConcurrencyError, match="in pieces"):
                await client.recv()
        with pytest.raises(ConcurrencyError, match="in pieces"):
            await anext(client)
        await peer.send(Frame(CONTINUATION, b"two"), Frame(TEXT, b"next"))
        assert [piece async for piece in client.recv_streaming()] == ["two"]
        assert await client.recv() == "next"


async def test_receiving_while_another_task_waits_for_a_piece_is_refused() -> None:
    async with connected() as (client, server):
        pieces = server.recv_streaming()
        waiting = asyncio.ensure_future(anext(pieces))
        await turns()
        with pytest.raises(ConcurrencyError):
            await server.recv()
        with pytest.raises(ConcurrencyError):
            await anext(server.recv_streaming())
        await client.send("message")
        assert await waiting == "message"
        assert [piece async for piece in pieces] == []


async def test_streaming_while_another_task_receives_is_refused() -> None:
    async with connected() as (client, server):
        receiving = asyncio.create_task(server.recv())
        await turns()
        with pytest.raises(ConcurrencyError):
            await anext(server.recv_streaming())
        await client.send("message")
        assert await receiving == "message"


async def test_connection_closed_between_pieces() -> None:
    async with raw_server() as (peer, client):
        pieces = client.recv_streaming()
        await peer.send(Frame(TEXT, b"one", fin=False))
        assert await anext(pieces) == "one"
        await peer.send(Frame(CLOSE, close_payload(1001)))
        with pytest.raises(ConnectionClosedOK):
            await anext(pieces)
        with pytest.raises(ConnectionClosedOK):
            await client.recv()


async def test_limit_holds_for_messages_in_pieces() -> None:
    async with raw_server(max_size=10) as (peer, client):
        pieces = client.recv_streaming()
        await peer.send(Frame(BINARY, b"x" * 10, fin=False))
        assert await anext(pieces) == b"x" * 10
        await peer.send(Frame(CONTINUATION, b"x"))
        with pytest.raises(ConnectionClosedError):
            await anext(pieces)
        assert await peer.read_frame() == Frame(CLOSE, client_close(client))


def client_close(client: Any) -> bytes:
    """The payload of the close frame that a client has sent."""
    sent = client.protocol.close_exception().sent
    return close_payload(sent.code, sent.reason)


# Concurrency


async def test_two_tasks_cannot_receive_at_the_same_time() -> None:
    async with connected() as (client, server):
        first = asyncio.create_task(server.recv())
        await turns()
        for _ in range(2):
            with pytest.raises(ConcurrencyError, match="another task is receiving") as raised:
                await server.recv()
            assert isinstance(raised.value, RuntimeError)
        with pytest.raises(ConcurrencyError):
            await anext(server)
        await client.send("for the first")
        assert await first == "for the first"
        await client.send("for whoever comes next")
        assert await server.recv() == "for whoever comes next"


async def test_task_that_waits_keeps_its_message_from_others() -> None:
    async with connected() as (client, server):
        first = asyncio.create_task(server.recv())
        await turns()
        await client.send("a")
        await client.send("b")
        await until(lambda: server.statistics.messages_received == 2)
        assert await first == "a"
        assert await server.recv() == "b"


async def test_calls_are_coroutines() -> None:
    # wait_for, gather and create_task want them, and take nothing that only looks like a future.
    async with connected() as (client, server):
        for call in (server.recv(), client.send("a"), client.ping(), client.pong(), client.wait_closed()):
            assert inspect.iscoroutine(call)
            call.close()


# Pings


async def test_value_of_a_ping_is_the_latency() -> None:
    async with connected() as (client, server):
        for end in (client, server):
            assert end.latency == 0.0
            waiter = await end.ping()
            latency = await waiter
            assert isinstance(latency, float)
            assert latency >= 0
            assert end.latency == latency


async def test_pong_proves_that_what_was_sent_before_has_arrived() -> None:
    async with connected() as (client, server):
        await client.send("before")
        await (await client.ping())
        assert server.statistics.messages_received == 1
        assert await server.recv() == "before"


@pytest.mark.parametrize(
    ("data", "payload"),
    [
        ("caf\xe9", b"caf\xc3\xa9"),
        (b"\xff", b"\xff"),
        (bytearray(b"abc"), b"abc"),
        (memoryview(b"abc"), b"abc"),
        (b"", b""),
        (b"x" * 125, b"x" * 125),
    ],
)
async def test_payload_of_pings_and_pongs(data: Any, payload: bytes) -> None:
    async with raw_server() as (peer, client):
        waiter = await client.ping(data)
        assert await peer.read_frame() == Frame(PING, payload)
        await peer.send(Frame(PONG, payload))
        await waiter
        await client.pong(data)
        assert await peer.read_frame() == Frame(PONG, payload)


async def test_pings_have_four_random_bytes() -> None:
    async with raw_server() as (peer, client):
        payloads = set()
        for _ in range(10):
            await client.ping()
            opcode, payload, *_ = await peer.read_frame()
            assert (opcode, len(payload)) == (PING, 4)
            payloads.add(payload)
        assert len(payloads) == 10


@pytest.mark.parametrize("data", [b"x" * 126, "\xe9" * 63])
async def test_payload_too_long_is_refused(data: Any) -> None:
    async with connected() as (client, _):
        with pytest.raises(ValueError, match="at most 125"):
            await client.ping(data)
        with pytest.raises(ValueError, match="at most 125"):
            await client.pong(data)
        await (await client.ping())


@pytest.mark.parametrize("data", [1, ["a"], 1.5], ids=repr)
async def test_payload_of_another_type_is_refused(data: Any) -> None:
    async with connected() as (client, _):
        with pytest.raises(TypeError):
            await client.ping(data)
        with pytest.raises(TypeError):
            await client.pong(data)
        await (await client.ping())


async def test_payload_that_is_under_way_is_refused() -> None:
    async with raw_server() as (peer, client):
        first = await client.ping(b"same")
        with pytest.raises(ValueError, match="waits for its pong already"):
            await client.ping(b"same")
        await peer.send(Frame(PONG, b"same"))
        await first
        second = await client.ping(b"same")
        await peer.send(Frame(PONG, b"same"))
        await second


async def test_too_many_pings_are_refused() -> None:
    async with raw_server(max_pings=3) as (peer, client):
        waiters = [await client.ping() for _ in range(3)]
        with pytest.raises(RuntimeError, match="3 pings wait"):
            await client.ping()
        for _ in range(3):
            _, payload, *_ = await peer.read_frame()
            await peer.send(Frame(PONG, payload))
        await asyncio.gather(*waiters)
        await client.ping()


async def test_pong_to_a_later_ping_answers_the_earlier_ones() -> None:
    async with raw_server() as (peer, client):
        waiters = [await client.ping(payload) for payload in (b"1", b"2", b"3")]
        await peer.send(Frame(PONG, b"2"))
        await asyncio.gather(*waiters[:2])
        await turns()
        assert not waiters[2].done()
        await peer.send(Frame(PONG, b"3"))
        await waiters[2]


async def test_cancelling_a_pong_waiter_has_no_effect() -> None:
    async with raw_server() as (peer, client):
        first, second = await client.ping(b"1"), await client.ping(b"2")
        first.cancel()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(second, 0.2)
        third = await client.ping(b"3")
        await peer.send(Frame(PONG, b"1"), Frame(PONG, b"2"), Frame(PONG, b"3"))
        await third
        assert client.state is State.OPEN


async def test_pong_waiter_ends_with_the_connection() -> None:
    async with raw_server() as (peer, client):
        waiters = [await client.ping() for _ in range(3)]
        # Nobody needs to look at this one.
        await client.ping()
        await peer.send(Frame(CLOSE, close_payload(1001)))
        for waiter in waiters:
            with pytest.raises(ConnectionClosedOK):
                await waiter
    async with raw_server() as (peer, client):
        waiter = await client.ping()
        peer.reset()
        with pytest.raises(ConnectionClosedError) as raised:
            await waiter
        assert raised.value.code == 1006


async def test_pong_waiter_of_a_connection_that_is_closed_by_this_side() -> None:
    async with connected() as (client, _server):
        # The pong is still given: it comes before the answer to the close frame.
        waiter = await client.ping()
        await client.close()
        assert await waiter >= 0
        with pytest.raises(ConnectionClosedOK):
            await client.ping()
        with pytest.raises(ConnectionClosedOK):
            await client.pong()


async def test_pings_are_answered_while_messages_are_undelivered() -> None:
    async with connected() as (client, server):
        for number in range(20):
            await client.send(str(number))
        await (await client.ping())
        assert await server.recv() == "0"


async def test_unsolicited_pong_is_ignored() -> None:
    async with connected() as (client, server):
        await client.pong()
        await client.pong(b"heartbeat")
        await client.send("message")
        assert await server.recv() == "message"


async def test_only_the_latest_ping_of_a_read_is_answered() -> None:
    async with raw_server() as (peer, client):
        await peer.send(Frame(PING, b"1"), Frame(PING, b"2"), Frame(PING, b"3"))
        assert await peer.read_frame() == Frame(PONG, b"3")
        assert client.open


# Limits


@pytest.mark.parametrize("pieces", [1, 2, 20])
async def test_message_over_the_limit_fails_with_1009(pieces: int) -> None:
    async with connected(server={"max_size": 1000}) as (client, server):
        await client.send(b"x" * 1000)
        assert await server.recv() == b"x" * 1000
        part = b"x" * (1001 // pieces + 1)
        await client.send([part] * pieces if pieces > 1 else part)
        with pytest.raises(ConnectionClosedError) as raised:
            await server.recv()
        assert raised.value.sent is not None
        assert raised.value.sent.code == 1009
        with pytest.raises(ConnectionClosedError) as raised:
            await client.recv()
        assert raised.value.code == 1009
        assert "1000 bytes" in raised.value.reason


async def test_fragment_over_the_limit_fails_with_1009() -> None:
    async with connected(server={"max_size": (1000, 10)}) as (client, server):
        await client.send([b"x" * 10] * 100)
        assert await server.recv() == b"x" * 1000
        await client.send([b"x" * 10, b"x" * 11])
        with pytest.raises(ConnectionClosedError):
            await server.recv()
        with pytest.raises(ConnectionClosedError) as raised:
            await client.recv()
        assert raised.value.code == 1009


async def test_too_many_fragments_fail_with_1009() -> None:
    async with connected(server={"max_fragments": 4}) as (client, server):
        await client.send([b""] * 3)
        assert await server.recv() == b""
        await client.send([b""] * 4)
        with pytest.raises(ConnectionClosedError) as raised:
            await client.recv()
        assert raised.value.code == 1009


async def test_no_limit() -> None:
    async with connected(server={"max_size": None}) as (client, server):
        sending = asyncio.create_task(client.send(b"x" * (2**20 + 1)))
        assert len(await server.recv()) == 2**20 + 1
        await sending


async def test_good_messages_before_an_error_are_delivered() -> None:
    async with serving(wait_closed) as (server, _), raw_client(server) as peer:
        (connection,) = server.connections
        await peer.send(Frame(TEXT, b"good"), Frame(TEXT, b"\xff"), Frame(TEXT, b"late"))
        *_, last = await peer.read_frames_to_end()
        assert last.payload[:2] == (1007).to_bytes(2, "big")
        assert await connection.recv() == "good"
        with pytest.raises(ConnectionClosedError) as raised:
            await connection.recv()
        assert raised.value.code == 1006
