"""What goes wrong. Each function has the name of the kind of fault."""

from __future__ import annotations

from collections.abc import Callable

from .endpoint import Endpoint

__all__ = ["FAULTS"]


def lose(end: Endpoint, seconds: float, now: float) -> None:
    """What the end sends is lost from now on."""
    end.outgoing.lose()


def lose_all(end: Endpoint, seconds: float, now: float) -> None:
    """What both ends send is lost from now on."""
    end.outgoing.lose()
    end.incoming.lose()


def stall(end: Endpoint, seconds: float, now: float) -> None:
    """What the end sends does not arrive for a while."""
    end.outgoing.stall(seconds)


def reset(end: Endpoint, seconds: float, now: float) -> None:
    """Something in between resets the stream."""
    end.facts.reset_by_fault = end.peer.facts.reset_by_fault = True
    end.reset_at = min(end.reset_at, now)
    end.peer.reset_at = min(end.peer.reset_at, end.outgoing.signal_arrival())


def half_close(end: Endpoint, seconds: float, now: float) -> None:
    """The end's half of the stream is ended, and its protocol does not know."""
    if not end.closed:
        end.facts.half_closed = True
        end.outgoing.end()


def kill(end: Endpoint, seconds: float, now: float) -> None:
    """The end's process ends: the system closes the stream."""
    end.facts.killed = True
    end.close()
    end.note()


def block(end: Endpoint, seconds: float, now: float) -> None:
    """The end is not at work for a while."""
    end.blocked_until = max(end.blocked_until, now + seconds)
    _be_late(end, seconds)


def jump(end: Endpoint, seconds: float, now: float) -> None:
    """The end's clock jumps forward, as after a sleep of the machine."""
    end.clock.offset += seconds
    _be_late(end, seconds)


def _be_late(end: Endpoint, seconds: float) -> None:
    if end.facts.ending_at is not None:
        end.facts.late += seconds


def stop_reading(end: Endpoint, seconds: float, now: float) -> None:
    """The end does not read the stream for a while."""
    end.reads_from = max(end.reads_from, now + seconds)


FAULTS: dict[str, Callable[[Endpoint, float, float], None]] = {
    function.__name__: function
    for function in (lose, lose_all, stall, reset, half_close, kill, block, jump, stop_reading)
}
