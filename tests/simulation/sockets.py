"""Simulated TCP sockets, and a selector for them: asyncio and trio run on these, unmodified.

A :class:`SimulatedSocket` is a socket of the system that is never connected: it has a descriptor and options,
and whatever moves bytes goes through two :class:`~.network.Pipe` instead. When nothing is ready, the selector
lets the virtual time go on to the next event. If there is none, nothing can ever happen any more: a wait that
does not end is :exc:`Deadlock`, not a test that hangs.
"""

from __future__ import annotations

import math
import selectors
import socket
import struct
from collections.abc import Iterable, Mapping
from random import Random
from typing import Any

from .network import Conditions, Pipe
from .virtual_time import TICK, Time, ticks

__all__ = ["Deadlock", "SimulatedSelector", "SimulatedSocket", "World"]

INFINITE = math.inf

LATENCIES = (0.0, ticks(0.001), ticks(0.02), ticks(0.2))
RATES = (INFINITE, INFINITE, 1e6, 1e5)
CAPACITIES = (2000, 65536)
READ_SIZES = (500, 65536, 65536)


TURNS = 100_000
"""Turns of an event loop after which a conversation is said to have no end."""


class Deadlock(AssertionError):
    """Somebody waits for what will never happen, or goes round in a circle."""


class World:
    """A network and its time, decided by a seed.

    Attributes:
        random: the source of all that is decided by chance.
        time: the virtual time.
        sockets: all sockets that are open.
    """

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.time = Time()
        self.sockets: set[SimulatedSocket] = set()
        self.conditions = [
            Conditions(
                latency=self.random.choice(LATENCIES),
                rate=self.random.choice(RATES),
                capacity=self.random.choice(CAPACITIES),
                read_size=self.random.choice(READ_SIZES),
                ragged=self.random.random() < 0.3,
            )
            for _ in range(2)
        ]

    def listen(self) -> SimulatedSocket:
        """Make a socket that listens."""
        listener = SimulatedSocket(self)
        listener.bind(("127.0.0.1", 0))  # as a bound socket is asked for; nobody connects to it
        return listener

    def connect(self, listener: SimulatedSocket) -> SimulatedSocket:
        """Connect to a socket that listens; it finds the connection later, or never accepts it."""
        there, back = (Pipe(self.time, conditions, self.random) for conditions in self.conditions)
        client, server = SimulatedSocket(self), SimulatedSocket(self)
        client.join(server, incoming=back, outgoing=there)
        server.join(client, incoming=there, outgoing=back)
        listener.backlog.append((self.time.now + self.conditions[0].latency, server))
        return client

    def lose_everything(self) -> None:
        """Lose silently what is under way and whatever will be sent."""
        for sock in self.sockets:
            if sock.outgoing is not None:
                sock.outgoing.lose()

    def reset_everything(self) -> None:
        """Let all connections be found reset."""
        for sock in self.sockets:
            sock.reset_at = min(sock.reset_at, self.time.now)


class SimulatedSocket(socket.socket):
    """A socket of this world.

    Attributes:
        peer: the other end; ``None`` for a socket that listens.
        incoming, outgoing: the directions of its stream.
        reset_at: when a reset arrives.
        backlog: the connections that have not been accepted, with their times of arrival.
    """

    peer: SimulatedSocket | None = None
    incoming: Pipe | None = None
    outgoing: Pipe | None = None

    def __init__(self, world: World) -> None:
        super().__init__(socket.AF_INET, socket.SOCK_STREAM)
        super().setblocking(False)
        self.world = world
        self.reset_at = INFINITE
        self.backlog: list[tuple[float, SimulatedSocket]] = []
        world.sockets.add(self)

    __hash__ = object.__hash__

    def join(self, peer: SimulatedSocket, *, incoming: Pipe, outgoing: Pipe) -> None:
        """Connect it."""
        self.peer, self.incoming, self.outgoing = peer, incoming, outgoing

    # What the selector asks

    def readable_at(self) -> float:
        """When there is, or was, something to read."""
        if self.incoming is None:
            return self.backlog[0][0] if self.backlog else INFINITE
        return min(self.incoming.first_arrival(), self.reset_at)

    def is_writable(self) -> bool:
        """Whether a write takes something, or fails."""
        assert self.outgoing is not None
        assert self.peer is not None
        gone = self.outgoing.ended or self.peer not in self.world.sockets
        return gone or self.outgoing.has_room or self.reset_at <= self.world.time.now

    # What an adapter and its event loop call

    def listen(self, backlog: int = 0, /) -> None:
        """It listens already."""

    def accept(self) -> tuple[socket.socket, Any]:
        if not self.backlog or self.backlog[0][0] > self.world.time.now:
            raise BlockingIOError
        return self.backlog.pop(0)[1], ("simulated", 0)

    def getpeername(self) -> Any:
        return ("simulated", 0)

    def recv(self, size: int, flags: int = 0) -> bytes:
        assert self.incoming is not None
        self._check_reset()
        data = self.incoming.read(size)
        if data is None:
            raise BlockingIOError
        return data

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        view = memoryview(buffer)
        data = self.recv(nbytes or len(view))
        view[: len(data)] = data
        return len(data)

    def send(self, data: Any, flags: int = 0) -> int:
        assert self.outgoing is not None
        assert self.peer is not None
        self._check_reset()
        if self.outgoing.ended:
            raise BrokenPipeError("simulated")
        if self.peer not in self.world.sockets:
            if not self.outgoing.lost:
                self.reset_at = min(self.reset_at, self.world.time.now + self.world.conditions[0].latency)
            return len(data)
        count = self.outgoing.write(bytearray(data))
        if not count and len(data):
            raise BlockingIOError
        return count

    def sendmsg(self, buffers: Iterable[Any], *arguments: Any) -> int:
        return self.send(b"".join(buffers))

    def shutdown(self, how: int) -> None:
        assert self.outgoing is not None
        self._check_reset()
        self.outgoing.end()

    def _real_close(self, *arguments: Any) -> None:
        # Some call ``socket.socket.close``.
        self._leave()
        super()._real_close(*arguments)  # type: ignore[misc]

    def detach(self) -> int:
        self._leave()
        return super().detach()

    def _leave(self) -> None:
        """Leave the world: nobody uses the descriptor of a socket that is detached, except to close it."""
        if self not in self.world.sockets:
            return
        self.world.sockets.remove(self)
        for _, waiting in self.backlog:
            waiting.close()
        if self.incoming is not None and self.outgoing is not None and self.peer is not None:
            unread = self.incoming.discard()
            self.outgoing.end()
            if unread or self._resets():
                self.peer.reset_at = min(self.peer.reset_at, self.outgoing.signal_arrival())

    def _resets(self) -> bool:
        """Whether a reset is the end of the stream: nothing lingers."""
        size = struct.calcsize("ii")
        return struct.unpack("ii", self.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, size)) == (1, 0)

    def _check_reset(self) -> None:
        if self.reset_at <= self.world.time.now:
            raise ConnectionResetError("simulated")


class SimulatedSelector(selectors.BaseSelector):
    """A selector: what is ready is found in any order, and some of it only later."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._keys: dict[int, selectors.SelectorKey] = {}
        self._turns = 0

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        descriptor = fileobj if isinstance(fileobj, int) else fileobj.fileno()
        if descriptor in self._keys:
            raise KeyError(f"{fileobj!r} is registered already")
        key = self._keys[descriptor] = selectors.SelectorKey(fileobj, descriptor, events, data)
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        descriptor = fileobj if isinstance(fileobj, int) else fileobj.fileno()
        return self._keys.pop(descriptor)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._keys

    def get_key(self, fileobj: Any) -> selectors.SelectorKey:
        return self._keys[fileobj if isinstance(fileobj, int) else fileobj.fileno()]

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        world, random = self._world, self._world.random
        self._turns += 1
        if self._turns > TURNS:
            self._turns = 0
            raise Deadlock(f"no end after {TURNS} turns of the event loop")
        # What has run since the last time has taken some time, too.
        world.time.now += random.choice((0.0, 0.0, 0.0, 0.0, TICK, 8 * TICK))
        ready, following = self._ready()
        if not ready and (timeout is None or timeout > 0):
            until = min(following, INFINITE if timeout is None else world.time.now + ticks(timeout))
            if until == INFINITE:
                raise Deadlock("everybody waits for somebody else")
            world.time.now = max(world.time.now, until)
            ready, _ = self._ready()
        random.shuffle(ready)
        some = [each for each in ready if random.random() < 0.7]
        return some or (ready[:1] if timeout != 0 else [])

    def _ready(self) -> tuple[list[tuple[selectors.SelectorKey, int]], float]:
        """Return what is ready, and when something more will be."""
        sockets = {sock.fileno(): sock for sock in self._world.sockets}
        now, following = self._world.time.now, INFINITE
        ready = []
        for descriptor, key in self._keys.items():
            sock = sockets.get(descriptor)
            if sock is None:
                continue  # the pipe by which threads wake the loop
            events = 0
            if key.events & selectors.EVENT_READ:
                at = sock.readable_at()
                if at <= now:
                    events |= selectors.EVENT_READ
                else:
                    following = min(following, at)
            if key.events & selectors.EVENT_WRITE:
                if sock.is_writable():
                    events |= selectors.EVENT_WRITE
                elif now < sock.reset_at:
                    following = min(following, sock.reset_at)
            if events:
                ready.append((key, events))
        return ready, following
