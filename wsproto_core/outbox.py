"""What is on its way out: its order, and how much of it there is.

Obligations are pulled. Nothing is written here; whoever writes asks for what is to be written when
there is room for it. So a peer that does not read cannot make this grow: while bytes are unwritten,
only its latest ping is answered.

The order is: the opening handshake, the pongs that are due, then messages, pings and pongs as they were
given, then the close frame, and nothing after it (RFC 6455 section 5.5.1). A ping that we send never
overtakes a message: its pong proves that what was sent before has arrived.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .extensions.base import Extension
from .frames import FIN, Opcode
from .limits import Watermarks
from .observing import NOBODY, Observer, make_writer
from .prepared import Sharing
from .statistics import Stopwatch

__all__ = ["Outbox"]

PONGS_KEPT = 2**16
"""Bytes of input for whose pings the pongs are kept, beside those of one read, until they are asked for."""


class Outbox:
    """Frames that have been given and not been written.

    Attributes:
        writer: builds the frames.
        queued: bytes that have not been handed out.
        unwritten: bytes that have been handed out and not been written.
        bytes_sent: bytes that have been handed out so far.
        on_ping_written: called when the ping that :meth:`time_ping` has marked has been written.
        on_writable: called with :attr:`writable` when it has changed.
        ready: what decides how a whole message is encoded, while it is known that one can be written at
            once; ``None`` says only that it is not known. A change of phase ends it, too.
        shared: number of shared frames that were sent as messages, beside those that the writer built.
        outdated: while ready, whether the writer's extensions have to start anew in any case.
        blocked: for how long it has not been writable.
        writable: turns false when more bytes than the high-water mark wait to be written, and true
            again when they are down to the low one.
    """

    __slots__ = (
        "_buffers",
        "_close",
        "_close_taken",
        "_marks",
        "_opening",
        "_ping_end",
        "_ping_queued",
        "_pongs",
        "_pongs_since",
        "_random",
        "blocked",
        "bytes_sent",
        "on_ping_written",
        "on_writable",
        "outdated",
        "queued",
        "ready",
        "shared",
        "unwritten",
        "writable",
        "writer",
    )

    def __init__(
        self, random: Callable[[int], bytes] | None, marks: Watermarks, clock: Callable[[], float]
    ) -> None:
        """
        Args:
            random: source of masking keys, given the number of bytes; ``None`` for unmasked frames.
            marks: of bytes that wait to be written.
            clock: returns the time in seconds.
        """
        self._random = random
        self.blocked = Stopwatch(clock)
        self.queued = 0
        self.unwritten = 0
        self.bytes_sent = 0
        self.ready: Sharing | None = None
        self.shared = 0
        self.outdated = False
        self.writable = True
        self._marks = marks
        self._opening: list[bytes] = []
        self._buffers: list[bytes] = []
        self._pongs: list[bytes] = []
        self._pongs_since = 0
        # Where the ping that is timed ends: in what is queued, and in all that has been handed out.
        self._ping_queued: int | None = None
        self._ping_end: int | None = None
        self.on_ping_written: Callable[[], object] = bool
        self.on_writable: Callable[[bool], object] = bool
        self._close: bytes | None = None
        self._close_taken = False
        self.use_extensions(())

    def use_extensions(self, extensions: Sequence[Extension], observer: Observer = NOBODY) -> None:
        """Apply these to what goes out, and tell the observer of it; no frame may have been added yet."""
        self.writer = make_writer(observer, random=self._random, extensions=extensions)

    def open(self, data: bytes) -> None:
        """Add what the opening handshake has to say: it goes before all frames, and is never dropped."""
        self._opening.append(data)
        self.queued += len(data)

    def add(self, buffers: list[bytes]) -> None:
        """Add a frame, in one or two buffers."""
        self.ready = None
        for buffer in buffers:
            self._buffers.append(buffer)
            self.queued += len(buffer)
        if self.queued + self.unwritten > self._marks.high:
            self._block()

    def add_control(self, opcode: Opcode, payload: bytes) -> None:
        """Add a control frame."""
        self.add(self.writer.frame(FIN | opcode, payload))

    def time_ping(self) -> None:
        """Call :attr:`on_ping_written` when all that has been added so far has been written."""
        self._ping_queued = self.queued

    def answer_ping(self, payload: bytes, received: int) -> None:
        """Add the pong that is due.

        Every ping is answered, as peers may wait for each payload, as long as that takes no more room
        than what was read at once. A peer that sends pings and does not read gets one answer: "If an
        endpoint receives a Ping frame and has not yet sent Pong frame(s) in response to previous Ping
        frame(s), the endpoint MAY elect to send a Pong frame for only the most recently processed Ping
        frame." (RFC 6455 section 5.5.3)

        Args:
            received: bytes received so far.
        """
        if self._close_taken:
            return
        self.ready = None
        if self.unwritten or (self._pongs and received - self._pongs_since > PONGS_KEPT):
            self._pongs.clear()
        if not self._pongs:
            self._pongs_since = received
        self._pongs.append(payload)

    def close(self, payload: bytes) -> None:
        """Set the close frame, which is the last one; there is only one."""
        self._close = payload

    def drop(self) -> None:
        """Forget what has not been handed out, but for the opening handshake and the close frame."""
        self._buffers = []
        self.queued = sum(map(len, self._opening))
        self._pongs.clear()
        self._ping_queued = None

    def take(self) -> list[bytes]:
        """Hand out everything, in order."""
        own = self.queued
        if self._pongs:
            pongs, self._pongs = self._pongs, []
            frames = [buffer for payload in pongs for buffer in self.writer.frame(FIN | Opcode.PONG, payload)]
            self._buffers[:0] = frames
            self.queued += sum(map(len, frames))
        if self._ping_queued is not None:
            self._ping_end = self.bytes_sent + self._ping_queued + self.queued - own
            self._ping_queued = None
        if self._opening:
            self._buffers[:0] = self._opening
            self._opening = []
        if self._close is not None:
            payload, self._close = self._close, None
            self._close_taken = True
            self.add(self.writer.frame(FIN | Opcode.CLOSE, payload))
        buffers = self._buffers
        if buffers:
            self._buffers = []
            self.unwritten += self.queued
            self.bytes_sent += self.queued
            self.queued = 0
        return buffers

    def hold(self, count: int) -> None:
        """Of what was handed out and counted as written, ``count`` bytes have not been written."""
        self.ready = None
        self.unwritten += count
        if self.queued + self.unwritten > self._marks.high:
            self._block()

    def _block(self) -> None:
        if self.writable:
            self.writable = False
            self.blocked.start()
            self.on_writable(False)

    def written(self, count: int | None) -> None:
        """Of what was handed out, ``count`` bytes have been written; ``None``: all."""
        self.unwritten = 0 if count is None or count >= self.unwritten else self.unwritten - count
        if self._ping_end is not None and self.bytes_sent - self.unwritten >= self._ping_end:
            self._ping_end = None
            self.on_ping_written()
        if not self.writable and self.queued + self.unwritten <= self._marks.low:
            self.writable = True
            self.blocked.stop()
            self.on_writable(True)
