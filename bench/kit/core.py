"""Measures a protocol core without I/O, in this process:  python -m kit.core PEER SECONDS [CASE ...]

A case is one of:

decode-SIZE, decode-SIZE-KIND   A server receives frames in chunks of 64 KiB, as a busy socket delivers them.
single-SIZE                     It receives one frame at a time.
encode-SIZE-server, -client     A side sends messages; the client's frames are masked.
memory-send, -echo, -receive    100,000 messages of 13 bytes, as in the suites of Rust libraries: a client
                                encodes them, a server decodes and encodes them, the client decodes them.

The kinds are ``binary``, which is the default, ``ascii`` and ``utf8`` for text. One line of JSON is printed
for each case; the figure is CPU time of this process.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Iterator
from time import process_time
from typing import Any

from .codecs import CODECS, SERVER_ONLY, WITHOUT_CLIENT_ENCODER
from .workloads import KIB, SIZES

CHUNK = 64 * KIB
STREAM = 256 * KIB
"""Bytes, at least, of the stream that is decoded again and again."""

RUNS = 3
"""The best run of so many counts."""

KEY = b"\x37\xfa\x21\x3d"
MEMORY_MESSAGES = 100_000
MEMORY_SIZE = 13

ASCII = '{"id":12345,"symbol":"ABC","price":101.25,"size":300,"side":"buy"},'
NON_ASCII = '{"name":"Ωμέγα","city":"北京","note":"naïve"},'

SHORT_CASES = [
    "decode-256",
    "decode-256-ascii",
    "decode-4k",
    "decode-64k",
    "decode-1m-ascii",
    "decode-1m-utf8",
    "encode-256-server",
    "encode-256-client",
    "memory-send",
    "memory-echo",
    "memory-receive",
]


def all_cases() -> list[str]:
    cases = [f"decode-{size}" for size in SIZES]
    cases += [f"decode-{size}-{kind}" for kind in ("ascii", "utf8") for size in SIZES]
    cases += [f"single-{size}" for size in ("16", "256", "4k")]
    cases += [f"encode-{size}-{role}" for role in ("server", "client") for size in SIZES]
    return cases + [case for case in SHORT_CASES if case.startswith("memory-")]


def make_message(size: int, kind: str) -> str | bytes:
    """Return a message of so many bytes."""
    line = NON_ASCII if kind == "utf8" else ASCII
    data = (line * (size // len(line.encode()) + 1)).encode()[:size]
    if kind == "binary":
        return data
    text = data.decode(errors="ignore")
    return text + "x" * (size - len(text.encode()))


def make_frame(message: str | bytes, masked: bool = True) -> bytes:
    is_text = isinstance(message, str)
    payload = message.encode() if isinstance(message, str) else message
    length, mask_bit = len(payload), 0x80 if masked else 0
    header = bytes([0x81 if is_text else 0x82])
    if length < 126:
        header += bytes([mask_bit | length])
    elif length < 65536:
        header += bytes([mask_bit | 126]) + length.to_bytes(2, "big")
    else:
        header += bytes([mask_bit | 127]) + length.to_bytes(8, "big")
    if not masked:
        return header + payload
    key = int.from_bytes((KEY * (length // 4 + 1))[:length], "big")
    return header + KEY + (int.from_bytes(payload, "big") ^ key).to_bytes(length, "big")


def in_chunks(data: bytes) -> list[bytes]:
    return [data[start : start + CHUNK] for start in range(0, len(data), CHUNK)]


# A work does something once and returns the number of messages.
Work = Callable[[], int]


def decoding(peer: str, message: str | bytes, single: bool) -> Work:
    frame = make_frame(message)
    chunks = [frame] if single else in_chunks(frame * max(1, STREAM // len(frame)))
    decode = CODECS[peer][0](False)
    decoded = [item for chunk in chunks for item in decode(chunk)]
    if not decoded or any(item != message for item in decoded):
        raise AssertionError(f"{peer} does not decode what was sent")

    def work() -> int:
        return sum(len(decode(chunk)) for chunk in chunks)

    return work


def encoding(peer: str, message: str | bytes, client: bool) -> Work:
    encode = CODECS[peer][1](client)

    def work() -> int:
        for _ in range(8):
            encode(message)
        return 8

    return work


def memory_works(peer: str, step: str) -> Work:
    """Return a step of the exchange in memory."""
    decoder, encoder = CODECS[peer]
    message = make_message(MEMORY_SIZE, "binary")
    # `client_decode` gets what a server has sent, so the decoder is a client's.
    client_encode, server_decode = encoder(True), decoder(False)
    server_encode, client_decode = encoder(False), decoder(True)
    requests = in_chunks(make_frame(message) * MEMORY_MESSAGES)
    answers = in_chunks(make_frame(message, masked=False) * MEMORY_MESSAGES)

    def send() -> int:
        for _ in range(MEMORY_MESSAGES):
            client_encode(message)
        return MEMORY_MESSAGES

    def echo() -> int:
        count = 0
        for chunk in requests:
            for received in server_decode(chunk):
                server_encode(received)
                count += 1
        return count

    def receive() -> int:
        return sum(len(client_decode(chunk)) for chunk in answers)

    return {"send": send, "echo": echo, "receive": receive}[step]


def can_run(peer: str, case: str) -> bool:
    if case.startswith("memory-"):
        return peer not in SERVER_ONLY
    return not (case.endswith("-client") and peer in WITHOUT_CLIENT_ENCODER)


def make_work(peer: str, case: str) -> tuple[Work, int]:
    """Return what a case does and the bytes of a message."""
    what, first, *rest = case.split("-")
    if what == "memory":
        return memory_works(peer, first), MEMORY_SIZE
    size = SIZES[first]
    if what == "encode":
        return encoding(peer, make_message(size, "binary"), rest == ["client"]), size
    kind = rest[0] if rest else "binary"
    return decoding(peer, make_message(size, kind), what == "single"), size


def microseconds(work: Work, seconds: float) -> float:
    """Return the CPU time a message, of the best run."""
    best = float("inf")
    work()
    for _ in range(RUNS):
        count, start = 0, process_time()
        while (elapsed := process_time() - start) < seconds / RUNS:
            count += work()
        best = min(best, elapsed / count)
    return best * 1e6


def measure(peer: str, cases: list[str], seconds: float) -> Iterator[dict[str, Any]]:
    for case in cases:
        if can_run(peer, case):
            work, size = make_work(peer, case)
            cost = microseconds(work, seconds)
            yield {"peer": peer, "workload": case, "us": cost, "rate": 1e6 / cost, "megabytes": size / cost}


def main(peer: str, seconds: str, *cases: str) -> None:
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    # picows and aiohttp look for the loop that runs.
    asyncio._set_running_loop(loop)
    for record in measure(peer, list(cases) or SHORT_CASES, float(seconds)):
        print(json.dumps(record), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
