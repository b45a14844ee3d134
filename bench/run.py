#!/usr/bin/env python3
"""Compare WebSocket libraries: the command line. bench/README.md describes it.

python bench/run.py servers --peers asyncio,raw --workloads pingpong-256 --seconds 1
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TextIO, TypeVar

from kit.build import BuildError, build
from kit.measure import Record, measure_client, measure_handshakes, measure_memory, measure_server
from kit.peers import CLIENTS, SERVERS, ClientPeer, ServerPeer, choose, missing_modules
from kit.processes import larger_share
from kit.tables import print_results
from kit.workloads import CLIENT_WORKLOADS, WORKLOADS, choose_workloads

PeerT = TypeVar("PeerT", ServerPeer, ClientPeer)


def words(text: str) -> list[str]:
    return [word for word in text.split(",") if word]


def choose_peers(arguments: argparse.Namespace, peers: dict[str, PeerT]) -> list[PeerT]:
    """Return the peers that the command line means and that can run here; print which others cannot."""
    chosen = []
    for name in choose(arguments.peers, peers.values()):
        missing = missing_modules(peers[name])
        if missing:
            print(f"{name}: not installed: {', '.join(missing)}", file=sys.stderr)
        else:
            chosen.append(peers[name])
    return chosen


def measure_servers(arguments: argparse.Namespace) -> Iterator[Record]:
    default = [name for name, workload in WORKLOADS.items() if workload.part == "servers" and workload.main]
    names = choose_workloads(arguments.workloads, list(WORKLOADS)) if arguments.workloads else default
    workloads = [WORKLOADS[name] for name in names]
    for peer in choose_peers(arguments, SERVERS):
        yield from measure_server(peer, workloads, arguments.seconds, arguments.attempts)


def measure_clients(arguments: argparse.Namespace) -> Iterator[Record]:
    default = [name for name, workload in CLIENT_WORKLOADS.items() if workload.main]
    names = choose_workloads(arguments.workloads, list(CLIENT_WORKLOADS)) if arguments.workloads else default
    workloads = [CLIENT_WORKLOADS[name] for name in names]
    for peer in choose_peers(arguments, CLIENTS):
        yield from measure_client(peer, workloads, arguments.seconds, arguments.attempts)


def measure_all_handshakes(arguments: argparse.Namespace) -> Iterator[Record]:
    for peer in choose_peers(arguments, SERVERS):
        if not peer.raw:
            yield measure_handshakes(peer, arguments.seconds, arguments.attempts)


def measure_all_memory(arguments: argparse.Namespace) -> Iterator[Record]:
    for peer in choose_peers(arguments, SERVERS):
        if peer.memory:
            yield measure_memory(peer, compressed=False)
            if peer.compression and not peer.raw:
                yield measure_memory(peer, compressed=True)


MEASUREMENTS: dict[str, Callable[[argparse.Namespace], Iterator[Record]]] = {
    "servers": measure_servers,
    "clients": measure_clients,
    "handshakes": measure_all_handshakes,
    "memory": measure_all_memory,
}


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
    parser.add_argument("part", choices=list(MEASUREMENTS))
    parser.add_argument("--peers", type=words, default=[], help="names, patterns, or asyncio, trio, raw, ...")
    parser.add_argument("--workloads", type=words, default=[], help="names or patterns")
    parser.add_argument("--seconds", type=float, default=1, help="of one measurement (1)")
    parser.add_argument("--rounds", type=int, default=1, help="each round visits each peer once (1)")
    parser.add_argument(
        "--attempts", type=int, default=1, help="to measure again while others use the machine (1)"
    )
    parser.add_argument("--output", type=Path, help="append the records to this file")
    return parser.parse_args(arguments)


def main(command_line: Sequence[str] | None = None) -> int:
    arguments = parse_arguments(command_line)
    try:
        build()
    except BuildError as error:
        print(error, file=sys.stderr)
        return 1
    output = arguments.output or Path("/dev/null")
    records: list[Record] = []
    with output.open("a") as file, larger_share():
        for number in range(arguments.rounds):
            records += write(MEASUREMENTS[arguments.part](arguments), file, number)
    print_results(records)
    return int(any("error" in record for record in records))


if __name__ == "__main__":
    sys.exit(main())
