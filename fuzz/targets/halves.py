"""The compiled half of the core and the one in pure Python: the same events, errors and output for any case.

Where the extension module is not in use, this compares pure Python with itself.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from fuzz.peer import build_frame
from fuzz.source import Source, cut
from tests.halves import HALVES, converse, outcome

OPTIONS: tuple[dict[str, Any], ...] = (
    {},
    {"max_size": 200},
    {"max_size": (None, 300)},
    {"max_fragments": 2, "read_limit": 500},
    {"max_queue": 2, "max_size": None, "read_limit": 200},
)

TAKES = ("events", "next_message", "next_fragment")

KEY = b"\x37\xfa\x21\x3d"

OPCODES = (0x81, 0x82, 0x01, 0x02, 0x00, 0x80, 0x89, 0x8A, 0x88, 0xC1, 0xC2, 0x41)

ALPHABETS = ("a", "é", "漢", "😀", "hello, é ", "\x7f\x80\u07ff\u0800\uffff\U00010000\U0010ffff")


def fuzz(data: bytes) -> None:
    source = Source(data)
    source.choice((check_connection, check_codec, check_buffer))(source)


def take_payload(source: Source) -> bytes:
    """Take a payload: any bytes, or a text, so long that the fastest code is used, perhaps with a fault."""
    if source.flag():
        return source.block(300)
    payload = source.choice(ALPHABETS).encode() * source.number(0, 400)
    payload = payload[source.number(0, 3) :]
    if payload and source.flag():
        position = source.number(0, 0xFFFF) % len(payload)
        payload = payload[:position] + source.take(1) + payload[position + 1 :]
    return payload


def take_stream(source: Source, masked: bool) -> bytes:
    """Take frames, and bytes that may be none behind them."""
    frames = []
    for _ in range(source.number(0, 6)):
        first = source.choice(OPCODES) if source.flag() else source.number(0, 255)
        payload = take_payload(source)
        if first & 0x08:
            payload = payload[:125]
        key = source.choice((KEY, bytes(4), b"\xff\x00\x80\x7f")) if masked else b""
        frames.append(build_frame(first, payload, key))
    return b"".join(frames) + source.block(40)


def check_connection(source: Source) -> None:
    server = source.flag()
    seed = source.seed()
    data = take_stream(source, server)
    pieces = cut(data, [seed.randint(0, len(data)) for _ in range(source.number(0, 12))])
    case = {
        "side": "server" if server else "client",
        "pieces": pieces,
        "options": source.choice(OPTIONS),
        "deflate": source.flag(),
        "take": source.choice(TAKES),
        "in_place": source.flag(),
        "takes": [source.flag() for _ in pieces],
        "sends": [take_message(source) for _ in pieces],
        "eof": source.flag(),
    }
    compiled, pure = (converse(half, case) for half in HALVES)
    assert compiled == pure, f"{compiled} and {pure}"


def take_message(source: Source) -> str | bytes | None:
    kind = source.number(0, 2)
    if kind == 0:
        return None
    payload = take_payload(source)
    return payload if kind == 1 else payload.decode(errors="replace")


def check_codec(source: Source) -> None:
    """The functions of the module ``codec`` on their own."""
    masked = source.flag()
    limit = source.choice((1 << 70, 0, 100, 1000))
    position = source.number(0, 20)
    first, key = source.number(0, 255), source.choice((b"", KEY))
    message = take_message(source)
    data = take_stream(source, masked)
    results = []
    for half in HALVES:
        codec = half.module("codec")
        messages: deque[Any] = deque()
        decoded = outcome(codec.decode_messages, data, position, masked, limit, messages)
        encoded = None if message is None else codec.encode_frame(first, message, key)
        results.append((decoded, messages, encoded, codec.apply_mask(data, KEY)))
    assert results[0] == results[1], f"{results[0]} and {results[1]}"


def check_buffer(source: Source) -> None:
    """The buffer of a message under construction: any of its methods, in any order."""
    text = source.flag()
    key = source.choice((b"", KEY))
    steps: list[tuple[str, bytes]] = []
    while source and len(steps) < 60:
        steps.append((source.choice(("add", "add", "commit", "take", "drop")), take_payload(source)))
    results = [assemble(half.module("assembly").PayloadBuffer(text), steps, key) for half in HALVES]
    assert results[0] == results[1], f"{results[0]} and {results[1]}"


def assemble(buffer: Any, steps: list[tuple[str, bytes]], key: bytes) -> list[object]:
    """Take steps up to the first error."""
    seen: list[object] = []
    for step, piece in steps:
        if step == "drop":
            buffer.drop()
        elif step == "take":
            seen.append(outcome(buffer.take))
        elif step == "add":
            seen.append(outcome(buffer.add, b"__" + piece + b"__", 2, 2 + len(piece), key))
        elif piece:
            window = buffer.reserve(len(piece))
            count = min(len(window), len(piece))
            window[:count] = piece[:count]
            seen.append(outcome(buffer.commit, count, key))
        if seen and isinstance(seen[-1], str) and "Error" in seen[-1]:
            return seen
        seen.append((buffer.size, buffer.dropped))
    return [*seen, outcome(buffer.finish)]
