"""Deadlines of an open connection: pings, their pongs, and writes that make no progress."""

from __future__ import annotations

import pytest

from wsproto_core import Close, Failure, Pong, Protocol, Side, State, StreamAction, TimerOverdue
from wsproto_core.timers import Timer

from .helpers import (
    CLOSE,
    PING,
    PONG,
    TEXT,
    Clock,
    Frame,
    both_sides,
    close_payload,
    feed,
    from_peer,
    opened,
    reach_deadline,
    sent,
)
from .sample_extensions import Counting


def keepalive(protocol: Protocol, clock: Clock) -> bytes:
    """Reach the time of a ping; return the ping's payload."""
    reach_deadline(protocol, clock)
    (frame,) = sent(protocol)
    assert frame.opcode == PING
    assert len(frame.payload) == 4
    return frame.payload


def timed_out(protocol: Protocol, message: str, close: Close | None) -> None:
    (failure,) = protocol.events()
    assert isinstance(failure, Failure)
    assert isinstance(failure.error, TimeoutError)
    assert str(failure.error) == message
    assert failure.remote
    assert failure.close == close
    assert protocol.state is State.CLOSING
    assert protocol.close_code == 1006
    assert protocol.close_exception().__cause__ is failure.error


# Pings


@both_sides
def test_the_deadline_starts_when_the_ping_is_written(side: Side) -> None:
    """A ping behind much data is not there to be answered before these are written."""
    clock = Clock()
    protocol = opened(side, clock, ping_interval=20, ping_timeout=20, write_limit=None)
    protocol.send(bytes(10_000_000))
    size = sum(map(len, protocol.data_to_send()))
    for _ in range(60):
        clock.advance(1)
        protocol.handle_timeout()
        protocol.data_sent(100_000)
        assert protocol.state is State.OPEN
        assert protocol.deadline() is not None
    protocol.data_sent()
    assert protocol.unwritten == 0
    assert size > 10_000_000
    (frame,) = sent(protocol)
    assert frame.opcode == PING
    # From here on, the peer can answer.
    written = clock.now
    while protocol.state is State.OPEN:
        reach_deadline(protocol, clock)
        sent(protocol)
    assert clock.now == written + 20
    timed_out(protocol, "nothing received for 20 seconds after a ping", Close(1011, "keepalive ping timeout"))


@both_sides
def test_a_ping_among_data(side: Side) -> None:
    """It counts as written as soon as it is: not later, with what was given after it, and not before."""
    clock = Clock()
    protocol = opened(side, clock, ping_interval=5, ping_timeout=3, write_limit=None)
    header = 2 if side is Side.SERVER else 6
    protocol.send(b"x" * 100)
    clock.advance(5)
    protocol.handle_timeout()
    protocol.send(b"y" * 100)
    protocol.receive_data(from_peer(protocol, Frame(PING, b"?")))
    clock.advance(1)
    protocol.data_to_send()
    # The pong goes first, then the message, then the ping.
    before_ping = header + 1 + header + 100 + header + 4
    protocol.data_sent(before_ping - 1)
    assert protocol.deadline() == 1009  # for writing
    clock.advance(1)
    protocol.data_sent(1)
    clock.advance(0.5)
    protocol.data_sent()
    assert protocol.deadline() == 1010
    reach_deadline(protocol, clock)
    protocol.events(messages=False)
    assert protocol.state is State.CLOSING


@both_sides
def test_a_failure_forgets_the_ping(side: Side) -> None:
    clock = Clock()
    protocol = opened(side, clock, ping_interval=5, ping_timeout=3)
    clock.advance(5)
    protocol.handle_timeout()
    protocol.fail(RuntimeError())
    assert [frame.opcode for frame in sent(protocol)] == [CLOSE]
    assert protocol.deadline() == 1015


@both_sides
def test_many_pings_answered_one_by_one(side: Side) -> None:
    """The oldest is found at once, however many there are and have been."""
    protocol = opened(side, max_pings=None)
    payloads = [protocol.ping() for _ in range(20_000)]
    sent(protocol)
    answered = []
    for payload in payloads:
        (pong,) = feed(protocol, from_peer(protocol, Frame(PONG, payload)))
        assert isinstance(pong, Pong)
        answered += [data for data, _ in pong.answered]
    assert answered == payloads


@both_sides
def test_a_ping_every_interval(side: Side) -> None:
    clock = Clock()
    protocol = opened(side, clock, ping_interval=7, ping_timeout=None)
    assert protocol.deadline() == 1007
    clock.now = 1006.9
    protocol.handle_timeout()
    assert sent(protocol) == []
    payloads = {keepalive(protocol, clock) for _ in range(5)}
    assert clock.now == 1035
    assert len(payloads) == 5
    assert protocol.events() == []


@both_sides
def test_traffic_does_not_delay_pings(side: Side) -> None:
    clock = Clock()
    protocol = opened(side, clock, ping_interval=7)
    clock.now = 1003
    protocol.send("x")
    protocol.receive_data(from_peer(protocol, Frame(TEXT, b"x")))
    sent(protocol)
    assert protocol.deadline() == 1007


@both_sides
def test_no_pings(side: Side) -> None:
    clock = Clock()
    protocol = opened(side, clock, ping_interval=None)
    assert protocol.deadline() is None
    clock.advance(1000)
    protocol.handle_timeout()
    assert sent(protocol) == []


@both_sides
def test_a_ping_that_is_not_handed_out_is_not_repeated(side: Side) -> None:
    clock = Clock()
    protocol = opened(side, clock, ping_interval=7, ping_timeout=None)
    for _ in range(3):
        reach_deadline(protocol, clock)
    assert len(sent(protocol)) == 1
    reach_deadline(protocol, clock)
    assert len(sent(protocol)) == 1


@both_sides
def test_the_latency_of_a_ping(side: Side) -> None:
    clock = Clock()
    protocol = opened(side, clock)
    payload = keepalive(protocol, clock)
    clock.advance(0.125)
    assert feed(protocol, from_peer(protocol, Frame(PONG, payload))) == [Pong(payload, ((payload, 0.125),))]
    assert protocol.latency == 0.125


# Pongs


@both_sides
def test_no_sign_of_life(side: Side) -> None:
    clock = Clock()
    protocol = opened(side, clock, ping_interval=20, ping_timeout=10)
    keepalive(protocol, clock)
    assert protocol.deadline() == 1030
    protocol.send("dropped")
    reach_deadline(protocol, clock)
    timed_out(protocol, "nothing received for 10 seconds after a ping", Close(1011, "keepalive ping timeout"))
    assert sent(protocol) == [Frame(CLOSE, close_payload(1011, "keepalive ping timeout"))]
    assert protocol.stream_action is (StreamAction.SEND_EOF if side is Side.SERVER else StreamAction.KEEP)


@both_sides
@pytest.mark.parametrize("data", [b"\x89", None])
def test_any_byte_is_a_sign_of_life(side: Side, data: bytes | None) -> None:
    """It need not be the pong, nor even a whole frame."""
    clock = Clock()
    protocol = opened(side, clock, ping_interval=20, ping_timeout=10)
    payload = keepalive(protocol, clock)
    clock.now = 1029
    protocol.receive_data(data or from_peer(protocol, Frame(PONG, payload)))
    clock.now = 1030
    protocol.handle_timeout()
    assert protocol.state is State.OPEN
    assert [event for event in protocol.events() if not isinstance(event, Pong)] == []
    assert protocol.deadline() == 1040
    # From the next ping on, there has to be another one.
    keepalive(protocol, clock)
    clock.now = 1050
    protocol.handle_timeout()
    timed_out(protocol, "nothing received for 10 seconds after a ping", Close(1011, "keepalive ping timeout"))


@both_sides
def test_a_timeout_longer_than_the_interval(side: Side) -> None:
    """The pings that follow do not put the deadline off."""
    clock = Clock()
    protocol = opened(side, clock, ping_interval=10, ping_timeout=25)
    for _ in range(3):
        keepalive(protocol, clock)
    assert clock.now == 1030
    assert protocol.deadline() == 1035
    reach_deadline(protocol, clock)
    timed_out(protocol, "nothing received for 25 seconds after a ping", Close(1011, "keepalive ping timeout"))


@both_sides
def test_a_sign_of_life_puts_a_long_timeout_off(side: Side) -> None:
    clock = Clock()
    protocol = opened(side, clock, ping_interval=10, ping_timeout=25)
    keepalive(protocol, clock)
    clock.now = 1015
    protocol.receive_data(b"\x89")
    keepalive(protocol, clock)
    assert clock.now == 1020
    keepalive(protocol, clock)
    keepalive(protocol, clock)
    assert clock.now == 1040
    # 25 seconds after the ping of 1020, the first without a sign of life
    assert protocol.deadline() == 1045


@both_sides
def test_pings_of_the_application_have_no_deadline(side: Side) -> None:
    clock = Clock()
    protocol = opened(side, clock, ping_interval=None)
    protocol.ping()
    sent(protocol)
    assert protocol.deadline() is None


@both_sides
def test_too_many_pings_of_the_application_wait(side: Side) -> None:
    """There is no room for another ping; one of those that wait does as well."""
    clock = Clock()
    protocol = opened(side, clock, ping_interval=20, ping_timeout=10, max_pings=2)
    protocol.ping()
    protocol.ping()
    sent(protocol)
    reach_deadline(protocol, clock)
    assert sent(protocol) == []
    assert protocol.deadline() == 1030
    reach_deadline(protocol, clock)
    timed_out(protocol, "nothing received for 10 seconds after a ping", Close(1011, "keepalive ping timeout"))


# A slow reader: the peer's pong may be there, behind what we do not read


def slow(side: Side, clock: Clock) -> Protocol:
    return opened(side, clock, ping_interval=20, ping_timeout=10, max_queue=2)


@both_sides
def test_the_deadline_stands_still_while_reading_stands_still(side: Side) -> None:
    clock = Clock()
    protocol = slow(side, clock)
    protocol.receive_data(from_peer(protocol, Frame(TEXT, b"1"), Frame(TEXT, b"2")))
    assert not protocol.wants_read
    # Pings go on: they keep the connection from looking idle.
    for _ in range(3):
        keepalive(protocol, clock)
    assert clock.now == 1060
    assert protocol.next_message() == "1"
    assert protocol.wants_read
    clock.now = 1065
    assert protocol.deadline() == 1070
    reach_deadline(protocol, clock)
    assert protocol.next_message() == "2"
    timed_out(protocol, "nothing received for 10 seconds after a ping", Close(1011, "keepalive ping timeout"))


@both_sides
def test_the_deadline_starts_anew_in_full(side: Side) -> None:
    clock = Clock()
    protocol = slow(side, clock)
    keepalive(protocol, clock)
    clock.now = 1029
    assert protocol.deadline() == 1030
    protocol.receive_data(from_peer(protocol, Frame(TEXT, b"1"), Frame(TEXT, b"2")))
    assert protocol.deadline() == 1040
    clock.now = 1039
    assert protocol.next_message() == "1"
    assert protocol.deadline() == 1040
    keepalive(protocol, clock)
    assert protocol.deadline() == 1050


@both_sides
def test_nothing_starts_if_no_ping_waits(side: Side) -> None:
    protocol = slow(side, Clock())
    protocol.receive_data(from_peer(protocol, Frame(TEXT, b"1"), Frame(TEXT, b"2")))
    protocol.next_message()
    assert protocol.wants_read
    assert protocol.deadline() == 1020


@both_sides
def test_nothing_starts_after_a_sign_of_life(side: Side) -> None:
    clock = Clock()
    protocol = opened(side, clock, ping_interval=100, ping_timeout=10, max_queue=2)
    payload = keepalive(protocol, clock)
    protocol.receive_data(from_peer(protocol, Frame(PONG, payload)))
    reach_deadline(protocol, clock)
    assert clock.now == 1110
    protocol.receive_data(from_peer(protocol, Frame(TEXT, b"1"), Frame(TEXT, b"2")))
    assert not protocol.wants_read
    protocol.next_message()
    assert protocol.wants_read
    assert protocol.deadline() == 1200


# Lateness


@both_sides
@pytest.mark.parametrize(("late", "forgiven"), [(0, False), (5, False), (5.5, True), (1000, True)])
def test_a_pong_deadline_seen_late(side: Side, late: float, forgiven: bool) -> None:
    """Late by more than half the period: whoever looked was not there to read either."""
    clock = Clock()
    protocol = opened(side, clock, ping_interval=2000, ping_timeout=10)
    keepalive(protocol, clock)
    clock.now = 3010 + late
    protocol.handle_timeout()
    if forgiven:
        assert protocol.events() == [TimerOverdue(Timer.PONG, late)]
        assert protocol.state is State.OPEN
        deadline = clock.now + 10
        assert protocol.deadline() == deadline
        clock.now = deadline + 1000
        protocol.handle_timeout()
    timed_out(protocol, "nothing received for 10 seconds after a ping", Close(1011, "keepalive ping timeout"))


@both_sides
def test_a_peer_that_lives_is_not_called_late(side: Side) -> None:
    clock = Clock()
    protocol = opened(side, clock, ping_interval=20, ping_timeout=10)
    payload = keepalive(protocol, clock)
    clock.now = 2000
    protocol.receive_data(from_peer(protocol, Frame(PONG, payload)))
    protocol.handle_timeout()
    assert protocol.events() == [Pong(payload, ((payload, 980),))]
    assert protocol.state is State.OPEN
    # One ping for all those that were missed.
    assert len(sent(protocol)) == 1


@both_sides
def test_a_call_that_comes_too_early(side: Side) -> None:
    """Expiry is judged by the clock, not by having been woken."""
    clock = Clock()
    protocol = opened(side, clock, ping_interval=20, ping_timeout=10)
    protocol.handle_timeout()
    assert sent(protocol) == []
    keepalive(protocol, clock)
    for _ in range(3):
        protocol.handle_timeout()
    assert protocol.state is State.OPEN
    assert protocol.deadline() == 1030


# Writes


def stuck(side: Side, clock: Clock) -> Protocol:
    """A connection with bytes that are handed out and cannot be written."""
    protocol = opened(side, clock, ping_interval=None, ping_timeout=10)
    protocol.send(b"x" * 100)
    protocol.data_to_send()
    return protocol


@both_sides
def test_a_write_without_progress(side: Side) -> None:
    clock = Clock()
    protocol = stuck(side, clock)
    assert protocol.deadline() == 1010
    clock.now = 1009
    protocol.handle_timeout()
    assert protocol.deadline() == 1010
    reach_deadline(protocol, clock)
    timed_out(protocol, "no progress writing for 10 seconds", None)
    assert protocol.stream_action is StreamAction.ABORT
    assert protocol.deadline() is None
    assert not protocol.wants_read
    protocol.connection_lost()
    assert protocol.state is State.CLOSED


@both_sides
def test_a_write_that_makes_progress(side: Side) -> None:
    clock = Clock()
    protocol = stuck(side, clock)
    for _ in range(5):
        assert protocol.deadline() == clock.now + 10
        clock.advance(9)
        protocol.data_sent(1)
    assert protocol.deadline() == clock.now + 10
    protocol.data_sent()
    assert protocol.deadline() is None


@both_sides
def test_no_bytes_written_are_no_progress(side: Side) -> None:
    clock = Clock()
    protocol = stuck(side, clock)
    assert protocol.deadline() == 1010
    clock.now = 1005
    protocol.data_sent(0)
    assert protocol.deadline() == 1010


@both_sides
def test_a_write_without_progress_while_the_peer_lives(side: Side) -> None:
    """A peer that sends and does not read is given up all the same."""
    clock = Clock()
    protocol = stuck(side, clock)
    assert protocol.deadline() == 1010
    clock.now = 1009
    protocol.receive_data(b"\x89")
    reach_deadline(protocol, clock)
    timed_out(protocol, "no progress writing for 10 seconds", None)


@both_sides
def test_a_write_deadline_seen_late(side: Side) -> None:
    clock = Clock()
    protocol = stuck(side, clock)
    assert protocol.deadline() == 1010
    clock.now = 1016
    protocol.handle_timeout()
    assert protocol.events() == [TimerOverdue(Timer.WRITE, 6)]
    assert protocol.deadline() == 1026
    reach_deadline(protocol, clock)
    assert protocol.stream_action is StreamAction.ABORT


@both_sides
def test_a_write_deadline_is_forgiven_again_after_progress(side: Side) -> None:
    clock = Clock()
    protocol = stuck(side, clock)
    for _ in range(3):
        assert protocol.deadline() == clock.now + 10
        clock.advance(16)
        protocol.handle_timeout()
        assert protocol.events() == [TimerOverdue(Timer.WRITE, 6)]
        protocol.data_sent(1)


@both_sides
def test_no_deadline_for_writes(side: Side) -> None:
    protocol = opened(side, ping_interval=None, ping_timeout=None)
    protocol.send("x")
    protocol.data_to_send()
    assert protocol.deadline() is None


@both_sides
def test_a_write_and_a_pong_expire_together(side: Side) -> None:
    """A stream that cannot be written to is not worth a close frame; and there is one failure."""
    clock = Clock()
    protocol = opened(side, clock, ping_interval=20, ping_timeout=10)
    reach_deadline(protocol, clock)
    protocol.data_to_send()
    assert protocol.deadline() == 1030
    reach_deadline(protocol, clock)
    timed_out(protocol, "no progress writing for 10 seconds", None)
    assert protocol.stream_action is StreamAction.ABORT


# The pings that wait


@both_sides
def test_a_payload_that_waits_already(side: Side) -> None:
    """Two pings with the same payload could not be told apart: the random one is chosen again."""
    payloads = iter([b"abcd", b"abcd", b"abcd", b"efgh"])
    protocol = opened(side, random=lambda size: next(payloads, bytes(4)) if size == 4 else bytes(size))
    assert (protocol.ping(), protocol.ping()) == (b"abcd", b"efgh")
    with pytest.raises(ValueError, match="a ping with the payload b'efgh' waits for its pong already"):
        protocol.ping(b"efgh")
    (pong,) = feed(protocol, from_peer(protocol, Frame(PONG, b"efgh")))
    assert pong == Pong(b"efgh", ((b"abcd", 0), (b"efgh", 0)))
    # Both may be used again.
    assert protocol.ping(b"efgh") == b"efgh"


@both_sides
def test_as_many_pings_as_are_allowed(side: Side) -> None:
    protocol = opened(side, max_pings=2)
    assert protocol.ping(b"1") == b"1"
    protocol.ping(b"2")
    with pytest.raises(RuntimeError, match="2 pings wait for their pong already"):
        protocol.ping(b"3")
    feed(protocol, from_peer(protocol, Frame(PONG, b"1")))
    protocol.ping(b"3")


@both_sides
def test_a_pong_that_answers_several_pings(side: Side) -> None:
    """Each has its own latency; that of the connection is the latest one's."""
    clock = Clock()
    protocol = opened(side, clock, ping_interval=None)
    assert protocol.latency == 0.0
    for payload in (b"1", b"2", b"3"):
        protocol.ping(payload)
        clock.advance(1)
    assert feed(protocol, from_peer(protocol, Frame(PONG, b"?"))) == [Pong(b"?", ())]
    events = feed(protocol, from_peer(protocol, Frame(PONG, b"2")))
    assert events == [Pong(b"2", ((b"1", 3), (b"2", 2)))]
    assert protocol.latency == 2
    assert feed(protocol, from_peer(protocol, Frame(PONG, b"1"))) == [Pong(b"1", ())]
    assert feed(protocol, from_peer(protocol, Frame(PONG, b"3"))) == [Pong(b"3", ((b"3", 1),))]
    assert protocol.latency == 1


# Idle connections: extensions give memory up


def idle_after(*timeouts: float | None) -> list[Counting]:
    extensions = [Counting() for _ in timeouts]
    for extension, timeout in zip(extensions, timeouts, strict=True):
        extension.idle_timeout = timeout
    return extensions


@both_sides
def test_an_idle_connection(side: Side) -> None:
    """The shortest period counts, for all extensions; each message that passes, either way, puts it off."""
    clock = Clock()
    extensions = idle_after(50, None, 30)
    protocol = Protocol(side, clock=clock, extensions=extensions, ping_interval=None)
    assert protocol.deadline() == 1030
    reach_deadline(protocol, clock)
    assert [extension.released for extension in extensions] == [1, 1, 1]
    assert protocol.deadline() == 1060
    clock.now = 1045
    protocol.send("a")
    sent(protocol)
    reach_deadline(protocol, clock)
    assert clock.now == 1060
    assert extensions[0].released == 1
    reach_deadline(protocol, clock)
    assert extensions[0].released == 2
    protocol.receive_data(from_peer(protocol, Frame(TEXT, b"b")))
    reach_deadline(protocol, clock)
    assert extensions[0].released == 2
    assert protocol.events() == ["b"]
    # To take a message that had been counted is no more traffic.
    reach_deadline(protocol, clock)
    assert extensions[0].released == 3


@both_sides
def test_extensions_that_are_never_idle(side: Side) -> None:
    protocol = Protocol(side, clock=Clock(), extensions=idle_after(None), ping_interval=None)
    assert protocol.deadline() is None
