"""Measurements: a peer and a workload in, a record out.

A record is a dictionary of JSON values. `peer`, `limit`, `workload` and `part` say what was measured; `us` is
the CPU time a message in microseconds, which is the primary figure; `error` says why there is no figure.
`others` is how much other processes of the machine worked meanwhile, in processors.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from .peers import PURE, ClientPeer, ServerPeer
from .processes import (
    CLIENT_CPU,
    HOST,
    LIMITS,
    SERVER_CPU,
    WSECHO,
    WSLOAD,
    Disturbance,
    Server,
    StartError,
    children_cpu_seconds,
    pinned,
    wait_until_quiet,
)
from .workloads import LOAD_MODES, SIZES, ClientWorkload, Workload

Record = dict[str, Any]

WARM_UP = 0.2
DISTURBED = 0.2
"""Processors that others use, from which on a measurement may be repeated."""
TIMEOUT = 90
IDLE_CONNECTIONS = 5000
HANDSHAKES_AT_ONCE = 32
COPY = "memcpy"
"""The limit of a core: to copy the payload once."""


def load(server: Server, workload: Workload, seconds: float, *flags: str) -> Record:
    """Run the load tool against a server."""
    numbers = [workload.connections, workload.size, workload.depth, seconds]
    command = [WSLOAD, HOST, str(server.port), "/", *map(str, numbers), "text" if workload.text else "binary"]
    command += ["--warm-up", str(WARM_UP), "--server", str(server.pid), *LOAD_MODES[workload.mode], *flags]
    command += ["--deflate"] * workload.compressed + ["--tls"] * workload.tls
    disturbance = Disturbance(server.cpu_seconds() + children_cpu_seconds())
    process = pinned(command, SERVER_CPU if workload.one_cpu else CLIENT_CPU)
    try:
        output, errors = process.communicate(timeout=seconds + TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return {"error": "the load tool did not end"}
    disturbance.end(server.cpu_seconds() + children_cpu_seconds())
    try:
        record: Record = json.loads(output)
    except ValueError:
        return {
            "error": (output + errors)[-200:].strip() or f"the load tool exited with {process.returncode}"
        }
    if "error" not in record:
        record["others"] = disturbance.processors
        if not record["messages"]:
            record["error"] = "there was no message in the measured time"
        elif not record["clean"]:
            record["error"] = f"not every message was answered: {server.log()}"
    return record


def undisturbed(measure: Callable[[], Record], attempts: int) -> Record:
    """Repeat a measurement while others disturb it; return the least disturbed one."""
    best = measure()
    for _ in range(attempts - 1):
        if "error" in best or best.get("others", 0) <= DISTURBED:
            break
        wait_until_quiet()
        again = measure()
        if "error" not in again and again["others"] < best["others"]:
            best = again
    return best


def described(peer: ServerPeer | ClientPeer, workload: str, part: str, record: Record) -> Record:
    return {"part": part, "peer": peer.name, "limit": peer.limit, "workload": workload, **record}


def flags_of(peer: ServerPeer) -> tuple[str, ...]:
    return ("--raw",) if peer.raw else ()


def compresses(peer: ServerPeer | ClientPeer) -> bool:
    return peer.compression and not peer.raw


def can_run(peer: ServerPeer, workload: Workload) -> bool:
    return (
        workload.mode in peer.modes
        and (compresses(peer) or not workload.compressed)
        and (peer.tls or not workload.tls)
    )


@contextlib.contextmanager
def started(peer: ServerPeer, mode: str, compressed: bool = False, tls: bool = False) -> Iterator[Server]:
    with Server(lambda port: peer.command(port, mode, compressed, tls), env=peer.variables) as server:
        yield server


def echo_server(raw: bool) -> Server:
    """Return the server for clients."""
    return Server(lambda port: [WSECHO, str(port), *(["--raw"] if raw else [])], CLIENT_CPU)


def measure_server(
    peer: ServerPeer, workloads: list[Workload], seconds: float, attempts: int
) -> Iterator[Record]:
    """Measure a server by several workloads; those that share the server's options share the process."""
    groups: dict[tuple[str, bool, bool], list[Workload]] = {}
    for workload in workloads:
        if can_run(peer, workload):
            groups.setdefault((workload.mode, workload.compressed, workload.tls), []).append(workload)
    for options, group in groups.items():
        try:
            with started(peer, *options) as server:
                for workload in group:
                    measure = partial(load, server, workload, seconds, *flags_of(peer))
                    record = undisturbed(measure, attempts)
                    yield described(peer, workload.name, workload.part, record)
        except StartError as error:
            for workload in group:
                yield described(peer, workload.name, workload.part, {"error": f"did not start: {error}"})


def measure_client(
    peer: ClientPeer, workloads: list[ClientWorkload], seconds: float, attempts: int
) -> Iterator[Record]:
    """Measure a client by several workloads, with the server ``wsecho``."""
    with echo_server(peer.raw) as server:
        for workload in workloads:
            if workload.mode not in peer.modes or (workload.compressed and not compresses(peer)):
                continue
            server.move_to(SERVER_CPU if workload.one_cpu else CLIENT_CPU)
            record = undisturbed(partial(run_client, peer, workload, server, seconds), attempts)
            yield described(peer, workload.name, "clients", record)


def run_client(peer: ClientPeer, workload: ClientWorkload, server: Server, seconds: float) -> Record:
    flags = ["--text", "--compressed"] if workload.compressed else []
    command = peer.command(server.port, workload.mode, workload.size, workload.depth, seconds, flags)
    disturbance = Disturbance(server.cpu_seconds() + children_cpu_seconds())
    process = pinned(command, SERVER_CPU, peer.variables)
    try:
        output, errors = process.communicate(timeout=seconds + TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return {"error": "the client did not end"}
    disturbance.end(server.cpu_seconds() + children_cpu_seconds())
    if process.returncode:
        return {"error": errors[-300:].strip()}
    record: Record = json.loads(output)
    return {"us": record["cpu_us"], "rate": record["rate"], "others": disturbance.processors}


def measure_handshakes(peer: ServerPeer, seconds: float, attempts: int) -> Record:
    """Measure the server's CPU time an opening handshake, with the closing of the connection."""
    workload = Workload("handshakes", connections=HANDSHAKES_AT_ONCE, size=1)
    try:
        with started(peer, "echo") as server:
            measure = partial(load, server, workload, seconds, "--handshakes")
            record = undisturbed(measure, attempts)
    except StartError as error:
        record = {"error": f"did not start: {error}"}
    return described(peer, workload.name, "handshakes", record)


def measure_memory(peer: ServerPeer, compressed: bool, connections: int = IDLE_CONNECTIONS) -> Record:
    """Measure how much the resident memory grows for each idle connection."""
    name = "idle connection, compression" if compressed else "idle connection"
    flags = flags_of(peer) + (("--deflate",) if compressed else ())
    try:
        with started(peer, "echo", compressed) as server:
            # Imports and caches are no memory of the connections.
            load(server, Workload("warm-up", connections=20), 0.2, *flags)
            time.sleep(0.3)
            before = server.resident()
            numbers = [connections, 1, 1, TIMEOUT]
            arguments = [HOST, str(server.port), "/", *map(str, numbers), "binary", "--idle"]
            process = pinned([WSLOAD, *arguments, *flags], CLIENT_CPU)
            assert process.stdout is not None
            line: Record = json.loads(process.stdout.readline() or '{"error": "no connections"}')
            time.sleep(1)
            after = server.resident()
            process.kill()
            process.communicate()
    except StartError as error:
        line = {"error": f"did not start: {error}"}
    if "error" in line:
        return described(peer, name, "memory", line)
    if compressed and not line["deflate"]:
        return described(peer, name, "memory", {"error": "compression was not negotiated"})
    return described(peer, name, "memory", {"bytes": (after - before) / connections})


def measure_core(peer: str, cases: list[str], seconds: float) -> Iterator[Record]:
    """Measure a protocol core without I/O, in a process of its own."""
    variables = PURE if peer.endswith(" pure") else None
    command = [sys.executable, "-m", "kit.core", peer, str(seconds), *cases]
    disturbance = Disturbance(children_cpu_seconds())
    process = pinned(command, SERVER_CPU, variables)
    output, errors = process.communicate()
    disturbance.end(children_cpu_seconds())
    for line in output.splitlines():
        yield {"part": "core", "limit": COPY, **json.loads(line), "others": disturbance.processors}
    if process.returncode:
        yield failed_core(peer, errors[-300:])


def failed_core(peer: str, error: str) -> Record:
    return {"part": "core", "peer": peer, "limit": COPY, "workload": "core", "error": error}


def measure_copy() -> Iterator[Record]:
    """Measure what memory and zlib allow; the copy of a message is the limit of decoding it."""
    if not Path(LIMITS).exists():
        yield failed_core(COPY, "not built: there is no header of zlib")
        return
    output, errors = pinned([LIMITS, *map(str, SIZES.values())], SERVER_CPU).communicate()
    if errors:
        yield failed_core(COPY, errors)
    for size, line in zip(SIZES, output.splitlines(), strict=False):
        rates: dict[str, float] = json.loads(line)
        message = rates.pop("size")
        for name, rate in rates.items():
            place = {"part": "limits", "peer": name, "limit": COPY, "workload": f"limits-{size}"}
            yield {**place, "us": message / rate, "megabytes": rate}
        cost = message / rates["memcpy"]
        for case in (f"decode-{size}", f"decode-{size}-ascii", f"decode-{size}-utf8"):
            place = {"part": "core", "peer": COPY, "limit": COPY, "workload": case}
            yield {**place, "us": cost, "rate": 1e6 / cost}
