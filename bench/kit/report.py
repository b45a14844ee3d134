"""Records to a page of the documentation: targets, tables, and plots in a folder beside it."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .measure import COPY, Record
from .plots import plot
from .tables import Results, markdown, number, of_limit
from .targets import Outcome, outcome, targets

INTRODUCTION = """\
# Benchmarks

CPU time that a message costs this library, beside other libraries and beside programs that only send the same
bytes back. {command} made this page on {date}; [bench/README.md](../bench/README.md) says what is measured,
and how far the figures can be trusted. Compare the figures of a table with each other, not with those of
another machine.

- Machine: {machine}, {processors} processors, Linux {kernel}
- Python {python}, wsproto-core {own_version}; {versions}
- {rounds} of {seconds:g} seconds a measurement

A figure is the median of the rounds. `~` marks a figure that was measured while other processes used the
machine. In parentheses is the ratio to the limit: the same work without WebSocket on the same runtime.
`raw protocol` is an `asyncio.Protocol` that writes what it has received, `raw trio` and `raw threads` are the
same with a stream of trio and with a blocking socket.
"""

BUSY = """
**The machine was busy**: {share:.0%} of the figures were measured while other processes used it. Take them as
a first look.
"""

BASIC = ("pingpong-256", "inflight32-256", "connections100-256", "pingpong-100k")
ROUND_TRIPS = ("pingpong-256", "inflight32-256")

WITH_LIMIT = ("servers", "tls", "clients")
"""The parts whose workloads a program without WebSocket does, too."""

PLOTS: list[tuple[str, str, str, tuple[str, ...]]] = [
    ("servers", "Servers", "asyncio", BASIC),
    ("servers", "Servers", "uvloop", BASIC),
    ("servers", "Servers", "trio", ROUND_TRIPS),
    ("servers", "Servers", "threads", ROUND_TRIPS),
    ("tls", "Servers on TLS", "asyncio", ("tls-pingpong-256", "tls-pingpong-100k")),
    (
        "compressed",
        "Servers with compression",
        "asyncio",
        ("compressed-inflight32-256", "compressed-pingpong-100k"),
    ),
    ("clients", "Clients", "asyncio", (*ROUND_TRIPS, "receive-256", "send-256")),
    ("core", "Cores without I/O", "", ("decode-256", "decode-64k", "encode-256-server", "encode-256-client")),
]
"""Part, title, runtime, workloads."""


@dataclass(frozen=True)
class Chapter:
    """A chapter of tables.

    Attributes:
        part: of the records.
        title: the headline.
        unit: `us`, `kib` or `megabytes`.
        text: says what the figures are.
    """

    part: str
    title: str
    unit: str
    text: str


CHAPTERS = [
    Chapter(
        "servers",
        "Servers",
        "us",
        "CPU time of the server a message, in microseconds.",
    ),
    Chapter(
        "tls",
        "Servers on TLS",
        "us",
        "CPU time of the server a message, in microseconds. "
        "`+aiofastnet` marks peers on the transports of that package.",
    ),
    Chapter(
        "compressed",
        "Servers with compression",
        "us",
        "CPU time of the server a message, in microseconds, with permessage-deflate. "
        "This library uses zlib-ng where that is installed; `zlib` marks this library without it.",
    ),
    Chapter(
        "clients",
        "Clients",
        "us",
        "CPU time of the client a message, in microseconds.",
    ),
    Chapter(
        "handshakes",
        "Opening handshakes",
        "us",
        "CPU time of the server an opening handshake and the closing of the connection, in microseconds; "
        "and the rate, with 32 connections at a time.",
    ),
    Chapter(
        "memory",
        "Memory of an idle connection",
        "kib",
        "Growth of the server's resident memory, in KiB a connection.",
    ),
    Chapter(
        "core",
        "Cores without I/O",
        "us",
        "CPU time a message, in microseconds. `memcpy` copies the payload once, in C; "
        "the others make objects of Python, too.",
    ),
    Chapter("limits", "What memory and zlib allow", "megabytes", "Megabytes a second of CPU time, in C."),
]


def runtime_of(peer: str) -> str:
    """Return the runtime by which tables and plots are divided."""
    if "trio" in peer:
        return "trio"
    if "thread" in peer or peer in ("websocket-client", "wsproto"):
        return "threads"
    return peer.rpartition("/")[2] if "/" in peer else "C"


def write_report(records_path: Path, page: Path) -> None:
    records = [json.loads(line) for line in records_path.read_text().splitlines()]
    machine = [record for record in records if "machine" in record][-1]
    results = Results(record for record in records if "peer" in record)
    chapters = [
        introduction(machine, results.disturbed_share()),
        targets_chapter(results),
        *plots_chapter(results, page),
    ]
    for chapter in CHAPTERS:
        if results.workloads(chapter.part):
            chapters += [f"## {chapter.title}\n", f"{chapter.text}\n", *tables(results, chapter)]
    if results.errors:
        chapters += ["## Failures\n", *(f"- {describe_error(error)}" for error in results.errors)]
    page.write_text("\n".join(chapters).rstrip() + "\n", encoding="utf-8")


def introduction(machine: dict[str, Any], disturbed_share: float) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    rounds = machine["rounds"]
    shown = {
        **machine,
        "versions": versions,
        "command": "`make bench`" if rounds == 1 else "`make bench FULL=1`",
        "rounds": "One round" if rounds == 1 else f"{rounds} rounds",
    }
    busy = BUSY.format(share=disturbed_share) if disturbed_share > 0.2 else ""
    return INTRODUCTION.format(**shown) + busy


def describe_error(record: Record) -> str:
    text = " ".join(str(record["error"]).split())[-150:]
    return f"{record['peer']}, {record['workload']}: `{text}`"


# Targets


def targets_chapter(results: Results) -> str:
    outcomes = [found for target in targets() if (found := outcome(target, results)) is not None]
    met = sum(found.is_met for found in outcomes)
    rows = [target_row(found, results) for found in outcomes]
    head = ["this library", "workload", "compared with", "at most", "ratio", "the limit's", "met"]
    text = (
        f"## Targets\n\nThe cost of this library divided by that of another one, in this run: {met} of "
        f"{len(outcomes)} targets are met. The limit's ratio is what the same work costs without WebSocket, "
        "divided by the cost of the same other library: a target below it cannot be met.\n\n"
    )
    return text + markdown(head, rows)


def target_row(found: Outcome, results: Results) -> list[str]:
    target = found.target
    side = {"clients": "client, ", "core": "core, "}.get(target.part, "")
    other = f"{target.title} ({found.other})" if target.title else found.other or "KiB"
    figure = f"{found.figure:.3f}" if found.figure < 0.1 else f"{found.figure:.2f}"
    return [
        f"{side}{target.peer}",
        target.workload,
        other,
        f"{target.at_most:g}",
        figure,
        limit_ratio(found, results),
        "yes" if found.is_met else "**no**",
    ]


def limit_ratio(found: Outcome, results: Results) -> str:
    """Return the ratio that the raw program of the same runtime has; nothing if there is none."""
    target = found.target
    if target.part not in WITH_LIMIT:
        return ""
    limit = results.limit(target.part, target.peer, target.workload)
    if found.other == limit:
        return ""
    ratio = results.ratio(target.part, limit, found.other, target.workload)
    return "" if ratio is None else f"{ratio:.2f}"


# Plots


def plots_chapter(results: Results, page: Path) -> Iterator[str]:
    if importlib.util.find_spec("matplotlib") is None:
        return
    folder = page.with_suffix("")
    yield "## Plots\n"
    for part, title, runtime, workloads in PLOTS:
        peers = [peer for peer in results.peers(part) if not runtime or runtime_of(peer) == runtime]
        name = f"{part}-{runtime}.svg" if runtime else f"{part}.svg"
        full_title = f"{title} on {runtime}" if runtime else title
        if plot(results, part, peers, workloads, full_title, folder / name):
            yield f"![{full_title}]({folder.name}/{name})\n"


# Tables


def tables(results: Results, chapter: Chapter) -> Iterator[str]:
    """Yield a table for each runtime, and one for each group of workloads if they are many."""
    part = chapter.part
    if part == "handshakes":
        yield handshakes(results)
        return
    peers = results.peers(part)
    runtimes = list(dict.fromkeys(map(runtime_of, peers))) if part in ("servers", "clients", "tls") else [""]
    for runtime in runtimes:
        chosen = [peer for peer in peers if not runtime or runtime_of(peer) == runtime]
        if runtime:
            yield f"### {runtime}\n"
        for group in workload_groups(results, part, chosen):
            yield table(results, part, chosen, group, chapter.unit)


def handshakes(results: Results) -> str:
    rows = []
    for peer in results.peers("handshakes"):
        place = "handshakes", peer, "handshakes"
        rows.append([emphasized(peer), *(number(results.figure(*place, key)) for key in ("us", "rate"))])
    return markdown(["", "CPU time", "handshakes a second"], rows)


def emphasized(peer: str) -> str:
    """Return the name for a table; this library's is bold."""
    return f"**{peer}**" if peer.startswith(("adapters.", "wsproto_core")) else peer


WIDTH = 9
"""Workloads in a table."""


def workload_groups(results: Results, part: str, peers: Sequence[str]) -> Iterator[list[str]]:
    measured = [
        workload
        for workload in results.workloads(part)
        if any(results.records(part, peer, workload) for peer in peers if peer != COPY or part != "core")
    ]
    for start in range(0, len(measured), WIDTH):
        yield measured[start : start + WIDTH]


def table(results: Results, part: str, peers: Sequence[str], workloads: Sequence[str], unit: str) -> str:
    cell = cells(results, part, unit)
    rows = []
    for peer in peers:
        figures = [cell(peer, workload) for workload in workloads]
        if any(figures):
            rows.append([emphasized(peer), *figures])
    return markdown(["", *workloads], rows)


def cells(results: Results, part: str, unit: str) -> Callable[[str, str], str]:
    def cell(peer: str, workload: str) -> str:
        figure = results.figure(part, peer, workload, "bytes" if unit == "kib" else unit)
        if figure is None:
            return ""
        if unit == "kib":
            return f"{figure / 1024:.1f}"
        mark = "~" if results.is_disturbed(part, peer, workload) else ""
        ratio = of_limit(results, part, peer, workload) if part in WITH_LIMIT else ""
        return f"{mark}{number(figure)}" + (f" ({ratio})" if ratio and ratio != "1.00 x" else "")

    return cell
