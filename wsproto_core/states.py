"""The life of a connection, as tables.

:data:`TRANSITIONS` says how a connection goes from phase to phase: an input that is not in the row of
a phase changes nothing. :data:`PHASES` says what a phase means: its state, what becomes of received
bytes, which timers run, what each side does with the stream. Client and server differ in that last
point only: the server ends TCP, the client waits for that (RFC 6455 section 7.1.1). :data:`TIMERS` says
what happens when a deadline has passed. :mod:`.lifecycle` runs from these tables, and the diagram in
the documentation is drawn from them by :func:`diagram`.

The four states of the RFC are too coarse to run a connection: "closing" hides which side has sent a close
frame, what has become of TCP, and whether input still means anything. Hence phases.
"""

from __future__ import annotations

import enum
from typing import NamedTuple

from .timers import Timer
from .types import Close, CloseCode, State, StreamAction

__all__ = [
    "PHASES",
    "TIMERS",
    "TRANSITIONS",
    "Bytes",
    "ClosingTimer",
    "Input",
    "Phase",
    "PhaseRules",
    "Reading",
    "StreamRules",
    "TimerRules",
    "diagram",
]


class Phase(enum.Enum):
    """Where a connection is in its life."""

    __hash__ = object.__hash__  # Enum's own method is written in Python

    CONNECTING = "connecting"
    """The opening handshake is under way."""
    REFUSED = "refused"
    """The opening handshake ended without a connection."""
    OPEN = "open"
    """Messages pass."""
    CLOSE_DEFERRED = "close deferred"
    """The peer's close frame, or an error in its input, waits behind messages that the application has
    not received yet: it can still answer them."""
    CLOSE_SENT = "close sent"
    """Our close frame is given, the peer's is awaited."""
    CLOSE_EXCHANGED = "close exchanged"
    """Both close frames are there; TCP is to end."""
    FAILED = "failed"
    """The connection failed (section 7.1.7); TCP is to end."""
    EOF_SENT = "end of file sent"
    """Our half of the stream has ended, the peer's is awaited."""
    DRAINING = "draining"
    """The stream is to be closed when the rest of the output has been written."""
    ABORTING = "aborting"
    """The stream is to be closed at once."""
    CLOSED = "closed"
    """The stream is closed."""


class Input(enum.Enum):
    """What moves a connection to another phase."""

    __hash__ = object.__hash__  # Enum's own method is written in Python

    ACCEPTED = "opening handshake done"
    REFUSED = "opening handshake failed"
    CLOSE_GIVEN = "close() called"
    DEFERRED = "close frame or protocol error behind messages"
    CLOSE_RECEIVED = "close frame received"
    ERROR = "protocol error"
    EOF_SENT = "end of file sent"
    EOF_RECEIVED = "end of file received"
    EXPIRED = "deadline passed"
    STALLED = "write stalled"
    LOST = "stream closed"


# Once the conversation is over, these are left, from whatever led here.
_STREAM_ENDS = {
    Input.EOF_SENT: Phase.EOF_SENT,
    Input.EOF_RECEIVED: Phase.DRAINING,
    Input.EXPIRED: Phase.ABORTING,
    Input.LOST: Phase.CLOSED,
}

TRANSITIONS: dict[Phase, dict[Input, Phase]] = {
    Phase.CONNECTING: {
        Input.ACCEPTED: Phase.OPEN,
        # Whatever else happens meanwhile makes it fail first: the end of the stream, a deadline.
        Input.REFUSED: Phase.REFUSED,
    },
    Phase.OPEN: {
        Input.CLOSE_GIVEN: Phase.CLOSE_SENT,
        Input.DEFERRED: Phase.CLOSE_DEFERRED,
        # The answer is given at once: "an endpoint MUST send a Close frame in response" (section 5.5.1).
        Input.CLOSE_RECEIVED: Phase.CLOSE_EXCHANGED,
        Input.ERROR: Phase.FAILED,
        Input.EOF_RECEIVED: Phase.DRAINING,
        Input.STALLED: Phase.ABORTING,
        Input.LOST: Phase.CLOSED,
    },
    # What has been deferred takes effect: the peer's close frame or the error.
    Phase.CLOSE_DEFERRED: {
        Input.CLOSE_RECEIVED: Phase.CLOSE_EXCHANGED,
        Input.ERROR: Phase.FAILED,
    },
    Phase.CLOSE_SENT: {
        Input.CLOSE_RECEIVED: Phase.CLOSE_EXCHANGED,
        Input.ERROR: Phase.FAILED,
        Input.EOF_RECEIVED: Phase.DRAINING,
        # The peer's close frame does not come: TCP is ended without it, with a deadline of its own.
        Input.EXPIRED: Phase.FAILED,
        Input.LOST: Phase.CLOSED,
    },
    Phase.REFUSED: dict(_STREAM_ENDS),
    Phase.CLOSE_EXCHANGED: dict(_STREAM_ENDS),
    Phase.FAILED: dict(_STREAM_ENDS),
    Phase.EOF_SENT: {
        Input.EOF_RECEIVED: Phase.DRAINING,
        Input.EXPIRED: Phase.ABORTING,
        Input.LOST: Phase.CLOSED,
    },
    Phase.DRAINING: {
        Input.EXPIRED: Phase.ABORTING,
        Input.LOST: Phase.CLOSED,
    },
    Phase.ABORTING: {
        Input.LOST: Phase.CLOSED,
    },
    Phase.CLOSED: {},
}


class Bytes(enum.Enum):
    """What becomes of received bytes."""

    PARSED = "parsed"
    """They are parsed: messages may come, and the peer's close frame."""
    HELD_BACK = "messages only"
    """They are dropped, but messages that were received before can still be answered."""
    DROPPED = "dropped"
    """They are counted and dropped: no more messages will come."""


class Reading(enum.Enum):
    """When to read from the stream."""

    BACKPRESSURE = "backpressure"
    """While there is room: the receive queue decides, or a server that has not answered its request."""
    TO_END = "to the end"
    """Always: the peer's close frame, or the end of its stream, must be reached. Messages for which there
    is no room are dropped."""
    STOPPED = "stopped"
    """Never."""


class ClosingTimer(enum.Enum):
    """What entering a phase does to the closing deadline."""

    STOP = "none"
    START = "starts"
    """Start, anew if it is running."""
    START_HALF = "starts, half of it"
    """Start, with half of ``close_timeout``."""
    RUN = "goes on"
    """Go on; start if it is not running."""


class StreamRules(NamedTuple):
    """What one side does with the stream in a phase."""

    action: StreamAction
    """What to do when everything has been written."""
    reading: Reading
    """When to read from it."""


class PhaseRules(NamedTuple):
    """What a phase means."""

    state: State
    """The state in the RFC's words."""
    received: Bytes
    """What becomes of received bytes."""
    timers: frozenset[Timer]
    """The timers that may run, beside the closing one: others stop when the phase is entered."""
    closing_timer: ClosingTimer
    """What happens to the closing deadline when the phase is entered."""
    server: StreamRules
    """What a server does with the stream."""
    client: StreamRules
    """What a client does with it."""


_KEEP = StreamRules(StreamAction.KEEP, Reading.BACKPRESSURE)
_HOLD = StreamRules(StreamAction.KEEP, Reading.STOPPED)
_READ = StreamRules(StreamAction.KEEP, Reading.TO_END)
# Closing with unread input would turn the end of TCP into a reset, and what was sent last (a close frame, an
# HTTP response) could be lost: a server ends its half of the stream and reads to the end of the client's.
_SEND_EOF = StreamRules(StreamAction.SEND_EOF, Reading.TO_END)
_CLOSE = StreamRules(StreamAction.CLOSE, Reading.STOPPED)
_ABORT = StreamRules(StreamAction.ABORT, Reading.STOPPED)

_OPENING = frozenset({Timer.OPENING})
_OPEN = frozenset({Timer.WRITE, Timer.PONG, Timer.PING, Timer.IDLE})
_NONE: frozenset[Timer] = frozenset()

_PARSED, _HELD_BACK, _DROPPED = Bytes

PHASES: dict[Phase, PhaseRules] = {
    Phase.CONNECTING: PhaseRules(State.CONNECTING, _PARSED, _OPENING, ClosingTimer.STOP, _KEEP, _KEEP),
    Phase.REFUSED: PhaseRules(State.CLOSING, _DROPPED, _NONE, ClosingTimer.START, _SEND_EOF, _CLOSE),
    Phase.OPEN: PhaseRules(State.OPEN, _PARSED, _OPEN, ClosingTimer.STOP, _KEEP, _KEEP),
    Phase.CLOSE_DEFERRED: PhaseRules(State.OPEN, _HELD_BACK, _NONE, ClosingTimer.START_HALF, _HOLD, _HOLD),
    Phase.CLOSE_SENT: PhaseRules(State.CLOSING, _PARSED, _NONE, ClosingTimer.START, _READ, _READ),
    Phase.CLOSE_EXCHANGED: PhaseRules(State.CLOSING, _DROPPED, _NONE, ClosingTimer.START, _SEND_EOF, _READ),
    Phase.FAILED: PhaseRules(State.CLOSING, _DROPPED, _NONE, ClosingTimer.START, _SEND_EOF, _READ),
    Phase.EOF_SENT: PhaseRules(State.CLOSING, _DROPPED, _NONE, ClosingTimer.RUN, _READ, _READ),
    Phase.DRAINING: PhaseRules(State.CLOSING, _DROPPED, _NONE, ClosingTimer.RUN, _CLOSE, _CLOSE),
    Phase.ABORTING: PhaseRules(State.CLOSING, _DROPPED, _NONE, ClosingTimer.STOP, _ABORT, _ABORT),
    Phase.CLOSED: PhaseRules(State.CLOSED, _DROPPED, _NONE, ClosingTimer.STOP, _CLOSE, _CLOSE),
}


class TimerRules(NamedTuple):
    """What happens when a deadline has passed."""

    cause: Input | None
    """What moves the connection to another phase; ``None`` for a periodic timer."""
    forgives_lateness: bool
    """Whether a deadline that is looked at too late starts once more: the peer is not to blame, because its
    bytes may be there to be read."""
    error: str | None = None
    """The text of the :exc:`TimeoutError`, if the conversation is on; ``{seconds}`` stands for the period."""
    close: Close | None = None
    """The close frame that is sent for it."""


TIMERS: dict[Timer, TimerRules] = {
    # The opening handshake fails before, with an error of its own.
    Timer.OPENING: TimerRules(Input.EXPIRED, True),
    Timer.CLOSING: TimerRules(Input.EXPIRED, True, "no close frame received for {seconds} seconds"),
    # Nothing can be sent to a peer that does not read.
    Timer.WRITE: TimerRules(Input.STALLED, True, "no progress writing for {seconds} seconds"),
    Timer.PONG: TimerRules(
        Input.ERROR,
        True,
        "nothing received for {seconds} seconds after a ping",
        Close(CloseCode.INTERNAL_ERROR, "keepalive ping timeout"),
    ),
    Timer.PING: TimerRules(None, False),
    Timer.IDLE: TimerRules(None, False),
}


def diagram() -> str:
    """Return the transitions as a Mermaid state diagram."""
    lines = ["stateDiagram-v2", "    [*] --> CONNECTING"]
    lines += [
        f"    {phase.name} --> {target.name}: {cause.value}"
        for phase, row in TRANSITIONS.items()
        for cause, target in row.items()
    ]
    lines.append("    CLOSED --> [*]")
    return "\n".join(lines) + "\n"
