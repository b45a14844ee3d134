"""A client and a server against a model of RFC 6455, step by step: :mod:`.model`.

After each step, both must be what the model says: their states, what they send, frame by frame, what they
report and in which order, which commands they refuse, what is to be done with the stream, and until when.
"""

from __future__ import annotations

import random
from collections import deque
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import wsproto_core
from tests.core.helpers import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    TEXT,
    Clock,
    Frame,
    close_payload,
    frame,
    parse_frames,
)
from wsproto_core import ClientProtocol, Close, Failure, Ping, Pong, Protocol, ServerProtocol, prepare

from .model import ANY_REASON, CLOSE_TIMEOUT, MAX_SIZE, Bad, Closing, Model, Notice

SIDES = st.sampled_from(["client", "server"])
TEXTS = st.text(max_size=20) | st.sampled_from(["é" * 100, "x" * MAX_SIZE, "x" * (MAX_SIZE + 1)])
BYTES = st.binary(max_size=20) | st.sampled_from([bytes(125), bytes(126), bytes(600), bytes(MAX_SIZE + 1)])
MESSAGES = st.lists(st.text(max_size=5) | st.binary(max_size=5), max_size=4)
PAYLOADS = st.sampled_from([b"", b"a", b"b", b"c" * 125])
CODES = st.sampled_from([1000, 1001, 1005, 1011, 3000, 4999])
REASONS = st.sampled_from(["", "bye", "é" * 61])
WRONG_CODES = st.sampled_from([0, 999, 1004, 1006, 1015, 1016, 2999, 5000])
CUTS = st.lists(st.integers(1, 200), max_size=3)

# What no endpoint may send, and the close codes of the failures.
BAD: list[tuple[dict[str, Any], int]] = [
    ({"opcode": 0x3}, 1002),
    ({"opcode": 0xB}, 1002),
    ({"opcode": TEXT, "reserved": 0x40}, 1002),
    ({"opcode": PING, "fin": False}, 1002),
    ({"opcode": PING, "payload": bytes(126)}, 1002),
    ({"opcode": CLOSE, "payload": b"\x03"}, 1002),
    ({"opcode": CLOSE, "payload": close_payload(1006)}, 1002),
    ({"opcode": CLOSE, "payload": close_payload(1000) + b"\xff"}, 1007),
    ({"opcode": BINARY, "masked": None}, 1002),
]


def frame_size(item: Frame, *, masked: bool) -> int:
    length = len(item.payload)
    return 2 + (0 if length < 126 else 2 if length < 65536 else 8) + 4 * masked + length


class Subject:
    """One side: the protocol, its model, and what is under way to it."""

    def __init__(self, name: str, protocol: Protocol) -> None:
        self.name = name
        self.masks = name == "client"
        self.protocol = protocol
        self.model = Model(is_server=name == "server")
        self.arriving: deque[tuple[Frame | Bad, bytes]] = deque()
        self.arrived = 0  # bytes of the first of these
        self.peer_ended = False
        self.eof_given = False
        self.lost = False

    def is_at_the_end(self) -> bool:
        """Whether the end of the peer's half is next."""
        return self.peer_ended and not (self.arriving or self.eof_given)


class Machine(RuleBasedStateMachine):
    @initialize(seed=st.integers(0, 1000), before=st.booleans(), calm=st.sampled_from([0, 5, 15, 30]))
    def begin(self, seed: int, before: bool, calm: int) -> None:
        self.clock = Clock()
        self.calm = calm  # steps before anything ends
        options: Any = {
            "clock": self.clock,
            "random": random.Random(seed).randbytes,
            "compression": None,
            "max_size": MAX_SIZE,
            "max_queue": None,
            "read_limit": None,
            "ping_interval": None,
            "ping_timeout": None,
            "open_timeout": None,
            "close_timeout": CLOSE_TIMEOUT,
        }
        self.subjects = {
            "client": Subject("client", ClientProtocol("ws://localhost/", **options)),
            "server": Subject("server", ServerProtocol(**options)),
        }
        if before:
            for name in self.subjects:
                self.send(name, "too early", True)
                self.ping(name, b"")
                self.close(name, 1000, "")
        self.open()

    def open(self) -> None:
        client, server = (self.subjects[name].protocol for name in ("client", "server"))
        assert isinstance(server, ServerProtocol)
        server.receive_data(b"".join(client.data_to_send()))
        client.data_sent()
        server.accept()
        client.receive_data(b"".join(server.data_to_send()))
        server.data_sent()
        for subject in self.subjects.values():
            subject.protocol.events(messages=False)
            subject.model.open()

    def sides(self, name: str) -> tuple[Protocol, Model]:
        return self.subjects[name].protocol, self.subjects[name].model

    def peer(self, name: str) -> Subject:
        return self.subjects["server" if name == "client" else "client"]

    def command(self, name: str, function: Any, *arguments: Any, **options: Any) -> bool:
        """Give a command; return whether it was taken, as the model says."""
        refusal = self.subjects[name].model.refusal()
        if refusal is None:
            function(*arguments, **options)
            return True
        with pytest.raises(getattr(wsproto_core, refusal)):
            function(*arguments, **options)
        return False

    # Commands

    @rule(name=SIDES, message=TEXTS | BYTES, fin=st.booleans())
    def send(self, name: str, message: str | bytes, fin: bool) -> None:
        protocol, model = self.sides(name)
        mixed = model.building is not None and model.building is not isinstance(message, str)
        if mixed and model.refusal() is None:
            with pytest.raises(TypeError):
                protocol.send(message, fin=fin)
        elif self.command(name, protocol.send, message, fin=fin):
            model.send(message, fin=fin)

    @rule(name=SIDES)
    def end_message(self, name: str) -> None:
        protocol, model = self.sides(name)
        if model.building is None:
            with pytest.raises(wsproto_core.InvalidState):
                protocol.end_message()
        elif self.command(name, protocol.end_message):
            model.send("" if model.building else b"", fin=True)

    @rule(name=SIDES, messages=MESSAGES)
    def send_some(self, name: str, messages: list[str | bytes]) -> None:
        if self.subjects[name].model.building is None:
            for message in messages:
                self.send(name, message, True)

    @rule(name=SIDES, message=TEXTS | BYTES)
    def send_prepared(self, name: str, message: str | bytes) -> None:
        protocol, model = self.sides(name)
        if model.building is not None and model.refusal() is None:
            with pytest.raises(wsproto_core.InvalidState):
                protocol.send(prepare(message))
        elif self.command(name, protocol.send, prepare(message)):
            model.send(message)

    @rule(name=SIDES, payload=PAYLOADS)
    def ping(self, name: str, payload: bytes) -> None:
        protocol, model = self.sides(name)
        if payload in model.pings and model.refusal() is None:
            with pytest.raises(ValueError, match="waits for its pong"):
                protocol.ping(payload)
        elif self.command(name, protocol.ping, payload):
            model.ping(payload)

    @rule(name=SIDES, payload=PAYLOADS)
    def pong(self, name: str, payload: bytes) -> None:
        protocol, model = self.sides(name)
        if self.command(name, protocol.pong, payload):
            model.pong(payload)

    @rule(name=SIDES, code=CODES, reason=REASONS)
    @precondition(lambda self: self.calm <= 0)
    def close(self, name: str, code: int, reason: str) -> None:
        protocol, model = self.sides(name)
        reason = "" if code == 1005 else reason
        if model.state == "connecting":
            with pytest.raises(wsproto_core.InvalidState):
                protocol.close(code, reason)
        else:
            protocol.close(code, reason)
            model.close(Closing(code, reason), self.clock.now)

    @rule(name=SIDES, code=WRONG_CODES)
    def close_with_a_wrong_code(self, name: str, code: int) -> None:
        with pytest.raises(ValueError, match="close code must be"):
            self.subjects[name].protocol.close(code)

    @rule(name=SIDES)
    @precondition(lambda self: self.calm <= 0)
    def fail(self, name: str) -> None:
        protocol, model = self.sides(name)
        protocol.fail(RuntimeError("sorry"), 1011, "sorry")
        model.fail(Closing(1011, "sorry"), self.clock.now)

    @rule(name=SIDES, number=st.integers(1, 3))
    def take(self, name: str, number: int) -> None:
        protocol, model = self.sides(name)
        for _ in range(number):
            assert protocol.next_message() == model.take(self.clock.now)

    # The stream

    @rule(name=SIDES)
    def write(self, name: str) -> None:
        """Write everything; the model says which frames these are."""
        subject, peer = self.subjects[name], self.peer(name)
        data = b"".join(subject.protocol.data_to_send())
        subject.protocol.data_sent()
        frames = parse_frames(data, masked=subject.masks)
        expected = subject.model.write()
        for got, wanted in zip(frames, expected, strict=True):
            if wanted.payload[2:] == ANY_REASON.encode() and wanted.opcode == CLOSE:
                wanted = wanted._replace(payload=wanted.payload[:2] + got.payload[2:])
                assert got.payload[2:].decode()
            assert got == wanted
        for item in frames:
            size = frame_size(item, masked=subject.masks)
            raw, data = data[:size], data[size:]
            if not peer.lost:
                peer.arriving.append((item, raw))

    @rule(name=SIDES, cuts=CUTS)
    def pass_on(self, name: str, cuts: list[int]) -> None:
        """Write everything, and let it arrive."""
        self.write(name)
        self.deliver(self.peer(name).name, 1000, cuts)

    # Conversations: chance alone rarely does what belongs together.

    @rule(name=SIDES, messages=MESSAGES, payload=PAYLOADS, number=st.integers(0, 3), cuts=CUTS)
    def talk(
        self, name: str, messages: list[str | bytes], payload: bytes, number: int, cuts: list[int]
    ) -> None:
        """One side sends, and what it sends is received and answered."""
        peer = self.peer(name).name
        self.send_some(name, messages)
        self.ping(name, payload)
        self.pass_on(name, cuts)
        if number:
            self.take(peer, number)
            self.send_some(peer, messages[:number])
            self.pass_on(peer, cuts)

    @rule(name=SIDES, messages=MESSAGES, code=CODES, reason=REASONS, number=st.integers(0, 5))
    @precondition(lambda self: self.calm <= 0)
    def say_goodbye(
        self, name: str, messages: list[str | bytes], code: int, reason: str, number: int
    ) -> None:
        """A close frame follows messages, of which the peer takes some, and answers them."""
        peer = self.peer(name).name
        self.send_some(name, messages)
        self.close(name, code, reason)
        self.pass_on(name, [])
        self.take(peer, number)
        self.send_some(peer, messages)
        self.pass_on(peer, [])

    @rule(name=SIDES, bad=st.sampled_from(BAD))
    @precondition(lambda self: self.calm <= 0)
    def break_a_rule(self, name: str, bad: tuple[dict[str, Any], int]) -> None:
        """In the place of what a peer has sent, something arrives that no peer may send."""
        subject = self.subjects[name]
        arguments, code = bad
        masked = not subject.masks if arguments.get("masked", 0) is not None else subject.masks
        if not (subject.lost or subject.peer_ended):
            raw = frame(**{**arguments, "masked": masked})
            subject.arriving.append((Bad(code), raw))

    @rule(name=SIDES, number=st.integers(1, 5), cuts=CUTS)
    def deliver(self, name: str, number: int, cuts: list[int]) -> None:
        """Some frames arrive, cut anywhere."""
        subject = self.subjects[name]
        if subject.lost or not subject.protocol.wants_read:
            return
        data = b""
        for _ in range(min(number, len(subject.arriving))):
            item, raw = subject.arriving.popleft()
            data += raw[subject.arrived :]
            subject.arrived = 0
            subject.model.receive(item, self.clock.now)
            if not subject.model.reads:
                break
        for size in cuts:
            if data[:size]:
                subject.protocol.receive_data(data[:size])
            data = data[size:]
        if data:
            subject.protocol.receive_data(data)

    @rule(name=SIDES)
    def deliver_a_byte(self, name: str) -> None:
        """A byte of a frame arrives, or of its header; the frame is complete later."""
        subject = self.subjects[name]
        if subject.lost or not subject.protocol.wants_read or not subject.arriving:
            return
        item, raw = subject.arriving[0]
        # What is wrong with a frame, or with its size, is found at its header.
        fine = isinstance(item, Frame) and len(item.payload) <= 20 and item.opcode not in (TEXT, CONTINUATION)
        if fine and subject.arrived < len(raw) - 1:
            subject.protocol.receive_data(raw[subject.arrived : subject.arrived + 1])
            subject.arrived += 1

    @rule(name=SIDES)
    def end_the_stream(self, name: str) -> None:
        """Do what is to be done with the stream."""
        protocol, model = self.sides(name)
        action = model.action
        if action == "keep" or (model.has_output and action != "abort") or self.subjects[name].lost:
            return
        if action == "send end of file":
            protocol.eof_sent()
            model.eof_sent = True
            self.peer(name).peer_ended = True
        else:
            self.lose(name)

    @rule(name=SIDES)
    def deliver_eof(self, name: str) -> None:
        subject = self.subjects[name]
        if subject.is_at_the_end() and not subject.lost and subject.protocol.wants_read:
            subject.eof_given = True
            subject.protocol.receive_eof()
            subject.model.receive_eof(self.clock.now)

    @rule(name=SIDES)
    @precondition(lambda self: self.calm <= 0)
    def half_close(self, name: str) -> None:
        """The peer's half ends, whatever it wanted to say."""
        self.subjects[name].peer_ended = True

    @rule(name=SIDES)
    @precondition(lambda self: self.calm <= 0)
    def lose(self, name: str) -> None:
        """The stream is lost, or closed as it was wanted."""
        subject = self.subjects[name]
        if not subject.lost:
            subject.lost = True
            subject.arriving.clear()
            self.peer(name).peer_ended = True
            subject.protocol.connection_lost(
                ConnectionResetError() if subject.model.action == "keep" else None
            )
            subject.model.lose(self.clock.now)

    @rule(seconds=st.sampled_from([0.5, 3.0, CLOSE_TIMEOUT]))
    def wait(self, seconds: float) -> None:
        """Time passes, to the next deadline at most."""
        deadlines = [s.model.deadline for s in self.subjects.values() if s.model.deadline is not None]
        self.clock.now = min([self.clock.now + seconds, *deadlines])
        for subject in self.subjects.values():
            subject.protocol.handle_timeout()
            if subject.model.deadline is not None and subject.model.deadline <= self.clock.now:
                subject.model.expire(self.clock.now)

    # After each step

    @invariant()
    def both_are_what_the_model_says(self) -> None:
        if hasattr(self, "subjects"):
            self.calm -= 1
            for subject in self.subjects.values():
                self.check(subject)

    def check(self, subject: Subject) -> None:
        protocol, model = subject.protocol, subject.model
        assert protocol.state.value == model.state
        assert protocol.receiving is model.receiving
        assert protocol.close_code == model.close_code
        assert protocol.stream_action.value == model.action
        assert protocol.wants_read is model.reads
        assert protocol.undelivered == len(model.queue)
        assert protocol.deadline() == model.deadline
        assert [self.notice(event) for event in protocol.events(messages=False)] == model.notices
        model.notices.clear()
        if model.sent is not None or not model.receiving:
            exception = protocol.close_exception()
            assert self.closing(exception.received) == model.received
            sent = self.closing(exception.sent)
            if model.sent is not None and model.sent.reason == ANY_REASON:
                assert sent is not None
                assert sent.reason
                sent = sent._replace(reason=ANY_REASON)
            assert sent == model.sent

    def closing(self, close: Close | None) -> Closing | None:
        return None if close is None else Closing(close.code, close.reason)

    def notice(self, event: Any) -> Notice:
        if isinstance(event, Ping):
            return Notice("ping", event.data)
        if isinstance(event, Pong):
            return Notice("pong", (event.data, [payload for payload, _ in event.answered]))
        if isinstance(event, Close):
            return Notice("close", self.closing(event))
        assert isinstance(event, Failure)
        return Notice("failure")

    def teardown(self) -> None:
        """Both come to their end, whatever has happened."""
        if not hasattr(self, "subjects"):
            return
        for name in self.subjects:
            self.close(name, 1000, "")
        for _ in range(12):
            for name in self.subjects:
                self.take(name, 1 + len(self.subjects[name].model.queue))
                self.write(name)
                self.deliver(name, 1000, [])
                self.end_the_stream(name)
                self.deliver_eof(name)
            self.wait(CLOSE_TIMEOUT)
            self.both_are_what_the_model_says()
        for subject in self.subjects.values():
            assert subject.protocol.state.value == "closed"
            assert subject.protocol.data_to_send() == []


Machine.TestCase.settings = settings(max_examples=150, stateful_step_count=40)

TestModel = Machine.TestCase
