"""What a seed decides before a connection begins: options, network, applications and faults."""

from __future__ import annotations

import math
from random import Random
from typing import Any, NamedTuple

from wsproto_core.extensions.permessage_deflate import (
    PARAMETERS,
    ClientPerMessageDeflateFactory,
    PerMessageDeflate,
    ServerPerMessageDeflateFactory,
)

from .network import Conditions
from .virtual_time import ticks

__all__ = ["Fault", "Plan", "Scenario", "draw"]

LARGEST = 70_000
"""Bytes in a message, at most."""

LATENCIES = (0.0, 0.0, ticks(0.002), ticks(0.05), ticks(0.3), 1.5)
RATES = (math.inf, math.inf, math.inf, math.inf, 1e6, 1e5, 8192.0)
CAPACITIES = (300, 5000, *[65536] * 8)
READ_SIZES = (100, 3000, *[65536] * 8)

SMALL = (0, 1, 5, 40, 125, 126, 300)
MEDIUM = (*SMALL, 2000, 5000)
LARGE = (*MEDIUM, 65535, 65536, LARGEST)

GAPS = (0.0, 0.0, ticks(0.001), ticks(0.05), ticks(0.5), 2.0)
LONG_GAPS = (*GAPS, 10.0, 30.0)

CODES = (1000, 1000, 1001, 1003, 1005, 1008, 1011, 1013, 3000, 4999)
REASONS = ("", "", "bye", "é" * 61)

DURATION = 60.0
"""Seconds after which the applications come to an end."""


class Fault(NamedTuple):
    """What goes wrong, when and where."""

    at: float
    kind: str
    """The name of a function in :mod:`.faults`."""
    side: int
    """0 for the client, 1 for the server."""
    seconds: float


class Plan(NamedTuple):
    """What an application does."""

    style: str
    """How it receives: all "events", "messages" one by one, or the "fragments" of messages."""
    pace: float
    """Seconds between two takes from the receive queue; 0 to take all at once."""
    actions: int
    """How many things it does."""
    sizes: tuple[int, ...]
    """Bytes of its messages."""
    gaps: tuple[float, ...]
    """Seconds between two actions."""
    echoes: bool
    """Whether it answers each message with the same."""
    closes: bool
    """Whether it closes when it has done all."""
    eager: bool
    """Whether each command is written at once, not when its turn is over."""
    answer_after: float
    """Seconds after which a server answers the request."""
    rejects: bool
    """Whether a server refuses the request."""


class Scenario(NamedTuple):
    """Everything about a connection that is decided before it begins."""

    options: tuple[dict[str, Any], dict[str, Any]]
    """Of the client and of the server, as are the next three."""
    conditions: tuple[Conditions, Conditions]
    """Of the directions to the client and to the server."""
    plans: tuple[Plan, Plan]
    origins: tuple[float, float]
    """What the clocks show at the beginning."""
    faults: list[Fault]
    """In the order in which they happen."""
    begins_open: bool
    """Whether the stream was opened for WebSocket in another way, without an opening handshake."""

    def __str__(self) -> str:
        lines = []
        for number, name in enumerate(("client", "server")):
            lines += [
                f"{name}: {_describe(self.options[number])}",
                f"  network to it: {self.conditions[number]}",
                f"  {self.plans[number]}",
            ]
        lines.append("without an opening handshake" if self.begins_open else "with an opening handshake")
        return "\n".join([*lines, *(f"fault: {fault}" for fault in self.faults)])


NEGOTIATED = ("local_max_window_bits", "local_no_context_takeover", "threshold")


def _describe(options: dict[str, Any]) -> str:
    """Describe options: of permessage-deflate, what is offered, or what was negotiated."""
    extensions = [
        {name: getattr(each, name) for name in (*PARAMETERS, "threshold", *NEGOTIATED) if hasattr(each, name)}
        for each in options.get("extensions", ())
    ]
    return str({**options, "extensions": extensions} if extensions else options)


def draw(random: Random) -> Scenario:
    """Draw the scenario of a connection."""
    choice, chance = random.choice, random.random
    sizes = SMALL if chance() < 0.8 else MEDIUM if chance() < 0.97 else LARGE
    begins_open = chance() < 0.75
    faults = _draw_faults(random)
    # Without a deadline, only the peer can end the closing handshake.
    close_timeouts = (0, 1, 10, 10) if faults else (0, 1, 10, None)
    options = (_draw_options(random, close_timeouts), _draw_options(random, close_timeouts))
    if chance() < 0.25:
        extensions = (_draw_negotiated if begins_open else _draw_offers)(random)
        for each, extension in zip(options, extensions, strict=True):
            each["extensions"] = [extension]
    return Scenario(
        options,
        (_draw_conditions(random, sizes), _draw_conditions(random, sizes)),
        (_draw_plan(random, sizes, echoes=0.0), _draw_plan(random, sizes, echoes=0.2)),
        (choice((0.0, 1000.0)), choice((0.0, 5e6))),
        faults,
        begins_open,
    )


def _draw_conditions(random: Random, sizes: tuple[int, ...]) -> Conditions:
    choice, chance = random.choice, random.random
    large, small = sizes is LARGE, sizes is SMALL
    # A byte at a time takes as many turns as there are bytes.
    tiny = small and chance() < 0.005
    return Conditions(
        latency=choice(LATENCIES),
        rate=choice(RATES),
        capacity=65536 if large else choice(CAPACITIES if small else CAPACITIES[1:]),
        read_size=65536 if large else 1 if tiny else choice(READ_SIZES if small else READ_SIZES[1:]),
        ragged=chance() < 0.15 and not large,
    )


def _draw_options(random: Random, close_timeouts: tuple[Any, ...]) -> dict[str, Any]:
    choice, chance = random.choice, random.random
    options: dict[str, Any] = {"compression": None, "close_timeout": choice(close_timeouts)}
    if chance() < 0.5:
        options["ping_interval"] = choice((None, 1, 5))
        options["ping_timeout"] = choice((None, 1, 5, 20))
    if chance() < 0.4:
        options["max_queue"] = choice((1, 4, (8, 2), None))
        options["read_limit"] = choice((1, 500, (4000, 100), None))
    if chance() < 0.3:
        options["write_limit"] = choice((1, 200, (4000, 0), None))
    if chance() < 0.1:
        options["max_size"] = choice((300, (2000, 200), None))
    if chance() < 0.1:
        options["max_pings"] = 2
    if chance() < 0.1:
        options["open_timeout"] = choice((1, 3, None))
    return options


def _draw_offers(random: Random) -> tuple[Any, Any]:
    """Draw what both sides say of permessage-deflate in the opening handshake."""
    chance = random.random
    client, server = (
        factory(
            server_no_context_takeover=chance() < 0.2,
            client_no_context_takeover=chance() < 0.2,
            server_max_window_bits=random.choice((None, 9, 12)),
            client_max_window_bits=random.choice((None, 9, 12)),
            threshold=random.choice((0, 64)),
            idle_timeout=random.choice((30, 3, None)),
        )
        for factory in (ClientPerMessageDeflateFactory, ServerPerMessageDeflateFactory)
    )
    return client, server


def _draw_negotiated(random: Random) -> tuple[Any, Any]:
    """Draw what was negotiated of permessage-deflate on a stream that was opened in another way."""
    takeover = (random.random() < 0.8, random.random() < 0.8)
    bits = (random.choice((9, 12, 15)), random.choice((9, 12, 15)))
    client, server = (
        PerMessageDeflate(
            local_no_context_takeover=not takeover[side],
            remote_no_context_takeover=not takeover[1 - side],
            local_max_window_bits=bits[side],
            remote_max_window_bits=bits[1 - side],
            used_window_bits=bits[side],
            threshold=random.choice((0, 64)),
            idle_timeout=random.choice((30, 3, None)),
        )
        for side in (0, 1)
    )
    return client, server


def _draw_plan(random: Random, sizes: tuple[int, ...], *, echoes: float) -> Plan:
    choice, chance = random.choice, random.random
    return Plan(
        style=choice(("events", "messages", "fragments")),
        pace=0.0 if chance() < 0.8 else choice((ticks(0.01), 0.5, 5.0)),
        actions=int(chance() * chance() * 12),
        sizes=sizes,
        gaps=GAPS if chance() < 0.9 else LONG_GAPS,
        echoes=chance() < echoes,
        closes=chance() < 0.4,
        eager=chance() < 0.4,
        answer_after=0.0 if chance() < 0.9 else choice((0.5, 2.0, 30.0)),
        rejects=chance() < 0.02,
    )


KINDS = (
    *("lose", "lose_all", "stall", "stall", "reset", "half_close", "kill"),
    *("block", "block", "jump", "jump", "stop_reading"),
)


def _draw_faults(random: Random) -> list[Fault]:
    chance = random.random
    number = (0, 0, 0, 1, 1, 1, 2, 3)[int(chance() * 8)]
    faults = [
        Fault(
            at=ticks(chance() * random.choice((0.1, 3, 3, 60))),
            kind=random.choice(KINDS),
            side=int(chance() * 2),
            seconds=random.choice((0.25, 1.0, 4.0, 30.0)),
        )
        for _ in range(number)
    ]
    return sorted(faults)
