"""The workloads: what the load tool does to a server, and what a client program does."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch

KIB = 1024
SIZES = {"16": 16, "256": 256, "4k": 4 * KIB, "64k": 64 * KIB, "1m": 1024 * KIB}
"""Sizes of the full matrix, in bytes."""

MOST_IN_FLIGHT = 2**28
MOST_COMPRESSED = 2**25
"""Bytes in flight at most, in the full matrix."""


@dataclass(frozen=True)
class Workload:
    """What is done to a server.

    Attributes:
        name: as the command line and the reports have it.
        mode: what the server does: `echo`, `sink`, `flood`, `broadcast`.
        connections: how many.
        size: bytes of a message.
        depth: messages in flight on a connection.
        text: text messages, not binary ones.
        one_cpu: client and server share a processor. On two, a round trip of one message is the time to wake
            a processor that sleeps, which hides the library.
        compressed: permessage-deflate is negotiated, and the client's messages are compressed.
        tls: on TLS.
        part: the chapter of the report.
        main: it is one of the few that are not left out of a short run.
    """

    name: str
    mode: str = "echo"
    connections: int = 1
    size: int = 256
    depth: int = 1
    text: bool = False
    one_cpu: bool = False
    compressed: bool = False
    tls: bool = False
    part: str = "servers"
    main: bool = True


LOAD_MODES = {
    "echo": (),
    "sink": ("--receive-only",),
    "flood": ("--send-only",),
    "broadcast": ("--broadcast",),
}
"""By the server's mode, the options of wsload."""


def workloads() -> Iterator[Workload]:
    yield Workload("pingpong-256", one_cpu=True)
    yield Workload("inflight32-256", depth=32)
    yield Workload("inflight32-256-text", depth=32, text=True)
    yield Workload("connections100-256", connections=100)
    yield Workload("inflight32-8k", depth=32, size=8 * KIB)
    yield Workload("pingpong-100k", size=100 * KIB, one_cpu=True)
    yield Workload("pingpong-1m", size=KIB * KIB, one_cpu=True)
    yield Workload("receive-256", "sink")
    yield Workload("send-256", "flood")
    yield Workload("broadcast100-256", "broadcast", connections=100)
    for name, size, depth in (
        ("pingpong-256", 256, 1),
        ("inflight32-256", 256, 32),
        ("pingpong-100k", 100 * KIB, 1),
    ):
        yield Workload(f"tls-{name}", size=size, depth=depth, one_cpu=depth == 1, tls=True, part="tls")
    compressed = {"text": True, "compressed": True, "part": "compressed"}
    yield Workload("compressed-inflight32-256", depth=32, **compressed)  # type: ignore[arg-type]
    yield Workload("compressed-pingpong-100k", size=100 * KIB, one_cpu=True, **compressed)  # type: ignore[arg-type]
    # The profile echo-ws of HttpArena.
    yield Workload("echo-ws-512", connections=512, size=5, text=True)
    yield Workload("echo-ws-4096", connections=4096, size=5, text=True, main=False)
    # The full matrix.
    for name, size in SIZES.items():
        for compression in (False, True):
            prefix = "compressed-" if compression else ""
            for connections, depth in ((1, 1), (1, 32), (100, 1), (100, 32)):
                # Not what the short list has, nor what takes seconds for each round trip.
                in_flight = size * connections * depth
                if in_flight > (MOST_COMPRESSED if compression else MOST_IN_FLIGHT):
                    continue
                if name == "256" and connections * depth in (1, 32):
                    continue
                yield Workload(
                    f"{prefix}matrix-{name}-c{connections}-d{depth}",
                    connections=connections,
                    size=size,
                    depth=depth,
                    text=compression,
                    one_cpu=connections * depth == 1,
                    compressed=compression,
                    part="compressed" if compression else "servers",
                    main=False,
                )


@dataclass(frozen=True)
class ClientWorkload:
    """What a client program does; the attributes are those of :class:`Workload`."""

    name: str
    mode: str = "echo"
    size: int = 256
    depth: int = 1
    one_cpu: bool = False
    compressed: bool = False
    main: bool = True


def client_workloads() -> Iterator[ClientWorkload]:
    yield ClientWorkload("pingpong-256", one_cpu=True)
    yield ClientWorkload("inflight32-256", depth=32)
    yield ClientWorkload("inflight32-8k", depth=32, size=8 * KIB)
    yield ClientWorkload("pingpong-100k", size=100 * KIB, one_cpu=True)
    yield ClientWorkload("pingpong-1m", size=KIB * KIB, one_cpu=True)
    yield ClientWorkload("receive-256", "recv")
    yield ClientWorkload("send-256", "send")
    yield ClientWorkload("compressed-inflight32-256", depth=32, compressed=True)
    for name, size in SIZES.items():
        if name != "256":
            yield ClientWorkload(f"matrix-{name}-d1", size=size, one_cpu=True, main=False)
            yield ClientWorkload(f"matrix-{name}-d32", size=size, depth=32, main=False)


WORKLOADS = {workload.name: workload for workload in workloads()}
CLIENT_WORKLOADS = {workload.name: workload for workload in client_workloads()}


def choose_workloads(words: Sequence[str], names: Iterable[str]) -> list[str]:
    """Return the names that the words of a command line, names or patterns, mean."""
    return [name for name in names if any(fnmatch(name, word) for word in words)]


def check_workloads(words: Sequence[str], names: Iterable[str]) -> None:
    """Check the words of a command line.

    Raises:
        ValueError: a word means no workload.
    """
    known = list(dict.fromkeys(names))
    for word in words:
        if not choose_workloads([word], known):
            raise ValueError(f"no workload {word!r}; there are: {', '.join(known)}")
