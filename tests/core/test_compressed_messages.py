"""The short way of compressed messages: one frame, one extension; and when it is not taken.

What it makes of a message is what the long way makes of it: tests/property/test_halves.py compares the two
halves, and here messages that arrive whole are compared with those that arrive in pieces.
"""

from __future__ import annotations

from collections import deque
from typing import Any, ClassVar

import pytest

from tests.counting import counting
from wsproto_core import COMPILED, Close, Failure, Protocol, Side, State
from wsproto_core.codec import DECOMPRESSED_AT_ONCE, decode_messages
from wsproto_core.extensions import CompressionExtension
from wsproto_core.extensions.permessage_deflate import PerMessageDeflate
from wsproto_core.messages import only_compression
from wsproto_core.observing import Observer
from wsproto_core.types import Data, ExtensionName

from .deflate import deflated, raw
from .helpers import (
    BINARY,
    CLOSE,
    RSV1,
    TEXT,
    Clock,
    Frame,
    both_sides,
    close_payload,
    feed,
    from_peer,
    one_by_one,
    sent,
)
from .sample_extensions import Counting, Xor


class Shift(CompressionExtension):
    """Adds one to every byte of each message, by RSV1, and fails if it is told to."""

    name: ClassVar[ExtensionName] = ExtensionName("x-shift")
    reserved_bits = RSV1
    marks_messages = True

    def __init__(self, whole: Any = None, encoded: Any = None) -> None:
        super().__init__()
        self.whole = whole
        self.encoded = encoded
        self.cancelled = 0

    def begin_decoding(self, reserved_bits: int) -> None:
        assert reserved_bits == RSV1

    def decode(self, data: bytes, *, frame_end: bool, final: bool, max_length: int) -> bytes:
        return bytes((byte - 1) % 256 for byte in data)

    def decode_whole(self, data: bytes, text: bool, max_length: int) -> tuple[Data, int] | None:
        if isinstance(self.whole, Exception):
            raise self.whole
        result: tuple[Data, int] | None = self.whole
        return result

    def encode(
        self, data: bytes, *, first: bool, final: bool, compress: bool | None = None
    ) -> tuple[int, bytes]:
        if isinstance(self.encoded, Exception):
            raise self.encoded
        # The bits that are another extension's are to be ignored.
        return self.encoded or (0x70, bytes((byte + 1) % 256 for byte in data))

    def cancel_encoding(self) -> None:
        self.cancelled += 1


def connection(side: Side, *extensions: Any, **options: Any) -> Protocol:
    options.setdefault("ping_interval", None)
    return Protocol(side, clock=Clock(), extensions=extensions, **options)


def deflating(side: Side, remote_no_context_takeover: bool = False, **options: Any) -> Protocol:
    extension = PerMessageDeflate(
        remote_no_context_takeover=remote_no_context_takeover, local_no_context_takeover=False
    )
    return connection(side, extension, **options)


WHOLE: dict[str, tuple[int, bytes]] = {
    "text": (TEXT, raw("aé漢😀".encode())),
    "binary": (BINARY, raw(bytes(range(256)))),
    "empty": (TEXT, b"\x00"),
    "empty without a block": (TEXT, b""),
    "longer than a window": (BINARY, raw(bytes(40_000))),
    "not UTF-8": (TEXT, raw(b"a\xff")),
    "a cut character": (TEXT, raw("é".encode()[:1])),
    "a final block": (TEXT, raw(b"Hello", finish=True) + b"\x00"),
    "two final blocks": (TEXT, raw(b"Hello", finish=True) + raw(b", world", finish=True) + b"\x00"),
    "cut off": (TEXT, raw(b"Hello, world")[:-3]),
    "no deflate": (TEXT, b"\xff\xff\xff"),
    "too long": (BINARY, raw(bytes(60_001))),
    "longer than what is inflated as a whole": (BINARY, raw(bytes(DECOMPRESSED_AT_ONCE + 1))),
    "refers to what was before": (TEXT, b"J\x04\x00"),
}


@both_sides
@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("takeover", [True, False])
@pytest.mark.parametrize("max_size", [60_000, None])
def test_whole_or_in_pieces(side: Side, name: str, takeover: bool, max_size: int | None) -> None:
    opcode, payload = WHOLE[name]
    before = Frame(TEXT, raw(b"Hello, before"), reserved=RSV1)
    frames = [before, Frame(opcode, payload, reserved=RSV1), Frame(TEXT, b"not compressed"), before]
    seen = []
    for split in (False, True):
        protocol = deflating(side, not takeover, max_size=max_size, read_limit=None, max_queue=None)
        data = from_peer(protocol, *frames)
        events = feed(protocol, data, one_by_one) if split else feed(protocol, data)
        statistics = protocol.statistics
        seen.append(
            (
                [str(event) for event in events],
                sent(protocol),
                protocol.state,
                protocol.close_code,
                statistics.compressed_bytes_received if protocol.state is State.OPEN else None,
                statistics.decompressed_bytes_received if protocol.state is State.OPEN else None,
                statistics.messages_received,
            )
        )
    assert seen[0] == seen[1]


@both_sides
def test_the_queue_is_looked_at_between_messages(side: Side) -> None:
    """Bytes that are read at once may inflate to a thousand times as many: not all of them are inflated."""
    protocol = deflating(side, read_limit=100_000, max_queue=None)
    frame = Frame(BINARY, deflated(bytes(50_000)), reserved=RSV1)
    data = from_peer(protocol, *[frame] * 200)
    assert len(data) < 2**15
    protocol.receive_data(data)
    assert not protocol.wants_read
    assert len(protocol._inbox.messages) <= 6
    taken = 0
    while protocol.next_message() is not None:
        taken += 1
        assert len(protocol._inbox.messages) <= 6
    assert taken == 200
    assert protocol.wants_read


@both_sides
def test_messages_that_are_not_compressed(side: Side) -> None:
    protocol = deflating(side)
    frames = [Frame(TEXT, b"plain"), Frame(BINARY, raw(b"deflated"), reserved=RSV1), Frame(TEXT, b"plain")]
    assert feed(protocol, from_peer(protocol, *frames)) == ["plain", b"deflated", "plain"]


@both_sides
def test_a_subclass_decodes_in_its_own_way(side: Side) -> None:
    class Louder(PerMessageDeflate):
        def decode(self, data: bytes, *, frame_end: bool, final: bool, max_length: int) -> bytes:
            return super().decode(data, frame_end=frame_end, final=final, max_length=max_length).upper()

        def encode(
            self, data: bytes, *, first: bool, final: bool, compress: bool | None = None
        ) -> tuple[int, bytes]:
            return super().encode(data.lower(), first=first, final=final, compress=False)

    extension = Louder(remote_no_context_takeover=False, local_no_context_takeover=False)
    protocol = connection(side, extension)
    assert feed(protocol, from_peer(protocol, Frame(TEXT, raw(b"hello"), reserved=RSV1))) == ["HELLO"]
    protocol.send("Hello")
    assert sent(protocol) == [Frame(TEXT, b"hello")]


def test_calls_of_python_functions_for_an_echo() -> None:
    """One call decompresses and one compresses, where the rest is in C."""
    # The queue takes all messages of a read.
    protocol = deflating(Side.SERVER, read_limit=None, max_queue=None)
    messages = [bytes([number]) * 100 for number in range(100)]
    data = from_peer(protocol, *[Frame(BINARY, raw(message), reserved=RSV1) for message in messages])
    with counting() as calls:
        protocol.receive_data(data)
        for message in messages:
            assert protocol.next_message() == message
            protocol.send(message)
        written = b"".join(protocol.data_to_send())
    assert written.count(b"\xc2") >= 100
    assert calls.count < (220 if COMPILED else 1300)


def test_when_there_is_a_short_way() -> None:
    """There must be one extension, which compresses by RSV1, and nobody who wants to see its frames."""
    deflate = PerMessageDeflate(remote_no_context_takeover=False, local_no_context_takeover=False)
    short = [only_compression([deflate]), only_compression([Counting()]), only_compression([deflate, Xor()])]
    assert short == [deflate, None, None]
    for protocol in (connection(Side.SERVER, deflate), connection(Side.SERVER)):
        expected = only_compression(protocol.extensions)
        assert protocol._inbox.reader.decompressing is protocol._outbox.writer.compressing is expected
        protocol.observe(Observer())
        assert protocol._inbox.reader.decompressing is protocol._outbox.writer.compressing is None


# Extensions of others


@both_sides
def test_an_extension_that_decodes_no_message_as_a_whole(side: Side) -> None:
    class Default(Shift):
        decode_whole = CompressionExtension.decode_whole

    protocol = connection(side, Default())
    assert feed(protocol, from_peer(protocol, Frame(TEXT, b"Ifmmp", reserved=RSV1))) == ["Hello"]
    protocol.send("Hello")
    protocol.send(b"\xff")
    assert sent(protocol) == [Frame(TEXT, b"Ifmmp", reserved=RSV1), Frame(BINARY, b"\0", reserved=RSV1)]


@both_sides
def test_an_extension_that_does(side: Side) -> None:
    protocol = connection(side, Shift(whole=("whole", 5)))
    assert feed(protocol, from_peer(protocol, Frame(TEXT, b"x", reserved=RSV1))) == ["whole"]
    # In pieces, it has no choice.
    assert feed(protocol, from_peer(protocol, Frame(TEXT, b"xyz", reserved=RSV1)), one_by_one) == ["wxy"]


@both_sides
def test_an_error_while_a_message_is_encoded(side: Side) -> None:
    extension = Shift(encoded=ZeroDivisionError("of the extension"))
    protocol = connection(side, extension)
    with pytest.raises(ZeroDivisionError, match="of the extension"):
        protocol.send("Hello")
    assert extension.cancelled == 1
    assert sent(protocol) == []
    extension.encoded = None
    protocol.send("Hello")
    assert sent(protocol) == [Frame(TEXT, b"Ifmmp", reserved=RSV1)]


@both_sides
def test_a_text_with_surrogates_is_not_encoded(side: Side) -> None:
    extension = Shift()
    protocol = connection(side, extension)
    with pytest.raises(UnicodeEncodeError):
        protocol.send("\ud800")
    assert extension.cancelled == 0
    assert sent(protocol) == []


@both_sides
def test_an_error_of_cancel_encoding_is_raised(side: Side, monkeypatch: pytest.MonkeyPatch) -> None:
    extension = Shift(encoded=ZeroDivisionError())
    monkeypatch.setattr(Shift, "cancel_encoding", lambda self: 1 // 0 if self.encoded is None else {}["key"])
    protocol = connection(side, extension)
    with pytest.raises(KeyError):
        protocol.send("Hello")


@pytest.mark.parametrize("wrong", ["text", ("only one",), ("one", "two"), (1, 2, 3)])
def test_a_wrong_result_of_decode_whole(wrong: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        decode_messages(b"\xc1\x01x", 0, False, 100, deque(), Shift(whole=wrong))


def test_an_error_of_decode_whole() -> None:
    messages: deque[Any] = deque()
    with pytest.raises(ZeroDivisionError):
        decode_messages(b"\x81\x01a\xc1\x01x", 0, False, 100, messages, Shift(whole=ZeroDivisionError()))
    assert messages[0][0] == "a"


@pytest.mark.parametrize("wrong", ["text", (1,), ("x", b"y"), (1, 2, 3)])
def test_a_wrong_result_of_encode(wrong: Any) -> None:
    protocol = connection(Side.SERVER, Shift(encoded=wrong))
    with pytest.raises((TypeError, ValueError)):
        protocol.send("Hello")
    assert sent(protocol) == []


def test_control_frames_among_compressed_messages() -> None:
    protocol = deflating(Side.SERVER)
    frame = Frame(TEXT, raw(b"Hello"), reserved=RSV1)
    events = feed(protocol, from_peer(protocol, frame, Frame(CLOSE, close_payload(1000))))
    assert events[:2] == ["Hello", Close(1000, "")]
    assert not any(isinstance(event, Failure) for event in events)
