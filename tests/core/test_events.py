"""The two ways out: messages one by one, or everything that happens, in order."""

from __future__ import annotations

import dataclasses

import pytest

from wsproto_core import (
    Close,
    Failure,
    Fragment,
    Ping,
    Pong,
    Request,
    Response,
    ServerProtocol,
    Side,
    TimerOverdue,
)
from wsproto_core.inbox import KEPT_NOTICES
from wsproto_core.timers import Timer

from .helpers import (
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Clock,
    Frame,
    both_sides,
    close_payload,
    from_peer,
    opened,
    request,
)

MIXED = [
    Frame(TEXT, b"1"),
    Frame(PING, b"2"),
    Frame(TEXT, b"3", fin=False),
    Frame(PONG, b"4"),
    Frame(CONTINUATION),
    Frame(TEXT, b"5"),
    Frame(CLOSE, close_payload(1000)),
]


@both_sides
def test_everything_in_order(side: Side) -> None:
    protocol = opened(side)
    protocol.receive_data(from_peer(protocol, *MIXED))
    assert protocol.events() == ["1", Ping(b"2"), Pong(b"4"), "3", "5"]
    # The close frame waits until the messages before it have been seen.
    assert protocol.events() == [Close(1000)]
    assert protocol.events() == []


@both_sides
def test_messages_one_by_one(side: Side) -> None:
    protocol = opened(side)
    protocol.receive_data(from_peer(protocol, *MIXED))
    assert [protocol.next_message() for _ in range(4)] == ["1", "3", "5", None]
    assert protocol.events() == [Ping(b"2"), Pong(b"4"), Close(1000)]


@both_sides
def test_everything_but_messages(side: Side) -> None:
    """Neither way hides what the other one gives."""
    protocol = opened(side)
    protocol.receive_data(from_peer(protocol, *MIXED))
    assert protocol.events(messages=False) == [Ping(b"2"), Pong(b"4")]
    protocol.close()
    assert protocol.events(messages=False) == [Close(1000)]
    assert protocol.events(messages=False) == []
    assert protocol.events() == ["1", "3", "5"]


@both_sides
def test_both_ways_at_the_same_time(side: Side) -> None:
    protocol = opened(side)
    protocol.receive_data(from_peer(protocol, *MIXED[:2]))
    assert protocol.next_message() == "1"
    protocol.receive_data(from_peer(protocol, *MIXED[2:]))
    assert protocol.next_message() == "3"
    assert protocol.events() == [Ping(b"2"), Pong(b"4"), "5"]
    assert protocol.next_message() is None
    assert protocol.events() == [Close(1000)]


@both_sides
def test_pongs_do_not_wait_for_the_messages(side: Side) -> None:
    """However many messages are undelivered, pongs act at once."""
    protocol = opened(side)
    payload = protocol.ping()
    messages = [Frame(TEXT, b"x")] * 100
    protocol.receive_data(from_peer(protocol, *messages, Frame(PONG, payload)))
    assert protocol.events(messages=False) == [Pong(payload, ((payload, 0),))]
    assert len(protocol.events()) == 100


@both_sides
def test_events_are_kept_for_a_while(side: Side) -> None:
    """Who never asks for them has only so many kept; those of one input are all there."""
    protocol = opened(side)
    data = from_peer(protocol, *(Frame(PING, b"%d" % number) for number in range(3000)))
    protocol.receive_data(data)
    assert protocol.next_message() is None
    assert len(protocol.events(messages=False)) == 3000
    for _ in range(5):
        protocol.receive_data(data)
    protocol.receive_data(from_peer(protocol, Frame(TEXT, b"x"), Frame(CLOSE)))
    events = protocol.events()
    assert len(events) == KEPT_NOTICES + 1
    assert events[-2:] == [Ping(b"2999"), "x"]
    assert protocol.events() == [Close(1005)]


@both_sides
def test_a_failure_is_not_dropped(side: Side) -> None:
    protocol = opened(side)
    protocol.receive_data(from_peer(protocol, *[Frame(PING)] * 3000, Frame(0x3)))
    for _ in range(10):
        protocol.receive_data(from_peer(protocol, *[Frame(PING)] * 3000))
    assert isinstance(protocol.events()[-1], Failure)


def test_the_events_of_the_opening_handshake() -> None:
    server = ServerProtocol(clock=Clock())
    server.receive_data(request())
    (event,) = server.events(messages=False)
    assert isinstance(event, Request)
    assert server.events() == []


@pytest.mark.parametrize(
    ("event", "field"),
    [
        (Fragment("x", True), "data"),
        (Ping(b"x"), "data"),
        (Pong(b"x"), "answered"),
        (Close(1000), "reason"),
        (Failure(OSError(), True), "close"),
        (TimerOverdue(Timer.PONG, 5.0), "seconds"),
        (Request("/", None), "path"),  # type: ignore[arg-type]
        (Response(101), "status"),
    ],
)
def test_events_are_values(event: object, field: str) -> None:
    assert event == dataclasses.replace(event)  # type: ignore[type-var]
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(event, field, None)
    assert not hasattr(event, "__dict__")
    assert repr(event).startswith(type(event).__name__)


def test_events_are_matched() -> None:
    def describe(event: object) -> object:
        match event:
            case str() | bytes():
                return "message", event
            case Close(code, reason):
                return "close", code, reason
            case Ping(data):
                return "ping", data
            case Pong(data, answered):
                return "pong", data, answered
            case Fragment(data, final):
                return "fragment", data, final
            case Failure(error, remote, close):
                return "failure", error, remote, close
            case TimerOverdue(timer, seconds):
                return "late", timer, seconds
        return None

    assert describe("x") == ("message", "x")
    assert describe(Close(1000, "bye")) == ("close", 1000, "bye")
    assert describe(Ping(b"x")) == ("ping", b"x")
    assert describe(Pong(b"x")) == ("pong", b"x", ())
    assert describe(Fragment(b"x", False)) == ("fragment", b"x", False)
    assert describe(Failure(TimeoutError, True)) == ("failure", TimeoutError, True, None)  # type: ignore[arg-type]
    assert describe(TimerOverdue(Timer.PONG, 3)) == ("late", Timer.PONG, 3)


@pytest.mark.parametrize(
    ("close", "text"),
    [
        (Close(1000), "1000 (normal closure)"),
        (Close(1001, "bye"), "1001 (going away) 'bye'"),
        (Close(1005), "1005 (no status received)"),
        (Close(1015), "1015 (tls handshake)"),
        (Close(3000), "3000 (registered)"),
        (Close(4999, "\x1b[31m"), "4999 (private use) '\\x1b[31m'"),
        (Close(2999), "2999 (unknown)"),
        (Close(5000), "5000 (unknown)"),
    ],
)
def test_a_close_frame_as_text(close: Close, text: str) -> None:
    assert str(close) == text
