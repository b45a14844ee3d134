"""An application: it sends, receives at its pace, pings, and closes.

It keeps to backpressure: it sends when the connection is writable. Each message says who has sent it and
which it is, so that a message that is lost, doubled or overtaken is seen.
"""

from __future__ import annotations

import math
from random import Random
from typing import TYPE_CHECKING

from wsproto_core import (
    Close,
    Data,
    Event,
    Failure,
    Pong,
    Request,
    Response,
    ServerProtocol,
    State,
    TimerOverdue,
    prepare,
)
from wsproto_core.broadcast import Delivery, SlowPolicy, deliver, not_written
from wsproto_core.timers import Timer

from .endpoint import Violation
from .scenario import CODES, LARGEST, REASONS, Plan

if TYPE_CHECKING:
    from .endpoint import Endpoint

__all__ = ["Application"]

INFINITE = math.inf
OPEN = State.OPEN

# Some of it compresses well.
FILLER = (b"The quick brown fox jumps over the lazy dog. " * 40 + bytes(range(256)) * 8) * (LARGEST // 3000)
TEXT_FILLER = ("The quick brown fox " * 40 + "äöü€𝄞 " * 20) * (LARGEST // 900)


# Bytes that a message may be longer on the wire than it is.
COMPRESSED = 128


def _size(message: Data) -> int:
    return len(message.encode() if isinstance(message, str) else message)


def _join(pieces: list[Data]) -> Data:
    return "".join(pieces) if isinstance(pieces[0], str) else b"".join(pieces)  # type: ignore[arg-type]


class Application:
    """What uses one endpoint.

    Attributes:
        now: the time of its last turn.
        wake_at: when it has something to do.
        sent: the messages that it has sent, in order.
        received: number of messages that it has received.
        done: whether it has done all that it wanted to do.
        pings: the payloads of its pings that have no pong yet.
        ended: whether it has seen the end: no message may follow.
        paused_until: until when it takes no messages.
    """

    __slots__ = (
        "_actions_left", "_asked", "_end", "_fragments", "_name", "_pieces", "_plan", "_random",
        "_request_at", "_to_say", "_waits", "done", "ended", "now", "paused_until", "pings", "received",
        "sent", "wake_at",
    )  # fmt: skip

    def __init__(self, end: Endpoint, plan: Plan, random: Random) -> None:
        self._end = end
        self._plan = plan
        self._random = random
        self._name = end.name[0]
        self._actions_left = plan.actions
        self._asked = False  # whether it has asked for a message in vain
        self._waits = False  # whether it waits for room to send
        self._fragments: list[Data] = []  # of the message that it is sending
        self._pieces: list[Data] = []  # of the message that it is receiving
        self._request_at: float | None = None  # when it has to answer a request
        self._to_say: list[Data] = []
        self.now = 0.0
        self.wake_at = INFINITE
        self.sent: list[Data] = []
        self.received = 0
        self.done = False
        self.ended = False
        self.pings: list[bytes] = []
        self.paused_until = 0.0

    @property
    def has_room(self) -> bool:
        """Whether it has waited for room to send, and there is room."""
        return self._waits and self._end.protocol.writable

    def turn(self, now: float) -> bool:
        """Receive, and do what is due."""
        self.now = now
        busy = self._receive()
        if self._end.facts.opened and self._end.protocol.state is not OPEN:
            self.done = True
        if self.has_room:
            self._waits = False
            self._act_next(now)
            return True
        if now < self.wake_at:
            return busy
        self.wake_at = INFINITE
        if self.paused_until > now:
            self.wake_at = self.paused_until
        if self._request_at is not None:
            if self._request_at > now:
                self.wake_at = min(self.wake_at, self._request_at)
            else:
                self._answer()
        elif not self.done and not self._waits:
            self._act_next(now)
        return True

    def start(self) -> None:
        """The connection is open."""
        self.wake_at = 0.0

    def come_to_an_end(self, now: float) -> None:
        """Begin nothing new, and receive whatever there is."""
        self.now = now
        self.done = True
        self._waits = False
        self._to_say.clear()
        self.paused_until = 0.0
        self._plan = self._plan._replace(pace=0.0)
        self._asked = False
        self.wake_at = now
        if self._request_at is not None:
            self._answer()
        if self._fragments and self._end.protocol.state is OPEN:
            self._send_fragment(final=True)

    # Receiving

    def _receive(self) -> bool:
        protocol = self._end.protocol
        if self._plan.style == "events":
            takes = self.paused_until <= self.now
            events = protocol.events(messages=takes)
            if takes and events and self._plan.pace:
                self._pause(self._plan.pace)
        else:
            events = protocol.events(messages=False) if protocol.has_events else []
        for event in events:
            self._handle(event)
        if self._plan.style != "events":
            return self._take_messages() or bool(events)
        return bool(events)

    def _take_messages(self) -> bool:
        """Take messages as ``recv`` does: ask for one, and wait until there is input."""
        protocol = self._end.protocol
        count = 0
        while self.paused_until <= self.now and (not self._asked or protocol.has_input):
            message = self._take_one()
            if message is None:
                was_asked, self._asked = self._asked, True
                if not protocol.receiving:
                    self.ended = True
                return count > 0 or not was_asked
            self._asked = False
            count += 1
            if message != "":
                self._got(message)
                if self._plan.pace:
                    self._pause(self._plan.pace)
        return count > 0

    def _take_one(self) -> Data | None:
        """Take a message or a piece; an empty text stands for a piece."""
        protocol = self._end.protocol
        if self._plan.style == "messages":
            return protocol.next_message()
        fragment = protocol.next_fragment()
        if fragment is None:
            return None
        self._pieces.append(fragment.data)
        if not fragment.final:
            return ""
        pieces, self._pieces = self._pieces, []
        return _join(pieces)

    def _handle(self, event: Event) -> None:
        end = self._end
        if isinstance(event, str | bytes):
            self._got(event)
            return
        end.tell(f"event {event!r:.100}")
        if isinstance(event, Pong):
            for payload, _ in event.answered:
                if payload in self.pings:
                    self.pings.remove(payload)
        elif isinstance(event, Failure):
            if end.facts.failed_at is not None:
                raise Violation("a second failure")
            end.facts.failed_at = end.clock()
        elif isinstance(event, TimerOverdue):
            if event.timer is Timer.CLOSING:
                end.facts.overdue += end.protocol._settings.close_timeout or 0.0
        elif isinstance(event, Close):
            end.facts.closes.append(event)
        elif isinstance(event, Request):
            self._request_at = self.now + self._plan.answer_after
            self.wake_at = self._request_at

    def _got(self, message: Data) -> None:
        sent = self._end.peer.user.sent  # type: ignore[attr-defined]
        position = self.received
        self._end.tell(f"receives message {position}")
        if self.ended:
            raise Violation("a message after the end")
        if position >= len(sent):
            raise Violation(f"message {position} was not sent: {message[:40]!r}")
        if message != sent[position]:
            raise Violation(f"message {position} is {message[:40]!r}, but {sent[position][:40]!r} was sent")
        self.received = position + 1
        if self._plan.echoes and not self.done:
            self._to_say.append(message)
            self.wake_at = min(self.wake_at, self.now)

    def _pause(self, seconds: float) -> None:
        self.paused_until = self.now + seconds
        self.wake_at = min(self.wake_at, self.paused_until)

    # Acting

    def _answer(self) -> None:
        protocol = self._end.protocol
        assert isinstance(protocol, ServerProtocol)
        self._request_at = None
        if protocol.state is not State.CONNECTING:
            return
        if self._plan.rejects:
            self._end.facts.rejected = True
            protocol.reject(Response(403, body=b"no"))
        else:
            protocol.accept()
        self._end.note()

    def _act_next(self, now: float) -> None:
        """Do the next thing, and choose the time of the one after it."""
        protocol = self._end.protocol
        if protocol.state is not OPEN:
            self.done = True
            return
        if not protocol.writable:
            self._waits = True
            return
        if self._to_say:
            self._say(self._to_say.pop(0))
        elif self._actions_left:
            self._actions_left -= 1
            self._act()
        elif self._fragments:
            self._send_fragment(final=True)
        else:
            self.done = True
            if self._plan.closes:
                self.close()
        if self._plan.eager and not self._end.closed:
            self._end.flush()
        if not self.done:
            self.wake_at = min(
                self.wake_at, now + (0.0 if self._to_say else self._random.choice(self._plan.gaps))
            )

    def _act(self) -> None:
        chance = self._random.random()
        if chance < 0.35:
            self._say(self._new_message())
        elif chance < 0.55:
            self._send_fragment(final=self._random.random() < 0.3)
        elif chance < 0.63:
            self._broadcast()
        elif chance < 0.75:
            self._ping()
        elif chance < 0.78:
            self._end.protocol.pong(b"unsolicited")
        elif chance < 0.84:
            for _ in range(self._random.choice((3, 3, 10, 40))):
                self._say(self._new_message())
        elif chance < 0.92:
            self._end.facts.paused = True
            self._pause(self._random.choice((0.0, 0.25, 2.0, 20.0)))
        elif chance < 0.94:
            self._end.protocol.stop_waiting()
            self._asked = False
        elif chance < 0.96:
            self._fail()
        elif chance < 0.98:
            self.close()
        else:
            for _ in range(20):
                self._ping()

    def _new_message(self, last: int = 0) -> Data:
        size = self._random.choice(self._plan.sizes)
        number = len(self.sent)
        if self._random.random() < 0.5:
            return f"{self._name}{number}.{last} {TEXT_FILLER[:size]}"
        return b"%b%d.%d %b" % (self._name.encode(), number, last, FILLER[:size])

    def _say(self, message: Data) -> None:
        if self._fragments:
            # Whoever sends a message in fragments sends no other in between.
            self._send_fragment(final=True)
        self._end.protocol.send(message, compress=self._random.choice((None, None, True, False)))
        self._sent(message)

    def _sent(self, message: Data) -> None:
        self._end.tell(f"sends message {len(self.sent)}")
        self._note_size(message, message)
        self.sent.append(message)

    def _note_size(self, whole: Data, frame: Data) -> None:
        """Note whether the peer may refuse a message for its size, or must."""
        facts = self._end.facts
        limits = self._end.peer.protocol._settings.max_size
        size = _size(whole)
        facts.largest = max(facts.largest, size)
        if facts.too_large is not None or (limits.message is None and limits.fragment is None):
            return
        if limits.message is not None and size > limits.message:
            facts.too_large = len(self.sent)
        # What does not compress is a little longer on the wire.
        if facts.oversize is None and (
            size + COMPRESSED > (limits.message or INFINITE)
            or _size(frame) + COMPRESSED > (limits.fragment or INFINITE)
        ):
            facts.oversize = len(self.sent)

    def _send_fragment(self, *, final: bool) -> None:
        fragments = self._fragments
        piece = self._new_message(len(fragments))
        if fragments and isinstance(piece, str) is not isinstance(fragments[0], str):
            piece = piece.encode() if isinstance(piece, str) else "x" * len(piece)
        fragments.append(piece)
        self._note_size(_join(fragments), piece)
        if final and self._random.random() < 0.2:
            self._end.protocol.send(piece, fin=False)
            self._end.protocol.end_message()
        else:
            self._end.protocol.send(piece, fin=final)
        if final:
            self._fragments = []
            self._sent(_join(fragments))

    def _broadcast(self) -> None:
        end, message = self._end, self._new_message()
        policy: SlowPolicy = self._random.choice(("skip", "close", "wait"))
        result = deliver(end.protocol, prepare(message, compress=self._random.choice((None, False))), policy)
        if isinstance(result, list):
            self._sent(message)
            left = end.write_shared(result)
            if left:
                not_written(end.protocol, left)
        elif result is Delivery.QUEUED:
            self._sent(message)
        elif result is Delivery.WAITING:
            self._to_say.append(message)
        elif result is Delivery.CLOSING:
            self._note_own(Close(1013, "too slow"))
        elif result is not Delivery.SKIPPED and end.protocol._closing.deferred is None:
            raise Violation(f"a broadcast on an open connection: {result}")

    def _ping(self) -> None:
        try:
            self.pings.append(self._end.protocol.ping())
        except RuntimeError:
            settings = self._end.protocol._settings
            if settings.ping_interval is None and len(self.pings) < (settings.max_pings or INFINITE):
                raise

    def close(self) -> None:
        """Close, with any code."""
        code = self._random.choice(CODES)
        close = Close(code, "" if code == 1005 else self._random.choice(REASONS))
        self._end.tell(f"closes with {close}")
        was_open = self._end.protocol.state is OPEN
        self._end.protocol.close(close.code, close.reason)
        if was_open:
            self._note_own(close)
        self._end.note()

    def _fail(self) -> None:
        close = Close(1011, "sorry")
        self._end.tell("fails")
        self._end.protocol.fail(RuntimeError("sorry"), close.code, close.reason)
        self._end.facts.failed = True
        self._note_own(close)
        self._end.note()

    def _note_own(self, close: Close) -> None:
        """Note the close frame, unless one of the peer, or an error, has taken effect before it."""
        self._end.facts.wanted.append(close)
        exception = self._end.protocol.close_exception()
        if not exception.received_first and isinstance(exception.__cause__, RuntimeError | None):
            self._end.facts.own.append(close)
