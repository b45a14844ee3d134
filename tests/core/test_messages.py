"""Frames into messages and messages into frames: examples of every rule."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from wsproto_core.assembly import PayloadBuffer
from wsproto_core.codec import MESSAGE_OVERHEAD, apply_mask
from wsproto_core.exceptions import InvalidPayload, PayloadTooBig, ProtocolError
from wsproto_core.extensions.base import Extension
from wsproto_core.extensions.permessage_deflate import PerMessageDeflate
from wsproto_core.messages import MessageReader, MessageWriter
from wsproto_core.observing import Excerpt, Observer
from wsproto_core.types import Data, ExtensionName

KEY = b"\x37\xfa\x21\x3d"


class Shift(Extension):
    """Adds one to each byte of those messages that have RSV2 set, and a mark at their end."""

    name = ExtensionName("shift")
    reserved_bits = 0x20

    def __init__(self) -> None:
        super().__init__()
        self.applies = False

    def begin_decoding(self, reserved_bits: int) -> None:
        assert reserved_bits in (0, self.reserved_bits)
        self.applies = bool(reserved_bits)

    def decode(self, data: bytes, *, frame_end: bool, final: bool, max_length: int) -> bytes:
        if self.applies:
            data = bytes(byte - 1 for byte in data) + b"!" * final
        return data

    def encode(self, data: bytes, *, first: bool, final: bool) -> tuple[int, bytes]:
        # Bits that are not this extension's don't count.
        return 0x70, bytes(byte + 1 for byte in data)


class Marked(Shift):
    """Leaves messages without its bit alone."""

    marks_messages = True


class Double(Extension):
    """Doubles each byte; uses no reserved bit."""

    name = ExtensionName("double")

    def begin_decoding(self, reserved_bits: int) -> None:
        assert reserved_bits == 0

    def decode(self, data: bytes, *, frame_end: bool, final: bool, max_length: int) -> bytes:
        return data[::2]

    def encode(self, data: bytes, *, first: bool, final: bool) -> tuple[int, bytes]:
        return 0, bytes(byte for byte in data for _ in range(2))


class Reader(MessageReader):
    """A reader of a server's frames that keeps the control frames.

    Attributes:
        full: whether there is no room.
    """

    __slots__ = ("controls", "full")

    def __init__(self, **options: Any) -> None:
        self.controls: list[tuple[int, bytes]] = []
        self.full = False
        options.setdefault("masked", False)
        super().__init__(receiver=self, **options)

    def receive_control(self, opcode: int, payload: bytes) -> None:
        self.controls.append((opcode, payload))

    def is_full(self) -> bool:
        return self.full

    def take_message(self) -> Data:
        """Take the oldest message, as the receive queue does."""
        message, size = self.messages.popleft()
        self.pending -= size
        return message

    def all(self, data: bytes = b"") -> list[Data]:
        self.receive(data)
        return [self.take_message() for _ in range(len(self.messages))]


def each_way(data: bytes) -> list[list[bytes]]:
    """Data in one piece, and byte by byte."""
    return [[data], [data[index : index + 1] for index in range(len(data))]]


def fails(data: bytes, error: type[Exception], message: str = "", **options: Any) -> list[Data]:
    """Check that data is refused, in any chunking at its last byte, and return the messages before it."""
    found = []
    for pieces in each_way(data):
        reader = Reader(**options)
        if len(pieces) > 1:
            reader.receive(data[:-1])
            pieces = pieces[-1:]
        with pytest.raises(error, match=message) as raised:
            reader.receive(pieces[0])
        assert type(raised.value) is error
        found.append([message for message, _ in reader.messages])
    assert found[0] == found[1]
    return found[0]


# Receiving


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"\x81\x05Hello", "Hello"),
        (b"\x82\x05Hello", b"Hello"),
        (b"\x81\x00", ""),
        (b"\x82\x00", b""),
        (b"\x81\x02\xc3\xa9", "é"),
        (b"\x82\x7d" + bytes(125), bytes(125)),
        (b"\x82\x7e\x00\x7e" + bytes(126), bytes(126)),
        (b"\x82\x7f\0\0\0\0\0\x01\0\0" + bytes(65536), bytes(65536)),
        (b"\x01\x03Hel\x80\x02lo", "Hello"),
        (b"\x02\x03Hel\x00\x00\x80\x02lo", b"Hello"),
        (b"\x01\x00\x80\x00", ""),
        (b"\x01\x01\xc3\x80\x01\xa9", "é"),
        (b"\x81\x03\xed\x9f\xbf", "\ud7ff"),  # the last character before the surrogates
        (b"\x01\x01\r\x80\x01\n", "\r\n"),
    ],
)
def test_messages(data: bytes, expected: Data) -> None:
    for pieces in each_way(data * 2):
        reader = Reader()
        for piece in pieces:
            reader.receive(piece)
        assert reader.all() == [expected, expected]


def test_masked_messages() -> None:
    data = b"\x81\x85" + KEY + apply_mask(b"Hello", KEY)
    for pieces in each_way(data * 2):
        reader = Reader(masked=True)
        for piece in pieces:
            reader.receive(piece)
        assert reader.all() == ["Hello", "Hello"]


def test_nothing() -> None:
    reader = Reader()
    reader.receive(b"")
    reader.receive(b"\x81\x05He")
    reader.receive(b"")
    assert reader.all(b"llo") == ["Hello"]


def test_control_frames_come_between_fragments() -> None:
    data = b"\x01\x03Hel\x89\x02hi\x8a\x00\x80\x02lo\x89\x01!"
    for pieces in each_way(data):
        reader = Reader()
        for piece in pieces:
            reader.receive(piece)
        assert reader.controls == [(9, b"hi"), (10, b""), (9, b"!")]
        assert reader.all() == ["Hello"]
        assert reader.frames == 5


def test_masked_control_frames() -> None:
    reader = Reader(masked=True)
    reader.receive(b"\x89\x82" + KEY + apply_mask(b"hi", KEY))
    assert reader.controls == [(9, b"hi")]


def test_nothing_after_a_close_frame() -> None:
    for data, building in ((b"\x88\x00\x81\x01a", 0), (b"\x01\x01a\x88\x00\xff\xff", 1)):
        reader = Reader()
        references = sys.getrefcount(data)
        reader.receive(data)
        reader.receive(b"\xff\xff")
        assert (reader.closed, reader.controls, reader.all()) == (True, [(8, b"")], [])
        assert reader.building == building
        # Nor does it take memory.
        assert sys.getrefcount(data) == references


# What counts


def test_sizes() -> None:
    reader = Reader()
    assert (reader.pending, reader.buffered, reader.building) == (0, 0, 0)
    reader.receive(b"\x81\x02\xc3\xa9\x02\x03abc")
    assert (reader.pending, reader.buffered, reader.building) == (2 + MESSAGE_OVERHEAD, 3, 2)
    reader.receive(b"\x00\x05de")
    assert (reader.pending, reader.buffered, reader.building) == (2 + MESSAGE_OVERHEAD, 5, 2)
    reader.receive(b"fgh\x80\x00")
    assert (reader.pending, reader.buffered, reader.building) == (10 + 2 * MESSAGE_OVERHEAD, 0, 0)
    assert reader.take_message() == "é"
    assert reader.pending == 8 + MESSAGE_OVERHEAD
    assert reader.take_message() == b"abcdefgh"
    assert reader.pending == 0
    assert reader.frames == 4


def test_incomplete() -> None:
    reader = Reader()
    for data, incomplete in [
        (b"\x81", True),
        (b"\x00", False),
        (b"\x81\x01", True),
        (b"a", False),
        (b"\x01\x00", True),
        (b"\x80\x00", False),
        (b"\x89\x01", True),
        (b"a", False),
    ]:
        reader.receive(data)
        assert reader.incomplete is incomplete, data
        # What is complete is followed by frames that may be whole messages.
        assert reader.between_messages is not incomplete, data


def test_payload_that_is_not_masked() -> None:
    """It needs no key, however it comes."""
    payload = PayloadBuffer(False)
    payload.reserve(3)[:] = b"abc"
    payload.commit(3)
    payload.add(b"cdefg", 1, 4)
    assert payload.finish() == b"abcdef"


def test_between_messages() -> None:
    """Extensions and observers may want to see each frame, and nothing is parsed while there is no room."""
    assert Reader(extensions=[Marked()]).between_messages
    for reader in (Reader(extensions=[Shift()]), Reader(observer=Lengths())):
        assert not reader.between_messages
        assert reader.all(b"\x82\x01b") == [b"b"]
        assert not reader.between_messages
    reader = Reader(extensions=[Marked()])
    reader.full = True
    reader.receive(b"\xa2\x01b")
    assert (reader.suspended, reader.between_messages) == (True, False)
    reader.resume(b"")
    assert (reader.suspended, reader.between_messages) == (True, False)
    reader.full = False
    reader.resume(b"")
    assert (reader.suspended, reader.between_messages) == (False, True)


def test_after_a_payload_that_is_received_in_place() -> None:
    reader = Reader()
    reader.receive(b"\x82\x7f" + (100_000).to_bytes(8, "big"))
    memory = reader.reserve()
    assert memory is not None
    memory[:] = bytes(100_000)
    reader.receive_reserved(100_000)
    assert (reader.incomplete, reader.between_messages) == (False, True)
    assert reader.all() == [bytes(100_000)]


def test_pieces() -> None:
    reader = Reader()
    assert reader.take_piece() is None
    reader.receive(b"\x01\x02a\xc3")
    assert reader.take_piece() == "a"
    assert reader.take_piece() is None
    assert reader.buffered == 0
    reader.receive(b"\x00\x01\xa9\x80\x03bc")
    assert reader.buffered == 4
    assert reader.take_piece() == "ébc"
    assert reader.all(b"d\x82\x01e") == ["d", b"e"]
    reader.receive(b"\x02\x01a")
    assert reader.take_piece() == b"a"
    assert reader.all(b"\x80\x00") == [b""]


def test_dropping_the_latest_message() -> None:
    reader = Reader()
    reader.receive(b"\x81\x01a\x82\x01b\x82\x01c")
    reader.drop_last()
    assert reader.pending == 2 + 2 * MESSAGE_OVERHEAD
    assert reader.all(b"\x81\x01d") == ["a", b"b", "d"]
    assert reader.pending == 0


def test_dropping_the_message_under_construction() -> None:
    reader = Reader()
    reader.receive(b"\x01\x02a\xc3")
    reader.drop_building()
    assert reader.buffered == 0
    reader.receive(b"\x00\x02\xa9b")
    assert reader.buffered == 0
    assert reader.all(b"\x80\x01c\x81\x01d") == ["d"]
    reader.receive(b"\x01\x01a")
    reader.drop_building()
    with pytest.raises(InvalidPayload):
        reader.receive(b"\x80\x01\xff")


@pytest.mark.parametrize("unfinished", [b"", b"\x02\x01b", b"\x82\x02b", b"\x82", b"\x89\x02b"])
def test_dropping_all_but_messages(unfinished: bytes) -> None:
    reader = Reader()
    reader.receive(b"\x81\x01a" + unfinished)
    reader.drop_all_but_messages()
    assert (reader.building, reader.buffered) == (0, 0)
    assert (reader.incomplete, reader.between_messages, reader.suspended) == (False, False, False)
    assert reader.all(b"c\x82\x01d") == ["a"]
    assert reader.controls == []


def test_dropping_what_there_was_no_room_for() -> None:
    reader = Reader(extensions=[Shift()])
    reader.full = True
    data = b"\xa2\x01b\xa2\x01c"
    references = sys.getrefcount(data)
    reader.receive(data)
    assert reader.suspended
    reader.drop_all_but_messages()
    assert not reader.suspended
    assert sys.getrefcount(data) == references


# Errors


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x83\x00", "reserved opcode"),
        (b"\xc1\x00", "reserved bit"),
        (b"\x81\x80", "frame from a server is masked"),
        (b"\x80\x00", "continuation frame without a message to continue"),
        (b"\x01\x01a\x81\x00", "new message before the end of a fragmented one"),
        (b"\x01\x00\x02\x00", "new message before the end of a fragmented one"),
        (b"\x81\x7e\x00\x7d", "shortest form"),
        (b"\x82\x7f\0\0\0\0\0\0\xff\xff", "shortest form"),
        (b"\x89\x7e", "control frame longer"),
    ],
)
def test_rules(data: bytes, message: str) -> None:
    """All of these are known at the header, and what came before is kept."""
    assert fails(data, ProtocolError, message) == []
    assert fails(b"\x81\x01a" + data, ProtocolError, message) == ["a"]


def test_masking_is_required() -> None:
    fails(b"\x81\x01", ProtocolError, "not masked", masked=True)


@pytest.mark.parametrize(
    "data",
    [
        b"\x81\x01\xff",
        b"\x81\x04\xed\xa0",  # a surrogate, and two bytes to come
        b"\x81\x7e\x01\x00\xc0",
        b"\x01\x01\xc3\x80\x05a",
        b"\x01\x00\x80\x01\x80",
    ],
)
def test_text_fails_at_its_first_bad_byte(data: bytes) -> None:
    fails(data, InvalidPayload, "text message is not UTF-8")


@pytest.mark.parametrize("data", [b"\x81\x01\xc3", b"\x01\x01\xc3\x80\x00", b"\x81\x04a\xf0\x9f\x98"])
def test_text_that_ends_within_a_character(data: bytes) -> None:
    fails(data, InvalidPayload, "text message is not UTF-8")


# Limits


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x82\x7e\x01\x00", "message of 256 bytes exceeds the limit of 255 bytes"),
        (b"\x82\x7f\x7f\0\0\0\0\0\0\0", "message of 9151314442816847872 bytes exceeds"),
        (b"\x02\x01a\x80\x7e\x00\xff", "message of 256 bytes exceeds the limit of 255 bytes"),
    ],
)
def test_size_limit(data: bytes, message: str) -> None:
    fails(data, PayloadTooBig, message, max_size=255)
    masked = data.replace(b"\x82\x7e", b"\x82\xfe").replace(b"\x82\x7f", b"\x82\xff")
    masked = masked.replace(b"\x02\x01a\x80\x7e", b"\x02\x81\0\0\0\0a\x80\xfe")
    fails(masked, PayloadTooBig, message, max_size=255, masked=True)


def test_size_limit_is_inclusive() -> None:
    frame = b"\x82\x7e\x00\xff" + bytes(255)
    assert Reader(max_size=255).all(frame * 2) == [bytes(255)] * 2
    assert Reader(max_size=5).all(b"\x02\x03abc\x80\x02de\x82\x05abcde" * 2) == [b"abcde"] * 4


def test_a_fragment_without_payload_at_the_size_limit() -> None:
    """Its first byte tells nothing about its length."""
    reader = Reader(max_size=5)
    for piece in each_way(b"\x02\x05abcde\x80\x00")[1]:
        reader.receive(piece)
    assert reader.all() == [b"abcde"]


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("length", [0, 1, 124, 125])
def test_a_length_that_is_not_in_its_shortest_form(length: int, masked: bool) -> None:
    """RFC 6455 section 5.2: up to 125 fit in 7 bits; on the fast path, too."""
    payload = bytes(length)
    end = KEY + apply_mask(payload, KEY) if masked else payload
    data = b"\x82" + bytes((masked << 7 | 126,)) + length.to_bytes(2, "big") + end
    reader = Reader(masked=masked)
    with pytest.raises(ProtocolError, match="shortest form"):
        reader.receive(data)
    assert not reader.messages


def test_the_shortest_lengths_of_16_bits() -> None:
    assert Reader().all(b"\x82\x7e\x00\x7e" + bytes(126)) == [bytes(126)]


def test_size_limit_does_not_hold_for_control_frames() -> None:
    reader = Reader(max_size=1, max_fragment_size=1, masked=True)
    end = b"\x82" + KEY + apply_mask(b"hi", KEY)
    for piece in each_way(b"\x89" + end + b"\x88" + end)[1]:
        reader.receive(piece)
    assert reader.controls == [(9, b"hi"), (8, b"hi")]


def test_fragment_limits() -> None:
    options = {"max_size": 10, "max_fragment_size": 3, "max_fragments": 2}
    assert Reader(**options).all(b"\x02\x03abc\x80\x03def\x82\x03ghi" * 2) == [b"abcdef", b"ghi"] * 2
    fails(b"\x82\x04", PayloadTooBig, "frame of 4 bytes exceeds the limit of 3 bytes", **options)
    fails(
        b"\x02\x00\x00\x00\x80\x00", PayloadTooBig, "message of 0 bytes in more than 2 fragments", **options
    )


def test_a_long_message_may_have_more_fragments() -> None:
    """One more for each 64 bytes."""
    assert Reader(max_fragments=1).all(b"\x02\x40" + bytes(64) + b"\x80\x00") == [bytes(64)]
    message = "message of 63 bytes in more than 1 fragments"
    fails(b"\x02\x3f" + bytes(63) + b"\x80\x00", PayloadTooBig, message, max_fragments=1)


# Extensions


def test_extensions_apply_to_messages_with_their_bit() -> None:
    data = b"\xa2\x03bcd\x82\x03bcd\x22\x02bc\x89\x00\x80\x01d\x01\x02bc\x80\x01d"
    for pieces in each_way(data):
        reader = Reader(extensions=[Shift()])
        for piece in pieces:
            reader.receive(piece)
        assert reader.all() == [b"abc!", b"bcd", b"abc!", "bcd"]


def test_extensions_apply_in_reverse_order() -> None:
    assert Reader(extensions=[Shift(), Double()]).all(b"\xa1\x04bbcc") == ["ab!"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\xc2\x00", "reserved bit set that no extension uses: 0x40"),
        (b"\x02\x00\xa0\x00", "reserved bit set in a continuation frame"),
        (b"\xa9\x00", "reserved bit set in a control frame"),
    ],
)
def test_reserved_bits(data: bytes, message: str) -> None:
    fails(data, ProtocolError, message, extensions=[Shift()])


def test_size_limit_holds_after_extensions() -> None:
    assert Reader(extensions=[Shift()], max_size=4).all(b"\xa2\x03bcd" * 2) == [b"abc!"] * 2
    assert Reader(extensions=[Shift()], max_size=4).all(b"\x22\x03bcd\x80\x00") == [b"abc!"]
    with pytest.raises(PayloadTooBig, match="message exceeds the limit of 3 bytes"):
        Reader(extensions=[Shift()], max_size=3).receive(b"\xa2\x03bcd")
    with pytest.raises(PayloadTooBig, match="message exceeds the limit of 3 bytes"):
        Reader(extensions=[Shift()], max_size=3).receive(b"\x22\x03bcd\x80\x00")
    assert Reader(extensions=[Shift()]).all(b"\xa2\x03bcd") == [b"abc!"]


def test_text_is_checked_after_extensions() -> None:
    reader = Reader(extensions=[Shift()])
    assert reader.all(b"\xa1\x02\xc4\xaa") == ["é!"]
    with pytest.raises(InvalidPayload):
        reader.receive(b"\xa1\x01\x81")


# Observation


class Lengths(Observer):
    """Remembers first bytes and lengths."""

    def __init__(self) -> None:
        self.received: list[tuple[int, int]] = []

    def frame_received(self, first: int, payload: Excerpt) -> None:
        self.received.append((first, payload.length))


def test_whole_messages_are_decoded_at_once_with_an_observer(monkeypatch: pytest.MonkeyPatch) -> None:
    observer = Lengths()
    reader = Reader(observer=observer)
    monkeypatch.setattr(MessageReader, "_receive_frame", None)  # is not called
    assert reader.all(b"\x81\x02\xc3\xa9\x82\x01a") == ["é", b"a"]
    assert observer.received == [(0x81, 2), (0x82, 1)]


# Sending


@pytest.mark.parametrize(
    ("message", "text", "data"),
    [
        ("é", None, b"\x81\x02\xc3\xa9"),
        (b"e", None, b"\x82\x01e"),
        (bytearray(b"e"), None, b"\x82\x01e"),
        (memoryview(b"e"), None, b"\x82\x01e"),
        ("e", False, b"\x82\x01e"),
        (b"e", True, b"\x81\x01e"),
        ("e", True, b"\x81\x01e"),
        (b"\xc3\xa9", True, b"\x81\x02\xc3\xa9"),
        (memoryview(b"\xc3\xa9"), True, b"\x81\x02\xc3\xa9"),
        ("", None, b"\x81\x00"),
    ],
)
def test_sending(message: Data, text: bool | None, data: bytes) -> None:
    writer = MessageWriter()
    assert b"".join(writer.message(message, text=text, fin=True, compress=None)) == data
    assert (writer.building, writer.frames) == (False, 1)


def test_sending_masked() -> None:
    counts = []

    def random(count: int) -> bytes:
        counts.append(count)
        return KEY

    writer = MessageWriter(random=random)
    (data,) = writer.message("Hello", text=None, fin=True, compress=None)
    assert data == b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"
    assert counts == [4]


def test_sending_in_fragments() -> None:
    writer = MessageWriter()
    data = writer.message("Hel", text=None, fin=False, compress=None)
    assert writer.building
    assert writer.text
    data += writer.message("l", text=None, fin=False, compress=None)
    data += writer.frame(0x89, b"hi")
    data += writer.message("o", text=None, fin=True, compress=None)
    assert not writer.building
    data += writer.message(b"bye", text=None, fin=True, compress=None)
    assert b"".join(data) == b"\x01\x03Hel\x00\x01l\x89\x02hi\x80\x01o\x82\x03bye"
    assert writer.frames == 5


def test_fragments_of_different_types() -> None:
    writer = MessageWriter()
    writer.message("Hel", text=None, fin=False, compress=None)
    with pytest.raises(TypeError, match="all text or all binary"):
        writer.message(b"lo", text=None, fin=True, compress=None)
    # The message is as it was.
    assert writer.building
    assert b"".join(writer.message(b"lo", text=True, fin=True, compress=None)) == b"\x80\x02lo"
    writer.message(b"Hel", text=None, fin=False, compress=None)
    with pytest.raises(TypeError, match="all text or all binary"):
        writer.message("lo", text=None, fin=True, compress=None)


def test_sending_another_type() -> None:
    writer = MessageWriter()
    with pytest.raises(TypeError, match="not int"):
        writer.message(1, text=None, fin=False, compress=None)  # type: ignore[arg-type]
    assert not writer.building


def test_sending_text_that_is_not_utf8() -> None:
    writer = MessageWriter()
    for data in (b"\xff", b"\xc3"):
        with pytest.raises(UnicodeDecodeError):
            writer.message(data, text=True, fin=True, compress=None)
        assert (writer.building, writer.frames) == (False, 0)
    # Characters may be split among fragments, but not end nowhere.
    assert writer.message(b"\xc3", text=True, fin=False, compress=None) == [b"\x01\x01\xc3"]
    with pytest.raises(UnicodeDecodeError):
        writer.message(b"", text=True, fin=True, compress=None)
    # What begins like a surrogate is none of them.
    with pytest.raises(UnicodeDecodeError) as raised:
        MessageWriter().message(b"\xed\xa0", text=True, fin=False, compress=None)
    assert str(raised.value).startswith("'utf-8' codec can't decode bytes in position 0-1: surrogates")


def test_sending_split_characters() -> None:
    writer = MessageWriter()
    for _ in range(2):
        assert writer.message(b"\xc3", text=True, fin=False, compress=None) == [b"\x01\x01\xc3"]
        assert writer.message(b"\xa9", text=True, fin=True, compress=None) == [b"\x80\x01\xa9"]


def test_sending_with_extensions() -> None:
    writer = MessageWriter(extensions=[Shift(), Double()])
    data = writer.message("ab", text=None, fin=True, compress=None)
    data += writer.message(b"a", text=None, fin=False, compress=None)
    data += writer.message(bytearray(b"b"), text=None, fin=True, compress=None)
    data += writer.frame(0x89, b"a")
    assert b"".join(data) == b"\xa1\x04bbcc\x22\x02bb\x80\x02cc\x89\x01a"


def test_an_observer_of_a_message_that_no_extension_decodes() -> None:
    """It is told of the frames, which are the message as it is."""
    told: list[object] = []

    class Witness(Observer):
        def frame_received(self, first: int, payload: Excerpt) -> None:
            told.append((first, payload))

        def message_decoded(self, payload: Excerpt) -> None:
            told.append(payload)

    deflate = PerMessageDeflate(remote_no_context_takeover=True, local_no_context_takeover=True)
    reader = Reader(extensions=[deflate], observer=Witness())
    reader.receive(b"\x01\x01a\x80\x01b")
    assert [message for message, _ in reader.messages] == ["ab"]
    assert told == [(0x01, Excerpt(b"a", 1)), (0x80, Excerpt(b"b", 1))]
