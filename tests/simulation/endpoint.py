"""One end of a connection: it drives a protocol as :class:`~wsproto_core.Protocol` wants to be driven.

The order in which it finds the stream readable and writable is random, as is whether it writes at once. It
notes what happens to it in its :class:`~.facts.Facts`, and checks what must hold at each moment.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random
from typing import Any
from typing import Protocol as Interface

from wsproto_core import Protocol, State, StreamAction

from .facts import Facts
from .network import Pipe
from .virtual_time import Clock, Time
from .wire import Wire

__all__ = ["Endpoint", "User", "Violation"]

INFINITE = math.inf
MESSAGE_OVERHEAD = 64
DECOMPRESSED_AT_ONCE = 2**16

OPEN, CONNECTING, CLOSED = State.OPEN, State.CONNECTING, State.CLOSED


class Violation(AssertionError):
    """What must hold does not."""


class User(Interface):
    """What an endpoint needs of its application."""

    wake_at: float
    received: int

    @property
    def has_room(self) -> bool:
        """Whether it has waited for room to send, and there is room."""

    def start(self) -> None:
        """The connection is open."""

    def turn(self, now: float) -> bool:
        """Do what there is to do; return whether there was anything."""


class Endpoint:
    """One end of a connection.

    Attributes:
        name: for messages.
        protocol, clock: what it drives, and its clock.
        incoming, outgoing: the directions of its stream.
        peer: the other end.
        user: its application.
        facts: what has happened to it.
        wire: reads what it has read.
        closed: whether it has closed the stream.
        blocked_until: the time until which it is not at work.
        reads_from: the time from which on it reads the stream.
        reset_at: the time at which a reset arrives.
        idle: whether its last turn has left nothing to do, and no command has been given since.
    """

    __slots__ = (
        "_later", "_most_arrived", "_most_read", "_random", "_state", "_tell", "_time", "_unwritten",
        "blocked_until", "clock", "closed", "facts", "idle", "incoming", "name", "outgoing", "peer",
        "protocol", "reads_from", "reset_at", "user", "wire",
    )  # fmt: skip

    peer: Endpoint
    user: User

    def __init__(
        self,
        name: str,
        protocol: Protocol,
        time: Time,
        clock: Clock,
        incoming: Pipe,
        outgoing: Pipe,
        random: Random,
        tell: Callable[[str], None] | None,
    ) -> None:
        self.name = name
        self.protocol = protocol
        self.clock = clock
        self.incoming = incoming
        self.outgoing = outgoing
        self.facts = Facts(clock())
        self.wire = Wire(masked=name == "server", opened=protocol.state is OPEN)
        self.closed = False
        self.blocked_until = 0.0
        self.reads_from = 0.0
        self.reset_at = INFINITE
        self.idle = False
        self._time = time
        self._random = random
        self._tell = tell
        self._state = CONNECTING
        self._unwritten = bytearray()
        self._most_arrived = self._most_read = 0  # messages and bytes in one read
        self._later = False  # whether it has left something to do for another turn

    def tell(self, what: str) -> None:
        """Tell what happens, if anybody wants to know."""
        if self._tell is not None:
            self._tell(f"{self._time.now:12.6f} {self.name}: {what}")

    # Turns

    def turn(self) -> bool:
        """Do what there is to do at this time, once; return whether there was anything."""
        if self._time.now < self.blocked_until:
            return False
        self._later = False
        busy = self._take_turn()
        # What else there may be to do is seen without another turn: see is_due.
        self.idle = not (self._later or self.protocol.has_events or self.user.has_room)
        return busy

    def wake(self) -> float:
        """When its next turn may find something to do, if nothing happens before: the past, or the future."""
        if not self.idle:
            return self.blocked_until
        if self._unwritten and (self.outgoing.has_room or self.outgoing.ended or self.peer.closed):
            return self.blocked_until
        return max(self._wake(), self.blocked_until)

    def _take_turn(self) -> bool:
        random = self._random.random
        busy = False
        if not self.closed:
            if random() < 0.5:
                busy = self._read()
                busy = self._write() or busy
            else:
                busy = self._write()
                busy = self._read() or busy
            if not (busy or self.closed) and self._deadline() <= self.clock():
                self.protocol.handle_timeout()
                busy = True
            self.note()
        busy = self.user.turn(self._time.now) or busy
        if not self.closed:
            if busy and random() < 0.1:
                # Its write callback has not been called yet.
                self._later = True
                return True
            busy = self.flush() or busy
        self.note()
        return busy

    def _wake(self) -> float:
        wake = self.user.wake_at
        if self.closed:
            return wake
        protocol = self.protocol
        if protocol.wants_read:
            if self._time.now < self.reads_from:
                wake = min(wake, self.reads_from)
            else:
                arrival = (
                    self.reset_at if self.facts.eof else min(self.incoming.first_arrival(), self.reset_at)
                )
                wake = min(wake, arrival)
        deadline = protocol.deadline()
        return wake if deadline is None else min(wake, deadline - self.clock.offset)

    def _deadline(self) -> float:
        deadline = self.protocol.deadline()
        return INFINITE if deadline is None else deadline

    def note(self) -> None:
        """Note what has changed."""
        protocol = self.protocol
        state = protocol.state
        if state is self._state and not (state is OPEN and protocol.close_code is not None):
            return
        facts = self.facts
        if state is not self._state:
            self.tell(f"is {state.value}")
        if not facts.opened and state is not CONNECTING and protocol.handshake_error is None:
            # A close frame may have come in one read with the response.
            facts.opened = True
            self.user.start()
        if state is not OPEN and state is not CONNECTING and facts.ending_at is None:
            facts.ending_at = self.clock()
            facts.received_before = self.user.received
        self._state = state

    # Reading

    def _read(self) -> bool:
        protocol = self.protocol
        if not protocol.wants_read or self.closed or self._time.now < self.reads_from or self._is_reset():
            return False
        facts = self.facts
        if facts.eof:
            return False
        data = self.incoming.read()
        if data is None:
            return False
        if data:
            self._receive(data)
        else:
            self.tell("reads the end of file")
            facts.eof = True
            protocol.receive_eof()
        return True

    def _receive(self, data: bytes) -> None:
        protocol, facts, wire = self.protocol, self.facts, self.wire
        self.tell(f"reads {len(data)} bytes")
        if facts.failed_at is None:
            facts.heard_at = self.clock()
        parsing = protocol.receiving
        before = wire.messages
        wire.feed(data)
        protocol.receive_data(data)
        if parsing:
            facts.decodable = wire.messages
        self._check_receive_queue(wire.messages - before, len(data))

    def _check_receive_queue(self, arrived: int, size: int) -> None:
        """Memory is bounded: what is above the limits came in one read."""
        protocol: Any = self.protocol
        limits = protocol._settings
        there = self.user.received + protocol.undelivered
        if there > self.wire.messages:
            raise Violation(f"{there} messages are there, of {self.wire.messages} that were read")
        most = self._most_arrived = max(self._most_arrived, arrived)
        self._most_read = max(self._most_read, size)
        if protocol.undelivered > limits.max_queue.high + most:
            raise Violation(f"{protocol.undelivered} messages are kept, and at most {most} came in a read")
        reader = protocol._inbox.reader
        largest = min(limits.max_size.message or INFINITE, self.peer.facts.largest)
        bound = limits.read_limit.high + self._most_read + MESSAGE_OVERHEAD * (most + 1) + largest
        if protocol.extensions:
            # Short messages are decompressed before the queue is looked at.
            bound += DECOMPRESSED_AT_ONCE
        if reader.pending + reader.buffered > bound:
            raise Violation(f"{reader.pending} and {reader.buffered} bytes are kept, {bound} is the limit")

    def _is_reset(self) -> bool:
        if self.reset_at <= self._time.now:
            self.tell("is reset")
            self.facts.reset = True
            self.close(ConnectionResetError("reset"))
        return self.closed

    # Writing

    def flush(self) -> bool:
        """Write what there is, and do with the stream what the protocol wants."""
        behind = bool(self._unwritten)  # whether there may be more than what is unwritten
        if not behind:
            self._unwritten += b"".join(self.protocol.data_to_send())
            if self._unwritten:
                self._note_progress()
        wrote = self._write()
        if behind and not self._unwritten:
            self._later = True
            return wrote
        return (not self.closed and self._end_stream()) or wrote

    def write_shared(self, buffers: list[bytes]) -> int:
        """Write what a broadcast has returned, with nothing before it; return how many bytes are left."""
        if self._unwritten:
            raise Violation("a broadcast overtakes bytes that are unwritten")
        self._unwritten += b"".join(buffers)
        self._note_progress()
        if not self.outgoing.ended and not self.peer.closed:
            del self._unwritten[: self.outgoing.write(self._unwritten)]
        return len(self._unwritten)

    def _write(self) -> bool:
        if not self._unwritten or self.closed or self._is_reset():
            return False
        if self.outgoing.ended:
            self.tell("writes to a half that has ended")
            self.facts.wrote_after_end = True
            self.close(BrokenPipeError("ended"))
            return True
        if self.peer.closed:
            # The bytes get lost, and are answered by a reset.
            count = len(self._unwritten)
            self._expect_reset()
        else:
            count = self.outgoing.write(self._unwritten)
        if count:
            self.tell(f"writes {count} of {len(self._unwritten)} bytes")
            del self._unwritten[:count]
            self._note_progress()
            self.protocol.data_sent(count)
        return count > 0

    def _note_progress(self) -> None:
        if self.facts.failed_at is None:
            self.facts.progress_at = self.clock()

    def _expect_reset(self) -> None:
        if not self.outgoing.lost:
            self.reset_at = min(self.reset_at, self.incoming.signal_arrival())

    def _end_stream(self) -> bool:
        action = self.protocol.stream_action
        if action is StreamAction.KEEP or (self._unwritten and action is not StreamAction.ABORT):
            return False
        self.tell(f"does what it is told: {action.value}")
        if action is StreamAction.SEND_EOF:
            self.outgoing.end()
            self.protocol.eof_sent()
        else:
            self.facts.aborted = action is StreamAction.ABORT
            self.close()
        return True

    def close(self, error: Exception | None = None) -> None:
        """Close the stream; what is unread makes it a reset."""
        if self.closed:
            return
        self.closed = True
        self.facts.closed_at = self.clock()
        unread = self.incoming.discard()
        self.outgoing.end()
        if unread and not self.peer.closed:
            self.peer.reset_at = min(self.peer.reset_at, self.outgoing.signal_arrival())
        self.protocol.connection_lost(error)
        self._unwritten.clear()
