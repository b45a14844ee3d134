"""One direction of a TCP connection: latency, bandwidth, partial reads and writes, stalls, loss, its end."""

from __future__ import annotations

import math
from collections import deque
from random import Random

from .virtual_time import Time, ticks

__all__ = ["Conditions", "Pipe"]

INFINITE = math.inf


class Conditions:
    """The conditions of one direction.

    Attributes:
        latency: seconds that a byte takes.
        rate: bytes a second; infinite for a network without this limit.
        capacity: bytes under way, at most: the buffers of both sockets.
        read_size: bytes that a read gives, at most.
        ragged: whether reads and writes take fewer bytes than they could.
    """

    __slots__ = ("capacity", "latency", "ragged", "rate", "read_size")

    def __init__(self, latency: float, rate: float, capacity: int, read_size: int, ragged: bool) -> None:
        self.latency = latency
        self.rate = rate
        self.capacity = capacity
        self.read_size = read_size
        self.ragged = ragged

    def __repr__(self) -> str:
        return ", ".join(f"{name}={getattr(self, name)}" for name in self.__slots__)


class Pipe:
    """What one end has written and the other has not read.

    Attributes:
        ended: whether the writer has ended its half.
        lost: whether bytes are lost silently, and the end of file as well.
    """

    __slots__ = (
        "_conditions", "_eof_at", "_flying", "_free_at", "_here", "_random", "_size", "_stalled_until",
        "_time", "ended", "lost",
    )  # fmt: skip

    def __init__(self, time: Time, conditions: Conditions, random: Random) -> None:
        self._time = time
        self._conditions = conditions
        self._random = random
        self._flying: deque[tuple[float, bytes]] = deque()  # with their times of arrival, which ascend
        self._here = bytearray()
        self._size = 0  # of both
        self._free_at = 0.0  # when the line has sent all bytes
        self._stalled_until = 0.0
        self._eof_at = INFINITE
        self.ended = False
        self.lost = False

    # The writer's end

    def write(self, data: bytearray) -> int:
        """Take bytes, as many as there is room for, or fewer; return how many."""
        if not self.has_room:
            return 0
        conditions = self._conditions
        count = min(len(data), conditions.capacity - self._size)
        if count > 1 and conditions.ragged:
            count = self._random.randint(1, count)
        if count:
            self._size += count
            self._flying.append((self._arrival(count), bytes(data[:count])))
        return count

    @property
    def has_room(self) -> bool:
        """Whether the system says that the stream is writable: a quarter of the buffers is free."""
        return self._size * 4 <= self._conditions.capacity * 3

    def end(self) -> None:
        """End this half of the stream, behind all bytes."""
        if not self.ended:
            self.ended = True
            self._eof_at = self._arrival(0)

    def _arrival(self, count: int) -> float:
        """When bytes that leave now arrive, behind all others."""
        if self.lost:
            return INFINITE
        conditions = self._conditions
        self._free_at = max(self._free_at, self._time.now) + (ticks(count / conditions.rate) if count else 0)
        return self._free_at + conditions.latency

    def signal_arrival(self) -> float:
        """When a reset that is sent now arrives: it overtakes bytes."""
        return INFINITE if self.lost else self._after_stall(self._time.now + self._conditions.latency)

    # Faults

    def lose(self) -> None:
        """Lose what has not arrived, and all that will be written."""
        self._land()
        self.lost = True
        self._flying = deque((INFINITE, data) for _, data in self._flying)
        if self._after_stall(self._eof_at) > self._time.now:
            self._eof_at = INFINITE

    def stall(self, seconds: float) -> None:
        """Let nothing arrive for so long."""
        self._land()
        self._stalled_until = max(self._stalled_until, self._time.now + seconds)

    # The reader's end

    def read(self, size: int = 65536) -> bytes | None:
        """Return what has arrived, at least a byte; ``b""`` at the end of file; ``None`` if nothing has.

        Args:
            size: bytes that are wanted, at most.
        """
        if self._flying:
            self._land()
        count = len(self._here)
        if not count:
            # The end of file arrives behind all bytes.
            return b"" if not self._flying and self._after_stall(self._eof_at) <= self._time.now else None
        conditions = self._conditions
        count = min(count, conditions.read_size, size)
        if count > 1 and conditions.ragged:
            count = self._random.randint(1, count)
        data = bytes(self._here[:count])
        del self._here[:count]
        self._size -= count
        return data

    def discard(self) -> bool:
        """The reader has closed: forget what is unread; return whether there was anything."""
        self._land()
        unread = bool(self._here) or (bool(self._flying) and self._flying[0][0] < INFINITE)
        self._here.clear()
        self._flying.clear()
        self._size = 0
        return unread

    def first_arrival(self) -> float:
        """When something has arrived that can be read: the past, or the future."""
        if self._here:
            return 0.0
        return self._after_stall(self._flying[0][0] if self._flying else self._eof_at)

    def _after_stall(self, time: float) -> float:
        return max(time, self._stalled_until)

    def _land(self) -> None:
        now = self._time.now
        if now < self._stalled_until:
            return
        flying = self._flying
        while flying and flying[0][0] <= now:
            self._here += flying.popleft()[1]
