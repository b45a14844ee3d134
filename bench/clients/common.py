"""What the client programs share: arguments, the meter, and the workloads.

Each program is run in the folder ``bench`` as ``python -m clients.NAME PORT MODE SIZE DEPTH SECONDS
[--loop LOOP] [--transport TRANSPORT] [--text] [--compressed]``. It runs one connection to ``wsecho`` and
prints one line of JSON. The mode is one of:

echo  DEPTH messages are in flight; each answer is followed by the next message.
recv  The server floods, the client only receives.
send  The client floods, the server only counts.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Awaitable, Callable
from time import perf_counter, process_time
from typing import Any

from servers.common import HOST, LOOPS, TRANSPORTS, run

__all__ = ["HOST", "Meter", "async_workload", "blocking_workload", "parse_arguments", "run"]

WARM_UP = 0.2
"""Seconds that do not count."""

GROUP = 16
"""Messages that are sent between two looks at the clock."""

PATHS = {"echo": "echo", "recv": "flood", "send": "sink"}
TEXT = b'{"id":12345,"symbol":"ABC","price":101.25,"size":300,"side":"buy"},'


def parse_arguments() -> argparse.Namespace:
    """Parse the command line.

    Returns:
        The arguments, and with them the URI, the message, the request for a flood and its number of messages.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("mode", choices=list(PATHS))
    parser.add_argument("size", type=int)
    parser.add_argument("depth", type=int)
    parser.add_argument("seconds", type=float)
    parser.add_argument("--loop", choices=LOOPS, default="asyncio")
    parser.add_argument("--transport", choices=TRANSPORTS, default="standard")
    parser.add_argument("--text", action="store_true")
    parser.add_argument("--compressed", action="store_true", help="negotiate permessage-deflate")
    arguments = parser.parse_args()
    message = (TEXT * (arguments.size // len(TEXT) + 1))[: arguments.size]
    arguments.message = message.decode() if arguments.text else message
    arguments.path = f"/{PATHS[arguments.mode]}"
    arguments.uri = f"ws://{HOST}:{arguments.port}{arguments.path}"
    arguments.compression = "deflate" if arguments.compressed else None
    arguments.flood = max(GROUP, min(10_000, 2**22 // arguments.size))
    arguments.request = f"{arguments.flood} {arguments.size}" + (" t" if arguments.text else "")
    return arguments


class Meter:
    """Knows when the warm-up and the measurement are over, and prints the result."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._arguments = arguments
        self._until = perf_counter() + WARM_UP
        self._start: float | None = None
        self._first_count = 0
        self._cpu_start = 0.0

    def is_over(self, count: int) -> bool:
        """Say whether the measurement is over, given the number of messages so far."""
        now = perf_counter()
        if now < self._until:
            return False
        if self._start is None:
            self._start = now
            self._until = now + self._arguments.seconds
            self._first_count = count
            self._cpu_start = process_time()
            return False
        self._print_result(count - self._first_count, now - self._start, process_time() - self._cpu_start)
        return True

    def _print_result(self, messages: int, seconds: float, cpu_seconds: float) -> None:
        result = {
            "messages": messages,
            "seconds": seconds,
            "rate": messages / seconds,
            "cpu_us": cpu_seconds / max(messages, 1) * 1e6,
            "cpu_share": cpu_seconds / seconds,
        }
        print(json.dumps(result), flush=True)


def check_size(message: Any, arguments: argparse.Namespace) -> None:
    if len(message) != arguments.size:
        raise ValueError(f"a message of {len(message)} bytes, expected were {arguments.size}")


def check_count(message: Any, count: int) -> None:
    if int(bytes(message) if not isinstance(message, str) else message) != count:
        raise ValueError(f"the server has counted {message!r} messages, {count} were sent")


async def async_workload(
    send: Callable[[Any], Awaitable[object]],
    recv: Callable[[], Awaitable[Any]],
    arguments: argparse.Namespace,
) -> None:
    """Run the workload on a connection with coroutine functions that send and receive a message."""
    message, size, meter, count = arguments.message, arguments.size, Meter(arguments), 0
    if arguments.mode == "echo":
        for _ in range(arguments.depth):
            await send(message)
        while not meter.is_over(count):
            if len(await recv()) != size:
                raise ValueError("a message has the wrong size")
            await send(message)
            count += 1
        # Some libraries close slowly while messages are unread.
        for _ in range(arguments.depth):
            check_size(await recv(), arguments)
    elif arguments.mode == "recv":
        while not meter.is_over(count):
            await send(arguments.request)
            for _ in range(arguments.flood):
                if len(await recv()) != size:
                    raise ValueError("a message has the wrong size")
            count += arguments.flood
    else:
        while not meter.is_over(count):
            for _ in range(GROUP):
                await send(message)
            count += GROUP
        await send("fin")
        check_count(await recv(), count)


def blocking_workload(
    send: Callable[[Any], object], recv: Callable[[], Any], arguments: argparse.Namespace
) -> None:
    """Run the workload on a connection with functions that send and receive a message."""
    message, size, meter, count = arguments.message, arguments.size, Meter(arguments), 0
    if arguments.mode == "echo":
        for _ in range(arguments.depth):
            send(message)
        while not meter.is_over(count):
            if len(recv()) != size:
                raise ValueError("a message has the wrong size")
            send(message)
            count += 1
        for _ in range(arguments.depth):
            check_size(recv(), arguments)
    elif arguments.mode == "recv":
        while not meter.is_over(count):
            send(arguments.request)
            for _ in range(arguments.flood):
                if len(recv()) != size:
                    raise ValueError("a message has the wrong size")
            count += arguments.flood
    else:
        while not meter.is_over(count):
            for _ in range(GROUP):
                send(message)
            count += GROUP
        send("fin")
        check_count(recv(), count)
