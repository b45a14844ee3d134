"""What a connection that is shared among threads needs of the state machine."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pytest

from tests.interrupting import Interruption, interrupt
from wsproto_core import (
    COMPILED,
    CloseCode,
    ConnectionClosed,
    ConnectionClosedError,
    Failure,
    Protocol,
    Side,
    State,
    StreamAction,
)

from .helpers import BINARY, CLOSE, PING, TEXT, Clock, Frame, close_payload, feed, from_peer, opened, sent

LARGE = b"x" * 100_000


# Halves of send


@pytest.mark.parametrize("side", Side)
def test_halves_of_send_do_the_same(side: Side) -> None:
    protocol = opened(side)
    protocol.send_encoded(protocol.encode("a", text=None, fin=False, compress=None), fin=False)
    assert protocol.statistics.messages_sent == 0
    protocol.send_encoded(protocol.encode("b", text=None, fin=True, compress=None), fin=True)
    assert sent(protocol) == [Frame(TEXT, b"a", fin=False), Frame(0, b"b")]
    assert protocol.statistics.messages_sent == 1


@pytest.mark.parametrize("side", Side)
def test_control_frames_pass_between_the_halves(side: Side) -> None:
    protocol = opened(side)
    buffers = protocol.encode(LARGE, text=None, fin=True, compress=None)
    feed(protocol, from_peer(protocol, Frame(PING, b"a")))
    assert [frame.payload for frame in sent(protocol)] == [b"a"]
    protocol.send_encoded(buffers, fin=True)
    assert sent(protocol) == [Frame(BINARY, LARGE)]


@pytest.mark.parametrize("side", Side)
def test_nothing_follows_a_close_frame_that_comes_between_the_halves(side: Side) -> None:
    protocol = opened(side)
    buffers = protocol.encode(LARGE, text=None, fin=True, compress=None)
    protocol.close()
    with pytest.raises(ConnectionClosed):
        protocol.send_encoded(buffers, fin=True)
    with pytest.raises(ConnectionClosed):
        protocol.encode(LARGE, text=None, fin=True, compress=None)
    assert sent(protocol) == [Frame(CLOSE, close_payload(1000))]


def test_mistakes_are_told_by_the_first_half() -> None:
    protocol = opened(Side.CLIENT)
    with pytest.raises(TypeError):
        protocol.encode(1, text=None, fin=True, compress=None)  # type: ignore[arg-type]
    protocol.send_encoded(protocol.encode("a", text=None, fin=True, compress=None), fin=True)
    assert sent(protocol) == [Frame(TEXT, b"a")]


# Giving up


def check_given_up(protocol: Protocol, expected: list[str | bytes]) -> None:
    """See that what is taken is the beginning of what is expected, and that nothing else happens."""
    assert protocol.state is State.CLOSED
    assert protocol.stream_action is StreamAction.CLOSE
    assert protocol.deadline() is None
    assert not protocol.wants_read
    assert protocol.data_to_send() == []
    taken = []
    while (message := protocol.next_message()) is not None:
        taken.append(message)
    assert taken == expected[: len(taken)]
    assert protocol.close_code is not None
    with pytest.raises(ConnectionClosed):
        protocol.send("a")
    protocol.receive_data(from_peer(protocol, Frame(TEXT, b"late")))
    protocol.receive_eof()
    protocol.handle_timeout()
    protocol.connection_lost()
    assert protocol.next_message() is None
    assert protocol.state is State.CLOSED


def test_who_gives_up_is_told_why() -> None:
    protocol = opened(Side.CLIENT)
    feed(protocol, from_peer(protocol, Frame(TEXT, b"a")))
    protocol.send("never sent")
    error = InterruptedError("KeyboardInterrupt")
    protocol.give_up(error)
    (event,) = protocol.events(messages=False)
    assert isinstance(event, Failure)
    assert event.error is error
    assert not event.remote
    with pytest.raises(ConnectionClosedError) as caught:
        protocol.send("a")
    assert caught.value.code == CloseCode.ABNORMAL_CLOSURE
    assert caught.value.__cause__ is error
    protocol.give_up(InterruptedError("again"))
    assert protocol.events(messages=False) == []
    check_given_up(protocol, ["a"])


def test_the_first_cause_stays() -> None:
    protocol = opened(Side.CLIENT)
    protocol.close()
    feed(protocol, b"\xff\xff")
    protocol.give_up(InterruptedError("KeyboardInterrupt"))
    assert not isinstance(protocol.close_exception().__cause__, InterruptedError)
    check_given_up(protocol, [])


MESSAGES: list[str | bytes] = ["a", b"b" * 200, "c" * 700, "d", b"e"]


def received(side: Side) -> bytes:
    """What the peer sends in one go: whole messages, large ones, fragments, control frames."""
    peer = opened(side)
    return from_peer(
        peer,
        Frame(TEXT, b"a"),
        Frame(PING, b"p"),
        Frame(BINARY, b"b" * 200),
        Frame(TEXT, b"c" * 300, fin=False),
        Frame(PING, b"q"),
        Frame(0, b"c" * 400),
        Frame(TEXT, b"d"),
        Frame(BINARY, b"e"),
    )


def receive(protocol: Protocol, taken: list[Any]) -> None:
    protocol.receive_data(received(protocol.side))
    protocol.events(messages=False)


def take(protocol: Protocol, taken: list[Any]) -> None:
    receive(protocol, taken)
    while (message := protocol.next_message()) is not None:
        taken.append(message)


def send(protocol: Protocol, taken: list[Any]) -> None:
    for message in MESSAGES:
        protocol.send(message)
        protocol.data_to_send()
        protocol.data_sent()
    protocol.ping()
    protocol.data_to_send()


def close(protocol: Protocol, taken: list[Any]) -> None:
    protocol.close()
    protocol.data_to_send()
    protocol.data_sent()
    protocol.receive_data(from_peer(protocol, Frame(CLOSE, close_payload(1000))))
    protocol.receive_eof()
    protocol.connection_lost()


@pytest.mark.parametrize("side", Side)
@pytest.mark.parametrize("scenario", [receive, take, send, close])
def test_interrupted_anywhere(scenario: Callable[[Protocol, list[Any]], None], side: Side) -> None:
    """Nothing is delivered twice, and the connection is closed, wherever an exception comes."""
    number = 0
    while True:
        protocol = opened(side, Clock())
        taken: list[Any] = []
        with Interruption(number, interrupt) as interruption, contextlib.suppress(KeyboardInterrupt):
            scenario(protocol, taken)
        if not interruption.happened:
            break
        protocol.give_up(InterruptedError("KeyboardInterrupt"))
        while (message := protocol.next_message()) is not None:
            taken.append(message)
        # Each at most once and in order; the one that the interrupted call had in its hands is lost.
        positions = [MESSAGES.index(message) for message in taken]
        assert positions == sorted(set(positions))
        assert max(positions, default=-1) <= len(positions)
        check_given_up(protocol, [])
        number += 1
    # In the compiled half, a message has few places where a signal is looked for.
    assert number > (10 if COMPILED else 30)
