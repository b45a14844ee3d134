"""A client and a server that do anything at any time, over a stream on which anything happens.

What must hold: messages arrive in order, without gaps, and unchanged; nothing comes after the end;
a peer that sends cannot make the other side's memory grow; no input raises; and, however it ends,
it does so within the deadlines.
"""

from __future__ import annotations

import random
from typing import Any, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.patching import replace_method
from wsproto_core import (
    ClientProtocol,
    Close,
    ConnectionClosed,
    Data,
    Event,
    Failure,
    Pong,
    Protocol,
    ServerProtocol,
    Side,
    State,
    TimerOverdue,
)
from wsproto_core.testing import Chunk, Link, connect

READ_LIMIT = 2000
MAX_QUEUE = 10
READ_SIZE = 3000
LARGEST_MESSAGE = 5000

SIDES = st.sampled_from(Side)
SECONDS = st.sampled_from([0.01, 0.5, 3.0])
MESSAGES = st.one_of(
    st.text(max_size=30),
    st.binary(max_size=30),
    st.integers(100, LARGEST_MESSAGE).map(bytes),
    st.integers(100, 2000).map("é".__mul__),
)


def random_chunks(seed: int) -> Chunk:
    source = random.Random(seed)
    return lambda there: source.randint(1, min(there, READ_SIZE))


CHUNKS = st.sampled_from([50, READ_SIZE]) | st.integers(0, 1000).map(random_chunks)


def check_batches(protocol: Protocol) -> None:
    """Check what is taken at once, which is what has been kept until then."""
    events = protocol.events

    def check(*, messages: bool = True) -> list[Event]:
        batch = events(messages=messages)
        kept = [message for message in batch if isinstance(message, str | bytes)]
        size = sum(len(message.encode() if isinstance(message, str) else message) for message in kept)
        assert size <= READ_LIMIT + READ_SIZE + LARGEST_MESSAGE
        assert len(kept) <= MAX_QUEUE + READ_SIZE // 2
        return batch

    replace_method(protocol, "events", check)


class Conversation(RuleBasedStateMachine):
    """Whatever two programs may do, on a stream without faults."""

    options: ClassVar[dict[str, Any]] = {
        # What it inflates is not bounded by what is read.
        "compression": None,
        "read_limit": READ_LIMIT,
        "max_queue": MAX_QUEUE,
        "write_limit": 4000,
        "ping_interval": None,
        "ping_timeout": None,
        # Enough for all that may be sent, at its slowest.
        "close_timeout": 1000,
    }
    longest_end = 2000
    """Twice the closing deadline; all that can be late is forgiven once."""

    link: Link[ClientProtocol, ServerProtocol]

    @initialize(
        chunk=CHUNKS,
        latency=st.sampled_from([0.0, 0.01, 0.7]),
        capacity=st.sampled_from([300, 5000, 65536]),
        seed=st.integers(0, 1000),
    )
    def open(self, chunk: Chunk, latency: float, capacity: int, seed: int) -> None:
        self.link = connect(
            client_options=self.options,  # type: ignore[arg-type]
            server_options=self.options,  # type: ignore[arg-type]
            random=random.Random(seed).randbytes,
            chunk=chunk,
            latency=latency,
            capacity=capacity,
        )
        self.ends = {Side.CLIENT: self.link.client_end, Side.SERVER: self.link.server_end}
        self.sent: dict[Side, list[Data]] = {side: [] for side in Side}
        self.pings: dict[Side, list[bytes]] = {side: [] for side in Side}
        for end in self.ends.values():
            check_batches(end.protocol)
        self.was_slow = False
        self.was_closed = False

    def protocol(self, side: Side) -> Protocol:
        return self.ends[side].protocol

    def received(self, side: Side) -> list[Data]:
        return [event for event in self.ends[side].events if isinstance(event, str | bytes)]

    def other(self, side: Side) -> Side:
        return Side.SERVER if side is Side.CLIENT else Side.CLIENT

    def is_open(self, side: Side) -> bool:
        return self.protocol(side).state is State.OPEN

    # What programs do

    @rule(side=SIDES, message=MESSAGES)
    def send(self, side: Side, message: Data) -> None:
        if self.is_open(side):
            self.protocol(side).send(message)
            self.sent[side].append(message)
        else:
            with pytest.raises(ConnectionClosed):
                self.protocol(side).send(message)

    @rule(side=SIDES, sizes=st.lists(st.sampled_from([0, 10, 500]), min_size=5, max_size=25))
    def send_many(self, side: Side, sizes: list[int]) -> None:
        for number, size in enumerate(sizes):
            self.send(side, bytes((number,)) * size)

    @rule(side=SIDES, pieces=st.lists(st.text(max_size=300), min_size=1, max_size=4), ping=st.booleans())
    def send_fragments(self, side: Side, pieces: list[str], ping: bool) -> None:
        if self.is_open(side):
            for piece in pieces[:-1]:
                self.protocol(side).send(piece, fin=False)
                if ping:
                    self.protocol(side).pong(b"in between")
            self.protocol(side).send(pieces[-1])
            self.sent[side].append("".join(pieces))

    @rule(side=SIDES)
    def ping(self, side: Side) -> None:
        if self.is_open(side):
            self.pings[side].append(self.protocol(side).ping())

    @rule(
        side=SIDES, code=st.sampled_from([1000, 1001, 3000, 4999, 1005]), reason=st.sampled_from(["", "bye"])
    )
    @precondition(lambda self: sum(map(len, self.sent.values())) > 3)
    def close(self, side: Side, code: int, reason: str) -> None:
        self.protocol(side).close(code, "" if code == 1005 else reason)
        self.was_closed = True

    @rule(side=SIDES)
    def take_no_messages(self, side: Side) -> None:
        self.ends[side].takes_messages = False
        self.was_slow = True

    @rule(side=SIDES)
    def take_messages(self, side: Side) -> None:
        self.ends[side].takes_messages = True

    @rule(seconds=SECONDS)
    def run(self, seconds: float) -> None:
        self.link.run(seconds)

    # What must hold

    @invariant()
    def messages_have_no_gaps(self) -> None:
        for side in Side:
            received = self.received(side)
            assert received == self.sent[self.other(side)][: len(received)]

    @invariant()
    def nothing_comes_after_the_end(self) -> None:
        for end in self.ends.values():
            if not self.was_slow:
                # What has been waited with is taken later than other events.
                kinds = [
                    isinstance(event, Close | Failure)
                    for event in end.events
                    if not isinstance(event, TimerOverdue)
                ]
                assert kinds == sorted(kinds)
            assert sum(isinstance(event, Close) for event in end.events) <= 1

    @invariant()
    def attributes_say_what_is_so(self) -> None:
        for end in self.ends.values():
            protocol = end.protocol
            assert protocol.has_input == (protocol.undelivered > 0 or not protocol.receiving)
            assert protocol.wants_read == protocol._inbox.wants_read
            assert protocol.writable == protocol._outbox.writable

    @invariant()
    def memory_is_bounded(self) -> None:
        for end in self.ends.values():
            assert end.protocol.undelivered <= MAX_QUEUE + READ_SIZE // 2

    @invariant()
    def codes_are_known_when_nothing_more_comes(self) -> None:
        for end in self.ends.values():
            protocol = end.protocol
            closes = [event for event in end.events if isinstance(event, Close)]
            assert (protocol.close_code is None) is protocol.receiving
            if protocol.close_code is not None:
                received = protocol.close_exception().received
                assert protocol.close_code == (received.code if received else 1006)
                # A command may have let it take effect, and nobody has asked for events since.
                assert closes in ([], [received])

    # How it ends

    def resume(self) -> None:
        for end in self.ends.values():
            end.takes_messages = end.reads = end.served = True

    def teardown(self) -> None:
        if not hasattr(self, "link"):
            return
        self.resume()
        self.link.run()
        self.check_all_that_was_sent()
        self.link.client.close()
        self.link.server.close()
        self.link.run(self.longest_end)
        self.check_closed()

    def check_all_that_was_sent(self) -> None:
        for side in Side:
            if not self.was_closed:
                assert self.is_open(side)
                assert self.received(side) == self.sent[self.other(side)]
                pongs = [event for event in self.ends[side].events if isinstance(event, Pong)]
                answered = [payload for pong in pongs for payload, _ in pong.answered]
                assert answered == self.pings[side]
            elif not self.was_slow and self.protocol(side).close_exception().received_first:
                assert self.received(side) == self.sent[self.other(side)]

    def check_closed(self) -> None:
        for side in Side:
            assert self.protocol(side).state is State.CLOSED
            assert self.ends[side].closed
            assert self.protocol(side).deadline() is None
            exception = self.protocol(side).close_exception()
            peer = self.protocol(self.other(side)).close_exception()
            # Who has received a close frame has received the one that was sent.
            assert exception.received in (None, peer.sent)
            assert exception.code == self.protocol(side).close_code
            if exception.received is not None and exception.sent is not None:
                assert exception.received_first is not None
        if not self.was_slow:
            self.check_close_frames()
        self.messages_have_no_gaps()
        self.nothing_comes_after_the_end()

    def check_close_frames(self) -> None:
        for side in Side:
            exception = self.protocol(side).close_exception()
            assert exception.received is not None
            assert exception.sent is not None
            assert exception.__cause__ is None
        firsts = {self.protocol(side).close_exception().received_first for side in Side}
        assert firsts in ({True, False}, {False})


class Trouble(Conversation):
    """The same with a keepalive, on a stream on which anything happens."""

    options: ClassVar[dict[str, Any]] = {
        # What it inflates is not bounded by what is read.
        "compression": None,
        "read_limit": READ_LIMIT,
        "max_queue": MAX_QUEUE,
        "write_limit": 4000,
    }

    longest_end = 40

    @rule(seconds=st.sampled_from([7.0, 15.0, 45.0]))
    def run_long(self, seconds: float) -> None:
        self.link.run(seconds)

    @rule(side=SIDES)
    @precondition(lambda self: sum(map(len, self.sent.values())) > 3)
    def cut(self, side: Side) -> None:
        self.ends[side].cut()

    @rule(side=SIDES)
    @precondition(lambda self: sum(map(len, self.sent.values())) > 3)
    def reset(self, side: Side) -> None:
        self.ends[side].reset()

    @rule(side=SIDES)
    @precondition(lambda self: sum(map(len, self.sent.values())) > 3)
    def send_eof(self, side: Side) -> None:
        self.ends[side].send_eof()

    @rule(side=SIDES)
    @precondition(lambda self: sum(map(len, self.sent.values())) > 3)
    def die(self, side: Side) -> None:
        self.ends[side].close()

    @rule(side=SIDES)
    def read_not(self, side: Side) -> None:
        self.ends[side].reads = False

    @rule(side=SIDES)
    def serve_not(self, side: Side) -> None:
        self.ends[side].served = False

    @rule()
    def recover(self) -> None:
        self.resume()

    @rule(side=SIDES)
    @precondition(lambda self: sum(map(len, self.sent.values())) > 3)
    def fail(self, side: Side) -> None:
        self.protocol(side).fail(RuntimeError("something is wrong"), 1011, "sorry")

    def check_all_that_was_sent(self) -> None:
        pass

    def check_close_frames(self) -> None:
        pass


Conversation.TestCase.settings = settings(max_examples=100, stateful_step_count=30)
Trouble.TestCase.settings = settings(max_examples=250, stateful_step_count=30)

TestConversation = Conversation.TestCase
TestTrouble = Trouble.TestCase


@given(
    st.lists(st.tuples(SIDES, st.binary(max_size=200)), max_size=5), st.lists(st.integers(1, 50), min_size=1)
)
def test_hostile_bytes(attacks: list[tuple[Side, bytes]], sizes: list[int]) -> None:
    """Bytes that no protocol has sent, in the place of the stream: nothing raises, and all ends."""
    link = connect()
    for side, data in attacks:
        protocol: Protocol = link.server if side is Side.SERVER else link.client
        position = 0
        for size in sizes:
            protocol.receive_data(data[position : position + size])
            position += size
        protocol.receive_data(data[position:])
    link.run(1)
    link.client.close()
    link.server.close()
    link.run(80)
    assert link.client.state is link.server.state is State.CLOSED
