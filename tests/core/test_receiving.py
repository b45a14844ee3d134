"""What is received: messages and control frames, in any chunking."""

from __future__ import annotations

import pytest

from wsproto_core import Failure, Ping, Pong, Side, State
from wsproto_core.exceptions import PayloadTooBig, ProtocolError

from .helpers import (
    BINARY,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Chunking,
    Clock,
    Frame,
    any_chunking,
    both_sides,
    check_failed,
    feed,
    from_peer,
    header_from_peer,
    opened,
    opened_client,
    opened_server,
    sent,
)


def test_bytes_from_a_server() -> None:
    """The examples of RFC 6455 section 5.7, as far as a client gets them."""
    client = opened_client()
    assert feed(client, b"\x81\x05Hello") == ["Hello"]
    assert feed(client, b"\x01\x03Hel\x80\x02lo") == ["Hello"]
    assert feed(client, b"\x89\x05Hello") == [Ping(b"Hello")]
    assert feed(client, b"\x82\x7e\x01\x00" + b"x" * 256) == [b"x" * 256]
    assert feed(client, b"\x82\x7f\0\0\0\0\0\1\0\0" + b"x" * 65536) == [b"x" * 65536]


def test_bytes_from_a_client() -> None:
    server = opened_server()
    assert feed(server, b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58") == ["Hello"]
    assert feed(server, b"\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58") == [Pong(b"Hello")]


@any_chunking
@both_sides
def test_messages(side: Side, chunking: Chunking) -> None:
    protocol = opened(side)
    frames = [
        Frame(TEXT, "grüße".encode()),
        Frame(TEXT),
        Frame(BINARY, b"\0\xff"),
        Frame(BINARY),
        Frame(TEXT, b"x" * 200),
        Frame(BINARY, b"x" * 70_000),
    ]
    messages = ["grüße", "", b"\0\xff", b"", "x" * 200, b"x" * 70_000]
    events = feed(protocol, from_peer(protocol, *frames), chunking)
    assert events == messages
    assert [type(event) for event in events] == [type(message) for message in messages]


@any_chunking
@both_sides
def test_fragments_and_what_comes_between(side: Side, chunking: Chunking) -> None:
    protocol = opened(side)
    frames = [
        Frame(TEXT, b"a", fin=False),
        Frame(PING, b"1"),
        Frame(CONTINUATION, fin=False),
        Frame(PONG, b"2"),
        Frame(CONTINUATION, b"b"),
        Frame(BINARY, fin=False),
        Frame(CONTINUATION, b"c"),
    ]
    assert feed(protocol, from_peer(protocol, *frames), chunking) == [Ping(b"1"), Pong(b"2"), "ab", b"c"]
    assert sent(protocol) == [Frame(PONG, b"1")]


@both_sides
def test_line_ends_are_kept(side: Side) -> None:
    protocol = opened(side)
    frames = [Frame(TEXT, b"a\r\nb\r", fin=False), Frame(CONTINUATION, b"\nc\n")]
    assert feed(protocol, from_peer(protocol, *frames)) == ["a\r\nb\r\nc\n"]


@both_sides
def test_bytes_like_data(side: Side) -> None:
    protocol = opened(side)
    data = bytearray(from_peer(protocol, Frame(BINARY, b"abc")))
    protocol.receive_data(memoryview(data)[:4])
    protocol.receive_data(data[4:])
    data[:] = bytes(len(data))  # what was received is not what happens to the buffer later
    assert protocol.events() == [b"abc"]


@both_sides
def test_no_bytes(side: Side) -> None:
    protocol = opened(side)
    assert feed(protocol, b"") == []
    data = from_peer(protocol, Frame(TEXT, b"abc"))
    assert [feed(protocol, part) for part in (data[:1], b"", data[1:4], b"", data[4:])][-1] == ["abc"]


@both_sides
def test_a_ping_is_answered(side: Side) -> None:
    protocol = opened(side)
    for payload in (b"", b"abc", b"x" * 125):
        assert feed(protocol, from_peer(protocol, Frame(PING, payload))) == [Ping(payload)]
        assert sent(protocol) == [Frame(PONG, payload)]
        assert sent(protocol) == []


@both_sides
def test_every_ping_is_answered_in_order(side: Side) -> None:
    """Peers may wait for the answer to each."""
    protocol = opened(side)
    feed(protocol, from_peer(protocol, *(Frame(PING, b"%d" % number) for number in range(5))))
    protocol.send("after")
    assert sent(protocol) == [*(Frame(PONG, b"%d" % number) for number in range(5)), Frame(TEXT, b"after")]


@both_sides
def test_only_the_latest_ping_is_answered_while_bytes_are_unwritten(side: Side) -> None:
    """RFC 6455 section 5.5.3 allows it; so a peer that does not read costs no memory."""
    protocol = opened(side)
    protocol.send("stuck")
    protocol.data_to_send()
    feed(protocol, from_peer(protocol, *(Frame(PING, b"%d" % number) for number in range(5))))
    protocol.data_sent()
    assert sent(protocol) == [Frame(PONG, b"4")]


@both_sides
def test_every_ping_of_a_long_read_is_answered(side: Side) -> None:
    """The answers take no more room than what was read, however much that was."""
    protocol = opened(side)
    feed(protocol, from_peer(protocol, *(Frame(PING, b"%d" % number) for number in range(20_000))))
    assert sent(protocol) == [Frame(PONG, b"%d" % number) for number in range(20_000)]


@both_sides
def test_pings_while_nobody_asks_for_the_answers(side: Side) -> None:
    """An embedder that reads and never writes keeps the answers to what was read last."""
    protocol = opened(side)
    pings = from_peer(protocol, *(Frame(PING, b"%05d" % number) for number in range(1000)))
    for _ in range(100):
        feed(protocol, pings)
    answers = sent(protocol)
    assert answers[-1000:] == [Frame(PONG, b"%05d" % number) for number in range(1000)]
    assert len(answers) < 20_000


@both_sides
def test_a_pong_tells_the_latency(side: Side) -> None:
    clock = Clock()
    protocol = opened(side, clock)
    assert protocol.latency == 0
    first = protocol.ping()
    clock.advance(0.5)
    second, third = protocol.ping(), protocol.ping()
    clock.advance(0.25)
    # One pong for two pings.
    assert feed(protocol, from_peer(protocol, Frame(PONG, second))) == [
        Pong(second, ((first, 0.75), (second, 0.25)))
    ]
    assert protocol.latency == 0.25
    assert feed(protocol, from_peer(protocol, Frame(PONG, first))) == [Pong(first)]
    assert protocol.latency == 0.25
    clock.advance(1)
    assert feed(protocol, from_peer(protocol, Frame(PONG, third))) == [Pong(third, ((third, 1.25),))]
    assert protocol.latency == 1.25


@any_chunking
@both_sides
def test_good_messages_come_before_a_failure(side: Side, chunking: Chunking) -> None:
    protocol = opened(side)
    data = from_peer(protocol, Frame(TEXT, b"1"), Frame(PING, b"2"), Frame(TEXT, b"3"), Frame(0x3))
    before = check_failed(protocol, feed(protocol, data, chunking), 1002, ProtocolError)
    assert before == ["1", Ping(b"2"), "3"]


@both_sides
def test_messages_that_are_not_taken_outlive_a_failure(side: Side) -> None:
    protocol = opened(side)
    protocol.receive_data(from_peer(protocol, Frame(TEXT, b"1"), Frame(TEXT, b"2"), Frame(0x3)))
    protocol.close()
    assert protocol.state is State.CLOSING
    assert protocol.undelivered == 2
    assert [protocol.next_message() for _ in range(3)] == ["1", "2", None]
    (failure,) = protocol.events()
    assert isinstance(failure, Failure)


@both_sides
def test_a_message_as_large_as_the_limit(side: Side) -> None:
    for frames in (
        [Frame(TEXT, b"x" * 1000)],
        [Frame(TEXT, b"x" * 600, fin=False), Frame(CONTINUATION, b"x" * 400)],
    ):
        protocol = opened(side, max_size=1000)
        assert feed(protocol, from_peer(protocol, *frames)) == ["x" * 1000]
        events = feed(protocol, header_from_peer(protocol, TEXT, 1001))
        check_failed(protocol, events, 1009, PayloadTooBig)


@both_sides
def test_the_limit_on_a_fragment(side: Side) -> None:
    fragments = [Frame(TEXT, b"x" * 10, fin=False), *[Frame(CONTINUATION, b"x" * 10, fin=False)] * 8]
    for max_size in ((100, 10), (None, 10)):
        protocol = opened(side, max_size=max_size)
        assert feed(protocol, from_peer(protocol, *fragments, Frame(CONTINUATION, b"x" * 10))) == ["x" * 100]
        events = feed(
            protocol, from_peer(protocol, *fragments) + header_from_peer(protocol, CONTINUATION, 11)
        )
        check_failed(protocol, events, 1009, PayloadTooBig)


@both_sides
@pytest.mark.parametrize("max_size", [None, (None, None)])
def test_no_limit(side: Side, max_size: None) -> None:
    protocol = opened(side, max_size=max_size)
    assert feed(protocol, from_peer(protocol, Frame(BINARY, b"x" * (2**20 + 1)))) == [b"x" * (2**20 + 1)]


@both_sides
def test_the_limit_is_no_limit_on_control_frames(side: Side) -> None:
    protocol = opened(side, max_size=10)
    assert feed(protocol, from_peer(protocol, Frame(PING, b"x" * 125))) == [Ping(b"x" * 125)]


@both_sides
def test_input_after_a_failure_is_counted_and_dropped(side: Side) -> None:
    protocol = opened(side)
    protocol.fail(OSError("our own"), 1011)
    before = protocol.statistics.bytes_received
    events = feed(protocol, from_peer(protocol, Frame(TEXT, b"x"), Frame(PING)))
    (failure,) = events
    assert isinstance(failure, Failure)
    assert not failure.remote
    assert protocol.statistics.bytes_received > before
    assert len(sent(protocol)) == 1
