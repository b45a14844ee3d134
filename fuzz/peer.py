"""What a peer sees of the library's output: HTTP heads and frames, taken apart without the library's own
parsers, so that a mistake that its parsers and its builders have in common is seen."""

from __future__ import annotations

import re
from itertools import cycle
from typing import NamedTuple

__all__ = ["CLOSE", "PING", "PONG", "Frame", "Head", "apply_key", "build_frame", "parse_frames", "parse_head"]

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA

_LINE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")


class Head(NamedTuple):
    """A request or a response."""

    start: str
    headers: list[tuple[str, str]]
    """Names in lower case, and values."""
    rest: bytes
    """What follows the blank line."""

    def values(self, name: str) -> list[str]:
        return [value for each, value in self.headers if each == name]


def parse_head(data: bytes) -> Head:
    """Parse a head as a strict peer does: CR LF at each line, no control characters, no folded lines."""
    head, blank, rest = data.partition(b"\r\n\r\n")
    assert blank, f"no blank line in {data!r}"
    start, *lines = head.split(b"\r\n")
    headers = []
    for line in (start, *lines):
        assert _LINE.fullmatch(line), f"control character in {line!r}"
    for line in lines:
        name, colon, value = line.partition(b":")
        assert colon, f"no colon in {line!r}"
        assert re.fullmatch(rb"[-!#$%&'*+.^_`|~0-9A-Za-z]+", name), f"wrong name in {line!r}"
        headers.append((name.decode().lower(), value.decode("latin-1").strip(" \t")))
    return Head(start.decode("latin-1"), headers, rest)


class Frame(NamedTuple):
    """A frame (RFC 6455 section 5.2)."""

    first: int
    """Its first byte: FIN, the reserved bits and the opcode."""
    payload: bytes

    @property
    def opcode(self) -> int:
        return self.first & 0x0F


def apply_key(payload: bytes, key: bytes) -> bytes:
    """Mask or unmask a payload."""
    return bytes(byte ^ mask for byte, mask in zip(payload, cycle(key), strict=False))


def build_frame(first: int, payload: bytes, key: bytes = b"") -> bytes:
    """Build a frame as a peer sends it: masked if there is a key."""
    length = len(payload)
    mask_bit = 0x80 if key else 0
    if length < 126:
        header = bytes((first, mask_bit | length))
    elif length < 65536:
        header = bytes((first, mask_bit | 126)) + length.to_bytes(2, "big")
    else:
        header = bytes((first, mask_bit | 127)) + length.to_bytes(8, "big")
    return header + key + (apply_key(payload, key) if key else payload)


def parse_frames(data: bytes, *, masked: bool) -> list[Frame]:
    """Parse output, which must be whole frames: masked ones from a client, unmasked ones from a server."""
    frames = []
    while data:
        assert len(data) >= 2, f"incomplete frame {data!r}"
        first, length = data[0], data[1] & 0x7F
        assert data[1] & 0x80 == 0x80 * masked, "masked in the wrong direction"
        size = {126: 2, 127: 8}.get(length, 0)
        if size:
            length = int.from_bytes(data[2 : 2 + size], "big")
            assert length >= (126 if size == 2 else 65536), "length not in its shortest form"
        start = 2 + size
        key = data[start : start + 4 * masked]
        start += len(key)
        payload = data[start : start + length]
        assert len(payload) == length, "incomplete frame"
        frames.append(Frame(first, apply_key(payload, key) if key else payload))
        data = data[start + length :]
    return frames
