"""Messages: any chunking of any bytes, good or bad, comes to the same."""

from __future__ import annotations

import sys
import tracemalloc
from collections.abc import Callable, Iterable
from itertools import pairwise
from types import FrameType
from typing import Any, NamedTuple

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from wsproto_core.codec import encode_frame
from wsproto_core.exceptions import InvalidPayload, PayloadTooBig, ProtocolError
from wsproto_core.extensions.base import Extension
from wsproto_core.messages import MessageReader, MessageWriter
from wsproto_core.observing import NOBODY, Excerpt, Observer
from wsproto_core.types import Data, ExtensionName

KEY = b"\x37\xfa\x21\x3d"


class Rotate(Extension):
    """Adds to each byte of the messages that have RSV1 set its position in the message."""

    name = ExtensionName("rotate")
    reserved_bits = 0x40

    def begin_decoding(self, reserved_bits: int) -> None:
        self.applies = bool(reserved_bits)
        self.position = 0

    def decode(self, data: bytes, *, frame_end: bool, final: bool, max_length: int) -> bytes:
        if self.applies:
            data = bytes((byte + index) % 256 for index, byte in enumerate(data, self.position))
            self.position += len(data)
        return data

    def encode(self, data: bytes, *, first: bool, final: bool) -> tuple[int, bytes]:
        raise NotImplementedError


def take_message(reader: MessageReader) -> Data:
    """Take the oldest message, as the receive queue does."""
    message, size = reader.messages.popleft()
    reader.pending -= size
    return message


class Outcome(NamedTuple):
    """What a reader made of a stream."""

    output: list[object]
    """Messages and control frames, in order."""
    error: tuple[type[Exception], int] | None
    """The error and its close code."""
    building: int
    closed: bool


class Receiver:
    """Drops control frames, and has room."""

    def receive_control(self, opcode: int, payload: bytes) -> None:
        pass

    def is_full(self) -> bool:
        return False


def read(pieces: Iterable[bytes], options: dict[str, Any], observer: Observer = NOBODY) -> Outcome:
    output: list[object] = []

    class Output(Receiver):
        def receive_control(self, opcode: int, payload: bytes) -> None:
            take()
            output.append((opcode, payload))

    def take() -> None:
        while reader.messages:
            output.append(take_message(reader))

    options = dict(options)
    options["extensions"] = [extension() for extension in options.get("extensions", ())]
    reader = MessageReader(receiver=Output(), observer=observer, **options)
    error = None
    try:
        for piece in pieces:
            reader.receive(piece)
    except (ProtocolError, PayloadTooBig) as raised:
        error = type(raised), int(raised.code)
        reader.drop_all_but_messages()
    take()
    assert reader.pending == 0
    return Outcome(output, error, reader.building, reader.closed)


def cut(data: bytes, positions: Iterable[int]) -> list[bytes]:
    edges = [0, *sorted(min(position, len(data)) for position in positions), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


def one_by_one(data: bytes) -> list[bytes]:
    return [data[index : index + 1] for index in range(len(data))]


# Streams

PAYLOADS = st.one_of(
    st.binary(max_size=40),
    st.text(max_size=20).map(str.encode),
    st.integers(120, 132).map(bytes),
    st.sampled_from(["é", "漢", "😀"]).flatmap(
        lambda character: st.integers(0, 60).map(lambda count: (character * count).encode())
    ),
)


@st.composite
def frames(draw: st.DrawFn, masked: bool) -> bytes:
    """A frame that is good by itself, most often."""
    first = draw(
        st.sampled_from([0x81, 0x82, 0x01, 0x02, 0x00, 0x80, 0x89, 0x8A])
        | st.sampled_from([0x88, 0xC1, 0xC2, 0x41])
        | st.integers(0, 255)
    )
    payload = draw(PAYLOADS)
    if first & 0x08:
        payload = payload[:125]
    if first & 0x0F == 8:
        payload = draw(
            st.sampled_from([b"", b"\x03", b"\x03\xe8", b"\x03\xe8bye", b"\x03\xec", b"\x03\xe8\xff"])
        )
    return b"".join(encode_frame(first, payload, draw(st.sampled_from([KEY, bytes(4)])) if masked else b""))


@st.composite
def fragmented(draw: st.DrawFn, masked: bool) -> bytes:
    """A message in fragments, good most often, with control frames in between."""
    payload = draw(PAYLOADS)
    pieces = cut(payload, draw(st.lists(st.integers(0, len(payload)), max_size=4)))
    opcode = draw(st.sampled_from([1, 2, 0x41]))
    stream = b""
    for number, piece in enumerate(pieces, 1):
        fin = 0x80 if number == len(pieces) else 0
        stream += b"".join(encode_frame(fin | opcode, piece, KEY if masked else b""))
        opcode = 0
        if draw(st.booleans()):
            stream += b"".join(encode_frame(0x89, b"ping", KEY if masked else b""))
    return stream


@st.composite
def streams(draw: st.DrawFn, masked: bool) -> bytes:
    """Frames, some of which do not go together, and some bytes of which may have been changed."""
    data = b"".join(draw(st.lists(frames(masked) | fragmented(masked), max_size=8)))
    for position, byte in draw(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 255)), max_size=2)):
        if position < len(data):
            data = data[:position] + bytes((byte,)) + data[position + 1 :]
    return data + draw(st.just(b"") | st.binary(max_size=20))


LIMITS = st.fixed_dictionaries(
    {},
    optional={
        "max_size": st.integers(1, 140),
        "max_fragment_size": st.integers(1, 130),
        "max_fragments": st.integers(1, 4),
        "extensions": st.just([Rotate]),
    },
)


@st.composite
def cases(draw: st.DrawFn) -> tuple[bytes, dict[str, Any]]:
    masked = draw(st.booleans())
    return draw(streams(masked)), {"masked": masked, **draw(LIMITS)}


@settings(max_examples=400)
@given(cases(), st.lists(st.integers(0, 400), max_size=6))
@example((b"\x81\x03\xed\xa0\x80", {"masked": False}), [4])
@example((b"\x82\xfe\x00\xff", {"masked": True, "max_size": 5}), [2])
def test_chunking_makes_no_difference(case: tuple[bytes, dict[str, Any]], positions: list[int]) -> None:
    data, options = case
    whole = read([data], options)
    assert read(cut(data, positions), options) == whole
    assert read(one_by_one(data), options) == whole


@given(cases())
def test_errors_do_not_depend_on_what_follows(case: tuple[bytes, dict[str, Any]]) -> None:
    """Once a prefix has failed, so has all that begins with it, and in the same way."""
    data, options = case
    outcome = read(one_by_one(data), options)
    if outcome.error is not None:
        assert read([data + b"\x82\x00" * 5], options) == outcome


class Witness(Observer):
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.received: list[tuple[int, Excerpt]] = []
        self.decoded: list[Excerpt] = []

    def frame_received(self, first: int, payload: Excerpt) -> None:
        self.received.append((first, payload))

    def message_decoded(self, payload: Excerpt) -> None:
        self.decoded.append(payload)


@settings(max_examples=400)
@given(cases(), st.lists(st.integers(0, 400), max_size=6))
def test_being_observed_makes_no_difference(case: tuple[bytes, dict[str, Any]], positions: list[int]) -> None:
    data, options = case
    witness, other = Witness(), Witness()
    outcome = read([data], options, witness)
    assert outcome == read([data], options)
    # What is seen does not depend on the chunking; but a frame that fails in its midst is not seen.
    assert read(cut(data, positions), options, other) == outcome
    for seen, expected in ((other.received, witness.received), (other.decoded, witness.decoded)):
        assert seen == expected[: len(seen)]
        assert len(expected) - len(seen) <= (outcome.error is not None)


# Both ways

TEXTS = st.text(max_size=60)
MESSAGES = TEXTS | st.binary(max_size=60)


@given(st.lists(MESSAGES, max_size=8), st.booleans(), st.lists(st.integers(0, 400), max_size=6))
def test_messages_come_back(messages: list[Data], masked: bool, positions: list[int]) -> None:
    writer = MessageWriter(random=(lambda count: KEY) if masked else None)
    data = b"".join(
        buffer
        for message in messages
        for buffer in writer.message(message, text=None, fin=True, compress=None)
    )
    assert read(cut(data, positions), {"masked": masked}) == (messages, None, 0, False)
    assert writer.frames == len(messages)


@given(
    MESSAGES,
    st.lists(st.integers(0, 60), max_size=5),
    st.booleans(),
    st.lists(st.integers(0, 400), max_size=5),
)
def test_fragments_come_back_as_one_message(
    message: Data, cuts: list[int], as_bytes: bool, positions: list[int]
) -> None:
    """Text may be cut between characters, or, as bytes, within them."""
    writer = MessageWriter()
    text = isinstance(message, str)
    payload: Any = message.encode() if isinstance(message, str) and as_bytes else message
    edges = [0, *sorted(min(position, len(payload)) for position in cuts), len(payload)]
    data = b""
    for number, (start, end) in enumerate(pairwise(edges), 1):
        fin = number == len(edges) - 1
        data += b"".join(writer.message(payload[start:end], text=text, fin=fin, compress=None))
    assert read(cut(data, positions), {"masked": False}) == ([message], None, 0, False)


@given(MESSAGES, st.lists(st.integers(0, 200), max_size=8), st.lists(st.booleans(), min_size=8, max_size=8))
def test_pieces_make_up_the_message(message: Data, positions: list[int], takes: list[bool]) -> None:
    payload = message.encode() if isinstance(message, str) else message
    first = 0x81 if isinstance(message, str) else 0x82
    data = b"".join(encode_frame(first, payload))
    reader = MessageReader(masked=False, receiver=Receiver())
    pieces: list[Any] = []
    for chunk, take in zip(cut(data, positions), [*takes, False], strict=False):
        reader.receive(chunk)
        if take and (piece := reader.take_piece()) is not None:
            assert piece
            pieces.append(piece)
    pieces.append(take_message(reader))
    assert type(message)().join(pieces) == message


# UTF-8

# Unicode, table 3-7 (RFC 3629 section 4): first bytes, what their second one may be, and how many follow.
WELL_FORMED = [
    (range(0xC2, 0xE0), range(0x80, 0xC0), 0),
    (range(0xE0, 0xE1), range(0xA0, 0xC0), 1),
    (range(0xE1, 0xED), range(0x80, 0xC0), 1),
    (range(0xED, 0xEE), range(0x80, 0xA0), 1),
    (range(0xEE, 0xF0), range(0x80, 0xC0), 1),
    (range(0xF0, 0xF1), range(0x90, 0xC0), 2),
    (range(0xF1, 0xF4), range(0x80, 0xC0), 2),
    (range(0xF4, 0xF5), range(0x80, 0x90), 2),
]


def first_bad_byte(data: bytes) -> int | None:
    """The position of the byte after which nothing can make the text valid."""
    expected: list[range] = []
    for position, byte in enumerate(data):
        if expected:
            if byte not in expected.pop(0):
                return position
        elif byte >= 0x80:
            for firsts, seconds, others in WELL_FORMED:
                if byte in firsts:
                    expected = [seconds, *[range(0x80, 0xC0)] * others]
                    break
            else:
                return position
    return None


ODD_BYTES = st.sampled_from(
    bytes.fromhex("00 7f 80 8f 90 9f a0 bf c0 c1 c2 df e0 e1 ec ed ee ef f0 f1 f3 f4 f5 ff")
)
ALMOST_TEXT = st.lists(
    st.one_of(st.text(max_size=4).map(str.encode), st.lists(ODD_BYTES, max_size=4).map(bytes)), max_size=5
).map(b"".join)


@settings(max_examples=400)
@given(ALMOST_TEXT)
@example(b"\xed\xa0")
@example(b"\xe0\x9f")
@example(b"\xf4\x90")
def test_text_fails_at_its_first_bad_byte(payload: bytes) -> None:
    reader = MessageReader(masked=False, receiver=Receiver())
    header = b"\x01\x7f" + (2**20).to_bytes(8, "big")  # of a message that never ends
    reader.receive(header)
    failed = None
    for position, byte in enumerate(payload):
        try:
            reader.receive(bytes((byte,)))
        except InvalidPayload:
            failed = position
            break
    assert failed == first_bad_byte(payload)


# Work and memory


def count_calls(function: Callable[[], None]) -> int:
    """How many functions are called, Python's and others."""
    count = 0

    def profile(frame: FrameType, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(profile)
    try:
        function()
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("first", [0x81, 0x82])
@pytest.mark.parametrize("masked", [False, True])
def test_time_is_linear_byte_by_byte(first: int, masked: bool) -> None:
    def calls(length: int) -> int:
        data = b"".join(encode_frame(first, b"x" * length, KEY if masked else b""))
        reader = MessageReader(masked=masked, receiver=Receiver())
        pieces = one_by_one(data)

        def receive() -> None:
            for piece in pieces:
                reader.receive(piece)

        count = count_calls(receive)
        assert len(take_message(reader)) == length
        return count

    calls(1000)
    once, twice, fourfold = calls(2000), calls(4000), calls(8000)
    assert twice < 2.1 * once
    assert fourfold < 2.1 * twice


def test_time_is_linear_in_one_read() -> None:
    def calls(count: int) -> int:
        data = b"\x82\x01x" * count + b"\x89\x00" * count + b"\x02\x01x\x80\x00" * count
        reader = MessageReader(masked=False, receiver=Receiver())
        called = count_calls(lambda: reader.receive(data))
        assert len(reader.messages) == 2 * count
        return called

    calls(100)
    assert calls(2000) < 2.1 * calls(1000)


@pytest.mark.parametrize("chunk", [1, 7, 65536])
@pytest.mark.parametrize("first", [0x01, 0x02])
def test_memory_is_that_of_the_message(first: int, chunk: int) -> None:
    """One huge fragment, or thousands of them: no more than the bytes that are there, and some."""
    length = 64 * 1024

    def peak(data: bytes) -> int:
        reader = MessageReader(masked=False, receiver=Receiver(), max_fragments=2**20)
        tracemalloc.start()
        try:
            for start in range(0, len(data), chunk):
                reader.receive(data[start : start + chunk])
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    huge = bytes((first, 0x7F)) + (2**62).to_bytes(8, "big") + b"x" * length
    tiny = bytes((first, 1)) + b"x" + b"\x00\x01x" * (length // 4)
    # A character takes four bytes while a text is under construction, twice that while its buffer
    # grows; lists of pieces would take fifty.
    allowed = (12 if first == 0x01 else 4) * length
    assert peak(huge) < allowed
    assert peak(tiny) < allowed


def test_nothing_is_allocated_for_an_announcement() -> None:
    reader = MessageReader(masked=True, receiver=Receiver())
    tracemalloc.start()
    try:
        reader.receive(b"\x82\xff" + (2**62).to_bytes(8, "big") + KEY)
        assert tracemalloc.get_traced_memory()[1] < 10_000
    finally:
        tracemalloc.stop()
