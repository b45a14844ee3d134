"""The targets: how much this library may cost at most, beside other libraries and the limit, in one run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .measure import COPY
from .tables import Results

KIB = 1024


@dataclass(frozen=True)
class Target:
    """A target.

    Attributes:
        part: of the records.
        workload: of the records.
        peer: this library's.
        others: what it is compared with. Of several, it is the cheapest one.
        at_most: the ratio of the CPU time a message, or KiB if there is nothing to compare with.
        title: says what the others are, if it is not their name.
    """

    part: str
    workload: str
    peer: str
    others: tuple[str, ...]
    at_most: float
    title: str = ""


@dataclass(frozen=True)
class Outcome:
    """What a run says about a target.

    Attributes:
        target: the target.
        other: what it was compared with.
        figure: the ratio, or KiB.
    """

    target: Target
    other: str
    figure: float

    @property
    def is_met(self) -> bool:
        return self.figure <= self.target.at_most


def rivals(loop: str, transport: str = "", core: bool = True) -> tuple[str, ...]:
    names = ("picows core", "picows.websockets", "aiohttp", "websockets")
    return tuple(f"{name}{transport}/{loop}" for name in names if core or name != "picows core")


def asyncio_targets(loop: str) -> Iterator[Target]:
    own, raw = f"adapters.asyncio/{loop}", f"raw protocol/{loop}"
    picows, picows_api = f"picows core/{loop}", f"picows.websockets/{loop}"
    aiohttp, websockets = f"aiohttp/{loop}", f"websockets/{loop}"
    best = rivals(loop)

    def server(
        workload: str, *limits: tuple[str | tuple[str, ...], float], peer: str = own
    ) -> Iterator[Target]:
        part = "tls" if workload.startswith("tls-") else "servers"
        part = "compressed" if workload.startswith("compressed-") else part
        for others, at_most in limits:
            if isinstance(others, str):
                yield Target(part, workload, peer, (others,), at_most)
            else:
                yield Target(part, workload, peer, others, at_most, "the best peer")

    yield from server(
        "pingpong-256", (raw, 1.15), (picows_api, 0.55 if loop == "asyncio" else 0.75), (aiohttp, 0.60),
        (websockets, 0.25),
    )  # fmt: skip
    for workload in ("inflight32-256", "inflight32-256-text"):
        yield from server(workload, (raw, 1.15), (picows, 0.50), (picows_api, 0.33), (websockets, 0.10))
    for workload in ("pingpong-256", "inflight32-256"):
        yield from server(
            workload, (f"uvicorn websockets-sansio/{loop}", 0.50), (f"uvicorn wsproto/{loop}", 0.35),
            peer=f"uvicorn adapters.asgi/{loop}",
        )  # fmt: skip
    yield from server("connections100-256", (picows_api, 0.65), (websockets, 0.25))
    yield from server("inflight32-8k", (best, 0.50))
    yield from server("pingpong-100k", (raw, 1.4), (best, 0.60))
    yield from server("pingpong-1m", (raw, 1.0), (best, 0.60))
    for workload in ("tls-pingpong-256", "tls-pingpong-100k"):
        yield from server(workload, (best, 0.75))
        fast = rivals(loop, "+aiofastnet")
        yield from server(workload, (fast, 0.75), peer=f"adapters.asyncio+aiofastnet/{loop}")
    yield from server("receive-256", (picows, 0.30), (websockets, 0.03))
    yield from server("send-256", (best, 0.50))
    callback = f"adapters.asyncio callback/{loop}"
    yield from server("pingpong-256", (picows, 0.90), peer=callback)
    yield from server("inflight32-256", (picows, 0.45), peer=callback)
    yield from server("compressed-inflight32-256", (best, 0.75))
    yield from server("compressed-pingpong-100k", (best, 0.80), peer=f"adapters.asyncio zlib/{loop}")
    yield from server("compressed-pingpong-100k", (best, 0.50))
    yield Target("handshakes", "handshakes", own, (websockets,), 0.50)
    yield Target("handshakes", "handshakes", own, (picows,), 1.0)
    for workload in ("pingpong-256", "inflight32-256"):
        yield Target("servers", workload, f"adapters.anyio/{loop}", (own,), 1.3)


def server_targets() -> Iterator[Target]:
    for loop in ("asyncio", "uvloop"):
        yield from asyncio_targets(loop)
    yield Target("servers", "pingpong-256", "adapters.threading", ("raw threads",), 1.6)
    yield Target("servers", "pingpong-256", "adapters.threading", ("websockets threading",), 0.25)
    yield Target("servers", "inflight32-256", "adapters.threading", ("websockets threading",), 0.15)
    yield Target("servers", "pingpong-256", "adapters.trio", ("raw trio",), 1.15)
    yield Target("servers", "pingpong-256", "adapters.trio", ("websockets trio",), 0.25)
    yield Target("servers", "inflight32-256", "adapters.trio", ("websockets trio",), 0.06)
    for workload in ("pingpong-256", "inflight32-256"):
        yield Target("servers", workload, "adapters.anyio/trio", ("adapters.trio",), 1.3)
    yield Target("servers", "inflight32-256", "adapters.asyncio pure/asyncio", ("websockets/asyncio",), 0.25)


CLIENT_TARGETS = (
    "pingpong-256",
    "inflight32-256",
    "inflight32-8k",
    "pingpong-100k",
    "pingpong-1m",
    "receive-256",
    "send-256",
)


def client_targets() -> Iterator[Target]:
    """Yield the targets of clients: beside the best peer's client of the same style."""
    rivals_of = {
        f"adapters.asyncio/{loop}": (*rivals(loop, core=False), f"websocket-rs/{loop}")
        for loop in ("asyncio", "uvloop")
    }
    rivals_of["adapters.trio"] = ("websockets trio", "trio-websocket")
    rivals_of["adapters.threading"] = ("websockets threading", "websocket-client", "websocket-rs threading")
    for loop in ("asyncio", "uvloop"):
        for workload in ("pingpong-256", "inflight32-256", "receive-256"):
            callback = f"adapters.asyncio callback/{loop}"
            yield Target("clients", workload, callback, (f"picows core/{loop}",), 0.80)
    for own, others in rivals_of.items():
        for workload in CLIENT_TARGETS:
            yield Target("clients", workload, own, others, 0.80, "the best peer")


def core_targets() -> Iterator[Target]:
    own, pure = "wsproto_core", "wsproto_core pure"
    best = ("websockets", "wsproto", "aiohttp", "picows")
    for other, at_most in (("websockets", 0.02), ("wsproto", 0.006), ("aiohttp", 0.12), ("picows", 0.12)):
        yield Target("core", "decode-256", own, (other,), at_most)
    for workload in ("decode-4k", "decode-64k"):
        yield Target("core", workload, own, ("aiohttp",), 0.5)
    for other, at_most in (("websockets", 0.60), ("wsproto", 0.20)):
        yield Target("core", "decode-256", pure, (other,), at_most)
    for workload in ("encode-256-server", "encode-256-client"):
        yield Target("core", workload, own, best, 1.0, "the best peer")
    # Half the rate of memcpy.
    yield Target("core", "decode-1m-ascii", own, (COPY,), 2.0)
    for workload in ("decode-1m-ascii", "decode-1m-utf8"):
        yield Target("core", workload, own, best, 1.0, "the best peer")


def targets() -> Iterator[Target]:
    yield from server_targets()
    yield from client_targets()
    yield from core_targets()
    for workload in ("idle connection", "idle connection, compression"):
        yield Target("memory", workload, "adapters.asyncio/asyncio", (), 6)


def outcome(target: Target, results: Results) -> Outcome | None:
    """Return what the results say about a target; ``None`` if it was not measured."""
    if not target.others:
        size = results.figure(target.part, target.peer, target.workload, "bytes")
        return None if size is None else Outcome(target, "", size / KIB)
    costs = {other: results.figure(target.part, other, target.workload) for other in target.others}
    measured = {other: cost for other, cost in costs.items() if cost is not None}
    if not measured:
        return None
    other = min(measured, key=lambda other: measured[other])
    ratio = results.ratio(target.part, target.peer, other, target.workload)
    return None if ratio is None else Outcome(target, other, ratio)
