"""A stream whose every operation waits, behind operations that do not."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

import pytest

from adapters.structured.transport import WRITE_SIZE, WaitingTransport


class Stream(WaitingTransport):
    """Receives what it is given, and keeps what it sends."""

    def __init__(self, *received: bytes) -> None:
        super().__init__()
        self.left = list(received)
        self.sent: list[bytes] = []

    async def _receive(self) -> bytes:
        return self.left.pop(0)

    async def _send(self, data: bytes) -> None:
        self.sent.append(data)


def run(coroutine: Coroutine[Any, Any, None]) -> None:
    with pytest.raises(StopIteration):
        coroutine.send(None)


def test_what_was_received_is_kept_until_it_is_read() -> None:
    stream = Stream(b"one", b"two", b"")
    assert stream.read() is None
    run(stream.wait_readable())
    run(stream.wait_readable())
    assert stream.left == [b"two", b""]
    assert [stream.read(), stream.read()] == [b"one", None]
    run(stream.wait_readable())
    assert stream.read() == b"two"
    run(stream.wait_readable())
    assert stream.read() == b""


def test_what_is_to_be_sent_is_written_when_it_has_been_sent() -> None:
    stream = Stream()
    buffers = [memoryview(b"one"), memoryview(b"two")]
    assert stream.write(buffers) == 0
    run(stream.wait_writable())
    assert stream.sent == [b"onetwo"]
    assert stream.write(buffers) == 6
    assert stream.write([memoryview(b"three")]) == 0


def test_much_is_sent_in_parts() -> None:
    stream = Stream()
    assert stream.write([memoryview(bytes(WRITE_SIZE + 1))]) == 0
    run(stream.wait_writable())
    assert [len(data) for data in stream.sent] == [WRITE_SIZE]
    assert stream.write([memoryview(bytes(WRITE_SIZE + 1))]) == WRITE_SIZE


def test_its_halves_end_together() -> None:
    stream = Stream()
    assert not stream.has_halves
    with pytest.raises(NotImplementedError):
        stream.send_eof()
