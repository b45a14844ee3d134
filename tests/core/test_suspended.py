"""Decoding by extensions that stops while there is no room, and goes on when there is."""

from __future__ import annotations

import gc
import weakref

from wsproto_core import Fragment, Protocol, Side
from wsproto_core.extensions import Extension

from .helpers import BINARY, CONTINUATION, TEXT, Clock, Frame, from_peer
from .sample_extensions import Counting, Repeat


def opened(*extensions: Extension) -> Protocol:
    """A client whose queue has room for 50,000 bytes."""
    return Protocol(Side.CLIENT, clock=Clock(), extensions=extensions, max_size=None, read_limit=50_000)


def suspended(extension: Extension | None = None) -> Protocol:
    """A connection that has received a message of 100,000 bytes, of which only a part was decoded."""
    protocol = opened(extension or Repeat())
    protocol.receive_data(from_peer(protocol, Frame(BINARY, b"x" * 10_000)))
    assert not protocol.wants_read
    return protocol


def test_all_is_decoded_once_and_in_order() -> None:
    counting = Counting()
    protocol = opened(counting, Repeat())
    assert protocol.next_fragment() is None
    frames = from_peer(protocol, Frame(BINARY, b"x" * 20_000, fin=False), Frame(CONTINUATION, b"y"))
    # The one read ends where decoding stops, the other one is there before it goes on.
    protocol.receive_data(frames[:10_004])
    protocol.receive_data(frames[10_004:])
    assert [protocol.next_fragment() for _ in range(4)] == [
        Fragment(b"x" * 65_536, False),
        Fragment(b"x" * 100_000, False),
        Fragment(b"x" * 34_464 + b"y" * 10, True),
        None,
    ]
    assert [(len(data), frame_end, final) for data, frame_end, final, _ in counting.decoded] == [
        (65_536, False, False),
        (34_464, False, False),
        (65_536, False, False),
        (34_464, True, False),
        (10, True, True),
    ]


def test_connections_share_nothing() -> None:
    """What waits on one is not what waits on another."""
    one, other = suspended(), suspended()
    for protocol, letter in ((one, b"a"), (other, b"b")):
        protocol.receive_data(from_peer(protocol, Frame(TEXT, letter)))
    assert other.events() == [b"x" * 100_000, "b" * 10]
    assert one.events() == [b"x" * 100_000, "a" * 10]


def test_the_rest_of_a_message_is_freed_with_its_connection() -> None:
    """Without the garbage collector: what is left to be decoded refers to the extension."""
    extension = Repeat()
    protocol = suspended(extension)
    protocol.fail(RuntimeError("of our own"))
    protocol.connection_lost()
    reference = weakref.ref(extension)
    gc.disable()
    try:
        del protocol, extension
        assert reference() is None
    finally:
        gc.enable()
