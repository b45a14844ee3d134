"""Whether time grows with the work, not with its square:  python bench/growth.py [NAME ...]

Each line is some work done with n and with 2n of something: the calls of functions, Python's and C's, and
the processor's time, as ratios. Twice the work should be twice of both; a square shows as four. The calls
say nothing of how much each of them does: where that is the question, as when bytes are joined, it is the
time that is limited. What is measured depends on how tasks and threads take turns, and on the machine;
therefore it is measured again, a few times, when it is above the limit.

NAME chooses lines that begin with it. Ends with an error if a ratio stays above its limit.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import socket
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, NamedTuple

import anyio
import anyio.lowlevel
from measuring import print_head, print_row
from runtimes import (
    ADAPTERS,
    HOST,
    OPTIONS,
    at_work,
    cut,
    frame,
    open_peer,
    port_of,
    run,
    server_context,
    serving,
    shrink_buffers,
)

import adapters.threading
from wsproto_core import Protocol, Side

CALLS = 2.3
"""The most by which the calls may grow when the work doubles."""

TIME = 3.0
"""The same for the time, where that is limited: between twice and four times."""

ATTEMPTS = 5
"""How often a line is measured that is above its limit."""


class Cost(NamedTuple):
    calls: int
    seconds: float


class Meter:
    """Counts the calls of functions in this thread, and in those that begin meanwhile."""

    def __init__(self) -> None:
        self._counter = itertools.count()
        self.cost = Cost(0, 0)

    def _see(self, frame: Any, event: str, argument: Any) -> None:
        if event in ("call", "c_call"):
            next(self._counter)

    @contextlib.contextmanager
    def running(self, counting: bool) -> Iterator[None]:
        """Measure the time, or count: that takes time of its own."""
        start = time.process_time()
        if counting:
            threading.setprofile(self._see)
            sys.setprofile(self._see)
        try:
            yield
        finally:
            sys.setprofile(None)
            threading.setprofile(None)
            self.cost = Cost(next(self._counter), time.process_time() - start)


Work = Callable[[int, Callable[[], contextlib.AbstractContextManager[None]]], None]
"""Prepares for n things, then does what is measured within a block."""


def measure(work: Work, number: int, counting: bool) -> Cost:
    meter = Meter()
    work(number, functools.partial(meter.running, counting))
    return meter.cost


# The core


def make_protocol(**options: Any) -> Protocol:
    """A server's end of a connection without limits."""
    limits = dict.fromkeys(("max_size", "max_queue", "read_limit", "max_fragments", "max_pings"))
    return Protocol(Side.SERVER, clock=time.monotonic, **{**limits, "write_limit": 2**40, **options})


def receive_bytes(number: int, running: Any) -> None:
    """A message that comes by the byte."""
    protocol = make_protocol()
    protocol.receive_data(bytes((0x82, 0xFF)) + number.to_bytes(8, "big") + bytes(4))
    with running():
        for _ in range(number):
            protocol.receive_data(b"x")
        assert protocol.next_message() == b"x" * number


def receive_fragments(number: int, running: Any) -> None:
    """A message in fragments."""
    protocol = make_protocol()
    data = frame(0x01) + frame(0x00, b"x") * number + frame(0x80)
    with running():
        for start in range(0, len(data), 2**16):
            protocol.receive_data(data[start : start + 2**16])
        assert protocol.next_message() == "x" * number


def receive_messages(number: int, running: Any) -> None:
    """Messages that wait in the receive queue."""
    protocol = make_protocol()
    data = frame(0x81, b"x") * number
    with running():
        for start in range(0, len(data), 2**16):
            protocol.receive_data(data[start : start + 2**16])
        for _ in range(number):
            assert protocol.next_message() == "x"


def send_messages(number: int, running: Any) -> None:
    """Messages that wait to be written, and are written by the byte."""
    protocol = make_protocol()
    with running():
        for _ in range(number):
            protocol.send(b"x")
        for buffer in protocol.data_to_send():
            for _ in range(len(buffer)):
                protocol.data_sent(1)


def answer_pings(number: int, running: Any) -> None:
    """Pings that wait for their pongs, each of which comes by itself."""
    protocol = make_protocol()
    pongs = [frame(0x8A, protocol.ping(index.to_bytes(4, "big"))) for index in range(number)]
    protocol.data_to_send()
    protocol.data_sent()
    with running():
        for pong in pongs:
            protocol.receive_data(pong)
            protocol.events()


def match_path(number: int, running: Any) -> None:
    """A path that a rule with several converters may divide in many ways."""
    from werkzeug.routing import Map, Rule

    from adapters.shared.routing import make_router
    from wsproto_core import Headers
    from wsproto_core.http import Request

    rules = Map([Rule("/<x>,<y>,<z>.png", endpoint=lambda websocket, x, y, z: None)])
    router, _ = make_router(rules, None, None, None)
    request = Request("/" + "1," * number, Headers({"Host": "localhost"}))
    with running():
        for _ in range(100):
            router.route(request)


# Adapters. A peer reads all that it is to get, but not before it is told, and then says so.


def read_all(sock: socket.socket, begin: threading.Event, total: int) -> None:
    begin.wait()
    with contextlib.suppress(OSError):
        while total > 0 and (data := sock.recv(2**18)):
            total -= len(data)
        sock.sendall(frame(0x81, b"done"))


FILLING = 2**17
"""Bytes that are more than the system buffers."""

HEADER = 10
"""Bytes before them in a frame."""


async def talk(adapter: Any, handler: Any, total: int, begin: threading.Event, **options: Any) -> None:
    """Serve a peer that is to get so many bytes; without TLS, the system buffers few of them."""
    done = anyio.Event()
    failures: list[BaseException] = []

    async def handle(websocket: Any) -> None:
        try:
            await handler(websocket)
        except BaseException as error:
            failures.append(error)
            raise
        finally:
            begin.set()
            done.set()

    tls = options.get("tls", False)
    async with serving(adapter, handle, **options) as server:
        if not tls:
            shrink_buffers(server)
        peer = await anyio.to_thread.run_sync(open_peer, port_of(server), tls, not tls)
        with contextlib.closing(peer), at_work(functools.partial(read_all, peer, begin, total)), cut(peer):
            await done.wait()
    if failures:
        raise failures[0]


async def write_bytes(adapter: Any, number: int, running: Any) -> None:
    """One message, on TLS."""
    begin = threading.Event()

    async def handler(websocket: Any) -> None:
        message = bytes(number)
        begin.set()
        with running():
            await websocket.send(message)
            await websocket.recv()

    await talk(adapter, handler, HEADER + number, begin, tls=True)


async def write_messages(adapter: Any, number: int, running: Any) -> None:
    """Small messages that wait to be written."""
    begin = threading.Event()

    async def handler(websocket: Any) -> None:
        with running():
            await websocket.send(bytes(FILLING))
            for _ in range(number):
                await websocket.send(b"x")
            begin.set()
            await websocket.recv()

    await talk(adapter, handler, HEADER + FILLING + 3 * number, begin, write_limit=2**40)


async def write_concurrently(adapter: Any, number: int, running: Any) -> None:
    """Tasks that wait to send."""
    begin = threading.Event()

    async def handler(websocket: Any) -> None:
        with running():
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(websocket.send, bytes(FILLING))
                for _ in range(number):
                    tasks.start_soon(websocket.send, b"x")
                for _ in range(10):
                    await anyio.lowlevel.checkpoint()
                begin.set()
            await websocket.recv()

    await talk(adapter, handler, HEADER + FILLING + 3 * number, begin, write_limit=2**12)


async def broadcast_and_wait(adapter: Any, number: int, running: Any) -> None:
    """A broadcast to connections that have no room."""
    total = HEADER + FILLING + 3
    left = number
    begin, received, finish = threading.Event(), anyio.Event(), anyio.Event()

    async def handler(websocket: Any) -> None:
        nonlocal left
        await websocket.recv()
        left -= 1
        if not left:
            received.set()
        await finish.wait()

    async with serving(adapter, handler, write_limit=2**12) as server:
        shrink_buffers(server)
        with contextlib.ExitStack() as stack:
            for _ in range(number):
                peer = await anyio.to_thread.run_sync(open_peer, port_of(server), False, True)
                stack.enter_context(contextlib.closing(peer))
                stack.enter_context(at_work(functools.partial(read_all, peer, begin, total)))
                stack.enter_context(cut(peer))
            while len(server.connections) < number:
                await anyio.lowlevel.checkpoint()
            with running():
                adapter.broadcast(server.connections, bytes(FILLING))
                waiting = adapter.broadcast(server.connections, b"x", "wait")
                begin.set()
                await waiting
                await received.wait()
            finish.set()


# Threads


def talk_on_threads(
    handler: Callable[[Any], object], total: int, begin: threading.Event, **options: Any
) -> None:
    """Serve a peer that is to get so many bytes."""
    done = threading.Event()
    failures: list[BaseException] = []

    def handle(websocket: Any) -> None:
        try:
            handler(websocket)
        except BaseException as error:
            failures.append(error)
            raise
        finally:
            begin.set()
            done.set()

    with adapters.threading.serve(handle, HOST, 0, **OPTIONS, **options) as server:
        tls = "ssl" in options
        if not tls:
            shrink_buffers(server)
        with at_work(server.serve_forever):
            peer = open_peer(port_of(server), tls, not tls)
            with contextlib.closing(peer), at_work(functools.partial(read_all, peer, begin, total)):
                done.wait()
            server.close()
    if failures:
        raise failures[0]


def write_bytes_on_threads(number: int, running: Any) -> None:
    """One message, on TLS."""
    begin = threading.Event()

    def handler(websocket: Any) -> None:
        message = bytes(number)
        begin.set()
        with running():
            websocket.send(message)
            websocket.recv()

    talk_on_threads(handler, HEADER + number, begin, ssl=server_context())


def write_messages_on_threads(number: int, running: Any) -> None:
    """Small messages that wait to be written."""
    begin = threading.Event()

    def handler(websocket: Any) -> None:
        with running():
            websocket.send(bytes(FILLING))
            for _ in range(number):
                websocket.send(b"x")
            begin.set()
            websocket.recv()

    talk_on_threads(handler, HEADER + FILLING + 3 * number, begin, write_limit=2**40)


def write_concurrently_on_threads(number: int, running: Any) -> None:
    """Threads that wait to send."""
    begin = threading.Event()

    def handler(websocket: Any) -> None:
        messages = [bytes(FILLING), *[b"x"] * number]
        threads = [threading.Thread(target=websocket.send, args=(message,)) for message in messages]
        with running():
            for thread in threads:
                thread.start()
            begin.set()
            for thread in threads:
                thread.join()
            websocket.recv()

    talk_on_threads(handler, HEADER + FILLING + 3 * number, begin, write_limit=2**12)


class Line(NamedTuple):
    """What is measured: the work, n, and whether calls or time are limited."""

    work: Work
    number: int
    timed: bool = False


def on(adapter: str, function: Callable[..., Awaitable[None]]) -> Work:
    return lambda number, running: run(adapter, function, number, running)


LINES = {
    "core: bytes of a message that come one by one": Line(receive_bytes, 70_000, timed=True),
    "core: fragments of a message": Line(receive_fragments, 20_000, timed=True),
    "core: messages that wait to be received": Line(receive_messages, 20_000, timed=True),
    "core: messages that wait to be written": Line(send_messages, 30_000, timed=True),
    "core: pings that wait for their pongs": Line(answer_pings, 5_000, timed=True),
    "core: length of a path with several converters": Line(match_path, 500, timed=True),
}
for name in ADAPTERS:
    LINES |= {
        f"{name}: bytes of a message on TLS": Line(on(name, write_bytes), 2**25, timed=True),
        f"{name}: messages that wait to be written": Line(on(name, write_messages), 30_000, timed=True),
        f"{name}: tasks that wait to send": Line(on(name, write_concurrently), 200),
        f"{name}: slow connections of a broadcast": Line(on(name, broadcast_and_wait), 20),
    }
LINES |= {
    "threading: bytes of a message on TLS": Line(write_bytes_on_threads, 2**25, timed=True),
    "threading: messages that wait to be written": Line(write_messages_on_threads, 30_000, timed=True),
    "threading: threads that wait to send": Line(write_concurrently_on_threads, 50),
}


def growth(work: Work, number: int) -> tuple[float, float]:
    """Return by how much calls and time grow when the number doubles."""
    once, twice = (measure(work, count, counting=True).calls for count in (number, 2 * number))
    before, after = (measure(work, count, counting=False).seconds for count in (number, 2 * number))
    return twice / once, after / before


def main(*names: str) -> None:
    above: list[str] = []
    print("What twice the work costs\n")
    print_head("work", "n", "calls", "time", "limit")
    for name, (work, number, timed) in LINES.items():
        if names and not name.startswith(names):
            continue
        # What the first one imports does not count.
        measure(work, number, counting=False)
        for _ in range(ATTEMPTS):
            calls, seconds = growth(work, number)
            good = seconds <= TIME if timed else calls <= CALLS
            if good:
                break
        limit = f"time {TIME}" if timed else f"calls {CALLS}"
        print_row([name, f"{number:,}", f"{calls:.2f}", f"{seconds:.2f}", limit])
        if not good:
            above.append(name)
    if above:
        sys.exit(f"more than in proportion: {'; '.join(above)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
