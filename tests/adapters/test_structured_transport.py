"""A stream whose every operation waits, behind operations that do not."""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Coroutine, Iterator
from typing import Any, cast

import pytest

from adapters.structured.runtime import Runtime
from adapters.structured.transport import WRITE_SIZE, SocketTransport, WaitingTransport


class Stream(WaitingTransport):
    """Receives what it is given, and keeps what it sends."""

    def __init__(self, *received: bytes) -> None:
        super().__init__(None, self._send)
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
    buffers = deque([memoryview(b"one"), memoryview(b"two")])
    assert stream.write(buffers) == 0
    run(stream.wait_writable())
    assert stream.sent == [b"onetwo"]
    assert stream.write(buffers) == 6
    assert stream.write(deque([memoryview(b"three")])) == 0


def test_much_is_sent_in_parts() -> None:
    stream = Stream()
    buffers = deque([memoryview(bytes(WRITE_SIZE + 1))])
    assert stream.write(buffers) == 0
    run(stream.wait_writable())
    assert [len(data) for data in stream.sent] == [WRITE_SIZE]
    assert stream.write(buffers) == WRITE_SIZE


class Memory:
    """Stands for a buffer; counts the bytes that are looked at."""

    def __init__(self, size: int) -> None:
        self._size = size
        self.looked_at = 0

    def __getitem__(self, part: slice) -> memoryview:
        size = len(range(self._size)[part])
        self.looked_at += size
        return memoryview(bytes(size))


def test_a_part_costs_nothing_for_what_follows() -> None:
    # Or sending one large message takes time that grows with the square of its size.
    buffers = [Memory(WRITE_SIZE - 1), Memory(2**30), Memory(2**30)]
    stream = Stream()
    stream.write(deque(cast(list[memoryview], buffers)))
    run(stream.wait_writable())
    assert [len(data) for data in stream.sent] == [WRITE_SIZE]
    assert [buffer.looked_at for buffer in buffers] == [WRITE_SIZE - 1, 1, 0]


class Counted(deque[memoryview]):
    """Counts the buffers that are looked at."""

    looked_at = 0

    def __iter__(self) -> Iterator[memoryview]:
        for buffer in super().__iter__():
            self.looked_at += 1
            yield buffer


def test_a_socket_is_given_some_of_many_buffers() -> None:
    # Or sending many small messages that wait takes time that grows with the square of their number.
    ours, theirs = socket.socketpair()
    with ours, theirs:
        buffers = Counted([memoryview(b"x")] * 10_000)
        count = SocketTransport(cast(Runtime, None), ours).write(buffers)
        assert len(theirs.recv(10_000)) == count == buffers.looked_at < 1000


def test_its_halves_end_together() -> None:
    stream = Stream()
    assert not stream.has_halves
    with pytest.raises(NotImplementedError):
        stream.send_eof()
