"""One connection, from its opening to its end: it lets the time pass."""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random

from wsproto_core import ClientProtocol, Protocol, ServerProtocol, Side, State

from . import checks
from .application import Application
from .endpoint import Endpoint, Violation
from .faults import FAULTS
from .network import Pipe
from .scenario import DURATION, draw
from .virtual_time import Clock, Time

__all__ = ["Connection", "simulate"]

INFINITE = math.inf
URI = "ws://localhost/"

STEPS = 200_000
"""Turns after which a connection is said to have no end."""

PATIENCE = 5000.0
"""Seconds in which everything that has been sent must have arrived, on the slowest network."""


class Connection:
    """A client and a server, what uses them, and what is between them.

    Attributes:
        scenario: what the seed has decided.
        time: the time of the simulation.
        client, server: the endpoints.
        users: the client's application and the server's.
    """

    def __init__(self, seed: int, tell: Callable[[str], None] | None = None) -> None:
        """
        Args:
            seed: decides everything.
            tell: is told what happens, line by line.
        """
        random = self._random = Random(seed)
        scenario = self.scenario = draw(random)
        if tell is not None:
            tell(str(scenario))
        time = self.time = Time()
        to_client, to_server = (Pipe(time, conditions, random) for conditions in scenario.conditions)
        clocks = [Clock(time, origin) for origin in scenario.origins]
        bytes_of = Random(~seed).randbytes
        arguments = [
            {"clock": clock, "random": bytes_of, **options}
            for clock, options in zip(clocks, scenario.options, strict=True)
        ]
        client: Protocol
        server: Protocol
        if scenario.begins_open:
            client = Protocol(Side.CLIENT, **arguments[0])
            server = Protocol(Side.SERVER, **arguments[1])
        else:
            client = ClientProtocol(URI, **arguments[0])
            server = ServerProtocol(**arguments[1])
        self.client = Endpoint("client", client, time, clocks[0], to_client, to_server, random, tell)
        self.server = Endpoint("server", server, time, clocks[1], to_server, to_client, random, tell)
        self.client.peer, self.server.peer = self.server, self.client
        self.ends = [self.client, self.server]
        self.users = [
            Application(end, plan, random) for end, plan in zip(self.ends, scenario.plans, strict=True)
        ]
        for end, user in zip(self.ends, self.users, strict=True):
            end.user = user
            end.note()
        self._faults = list(scenario.faults)
        self._steps = 0

    def run(self) -> None:
        """Let everything happen, and check it.

        Raises:
            Violation: what must hold does not.
        """
        self._pass_time(self._is_done, DURATION)
        self._settle()
        self._close()
        for end in self.ends:
            checks.check_end(end)
        checks.check_both(self.client, self.server, prompt=self._is_prompt())

    # The course of a connection

    def _is_done(self) -> bool:
        return all(user.done or end.closed for user, end in zip(self.users, self.ends, strict=True))

    def _settle(self) -> None:
        """Let everything that has been sent arrive, if it can, and check that it does."""
        self._faults.clear()
        for end in self.ends:
            end.idle = False
            end.blocked_until = 0.0
            end.reads_from = 0.0
        for user in self.users:
            user.come_to_an_end(self.time.now)
        if any(checks.is_cut(end) for end in self.ends):
            return
        self._pass_time(self._is_settled, self.time.now + PATIENCE)
        if not self._is_settled():
            raise Violation(f"what has been sent does not arrive: {checks.describe(*self.ends)}")

    def _is_settled(self) -> bool:
        ends = self.ends
        if any(end.protocol.state is not State.OPEN for end in ends):
            # It ends by itself; but a server that was refused may never have seen a request.
            return not any(end.protocol.state is State.CONNECTING for end in ends)
        return all(checks.is_at_rest(end) for end in ends)

    def _close(self) -> None:
        """Let both ends come to their end, and check that they do in time."""
        for end in self.ends:
            bound = checks.silence_bound(end)
            if bound is not None:
                # The keepalive must find out that the peer is silent.
                self._pass_time(lambda end=end: end.closed, self.time.now + bound)  # type: ignore[misc]
                if not end.closed:
                    raise Violation(f"{end.name} waits for a silent peer: {checks.describe(*self.ends)}")
        first = self._random.randrange(2)
        cut = any(checks.is_cut(end) for end in self.ends)
        for number, user in enumerate(self.users):
            if (cut or number == first) and self.ends[number].protocol.state is State.OPEN:
                user.close()
                self.ends[number].idle = False
        for end in self.ends:
            if (
                end.protocol.state is State.CONNECTING
                and self.scenario.options[end is self.server].get("open_timeout", 0) is None
            ):
                # Without a deadline, it waits for a peer of which it has never heard.
                FAULTS["kill"](end, 0.0, self.time.now)
        self._pass_time(self._is_closed, INFINITE)
        if not self._is_closed():
            raise Violation(f"it does not end: {checks.describe(*self.ends)}")
        for end in self.ends:
            while end.turn():
                end.tell("takes what is left")

    def _is_closed(self) -> bool:
        return all(end.closed for end in self.ends)

    def _is_prompt(self) -> bool:
        """Whether nothing can delay anything for as long as the shortest deadline."""
        scenario = self.scenario
        return not scenario.faults and all(
            conditions.latency <= 0.1
            and conditions.rate == INFINITE
            and plan.pace == 0.0
            and plan.answer_after == 0.0
            and not plan.rejects
            and options["close_timeout"] != 0
            for conditions, plan, options in zip(
                scenario.conditions, scenario.plans, scenario.options, strict=True
            )
        )

    # Time

    def _pass_time(self, is_done: Callable[[], bool], until: float) -> None:
        """Give turns, in random order, until something is so, or nothing more can happen, or a time."""
        time, random = self.time, self._random.random
        first, second = self.client, self.server
        while True:
            self._steps += 1
            if self._steps > STEPS:
                raise Violation(f"no end after {STEPS} turns: {checks.describe(*self.ends)}")
            if random() < 0.5:
                first, second = second, first
            following = first.wake()
            if following <= time.now:
                first.turn()
            other = second.wake()
            if other <= time.now:
                second.turn()
            following = min(following, other)
            if following <= time.now:
                continue
            if is_done():
                break
            if self._faults and self._faults[0].at <= following:
                fault = self._faults.pop(0)
                time.now = max(time.now, fault.at)
                end = self.ends[fault.side]
                end.tell(f"fault: {fault.kind}, {fault.seconds} seconds")
                FAULTS[fault.kind](end, fault.seconds, time.now)
                first.idle = second.idle = False
                continue
            if following > until or following == INFINITE:
                break
            time.now = following


def simulate(seed: int, tell: Callable[[str], None] | None = None) -> Connection:
    """Run the connection of a seed to its end.

    Raises:
        Violation: what must hold does not. Any other exception is a violation as well.
    """
    connection = Connection(seed, tell)
    connection.run()
    return connection
