"""Messages as ``str`` or as ``bytes``, whole and in pieces."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.shared.decoding import PieceConverter, convert_message
from wsproto_core.types import Data

MESSAGES = st.text(max_size=60) | st.binary(max_size=60)


def test_convert_message() -> None:
    assert convert_message("é", None) == "é"
    assert convert_message(b"e", None) == b"e"
    assert convert_message("é", True) == "é"
    assert convert_message("é", False) == b"\xc3\xa9"
    assert convert_message(b"\xc3\xa9", True) == "é"
    assert convert_message(b"\xc3\xa9", False) == b"\xc3\xa9"
    with pytest.raises(UnicodeDecodeError):
        convert_message(b"\xff", True)


@pytest.mark.parametrize(
    ("decode", "pieces", "expected"),
    [
        (None, [b"a\xc3", b"\xa9"], [b"a\xc3", b"\xa9"]),
        (None, ["a", "é"], ["a", "é"]),
        (True, [b"a\xc3", b"\xa9"], ["a", "é"]),
        (True, ["a", "é"], ["a", "é"]),
        (False, [b"a\xc3", b"\xa9"], [b"a\xc3", b"\xa9"]),
        (False, ["a", "é"], [b"a", b"\xc3\xa9"]),
    ],
)
def test_convert_pieces(decode: bool | None, pieces: list[Data], expected: list[Data]) -> None:
    converter = PieceConverter(decode)
    assert [
        converter.convert(piece, number == len(pieces)) for number, piece in enumerate(pieces, 1)
    ] == expected


def test_convert_pieces_that_end_within_a_character() -> None:
    converter = PieceConverter(True)
    assert converter.convert(b"a\xc3", False) == "a"
    with pytest.raises(UnicodeDecodeError):
        converter.convert(b"", True)


@given(MESSAGES, st.lists(st.integers(0, 60), max_size=5), st.sampled_from([None, True, False]))
def test_pieces_are_converted_as_the_message_is(message: Data, cuts: list[int], decode: bool | None) -> None:
    def outcome(convert: Callable[[], Data]) -> Data | None:
        try:
            return convert()
        except UnicodeDecodeError:
            return None

    def in_pieces() -> Data:
        converter = PieceConverter(decode)
        edges = [0, *sorted(min(position, len(message)) for position in cuts), len(message)]
        pieces: list[Any] = [
            converter.convert(message[start:end], number == len(edges) - 1)
            for number, (start, end) in enumerate(pairwise(edges), 1)
        ]
        return type(pieces[0])().join(pieces)  # type: ignore[no-any-return]

    assert outcome(in_pieces) == outcome(lambda: convert_message(message, decode))
