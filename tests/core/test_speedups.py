"""The choice between the two halves of the core, and that they are equal."""

from __future__ import annotations

import gc
import importlib
import os
import sys
import threading
import tracemalloc
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from typing import Any

import pytest

import wsproto_core
from tests.halves import import_copy, is_built, pure_module
from wsproto_core import codec
from wsproto_core._speedups import prefer_compiled
from wsproto_core.assembly import PayloadBuffer
from wsproto_core.outbox import Outbox
from wsproto_core.types import Data

from .helpers import opened_pair

KEY = b"\x37\xfa\x21\x3d"
LIMIT = 1 << 63
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


# References


def frames_of_all_kinds() -> None:
    messages: deque[Any] = deque()
    for payload in ("x", "é" * 100, b"\xff" * 300, "x" * 70_000, "漢" * 30_000, "😀" * 1000):
        for key in (b"", KEY):
            data = b"".join(codec.encode_frame(0x81 + isinstance(payload, bytes), payload, key))
            codec.decode_messages(data, 0, bool(key), LIMIT, messages)
            codec.decode_messages(data[:-1], 0, bool(key), LIMIT, messages)
            codec.decode_messages(data, 0, not key, LIMIT, messages)
            codec.apply_mask(memoryview(data), KEY)
            codec.encode_frame(0x82, bytearray(data), key)
    codec.decode_messages(b"\x81\x01\xff", 0, False, LIMIT, messages)


def mistakes() -> None:
    calls: list[tuple[Any, Any]] = [
        (codec.encode_frame, (300, b"")),
        (codec.encode_frame, (0x81, "\ud800")),
        (codec.encode_frame, (0x81, 5)),
        (codec.encode_frame, (0x81, "x", "")),
        (codec.encode_frame, (0x81, b"x", b"key")),
        (codec.apply_mask, ("x", KEY)),
        (codec.apply_mask, (b"x", 5)),
        (codec.decode_messages, ("x", 0, True, LIMIT, deque())),
        (codec.decode_messages, (b"\x81\x01x", 0, False, LIMIT, [])),
        (codec.decode_messages, (b"\x81\x01x", 0, False, "x", deque())),
        (PayloadBuffer, ()),
        (PayloadBuffer(True).add, (b"\xff", 0, 1)),
        (PayloadBuffer(True).add, (b"\xed\xa0", 0, 2)),
        (PayloadBuffer(False).add, (5, 0, 1)),
        (PayloadBuffer(False).add, (b"x", 0, "x")),
        (PayloadBuffer(False).commit, ("x",)),
    ]
    for function, arguments in calls:
        with suppress(TypeError, ValueError, OverflowError, AttributeError):
            function(*arguments)


def payload_in_pieces() -> None:
    for text in (True, False):
        for payload in (b"x" * 1000, "é".encode() * 1000):
            buffer = PayloadBuffer(text)
            buffer.add(payload, 0, 999, b"")
            buffer.take()
            buffer.add(payload, 999, len(payload), b"")
            view = buffer.reserve(200_000)
            view[:4] = b"abcd"
            buffer.commit(4)
            buffer.reserve(10)
            buffer.finish()
            buffer = PayloadBuffer(text)
            buffer.add(payload, 0, len(payload), KEY if not text else b"")
            buffer.reserve(5)
            buffer.drop()
            buffer.add(payload, 0, len(payload), b"")
            buffer.finish()
    buffer = PayloadBuffer(True)
    buffer.add(b"\xc3", 0, 1)
    with suppress(UnicodeDecodeError):
        buffer.finish()


def messages_of_a_connection() -> None:
    options = {"write_limit": 1000, "max_queue": 4}
    client, server = opened_pair({"random": bytes, **options}, options)
    for number in range(10):
        for sender, receiver in ((client, server), (server, client)):
            for _ in range(number):
                sender.send(b"x" * 100)
            # Above the watermark, the bytes count as unwritten.
            data = b"".join(sender.send_queue.take(True))
            sender.data_sent()
            assert sender.send_queue.take(True) == []
            receiver.receive_data(data)
            assert [receiver.next_message() for _ in range(number)] == [b"x" * 100] * number
            assert receiver.next_message() is None


@pytest.mark.parametrize("work", [frames_of_all_kinds, mistakes, payload_in_pieces, messages_of_a_connection])
def test_no_reference_is_lost(work: Callable[[], None]) -> None:
    """Objects that are not freed would be counted; and so would ones that are freed once too often."""
    constants = (None, True, False, KEY, "", b"")

    def counts() -> list[int]:
        gc.collect()
        return [sys.getallocatedblocks(), *map(sys.getrefcount, constants)]

    for _ in range(10):
        work()
    before = counts()
    for _ in range(100):
        work()
    assert all(abs(now - then) < 50 for now, then in zip(counts(), before, strict=True))


# Threads


def test_threads_share_objects() -> None:
    """Whatever the threads do to each other's messages, no memory is harmed, and nothing is lost."""
    data = b"".join(codec.encode_frame(0x81, "Hello", KEY)) * 100
    messages: deque[tuple[Data, int]] = deque()
    buffer = PayloadBuffer(False)
    taken: list[int] = []

    def work() -> None:
        for _ in range(100):
            codec.decode_messages(data, 0, True, LIMIT, messages)
            buffer.add(b"x" * 1000, 0, 1000)
            taken.append(len(buffer.take() or b""))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(messages) == 40_000
    assert set(messages) == {("Hello", 69)}
    if wsproto_core.COMPILED:
        assert sum(taken) == 400_000


# Memory that is received into


def test_memory_grows_with_what_has_arrived() -> None:
    buffer = PayloadBuffer(False)
    sizes = []
    for _ in range(5):
        view = buffer.reserve(2**62)
        sizes.append(len(view))
        view[:] = bytes(len(view))
        buffer.commit(len(view))
    assert sizes == [131072, 131072, 262144, 524288, 1048576]
    assert buffer.size == sum(sizes)


@pytest.mark.parametrize("text", [False, True])
def test_a_view_of_reserved_memory_outlives_the_message(text: bool) -> None:
    """A reader may keep it; then the memory cannot be moved, and the message is what was committed."""
    buffer = PayloadBuffer(text)
    views = []
    for _ in range(3):
        views.append(buffer.reserve(200_000))
        views[-1][:5] = b"Hello"
        buffer.commit(5)
    message = buffer.finish()
    assert message == ("HelloHelloHello" if text else b"HelloHelloHello")
    del buffer, message
    for view in views:
        view[:] = bytes(len(view))


@pytest.fixture
def compiled_buffer() -> Any:
    """The class in C, even where pure Python is in use."""
    return importlib.import_module("wsproto_core._speedups._compiled").PayloadBuffer


@needs_extension
@pytest.mark.parametrize("text", [False, True])
def test_a_message_that_was_received_in_place_is_not_copied(compiled_buffer: Any, text: bool) -> None:
    buffer = compiled_buffer(text)
    view = buffer.reserve(100_000)
    view[:] = b"x" * 100_000
    buffer.commit(100_000)
    tracemalloc.start()
    try:
        message = buffer.finish()
        assert tracemalloc.get_traced_memory()[1] < 1000
    finally:
        tracemalloc.stop()
    assert len(message) == 100_000


@needs_extension
@pytest.mark.parametrize("wrong", [b"\xff", b"\xed\xa0", b"\xe2\x82x", b"\xf0\x9f\x98x" * 100])
def test_what_was_valid_stays(compiled_buffer: Any, wrong: bytes) -> None:
    """After an error, nobody should go on; nothing is cut within a character if somebody does."""
    buffer = compiled_buffer(True)
    valid = "漢".encode() * 40
    buffer.add(valid, 0, len(valid))
    for _ in range(2):
        with pytest.raises(UnicodeDecodeError):
            buffer.add(wrong, 0, len(wrong))
    assert buffer.size == len(valid)
    assert buffer.take() == "漢" * 40


@needs_extension
def test_memory_that_is_not_there_is_not_touched(compiled_buffer: Any) -> None:
    """Mistakes of the caller that would read or write somewhere."""
    buffer = compiled_buffer(False)
    for wrong in (-1, 1):
        with pytest.raises(ValueError, match="reserved"):
            buffer.commit(wrong)
    buffer.reserve(10)
    for wrong in (-1, 11):
        with pytest.raises(ValueError, match="10 bytes were reserved"):
            buffer.commit(wrong)
    buffer.add(b"x", 0, 1)
    with pytest.raises(ValueError, match="reserved"):
        buffer.commit(1)
    for size in (0, -1):
        with pytest.raises(ValueError, match="positive"):
            buffer.reserve(size)
    for start, stop in ((0, 2), (-1, 1), (1, 0)):
        with pytest.raises(ValueError, match="no bytes"):
            buffer.add(b"x", start, stop)


@pytest.mark.parametrize("kind", [wsproto_core.ClientProtocol, wsproto_core.ServerProtocol])
def test_objects_without_values(kind: type) -> None:
    """A method that is called before ``__init__`` raises an error, as in Python."""
    protocol: Any = kind.__new__(kind)
    calls: list[Callable[[], Any]] = [
        lambda: protocol.receive_data(b"\x81\x00"),
        protocol.next_message,
        lambda: protocol.send("a"),
        protocol.data_to_send,
        protocol.data_sent,
        lambda: Outbox.__new__(Outbox).take(True),
    ]
    for call in calls:
        with pytest.raises(AttributeError):
            call()
