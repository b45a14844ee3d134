"""A client and a server joined in memory, in virtual time, with faults to order.

For the tests of this project, and for those of programs that are built on it. There is no socket
and no waiting: time passes when :meth:`Link.run` says so, and a test of a deadline of twenty seconds
takes a millisecond::

    link = connect(latency=0.05)
    link.client.send("hello")
    link.run()
    assert link.server_events == ["hello"]

    link.cut()  # silence: only the keepalive can tell
    link.run(60)
    assert link.client.close_code == 1006

Each :class:`End` serves its protocol as :class:`~.protocol.Protocol` wants to be served, so that
this module is also an example of how to embed one. In between is what matters of TCP to a protocol:
bytes arrive in order, in other pieces, and later; a peer that does not read blocks the writer; a
stream ends by halves; and who closes a stream with bytes unread resets it, which destroys what the
other end has not read yet.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeAlias, TypeVar

from .events import Event
from .exceptions import InvalidState
from .handshake.client import ClientProtocol
from .handshake.server import ServerProtocol
from .http import Request
from .options import ClientOptions, ServerOptions
from .protocol import Protocol
from .types import State, StreamAction

__all__ = ["Chunk", "Clock", "End", "Link", "connect"]

# Bytes that a read gives, at most.
READ_SIZE = 65536

# Bytes under way in one direction, at most: what the buffers of two sockets hold.
CAPACITY = 65536

# Turns after which :meth:`Link.run` gives up.
MAX_STEPS = 1_000_000

Chunk: TypeAlias = int | Callable[[int], int] | None
"""How many bytes a read gives: at most a number; or what a function of the number that are there
returns, such as ``lambda there: random.randint(1, there)``; or, with ``None``, all."""

OnEvent: TypeAlias = Callable[[Protocol, Event], object]

ClientT = TypeVar("ClientT", bound=Protocol)
ServerT = TypeVar("ServerT", bound=Protocol)


class Clock:
    """Virtual time: call it, or read ``now``, for the time in seconds."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        """Let time pass while nobody is served, unlike :meth:`Link.run`."""
        if seconds < 0:
            raise ValueError(f"time does not go back, not even by {-seconds} seconds")
        self.now += seconds


class _Wire:
    """One direction of a TCP connection: what one end has written and the other has not read."""

    def __init__(self, clock: Clock, latency: float, chunk: Chunk, capacity: int) -> None:
        self._clock = clock
        self._latency = latency
        self._chunk = chunk
        self._capacity = capacity
        self._flying: deque[tuple[float, bytes]] = deque()  # each with its time of arrival
        self._there = bytearray()
        self._size = 0  # of both
        self._eof_at = math.inf
        self.ended = False

    def arrival(self, departure: float) -> float:
        return departure + self._latency

    def write(self, data: bytearray) -> int:
        """Take as many bytes as there is room for; return how many."""
        count = min(len(data), self._capacity - self._size)
        if count:
            self._flying.append((self.arrival(self._clock.now), bytes(data[:count])))
            self._size += count
        return count

    def end(self) -> None:
        if not self.ended:
            self.ended = True
            self._eof_at = self.arrival(self._clock.now)

    def cut(self) -> None:
        """Lose what has not arrived yet, and what will be written."""
        self._land()
        self._latency = math.inf
        self._flying = deque((math.inf, data) for _, data in self._flying)
        if self._eof_at > self._clock.now:
            self._eof_at = math.inf

    def read(self) -> bytes | None:
        """Return what has arrived, ``b""`` at the end of file, ``None`` if nothing has."""
        self._land()
        if not self._there:
            return b"" if self._eof_at <= self._clock.now else None
        count = min(len(self._there), READ_SIZE)
        if self._chunk is not None:
            chunk = self._chunk if isinstance(self._chunk, int) else self._chunk(count)
            count = max(1, min(count, chunk))
        data = bytes(self._there[:count])
        del self._there[:count]
        self._size -= count
        return data

    def refuse(self) -> float:
        """Forget what is unread; return when it arrives, or will, at a reader that has gone."""
        self._land()
        arrival = self._clock.now if self._there else self.next_arrival()
        self._there.clear()
        self._flying.clear()
        self._size = 0
        return arrival

    def next_arrival(self) -> float:
        """Return when the next bytes or the end of file arrive."""
        self._land()
        if self._flying:
            return self._flying[0][0]
        return self._eof_at if self._eof_at > self._clock.now else math.inf

    def _land(self) -> None:
        while self._flying and self._flying[0][0] <= self._clock.now:
            self._there += self._flying.popleft()[1]


class End:
    """One end of a :class:`Link`: it serves a protocol.

    Attributes:
        protocol: what it serves.
        events: the events, in order.
        closed: whether this end of the stream is closed.
        takes_messages: set it to false for an application that is busy with something else: its
            messages stay in the protocol, until that wants to read no more.
        reads: set it to false for an end that does not read the stream.
        served: set it to false for an end where nobody is at work, such as a blocked event loop; when
            it is true again, the protocol is served, but late.
    """

    _peer: End

    def __init__(
        self,
        protocol: Protocol,
        clock: Clock,
        incoming: _Wire,
        outgoing: _Wire,
        accept: bool,
        on_event: OnEvent | None,
    ) -> None:
        self.protocol = protocol
        self.events: list[Event] = []
        self.closed = False
        self.takes_messages = True
        self.reads = True
        self.served = True
        self._clock = clock
        self._incoming = incoming
        self._outgoing = outgoing
        self._accept = accept
        self._on_event = on_event
        self._unwritten = bytearray()
        self._eof_received = False
        self._reset_at = math.inf  # when a reset arrives here

    # Faults

    def cut(self) -> None:
        """Lose silently what this end has sent and has not arrived, and all that it will send."""
        self._outgoing.cut()

    def send_eof(self) -> None:
        """End this half of the stream, unknown to the protocol: what it sends later is an error."""
        self._outgoing.end()

    def reset(self) -> None:
        """Let this end find the stream reset."""
        self._reset_at = self._clock.now

    def close(self, error: Exception | None = None) -> None:
        """Close the stream in both directions, as the end of a process does."""
        if not self.closed:
            self.closed = True
            self._outgoing.end()
            self._refuse()
            self.protocol.connection_lost(error)

    # Service. The numbers are those of the steps that the class Protocol describes.

    def serve(self) -> bool:
        """Do what there is to do at this time, once; return whether there was anything."""
        if not self.served:
            return False
        busy = not self.closed and self._advance()
        for event in self.protocol.events(messages=self.takes_messages):  # 5
            busy = True
            self._handle(event)
        if not self.closed:
            if not self._unwritten:  # 6
                self._unwritten += b"".join(self.protocol.data_to_send())
            busy = self._write() or self._end_stream() or busy
        return busy

    def _advance(self) -> bool:
        busy = self._read()  # 2
        busy = self._write() or busy  # 3
        if not busy and self.deadline() <= self._clock.now:  # 4
            self.protocol.handle_timeout()
            busy = True
        return busy

    def _read(self) -> bool:
        if not (self.reads and self.protocol.wants_read):
            return False
        if self._is_reset():
            return True
        data = None if self._eof_received else self._incoming.read()
        if data:
            self.protocol.receive_data(data)
        elif data is not None:
            self._eof_received = True
            self.protocol.receive_eof()
        return data is not None

    def _write(self) -> bool:
        if not self._unwritten:
            return False
        if self._is_reset():
            return True
        if self._outgoing.ended:
            self.close(BrokenPipeError("this half of the stream has been ended"))
            return True
        count = self._outgoing.write(self._unwritten)
        if count:
            del self._unwritten[:count]
            self.protocol.data_sent(count)
            if self._peer.closed:
                self._peer._refuse()
        return count > 0

    def _is_reset(self) -> bool:
        if self._reset_at <= self._clock.now:
            self.close(ConnectionResetError("the peer has reset the stream"))
        return self.closed

    def _handle(self, event: Event) -> None:
        self.events.append(event)
        if self._accept and isinstance(event, Request) and isinstance(self.protocol, ServerProtocol):
            self.protocol.accept()
        if self._on_event is not None:
            self._on_event(self.protocol, event)

    def _end_stream(self) -> bool:
        action = self.protocol.stream_action  # 7
        if action is StreamAction.KEEP or (self._unwritten and action is not StreamAction.ABORT):
            return False
        if action is StreamAction.SEND_EOF:
            self._outgoing.end()
            self.protocol.eof_sent()
        else:
            self.close()
        return True

    def _refuse(self) -> None:
        """Answer what comes to this end, which is closed, by a reset."""
        arrival = self._outgoing.arrival(self._incoming.refuse())
        self._peer._reset_at = min(self._peer._reset_at, arrival)

    def deadline(self) -> float:
        """Return when the protocol wants to be served."""
        deadline = self.protocol.deadline() if self.served and not self.closed else None
        return math.inf if deadline is None else deadline

    def next_arrival(self) -> float:
        """Return when something arrives here, after now."""
        if self.closed or not self.served:
            return math.inf
        reset_at = self._reset_at if self._reset_at > self._clock.now else math.inf
        return min(self._incoming.next_arrival(), reset_at)


class Link(Generic[ClientT, ServerT]):
    """A client's and a server's protocol, joined.

    Attributes:
        client: the client's protocol; give it commands, then :meth:`run`.
        server: the server's protocol.
        clock: the clock of both.
        client_end: what serves the client: an :class:`End`, for faults on its side.
        server_end: what serves the server.
        client_events: the client's events, in order.
        server_events: the server's events, in order.
    """

    def __init__(
        self,
        client: ClientT,
        server: ServerT,
        clock: Clock,
        *,
        latency: float = 0.0,
        chunk: Chunk = None,
        capacity: int = CAPACITY,
        accept: bool = True,
        on_event: OnEvent | None = None,
    ) -> None:
        """
        Args:
            client: made with ``clock``, as is ``server``.
            latency: seconds that bytes take from one end to the other.
            chunk: the sizes of reads.
            capacity: bytes under way in one direction; what is more is not written.
            accept: whether a :class:`~.http.Request` is answered by ``server.accept()``.
            on_event: called with the protocol and each of its events, for example to send an answer.
        """
        self.client = client
        self.server = server
        self.clock = clock
        to_client = _Wire(clock, latency, chunk, capacity)
        to_server = _Wire(clock, latency, chunk, capacity)
        self.client_end = End(client, clock, to_client, to_server, accept, on_event)
        self.server_end = End(server, clock, to_server, to_client, accept, on_event)
        self.client_end._peer, self.server_end._peer = self.server_end, self.client_end
        self.client_events = self.client_end.events
        self.server_events = self.server_end.events

    def cut(self) -> None:
        """Lose silently whatever is under way or will be sent, in both directions."""
        self.client_end.cut()
        self.server_end.cut()

    def reset(self) -> None:
        """Reset the stream at both ends."""
        self.client_end.reset()
        self.server_end.reset()

    def run(self, seconds: float | None = None, *, max_steps: int = MAX_STEPS) -> None:
        """Serve both ends.

        Args:
            seconds: for so long; deadlines are met. With ``None``, as long as anything is under way,
                without waiting for deadlines: those of the keepalive never end.
            max_steps: when to give up.

        Raises:
            RuntimeError: there is no end to it, perhaps since each message is answered by another.
        """
        ends = (self.client_end, self.server_end)
        until = math.inf if seconds is None else self.clock.now + seconds
        for _ in range(max_steps):
            if sum(end.serve() for end in ends):
                continue
            following = min(end.next_arrival() for end in ends)
            if seconds is not None or following < math.inf:
                following = min(following, *(end.deadline() for end in ends))
            if following > until or following == math.inf:
                break
            self.clock.now = following
        else:
            raise RuntimeError(f"not at rest after {max_steps} steps, at {self.clock.now} seconds")
        if seconds is not None:
            self.clock.now = until


def connect(
    uri: str = "ws://localhost/",
    *,
    client_options: ClientOptions | None = None,
    server_options: ServerOptions | None = None,
    clock: Clock | None = None,
    random: Callable[[int], bytes] | None = None,
    latency: float = 0.0,
    chunk: Chunk = None,
    capacity: int = CAPACITY,
    on_event: OnEvent | None = None,
) -> Link[ClientProtocol, ServerProtocol]:
    """Make a client and a server, and open the connection between them.

    Args:
        clock: a new one by default.
        random: a source of masking keys and the like for both, such as ``Random(1).randbytes``.

    The others are those of :class:`~.handshake.client.ClientProtocol`,
    :class:`~.handshake.server.ServerProtocol` and :class:`Link`. The events of the opening handshake are
    dropped; the protocols have its ``request`` and ``response``.

    Raises:
        InvalidHandshake: why the client's opening handshake failed.
    """
    clock = clock or Clock()
    client = ClientProtocol(uri, clock=clock, random=random, **(client_options or {}))
    server = ServerProtocol(clock=clock, random=random, **(server_options or {}))
    link = Link(client, server, clock, latency=latency, chunk=chunk, capacity=capacity, on_event=on_event)
    link.run()
    if client.state is not State.OPEN:
        raise client.handshake_error or InvalidState(f"the connection is {client.state.value} already")
    link.client_events.clear()
    link.server_events.clear()
    return link
