"""What a delivery to the subscribers of a topic costs, with several processes, beside other libraries.

    python bench/topics.py [--subscribers 1,100,1000,10000,20000] [--processes 1,2,4]
                           [--backplanes memory,redis,nats] [--peers adapters.topics,python-socketio]
                           [--seconds 3] [--json FILE]

All subscribers are in one room. The server processes have one port, and the kernel distributes the
connections to them. One of the processes publishes messages of 256 bytes; the next ones follow when every
subscriber has the ones before. The clients are in C, and read headers only. CPU time is that of the server
processes, the kernel's share included, divided by deliveries; that of the engine is apart. The memory of a
connection, and what its subscription adds, is the growth of the servers' resident memory at the last step.

Peers that are not installed are left out: ``make bench-topics`` has all of them. Ends with an error if a goal
is not met.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import resource
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kit.build import build
from kit.machine import describe_machine
from kit.processes import (
    HOST,
    WSLOAD,
    AnswerError,
    Answering,
    Disturbance,
    Server,
    children_cpu_seconds,
    cpu_seconds_of,
    free_port,
    resident_of,
)
from kit.tables import QUIET, number
from measuring import print_head, print_row

OWN, SOCKETIO = "adapters.topics", "python-socketio"
RATIO = 0.25
"""The most CPU time a delivery, of that of python-socketio with Redis, for the most subscribers."""

RATIO_BACKPLANE = "redis"
RATIO_SUBSCRIBERS = 1000
"""With fewer subscribers, publishing costs more than the deliveries, and there is no goal."""

OFFERS = ("", "permessage-deflate", "permessage-deflate; server_max_window_bits=10")
"""What clients offer, by turns, when encodings are counted: three settings."""

CLIENTS = 5000
"""Connections of one process of clients, at most, which has a source address of its own."""

OTHER_FILES = 100
"""Files that a process opens beside its connections."""

TIMEOUT = 120
"""Seconds after which a server or a client is given up."""


@dataclass(frozen=True)
class Peer:
    """A library.

    Attributes:
        name: as tables have it.
        program: its server.
        backplanes: the backplanes that it has.
        requires: modules that must be installed.
        path: the path of the opening handshake.
        greeting: a text message that clients begin with; empty for none.
        answers: the messages that each client gets before there is a subscription.
    """

    name: str
    program: str
    backplanes: tuple[str, ...]
    requires: tuple[str, ...] = ()
    path: str = "/"
    greeting: str = ""
    answers: int = 0


@dataclass(frozen=True)
class Engine:
    """What connects processes.

    Attributes:
        programs: programs that must be installed.
        requires: modules that must be installed.
        url: the address for a port; empty for no engine.
        command: what starts it on a port.
    """

    programs: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()
    url: str = ""
    command: Callable[[int], Sequence[str]] | None = None


BACKPLANES = {
    "memory": Engine(),
    "redis": Engine(
        programs=("redis-server",),
        requires=("redis",),
        url="redis://127.0.0.1:{port}/0",
        command=lambda port: ["redis-server", "--port", str(port), "--bind", HOST, "--save", ""],
    ),
    "nats": Engine(
        programs=("nats-server",),
        requires=("nats",),
        url="nats://127.0.0.1:{port}",
        command=lambda port: ["nats-server", "--port", str(port), "--addr", HOST],
    ),
}
"""By name. A backplane without an engine is for one process."""

PEERS = (
    Peer(OWN, "servers.topics_own", tuple(BACKPLANES)),
    Peer(
        SOCKETIO,
        "servers.topics_socketio",
        ("memory", "redis"),
        requires=("socketio", "aiohttp"),
        path="/socket.io/?EIO=4&transport=websocket",
        greeting="40",
        answers=2,
    ),
    Peer("channels_redis", "servers.topics_channels", ("redis",), requires=("channels_redis", "uvicorn")),
)


class LimitError(Exception):
    """This machine does not allow so many connections."""


def raise_file_limit() -> int:
    """Allow as many open files as possible, here and in the processes that are started; return the limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = 2**17 if hard == resource.RLIM_INFINITY else min(hard, 2**17)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    return limit


class Clients:
    """Processes of clients, which count messages."""

    def __init__(self, stack: contextlib.ExitStack, peer: Peer, port: int, offers: Sequence[str]) -> None:
        self._stack = stack
        self._options = [option for offer in offers for option in ("--offer", offer)]
        if peer.greeting:
            self._options += ["--greeting", peer.greeting]
        self._peer = peer
        self._port = port
        self.programs: list[Answering] = []
        self._counts: list[int] = []
        self._due: list[int] = []

    def open(self, count: int) -> None:
        """Open more connections, as many as there are to be."""
        while (left := count - sum(self._counts)) > 0:
            some = min(left, CLIENTS)
            source = f"127.0.0.{2 + len(self.programs) % 250}"
            arguments = [HOST, self._port, self._peer.path, some, 1, 1, 0, "text"]
            command = [WSLOAD, *map(str, arguments), "--subscribe", "--source", source, *self._options]
            program = self._stack.enter_context(Answering(command, TIMEOUT))
            opened = json.loads(program.answer())
            if "error" in opened:
                raise AnswerError(f"{some} clients: {opened['error']}")
            self.programs.append(program)
            self._counts.append(some)
            self._due.append(0)
            self._expect(self._peer.answers, len(self.programs) - 1)

    def _expect(self, messages: int, index: int) -> None:
        self._due[index] += messages * self._counts[index]
        self.programs[index].send(str(self._due[index]))
        self._check(self.programs[index])

    def _check(self, program: Answering) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(program.answer())
        if "error" in found:
            raise AnswerError(f"a client: {found['error']}")
        return found

    def wait(self, messages: int) -> tuple[int, int]:
        """Wait until so many messages have come on each connection; return the least and the most of one.

        What connections got before they were in the last step does not count: the least and the most are
        those of the connections of each process of clients, beyond what each of them must have got.
        """
        for index, program in enumerate(self.programs):
            self._due[index] += messages * self._counts[index]
            program.send(str(self._due[index]))
        least, most = [], []
        for index, program in enumerate(self.programs):
            found = self._check(program)
            before = self._due[index] // self._counts[index] - messages
            least.append(found["least"] - before)
            most.append(found["most"] - before)
        return min(least), max(most)


class Group:
    """Server processes of a peer, their clients, and the engine."""

    def __init__(
        self,
        stack: contextlib.ExitStack,
        peer: Peer,
        backplane: str,
        processes: int,
        offers: Sequence[str] = (),
    ) -> None:
        engine = BACKPLANES[backplane]
        arguments = ["--backplane", backplane]
        self.engine_pid: int | None = None
        if engine.command is not None:
            running = stack.enter_context(Server(engine.command, cpu=None))
            self.engine_pid = running.pid
            arguments += ["--url", engine.url.format(port=running.port)]
        port = free_port()
        command = [sys.executable, "-m", peer.program, str(port), *arguments]
        self.servers = [stack.enter_context(Answering(command, TIMEOUT)) for _ in range(processes)]
        for server in self.servers:
            server.answer()
        self.clients = Clients(stack, peer, port, offers)
        self.count = 0

    def ask(self, line: str) -> list[str]:
        """Send a line to all server processes, and return their answers."""
        for server in self.servers:
            server.send(line)
        return [server.answer() for server in self.servers]

    def resident(self) -> int:
        return sum(resident_of(server.pid) for server in self.servers)

    def cpu_seconds(self) -> float:
        return sum(cpu_seconds_of(server.pid) for server in self.servers)

    def engine_cpu_seconds(self) -> float:
        return 0.0 if self.engine_pid is None else cpu_seconds_of(self.engine_pid)

    def all_cpu_seconds(self) -> float:
        clients = sum(cpu_seconds_of(program.pid) for program in self.clients.programs)
        ours = time.process_time() + children_cpu_seconds()
        return self.cpu_seconds() + self.engine_cpu_seconds() + clients + ours

    def subscribe(self, count: int) -> dict[str, float]:
        """Open connections until there are so many, and subscribe them; return the KiB that each took."""
        more, self.count = count - self.count, count
        before = self.resident()
        self.clients.open(count)
        while sum(map(int, self.ask("connections"))) < count:
            time.sleep(0.02)
        connected = self.resident()
        self.ask("subscribe")
        return {
            "connection_kib": (connected - before) / more / 1024,
            "subscription_kib": (self.resident() - connected) / more / 1024,
        }

    def publish(self, messages: int) -> tuple[int, int]:
        """Publish, and wait until everyone has it: see :meth:`Clients.wait`."""
        self.servers[0].send(f"publish {messages}")
        got = self.clients.wait(messages)
        self.servers[0].answer()
        return got

    def publish_once(self) -> dict[str, Any]:
        """Publish one message; return who has got it, and how often a process has encoded it."""
        before = self.ask("encodings")
        self.publish(1)
        # A message too many may come later.
        time.sleep(0.2)
        least, most = self.clients.wait(0)
        encodings = [int(now) - int(then) for now, then in zip(self.ask("encodings"), before, strict=True)]
        return {"least": 1 + least, "most": 1 + most, "encodings": max(encodings)}

    def measure(self, seconds: float) -> dict[str, float]:
        """Publish for a while, and return figures for a delivery."""
        batch = max(1, min(50, 1000 // self.count))
        for _ in range(2):
            self.publish(batch)
        disturbance = Disturbance(self.all_cpu_seconds())
        cpu, engine = self.cpu_seconds(), self.engine_cpu_seconds()
        start = time.monotonic()
        messages = 0
        while messages < 3 or time.monotonic() - start < seconds:
            self.publish(batch)
            messages += batch
        duration = time.monotonic() - start
        cpu, engine = self.cpu_seconds() - cpu, self.engine_cpu_seconds() - engine
        disturbance.end(self.all_cpu_seconds())
        deliveries = messages * self.count
        return {
            "messages": messages,
            "rate": deliveries / duration,
            "us": cpu / deliveries * 1e6,
            "engine_us": engine / deliveries * 1e6,
            "others": disturbance.processors,
        }


def measure_peer(
    peer: Peer, backplane: str, processes: int, steps: Sequence[int], seconds: float, files: int
) -> Iterator[dict[str, Any]]:
    """Yield a record for each number of subscribers."""
    record: dict[str, Any] = {}
    with contextlib.ExitStack() as stack:
        try:
            group = None
            for count in steps:
                place = {"backplane": backplane, "processes": processes, "subscribers": count}
                record = {"peer": peer.name, **place}
                check_files(count, processes, files)
                group = group or Group(stack, peer, backplane, processes)
                record |= group.subscribe(count)
                record |= group.publish_once()
                record |= group.measure(seconds)
                yield record
        except (AnswerError, LimitError) as error:
            yield {**record, "error": str(error)}


def check_files(count: int, processes: int, files: int) -> None:
    """Check that the server processes may have so many connections.

    Raises:
        LimitError: they may not.
    """
    # The kernel distributes connections by chance.
    needed = round(count / processes * (1 if processes == 1 else 1.1)) + OTHER_FILES
    if needed > files:
        raise LimitError(
            f"a server process needs {needed:,} open files, and this machine allows {files:,}: "
            "raise the limit (ulimit -Hn)"
        )


def count_settings(backplane: str, processes: int, count: int) -> dict[str, Any]:
    """Publish to clients with several settings of compression, and count encodings."""
    with contextlib.ExitStack() as stack:
        group = Group(stack, PEERS[0], backplane, processes, OFFERS)
        group.subscribe(count)
        return {"settings": len(OFFERS), "subscribers": count, **group.publish_once()}


@dataclass(frozen=True)
class Goal:
    """A goal.

    Attributes:
        name: what is to be.
        limit: the most, or for deliveries the exact number.
        measured: what was found.
        is_met: whether it is met.
    """

    name: str
    limit: str
    measured: str
    is_met: bool


def goals(records: Sequence[dict[str, Any]], settings: dict[str, Any]) -> Iterator[Goal]:
    """Yield the goals that the records are about: those of the most processes and subscribers."""
    found = [record for record in records if "error" not in record]
    for backplane in dict.fromkeys(record["backplane"] for record in found):
        here = [record for record in found if record["backplane"] == backplane]
        yield from goals_of(backplane, here)
    kinds = f"{settings['settings']} settings of compression"
    yield Goal(
        f"{settings['subscribers']} connections with {kinds}: encodings of a message in a process",
        str(settings["settings"]),
        str(settings["encodings"]),
        settings["encodings"] <= settings["settings"],
    )


def goals_of(backplane: str, records: Sequence[dict[str, Any]]) -> Iterator[Goal]:
    """Yield the goals for the most processes and subscribers of a backplane."""
    own = [record for record in records if record["peer"] == OWN]
    if not own:
        return
    last = max(own, key=lambda record: (record["processes"], record["subscribers"]))
    place = f"{backplane}, processes: {last['processes']}, connections: {last['subscribers']:,}"
    got = sorted({last["least"], last["most"]})
    yield Goal(f"{place}: how often each has a message", "1", " to ".join(map(str, got)), got == [1])
    encodings = last["encodings"]
    yield Goal(f"{place}: encodings of a message in a process", "1", str(encodings), encodings <= 1)
    if backplane != RATIO_BACKPLANE or last["subscribers"] < RATIO_SUBSCRIBERS:
        return
    for record in records:
        if record["peer"] == SOCKETIO and place_of(record) == place_of(last):
            ratio = last["us"] / record["us"]
            name = f"{place}: CPU time a delivery, of that of {SOCKETIO}"
            yield Goal(name, str(RATIO), f"{ratio:.2f}", ratio <= RATIO)


def place_of(record: dict[str, Any]) -> tuple[str, int, int]:
    return record["backplane"], record["processes"], record["subscribers"]


def print_deliveries(record: dict[str, Any], own: dict[tuple[str, int, int], float]) -> None:
    """Print a row of the first table.

    Args:
        record: the record.
        own: the CPU time of this library's deliveries, by place.
    """
    cells = [record["peer"], record["backplane"], record["processes"], f"{record['subscribers']:,}"]
    if "error" in record:
        print_row([*cells, f"not measured: {record['error']}", "", "", ""])
        return
    mark = "~" if record["others"] > QUIET else ""
    ours = own.get(place_of(record))
    figures = [f"{record['rate']:,.0f}", number(record["us"]), number(record["engine_us"])]
    times = "" if ours is None else f"{record['us'] / ours:.1f}"
    print_row([*cells, *(mark + figure for figure in figures), times])


def print_memory(records: Sequence[dict[str, Any]]) -> None:
    print_head(
        "server", "backplane", "processes", "connections", "a connection, KiB", "its subscription, KiB"
    )
    last = {
        (record["peer"], record["backplane"], record["processes"]): record
        for record in records
        if "error" not in record
    }
    for place, record in last.items():
        figures = [f"{record['connection_kib']:.1f}", f"{record['subscription_kib']:.2f}"]
        print_row([*place, f"{record['subscribers']:,}", *figures])


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    def names(known: Sequence[str]) -> Callable[[str], list[str]]:
        def split(text: str) -> list[str]:
            for name in text.split(","):
                if name not in known:
                    raise argparse.ArgumentTypeError(f"no {name!r}; there are: {', '.join(known)}")
            return text.split(",")

        return split

    def numbers(text: str) -> list[int]:
        return sorted({int(part) for part in text.split(",")})

    parser = argparse.ArgumentParser()
    parser.add_argument("--subscribers", type=numbers, default=[1, 100, 1000, 10_000, 20_000])
    parser.add_argument("--processes", type=numbers, default=[1, 2, 4])
    parser.add_argument("--backplanes", type=names(list(BACKPLANES)), default=list(BACKPLANES))
    peers = [peer.name for peer in PEERS]
    parser.add_argument("--peers", type=names(peers), default=peers)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement")
    parser.add_argument("--json", type=Path, metavar="FILE", help="append the records, a line each")
    return parser.parse_args(arguments)


def choose(options: argparse.Namespace) -> tuple[list[Peer], list[str]]:
    """Return the peers and the backplanes that are installed; say which are not."""
    peers, backplanes = [], []
    for peer in PEERS:
        missing = [name for name in peer.requires if importlib.util.find_spec(name) is None]
        if peer.name in options.peers and missing:
            print(f"{peer.name} is left out: {' and '.join(missing)} must be installed\n")
        elif peer.name in options.peers:
            peers.append(peer)
    for name in options.backplanes:
        engine = BACKPLANES[name]
        missing = [program for program in engine.programs if shutil.which(program) is None]
        missing += [module for module in engine.requires if importlib.util.find_spec(module) is None]
        if missing:
            print(f"the backplane {name} is left out: {' and '.join(missing)} must be installed\n")
        else:
            backplanes.append(name)
    return peers, backplanes


def places(
    peers: Sequence[Peer], backplanes: Sequence[str], processes: Sequence[int]
) -> Iterator[tuple[Peer, str, int]]:
    """Yield what is measured; this library comes before the others in the same place."""
    for backplane in backplanes:
        for count in [1] if BACKPLANES[backplane].command is None else processes:
            for peer in peers:
                if backplane in peer.backplanes:
                    yield peer, backplane, count


def main(arguments: Sequence[str]) -> None:
    options = parse(arguments)
    build()
    files = raise_file_limit()
    peers, backplanes = choose(options)
    machine = describe_machine(options.seconds, 1)
    described = f"{machine['machine']}, {machine['processors']} processors, Python {machine['python']}"
    print(f"{machine['date']}, {described}: CPU time of a delivery\n")
    names = ("backplane", "processes", "subscribers")
    print_head("server", *names, "deliveries a second", "servers, µs", "engine, µs", "of ours")
    records: list[dict[str, Any]] = []
    own: dict[tuple[str, int, int], float] = {}
    for peer, backplane, processes in places(peers, backplanes, options.processes):
        for record in measure_peer(peer, backplane, processes, options.subscribers, options.seconds, files):
            if peer.name == OWN and "us" in record:
                own[place_of(record)] = record["us"]
            print_deliveries(record, own)
            records.append(record)
    settings = count_settings(backplanes[-1], records[-1]["processes"], 30)
    if options.json is not None:
        with options.json.open("a") as file:
            for record in (machine, *records, settings):
                print(json.dumps(record), file=file)
    print()
    print_memory(records)
    print()
    print_head("goal", "limit", "measured", "met")
    missed = []
    for goal in goals(records, settings):
        print_row([goal.name, goal.limit, goal.measured, "yes" if goal.is_met else "**no**"])
        if not goal.is_met:
            missed.append(goal.name)
    if missed:
        sys.exit(f"goals that are not met: {'; '.join(missed)}")


if __name__ == "__main__":
    main(sys.argv[1:])
