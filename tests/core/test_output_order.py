"""In which order things are sent: the pending pong, then what was given in its order, then the close.

And what a failure drops of it.
"""

from __future__ import annotations

from wsproto_core import ClientProtocol, ServerProtocol, Side

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
    close_payload,
    from_peer,
    opened,
    parse_frames,
    parse_head,
    request,
    sent,
    written,
)


@both_sides
def test_everything(side: Side) -> None:
    protocol = opened(side)
    protocol.send("1")
    protocol.ping(b"2")
    protocol.receive_data(from_peer(protocol, Frame(PING, b"asked")))
    protocol.send("3", fin=False)
    protocol.pong(b"4")
    protocol.send("5")
    protocol.close()
    assert sent(protocol) == [
        Frame(PONG, b"asked"),
        Frame(TEXT, b"1"),
        Frame(PING, b"2"),
        Frame(TEXT, b"3", fin=False),
        Frame(PONG, b"4"),
        Frame(CONTINUATION, b"5"),
        Frame(CLOSE, close_payload(1000)),
    ]


@both_sides
def test_a_ping_never_overtakes_data(side: Side) -> None:
    """Its pong proves that what was sent before has arrived."""
    protocol = opened(side)
    for number in range(10):
        protocol.send(str(number))
        protocol.ping(b"%d" % number)
    expected = [frame for n in range(10) for frame in (Frame(TEXT, b"%d" % n), Frame(PING, b"%d" % n))]
    assert sent(protocol) == expected


@both_sides
def test_a_ping_of_the_keepalive_overtakes_no_data_either(side: Side) -> None:
    clock = Clock()
    protocol = opened(side, clock)
    protocol.send("x")
    clock.advance(20)
    protocol.handle_timeout()
    assert [frame.opcode for frame in sent(protocol)] == [TEXT, PING]


@both_sides
def test_a_pong_overtakes_data(side: Side) -> None:
    """It is owed, and does not wait for an application that sends much."""
    protocol = opened(side)
    protocol.send("x" * 100_000)
    protocol.receive_data(from_peer(protocol, Frame(PING, b"asked")))
    assert [frame.opcode for frame in sent(protocol)] == [PONG, TEXT]


@both_sides
def test_a_pong_is_between_frames(side: Side) -> None:
    protocol = opened(side)
    protocol.send("a", fin=False)
    assert len(sent(protocol)) == 1
    protocol.receive_data(from_peer(protocol, Frame(PING, b"asked")))
    protocol.send("b")
    assert [frame.opcode for frame in sent(protocol)] == [PONG, CONTINUATION]


@both_sides
def test_nothing_follows_the_close_frame(side: Side) -> None:
    protocol = opened(side)
    protocol.receive_data(
        from_peer(protocol, Frame(PING, b"1"), Frame(CLOSE, close_payload(1000)), Frame(PING, b"2"))
    )
    assert sent(protocol) == [Frame(PONG, b"1"), Frame(CLOSE, close_payload(1000))]
    protocol.receive_data(from_peer(protocol, Frame(PING, b"3")))
    assert sent(protocol) == []


@both_sides
def test_a_failure_drops_what_was_not_handed_out(side: Side) -> None:
    protocol = opened(side)
    protocol.send("handed out")
    first = b"".join(protocol.data_to_send())
    protocol.send("dropped")
    protocol.ping()
    protocol.receive_data(from_peer(protocol, Frame(PING, b"dropped"), Frame(0x3)))
    masked = side is Side.CLIENT
    # No frame is cut in two: what was handed out is whole.
    assert parse_frames(first, masked=masked) == [Frame(TEXT, b"handed out")]
    (close,) = sent(protocol)
    assert close.opcode == CLOSE
    assert close.payload[:2] == close_payload(1002)


@both_sides
def test_a_failure_within_a_message_that_is_being_sent(side: Side) -> None:
    protocol = opened(side)
    protocol.send("a", fin=False)
    first = sent(protocol)
    protocol.send("b", fin=False)
    protocol.receive_data(b"\xff\xff")
    assert first == [Frame(TEXT, b"a", fin=False)]
    assert [frame.opcode for frame in sent(protocol)] == [CLOSE]


@both_sides
def test_what_was_dropped_is_not_counted(side: Side) -> None:
    protocol = opened(side)
    before = protocol.statistics.bytes_sent
    protocol.send("x" * 1000)
    assert protocol.queued > 1000
    protocol.fail(OSError())
    assert protocol.queued == 0
    data = written(protocol)
    assert protocol.statistics.bytes_sent - before == len(data) < 20


def test_the_opening_handshake_comes_first() -> None:
    """A pong and a close frame that are due before it is handed out do not overtake or replace it."""
    server = ServerProtocol(clock=Clock())
    server.receive_data(request() + from_peer(server, Frame(PING, b"early"), Frame(0x3)))
    server.accept()
    server.close()
    head, _, frames = written(server).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 ")
    assert [frame.opcode for frame in parse_frames(frames, masked=False)] == [CLOSE]


def test_the_request_is_all_that_a_client_sends_at_first() -> None:
    client = ClientProtocol(URI, clock=Clock())
    client.receive_eof()
    assert parse_head(written(client)).body == b""
