"""What is received, made safe for a terminal: no control character and no escape sequence reaches it.

Control characters move the cursor, change colours or send answers as if they had been typed. Others turn the
direction of writing around. They are shown as in a Python string: ``\\x1b``.
"""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["escape_line", "escape_lines", "hex_lines"]

BYTES_A_LINE = 16

LONGEST_DUMP = 512
"""Bytes of a binary message that are shown."""


def escape_line(text: str) -> str:
    """Return a text as one line, with what is not printable escaped."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


def escape_lines(text: str) -> list[str]:
    """Return the lines of a text, each of them escaped; tabs stay."""
    return ["\t".join(map(escape_line, line.split("\t"))) for line in text.split("\n")]


def hex_lines(data: bytes) -> Iterator[str]:
    """Show bytes in hexadecimal: their number, then lines with offset, bytes and ASCII characters."""
    yield f"binary, {len(data):,} byte{'' if len(data) == 1 else 's'}"
    for offset in range(0, min(len(data), LONGEST_DUMP), BYTES_A_LINE):
        line = data[offset : offset + BYTES_A_LINE]
        characters = "".join(chr(each) if 32 <= each < 127 else "." for each in line)
        yield f"{offset:08x}  {line.hex(' '):{3 * BYTES_A_LINE - 1}}  {characters}"
    if len(data) > LONGEST_DUMP:
        yield f"... {len(data) - LONGEST_DUMP:,} bytes more"
