"""The tables of phases: the code runs from them, all of them, and the documentation shows them.

Three things are tested. The *walk* brings connections into every phase by the public methods, and
tries every input there. The *stories* say what happens to a connection, step by step, without
asking the tables; for each entry of the tables, there is a story that fails without it. And the
page in the documentation is what is drawn from them.
"""

from __future__ import annotations

import runpy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from wsproto_core import (
    ClientProtocol,
    Close,
    Failure,
    InvalidState,
    Protocol,
    Response,
    ServerProtocol,
    Side,
    State,
    StreamAction,
    TimerOverdue,
    WebSocketException,
    make_response,
)
from wsproto_core.exceptions import ProtocolError
from wsproto_core.handshake.headers import build_response
from wsproto_core.http import Headers
from wsproto_core.states import (
    PHASES,
    TIMERS,
    TRANSITIONS,
    Bytes,
    ClosingTimer,
    Input,
    Phase,
    Reading,
    StreamRules,
    diagram,
)
from wsproto_core.testing import Clock
from wsproto_core.timers import Timer

from .helpers import Frame, sent
from .sample_extensions import Counting

ROOT = Path(__file__).parent.parent.parent

OPEN_TIMEOUT, STALL_TIMEOUT, CLOSE_TIMEOUT = 20, 3, 10

REQUEST = ClientProtocol("ws://localhost/", clock=Clock()).request.serialize()

CONNECTING, OPEN, CLOSING, CLOSED = State
KEEP, SEND_EOF, CLOSE, ABORT = StreamAction


class Subject:
    """A connection, and what can happen to it."""

    def __init__(self, side: Side) -> None:
        self.clock = clock = Clock()
        self.protocol: Protocol
        if side is Side.SERVER:
            self.protocol = self.server = ServerProtocol(
                clock=clock,
                open_timeout=OPEN_TIMEOUT,
                close_timeout=CLOSE_TIMEOUT,
                ping_interval=None,
                ping_timeout=STALL_TIMEOUT,
                max_queue=2,
                compression=None,
            )
            self.server.receive_data(REQUEST)
        else:
            self.protocol = self.client = ClientProtocol(
                "ws://localhost/",
                clock=clock,
                open_timeout=OPEN_TIMEOUT,
                close_timeout=CLOSE_TIMEOUT,
                ping_interval=None,
                ping_timeout=STALL_TIMEOUT,
                max_queue=2,
                compression=None,
            )
            self.protocol.data_to_send()
            self.protocol.data_sent()
        self.side = side

    def accepted(self) -> None:
        if self.side is Side.SERVER:
            self.server.accept()
        else:
            headers = Headers()
            build_response(headers, self.client.request.headers["Sec-WebSocket-Key"])
            self.protocol.receive_data(Response(101, headers).serialize())

    def refused(self) -> None:
        if self.side is Side.SERVER:
            self.server.reject(make_response(404))
        else:
            self.protocol.receive_data(make_response(404).serialize())

    def close(self) -> None:
        self.protocol.close()

    def close_received(self) -> None:
        masked = self.side is Side.SERVER
        self.protocol.receive_data(b"\x88\x80\0\0\0\0" if masked else b"\x88\x00")

    def error_received(self) -> None:
        self.protocol.receive_data(b"\xff\xff")

    def message_received(self) -> None:
        masked = self.side is Side.SERVER
        self.protocol.receive_data(b"\x81\x85\0\0\0\0hello" if masked else b"\x81\x05hello")

    def close_received_behind_a_message(self) -> None:
        self.message_received()
        self.close_received()

    def error_received_behind_a_message(self) -> None:
        self.message_received()
        self.error_received()

    def take(self) -> None:
        """Take a message, and ask for the next one."""
        assert self.protocol.next_message() == "hello"
        assert self.protocol.next_message() is None

    def answer(self) -> None:
        self.protocol.send("answer")

    def answer_is_written(self) -> None:
        self.protocol.send("answer")
        self.take()
        assert b"".join(self.protocol.data_to_send())[:1] == b"\x81"

    def messages_received(self) -> None:
        """As many as there is room for."""
        self.message_received()
        self.message_received()

    def fail(self) -> None:
        self.protocol.fail(RuntimeError("something is wrong"))

    def eof_sent(self) -> None:
        self.protocol.eof_sent()

    def eof_received(self) -> None:
        self.protocol.receive_eof()

    def wait(self) -> None:
        self.clock.advance(1)

    def expire(self) -> None:
        deadline = self.protocol.deadline()
        self.clock.now = self.clock.now + 1000 if deadline is None else deadline
        self.protocol.handle_timeout()

    def stall(self) -> None:
        if self.protocol.state is OPEN:
            self.protocol.send("hello")
        self.protocol.data_to_send()
        self.protocol.deadline()
        self.clock.advance(STALL_TIMEOUT)
        self.protocol.handle_timeout()

    def lost(self) -> None:
        self.protocol.connection_lost()

    def view(self) -> tuple[State, StreamAction, bool]:
        return self.protocol.state, self.protocol.stream_action, self.protocol.receiving

    def seconds_left(self) -> float | None:
        deadline = self.protocol.deadline()
        return None if deadline is None else deadline - self.clock.now

    def snapshot(self) -> list[object]:
        """Everything that an embedder sees."""
        protocol = self.protocol
        return [
            *self.view(),
            protocol.close_code,
            protocol.close_reason,
            protocol.wants_read,
            protocol.handshake_error,
            protocol.deadline(),
            protocol.data_to_send(),
            protocol.events(messages=False),
        ]


Action = Callable[[Subject], None]

# The walk

WAYS: dict[Phase, list[Action]] = {
    Phase.CONNECTING: [],
    Phase.REFUSED: [Subject.refused],
    Phase.OPEN: [Subject.accepted],
    Phase.CLOSE_DEFERRED: [Subject.accepted, Subject.close_received_behind_a_message],
    Phase.CLOSE_SENT: [Subject.accepted, Subject.close],
    Phase.CLOSE_EXCHANGED: [Subject.accepted, Subject.close_received],
    Phase.FAILED: [Subject.accepted, Subject.fail],
    Phase.EOF_SENT: [Subject.accepted, Subject.fail, Subject.eof_sent],
    Phase.DRAINING: [Subject.accepted, Subject.eof_received],
    Phase.ABORTING: [Subject.accepted, Subject.stall],
    Phase.CLOSED: [Subject.accepted, Subject.lost],
}

INPUTS: list[tuple[Input, Action]] = [
    (Input.ACCEPTED, Subject.accepted),
    (Input.REFUSED, Subject.refused),
    (Input.CLOSE_GIVEN, Subject.close),
    (Input.DEFERRED, Subject.close_received_behind_a_message),
    (Input.DEFERRED, Subject.error_received_behind_a_message),
    (Input.CLOSE_RECEIVED, Subject.close_received),
    (Input.ERROR, Subject.error_received),
    (Input.ERROR, Subject.fail),
    (Input.EOF_SENT, Subject.eof_sent),
    (Input.EOF_RECEIVED, Subject.eof_received),
    (Input.EXPIRED, Subject.expire),
    (Input.STALLED, Subject.stall),
    (Input.LOST, Subject.lost),
]


def bring(side: Side, phase: Phase) -> Subject:
    subject = Subject(side)
    for action in WAYS[phase]:
        action(subject)
    subject.protocol.data_to_send()
    subject.protocol.data_sent()
    subject.protocol.events(messages=False)
    return subject


def is_refused(side: Side, phase: Phase, action: Action) -> bool:
    """Whether it is a command that cannot be given in a phase: that is told to the caller."""
    if action in (Subject.accepted, Subject.refused):
        return side is Side.SERVER and phase is not Phase.CONNECTING
    return action in (Subject.close, Subject.fail) and phase is Phase.CONNECTING


def makes_sense(side: Side, phase: Phase, action: Action) -> bool:
    """Whether it is this action still: to a client, HTTP are no frames, and frames are no HTTP."""
    if phase is Phase.CLOSE_DEFERRED and action is Subject.stall:
        # Half of close_timeout is shorter.
        return False
    if side is Side.SERVER:
        return True
    if phase is Phase.CONNECTING:
        return action not in FRAMES
    return action not in (Subject.accepted, Subject.refused) or PHASES[phase].received is Bytes.DROPPED


FRAMES = (
    Subject.close_received,
    Subject.error_received,
    Subject.close_received_behind_a_message,
    Subject.error_received_behind_a_message,
)

WALK = [
    (side, phase, cause, action)
    for side in Side
    for phase in Phase
    for cause, action in INPUTS
    if makes_sense(side, phase, action)
]


def walk_id(value: object) -> str:
    return value.__name__ if callable(value) else value.name  # type: ignore[attr-defined, no-any-return]


def target(phase: Phase, cause: Input, action: Action) -> Phase | None:
    if phase is Phase.CLOSE_DEFERRED:
        # Nothing of the peer is parsed. What else happens makes the close frame take effect before,
        # except that the end of the stream waits behind it.
        if cause in (Input.CLOSE_GIVEN, Input.EXPIRED) or action is Subject.fail:
            return Phase.CLOSE_EXCHANGED
        return Phase.CLOSED if cause is Input.LOST else None
    if cause is Input.DEFERRED and cause not in TRANSITIONS[phase]:
        # Nothing can be answered any more.
        error = action is Subject.error_received_behind_a_message
        cause = Input.ERROR if error else Input.CLOSE_RECEIVED
    found = TRANSITIONS[phase].get(cause)
    if found is None and phase is Phase.CONNECTING:
        # All that ends other phases makes the opening handshake fail first.
        found = TRANSITIONS[Phase.REFUSED].get(cause) if cause is not Input.EOF_SENT else None
    return found


@pytest.mark.parametrize(("side", "phase"), [(side, phase) for side in Side for phase in Phase], ids=walk_id)
def test_every_phase_can_be_reached(side: Side, phase: Phase) -> None:
    subject = bring(side, phase)
    rules = PHASES[phase]
    action = (rules.server if side is Side.SERVER else rules.client).action
    assert subject.view() == (rules.state, action, rules.received is not Bytes.DROPPED)
    assert subject.protocol._phase is phase


@pytest.mark.parametrize(("side", "phase", "cause", "action"), WALK, ids=walk_id)
def test_every_input_in_every_phase(side: Side, phase: Phase, cause: Input, action: Action) -> None:
    subject = bring(side, phase)
    before = subject.snapshot()
    if is_refused(side, phase, action):
        with pytest.raises(InvalidState):
            action(subject)
    else:
        action(subject)
    protocol = subject.protocol
    assert protocol.has_input == (protocol.undelivered > 0 or not protocol.receiving)
    expected = target(phase, cause, action)
    if expected is None:
        assert subject.snapshot() == before
        assert subject.protocol._phase is phase
    else:
        rules = PHASES[expected]
        stream_action = (rules.server if side is Side.SERVER else rules.client).action
        assert subject.view() == (rules.state, stream_action, rules.received is not Bytes.DROPPED)
        assert subject.protocol._phase is expected


# The stories: what happens, then the state, what to do with the stream, whether messages may still
# come, and the seconds that are left.

Story = list[tuple[Action, tuple[State, StreamAction, bool, float | None]]]

CAUSES = {
    "told nonsense": ProtocolError,
    "fails": RuntimeError,
    "no answer": TimeoutError,
    "meets the end": EOFError,
    "loses the stream": EOFError,
    "cannot write": TimeoutError,
}
"""The first error of the stories whose names contain these words; others have none."""

LOST = (Subject.lost, (CLOSED, CLOSE, False, None))

ENDINGS: dict[Side, dict[str, Story]] = {
    Side.SERVER: {
        "it ends the stream first": [
            (Subject.wait, (CLOSING, SEND_EOF, False, 9)),
            (Subject.eof_sent, (CLOSING, KEEP, False, 9)),
            (Subject.wait, (CLOSING, KEEP, False, 8)),
            (Subject.eof_received, (CLOSING, CLOSE, False, 8)),
            LOST,
        ],
        "the client ends it first": [
            (Subject.wait, (CLOSING, SEND_EOF, False, 9)),
            (Subject.eof_received, (CLOSING, CLOSE, False, 9)),
            LOST,
        ],
        "the client does not end it": [
            (Subject.eof_sent, (CLOSING, KEEP, False, 10)),
            (Subject.expire, (CLOSING, ABORT, False, None)),
            LOST,
        ],
        "the end cannot be sent": [(Subject.expire, (CLOSING, ABORT, False, None)), LOST],
        "the client is slow to the last": [
            (Subject.eof_received, (CLOSING, CLOSE, False, 10)),
            (Subject.expire, (CLOSING, ABORT, False, None)),
            LOST,
        ],
        "it is lost": [LOST],
        "it is lost after its end was sent": [(Subject.eof_sent, (CLOSING, KEEP, False, 10)), LOST],
    },
    Side.CLIENT: {
        "the server ends it": [
            (Subject.wait, (CLOSING, KEEP, False, 9)),
            (Subject.eof_received, (CLOSING, CLOSE, False, 9)),
            LOST,
        ],
        "the server does not end it": [(Subject.expire, (CLOSING, ABORT, False, None)), LOST],
        "it is lost": [LOST],
        "an embedder of its own mind ends its half": [
            (Subject.eof_sent, (CLOSING, KEEP, False, 10)),
            (Subject.eof_received, (CLOSING, CLOSE, False, 10)),
            LOST,
        ],
    },
}

OPENING: Story = [
    (Subject.wait, (CONNECTING, KEEP, True, OPEN_TIMEOUT - 1)),
    (Subject.accepted, (OPEN, KEEP, True, None)),
]

OVER = {Side.SERVER: SEND_EOF, Side.CLIENT: KEEP}
"""What either side does with the stream when it is over."""


def stories() -> dict[str, tuple[Side, Story]]:
    found: dict[str, tuple[Side, Story]] = {}
    for side in Side:
        over = (CLOSING, OVER[side], False, 10)
        beginnings: dict[str, Story] = {
            "closes": [
                (Subject.close, (CLOSING, KEEP, True, 10)),
                (Subject.wait, (CLOSING, KEEP, True, 9)),
                (Subject.close_received, over),
            ],
            "is closed": [(Subject.close_received, over)],
            "is told nonsense": [(Subject.error_received, over)],
            "is closed behind a message": [
                (Subject.close_received_behind_a_message, (OPEN, KEEP, True, 5)),
                (Subject.wait, (OPEN, KEEP, True, 4)),
                (Subject.answer, (OPEN, KEEP, True, 4)),
                (Subject.close_received, (OPEN, KEEP, True, 4)),
                (Subject.take, over),
            ],
            "is told nonsense behind a message": [
                (Subject.error_received_behind_a_message, (OPEN, KEEP, True, 5)),
                (Subject.wait, (OPEN, KEEP, True, 4)),
                (Subject.answer_is_written, over),
            ],
            "closes with messages undelivered": [
                (Subject.messages_received, (OPEN, KEEP, True, None)),
                (Subject.close, (CLOSING, KEEP, True, 10)),
                (Subject.close_received, over),
            ],
            "fails with messages undelivered": [
                (Subject.messages_received, (OPEN, KEEP, True, None)),
                (Subject.fail, over),
            ],
            "is told nonsense behind a message that is not taken": [
                (Subject.error_received_behind_a_message, (OPEN, KEEP, True, 5)),
                (Subject.expire, over),
            ],
            "fails": [(Subject.fail, over)],
            "is told nonsense while closing": [
                (Subject.close, (CLOSING, KEEP, True, 10)),
                (Subject.error_received, over),
            ],
            "gets no answer to its close": [
                (Subject.close, (CLOSING, KEEP, True, 10)),
                (Subject.expire, over),
            ],
        }
        for beginning, first in beginnings.items():
            for ending, last in ENDINGS[side].items():
                found[f"{side.value} {beginning}, {ending}"] = side, OPENING + first + last
        others: dict[str, Story] = {
            "meets the end of the stream": [
                (Subject.eof_received, (CLOSING, CLOSE, False, 10)),
                (Subject.wait, (CLOSING, CLOSE, False, 9)),
                LOST,
            ],
            "meets the end of the stream while closing": [
                (Subject.close, (CLOSING, KEEP, True, 10)),
                (Subject.wait, (CLOSING, KEEP, True, 9)),
                (Subject.eof_received, (CLOSING, CLOSE, False, 9)),
                (Subject.expire, (CLOSING, ABORT, False, None)),
                LOST,
            ],
            "loses the stream": [LOST],
            "loses the stream while closing": [(Subject.close, (CLOSING, KEEP, True, 10)), LOST],
            "cannot write": [(Subject.stall, (CLOSING, ABORT, False, None)), LOST],
        }
        for name, story in others.items():
            found[f"{side.value} {name}"] = side, OPENING + story
        before: dict[str, Story] = {
            "meets the end of the stream before it is open": [
                (Subject.eof_received, (CLOSING, CLOSE, False, 10)),
                LOST,
            ],
            "waits too long to be open": [(Subject.expire, (CLOSING, ABORT, False, None)), LOST],
            "loses the stream before it is open": [LOST],
        }
        for name, story in before.items():
            found[f"{side.value} {name}"] = side, story
    for ending, story in ENDINGS[Side.SERVER].items():
        refusing: Story = [(Subject.refused, (CLOSING, SEND_EOF, False, 10))]
        found[f"server refuses, {ending}"] = Side.SERVER, refusing + story
    found["client is refused"] = Side.CLIENT, [(Subject.refused, (CLOSING, CLOSE, False, 10)), LOST]
    return found


STORIES = stories()


def wants_read(protocol: Protocol, expected: tuple[State, StreamAction, bool, float | None]) -> bool:
    state, action, _, seconds = expected
    if state is OPEN:
        # A deferred close frame has a deadline: nothing is read behind it.
        return seconds is None and protocol.undelivered < 2
    return action in (KEEP, SEND_EOF)


def tell(name: str) -> None:
    side, story = STORIES[name]
    subject = Subject(side)
    protocol = subject.protocol
    for action, expected in story:
        action(subject)
        protocol.data_to_send()
        if expected[0] is OPEN and expected[-1] is None:
            # At the end, nothing of what is written gets through: no deadline for writing must run.
            protocol.data_sent()
        assert (*subject.view(), subject.seconds_left()) == expected, action.__name__
        assert protocol.wants_read is wants_read(protocol, expected), action.__name__
    if protocol.handshake_error is None:
        error = next((error for words, error in CAUSES.items() if words in name), None)
        assert isinstance(protocol.close_exception().__cause__, error or type(None))


@pytest.mark.parametrize("name", STORIES)
def test_story(name: str) -> None:
    tell(name)


def some_story_fails() -> bool:
    for name in STORIES:
        try:
            tell(name)
        except (AssertionError, WebSocketException):
            return True
    return False


ROWS = [(phase, cause) for phase, row in TRANSITIONS.items() for cause in row]


@pytest.mark.parametrize(("phase", "cause"), ROWS, ids=walk_id)
def test_no_transition_can_be_missed(phase: Phase, cause: Input, monkeypatch: pytest.MonkeyPatch) -> None:
    row = {other: target for other, target in TRANSITIONS[phase].items() if other is not cause}
    monkeypatch.setitem(TRANSITIONS, phase, row)
    assert some_story_fails()


@pytest.mark.parametrize(("phase", "cause"), ROWS, ids=walk_id)
def test_no_transition_can_lead_elsewhere(
    phase: Phase, cause: Input, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = TRANSITIONS[phase][cause]
    for wrong in Phase:
        # These two mean the same to the outside. They are two for those who read the diagram.
        if {wrong, right} <= {Phase.FAILED, Phase.CLOSE_EXCHANGED}:
            continue
        monkeypatch.setitem(TRANSITIONS[phase], cause, wrong)
        assert some_story_fails() is (wrong is not right), wrong


COLUMNS: dict[str, Sequence[Any]] = {
    "state": list(State),
    "received": list(Bytes),
    "timers": [PHASES[Phase.OPEN].timers, frozenset()],
    "closing_timer": list(ClosingTimer),
    "server": sorted({rules.server for rules in PHASES.values()}, key=repr),
    "client": sorted({rules.client for rules in PHASES.values()}, key=repr),
}

UNSEEN = {
    # Nothing has been received before, that could be answered.
    (Phase.CONNECTING, Bytes.HELD_BACK),
    # The deadline cannot be running already, so that it starts in any case.
    (Phase.REFUSED, ClosingTimer.RUN),
    (Phase.CLOSE_SENT, ClosingTimer.RUN),
    # It is being read to the end already.
    (Phase.EOF_SENT, StreamRules(KEEP, Reading.BACKPRESSURE)),
}
"""What makes no difference."""


@pytest.mark.parametrize("phase", Phase, ids=walk_id)
def test_no_rule_of_a_phase_can_be_another(phase: Phase, monkeypatch: pytest.MonkeyPatch) -> None:
    rules = PHASES[phase]
    for column, values in COLUMNS.items():
        for value in values:
            monkeypatch.setitem(PHASES, phase, rules._replace(**{column: value}))
            same = value == getattr(rules, column) or (phase, value) in UNSEEN
            assert some_story_fails() is not same, f"{column} = {value}"


# Deadlines

INTERVAL = 7


class Waiting:
    """A connection on which a deadline runs, and what becomes of it."""

    def __init__(self, timer: Timer) -> None:
        self.clock = Clock()
        self.extension = Counting()
        self.extension.idle_timeout = 5.0
        self.protocol: Protocol
        if timer is Timer.OPENING:
            self.protocol = ServerProtocol(clock=self.clock, open_timeout=OPEN_TIMEOUT)
        else:
            self.protocol = Protocol(
                Side.SERVER,
                clock=self.clock,
                close_timeout=CLOSE_TIMEOUT,
                extensions=[self.extension] if timer is Timer.IDLE else [],
                ping_interval=INTERVAL if timer in (Timer.PING, Timer.PONG) else None,
                ping_timeout=STALL_TIMEOUT,
            )
        if timer is Timer.CLOSING:
            self.protocol.close()
        elif timer is Timer.WRITE:
            self.protocol.send("hello")
            self.protocol.data_to_send()
        elif timer is Timer.PONG:
            self.look(0)
            self.protocol.data_to_send()
            self.protocol.data_sent()

    def look(self, late: float) -> None:
        """Look at the deadline, so many seconds too late."""
        deadline = self.protocol.deadline()
        assert deadline is not None
        self.clock.now = deadline + late
        self.protocol.handle_timeout()

    def outcome(self) -> tuple[object, ...]:
        protocol = self.protocol
        events = [event for event in protocol.events() if isinstance(event, Failure | TimerOverdue)]
        told = tuple(type(event) if isinstance(event, TimerOverdue) else str(event.error) for event in events)
        frames = [] if protocol.stream_action is ABORT else sent(protocol)
        frames = [frame if frame.opcode == 0x8 else Frame(frame.opcode) for frame in frames]
        return protocol.state, protocol.stream_action, told, frames, self.extension.released


OUTCOMES: dict[Timer, tuple[object, ...]] = {
    Timer.OPENING: (
        CLOSING,
        ABORT,
        (f"the opening handshake was not done within {OPEN_TIMEOUT} seconds",),
        [],
        0,
    ),
    Timer.CLOSING: (
        CLOSING,
        SEND_EOF,
        (f"no close frame received for {CLOSE_TIMEOUT} seconds",),
        [Frame(0x8, b"\x03\xe8")],
        0,
    ),
    Timer.WRITE: (CLOSING, ABORT, (f"no progress writing for {STALL_TIMEOUT} seconds",), [], 0),
    Timer.PONG: (
        CLOSING,
        SEND_EOF,
        (f"nothing received for {STALL_TIMEOUT} seconds after a ping",),
        [Frame(0x8, b"\x03\xf3keepalive ping timeout")],
        0,
    ),
    Timer.PING: (OPEN, KEEP, (), [Frame(0x9)], 0),
    Timer.IDLE: (OPEN, KEEP, (), [], 1),
}

FORGIVEN = (Timer.OPENING, Timer.CLOSING, Timer.WRITE, Timer.PONG)


def look(timer: Timer, late: float) -> tuple[object, ...]:
    waiting = Waiting(timer)
    waiting.look(late)
    return waiting.outcome()


@pytest.mark.parametrize("timer", Timer, ids=walk_id)
def test_a_deadline_passes(timer: Timer) -> None:
    assert look(timer, 0) == OUTCOMES[timer]


@pytest.mark.parametrize("timer", Timer, ids=walk_id)
def test_a_deadline_is_looked_at_late(timer: Timer) -> None:
    if timer in FORGIVEN:
        assert look(timer, 100)[2] == (TimerOverdue,)
    else:
        assert look(timer, 100) == OUTCOMES[timer]


@pytest.mark.parametrize("timer", Timer, ids=walk_id)
def test_no_rule_of_a_timer_can_be_another(timer: Timer, monkeypatch: pytest.MonkeyPatch) -> None:
    rules = TIMERS[timer]
    right = look(timer, 0), look(timer, 100)
    wrong: list[dict[str, Any]] = [{"forgives_lateness": not rules.forgives_lateness}]
    if rules.cause is not None:
        others = {Input.EXPIRED, Input.STALLED, None} - {rules.cause}
        wrong += [{"cause": cause} for cause in others]
    wrong += [{"error": "something else"}] if rules.error else []
    wrong += [{"close": None}, {"close": Close(1000)}] if rules.close else []
    for change in wrong:
        monkeypatch.setitem(TIMERS, timer, rules._replace(**change))
        assert (look(timer, 0), look(timer, 100)) != right, change


@pytest.mark.parametrize("timer", sorted(PHASES[Phase.OPEN].timers, key=lambda timer: timer.position))
def test_no_timer_of_the_open_phase_can_be_missed(timer: Timer, monkeypatch: pytest.MonkeyPatch) -> None:
    rules = PHASES[Phase.OPEN]
    monkeypatch.setitem(PHASES, Phase.OPEN, rules._replace(timers=rules.timers - {timer}))
    assert Waiting(timer).protocol.deadline() is None or timer is Timer.PONG


# The documentation


def test_diagram() -> None:
    lines = diagram().splitlines()
    assert lines[:2] == ["stateDiagram-v2", "    [*] --> CONNECTING"]
    assert lines[-1] == "    CLOSED --> [*]"
    assert "    CLOSE_SENT --> CLOSE_EXCHANGED: close frame received" in lines
    assert len(lines) == len(ROWS) + 3


def test_page() -> None:
    generate = runpy.run_path(str(ROOT / "docs" / "generate.py"))["generate"]
    page = (ROOT / "docs" / "states.md").read_text(encoding="utf-8")
    assert diagram() in page, "docs/states.md is out of date: run  python docs/generate.py"
    assert page == generate("states.md"), "docs/states.md is out of date: run  python docs/generate.py"
