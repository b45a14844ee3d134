"""Whether memory stays flat:  python bench/flat_memory.py [--time SECONDS] [--phases "idle load"] ...

A server and its clients, each in a process of its own, over loopback, for each phase; the phases run at the
same time.

idle
    1,000 connections without messages. Both ends send keepalive pings.
load
    300 messages a second, at a constant rate: from 0 bytes to 256 KiB, text and binary, compressed and not,
    whole and in fragments, on 50 connections. Each is closed after some messages, by the client or by the
    server, and another one is opened. Strangers come in between: they leave in the middle of a handshake or
    of a message, or break the protocol.

Every ten seconds, each process collects its garbage, and tells its resident memory, and how many objects
that the garbage collector knows, tasks, threads and descriptors it has. (Without that, what asyncio and trio
leave to the garbage collector would grow for most of an hour.) After a warm-up, a line is fitted to the
resident memory by least squares. Its slope is printed in KiB an hour, with the 95% confidence interval: two
standard errors, where the residuals of neighbouring samples are not taken for independent (B. D. Santer et
al., Journal of Geophysical Research 105, 2000: the number of samples is reduced by their autocorrelation).

Ends with an error if a slope is above its limit, if connections were lost, or if the load was not served.
The limit of 1,024 KiB an hour is one KiB for each idle connection, and about one byte for each message of the
load.

With ``--adapter threading`` the clients are on asyncio; with all others, both ends are on the same adapter.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import itertools
import json
import math
import os
import random
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import anyio
import anyio.to_thread
import trio.lowlevel
from measuring import print_head, print_row, resident, text
from runtimes import ADAPTERS, HEAD, HOST, frame, run

import adapters.threading
from wsproto_core import ConnectionClosedOK

LIMIT = 1024.0
"""The largest slope, in KiB an hour."""

LOADED = 50
"""Connections of the load."""

STAY = 100
"""Messages on a connection of the load, on average, before another one takes its place."""

STRANGE = 5
"""After how many connections, on average, there is a stranger."""

INTERVAL = 10.0
"""Seconds between two samples; a short run has fewer, and SAMPLES in all."""

SAMPLES = 50

ROWS = 12
"""Rows of the table of samples for each process."""

OPTIONS: dict[str, Any] = {"open_timeout": 60, "ping_timeout": 60}
"""Of all servers and clients: nothing is lost because the machine is busy."""

LEAVE = "leave"
"""The message at which the server closes the connection."""


class Sample(NamedTuple):
    """What a process has at one time."""

    resident: float
    """KiB of memory that it has for itself."""
    objects: int
    """Objects that the garbage collector knows."""
    tasks: int
    threads: int
    descriptors: int
    connections: int
    """Connections that are open; of the clients of the load, those that were opened until now."""
    exchanged: int
    """Messages that were answered; on idle connections, the frames that were received: pings and pongs."""


# In the processes that are looked at


class Counts:
    """What a process counts itself.

    Attributes:
        messages: messages that were answered.
        opened: connections that were opened.
        open: connections that are open, where they are known.
        idle: whether they are to be idle.
    """

    def __init__(self, idle: bool) -> None:
        self.messages = 0
        self.opened = 0
        self.open: Callable[[], set[Any]] | None = None
        self.idle = idle

    def sample(self) -> Sample:
        gc.collect()
        size = resident() / 1024
        objects = gc.get_objects()
        connections = self.open() if self.open else set()
        return Sample(
            size,
            len(objects),
            sum(map(is_living_task, objects)),
            threading.active_count(),
            len(os.listdir("/proc/self/fd")),
            len(connections) if self.open else self.opened,
            sum(each.statistics.frames_received for each in connections) if self.idle else self.messages,
        )

    def answer(self) -> None:
        """Answer each line of standard input by a sample; end the process at the end of it."""
        for _ in sys.stdin:
            print(json.dumps(self.sample()), flush=True)
        os._exit(0)


def is_living_task(thing: object) -> bool:
    if isinstance(thing, trio.lowlevel.Task):
        # It has no frame after its end.
        return getattr(thing.coro, "cr_frame", thing) is not None
    return isinstance(thing, asyncio.Task) and not thing.done()


async def run_server(adapter: Any, counts: Counts, options: dict[str, Any]) -> None:
    async def echo(websocket: Any) -> None:
        async for message in websocket:
            if message == LEAVE:
                break
            await websocket.send(message)
            counts.messages += 1
            # It would be kept until the next one comes.
            del message

    async with adapter.serve(echo, HOST, 0, backlog=4096, **options) as server:
        counts.open = lambda: server.connections
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()


def run_server_on_threads(counts: Counts, options: dict[str, Any]) -> None:
    def echo(websocket: Any) -> None:
        for message in websocket:
            if message == LEAVE:
                break
            websocket.send(message)
            counts.messages += 1
            del message

    with adapters.threading.serve(echo, HOST, 0, backlog=4096, **options) as server:
        counts.open = lambda: server.connections
        assert server.sockets
        print(server.sockets[0].getsockname()[1], flush=True)
        server.serve_forever()


async def stay_idle(adapter: Any, counts: Counts, options: dict[str, Any], port: int, count: int) -> None:
    """Open so many connections, and leave them alone."""
    opened: set[Any] = set()
    counts.open = opened.copy
    few = anyio.Semaphore(50)

    async def open_one() -> None:
        await few.acquire()
        async with adapter.connect(f"ws://{HOST}:{port}/", **options) as websocket:
            few.release()
            opened.add(websocket)
            # It ends with the process.
            await websocket.wait_closed()
            raise AssertionError(f"a connection has ended: {websocket.protocol.close_exception()}")

    async with anyio.create_task_group() as tasks:
        for _ in range(count):
            tasks.start_soon(open_one)


class Load:
    """What the clients of the load send.

    Attributes:
        messages: the messages, each text or binary, as a whole or in fragments.
        strangers: what those send that leave without a closing handshake, after the request, and whether
            there is an answer to it.
    """

    SIZES = (0, 1, 16, 125, 126, 400, 2**10, 3000, 2**12, 2**14, 2**16)

    def __init__(self, rate: float) -> None:
        self.period = LOADED / rate
        self.messages: list[str | bytes | list[str]] = []
        for size, seed in itertools.product(self.SIZES, range(5)):
            words = text(size, seed)
            noise = random.Random(size + seed).randbytes(size)
            self.messages += [words, words.encode(), noise, [words[: size // 3], words[size // 3 :]]]
        self.messages += [text(2**18), random.Random(0).randbytes(2**18)]
        self.strangers = [
            (b"", False),
            (frame(0x01, b"begin") + frame(0x00, b"and no end"), False),
            (frame(0x82, b"x" * 100)[:-50], False),
            (frame(0x82, b"echo me") * 20, True),
            (frame(0x89, b"ping") * 20, True),
            (frame(0xFF), True),
            (frame(0x81, b"\xff"), True),
        ]

    async def converse(self, adapter: Any, counts: Counts, options: dict[str, Any], port: int) -> None:
        async with anyio.create_task_group() as tasks:
            for number in range(LOADED):
                source = random.Random(number)
                tasks.start_soon(self._converse, adapter, counts, options, port, number / LOADED, source)

    async def _converse(
        self,
        adapter: Any,
        counts: Counts,
        options: dict[str, Any],
        port: int,
        part: float,
        source: random.Random,
    ) -> None:
        """Open connections, one after another, and send a message in each period."""
        due = anyio.current_time() + part * self.period
        while True:
            compression = source.choice([None, "deflate"])
            async with adapter.connect(
                f"ws://{HOST}:{port}/", compression=compression, **options
            ) as websocket:
                counts.opened += 1
                for _ in range(source.randrange(2 * STAY)):
                    await anyio.sleep(max(0.0, due - anyio.current_time()))
                    # What could not be sent in time is not made up for.
                    due = max(due + self.period, anyio.current_time())
                    await self.exchange(websocket, source)
                    counts.messages += 1
                if source.random() < 0.5:
                    await websocket.send(LEAVE)
                    with contextlib.suppress(ConnectionClosedOK):
                        raise AssertionError(f"received {await websocket.recv()!r}")
            if source.random() * STRANGE < 1:
                await self.intrude(port, source)

    async def exchange(self, websocket: Any, source: random.Random) -> None:
        message = source.choice(self.messages)
        compress = source.choice([None, True, False])
        await websocket.send(message, compress=compress)
        answer = await websocket.recv()
        expected = "".join(message) if isinstance(message, list) else message
        if answer != expected:
            raise AssertionError(f"sent {message!r:.100}, received {answer!r:.100}")

    async def intrude(self, port: int, source: random.Random) -> None:
        """Come and go as a stranger does: with a reset, if something is unread."""
        request = HEAD + b"\r\n"
        with contextlib.suppress(anyio.BrokenResourceError, anyio.EndOfStream):
            async with await anyio.connect_tcp(HOST, port) as stream:
                if source.random() < 0.2:
                    await stream.send(request[: source.randrange(1, len(request))])
                    return
                await stream.send(request)
                head = b""
                while b"\r\n\r\n" not in head:
                    head += await stream.receive()
                data, answered = source.choice(self.strangers)
                await stream.send(data)
                if answered and source.random() < 0.5:
                    await stream.receive()


def run_child(role: str, phase: str, adapter: str, keepalive: float, arguments: Sequence[str]) -> None:
    """Be a server or the clients of a phase."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    counts = Counts(phase == "idle")
    threading.Thread(target=counts.answer, daemon=True).start()
    options = {**OPTIONS, "ping_interval": keepalive}
    if role == "server":
        if adapter == "threading":
            run_server_on_threads(counts, options)
        else:
            run(adapter, run_server, counts, options)
        return
    port, number = arguments
    adapter = "asyncio" if adapter == "threading" else adapter
    if phase == "idle":
        run(adapter, stay_idle, counts, options, int(port), int(number))
    else:
        run(adapter, Load(float(number)).converse, counts, options, int(port))


# In the process that looks at them


class Process:
    """A process that is looked at.

    Attributes:
        name: the phase and the role.
        idle: whether its connections are idle.
        samples: what it has said, with the time of each.
    """

    def __init__(self, phase: str, role: str, adapter: str, keepalive: float, *arguments: object) -> None:
        self.name = f"{phase}, {role}"
        self.idle = phase == "idle"
        self.samples: list[tuple[float, Sample]] = []
        command = [sys.executable, __file__, "child", role, phase, adapter, keepalive, *arguments]
        self._process = subprocess.Popen(list(map(str, command)), stdin=-1, stdout=-1, text=True)

    def read(self) -> str:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            sys.exit(f"the process of {self.name} has ended")
        return line

    def ask(self) -> Sample:
        assert self._process.stdin
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write("\n")
            self._process.stdin.flush()
        return Sample(*json.loads(self.read()))

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream
            with contextlib.suppress(BrokenPipeError):
                stream.close()


class Line(NamedTuple):
    """A line that was fitted."""

    slope: float
    error: float
    """Half of the 95% confidence interval of the slope; infinite if there is too little to say one."""


def fit(times: Sequence[float], values: Sequence[float]) -> Line:
    """Fit a line by least squares."""
    count = len(times)
    middle, mean = math.fsum(times) / count, math.fsum(values) / count
    spread = math.fsum((each - middle) ** 2 for each in times)
    products = ((x - middle) * (y - mean) for x, y in zip(times, values, strict=True))
    slope = math.fsum(products) / spread
    residuals = [y - mean - slope * (x - middle) for x, y in zip(times, values, strict=True)]
    squares = math.fsum(each**2 for each in residuals)
    if count <= 2:
        return Line(slope, math.inf)
    if squares <= 1e-18 * (math.fsum(each**2 for each in values) or 1):
        return Line(slope, 0.0)
    correlation = max(0.0, math.fsum(a * b for a, b in itertools.pairwise(residuals)) / squares)
    independent = count * (1 - correlation) / (1 + correlation)
    if independent <= 2:
        return Line(slope, math.inf)
    return Line(slope, 2 * math.sqrt(squares / (independent - 2) / spread))


def start(phase: str, options: argparse.Namespace) -> list[Process]:
    """Start the server of a phase and its clients."""
    number = options.connections if phase == "idle" else options.rate
    server = Process(phase, "server", options.adapter, options.ping_interval)
    try:
        port = server.read().strip()
        client = Process(phase, "clients", options.adapter, options.ping_interval, port, number)
    except BaseException:
        server.end()
        raise
    if phase == "idle":
        while client.ask().connections < number:
            time.sleep(0.2)
    return [server, client]


def watch(processes: list[Process], options: argparse.Namespace) -> None:
    """Take samples until the time is over; print some of them."""
    whole = options.warm_up + options.time
    interval = min(INTERVAL, whole / SAMPLES)
    began = time.monotonic()
    print_head("minutes", "process", "resident KiB", *Sample._fields[1:])
    for number in range(math.floor(whole / interval) + 1):
        time.sleep(max(0.0, began + number * interval - time.monotonic()))
        now = time.monotonic() - began
        shown = number * interval * ROWS // whole > (number - 1) * interval * ROWS // whole
        for process in processes:
            sample = process.ask()
            process.samples.append((now, sample))
            if shown or not number:
                print_row([f"{now / 60:.1f}", process.name, f"{sample.resident:,.0f}", *sample[1:]])


def report(processes: list[Process], options: argparse.Namespace) -> list[str]:
    """Print the slopes; return what is not as it should be."""
    faults = []
    print(f"\nAfter the warm-up of {options.warm_up / 60:g} minutes\n")
    print_head("process", "resident KiB", "KiB an hour", "limit", "objects", "objects an hour")
    for process in processes:
        kept = [(when, sample) for when, sample in process.samples if when >= options.warm_up]
        times = [when / 3600 for when, _ in kept]
        memory = fit(times, [sample.resident for _, sample in kept])
        objects = fit(times, [sample.objects for _, sample in kept])
        (began, first), (ended, last) = kept[0], kept[-1]
        print_row(
            [
                process.name,
                f"{first.resident:,.0f} to {last.resident:,.0f}",
                f"{memory.slope:,.0f} ± {memory.error:,.0f}",
                f"{options.limit:,.0f}",
                f"{first.objects:,} to {last.objects:,}",
                f"{objects.slope:,.0f} ± {objects.error:,.0f}",
            ]
        )
        if memory.slope > options.limit:
            faults.append(f"{process.name}: {memory.slope:,.0f} KiB an hour are above the limit")
        if process.idle:
            fewest = min(sample.connections for _, sample in kept)
            if fewest < options.connections:
                faults.append(f"{process.name}: {fewest} connections were left")
        rate = options.connections / options.ping_interval if process.idle else options.rate
        exchanged = last.exchanged - first.exchanged
        if exchanged < options.served * rate * (ended - began):
            faults.append(f"{process.name}: {exchanged} messages or frames are too few")
    return faults


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(
        description="Watch the memory of servers and clients, and print its slope."
    )
    parser.add_argument("--adapter", default="asyncio", choices=[*ADAPTERS, "threading"])
    parser.add_argument("--phases", default="idle load", help="what to run, at the same time (idle load)")
    parser.add_argument("--time", type=float, default=3600, help="seconds after the warm-up (3600)")
    parser.add_argument("--warm-up", type=float, help="seconds of the warm-up (a sixth of the time)")
    parser.add_argument("--limit", type=float, default=LIMIT, help="KiB an hour, at most (1024)")
    parser.add_argument("--connections", type=int, default=1000, help="idle connections (1000)")
    parser.add_argument("--rate", type=float, default=300, help="messages a second (300)")
    parser.add_argument("--ping-interval", type=float, default=20, help="seconds between pings (20)")
    parser.add_argument(
        "--served", type=float, default=0.5, help="share of messages and pings that must be exchanged (0.5)"
    )
    options = parser.parse_args(arguments)
    if options.warm_up is None:
        options.warm_up = options.time / 6
    print(f"adapters on {options.adapter}, CPython {sys.version.split()[0]}, {options.time / 60:g} minutes:")
    print(
        f"{options.connections} idle connections, a ping every {options.ping_interval:g} seconds; "
        f"or {options.rate:g} messages a second\n"
    )
    with contextlib.ExitStack() as stack:
        processes = []
        for phase in options.phases.split():
            for process in start(phase, options):
                stack.callback(process.end)
                processes.append(process)
        watch(processes, options)
        faults = report(processes, options)
    if faults:
        sys.exit(f"memory does not stay flat: {'; '.join(faults)}")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["child", role, phase, adapter, keepalive, *rest]:
            run_child(role, phase, adapter, float(keepalive), rest)
        case arguments:
            main(arguments)
