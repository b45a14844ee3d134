"""Messages in pieces, as they arrive."""

from __future__ import annotations

import tracemalloc

import pytest

from wsproto_core import Close, ConcurrencyError, Failure, Fragment, Ping, Protocol, Side
from wsproto_core.exceptions import PayloadTooBig
from wsproto_core.statistics import Statistics

from .helpers import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    TEXT,
    Frame,
    both_sides,
    from_peer,
    header_from_peer,
    one_by_one,
    opened,
)


def fragments(protocol: Protocol) -> list[Fragment]:
    """Take all pieces that are there."""
    pieces = []
    while (piece := protocol.next_fragment()) is not None:
        pieces.append(piece)
    return pieces


@both_sides
def test_pieces_of_a_frame(side: Side) -> None:
    protocol = opened(side)
    assert protocol.next_fragment() is None
    data = from_peer(protocol, Frame(TEXT, b"abcdef"))
    start = len(data) - 6
    protocol.receive_data(data[:start])
    assert protocol.next_fragment() is None
    protocol.receive_data(data[start : start + 2])
    assert fragments(protocol) == [Fragment("ab", False)]
    protocol.receive_data(data[start + 2 : start + 3])
    protocol.receive_data(data[start + 3 : start + 5])
    assert fragments(protocol) == [Fragment("cde", False)]
    protocol.receive_data(data[start + 5 :])
    assert fragments(protocol) == [Fragment("f", True)]


@both_sides
def test_pieces_are_cut_where_bytes_arrive(side: Side) -> None:
    """The peer's fragments do not show."""
    protocol = opened(side)
    frames = [Frame(BINARY, b"ab", fin=False), Frame(CONTINUATION, b"cd", fin=False)]
    protocol.receive_data(from_peer(protocol, *frames, Frame(PING)))
    assert fragments(protocol) == [Fragment(b"abcd", False)]
    protocol.receive_data(from_peer(protocol, Frame(CONTINUATION)))
    assert fragments(protocol) == [Fragment(b"", True)]
    assert protocol.events() == [Ping(b"")]


@both_sides
def test_whole_messages(side: Side) -> None:
    protocol = opened(side)
    protocol.receive_data(from_peer(protocol, Frame(TEXT, b"a"), Frame(BINARY), Frame(TEXT, b"c")))
    assert fragments(protocol) == [Fragment("a", True), Fragment(b"", True), Fragment("c", True)]


@both_sides
def test_a_str_does_not_end_within_a_character(side: Side) -> None:
    protocol = opened(side)
    text = "ü\u20ac\U0001f600x"
    pieces = []
    for byte in one_by_one(from_peer(protocol, Frame(TEXT, text.encode()))):
        protocol.receive_data(byte)
        pieces += fragments(protocol)
    assert pieces == [
        Fragment("ü", False),
        Fragment("\u20ac", False),
        Fragment("\U0001f600", False),
        Fragment("x", True),
    ]


@both_sides
def test_a_part_of_a_character_is_no_piece(side: Side) -> None:
    protocol = opened(side)
    protocol.receive_data(from_peer(protocol, Frame(TEXT, b"\xc3", fin=False)))
    assert protocol.next_fragment() is None
    # So that the whole message can still be asked for.
    protocol.receive_data(from_peer(protocol, Frame(CONTINUATION, b"\xbc")))
    assert protocol.next_message() == "ü"


@both_sides
def test_the_other_way_out_within_a_message(side: Side) -> None:
    protocol = opened(side)
    protocol.receive_data(from_peer(protocol, Frame(TEXT, b"a", fin=False), Frame(PING)))
    assert protocol.next_fragment() == Fragment("a", False)
    # The last piece may be there already, or not yet.
    for data in (from_peer(protocol, Frame(CONTINUATION, b"b"), Frame(TEXT, b"c", fin=False)), b""):
        with pytest.raises(ConcurrencyError, match="receive its last piece first"):
            protocol.next_message()
        with pytest.raises(ConcurrencyError, match="receive its last piece first"):
            protocol.events()
        protocol.receive_data(data)
    assert protocol.events(messages=False) == [Ping(b"")]
    assert protocol.next_fragment() == Fragment("b", True)
    protocol.receive_data(from_peer(protocol, Frame(CONTINUATION, b"d")))
    assert protocol.next_message() == "cd"
    assert protocol.events() == []


@both_sides
def test_a_message_of_which_nothing_was_taken_is_whole(side: Side) -> None:
    protocol = opened(side)
    assert protocol.next_fragment() is None
    protocol.receive_data(from_peer(protocol, Frame(TEXT, b"a", fin=False)))
    assert protocol.next_message() is None
    protocol.receive_data(from_peer(protocol, Frame(CONTINUATION, b"b")))
    assert protocol.next_message() == "ab"


@both_sides
@pytest.mark.parametrize("max_size", [None, 2**30])
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_one_huge_frame_in_bounded_memory(side: Side, opcode: int, max_size: int | None) -> None:
    protocol = opened(side, max_size=max_size)
    chunk = b"x" * 2**16
    count = 256
    received = 0
    header = header_from_peer(protocol, opcode, count * len(chunk))
    protocol.receive_data(header + (b"\0\0\0\0" if side is Side.SERVER else b""))
    tracemalloc.start()
    try:
        for _ in range(count):
            assert protocol.wants_read
            protocol.receive_data(chunk)
            # Unless somebody takes it, no more is read.
            piece = protocol.next_fragment()
            assert piece is not None
            received += len(piece.data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert piece.final
    assert received == count * len(chunk)
    assert peak < 1_000_000


@both_sides
@pytest.mark.parametrize("max_size", [None, 2**20])
def test_reading_stops_at_the_mark(side: Side, max_size: int | None) -> None:
    """With a limit on messages too, once pieces have been asked for."""
    protocol = opened(side, max_size=max_size, read_limit=1000)
    assert protocol.next_fragment() is None
    protocol.receive_data(from_peer(protocol, Frame(BINARY, b"x" * 999, fin=False)))
    assert protocol.wants_read
    protocol.receive_data(from_peer(protocol, Frame(CONTINUATION, b"x", fin=False)))
    assert not protocol.wants_read
    assert protocol.next_fragment() == Fragment(b"x" * 999 + b"x", False)
    assert protocol.wants_read


@both_sides
def test_the_limit_on_messages_holds(side: Side) -> None:
    """Although no more of it than a piece is ever there."""
    protocol = opened(side, max_size=1000)
    frame = Frame(BINARY, b"x" * 100, fin=False)
    for _ in range(10):
        protocol.receive_data(from_peer(protocol, frame))
        assert protocol.next_fragment() == Fragment(b"x" * 100, False)
        frame = frame._replace(opcode=CONTINUATION)
    protocol.receive_data(header_from_peer(protocol, CONTINUATION, 1))
    (failure,) = protocol.events()
    assert isinstance(failure, Failure)
    assert isinstance(failure.error, PayloadTooBig)


@both_sides
def test_a_failure_within_a_message(side: Side) -> None:
    """What was not taken of it is gone, and the other way out is free again."""
    protocol = opened(side)
    protocol.receive_data(from_peer(protocol, Frame(TEXT, b"a", fin=False)))
    assert protocol.next_fragment() == Fragment("a", False)
    protocol.receive_data(from_peer(protocol, Frame(CONTINUATION, b"b", fin=False), Frame(0x3)))
    assert protocol.next_fragment() is None
    assert protocol.next_message() is None
    assert len(protocol.events()) == 1


@both_sides
def test_a_close_within_a_message(side: Side) -> None:
    protocol = opened(side)
    protocol.receive_data(from_peer(protocol, Frame(TEXT, b"a", fin=False)))
    assert protocol.next_fragment() == Fragment("a", False)
    protocol.receive_data(from_peer(protocol, Frame(CLOSE)))
    assert protocol.events() == [Close(1005)]
    assert protocol.next_message() is None


@both_sides
@pytest.mark.parametrize("end", [Protocol.receive_eof, Protocol.connection_lost])
def test_the_end_of_the_stream_within_a_message(side: Side, end: object) -> None:
    protocol = opened(side)
    protocol.receive_data(from_peer(protocol, Frame(TEXT, b"a", fin=False)))
    assert protocol.next_fragment() == Fragment("a", False)
    end(protocol)  # type: ignore[operator]
    assert protocol.next_message() is None
    assert len(protocol.events()) == 1


@both_sides
@pytest.mark.parametrize("end", [Protocol.receive_eof, Protocol.connection_lost])
def test_a_piece_that_is_taken_after_the_end(side: Side, end: object) -> None:
    """Nothing follows it: the other way out is free."""
    protocol = opened(side)
    protocol.receive_data(from_peer(protocol, Frame(TEXT, b"a", fin=False)))
    end(protocol)  # type: ignore[operator]
    assert protocol.next_fragment() == Fragment("a", False)
    assert protocol.next_fragment() is None
    assert protocol.next_message() is None
    assert len(protocol.events()) == 1


@both_sides
def test_the_last_piece_outlives_a_failure(side: Side) -> None:
    protocol = opened(side)
    protocol.receive_data(from_peer(protocol, Frame(TEXT, b"a", fin=False)))
    assert protocol.next_fragment() == Fragment("a", False)
    protocol.receive_data(from_peer(protocol, Frame(CONTINUATION, b"b"), Frame(TEXT, b"c"), Frame(0x3)))
    with pytest.raises(ConcurrencyError):
        protocol.next_message()
    assert protocol.next_fragment() == Fragment("b", True)
    assert protocol.next_message() == "c"


@both_sides
def test_a_message_that_is_dropped_is_not_continued_by_another(side: Side) -> None:
    """After our close frame there may be no room for the rest of it, nor for what follows."""
    protocol = opened(side, read_limit=1000)
    protocol.receive_data(from_peer(protocol, Frame(TEXT, b"a", fin=False)))
    assert protocol.next_fragment() == Fragment("a", False)
    protocol.close()
    protocol.receive_data(from_peer(protocol, Frame(CONTINUATION, b"b" * 2000, fin=False)))
    protocol.receive_data(from_peer(protocol, Frame(CONTINUATION), Frame(TEXT, b"other")))
    assert protocol.next_fragment() is None
    protocol.receive_data(from_peer(protocol, Frame(CLOSE)))
    assert protocol.next_fragment() is None
    assert protocol.events() == [Close(1005)]


@both_sides
def test_a_message_goes_on_after_our_close_frame(side: Side) -> None:
    protocol = opened(side)
    protocol.receive_data(from_peer(protocol, Frame(TEXT, b"a", fin=False)))
    assert protocol.next_fragment() == Fragment("a", False)
    protocol.close()
    protocol.receive_data(from_peer(protocol, Frame(CONTINUATION, b"b")))
    assert protocol.next_fragment() == Fragment("b", True)


@both_sides
def test_a_message_in_pieces_counts_once(side: Side) -> None:
    protocol = opened(side)
    for payload in (b"a", b"b"):
        protocol.receive_data(from_peer(protocol, Frame(TEXT, payload, fin=False)))
        protocol.next_fragment()
        protocol.receive_data(from_peer(protocol, Frame(CONTINUATION)))
        protocol.next_fragment()
    statistics = protocol.statistics
    assert isinstance(statistics, Statistics)
    assert (statistics.messages_received, statistics.frames_received) == (2, 4)


def test_a_message_that_nobody_waits_for_any_more_stops_the_reading() -> None:
    server = opened(Side.SERVER, max_size=None, read_limit=1000)
    assert server.next_message() is None
    server.receive_data(from_peer(server, Frame(0x2, b"x" * 2000, fin=False)))
    assert server.wants_read  # the whole of it was asked for
    server.stop_waiting()
    assert not server.wants_read
    assert server.next_message() is None
    assert server.wants_read
