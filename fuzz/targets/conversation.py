"""A client and a server of this library, over a stream in memory and in virtual time: the input chooses what
the two applications do, what happens to the stream, the sizes of reads, and times.

- No call raises but as documented.
- What one side sends the other receives: messages in order, unchanged and without gaps; all of them if
  nothing goes wrong with the stream.
- Each output is whole frames, and nothing follows a close frame or the loss of the stream.
- The receive queue has the limits of the options and what was read at once.
- However it ends, it does so within the deadlines: both sides are closed, and the close frame that one has
  received is the one that the other has sent.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from fuzz.peer import CLOSE, parse_frames
from fuzz.source import Source
from wsproto_core import (
    ClientProtocol,
    Close,
    ConnectionClosed,
    Failure,
    Fragment,
    InvalidState,
    Pong,
    Protocol,
    ServerProtocol,
    State,
    TimerOverdue,
    prepare,
)
from wsproto_core.broadcast import Delivery, deliver, not_written
from wsproto_core.extensions.permessage_deflate import (
    ClientPerMessageDeflateFactory,
    ServerPerMessageDeflateFactory,
)
from wsproto_core.testing import Chunk, Clock, End, Link

READ_LIMIT, MAX_QUEUE, READ_SIZE, WRITE_LIMIT = 2000, 10, 3000, 4000
LONGEST_MESSAGE = 5000

OPTIONS: tuple[dict[str, Any], ...] = (
    {"compression": None},
    {},
    {"compression": None, "ping_interval": None, "ping_timeout": None, "close_timeout": 1000},
    {"max_size": (None, LONGEST_MESSAGE)},
    {"deflate": {"threshold": 0, "server_no_context_takeover": True, "client_max_window_bits": 9}},
    {"deflate": {"threshold": 0, "compress_settings": {"level": 9, "memLevel": 9}, "idle_timeout": 1}},
)

LIMITS: dict[str, Any] = {"read_limit": READ_LIMIT, "max_queue": MAX_QUEUE, "write_limit": WRITE_LIMIT}

MOST_STEPS = 100

FAULTY_ROUNDS = 50
"""Seconds that an application goes on to take pieces from a stream with a fault."""

SECONDS = (0.01, 0.5, 3.0, 15.0, 45.0)


class Output:
    """What a protocol has handed out: whole frames, checked as they come."""

    def __init__(self, *, masked: bool) -> None:
        self.masked = masked
        self.is_closed = self.is_lost = False

    def add(self, data: bytes) -> None:
        if data.startswith((b"GET ", b"HTTP")):
            data = data.partition(b"\r\n\r\n")[2]
        if data:
            assert not self.is_lost, "output after the loss of the stream"
        for frame in parse_frames(data, masked=self.masked):
            assert not self.is_closed, "a frame behind the close frame"
            self.is_closed = frame.opcode == CLOSE


class Checked(Protocol):
    """A protocol whose output is checked."""

    output: Output

    def data_to_send(self) -> list[bytes]:
        buffers = super().data_to_send()
        self.output.add(b"".join(buffers))
        return buffers

    def connection_lost(self, error: Exception | None = None) -> None:
        super().connection_lost(error)
        self.output.is_lost = True
        self.data_to_send()


class CheckedClient(Checked, ClientProtocol):
    """A client whose output is checked."""


class CheckedServer(Checked, ServerProtocol):
    """A server whose output is checked."""


class Party:
    """One application, and what is known of it."""

    other: Party

    def __init__(self, end: End) -> None:
        self.end = end
        self.protocol = end.protocol
        self.output: Output = end.protocol.output  # type: ignore[attr-defined]
        self.sent: list[str | bytes] = []
        self.pieces: list[str] | list[bytes] | None = None
        """The fragments of the message that it has begun to send."""
        self.pings: list[bytes] = []
        self.streamed: list[str | bytes] = []
        """The pieces that it has taken of a message."""

    @property
    def is_open(self) -> bool:
        return self.protocol.state is State.OPEN

    def received(self) -> list[str | bytes]:
        return [event for event in self.end.events if isinstance(event, str | bytes)]


class Conversation:
    """Two applications and the stream between them."""

    def __init__(self, source: Source) -> None:
        self.source = source
        options = LIMITS | source.choice(OPTIONS)
        deflate = options.pop("deflate", {})
        clock = Clock()
        seed = random.Random(source.number(0, 0xFFFF))
        client_options = server_options = options
        if deflate:
            client_options = options | {"extensions": [ClientPerMessageDeflateFactory(**deflate)]}
            server_options = options | {"extensions": [ServerPerMessageDeflateFactory(**deflate)]}
        client = CheckedClient("ws://localhost/", clock=clock, random=seed.randbytes, **client_options)
        server = CheckedServer(clock=clock, random=seed.randbytes, **server_options)
        client.output, server.output = Output(masked=True), Output(masked=False)
        chunks: tuple[Chunk, ...] = (READ_SIZE, 7, 50, lambda there: seed.randint(1, min(there, READ_SIZE)))
        self.compressed = options.get("compression", "deflate") is not None
        self.link = Link(
            client,
            server,
            clock,
            latency=source.choice((0.0, 0.01, 0.7)),
            chunk=source.choice(chunks),
            capacity=source.choice((65536, 300, 5000)),
        )
        self.parties = (Party(self.link.client_end), Party(self.link.server_end))
        self.parties[0].other, self.parties[1].other = self.parties[1], self.parties[0]
        self.is_faulty = self.was_closed = self.was_slow = False
        self.keepalive = "ping_interval" not in options
        if source.flag():
            self.link.run()
            assert client.state is server.state is State.OPEN

    # What may happen

    def step(self) -> None:
        party = self.source.choice(self.parties)
        action = self.source.choice(ACTIONS)
        expected = (InvalidState, ConnectionClosed) if not party.is_open else ()
        try:
            action(self, party)
        except expected:
            assert not party.is_open
        self.check()

    def send(self, party: Party) -> None:
        message = self.take_message()
        if party.pieces is not None:
            self.end_message(party)
        compress = self.source.choice((None, True, False))
        party.protocol.send(message, compress=compress)
        party.sent.append(message)

    def send_prepared(self, party: Party) -> None:
        message = self.take_message()
        if party.pieces is not None:
            self.end_message(party)
        party.protocol.send(prepare(message))
        party.sent.append(message)

    def broadcast(self, party: Party) -> None:
        message = self.take_message()
        outcome = deliver(party.protocol, prepare(message), self.source.choice(("skip", "close")))
        if isinstance(outcome, list):
            data = b"".join(outcome)
            party.output.add(data)
            not_written(party.protocol, len(data))
            party.end._unwritten += data
        elif outcome is Delivery.CLOSING:
            self.was_closed = True
        if isinstance(outcome, list) or outcome is Delivery.QUEUED:
            party.sent.append(message)

    def send_fragment(self, party: Party) -> None:
        piece = self.take_message()
        if party.pieces is not None and type(piece) is not type(party.pieces[0]):
            self.end_message(party)
        party.protocol.send(piece, fin=False)
        party.pieces = [*(party.pieces or ()), piece]

    def end_message(self, party: Party) -> None:
        if party.pieces is None:
            return
        party.protocol.end_message()
        party.sent.append(type(party.pieces[0])().join(party.pieces))  # type: ignore[arg-type]
        party.pieces = None

    def take_message(self) -> str | bytes:
        kind = self.source.number(0, 3)
        if kind == 0:
            return self.source.text(40)
        if kind == 1:
            return self.source.block(40)
        count = self.source.number(0, LONGEST_MESSAGE // 2)
        return "é" * count if kind == 2 else self.source.take(2) * count

    def ping(self, party: Party) -> None:
        party.pings.append(party.protocol.ping())

    def pong(self, party: Party) -> None:
        party.protocol.pong(self.source.block(20))

    def close(self, party: Party) -> None:
        code = self.source.choice((1000, 1001, 1011, 3000, 4999, 1005))
        party.protocol.close(code, "" if code == 1005 else self.source.text(20))
        self.was_closed = True

    def fail(self, party: Party) -> None:
        party.protocol.fail(RuntimeError("an error of the application"))
        self.is_faulty = self.was_closed = True

    def take_no_messages(self, party: Party) -> None:
        party.end.takes_messages = False
        self.was_slow = True
        self.keep_waiting()

    def take_messages(self, party: Party) -> None:
        party.end.takes_messages = not party.streamed

    def take_one(self, party: Party) -> None:
        """Take one message, as an application does that takes them one by one."""
        if not party.streamed:
            message = party.protocol.next_message()
            if message is not None:
                party.end.events.append(message)

    def take_pieces(self, party: Party) -> None:
        """Take what there is of one message; while it is taken in pieces, nothing else is taken."""
        self.take_no_messages(party)
        while (fragment := party.protocol.next_fragment()) is not None:
            assert isinstance(fragment, Fragment)
            party.streamed.append(fragment.data)
            if fragment.final:
                break
        else:
            return
        party.end.events.append(type(party.streamed[0])().join(party.streamed))  # type: ignore[arg-type]
        party.streamed = []

    def read_not(self, party: Party) -> None:
        party.end.reads = False
        self.keep_waiting()

    def serve_not(self, party: Party) -> None:
        party.end.served = False
        self.keep_waiting()

    def keep_waiting(self) -> None:
        """A peer that can't write, or gets no pong or no answer to its handshake, fails the connection."""
        if self.keepalive or not all(party.is_open for party in self.parties):
            self.is_faulty = True

    def recover(self, party: Party) -> None:
        party.end.reads = party.end.served = True

    def cut(self, party: Party) -> None:
        party.end.cut()
        self.is_faulty = True

    def reset(self, party: Party) -> None:
        party.end.reset()
        self.is_faulty = True

    def send_eof(self, party: Party) -> None:
        party.end.send_eof()
        self.is_faulty = True

    def die(self, party: Party) -> None:
        party.end.close()
        self.is_faulty = True

    def run(self, party: Party) -> None:
        self.link.run(self.source.choice(SECONDS))

    # What must hold

    def check(self) -> None:
        for party in self.parties:
            protocol = party.protocol
            received = party.received()
            assert received == party.other.sent[: len(received)], "a message is lost, doubled or changed"
            assert sum(isinstance(event, Close) for event in party.end.events) <= 1
            if not self.compressed:
                # Messages of one read, beside those that were there before.
                assert protocol.undelivered <= MAX_QUEUE + READ_SIZE // 2
                size = sum(size for _, size in protocol._inbox.messages)
                assert size <= READ_LIMIT + 32 * READ_SIZE + LONGEST_MESSAGE * 4
            assert (protocol.close_code is None) is protocol.receiving
            assert protocol.wants_read == protocol._inbox.wants_read or protocol.state is State.CONNECTING
            assert protocol.writable == protocol._outbox.writable
            if protocol.state is State.CLOSED:
                assert protocol.queued == 0
                assert protocol.deadline() is None

    def end(self) -> None:
        """Let both applications take all, then close, and check how it ends."""
        for party in self.parties:
            party.end.reads = party.end.served = True
            if party.is_open and party.pieces is not None:
                self.end_message(party)
        # The opening handshake has a deadline, too.
        self.link.run(40)
        for party in self.parties:
            rounds = 0
            while party.streamed and not (self.is_faulty and rounds > FAULTY_ROUNDS):
                rounds += 1
                self.take_pieces(party)
                if party.streamed and not party.protocol.receiving:
                    # The connection has ended within the message.
                    party.streamed = []
                self.link.run(1)
            party.end.takes_messages = not party.streamed
            # That a whole message is asked for, instead of a piece, makes room to read.
            self.take_one(party)
        self.link.run()
        self.check()
        if not (self.is_faulty or self.was_closed):
            self.check_all_arrived()
        for party in self.parties:
            party.protocol.close()
        self.link.run(100 if self.keepalive else 4000)
        self.check()
        self.check_closed()

    def check_all_arrived(self) -> None:
        for party in self.parties:
            assert party.is_open
            assert party.received() == party.other.sent
            pongs = [event for event in party.end.events if isinstance(event, Pong)]
            answered = [payload for pong in pongs for payload, _ in pong.answered]
            assert [payload for payload in answered if payload in party.pings] == party.pings

    def check_closed(self) -> None:
        for party in self.parties:
            protocol = party.protocol
            assert protocol.state is State.CLOSED
            assert party.end.closed
            error = protocol.close_exception()
            assert protocol.close_code == error.code
            if error.received is not None:
                assert error.received == party.other.protocol.close_exception().sent
            # With the default deadline, all that is before a close frame may be too much for a slow stream.
            if not (self.is_faulty or self.was_slow or self.keepalive):
                assert error.received is not None
                assert error.sent is not None
                assert error.__cause__ is None
            kinds = [
                isinstance(event, Close | Failure)
                for event in party.end.events
                if not isinstance(event, TimerOverdue)
            ]
            assert self.was_slow or kinds == sorted(kinds), "an event behind the end"


ACTIONS: tuple[Callable[[Conversation, Party], None], ...] = (
    Conversation.run,
    Conversation.send,
    Conversation.send,
    Conversation.send_fragment,
    Conversation.end_message,
    Conversation.send_prepared,
    Conversation.broadcast,
    Conversation.ping,
    Conversation.pong,
    Conversation.run,
    Conversation.take_no_messages,
    Conversation.take_messages,
    Conversation.take_one,
    Conversation.take_pieces,
    Conversation.read_not,
    Conversation.serve_not,
    Conversation.recover,
    Conversation.close,
    Conversation.fail,
    Conversation.cut,
    Conversation.reset,
    Conversation.send_eof,
    Conversation.die,
)
"""What a byte of the input chooses among."""


def fuzz(data: bytes) -> None:
    source = Source(data)
    conversation = Conversation(source)
    for _ in range(MOST_STEPS):
        if not source:
            break
        conversation.step()
    conversation.end()
