"""The choice between the two halves of the core, and that they are equal."""

from __future__ import annotations

import os
import sys
from collections import deque
from itertools import count
from typing import Any

import pytest

import wsproto_core
from tests.halves import import_copy, is_built, pure_module
from wsproto_core import codec
from wsproto_core._speedups import prefer_compiled

KEY = b"\x37\xfa\x21\x3d"
NUMBERS = count()

needs_extension = pytest.mark.skipif(not is_built(), reason="needs a C compiler")

# The choice


@pytest.fixture
def name() -> str:
    return f"wsproto_core_copy_{next(NUMBERS)}"


def test_the_environment_chooses(name: str) -> None:
    wanted = os.environ.get("WSPROTO_CORE_PURE", "") in ("", "0")
    assert wsproto_core.COMPILED is (wanted and is_built())
    assert prefer_compiled(codec.apply_mask) is codec.apply_mask


@needs_extension
@pytest.mark.parametrize(("value", "compiled"), [("", True), ("0", True), ("1", False), ("yes", False)])
def test_values_of_the_environment_variable(name: str, value: str, compiled: bool) -> None:
    speedups = import_copy(name, value)
    assert speedups.COMPILED is compiled
    pure = pure_module("codec").apply_mask
    assert speedups.prefer_compiled(pure) is (
        sys.modules[f"{name}._speedups._compiled"].apply_mask if compiled else pure
    )


def test_without_the_extension_module(name: str) -> None:
    speedups = import_copy(name, "", built=False)
    assert not speedups.COMPILED
    assert speedups.prefer_compiled(len) is len


# Masking


@pytest.mark.parametrize("length", [*range(300), 1023, 1024, 4096, 65537])
def test_masks_are_equal(length: int) -> None:
    data = bytes(range(256)) * (length // 256 + 1)
    for start in range(4):
        piece = data[start : start + length]
        assert codec.apply_mask(piece, KEY) == pure_module("codec").apply_mask(piece, KEY)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_masks_of_bytes_like_objects(kind: type) -> None:
    assert codec.apply_mask(kind(b"Hello"), kind(KEY)) == bytes.fromhex("7f9f4d5158")


# Errors of the caller


@pytest.mark.parametrize("half", [codec, pure_module("codec")])
@pytest.mark.parametrize("first", [-1, 256, 2**70])
def test_first_byte_that_is_no_byte(half: Any, first: int) -> None:
    with pytest.raises((ValueError, OverflowError)):
        half.encode_frame(first, b"")


@pytest.mark.parametrize("half", [codec, pure_module("codec")])
def test_wrong_types(half: Any) -> None:
    for arguments in [(), (0x82,), (0x82, 5), (0x82, None), (0x82, b"", KEY, 4), ("x", b"")]:
        with pytest.raises(TypeError):
            half.encode_frame(*arguments)
    for arguments in [(), (b"",), ("x", KEY), (5, KEY), (b"x", 5), (b"x", KEY, KEY)]:
        with pytest.raises(TypeError):
            half.apply_mask(*arguments)
    for arguments in [(), (b"",), (5, 0, True, 5, deque()), (b"\x82\x00", 0, False, "x", deque())]:
        with pytest.raises(TypeError):
            half.decode_messages(*arguments)


@pytest.mark.parametrize("half", [codec, pure_module("codec")])
def test_surrogates_are_no_text(half: Any) -> None:
    with pytest.raises(UnicodeEncodeError):
        half.encode_frame(0x81, "\ud800")
