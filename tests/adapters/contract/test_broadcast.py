"""One message on many connections: which connections get it, and no wait for slow ones."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.adapters.runtimes import Cancelled, Runtime
from tests.adapters.runtimes.base import QUIET
from tests.adapters.runtimes.peers import RawClient
from tests.core.helpers import CLOSE, CONTINUATION, TEXT, Frame, close_payload
from wsproto_core import ConnectionClosed, State
from wsproto_core.extensions.permessage_deflate import ClientPerMessageDeflateFactory

pytestmark = pytest.mark.needs("features")
needs_sockets = pytest.mark.needs("sockets")

MESSAGE = "one for all " * 20


@contextlib.asynccontextmanager
async def audience(
    runtime: Runtime, *clients: dict[str, Any], tls: bool = False, **options: Any
) -> AsyncIterator[tuple[list[Any], list[Any]]]:
    """The server's ends of some connections, and the clients'."""
    accepted: list[Any] = []
    finish = runtime.event()

    async def handler(websocket: Any) -> None:
        accepted.append(websocket)
        await finish.wait()

    async with (
        runtime.serving(handler, **{**QUIET, **options, **runtime.server_tls(tls)}) as (_, uri),
        contextlib.AsyncExitStack() as stack,
    ):
        ends = []
        for count, each in enumerate(clients, 1):
            client = runtime.connect(uri, **{**QUIET, **each, **runtime.client_tls(tls)})
            ends.append(await stack.enter_async_context(client))
            await runtime.until(lambda count=count: len(accepted) == count)
        try:
            yield accepted, ends
        finally:
            finish.set()


@contextlib.asynccontextmanager
async def with_a_slow_one(
    runtime: Runtime, *, tls: bool = False, **options: Any
) -> AsyncIterator[tuple[list[Any], Any, RawClient]]:
    """The server's ends, of which the first is a client's that does not read; another client; that one."""
    accepted: list[Any] = []
    finish = runtime.event()

    async def handler(websocket: Any) -> None:
        accepted.append(websocket)
        await finish.wait()

    options = {**QUIET, "write_limit": 2**14, **options, **runtime.server_tls(tls)}
    async with (
        runtime.serving(handler, **options) as (server, uri),
        runtime.raw_client(server, small_buffers=True, tls=tls) as slow,
    ):
        await runtime.until(lambda: accepted)
        async with runtime.connect(
            uri, **QUIET, max_queue=None, read_limit=None, **runtime.client_tls(tls)
        ) as fast:
            await runtime.until(lambda: len(accepted) == 2)
            try:
                yield accepted, fast, slow
            finally:
                finish.set()
                slow.close()


LARGE = "x" * 2**14


async def until_skipped(runtime: Runtime, connections: list[Any]) -> int:
    """Broadcast until the first one has no room; return how many messages have gone to it."""
    slow, fast = connections
    count = -1
    skipped = False
    while not skipped:
        count += 1
        await runtime.settle(0.01)
        await runtime.until(lambda: fast.protocol.writable)
        skipped = bool(runtime.broadcast([slow], LARGE).skipped)
        assert not runtime.broadcast([fast], LARGE).skipped
    await runtime.until(lambda: fast.protocol.writable)
    return count


# Everybody


@pytest.mark.parametrize("message", [MESSAGE, MESSAGE.encode(), "", b"", bytearray(b"x" * 100_000)])
async def test_everybody_gets_it(runtime: Runtime, message: Any) -> None:
    async with audience(runtime, {}, {}, {}) as (servers, clients):
        result = runtime.broadcast(servers, message)
        assert not result.skipped
        for client in clients:
            received = await client.recv()
            assert received == message
            assert type(received) is (str if isinstance(message, str) else bytes)


@pytest.mark.parametrize("tls", [pytest.param(True, marks=needs_sockets), False])
async def test_order_is_kept(runtime: Runtime, tls: bool) -> None:
    async with audience(runtime, {}, {}, tls=tls) as (servers, clients):
        for number in range(20):
            await servers[0].send(f"before {number}")
            runtime.broadcast(servers, f"all {number}")
        await servers[0].send("last")
        expected = [f"{what} {number}" for number in range(20) for what in ("before", "all")]
        assert [await clients[0].recv() for _ in range(41)] == [*expected, "last"]
        assert [await clients[1].recv() for _ in range(20)] == [f"all {number}" for number in range(20)]


async def test_large_messages(runtime: Runtime) -> None:
    large = "y" * 2**20
    options: dict[str, Any] = {"max_size": None}
    async with audience(runtime, options, options, write_limit=None) as (servers, clients):
        runtime.broadcast(servers, large)
        for client in clients:
            assert await client.recv() == large


@pytest.mark.parametrize(
    "clients",
    [
        [{"compression": "deflate"}] * 3,
        [{"compression": "deflate"}, {}, {"compression": "deflate"}, {}],
        [
            {"extensions": [ClientPerMessageDeflateFactory(server_max_window_bits=bits)]}
            for bits in (9, 12, 15, 9)
        ],
        [
            {"extensions": [ClientPerMessageDeflateFactory(server_no_context_takeover=True)]},
            {"compression": "deflate"},
        ],
    ],
    ids=["compressed", "mixed", "windows", "no context takeover"],
)
async def test_compression(runtime: Runtime, clients: list[dict[str, Any]]) -> None:
    async with audience(runtime, *clients, compression="deflate") as (servers, ends):
        for number in range(5):
            # Their compressors have seen different things, and go on doing so.
            for index, server in enumerate(servers):
                await server.send(f"{index} {number} {MESSAGE}")
            runtime.broadcast(servers, f"all {number} {MESSAGE}")
        for index, client in enumerate(ends):
            for number in range(5):
                assert await client.recv() == f"{index} {number} {MESSAGE}"
                assert await client.recv() == f"all {number} {MESSAGE}"
        for server, client in zip(servers, ends, strict=True):
            sent, received = server.statistics, client.statistics
            assert sent.messages_sent == received.messages_received == 10
            assert (sent.bytes_sent < 10 * len(MESSAGE)) is bool(client.extensions)


async def test_what_a_connection_sends_after_compressed_ones(runtime: Runtime) -> None:
    """It must not refer to what came before them."""
    compressed: dict[str, Any] = {"compression": "deflate"}
    own, short, long = "z" * 1000, "x" * 10, "y" * 1000
    async with audience(runtime, compressed, compressed, **compressed) as (servers, clients):
        for server in servers:
            await server.send(own)
        for message in (short, short, long):
            runtime.broadcast(servers, message)
        for server in servers:
            await server.send(own)
        for client in clients:
            expected = [own, short, short, long, own]
            assert [await client.recv() for _ in expected] == expected


async def test_clients_broadcast_too(runtime: Runtime) -> None:
    """Their frames are masked, each by a key of its own."""
    async with audience(runtime, {}, {"compression": "deflate"}, compression="deflate") as (servers, clients):
        for _ in range(2):
            assert not runtime.broadcast(clients, MESSAGE).skipped
            for server in servers:
                assert await server.recv() == MESSAGE


async def test_nobody(runtime: Runtime) -> None:
    for policy in ("skip", "close"):
        assert not runtime.broadcast([], "message", policy).skipped
    await runtime.broadcast_to_all([], "message")


async def test_from_a_handler(runtime: Runtime) -> None:
    """A chat: everything that anybody says goes to everybody."""
    present: list[Any] = []

    async def chat(websocket: Any) -> None:
        present.append(websocket)
        async for message in websocket:
            runtime.broadcast(present, message)

    async with (
        runtime.serving(chat) as (_, uri),
        runtime.connect(uri, compression=None) as first,
        runtime.connect(uri, compression=None) as second,
    ):
        await runtime.until(lambda: len(present) == 2)
        for sender in (first, second):
            await sender.send("hello")
            assert await first.recv() == "hello"
            assert await second.recv() == "hello"


# Who is not open


async def test_closed_ones_are_passed_over(runtime: Runtime) -> None:
    async with audience(runtime, {}, {}, {}) as (servers, clients):
        await clients[0].close()
        await runtime.until(lambda: servers[0].state is State.CLOSED)
        servers[1].protocol.close(1000)
        assert servers[1].state is State.CLOSING
        for policy in ("skip", "close"):
            assert not runtime.broadcast(servers, policy, policy).skipped
        await runtime.broadcast_to_all(servers, "wait")
        assert [await clients[2].recv() for _ in range(3)] == ["skip", "close", "wait"]


@needs_sockets
async def test_one_that_is_lost_disturbs_nobody(runtime: Runtime) -> None:
    async with with_a_slow_one(runtime) as (servers, fast, slow):
        slow.reset()
        for number in range(20):
            runtime.broadcast(servers, str(number))
            assert await fast.recv() == str(number)
            await runtime.settle(0.01)
        await runtime.until(lambda: servers[0].state is State.CLOSED)


# Who is slow


@needs_sockets
@pytest.mark.parametrize("tls", [False, True])
async def test_slow_one_is_skipped(runtime: Runtime, tls: bool) -> None:
    async with with_a_slow_one(runtime, tls=tls) as (servers, fast, slow):
        count = await until_skipped(runtime, servers)
        result = runtime.broadcast(servers, "not for all")
        assert list(map(runtime.native, result.skipped)) == [runtime.native(servers[0])]
        for _ in range(count + 1):
            assert await fast.recv() == LARGE
        assert await fast.recv() == "not for all"
        # It gets whole messages, and later ones again, when it has read.
        for _ in range(count):
            assert await slow.read_frame() == Frame(TEXT, LARGE.encode())
        await runtime.until(lambda: not runtime.broadcast(servers, "again").skipped)
        assert await slow.read_frame() == Frame(TEXT, b"again")


@needs_sockets
async def test_slow_one_is_closed(runtime: Runtime) -> None:
    async with with_a_slow_one(runtime) as (servers, fast, slow):
        count = await until_skipped(runtime, servers)
        result = runtime.broadcast(servers, "who is slow, goes", "close")
        assert not result.skipped
        assert servers[0].state is State.CLOSING
        for _ in range(count + 1):
            assert await fast.recv() == LARGE
        assert await fast.recv() == "who is slow, goes"
        for _ in range(count):
            assert (await slow.read_frame()).opcode == TEXT
        assert await slow.read_frame() == Frame(CLOSE, close_payload(1013, "too slow"))


@needs_sockets
@pytest.mark.parametrize("tls", [False, True])
async def test_slow_one_is_waited_for(runtime: Runtime, tls: bool) -> None:
    async with with_a_slow_one(runtime, tls=tls) as (servers, fast, slow):
        count = await until_skipped(runtime, servers)
        waiting = runtime.spawn(runtime.broadcast_to_all, servers, "for all")
        for _ in range(count + 1):
            assert await fast.recv() == LARGE
        # The others have it already.
        assert await fast.recv() == "for all"
        await runtime.settle()
        assert not waiting.done()
        for _ in range(count):
            assert await slow.read_frame() == Frame(TEXT, LARGE.encode())
        assert await slow.read_frame() == Frame(TEXT, b"for all")
        await waiting.result()


@needs_sockets
@pytest.mark.needs("coroutines")
async def test_slow_one_may_have_room_before_it_is_waited_for(runtime: Runtime) -> None:
    async with with_a_slow_one(runtime) as (servers, _, slow):
        count = await until_skipped(runtime, servers)
        result = runtime.broadcast(servers[:1], "for all", "wait")
        assert len(result.waiting) == 1
        for _ in range(count):
            await slow.read_frame()
        await runtime.until(lambda: servers[0].protocol.writable)
        await result
        assert not result.waiting
        assert await slow.read_frame() == Frame(TEXT, b"for all")


@needs_sockets
async def test_slow_one_that_is_lost_is_not_waited_for(runtime: Runtime) -> None:
    async with with_a_slow_one(runtime) as (servers, _, slow):
        await until_skipped(runtime, servers)
        waiting = runtime.spawn(runtime.broadcast_to_all, servers, "for all")
        await runtime.settle()
        slow.reset()
        await waiting.result()
        await runtime.until(lambda: servers[0].state is State.CLOSED)


@needs_sockets
@pytest.mark.needs("coroutines")
async def test_cancelling_the_waiting_takes_nothing_back(runtime: Runtime) -> None:
    async with with_a_slow_one(runtime) as (servers, fast, slow):
        count = await until_skipped(runtime, servers)
        waiting = runtime.spawn(runtime.broadcast_to_all, servers, "cancelled")
        await runtime.settle()
        waiting.cancel()
        with pytest.raises(Cancelled):
            await waiting.result()
        for _ in range(count + 1):
            assert await fast.recv() == LARGE
        assert await fast.recv() == "cancelled"
        for _ in range(count):
            assert await slow.read_frame() == Frame(TEXT, LARGE.encode())
        # It was not sent, nor will it be.
        await runtime.until(lambda: not runtime.broadcast(servers[:1], "next").skipped)
        assert await slow.read_frame() == Frame(TEXT, b"next")


@needs_sockets
async def test_send_that_waits_goes_first(runtime: Runtime) -> None:
    async with with_a_slow_one(runtime) as (servers, _, slow):
        count = await until_skipped(runtime, servers)
        sending = runtime.spawn(servers[0].send, "sent")
        await runtime.settle(0.1)
        waiting = runtime.spawn(runtime.broadcast_to_all, servers[:1], "broadcast")
        await runtime.settle(0.1)
        for _ in range(count):
            assert (await slow.read_frame()).payload == LARGE.encode()
        assert [(await slow.read_frame()).payload for _ in range(2)] == [b"sent", b"broadcast"]
        await sending.result()
        await waiting.result()


# Within a message in fragments


async def test_within_a_fragmented_message(runtime: Runtime) -> None:
    async with audience(runtime, {}, {}) as (servers, clients):
        go_on = runtime.event()
        sending = runtime.spawn(servers[0].send, runtime.fragments(go_on))
        await runtime.until(lambda: servers[0].statistics.frames_sent)
        for policy in ("skip", "close"):
            result = runtime.broadcast(servers, policy, policy)
            assert list(map(runtime.native, result.skipped)) == [runtime.native(servers[0])]
        waiting = runtime.spawn(runtime.broadcast_to_all, servers, "wait")
        assert [await clients[1].recv() for _ in range(3)] == ["skip", "close", "wait"]
        await runtime.settle()
        assert not waiting.done()
        go_on.set()
        await sending.result()
        await waiting.result()
        assert await clients[0].recv() == "ab"
        assert await clients[0].recv() == "wait"


@needs_sockets
async def test_frames_of_others_never_come_between_fragments(runtime: Runtime) -> None:
    async with runtime.serving(read_two) as (server, _), runtime.raw_client(server) as peer:
        await runtime.until(lambda: server.connections)
        (connection,) = server.connections
        go_on = runtime.event()
        sending = runtime.spawn(connection.send, runtime.fragments(go_on))
        assert await peer.read_frame() == Frame(TEXT, b"a", fin=False)
        runtime.broadcast([connection], "other")
        go_on.set()
        await sending.result()
        assert await peer.read_frame() == Frame(CONTINUATION, b"b", fin=False)
        assert await peer.read_frame() == Frame(CONTINUATION, b"")


async def read_two(websocket: Any) -> None:
    with contextlib.suppress(ConnectionClosed):
        await websocket.recv()


# Arguments


async def test_arguments_that_are_not_allowed(runtime: Runtime) -> None:
    async with audience(runtime, {}) as (servers, clients):
        with pytest.raises(ValueError, match="policy must be 'skip', 'close' or 'wait', not 'drop'"):
            runtime.broadcast(servers, "message", "drop")
        for message in (1, None, {"a": 1}, ["a"]):
            with pytest.raises(TypeError, match=r"str|bytes"):
                runtime.broadcast(servers, message)
        # Nothing of that was sent.
        runtime.broadcast(servers, "good")
        assert await clients[0].recv() == "good"


# Prepared messages


@pytest.mark.parametrize("compression", [None, "deflate"])
async def test_prepared_messages(runtime: Runtime, compression: str | None) -> None:
    prepare = runtime.adapter.prepare
    options = {"compression": compression}
    async with audience(runtime, options, options, **options) as (servers, clients):
        prepared = prepare(MESSAGE)
        for server, client in zip(servers, clients, strict=True):
            for _ in range(2):
                await server.send(prepared)
                await server.send("between")
                assert [await client.recv() for _ in range(2)] == [MESSAGE, "between"]
            # A client's own frames are encoded for it alone.
            await client.send(prepared)
            assert await server.recv() == MESSAGE
        runtime.broadcast(servers, prepared)
        assert [await client.recv() for client in clients] == [MESSAGE] * 2


async def test_kinds_of_prepared_messages(runtime: Runtime) -> None:
    prepare = runtime.adapter.prepare
    options = {"compression": "deflate"}
    async with audience(runtime, options, **options) as ((server,), (client,)):
        for prepared, expected in [
            (prepare("text"), "text"),
            (prepare(b"binary"), b"binary"),
            (prepare("text", text=False), b"text"),
            (prepare(b"binary", text=True), "binary"),
            (prepare("x" * 1000, compress=False), "x" * 1000),
            (prepare("x", compress=True), "x"),
        ]:
            await server.send(prepared)
            assert await client.recv() == expected
        altered = bytearray(b"before")
        prepared = prepare(altered)
        altered[:] = b"after!"
        await server.send(prepared)
        assert await client.recv() == b"before"


async def test_prepared_messages_are_sent_as_they_were_prepared(runtime: Runtime) -> None:
    prepare = runtime.adapter.prepare
    async with audience(runtime, {}) as ((server,), (client,)):
        for options in ({"text": False}, {"compress": True}):
            with pytest.raises(TypeError, match="sent as it was prepared"):
                await server.send(prepare("x"), **options)
        for message in (1, None, ["a"]):
            with pytest.raises(TypeError, match=r"."):
                prepare(message)
        with pytest.raises(UnicodeDecodeError):
            prepare(b"\xff", text=True)
        await server.send(prepare("good"))
        assert await client.recv() == "good"


async def test_prepared_messages_on_connections_that_are_closed(runtime: Runtime) -> None:
    async with audience(runtime, {}) as ((server,), (client,)):
        await client.close()
        with pytest.raises(ConnectionClosed):
            await server.send(runtime.adapter.prepare("late"))
