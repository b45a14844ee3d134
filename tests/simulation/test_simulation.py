"""A thousand simulated connections; and what a fault of the library looks like to the simulation."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from wsproto_core import Close, Event, Protocol
from wsproto_core.closing import Closing
from wsproto_core.inbox import Inbox
from wsproto_core.lifecycle import Lifecycle
from wsproto_core.outbox import Outbox
from wsproto_core.timers import Timer, Timers

from . import __main__ as program
from .connection import simulate
from .scenario import KINDS, draw

CONNECTIONS = 1000
BATCH = 100

# Seeds of which one must find a fault of the library.
ENOUGH = 400


@pytest.mark.parametrize("first", range(0, CONNECTIONS, BATCH))
def test_connections(first: int) -> None:
    failed = program.run_batch(range(first, first + BATCH))
    assert not failed, "\n".join(map(str, failed))


def test_a_seed_decides_everything() -> None:
    for seed in range(20):
        lines: list[list[str]] = [[], []]
        for each in lines:
            simulate(seed, each.append)
        assert lines[0] == lines[1]
        assert len(lines[0]) > 5


def test_seeds_meet_everything() -> None:
    """What the scenarios can contain happens among a thousand, and most connections are opened."""
    connections = [simulate(seed) for seed in range(CONNECTIONS)]
    facts = [end.facts for connection in connections for end in connection.ends]
    assert sum(each.opened for each in facts) > 1500
    for name in (
        *("reset", "half_closed", "wrote_after_end", "killed", "aborted", "eof", "own"),
        *("oversize", "too_large", "failed", "paused"),
    ):
        assert any(getattr(each, name) for each in facts), name
    causes = {
        type(end.protocol.close_exception().__cause__).__name__
        for connection in connections
        for end in connection.ends
        if end.facts.opened
    }
    assert causes >= {"NoneType", "TimeoutError", "EOFError", "ConnectionResetError", "PayloadTooBig"}
    received = [user.received for connection in connections for user in connection.users]
    assert sum(received) > 1000
    assert {fault.kind for connection in connections for fault in connection.scenario.faults} == set(KINDS)


# Faults of the library: each function breaks it.

Patch = Callable[[type, str, Any], None]


def lose_a_message(patch: Patch) -> None:
    send = Protocol.send

    def send_some(self: Protocol, message: Any, **options: Any) -> None:
        if self._messages_sent % 5 != 4 or options.get("fin") is False:
            send(self, message, **options)
        else:
            self._messages_sent += 1

    patch(Protocol, "send", send_some)


def change_events(patch: Patch, change: Callable[[list[Event]], None]) -> None:
    take = Protocol.events

    def events(self: Protocol, *, messages: bool = True) -> list[Event]:
        taken = take(self, messages=messages)
        if sum(isinstance(event, str | bytes) for event in taken) > 1:
            change(taken)
        return taken

    patch(Protocol, "events", events)


def double_a_message(patch: Patch) -> None:
    change_events(patch, lambda events: events.extend(events[-1:]))


def reorder_messages(patch: Patch) -> None:
    change_events(patch, lambda events: events.reverse())


def report_a_normal_end(patch: Patch) -> None:
    patch(Closing, "conclusion", lambda self: self.received or Close(1000))


def answer_with_another_code(patch: Patch) -> None:
    queue = Lifecycle._queue_close

    def queue_close(self: Lifecycle, close: Close, *arguments: Any, **options: Any) -> None:
        queue(self, Close(1001) if close.code == 1000 else close, **options)

    patch(Lifecycle, "_queue_close", queue_close)


def without_timer(*timers: Timer) -> Callable[[Patch], None]:
    def break_it(patch: Patch) -> None:
        start = Timers.start

        def start_others(self: Timers, timer: Timer, now: float, period: float | None) -> None:
            start(self, timer, now, None if timer in timers else period)

        patch(Timers, "start", start_others)

    return break_it


def expire_early(patch: Patch) -> None:
    start = Timers.start

    def start_short(self: Timers, timer: Timer, now: float, period: float | None) -> None:
        start(self, timer, now, period and period / 4)

    patch(Timers, "start", start_short)


def expire_late(patch: Patch) -> None:
    start = Timers.start

    def start_long(self: Timers, timer: Timer, now: float, period: float | None) -> None:
        start(self, timer, now, period and period * 4)

    patch(Timers, "start", start_long)


def never_stop_reading(patch: Patch) -> None:
    patch(Inbox, "update", lambda self: None)


def never_read_again(patch: Patch) -> None:
    patch(Lifecycle, "_resume_reading", lambda self: None)


def never_writable_again(patch: Patch) -> None:
    written = Outbox.written

    def write(self: Outbox, count: int | None) -> None:
        was_writable = self.writable
        written(self, count)
        self._owner.writable = self.writable = was_writable

    patch(Outbox, "written", write)


def answer_no_pings(patch: Patch) -> None:
    patch(Outbox, "answer_ping", lambda self, *arguments: None)


def overtake_by_close(patch: Patch) -> None:
    queue = Outbox.close

    def close(self: Outbox, payload: bytes) -> None:
        self._buffers, self.queued = [], 0
        queue(self, payload)

    patch(Outbox, "close", close)


def ignore_the_end(patch: Patch) -> None:
    patch(Lifecycle, "_receive_eof", lambda self: None)


def keep_output_after_the_end(patch: Patch) -> None:
    patch(Outbox, "drop_all", lambda self: None)


def send_after_the_close_frame(patch: Patch) -> None:
    take = Outbox.take

    def take_more(self: Outbox, written: bool = False) -> list[bytes]:
        closes = self._close is not None
        buffers = take(self, written)
        if closes:
            buffers = [*buffers, *self.writer.frame(0x8A, b"")]
        return buffers

    patch(Outbox, "take", take_more)


FAULTS_OF_THE_LIBRARY: dict[str, Callable[[Patch], None]] = {
    function.__name__: function
    for function in (
        *(lose_a_message, double_a_message, reorder_messages, overtake_by_close),
        *(report_a_normal_end, answer_with_another_code, send_after_the_close_frame),
        *(never_stop_reading, never_read_again, never_writable_again, answer_no_pings),
        *(ignore_the_end, keep_output_after_the_end, expire_early, expire_late),
    )
} | {
    "no closing deadline": without_timer(Timer.CLOSING),
    "no deadline for a pong": without_timer(Timer.PONG),
    "no pings": without_timer(Timer.PING),
    "no deadline for the opening": without_timer(Timer.OPENING),
}


@pytest.mark.parametrize("name", FAULTS_OF_THE_LIBRARY)
def test_a_fault_of_the_library_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    FAULTS_OF_THE_LIBRARY[name](monkeypatch.setattr)
    for seed in range(ENOUGH):
        try:
            simulate(seed)
        except Exception:
            return
    pytest.fail(f"{ENOUGH} connections, and nothing was found")


# The program


def test_program(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert program.main(["--runs", "20", "--first", "5"]) == 0
    assert "20 connections, 0 failures, seeds 5 to 24" in capsys.readouterr().out
    assert program.main(["--seed", "3"]) == 0
    assert capsys.readouterr().out.endswith("seed 3: all holds\n")

    report_a_normal_end(monkeypatch.setattr)
    [failed, *_] = program.run_batch(range(50))
    assert f"python -m tests.simulation --seed {failed.seed}" in str(failed)
    assert program.main(["--seed", str(failed.seed)]) == 1
    assert "the wrong code" in capsys.readouterr().out
    assert program.main(["--runs", "50"]) == 1
    assert f"seed {failed.seed}: Violation: the wrong code" in capsys.readouterr().out


def test_scenarios_can_be_read() -> None:
    text = str(draw(Random(1)))
    assert text.startswith("client: {")
    assert "\nserver: {" in text
