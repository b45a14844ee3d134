"""What a connection has counted."""

from __future__ import annotations

from wsproto_core import ClientProtocol, Protocol, ServerProtocol, Side, Statistics

from .helpers import (
    CLOSE,
    CONTINUATION,
    PING,
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
    assert Protocol(side, clock=Clock()).statistics == Statistics(0, 0, 0, 0, 0, 0)


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


def test_it_is_a_copy() -> None:
    protocol = Protocol(Side.SERVER, clock=Clock())
    protocol.statistics.messages_sent = 5
    assert protocol.statistics.messages_sent == 0
