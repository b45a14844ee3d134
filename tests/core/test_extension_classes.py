"""Extensions that see frames, or messages, whole."""

from typing import ClassVar

from wsproto_core.extensions.base import FrameExtension, MessageExtension
from wsproto_core.types import ExtensionName, Side

from .helpers import BINARY, CONTINUATION, Frame, from_peer, opened


class Reverse(FrameExtension):
    name = ExtensionName("x-reverse")
    reserved_bits: ClassVar[int] = 0x20

    def decode_frame(self, payload: bytes, reserved_bits: int) -> bytes:
        return payload[::-1] if reserved_bits else payload

    def encode(self, data: bytes, *, first: bool, final: bool) -> tuple[int, bytes]:
        return 0x20, data[::-1]


class Upper(MessageExtension):
    name = ExtensionName("x-upper")

    def decode_message(self, message: bytes, reserved_bits: int) -> bytes:
        return message.upper()

    def encode_message(self, message: bytes) -> bytes:
        return message.lower()


def test_frames_are_seen_whole_in_any_chunking() -> None:
    for size in (1, 3, 1000):
        server = opened(Side.SERVER)
        server._inbox.reader.use_extensions([Reverse()])
        data = from_peer(
            server,
            Frame(BINARY, b"abc", fin=False, reserved=0x20),
            Frame(CONTINUATION, b"def"),
            Frame(BINARY, b"xy"),
        )
        for start in range(0, len(data), size):
            server.receive_data(data[start : start + size])
        assert server.events() == [b"cbafed", b"xy"]


def test_messages_are_seen_whole() -> None:
    extension = Upper()
    extension.begin_decoding(0)
    pieces = [extension.decode(b"ab", frame_end=True, final=False, max_length=9)]
    pieces.append(extension.decode(b"c", frame_end=True, final=True, max_length=9))
    assert pieces == [b"", b"ABC"]
    assert extension.encode(b"A", first=True, final=False) == (0, b"")
    assert extension.encode(b"B", first=False, final=True) == (0, b"ab")
    extension.cancel_encoding()
    extension.release()


def test_a_fragment_that_is_not_sent_is_forgotten() -> None:
    extension = Upper()
    extension.encode(b"A", first=True, final=False)
    extension.release()  # within a message there is nothing to give up
    extension.encode(b"B", first=False, final=False)
    extension.cancel_encoding()
    assert extension.encode(b"C", first=False, final=True) == (0, b"ac")
