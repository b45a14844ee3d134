"""What each setting of permessage-deflate costs.

    python bench/compression_settings.py [CONNECTIONS [SETTING ...]]     300, all rows of the table

A connection here is both of its ends, joined in memory, without sockets and without an adapter, in
virtual time. Memory is what is private to a process of its own, divided by the number of connections:
when each end has sent one message of 4 KiB, when each has sent 20, and when they have been idle after
that. Time is the CPU time of compressing, sending, receiving and inflating one message: one of the
first after being idle, or one of many. Size is that of one of many messages when it is compressed. All
messages are different, and resemble each other as those of an application do.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import Any

from measuring import LIBRARIES, environment, print_head, print_row, resident, text, trim

from wsproto_core import ClientProtocol, ServerProtocol
from wsproto_core.extensions.permessage_deflate import (
    ClientPerMessageDeflateFactory,
    ServerPerMessageDeflateFactory,
)

IDLE = 30.0
FEW = 8
MANY = 20
ROUNDS = 10
SIZES = (256, 65536)
DEFAULTS: dict[str, Any] = {"server_max_window_bits": 12, "client_max_window_bits": 12}

Pair = tuple[ClientProtocol, ServerProtocol]


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Connections:
    """Connections with these parameters of both factories; ``None`` for no compression."""

    def __init__(self, parameters: dict[str, Any] | None) -> None:
        self.clock = Clock()
        options: dict[str, Any] = {"clock": self.clock, "compression": None, "ping_interval": None}
        self.client_options, self.server_options = dict(options), dict(options)
        if parameters is not None:
            client = ClientPerMessageDeflateFactory(**parameters, idle_timeout=IDLE)
            server = ServerPerMessageDeflateFactory(**parameters, idle_timeout=IDLE)
            self.client_options["extensions"] = [client]
            self.server_options["extensions"] = [server]

    def open(self) -> Pair:
        client = ClientProtocol("ws://localhost/", **self.client_options)
        server = ServerProtocol(**self.server_options)
        transfer(client, server)
        server.accept()
        transfer(server, client)
        server.events(), client.events()
        return client, server

    def be_idle(self, pairs: list[Pair]) -> None:
        for _ in range(2):
            self.clock.now += IDLE
            for pair in pairs:
                for end in pair:
                    end.handle_timeout()


def transfer(sender: Any, receiver: Any) -> int:
    data = b"".join(sender.data_to_send())
    receiver.receive_data(data)
    sender.data_sent()
    return len(data)


def exchange(pair: Pair, message: str) -> int:
    """Send a message both ways; return how many bytes that took."""
    client, server = pair
    size = 0
    for sender, receiver in ((client, server), (server, client)):
        sender.send(message, compress=True)
        size += transfer(sender, receiver)
        if receiver.next_message() != message:
            raise AssertionError("the message did not arrive")
    return size


def measure_memory(count: int, parameters: dict[str, Any] | None) -> list[float]:
    """Return the KiB a connection: after one message, after many, and idle."""
    connections = Connections(parameters)
    messages = [text(4096, seed) for seed in range(MANY)]
    exchange(connections.open(), messages[0])  # what is needed once
    trim()
    before = resident()
    figures = []
    pairs = [connections.open() for _ in range(count)]
    for part in (messages[:1], messages[1:]):
        for pair in pairs:
            for message in part:
                exchange(pair, message)
        trim()
        figures.append(resident() - before)
    connections.be_idle(pairs)
    trim()
    figures.append(resident() - before)
    return [figure / count / 1024 for figure in figures]


def measure_time(size: int, parameters: dict[str, Any] | None) -> list[float]:
    """Return microseconds for one of few messages and for one of many, and the latter's bytes."""
    connections = Connections(parameters)
    # So many that those that come again are not in the window any more.
    messages = [text(size, seed) for seed in range(max(FEW, 2**16 // size))]
    pair = connections.open()
    few = many = float("inf")
    total = 0
    for _ in range(ROUNDS):
        connections.be_idle([pair])
        few = min(few, timed(pair, messages[:FEW]))
        for message in messages[: 2 * MANY]:
            exchange(pair, message)
        many = min(many, timed(pair, messages))
        total = sum(exchange(pair, message) for message in messages)
    return [few, many, total / len(messages) / 2]


def timed(pair: Pair, messages: list[str]) -> float:
    start = time.process_time()
    for message in messages:
        exchange(pair, message)
    return (time.process_time() - start) / len(messages) / 2 * 1e6


def run(library: str, what: str, number: int, parameters: dict[str, Any] | None) -> list[float]:
    """Measure in a process of its own."""
    command = [sys.executable, __file__, what, str(number), json.dumps(parameters)]
    done = subprocess.run(command, stdout=-1, check=True, env=environment(library))
    figures: list[float] = json.loads(done.stdout)
    return figures


def settings() -> dict[str, dict[str, Any] | None]:
    rows: dict[str, dict[str, Any] | None] = {"no compression": None, "the defaults": DEFAULTS}
    for bits in (9, 10, 11, 12, 13, 14, 15):
        rows[f"{bits} bits"] = {"server_max_window_bits": bits, "client_max_window_bits": bits}
    for takeover in ("client", "server"):
        rows[f"`{takeover}_no_context_takeover`"] = {**DEFAULTS, f"{takeover}_no_context_takeover": True}
    rows["both"] = {**DEFAULTS, "client_no_context_takeover": True, "server_no_context_takeover": True}
    for level in (1, 3, 7, 8, 9):
        rows[f"`memLevel` {level}"] = {**DEFAULTS, "compress_settings": {"memLevel": level}}
    for level in (1, 3, 9):
        rows[f"`level` {level}"] = {**DEFAULTS, "compress_settings": {"level": level, "memLevel": 5}}
    rows["15 bits, `memLevel` 8, as in zlib"] = {
        "server_max_window_bits": 15,
        "client_max_window_bits": 15,
        "compress_settings": {},
    }
    return rows


def main(count: int, rows: dict[str, dict[str, Any] | None]) -> None:
    for library in LIBRARIES:
        print(f"With {library}; memory in KiB a connection, time in microseconds a message, both ends\n")
        print_head(
            "settings",
            "memory after 1 message",
            "after 20",
            "idle",
            "time, 256 B, few",
            "many",
            "size",
            "time, 64 KiB",
            "size",
        )
        for name, parameters in rows.items():
            memory = run(library, "memory", count, parameters)
            small = run(library, "time", SIZES[0], parameters)
            _, large, size = run(library, "time", SIZES[1], parameters)
            figures = [*(f"{figure:.1f}" for figure in memory), *(f"{figure:.0f}" for figure in small)]
            print_row([name, *figures, f"{large:.0f}", f"{size:.0f}"])
        print()


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["memory", count, parameters]:
            print(json.dumps(measure_memory(int(count), json.loads(parameters))))
        case ["time", size, parameters]:
            print(json.dumps(measure_time(int(size), json.loads(parameters))))
        case []:
            main(300, settings())
        case [count, *names]:
            rows = settings()
            main(int(count), {name: rows[name] for name in names} or rows)
