"""Deflate (RFC 1951), as far as tests need it: a compressor's output, and how far that looks back."""

from __future__ import annotations

import zlib

TAIL = b"\x00\x00\xff\xff"

LENGTHS = [3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115]
LENGTHS += [131, 163, 195, 227, 258]
LENGTH_BITS = [0] * 8 + [1] * 4 + [2] * 4 + [3] * 4 + [4] * 4 + [5] * 4 + [0]
DISTANCES = [1, 2, 3, 4] + [(2 + (code & 1) << (code // 2 - 1)) + 1 for code in range(4, 30)]
DISTANCE_BITS = [0, 0, 0, 0] + [code // 2 - 1 for code in range(4, 30)]
ORDER = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15]


def raw(data: bytes, *, bits: int = 15, level: int = 9, finish: bool = False) -> bytes:
    """A message's payload as a peer sends it, without its tail; or, to ``finish``, with a final block."""
    compressor = zlib.compressobj(level, zlib.DEFLATED, -bits)
    if finish:
        return compressor.compress(data) + compressor.flush()
    return (compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH)).removesuffix(TAIL)


def deflated(data: bytes) -> bytes:
    return raw(data)


class _Bits:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.position = 0

    def more(self) -> bool:
        # What is left of the last byte holds no block.
        return self.position + 8 < len(self.data) * 8

    def take(self, count: int) -> int:
        value = 0
        for index in range(count):
            byte = self.data[self.position >> 3]
            value |= (byte >> (self.position & 7) & 1) << index
            self.position += 1
        return value

    def align(self) -> None:
        self.position = (self.position + 7) & ~7


Codes = dict[tuple[int, int], int]


def _codes(lengths: list[int]) -> Codes:
    """The symbols by length and code (section 3.2.2)."""
    codes: Codes = {}
    code = 0
    for length in range(1, 16):
        code <<= 1
        for symbol, wanted in enumerate(lengths):
            if wanted == length:
                codes[length, code] = symbol
                code += 1
    return codes


def _symbol(bits: _Bits, codes: Codes) -> int:
    code = 0
    for length in range(1, 16):
        code = code << 1 | bits.take(1)
        if (length, code) in codes:
            return codes[length, code]
    raise AssertionError("no such code")


def _dynamic(bits: _Bits) -> tuple[Codes, Codes]:
    """The codes of a block that has its own (section 3.2.7)."""
    literals, distances, count = bits.take(5) + 257, bits.take(5) + 1, bits.take(4) + 4
    meta = [0] * 19
    for index in range(count):
        meta[ORDER[index]] = bits.take(3)
    meta_codes = _codes(meta)
    lengths: list[int] = []
    while len(lengths) < literals + distances:
        symbol = _symbol(bits, meta_codes)
        if symbol < 16:
            lengths.append(symbol)
        elif symbol == 16:
            lengths += [lengths[-1]] * (bits.take(2) + 3)
        elif symbol == 17:
            lengths += [0] * (bits.take(3) + 3)
        else:
            lengths += [0] * (bits.take(7) + 11)
    return _codes(lengths[:literals]), _codes(lengths[literals:])


FIXED = _codes([8] * 144 + [9] * 112 + [7] * 24 + [8] * 8), _codes([5] * 30)


def largest_distance(data: bytes) -> int:
    """How far a stream of blocks looks back at most."""
    bits = _Bits(data + (b"" if data.endswith(TAIL) else TAIL))
    largest = 0
    while bits.more():
        bits.take(1)
        kind = bits.take(2)
        if kind == 0:
            bits.align()
            length = bits.take(16)
            assert bits.take(16) == length ^ 0xFFFF
            bits.position += length * 8
            continue
        literals, distances = FIXED if kind == 1 else _dynamic(bits)
        while (symbol := _symbol(bits, literals)) != 256:
            if symbol > 256:
                bits.take(LENGTH_BITS[symbol - 257])
                code = _symbol(bits, distances)
                largest = max(largest, DISTANCES[code] + bits.take(DISTANCE_BITS[code]))
    return largest
