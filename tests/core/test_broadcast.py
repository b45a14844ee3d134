"""One message on many connections: where it goes at once, where it waits, and where it does not go."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

from wsproto_core import Protocol, ServerProtocol, Side, State, StreamAction
from wsproto_core.broadcast import Delivery, SlowPolicy, check_policy, deliver, not_written
from wsproto_core.prepared import PreparedMessage

from .helpers import (
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Clock,
    Frame,
    close_payload,
    from_peer,
    opened_client,
    opened_pair,
    opened_server,
    parse_frames,
    request,
    sent,
    written,
)

HELLO = PreparedMessage("hello")
FRAME = Frame(TEXT, b"hello")
LONG = "x" * 70_000

POLICIES: list[SlowPolicy] = ["skip", "close", "wait"]
every_policy = pytest.mark.parametrize("policy", POLICIES)


@pytest.fixture(params=[0, 2], ids=["first", "again"])
def server(request: pytest.FixtureRequest) -> ServerProtocol:
    """Of one that has had messages, and nothing else, less is looked at."""
    server = opened_server()
    for _ in range(request.param):
        deliver(server, HELLO)
    return server


def frames_of(buffers: list[bytes] | Delivery) -> list[Frame]:
    assert isinstance(buffers, list)
    return parse_frames(b"".join(buffers), masked=False)


# At once


@every_policy
def test_an_idle_connection(policy: SlowPolicy) -> None:
    servers = [opened_server() for _ in range(3)]
    deliveries = [deliver(server, HELLO, policy) for server in servers]
    assert [frames_of(delivery) for delivery in deliveries] == [[FRAME]] * 3
    assert deliveries[0] is deliveries[1] is deliveries[2]
    for server in servers:
        assert (server.queued, server.unwritten, server.writable) == (0, 0, True)
        assert server.data_to_send() == []


def test_compressed() -> None:
    offer = {"Sec_WebSocket_Extensions": "permessage-deflate"}
    message = PreparedMessage("hello " * 100)
    servers = [opened_server(request_headers=offer, compression="deflate") for _ in range(3)]
    plain = opened_server()
    deliveries = [deliver(server, message) for server in (*servers, plain, *servers, plain)]
    assert frames_of(deliveries[3]) == [Frame(TEXT, b"hello " * 100)]
    assert len(frames_of(deliveries[0])[0].payload) < 50
    assert all(delivery is deliveries[0] for delivery in (*deliveries[:3], *deliveries[4:7]))
    # Each connection goes on with a compressor that has seen nothing.
    own = []
    for server in (*servers, opened_server(request_headers=offer, compression="deflate")):
        server.send("hello " * 100)
        own += [sent(server)]
    assert own[0] == own[1] == own[2] == own[3]


def test_what_follows_refers_to_nothing_that_the_peer_does_not_have() -> None:
    client, server = opened_pair({"compression": "deflate"}, {"compression": "deflate"})
    first, second = os.urandom(300).hex(), os.urandom(300).hex()
    for _ in range(2):
        server.send(first)
        client.receive_data(written(server))
        buffers = deliver(server, PreparedMessage(second))
        assert isinstance(buffers, list)
        client.receive_data(b"".join(buffers))
    assert [client.next_message() for _ in range(4)] == [first, second] * 2


def test_compressed_after_others_that_were_not() -> None:
    """What follows must not refer to what came before the one that was compressed."""
    client, server = opened_pair({"compression": "deflate"}, {"compression": "deflate"})
    own, short, long = "z" * 1000, PreparedMessage("x" * 10), PreparedMessage("y" * 1000)
    server.send(own)
    client.receive_data(written(server))
    _, other = opened_pair({"compression": "deflate"}, {"compression": "deflate"})
    for message in (short, short, long):
        deliver(other, message)
        delivery = deliver(server, message)
        assert isinstance(delivery, list)
        client.receive_data(b"".join(delivery))
    server.send(own)
    client.receive_data(written(server))
    expected = [own, short.message, short.message, long.message, own]
    assert [client.next_message() for _ in expected] == expected


def test_one_that_is_not_compressed_after_one_that_was() -> None:
    """The compressor still has to start anew: the peer has in its window what the compressor has not."""
    for slow in False, True:
        client, server = opened_pair({"compression": "deflate"}, {"compression": "deflate"})
        own, short, long = "z" * 1000, PreparedMessage("x" * 10), PreparedMessage("y" * 1000)
        server.send(own)
        client.receive_data(written(server))
        for message in (long, short):
            if slow:
                server.pong()  # so that it takes the longer way each time
                client.receive_data(written(server))
            delivery = deliver(server, message)
            assert isinstance(delivery, list)
            client.receive_data(b"".join(delivery))
        server.send(own)
        client.receive_data(written(server))
        expected = [own, long.message, short.message, own]
        assert [client.next_message() for _ in expected] == expected


def test_what_is_counted() -> None:
    server = opened_server()
    before = server.statistics
    server.send("one")
    written(server)
    deliver(server, HELLO)
    deliver(server, HELLO)
    after = server.statistics
    assert after.messages_sent == before.messages_sent + 3
    assert after.frames_sent == before.frames_sent + 3
    assert after.bytes_sent == before.bytes_sent + 5 + 7 + 7


def test_what_could_not_be_written() -> None:
    clock = Clock()
    server = opened_server(clock, ping_interval=None, ping_timeout=5)
    assert server.deadline() is None
    (_, payload) = buffers = deliver(server, PreparedMessage(LONG))
    assert isinstance(buffers, list)
    not_written(server, len(payload))
    assert server.unwritten == len(LONG)
    assert not server.writable
    # From now on, writing has a deadline.
    assert server.deadline() == clock.now + 5
    assert deliver(server, HELLO) is Delivery.SKIPPED
    server.data_sent(60_000)
    assert server.writable
    assert deliver(server, HELLO) is Delivery.QUEUED
    server.data_sent()
    assert server.deadline() is None
    assert sent(server) == [FRAME]
    assert isinstance(deliver(server, HELLO), list)


def test_a_little_that_could_not_be_written(server: ServerProtocol) -> None:
    deliver(server, HELLO)
    not_written(server, 3)
    assert server.unwritten == 3
    assert server.writable
    assert deliver(server, HELLO) is Delivery.QUEUED
    server.data_sent(3)
    assert sent(server) == [FRAME]


# Behind what is on its way


def pinged(server: ServerProtocol) -> None:
    server.receive_data(from_peer(server, Frame(PING, b"x")))


BEFORE: list[tuple[Callable[[ServerProtocol], object], list[Frame]]] = [
    (lambda server: server.send("before"), [Frame(TEXT, b"before")]),
    (lambda server: server.ping(b"before"), [Frame(PING, b"before")]),
    (lambda server: server.pong(b"before"), [Frame(PONG, b"before")]),
    (pinged, [Frame(PONG, b"x")]),
]


@every_policy
@pytest.mark.parametrize(("before", "frames"), BEFORE)
def test_nothing_is_overtaken(
    server: ServerProtocol,
    before: Callable[[ServerProtocol], object],
    frames: list[Frame],
    policy: SlowPolicy,
) -> None:
    before(server)
    assert deliver(server, HELLO, policy) is Delivery.QUEUED
    assert deliver(server, HELLO, policy) is Delivery.QUEUED
    server.send("after")
    assert sent(server) == [*frames, FRAME, FRAME, Frame(TEXT, b"after")]


@every_policy
def test_what_was_handed_out_and_not_written(server: ServerProtocol, policy: SlowPolicy) -> None:
    server.send("before")
    server.data_to_send()
    assert deliver(server, HELLO, policy) is Delivery.QUEUED
    server.data_sent()
    assert sent(server) == [FRAME]


def test_the_response_to_the_opening_handshake() -> None:
    server = ServerProtocol(clock=Clock(), compression=None)
    server.receive_data(request())
    server.accept()
    assert deliver(server, HELLO) is Delivery.QUEUED
    head, _, rest = written(server).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 ")
    assert parse_frames(rest, masked=False) == [FRAME]


def test_clients() -> None:
    """They mask, and so have nothing that could be shared."""
    client = opened_client()
    before = client.statistics
    for _ in range(2):
        assert deliver(client, HELLO) is Delivery.QUEUED
    assert sent(client) == [FRAME, FRAME]
    assert client.statistics.messages_sent == before.messages_sent + 2


# No room


def stalled(**options: Any) -> ServerProtocol:
    server = opened_server(**options)
    server.send(LONG)
    server.data_to_send()
    assert not server.writable
    return server


def test_a_slow_connection_is_skipped() -> None:
    server = stalled()
    assert deliver(server, HELLO) is Delivery.SKIPPED
    assert deliver(server, HELLO, "skip") is Delivery.SKIPPED
    server.data_sent()
    assert written(server) == b""
    assert server.state is State.OPEN


def test_a_slow_connection_is_closed() -> None:
    server = stalled()
    assert deliver(server, HELLO, "close") is Delivery.CLOSING
    assert server.state is State.CLOSING
    assert deliver(server, HELLO, "close") is Delivery.CLOSED
    server.data_sent()
    assert sent(server) == [Frame(CLOSE, close_payload(1013, "too slow"))]
    assert server.close_exception().sent is not None


def test_a_slow_connection_that_never_reads_is_aborted() -> None:
    clock = Clock()
    server = stalled(clock=clock, close_timeout=1)
    deliver(server, HELLO, "close")
    for _ in range(4):
        clock.advance(1)
        server.handle_timeout()
    assert server.stream_action is StreamAction.ABORT


def test_a_slow_connection_is_waited_for() -> None:
    server = stalled()
    assert deliver(server, HELLO, "wait") is Delivery.WAITING
    server.data_sent()
    assert written(server) == b""
    server.send(HELLO)
    assert sent(server) == [FRAME]


@pytest.mark.parametrize(
    ("policy", "delivery"),
    [("skip", Delivery.SKIPPED), ("close", Delivery.SKIPPED), ("wait", Delivery.WAITING)],
)
def test_within_a_fragmented_message(server: ServerProtocol, policy: SlowPolicy, delivery: Delivery) -> None:
    """It is no sign of slowness."""
    server.send("one", fin=False)
    assert deliver(server, HELLO, policy) is delivery
    written(server)
    assert deliver(server, HELLO, policy) is delivery
    server.send("two")
    assert sent(server) == [Frame(CONTINUATION, b"two")]
    assert frames_of(deliver(server, HELLO, policy)) == [FRAME]


def test_a_slow_connection_within_a_fragmented_message() -> None:
    server = opened_server()
    server.send(LONG, fin=False)
    assert deliver(server, HELLO, "close") is Delivery.CLOSING


# Not open


def closing(server: Protocol) -> None:
    server.close()


def closed_by_peer(server: Protocol) -> None:
    server.receive_data(from_peer(server, Frame(CLOSE)))


def failed(server: Protocol) -> None:
    server.fail(OSError())


def ended(server: Protocol) -> None:
    server.receive_eof()


def lost(server: Protocol) -> None:
    server.connection_lost()


@every_policy
@pytest.mark.parametrize("close", [closing, closed_by_peer, failed, ended, lost])
def test_what_is_not_open_any_more(
    server: ServerProtocol, close: Callable[[Protocol], None], policy: SlowPolicy
) -> None:
    close(server)
    before = server.statistics
    assert deliver(server, HELLO, policy) is Delivery.CLOSED
    assert server.statistics == before
    assert all(frame.opcode == CLOSE for frame in sent(server))


@every_policy
def test_what_is_not_open_yet(policy: SlowPolicy) -> None:
    server = ServerProtocol(clock=Clock())
    assert deliver(server, HELLO, policy) is Delivery.CLOSED
    server.receive_data(request())
    assert deliver(server, HELLO, policy) is Delivery.CLOSED
    assert written(server) == b""


def test_row_36_a_slow_reader_delays_nobody_else() -> None:
    slow, others = stalled(), [opened_server() for _ in range(3)]
    for _ in range(1000):
        deliveries = [deliver(server, HELLO) for server in (others[0], slow, *others[1:])]
        assert deliveries[1] is Delivery.SKIPPED
        assert [frames_of(delivery) for delivery in (deliveries[0], *deliveries[2:])] == [[FRAME]] * 3
    assert slow.queued == 0


def test_without_a_handshake() -> None:
    protocol = Protocol(Side.SERVER, clock=Clock())
    assert frames_of(deliver(protocol, HELLO)) == [FRAME]


# The policy


@every_policy
def test_policies(policy: SlowPolicy) -> None:
    check_policy(policy)


@pytest.mark.parametrize("policy", ["drop", "", None, 1, "SKIP", ["skip"]])
def test_what_is_no_policy(policy: object) -> None:
    with pytest.raises(ValueError, match="policy must be 'skip', 'close' or 'wait', not "):
        check_policy(policy)
