"""When to stop reading and when to stop sending."""

from __future__ import annotations

from typing import Any

import pytest

from wsproto_core import Close, Fragment, Ping, Pong, Protocol, Side, State

from .helpers import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Clock,
    Frame,
    any_chunking,
    both_sides,
    close_payload,
    feed,
    from_peer,
    header_from_peer,
    one_by_one,
    opened,
    sent,
    written,
)


def fill(protocol: Protocol, limit: int = 1000) -> int:
    """Let messages of ten bytes come until reading stops; return how many there were."""
    message = from_peer(protocol, Frame(BINARY, b"x" * 10))
    count = 0
    while protocol.wants_read and count < limit:
        protocol.receive_data(message)
        count += 1
    return count


def drain(protocol: Protocol) -> int:
    """Take messages until reading goes on; return how many."""
    count = 0
    while not protocol.wants_read:
        assert protocol.next_message() is not None
        count += 1
    return count


# Reading


@both_sides
@pytest.mark.parametrize(
    ("max_queue", "stop", "take"),
    [(32, 32, 16), (1, 1, 1), (2, 2, 1), (3, 3, 2), ((10, 9), 10, 1), ((10, 0), 10, 10), ((10, None), 10, 5)],
)
def test_the_marks_for_the_number_of_messages(side: Side, max_queue: Any, stop: int, take: int) -> None:
    """Reading stops at the high mark, and resumes at the low one, by default half of it."""
    protocol = opened(side, max_queue=max_queue)
    assert fill(protocol) == stop
    assert protocol.undelivered == stop
    assert drain(protocol) == take
    assert fill(protocol) == take


@both_sides
@pytest.mark.parametrize(
    ("read_limit", "stop", "take"),
    [(740, 10, 5), (741, 11, 6), ((740, 739), 10, 1), ((740, 0), 10, 10), ((740, None), 10, 5)],
)
def test_the_marks_for_the_bytes_of_messages(side: Side, read_limit: Any, stop: int, take: int) -> None:
    """A message counts 64 bytes beyond its own."""
    protocol = opened(side, read_limit=read_limit)
    assert fill(protocol) == stop
    assert drain(protocol) == take
    assert fill(protocol) == take


@both_sides
def test_both_marks_must_be_reached_to_resume(side: Side) -> None:
    protocol = opened(side, max_queue=(4, 3), read_limit=(1000, 100))
    protocol.receive_data(from_peer(protocol, Frame(BINARY, b"x" * 900), *[Frame(BINARY)] * 3))
    assert not protocol.wants_read
    assert protocol.next_message() == b"x" * 900
    # Three messages are few enough, but not small enough.
    assert not protocol.wants_read
    protocol.next_message()
    assert not protocol.wants_read
    protocol.next_message()
    assert protocol.wants_read


@both_sides
@pytest.mark.parametrize("marks", [None, (None, None), (None, 5)])
def test_no_marks(side: Side, marks: Any) -> None:
    protocol = opened(side, max_queue=marks, read_limit=marks)
    assert fill(protocol, 2000) == 2000


@both_sides
def test_the_default_marks(side: Side) -> None:
    assert fill(opened(side)) == 32
    protocol = opened(side, max_queue=None)
    assert fill(protocol) == 886  # 64 KiB / 74
    assert drain(protocol) == 444


@any_chunking
@both_sides
def test_all_frames_of_a_read_are_parsed(side: Side, chunking: Any) -> None:
    """Nothing waits unparsed behind the mark: control frames have their effect, messages their order."""
    protocol = opened(side, max_queue=2)
    frames = [Frame(TEXT, b"%d" % number) for number in range(10)]
    for chunk in chunking(from_peer(protocol, *frames, Frame(PING, b"p"))):
        protocol.receive_data(chunk)
    assert not protocol.wants_read
    assert sent(protocol) == [Frame(PONG, b"p")]
    assert protocol.events(messages=False) == [Ping(b"p")]
    assert [protocol.next_message() for _ in range(11)] == [*map(str, range(10)), None]


@both_sides
def test_control_frames_do_not_count(side: Side) -> None:
    protocol = opened(side, max_queue=1, read_limit=1)
    protocol.receive_data(from_peer(protocol, *[Frame(PING, b"x" * 125), Frame(PONG, b"x" * 125)] * 100))
    assert protocol.wants_read


@both_sides
def test_a_message_under_construction_does_not_count(side: Side) -> None:
    """It is bounded by max_size, and nobody could take it."""
    protocol = opened(side, read_limit=1000)
    protocol.receive_data(from_peer(protocol, Frame(BINARY, b"x" * 5000, fin=False)))
    assert protocol.wants_read
    protocol.receive_data(from_peer(protocol, Frame(CONTINUATION)))
    assert not protocol.wants_read


@both_sides
def test_events_take_messages(side: Side) -> None:
    protocol = opened(side, max_queue=2)
    protocol.receive_data(from_peer(protocol, *[Frame(TEXT, b"x")] * 2))
    assert protocol.events(messages=False) == []
    assert not protocol.wants_read
    assert protocol.events() == ["x", "x"]
    assert protocol.wants_read


# Reading without a limit on messages: a message under construction stops at the mark


def begun(side: Side) -> Protocol:
    """A connection that has begun to receive a long message which nobody asks for."""
    protocol = opened(side, max_size=None, read_limit=1000)
    protocol.receive_data(from_peer(protocol, Frame(BINARY, b"x" * 999, fin=False)))
    assert protocol.wants_read
    protocol.receive_data(from_peer(protocol, Frame(CONTINUATION, b"y", fin=False)))
    assert not protocol.wants_read
    return protocol


@both_sides
def test_a_message_without_a_limit_stops_at_the_mark(side: Side) -> None:
    begun(side)


@both_sides
@pytest.mark.parametrize("ask", [Protocol.next_message, Protocol.events])
def test_who_asks_for_the_message_gets_all_of_it(side: Side, ask: Any) -> None:
    protocol = begun(side)
    assert not ask(protocol)
    assert protocol.wants_read
    protocol.receive_data(from_peer(protocol, *[Frame(CONTINUATION, b"z" * 1000, fin=False)] * 10))
    assert protocol.wants_read
    protocol.receive_data(from_peer(protocol, Frame(CONTINUATION)))
    assert not protocol.wants_read
    assert protocol.next_message() == b"x" * 999 + b"y" + b"z" * 10_000
    assert protocol.wants_read
    # The next one is asked for anew.
    protocol.receive_data(from_peer(protocol, Frame(BINARY, b"x" * 1000, fin=False)))
    assert not protocol.wants_read


@both_sides
def test_who_asks_for_pieces_gets_them(side: Side) -> None:
    protocol = begun(side)
    for _ in range(10):
        fragment = protocol.next_fragment()
        assert fragment is not None
        assert len(fragment.data) == 1000
        assert not fragment.final
        assert protocol.wants_read
        protocol.receive_data(from_peer(protocol, Frame(CONTINUATION, b"z" * 1000, fin=False)))
        assert not protocol.wants_read


@both_sides
def test_the_pong_deadline_stands_still_at_a_message_without_a_limit(side: Side) -> None:
    protocol = begun(side)
    assert protocol.deadline() == 1020


# Reading after our close frame


@both_sides
def test_reading_goes_on_when_we_close(side: Side) -> None:
    """The peer's close frame has to be reached, behind messages for which there is no room."""
    protocol = opened(side, max_queue=2)
    fill(protocol)
    protocol.close()
    assert protocol.wants_read
    protocol.receive_data(from_peer(protocol, *[Frame(TEXT, b"dropped")] * 1000))
    assert protocol.wants_read
    assert protocol.undelivered == 2
    protocol.receive_data(from_peer(protocol, Frame(CLOSE, close_payload(1000))))
    assert protocol.events() == [b"x" * 10, b"x" * 10, Close(1000)]


@both_sides
@pytest.mark.parametrize("at_once", [True, False])
def test_messages_are_queued_while_there_is_room(side: Side, at_once: bool) -> None:
    protocol = opened(side, max_queue=3, read_limit=1000)
    protocol.receive_data(from_peer(protocol, Frame(TEXT, b"0")))
    protocol.close()
    frames = [Frame(TEXT, b"%d" % number) for number in range(1, 10)]
    data = from_peer(protocol, *frames, Frame(CLOSE, close_payload(1000)))
    for chunk in [data] if at_once else one_by_one(data):
        protocol.receive_data(chunk)
    assert protocol.events() == ["0", "1", "2", Close(1000)]


@both_sides
def test_room_by_bytes(side: Side) -> None:
    protocol = opened(side, read_limit=1000)
    protocol.close()
    frames = [Frame(TEXT, b"x" * 300), Frame(TEXT, b"y" * 300), Frame(TEXT, b"z" * 300)]
    assert feed(protocol, from_peer(protocol, *frames)) == ["x" * 300, "y" * 300]


@both_sides
def test_messages_from_before_the_close_are_not_dropped(side: Side) -> None:
    protocol = opened(side, max_queue=2)
    protocol.receive_data(from_peer(protocol, *[Frame(TEXT, b"kept")] * 10))
    protocol.close()
    protocol.receive_data(from_peer(protocol, Frame(TEXT, b"dropped")))
    assert protocol.events() == ["kept"] * 10


@both_sides
def test_there_are_no_gaps(side: Side) -> None:
    """After a message that is dropped, no later one is delivered, even if there were room again."""
    protocol = opened(side, read_limit=1000)
    protocol.close()
    assert feed(protocol, from_peer(protocol, Frame(TEXT, b"x" * 2000))) == []
    assert feed(protocol, from_peer(protocol, Frame(TEXT, b"small"))) == []
    protocol.receive_data(from_peer(protocol, Frame(TEXT, b"small", fin=False)))
    assert feed(protocol, from_peer(protocol, Frame(CONTINUATION), Frame(TEXT, b"small"))) == []
    assert feed(protocol, from_peer(protocol, Frame(CLOSE))) == [Close(1005)]


@both_sides
def test_a_message_under_construction_is_dropped_too(side: Side) -> None:
    """But still checked."""
    for max_size in (None, 2**20):
        protocol = opened(side, read_limit=1000, max_size=max_size)
        protocol.close()
        if max_size is not None:
            # Asking for pieces bounds it by the mark.
            assert protocol.next_fragment() is None
        protocol.receive_data(from_peer(protocol, Frame(TEXT, b"x" * 600, fin=False)))
        protocol.receive_data(from_peer(protocol, Frame(CONTINUATION, b"x" * 600, fin=False)))
        protocol.receive_data(from_peer(protocol, Frame(CONTINUATION, b"x" * 600)))
        assert protocol.next_fragment() is None
        assert protocol.receiving
        protocol.receive_data(from_peer(protocol, Frame(TEXT, b"\xff", fin=False)))
        assert not protocol.receiving


@both_sides
def test_the_message_under_construction_is_dropped_before_those_that_are_complete(side: Side) -> None:
    protocol = opened(side, read_limit=1000)
    assert protocol.next_fragment() is None
    protocol.close()
    complete, begun = Frame(TEXT, b"x" * 600), Frame(TEXT, b"x" * 600, fin=False)
    protocol.receive_data(from_peer(protocol, complete, begun))
    assert protocol.next_fragment() == Fragment("x" * 600, True)
    protocol.receive_data(from_peer(protocol, Frame(CONTINUATION), Frame(TEXT, b"small"), Frame(CLOSE)))
    assert protocol.next_fragment() is None
    assert protocol.events() == [Close(1005)]


@both_sides
def test_a_message_that_was_begun_before_the_close_is_delivered(side: Side) -> None:
    protocol = opened(side)
    protocol.receive_data(from_peer(protocol, Frame(TEXT, b"a", fin=False)))
    protocol.close()
    assert feed(protocol, from_peer(protocol, Frame(CONTINUATION, b"b"))) == ["ab"]


@both_sides
def test_reading_goes_on_when_the_connection_fails(side: Side) -> None:
    protocol = opened(side, max_queue=1)
    fill(protocol)
    protocol.fail(OSError())
    assert protocol.wants_read
    protocol.next_message()
    assert protocol.wants_read


# Sending


@both_sides
@pytest.mark.parametrize(
    ("write_limit", "low"), [(1000, 250), ((1000, 999), 999), ((1000, 0), 0), ((1000, None), 250)]
)
def test_the_marks_for_sending(side: Side, write_limit: Any, low: int) -> None:
    """Above the high mark sending stops, until what has not been written is down to the low one."""
    protocol = opened(side, write_limit=write_limit)
    overhead = 6 if side is Side.CLIENT else 2
    protocol.send(b"x" * (100 - overhead))
    for _ in range(9):
        assert protocol.writable
        protocol.send(b"x" * (100 - overhead))
    assert protocol.queued == 1000
    assert protocol.writable
    protocol.ping(b"")
    assert protocol.queued == 1000 + overhead
    assert not protocol.writable
    data = protocol.data_to_send()
    total = sum(map(len, data))
    assert (protocol.queued, protocol.unwritten) == (0, total)
    assert not protocol.writable
    protocol.data_sent(total - low - 1)
    assert protocol.unwritten == low + 1
    assert not protocol.writable
    protocol.data_sent(1)
    assert protocol.writable
    assert protocol.unwritten == low


@both_sides
def test_what_is_queued_meanwhile_counts(side: Side) -> None:
    protocol = opened(side, write_limit=1000)
    protocol.send(b"x" * 1000)
    protocol.data_to_send()
    # It is the embedder who waits; what is given nevertheless is accepted.
    protocol.send(b"y" * 1000)
    protocol.data_sent()
    assert not protocol.writable
    assert len(sent(protocol)) == 1
    assert protocol.writable


@both_sides
def test_a_single_large_message(side: Side) -> None:
    protocol = opened(side)
    protocol.send(b"x" * 2**17)
    assert not protocol.writable
    written(protocol)
    assert protocol.writable


@both_sides
def test_more_is_written_than_was_handed_out(side: Side) -> None:
    """A count that cannot be is taken for all."""
    protocol = opened(side)
    protocol.send("x")
    protocol.data_to_send()
    protocol.data_sent(10**6)
    assert protocol.unwritten == 0
    protocol.data_sent(1)
    protocol.data_sent()
    assert protocol.unwritten == 0


@both_sides
def test_what_is_written_at_once(side: Side) -> None:
    """It counts as written when it is handed out; what could not be written is told."""
    clock = Clock()
    protocol = opened(side, clock, write_limit=1000, ping_interval=20, ping_timeout=5)
    protocol.send(b"x" * 100)
    (data,) = protocol.send_queue.take(True)
    assert len(data) >= 100
    assert protocol.unwritten == 0
    assert protocol.deadline() == clock.now + 20
    protocol.send_queue.not_written(60)
    assert protocol.unwritten == 60
    assert protocol.deadline() == clock.now + 5
    protocol.data_sent(60)
    assert protocol.deadline() == clock.now + 20
    # Writing is timed: it has to be told that it is done.
    protocol.send(b"x" * 2000)
    (data,) = protocol.send_queue.take(True)
    assert protocol.unwritten == len(data)
    assert not protocol.writable
    protocol.data_sent()
    assert protocol.writable
    clock.advance(20)
    protocol.handle_timeout()
    (data,) = protocol.send_queue.take(True)
    assert protocol.unwritten == len(data)
    clock.advance(4)
    protocol.data_sent()
    assert protocol.unwritten == 0
    assert protocol.deadline() == clock.now + 5


@both_sides
def test_no_marks_for_sending(side: Side) -> None:
    protocol = opened(side, write_limit=None)
    protocol.send(b"x" * 2**20)
    assert protocol.writable


@both_sides
def test_the_opening_handshake_does_not_count(side: Side) -> None:
    protocol = opened(side, write_limit=1)
    assert protocol.writable
    assert protocol.state is State.OPEN


@both_sides
def test_pongs_do_not_pile_up(side: Side) -> None:
    protocol = opened(side, write_limit=100)
    for number in range(100):
        protocol.receive_data(from_peer(protocol, Frame(PING, b"%d" % number)))
    assert protocol.writable
    assert protocol.queued == 0
    assert protocol.events()[-1] == Ping(b"99")
    assert Pong(b"") not in protocol.events()


@both_sides
def test_a_header_alone_does_not_stop_reading(side: Side) -> None:
    protocol = opened(side, max_size=None, read_limit=1000)
    protocol.receive_data(header_from_peer(protocol, BINARY, 2**40))
    assert protocol.wants_read
