"""What a connection has counted."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields
from random import Random

import pytest

from wsproto_core import ClientProtocol, Protocol, ServerProtocol, Side, Statistics
from wsproto_core.broadcast import deliver, not_written
from wsproto_core.observing import Observer
from wsproto_core.prepared import PreparedMessage

from .helpers import (
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    URI,
    Clock,
    Frame,
    both_sides,
    from_peer,
    opened,
    opened_pair,
    request,
    transfer,
    written,
)


@both_sides
def test_nothing_yet(side: Side) -> None:
    statistics = Protocol(side, clock=Clock()).statistics
    assert statistics == Statistics()
    assert all(getattr(statistics, field.name) in (0, None) for field in fields(Statistics))
    assert statistics.compression_ratio_received is None
    assert statistics.compression_ratio_sent is None


@both_sides
def test_received(side: Side) -> None:
    """Messages count when they are complete, taken or not; control frames are frames."""
    protocol = opened(side)
    before = protocol.statistics
    frames = [
        Frame(TEXT, b"a"),
        Frame(TEXT, b"b", fin=False),
        Frame(PING),
        Frame(CONTINUATION),
        Frame(TEXT, b"c", fin=False),
    ]
    data = from_peer(protocol, *frames)
    protocol.receive_data(data)
    for _ in range(2):
        after = protocol.statistics
        assert after.messages_received == 2
        assert after.frames_received == 5
        assert after.bytes_received - before.bytes_received == len(data)
        assert protocol.next_message() is not None


@both_sides
def test_sent(side: Side) -> None:
    """Bytes count when they are handed out."""
    protocol = opened(side)
    before = protocol.statistics
    protocol.send("a")
    protocol.send("b", fin=False)
    protocol.send("c")
    protocol.ping()
    assert protocol.statistics.messages_sent == 2
    assert protocol.statistics.frames_sent == 4
    assert protocol.statistics.bytes_sent == before.bytes_sent
    data = written(protocol)
    assert protocol.statistics.bytes_sent == before.bytes_sent + len(data)
    protocol.receive_data(from_peer(protocol, Frame(PING), Frame(CLOSE)))
    data += written(protocol)
    assert protocol.statistics.bytes_sent == before.bytes_sent + len(data)
    assert protocol.statistics.frames_sent == 6
    assert protocol.statistics.messages_sent == 2


def test_the_opening_handshake_counts() -> None:
    server = ServerProtocol(clock=Clock())
    server.receive_data(request())
    assert server.statistics.bytes_received == len(request())
    server.accept()
    assert server.statistics.bytes_sent == 0
    assert len(written(server)) == server.statistics.bytes_sent > 0
    client = ClientProtocol(URI, clock=Clock())
    assert client.statistics.bytes_sent == 0
    assert len(written(client)) == client.statistics.bytes_sent


def test_what_one_side_sends_the_other_receives() -> None:
    client, server = opened_pair()
    for number in range(10):
        client.send(str(number))
        server.send(b"x" * number)
    transfer(client, server)
    transfer(server, client)
    one, other = client.statistics, server.statistics
    assert (one.messages_sent, one.frames_sent, one.bytes_sent) == (
        other.messages_received,
        other.frames_received,
        other.bytes_received,
    )
    assert (other.messages_sent, other.frames_sent, other.bytes_sent) == (
        one.messages_received,
        one.frames_received,
        one.bytes_received,
    )


def test_it_is_a_snapshot() -> None:
    protocol = Protocol(Side.SERVER, clock=Clock())
    before = protocol.statistics
    with pytest.raises(FrozenInstanceError):
        before.messages_sent = 5  # type: ignore[misc]
    protocol.send("hello")
    assert before.messages_sent == 0
    assert protocol.statistics.messages_sent == 1


# Compression


@pytest.mark.parametrize("observed", [False, True])
def test_compression(observed: bool) -> None:
    """Only what is compressed counts, and the two sides agree on it."""
    deflate = {"compression": "deflate"}
    client, server = opened_pair(deflate, deflate)
    if observed:
        client.observe(Observer())
        server.observe(Observer())
    client.send("hello" * 1000)
    client.send(b"x" * 500, fin=False)
    client.send(b"x" * 500)
    client.send("not compressed " * 1000, compress=False)
    transfer(client, server)
    one, other = client.statistics, server.statistics
    assert one.decompressed_bytes_sent == other.decompressed_bytes_received == 6000
    assert one.compressed_bytes_sent == other.compressed_bytes_received
    assert 0 < one.compressed_bytes_sent < 200
    assert one.compression_ratio_sent == other.compression_ratio_received
    assert one.compression_ratio_sent == 6000 / one.compressed_bytes_sent
    assert one.compression_ratio_received is None
    assert other.compression_ratio_sent is None


def test_compression_that_does_not_pay_is_none() -> None:
    client, _ = opened_pair({"compression": "deflate"}, {"compression": "deflate"})
    client.send(Random(1).randbytes(1000))
    assert client.statistics.decompressed_bytes_sent == 0


def test_a_message_that_takes_several_pieces_to_inflate() -> None:
    client, server = opened_pair({"compression": "deflate"}, {"compression": "deflate"})
    client.send(b"x" * 2**20)
    transfer(client, server)
    while server.next_message() is None:
        pass
    assert server.statistics.decompressed_bytes_received == 2**20
    assert server.statistics.compressed_bytes_received == client.statistics.compressed_bytes_sent


# Time


def test_round_trip_times() -> None:
    clock = Clock()
    protocol = opened(Side.SERVER, clock)
    for latency in (0.5, 0.1, 0.7):
        payload = protocol.ping()
        clock.advance(latency)
        protocol.receive_data(from_peer(protocol, Frame(PONG, payload)))
    statistics = protocol.statistics
    assert statistics.round_trip_time == pytest.approx(0.7)
    assert statistics.shortest_round_trip_time == pytest.approx(0.1)
    assert statistics.smoothed_round_trip_time == pytest.approx((0.5 * 7 / 8 + 0.1 / 8) * 7 / 8 + 0.7 / 8)


def test_a_round_trip_that_takes_no_time() -> None:
    protocol = opened(Side.SERVER)
    protocol.receive_data(from_peer(protocol, Frame(PONG, protocol.ping())))
    assert protocol.statistics.round_trip_time == 0.0


@both_sides
def test_time_without_reading(side: Side) -> None:
    clock = Clock()
    protocol = opened(side, clock, max_queue=(2, 1))
    clock.advance(1)
    assert protocol.statistics.seconds_not_reading == 0.0
    for _ in range(2):
        protocol.receive_data(from_peer(protocol, *[Frame(TEXT, b"x")] * 2))
        assert not protocol.wants_read
        clock.advance(2)
        protocol.next_message()
        assert protocol.wants_read
        clock.advance(4)
        protocol.next_message()
    assert protocol.statistics.seconds_not_reading == 4.0
    # It is still so: this counts as well.
    protocol.receive_data(from_peer(protocol, *[Frame(TEXT, b"x")] * 2))
    clock.advance(8)
    assert protocol.statistics.seconds_not_reading == 12.0
    # What happens in the closing handshake is no backpressure.
    protocol.close()
    clock.advance(16)
    assert protocol.statistics.seconds_not_reading == 12.0


@both_sides
def test_time_without_room_to_write(side: Side) -> None:
    clock = Clock()
    protocol = opened(side, clock, write_limit=(1000, 100))
    clock.advance(1)
    for _ in range(2):
        for _ in range(3):
            protocol.send(b"x" * 1000)
            assert not protocol.writable
            clock.advance(1)
        written(protocol)
        assert protocol.writable
        clock.advance(8)
    assert protocol.statistics.seconds_not_writable == 6.0
    protocol.send(b"x" * 1000)
    clock.advance(16)
    assert protocol.statistics.seconds_not_writable == 22.0
    protocol.close()
    clock.advance(32)
    written(protocol)
    assert protocol.statistics.seconds_not_writable == 22.0


def test_a_close_frame_that_fills_the_buffer_is_no_backpressure() -> None:
    clock = Clock()
    protocol = opened(Side.SERVER, clock, write_limit=(100, 10))
    protocol.send(b"x" * 90)
    protocol.close(1000, "x" * 100)
    assert protocol.data_to_send()
    assert not protocol.writable
    clock.advance(1)
    assert protocol.statistics.seconds_not_writable == 0.0


def test_what_a_broadcast_could_not_write() -> None:
    clock = Clock()
    protocol = opened(Side.SERVER, clock, write_limit=(1000, 100))
    assert isinstance(deliver(protocol, PreparedMessage(b"x" * 5000)), list)
    not_written(protocol, 4000)
    assert not protocol.writable
    clock.advance(2)
    protocol.data_sent()
    clock.advance(4)
    assert protocol.statistics.seconds_not_writable == 2.0
