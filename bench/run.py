#!/usr/bin/env python3
"""Compare WebSocket libraries: the command line. bench/README.md describes it.

python bench/run.py servers --peers asyncio,raw --workloads pingpong-256 --seconds 1
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TextIO, TypeVar

from kit import codecs, core
from kit.build import BuildError, build
from kit.machine import describe_machine
from kit.measure import (
    Record,
    compresses,
    measure_client,
    measure_copy,
    measure_core,
    measure_handshakes,
    measure_memory,
    measure_server,
)
from kit.peers import CLIENTS, SERVERS, ClientPeer, ServerPeer, check_words, choose, missing_modules
from kit.processes import larger_share
from kit.report import write_report
from kit.tables import print_results
from kit.verify import verify_client, verify_server
from kit.workloads import (
    CLIENT_WORKLOADS,
    WORKLOADS,
    ClientWorkload,
    Workload,
    check_workloads,
    choose_workloads,
)

PeerT = TypeVar("PeerT", ServerPeer, ClientPeer)


def words(text: str) -> list[str]:
    return [word for word in text.split(",") if word]


def choose_peers(arguments: argparse.Namespace, peers: dict[str, PeerT]) -> list[PeerT]:
    """Return the peers that the command line means and that can run here; print which others cannot."""
    chosen = []
    for name in choose(arguments.peers, {peer.name: peer.limit for peer in peers.values()}):
        missing = missing_modules(peers[name])
        if missing:
            print(f"{name}: not installed: {', '.join(missing)}", file=sys.stderr)
        else:
            chosen.append(peers[name])
    return chosen


def is_chosen(
    peer: ServerPeer | ClientPeer,
    workload: Workload | ClientWorkload,
    names: Sequence[str],
    arguments: argparse.Namespace,
) -> bool:
    """Whether a workload measures a peer: one that the command line names, or one of the run's list."""
    return workload.name in names if names else peer.is_measured_by(workload, arguments.full)


def measure_servers(arguments: argparse.Namespace) -> Iterator[Record]:
    names = choose_workloads(arguments.workloads, WORKLOADS)
    for peer in choose_peers(arguments, SERVERS):
        workloads = [
            workload for workload in WORKLOADS.values() if is_chosen(peer, workload, names, arguments)
        ]
        yield from measure_server(peer, workloads, arguments.seconds, arguments.attempts)


def measure_clients(arguments: argparse.Namespace) -> Iterator[Record]:
    names = choose_workloads(arguments.workloads, CLIENT_WORKLOADS)
    for peer in choose_peers(arguments, CLIENTS):
        workloads = [
            workload for workload in CLIENT_WORKLOADS.values() if is_chosen(peer, workload, names, arguments)
        ]
        yield from measure_client(peer, workloads, arguments.seconds, arguments.attempts)


def measures_connections(peer: ServerPeer, arguments: argparse.Namespace) -> bool:
    """Whether handshakes and memory are measured; those that the command line names always are."""
    return (
        peer.connections == "always"
        or (peer.connections == "full" and arguments.full)
        or (bool(arguments.peers) and not peer.raw)
    )


def measure_all_handshakes(arguments: argparse.Namespace) -> Iterator[Record]:
    for peer in choose_peers(arguments, SERVERS):
        if measures_connections(peer, arguments) and not peer.raw:
            yield measure_handshakes(peer, arguments.seconds, arguments.attempts)


def measure_all_memory(arguments: argparse.Namespace) -> Iterator[Record]:
    for peer in choose_peers(arguments, SERVERS):
        if measures_connections(peer, arguments):
            yield measure_memory(peer, compressed=False)
            if compresses(peer):
                yield measure_memory(peer, compressed=True)


def measure_cores(arguments: argparse.Namespace) -> Iterator[Record]:
    cases = core.all_cases() if arguments.full else core.SHORT_CASES
    if arguments.workloads:
        cases = choose_workloads(arguments.workloads, core.all_cases())
    if not arguments.peers or "raw" in arguments.peers:
        for record in measure_copy():
            if record["workload"] in cases or not arguments.workloads:
                yield record
    for peer in choose(arguments.peers, dict.fromkeys(codecs.CODECS, "")):
        if codecs.is_installed(peer):
            yield from measure_core(peer, cases, arguments.seconds)


MEASUREMENTS: dict[str, Callable[[argparse.Namespace], Iterator[Record]]] = {
    "servers": measure_servers,
    "clients": measure_clients,
    "handshakes": measure_all_handshakes,
    "memory": measure_all_memory,
    "core": measure_cores,
}


def measure_everything(arguments: argparse.Namespace) -> Iterator[Record]:
    for part, measure in MEASUREMENTS.items():
        print(f"{part} ...", file=sys.stderr, flush=True)
        yield from measure(arguments)


def verify(arguments: argparse.Namespace) -> int:
    """Check that peers do what they are to do, print what they do wrong, and return how many do."""
    failed = 0
    servers = [("server", peer.name, verify_server(peer)) for peer in choose_peers(arguments, SERVERS)]
    clients = [("client", peer.name, verify_client(peer)) for peer in choose_peers(arguments, CLIENTS)]
    for side, name, faults in servers + clients:
        found = list(faults)
        failed += bool(found)
        print(f"{side} {name}: {'; '.join(found) or 'ok'}", flush=True)
    return failed


def write(records: Iterable[Record], output: TextIO, round_number: int) -> list[Record]:
    """Write records to a file, a line each, as soon as there are any; return them."""
    written = []
    for record in records:
        record["round"] = round_number
        print(json.dumps(record), file=output, flush=True)
        written.append(record)
        if "error" in record:
            print(f"{record['peer']}, {record['workload']}: {record['error']}", file=sys.stderr)
    return written


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", choices=[*MEASUREMENTS, "all", "verify", "report"])
    parser.add_argument("--peers", type=words, default=[], help="names, patterns, or asyncio, trio, raw, ...")
    parser.add_argument("--workloads", type=words, default=[], help="names or patterns")
    parser.add_argument("--full", action="store_true", help="all workloads, not the short list")
    parser.add_argument("--seconds", type=float, default=1, help="of one measurement (1)")
    parser.add_argument("--rounds", type=int, default=1, help="each round visits each peer once (1)")
    parser.add_argument(
        "--attempts", type=int, default=1, help="to measure again while others use the machine (1)"
    )
    parser.add_argument("--output", type=Path, help="append the records to this file; report reads it")
    parser.add_argument(
        "--page", type=Path, help="the page that report writes; plots go into a folder beside it"
    )
    parsed = parser.parse_args(arguments)
    try:
        check_words(parsed.peers)
        check_workloads(parsed.workloads, [*WORKLOADS, *CLIENT_WORKLOADS, *core.all_cases()])
    except ValueError as error:
        parser.error(str(error))
    if parsed.part == "report" and (parsed.output is None or parsed.page is None):
        parser.error("report needs --output and --page")
    return parsed


def main(command_line: Sequence[str] | None = None) -> int:
    arguments = parse_arguments(command_line)
    if arguments.part == "report":
        write_report(arguments.output, arguments.page)
        return 0
    try:
        build()
    except BuildError as error:
        print(error, file=sys.stderr)
        return 1
    if arguments.part == "verify":
        return int(verify(arguments) > 0)
    measure = MEASUREMENTS.get(arguments.part, measure_everything)
    output = arguments.output or Path("/dev/null")
    output.parent.mkdir(parents=True, exist_ok=True)
    records: list[Record] = []
    with output.open("a") as file, larger_share():
        print(json.dumps(describe_machine(arguments.seconds, arguments.rounds)), file=file, flush=True)
        for number in range(arguments.rounds):
            records += write(measure(arguments), file, number)
    if arguments.part == "all":
        # The report has the results, and what has failed.
        return 0
    print_results(records)
    return int(any("error" in record for record in records))


if __name__ == "__main__":
    # So that servers are stopped.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    sys.exit(main())
