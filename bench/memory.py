"""What compression costs: memory of a connection and time of a message.

    python bench/memory.py idle [CONNECTIONS]     idle connections, with and without compression
    python bench/memory.py settings [CONNECTIONS] each setting of permessage-deflate, as a table

A connection here is both of its ends, joined in memory, without sockets and without an adapter. Memory
is that of the whole process, divided; each figure comes from a process of its own. Time is the CPU time
of compressing, sending, receiving and inflating one message.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import gc
import json
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from wsproto_core import ClientProtocol, ServerProtocol
from wsproto_core.extensions.permessage_deflate import (
    ZLIB,
    ClientPerMessageDeflateFactory,
    ServerPerMessageDeflateFactory,
)

PAGE = 4096
IDLE = 30.0


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def trim() -> None:
    """Give back to the system what memory can be given back."""
    gc.collect()
    ctypes.CDLL(ctypes.util.find_library("c")).malloc_trim(0)


def resident() -> int:
    """Bytes of memory that this process has for itself."""
    _, resident, shared, *_ = map(int, Path("/proc/self/statm").read_text().split())
    return (resident - shared) * PAGE


def text(size: int) -> str:
    """Something like the JSON that applications send."""
    source = random.Random(size)
    items: list[dict[str, Any]] = []
    while True:
        items.append({"id": source.randrange(10**6), "name": source.choice(["alpha", "beta", "gamma"])})
        encoded = json.dumps(items)
        if len(encoded) >= size:
            return encoded[:size]


def join(clock: Clock, parameters: dict[str, Any] | None) -> tuple[ClientProtocol, ServerProtocol]:
    options: dict[str, Any] = {"clock": clock, "compression": None, "ping_interval": None}
    client_options, server_options = dict(options), dict(options)
    if parameters is not None:
        client_options["extensions"] = [ClientPerMessageDeflateFactory(**parameters, idle_timeout=IDLE)]
        server_options["extensions"] = [ServerPerMessageDeflateFactory(**parameters, idle_timeout=IDLE)]
    client = ClientProtocol("ws://localhost/", **client_options)
    server = ServerProtocol(**server_options)
    transfer(client, server)
    server.accept()
    transfer(server, client)
    server.events(), client.events()
    return client, server


def transfer(sender: Any, receiver: Any) -> None:
    receiver.receive_data(b"".join(sender.data_to_send()))
    sender.data_sent()


def exchange(client: ClientProtocol, server: ServerProtocol, message: str, compress: bool | None) -> None:
    for sender, receiver in ((client, server), (server, client)):
        sender.send(message, compress=compress)
        transfer(sender, receiver)
        if receiver.next_message() != message:
            raise AssertionError("the message did not arrive")


def measure(count: int, size: int, parameters: dict[str, Any] | None, wait: bool) -> dict[str, float]:
    """Return bytes a connection, and microseconds a message."""
    clock = Clock()
    message = text(size)
    exchange(*join(clock, parameters), message, True)  # what is allocated once
    before = resident()
    connections = [join(clock, parameters) for _ in range(count)]
    for pair in connections:
        exchange(*pair, message, True)
    if wait:
        for _ in range(2):
            clock.now += IDLE
            for pair in connections:
                for end in pair:
                    end.handle_timeout()
    memory = (resident() - before) / count
    pair = connections[0]
    rounds = max(20, 2_000_000 // (size + 2000))
    best = float("inf")
    for _ in range(3):
        start = time.process_time()
        for _ in range(rounds):
            exchange(*pair, message, True)
        best = min(best, (time.process_time() - start) / rounds / 2)
    return {"memory": memory, "time": best * 1e6}


def run(count: int, size: int, parameters: dict[str, Any] | None, wait: bool) -> dict[str, float]:
    """Call :func:`measure` in a process of its own."""
    arguments = json.dumps([count, size, parameters, wait])
    done = subprocess.run([sys.executable, __file__, "measure", arguments], capture_output=True, check=True)
    result: dict[str, float] = json.loads(done.stdout)
    return result


def idle(count: int) -> None:
    print(f"{count} connections (both ends each) that have exchanged one message, {ZLIB}")
    for size in (256, 65536):
        plain = run(count, size, None, True)["memory"]
        active = run(count, size, {}, False)["memory"]
        compressed = run(count, size, {}, True)["memory"]
        print(
            f"{size:6} B messages: {plain / 1024:6.2f} KiB without compression; with it "
            f"{active / 1024:6.2f} KiB, idle {compressed / 1024:6.2f} KiB, ratio {compressed / plain:.3f}"
        )


def settings(count: int) -> None:
    print(
        f"With {ZLIB}; memory in KiB a connection (both ends), time in microseconds a message (both ends)\n"
    )
    print("| settings | memory, in use | memory, idle | time, 256 B | time, 64 KiB |")
    print("|---|---|---|---|---|")
    plain = run(count, 4096, None, True)["memory"]
    times = [run(10, size, None, False)["time"] for size in (256, 65536)]
    print(f"| no compression | {plain / 1024:.1f} | {plain / 1024:.1f} | {times[0]:.0f} | {times[1]:.0f} |")
    for bits in (9, 12, 15):
        for level in (5, 8):
            for takeover in (True, False):
                parameters: dict[str, Any] = {
                    "server_max_window_bits": bits,
                    "client_max_window_bits": bits,
                    "server_no_context_takeover": not takeover,
                    "client_no_context_takeover": not takeover,
                    "compress_settings": {"memLevel": level},
                }
                used = run(count, 4096, parameters, False)["memory"]
                released = run(count, 4096, parameters, True)["memory"]
                times = [run(10, size, parameters, False)["time"] for size in (256, 65536)]
                name = f"{bits} bits, memLevel {level}" + ("" if takeover else ", no context takeover")
                memory = f"{used / 1024:.1f} | {released / 1024:.1f}"
                print(f"| {name} | {memory} | {times[0]:.0f} | {times[1]:.0f} |")


if __name__ == "__main__":
    command, *rest = sys.argv[1:] or ["idle"]
    if command == "measure":
        print(json.dumps(measure(*json.loads(rest[0]))))
    else:
        {"idle": idle, "settings": settings}[command](int(rest[0]) if rest else 1000)
