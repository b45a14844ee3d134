"""permessage-deflate (RFC 7692): any bytes as compressed messages, and any messages that are compressed.

- Inflating raises nothing but ``InvalidPayload``, and returns no more bytes than it is asked for at once.
- In any chunking and with any limit on the output, the result is that of ``zlib`` for the whole message.
- What is compressed in fragments, with any parameters, is inflated to the same messages, by this library and
  by ``zlib`` with the window that was negotiated.
"""

from __future__ import annotations

import zlib
from typing import Any

from fuzz.source import Source, chunkings
from wsproto_core.exceptions import InvalidPayload
from wsproto_core.extensions.permessage_deflate import MAX_FINAL_BLOCKS, PerMessageDeflate

RSV1 = 0x40
TAIL = b"\x00\x00\xff\xff"
LONGEST_OUTPUT = 1 << 17
"""Bytes to which a message may be inflated here: what is longer is given up, as ``max_size`` does."""


class TooLong(Exception):
    """A message is longer than the limit of this target."""


def fuzz(data: bytes) -> None:
    source = Source(data)
    source.choice((check_inflating, check_round_trip))(source)


def inflate(extension: PerMessageDeflate, pieces: list[bytes], max_length: int) -> bytes:
    """Inflate a message as the receiver of frames does: a piece, then all that comes of it."""
    output = b""
    extension.begin_decoding(RSV1)
    for index, piece in enumerate(pieces):
        final = index == len(pieces) - 1
        data = piece
        while True:
            part = extension.decode(data, frame_end=final, final=final, max_length=max_length)
            assert len(part) <= max_length
            output += part
            if len(output) > LONGEST_OUTPUT:
                raise TooLong
            if not extension.has_more:
                break
            data = b""
    return output


# Inflating any bytes


def check_inflating(source: Source) -> None:
    bits = source.number(8, 15)
    takeover = source.flag()
    max_length = source.choice((65536, 3, 50, 1000))
    seed = source.seed()
    messages = [source.block(600) for _ in range(source.number(1, 4))]
    messages.append(source.rest())
    results = []
    state = seed.getstate()
    for index in range(3):
        seed.setstate(state)
        extension = make(bits, not takeover)
        results.append(inflate_all(extension, messages, index, seed, max_length))
    assert results[1] == results[0], "the result depends on the chunking"
    assert results[2] == results[0], "the result depends on the chunking"
    expected = inflate_by_zlib(messages, bits, takeover)
    assert results[0] == expected, f"{results[0]} instead of {expected}"


def make(bits: int, no_context_takeover: bool) -> PerMessageDeflate:
    return PerMessageDeflate(
        remote_no_context_takeover=no_context_takeover,
        local_no_context_takeover=no_context_takeover,
        remote_max_window_bits=bits,
        local_max_window_bits=bits,
    )


def inflate_all(
    extension: PerMessageDeflate, messages: list[bytes], chunking: int, seed: Any, max_length: int
) -> list[bytes | str]:
    """Inflate messages, each in a chunking; the last result may be an error."""
    results: list[bytes | str] = []
    for message in messages:
        pieces = list(chunkings(message, seed))
        try:
            results.append(inflate(extension, pieces[min(chunking, len(pieces) - 1)] or [b""], max_length))
        except InvalidPayload:
            results.append("invalid")
            break
        except TooLong:
            results.append("too long")
            break
    return results


def inflate_by_zlib(messages: list[bytes], bits: int, takeover: bool) -> list[bytes | str]:
    """Inflate messages as a whole: the bytes before a message are its dictionary."""
    results: list[bytes | str] = []
    history = b""
    for message in messages:
        try:
            output = inflate_whole(message, bits, history)
        except zlib.error:
            results.append("invalid")
            break
        results.append(output if len(output) <= LONGEST_OUTPUT else "too long")
        if results[-1] == "too long":
            break
        if takeover:
            history = (history + output)[-(1 << bits) :]
    return results


def inflate_whole(message: bytes, bits: int, history: bytes) -> bytes:
    """Inflate one message: streams that end with a final block, and one that does not, if it is there."""
    output = b""
    rest = message + TAIL if message else b""
    streams = 0
    while rest:
        if streams and rest == TAIL:
            break
        dictionary = (history + output)[-(1 << bits) :]
        inflater: Any = zlib.decompressobj(-bits, zdict=dictionary)
        output += inflater.decompress(rest, LONGEST_OUTPUT + 1 - min(len(output), LONGEST_OUTPUT))
        if len(output) > LONGEST_OUTPUT:
            break
        if not inflater.eof:
            # It ends between two blocks if one more can follow.
            inflater.decompress(b"\x03\x00")
            if not inflater.eof:
                raise zlib.error("cut off")
            break
        rest = inflater.unused_data
        streams += 1
        if streams > MAX_FINAL_BLOCKS:
            raise zlib.error("too many final blocks")
    return output


# What is compressed


def check_round_trip(source: Source) -> None:
    bits = source.number(8, 15)
    settings = {"level": source.number(0, 9), "memLevel": source.number(1, 9)}
    no_takeover = source.flag()
    receiver_forgets = no_takeover and source.flag()
    sender = PerMessageDeflate(
        remote_no_context_takeover=False,
        local_no_context_takeover=no_takeover,
        local_max_window_bits=bits,
        used_window_bits=source.choice((15, 12, 8)),
        compress_settings=settings,
        threshold=source.choice((0, 64)),
    )
    receiver = make(bits, receiver_forgets)
    # zlib inflates no stream with a window of 256 bytes that it has made itself with 512.
    peer = zlib.decompressobj(-max(bits, 9))
    seed = source.seed()
    while source:
        fragments = [take_fragment(source) for _ in range(source.choice((1, 1, 2, 3)))]
        compress = source.choice((None, True, False))
        if source.choice((False, False, False, True)):
            sender.release()
        frames = [
            sender.encode(fragment, first=index == 0, final=index == len(fragments) - 1, compress=compress)
            for index, fragment in enumerate(fragments)
        ]
        sent = b"".join(fragments)
        payload = b"".join(payload for _, payload in frames)
        if frames[0][0] == 0:
            assert payload == sent
            assert compress is not True
            continue
        assert compress is not False
        if no_takeover:
            peer = zlib.decompressobj(-max(bits, 9))
        assert peer.decompress(payload + TAIL) == sent
        pieces = list(chunkings(payload, seed))[seed.randint(0, 1)]
        assert inflate(receiver, pieces, seed.choice((1, 50, 65536))) == sent


def take_fragment(source: Source) -> bytes:
    """Take a fragment: bytes, perhaps many times."""
    return source.block(80) * source.choice((1, 1, 2, 10, 100))
