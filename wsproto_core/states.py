"""The life of a connection, as tables.

:data:`TRANSITIONS` says how a connection goes from phase to phase; what is not in it does not
happen. :data:`PHASES` says what a phase means to the outside. Neither depends on who is client and
who is server, but for one column: the server ends TCP, the client waits for that (RFC 6455
section 7.1.1). :mod:`.protocol` runs from these tables, and the diagram in the documentation is
drawn from them by :func:`diagram`.

The four states of the RFC are too coarse to run a connection: "closing" hides who has sent a close
frame, what has become of TCP, and whether input still means anything. Hence phases.
"""

from __future__ import annotations

import enum
from typing import NamedTuple

from .types import State, StreamAction

__all__ = [
    "CLOSE_DEFERRED",
    "CONNECTING",
    "OPEN",
    "PHASES",
    "TRANSITIONS",
    "ClosingTimer",
    "Input",
    "Phase",
    "PhaseRules",
    "diagram",
]


class Phase(enum.Enum):
    """Where a connection is in its life."""

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
    ENDING = "ending"
    """The stream is to be closed once what is left has been written."""
    ABORTING = "aborting"
    """The stream is to be closed at once."""
    CLOSED = "closed"
    """The stream is closed."""


# To look a member up in its class costs more than all the rest of asking whether it is the one.
CONNECTING, OPEN, CLOSE_DEFERRED = Phase.CONNECTING, Phase.OPEN, Phase.CLOSE_DEFERRED


class Input(enum.Enum):
    """What moves a connection to another phase."""

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
    Input.EOF_RECEIVED: Phase.ENDING,
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
        Input.EOF_RECEIVED: Phase.ENDING,
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
        Input.EOF_RECEIVED: Phase.ENDING,
        # The peer's close frame does not come: TCP is ended without it, with a deadline of its own.
        Input.EXPIRED: Phase.FAILED,
        Input.LOST: Phase.CLOSED,
    },
    Phase.REFUSED: dict(_STREAM_ENDS),
    Phase.CLOSE_EXCHANGED: dict(_STREAM_ENDS),
    Phase.FAILED: dict(_STREAM_ENDS),
    Phase.EOF_SENT: {
        Input.EOF_RECEIVED: Phase.ENDING,
        Input.EXPIRED: Phase.ABORTING,
        Input.LOST: Phase.CLOSED,
    },
    Phase.ENDING: {
        Input.EXPIRED: Phase.ABORTING,
        Input.LOST: Phase.CLOSED,
    },
    Phase.ABORTING: {
        Input.LOST: Phase.CLOSED,
    },
    Phase.CLOSED: {},
}


class ClosingTimer(enum.Enum):
    """What entering a phase does to the closing deadline."""

    STOP = "stop"
    START = "start"
    """Start, anew if it is running."""
    START_HALF = "start half"
    """Start, with half of ``close_timeout``."""
    RUN = "run"
    """Go on; start if it is not running."""


class PhaseRules(NamedTuple):
    """What a phase means to the outside."""

    state: State
    """The state in the RFC's words."""
    over: bool
    """Whether no more messages will come: received bytes are counted and dropped."""
    closing_timer: ClosingTimer
    server: StreamAction
    """What a server does with the stream."""
    client: StreamAction
    """What a client does with it."""


_KEEP, _SEND_EOF, _CLOSE, _ABORT = StreamAction

PHASES: dict[Phase, PhaseRules] = {
    Phase.CONNECTING: PhaseRules(State.CONNECTING, False, ClosingTimer.STOP, _KEEP, _KEEP),
    # Closing with unread input would turn the end of TCP into a reset, and what was sent last (a
    # close frame, an HTTP response) could be lost: a server ends its half and reads to the end.
    Phase.REFUSED: PhaseRules(State.CLOSING, True, ClosingTimer.START, _SEND_EOF, _CLOSE),
    Phase.OPEN: PhaseRules(State.OPEN, False, ClosingTimer.STOP, _KEEP, _KEEP),
    Phase.CLOSE_DEFERRED: PhaseRules(State.OPEN, False, ClosingTimer.START_HALF, _KEEP, _KEEP),
    Phase.CLOSE_SENT: PhaseRules(State.CLOSING, False, ClosingTimer.START, _KEEP, _KEEP),
    Phase.CLOSE_EXCHANGED: PhaseRules(State.CLOSING, True, ClosingTimer.START, _SEND_EOF, _KEEP),
    Phase.FAILED: PhaseRules(State.CLOSING, True, ClosingTimer.START, _SEND_EOF, _KEEP),
    Phase.EOF_SENT: PhaseRules(State.CLOSING, True, ClosingTimer.RUN, _KEEP, _KEEP),
    Phase.ENDING: PhaseRules(State.CLOSING, True, ClosingTimer.RUN, _CLOSE, _CLOSE),
    Phase.ABORTING: PhaseRules(State.CLOSING, True, ClosingTimer.STOP, _ABORT, _ABORT),
    Phase.CLOSED: PhaseRules(State.CLOSED, True, ClosingTimer.STOP, _CLOSE, _CLOSE),
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
