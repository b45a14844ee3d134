"""Checks that peers do their work: echo byte for byte, count, flood, broadcast; on TLS; compressed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from .measure import compresses, echo_server, flags_of, load, run_client, started
from .peers import ClientPeer, ServerPeer
from .processes import SERVER_CPU, StartError
from .workloads import ClientWorkload, Workload

SECONDS = 0.05

ECHOES = [
    Workload("one small message", size=16),
    Workload("messages in flight", connections=3, depth=32),
    Workload("large messages", connections=2, size=100_000, depth=3),
    Workload("1 MiB", size=2**20, depth=2),
]
OTHERS = {
    "sink": Workload("count messages", "sink"),
    "flood": Workload("flood", "flood"),
    "broadcast": Workload("broadcast", "broadcast", connections=5),
}
CLIENT_SIZES = (16, 100_000)


def server_runs(peer: ServerPeer) -> Iterator[tuple[str, bool, bool]]:
    """Yield the modes of a server, with and without compression, and TLS."""
    for mode in sorted(peer.modes):
        yield mode, False, False
    if compresses(peer):
        yield "echo", True, False
    if peer.tls:
        yield "echo", False, True


def verify_server(peer: ServerPeer) -> Iterator[str]:
    """Yield what a server does wrong."""
    for mode, compressed, tls in server_runs(peer):
        try:
            with started(peer, mode, compressed, tls) as server:
                for workload in ECHOES if mode == "echo" else [OTHERS[mode]]:
                    for text in (False, True):
                        tried = replace(workload, text=text, compressed=compressed, tls=tls)
                        record = load(server, tried, SECONDS, "--verify", *flags_of(peer))
                        if compressed and not record.get("deflate"):
                            record.setdefault("error", "compression was not negotiated")
                        if "error" in record:
                            yield f"{describe(tried)}: {record['error']}"
        except StartError as error:
            yield f"{mode}: did not start: {error}"


def describe(workload: Workload) -> str:
    words = [workload.name, "text" if workload.text else "binary"]
    words += ["compressed"] * workload.compressed + ["TLS"] * workload.tls
    return ", ".join(words)


def verify_client(peer: ClientPeer) -> Iterator[str]:
    """Yield what a client does wrong; clients check sizes and counts themselves."""
    with echo_server(peer.raw) as server:
        server.move_to(SERVER_CPU)
        for mode in sorted(peer.modes):
            for size in CLIENT_SIZES:
                for compressed in (False, True) if mode == "echo" and compresses(peer) else (False,):
                    workload = ClientWorkload(mode, mode, size, depth=4, compressed=compressed)
                    record = run_client(peer, workload, server, SECONDS)
                    if "error" in record:
                        yield f"{mode}, {size} bytes, compressed: {compressed}: {record['error']}"
