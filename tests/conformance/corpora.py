"""The data that the cases on permessage-deflate send: of the kinds that Autobahn has, made here.

Each is longer than the longest message and made from a fixed seed, so it is the same in each run. Text is
sliced by characters, as in Autobahn.
"""

from __future__ import annotations

import functools
import json
import random
from collections.abc import Callable

__all__ = ["CORPORA", "Corpus", "html", "image", "json_records", "noise", "prose"]

Corpus = Callable[[], str | bytes]

SIDE = 512
"""Pixels in a row of the picture, and rows."""

WORDS = [
    "und", "der", "die", "das", "nicht", "für", "über", "Gewässer", "schön", "Tür", "groß", "Geist", "Wort",
    "Licht", "Nacht", "wieder", "immer", "Straße", "möchte", "Größe", "Stern", "Wasser", "hören", "während",
    "Ende", "Anfang", "Schlüssel",
]  # fmt: skip


@functools.cache
def json_records() -> str:
    """Records with the same keys in JSON, all of ASCII."""
    rng = random.Random(1)
    records = [
        {
            "id": number,
            "active": rng.random() < 0.5,
            "balance": round(rng.uniform(0, 9999), 2),
            "name": " ".join(rng.choices(WORDS, k=2)).title(),
            "tags": rng.sample(WORDS, 5),
            "position": [round(rng.uniform(-180, 180), 6), round(rng.uniform(-90, 90), 6)],
            "key": f"{rng.getrandbits(128):032x}",
        }
        for number in range(900)
    ]
    return json.dumps(records)


@functools.cache
def image() -> bytes:
    """A picture of 8-bit gray: gradients with a little noise in the lowest bits."""
    rng = random.Random(2)
    ramp = bytes((x // 3) & 0xFF for x in range(4 * SIDE))
    mask = int.from_bytes(b"\x03" * SIDE)
    rows = []
    for y in range(SIDE):
        row = int.from_bytes(ramp[2 * y : 2 * y + SIDE])
        rows.append((row ^ (rng.getrandbits(8 * SIDE) & mask if y % 4 else 0)).to_bytes(SIDE))
    # Behind a palette, as in a BMP: without it, the pieces of the picture would soon be the same again.
    palette = b"".join(bytes([level, level, level, 0]) for level in range(256))
    return palette + b"".join(rows)


@functools.cache
def prose() -> bytes:
    """Words in sentences, some of them not of ASCII, in UTF-8; sent as binary messages."""
    rng = random.Random(3)
    lines = [" ".join(rng.choices(WORDS, k=rng.randrange(4, 12))).capitalize() + "." for _ in range(5000)]
    return "\n".join(lines).encode()


@functools.cache
def html() -> str:
    """A large table in HTML: long repetitions, and characters of one to four bytes in UTF-8."""
    rng = random.Random(4)
    rows = [
        f'<tr class="row {rng.choice(("odd", "even"))}"><td class="number">{number}</td>'
        f'<td><a href="/items/{number}">{rng.choice(WORDS)} {rng.choice("€→α漢🙂é")}</a></td></tr>\n'
        for number in range(2200)
    ]
    return f"<!DOCTYPE html><table>\n{''.join(rows)}</table>\n"


@functools.cache
def noise() -> bytes:
    """Random bytes, which no compression makes shorter."""
    return random.Random(5).randbytes(200_003)


CORPORA: dict[int, tuple[str, Corpus]] = {
    1: ("JSON", json_records),
    2: ("a picture in 8-bit gray", image),
    3: ("prose in UTF-8, as binary messages", prose),
    4: ("HTML with many repetitions", html),
    5: ("random bytes", noise),
}
"""By the number of the subsection of section 12: what it is, and the function that makes it."""
