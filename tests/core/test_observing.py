"""What an observer is told of frames and messages."""

from __future__ import annotations

from typing import Any

import pytest

from wsproto_core import Protocol, Side
from wsproto_core.extensions import Extension
from wsproto_core.extensions.permessage_deflate import PerMessageDeflate
from wsproto_core.observing import Excerpt, Observer

from .deflate import raw
from .helpers import (
    BINARY,
    CONTINUATION,
    PING,
    RSV1,
    RSV2,
    TEXT,
    Chunking,
    Clock,
    Frame,
    any_chunking,
    both_sides,
    feed,
    from_peer,
)
from .sample_extensions import Xor


class Witness(Observer):
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def frame_received(self, first: int, payload: Excerpt) -> None:
        self.told.append(("received", first, payload))

    def message_decoded(self, payload: Excerpt) -> None:
        self.told.append(("decoded", payload))

    def frame_sent(self, first: int, payload: Excerpt, original: Excerpt) -> None:
        self.told.append(("sent", first, payload, original))


def observed(side: Side, *extensions: Extension) -> tuple[Protocol, Witness]:
    protocol, witness = Protocol(side, clock=Clock(), extensions=extensions), Witness()
    protocol.observe(witness)
    return protocol, witness


def excerpt(payload: bytes) -> Excerpt:
    return Excerpt(payload, len(payload))


@any_chunking
@both_sides
def test_received_frames(side: Side, chunking: Chunking) -> None:
    protocol, witness = observed(side)
    frames = [Frame(TEXT, b"a\xc3", fin=False), Frame(PING, b"p"), Frame(CONTINUATION, b"\xbc")]
    events = feed(protocol, from_peer(protocol, *frames, Frame(BINARY, b"b")), chunking)
    assert [event for event in events if isinstance(event, str | bytes)] == ["aü", b"b"]
    assert witness.told == [
        ("received", 0x01, excerpt(b"a\xc3")),
        ("received", 0x89, excerpt(b"p")),
        ("received", 0x80, excerpt(b"\xbc")),
        ("received", 0x82, excerpt(b"b")),
    ]


@any_chunking
@pytest.mark.parametrize("marked", [True, False])
def test_decoded_messages(chunking: Chunking, marked: bool) -> None:
    """With the bit or without: this extension sees each message."""
    protocol, witness = observed(Side.CLIENT, Xor())
    payload = Xor.transform(b"abc") if marked else b"abc"
    reserved = RSV2 if marked else 0
    frames = [Frame(TEXT, payload[:2], fin=False, reserved=reserved), Frame(CONTINUATION, payload[2:])]
    assert feed(protocol, from_peer(protocol, *frames), chunking) == ["abc"]
    assert witness.told == [
        ("received", reserved | 0x01, excerpt(payload[:2])),
        ("received", 0x80, excerpt(payload[2:])),
        ("decoded", excerpt(b"abc")),
    ]


@any_chunking
def test_compressed_messages(chunking: Chunking) -> None:
    """They are seen as they came, and decompressed."""
    deflate = PerMessageDeflate(remote_no_context_takeover=False, local_no_context_takeover=False)
    protocol, witness = observed(Side.CLIENT, deflate)
    payload = raw(b"Hello")
    assert feed(protocol, from_peer(protocol, Frame(TEXT, payload, reserved=RSV1)), chunking) == ["Hello"]
    assert witness.told == [("received", 0xC1, excerpt(payload)), ("decoded", excerpt(b"Hello"))]


@both_sides
def test_sent_frames(side: Side) -> None:
    protocol, witness = observed(side)
    protocol.send("ü")
    protocol.send(b"b", fin=False)
    protocol.ping(b"p")
    assert witness.told == [
        ("sent", 0x81, excerpt(b"\xc3\xbc"), excerpt(b"\xc3\xbc")),
        ("sent", 0x02, excerpt(b"b"), excerpt(b"b")),
        ("sent", 0x89, excerpt(b"p"), excerpt(b"p")),
    ]


@both_sides
def test_encoded_messages(side: Side) -> None:
    protocol, witness = observed(side, Xor())
    protocol.send(b"abc")
    assert witness.told == [("sent", 0xA2, excerpt(Xor.transform(b"abc")), excerpt(b"abc"))]
