"""The peers: how each server and each client is started, and what it can do.

A name is ``LIBRARY/LOOP`` for libraries on asyncio, and ``LIBRARY`` for the others. This library's names
begin with ``adapters.``. Each peer names its limit: a program that sends the same bytes back in the same way,
without WebSocket, and that its ratios refer to.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch

from .codecs import CODECS
from .processes import BENCH, ROOT, WSECHO
from .workloads import ClientWorkload, Workload

LOOPS = ("asyncio", "uvloop")
PURE = {"WSPROTO_CORE_PURE": "1"}
"""The environment in which this library uses no compiled code."""

WITHOUT_ZLIB_NG = {"PYTHONPATH": os.pathsep.join(map(str, (BENCH / "without_zlib_ng", ROOT, BENCH)))}
"""The environment in which this library compresses with zlib."""

FULL_MODES = frozenset(("echo", "sink", "flood"))
BROADCAST_MODES = FULL_MODES | {"broadcast"}
ECHO = frozenset(("echo",))
CLIENT_MODES = frozenset(("echo", "recv", "send"))

# Patterns of workloads.
EVERYTHING = ("*",)
PLAIN = ("pingpong-*", "inflight32-*", "connections100-*", "receive-*", "send-*", "tls-*")
BASIC = ("pingpong-256", "inflight32-256", "connections100-256", "pingpong-100k")
ROUND_TRIPS = ("pingpong-256", "inflight32-256")
MINOR = (
    *BASIC,
    "receive-256",
    "send-256",
    "compressed-inflight32-256",
    "compressed-pingpong-100k",
    "echo-ws-*",
)
BASIC_CLIENT = ("pingpong-256", "inflight32-256", "pingpong-100k", "receive-256", "send-256")


class Selection:
    """Which workloads measure a peer if the command line names none.

    Attributes:
        short: patterns of workloads in a short run.
        full: patterns of workloads in a full run.
    """

    short: tuple[str, ...]
    full: tuple[str, ...]

    def is_measured_by(self, workload: Workload | ClientWorkload, full: bool) -> bool:
        patterns = self.full if full else self.short
        return (full or workload.main) and any(fnmatch(workload.name, pattern) for pattern in patterns)


@dataclass(frozen=True)
class ServerPeer(Selection):
    """A server.

    Attributes:
        name: the peer's name.
        limit: the name of the limit that its ratios refer to.
        module: the program, in the package ``servers``.
        arguments: more arguments of the program.
        modes: what the program can do.
        raw: no WebSocket, but a stream of bytes.
        compression: it can negotiate permessage-deflate.
        tls: it can serve on TLS.
        requires: modules that must be installed.
        variables: more environment variables.
        command_line: what is run instead of a Python program.
        connections: its handshakes and the memory of its idle connections are measured: `always`, in a `full`
            run, or `never`.
    """

    name: str
    limit: str
    module: str = ""
    arguments: tuple[str, ...] = ()
    modes: frozenset[str] = FULL_MODES
    raw: bool = False
    compression: bool = True
    tls: bool = False
    requires: tuple[str, ...] = ()
    variables: dict[str, str] = field(default_factory=dict)
    command_line: tuple[str, ...] = ()
    connections: str = "never"
    short: tuple[str, ...] = EVERYTHING
    full: tuple[str, ...] = EVERYTHING

    def command(self, port: int, mode: str, compressed: bool = False, tls: bool = False) -> list[str]:
        if self.command_line:
            return [self.command_line[0], str(port), *self.command_line[1:]]
        command = [sys.executable, "-m", f"servers.{self.module}", str(port), "--mode", mode, *self.arguments]
        return command + ["--compressed"] * compressed + ["--tls"] * tls


@dataclass(frozen=True)
class ClientPeer(Selection):
    """A client; the attributes are those of :class:`ServerPeer`."""

    name: str
    limit: str
    module: str
    arguments: tuple[str, ...] = ()
    modes: frozenset[str] = CLIENT_MODES
    raw: bool = False
    compression: bool = True
    requires: tuple[str, ...] = ()
    variables: dict[str, str] = field(default_factory=dict)
    short: tuple[str, ...] = BASIC_CLIENT
    full: tuple[str, ...] = EVERYTHING

    def command(
        self, port: int, mode: str, size: int, depth: int, seconds: float, flags: Sequence[str] = ()
    ) -> list[str]:
        numbers = [str(port), mode, str(size), str(depth), str(seconds)]
        return [sys.executable, "-m", f"clients.{self.module}", *numbers, *self.arguments, *flags]


def on_loop(loop: str) -> tuple[str, ...]:
    return ("--loop", loop)


def needs(loop: str, *modules: str) -> tuple[str, ...]:
    return modules + (("uvloop",) if loop == "uvloop" else ())


def asyncio_servers(loop: str) -> Iterator[ServerPeer]:
    on = on_loop(loop)
    limit = f"raw protocol/{loop}"
    uvloop = needs(loop)
    modes = BROADCAST_MODES
    connections = "always" if loop == "asyncio" else "full"
    short = EVERYTHING if loop == "asyncio" else PLAIN
    yield ServerPeer(
        limit, limit, "raw_asyncio", on, modes, raw=True, tls=True, requires=uvloop, short=short,
        connections=connections,
    )  # fmt: skip
    for kind in ("buffered", "awaited"):
        yield ServerPeer(
            f"raw {kind}/{loop}", limit, "raw_asyncio", (*on, "--kind", kind), ECHO, raw=True,
            requires=uvloop, short=(), full=BASIC,
        )  # fmt: skip
    yield ServerPeer(
        f"adapters.asyncio/{loop}", limit, "own_asyncio", on, modes, tls=True, requires=uvloop, short=short,
        connections=connections,
    )  # fmt: skip
    yield ServerPeer(
        f"adapters.asyncio callback/{loop}", limit, "own_asyncio", (*on, "--callback"), ECHO, requires=uvloop,
        short=ROUND_TRIPS,
    )  # fmt: skip
    yield ServerPeer(
        f"adapters.asyncio pure/{loop}", limit, "own_asyncio", on, modes, variables=PURE, requires=uvloop,
        short=("inflight32-256",), connections="full",
    )  # fmt: skip
    yield ServerPeer(
        f"adapters.asyncio zlib/{loop}", limit, "own_asyncio", on, ECHO, variables=WITHOUT_ZLIB_NG,
        requires=needs(loop, "zlib_ng"), short=("compressed-*",) if loop == "asyncio" else (),
        full=("compressed-*",),
    )  # fmt: skip
    yield ServerPeer(
        f"adapters.anyio/{loop}", limit, "own_anyio", on, requires=needs(loop, "anyio"), short=ROUND_TRIPS,
        connections="full",
    )  # fmt: skip
    yield ServerPeer(
        f"picows core/{loop}", limit, "picows_core", on, modes, compression=False, tls=True,
        requires=needs(loop, "picows"), short=short, connections=connections,
    )  # fmt: skip
    for name, module, package in (
        ("picows.websockets", "picows_websockets", "picows"),
        ("aiohttp", "aiohttp_server", "aiohttp"),
        ("websockets", "websockets_asyncio", "websockets"),
    ):
        yield ServerPeer(
            f"{name}/{loop}", limit, module, on, modes, tls=True, requires=needs(loop, package), short=short,
            connections=connections,
        )  # fmt: skip
    yield ServerPeer(
        f"tornado/{loop}", limit, "tornado_server", on, requires=needs(loop, "tornado"), short=(), full=MINOR,
        connections="full",
    )  # fmt: skip
    for implementation, package in (
        ("adapters.asgi", "wsproto_core"), ("websockets-sansio", "websockets"), ("wsproto", "wsproto"),
    ):  # fmt: skip
        yield ServerPeer(
            f"uvicorn {implementation}/{loop}", limit, "uvicorn_server",
            (*on, "--implementation", implementation), requires=needs(loop, "uvicorn", package), short=(),
            full=MINOR, connections="full",
        )  # fmt: skip
    yield from aiofastnet_servers(loop)


def aiofastnet_servers(loop: str) -> Iterator[ServerPeer]:
    """Yield some of the same servers on the transports of aiofastnet."""
    arguments = (*on_loop(loop), "--transport", "aiofastnet")
    limit = f"raw protocol+aiofastnet/{loop}"
    for name, module, package, raw, compression in (
        ("raw protocol", "raw_asyncio", "aiofastnet", True, True),
        ("adapters.asyncio", "own_asyncio", "aiofastnet", False, True),
        ("picows core", "picows_core", "picows", False, False),
        ("picows.websockets", "picows_websockets", "picows", False, True),
        ("aiohttp", "aiohttp_server", "aiohttp", False, True),
        ("websockets", "websockets_asyncio", "websockets", False, True),
    ):
        yield ServerPeer(
            f"{name}+aiofastnet/{loop}", limit, module, arguments, raw=raw, compression=compression, tls=True,
            requires=needs(loop, "aiofastnet", package), short=("tls-*",), full=(*BASIC, "send-256", "tls-*"),
        )  # fmt: skip


def servers() -> Iterator[ServerPeer]:
    for loop in LOOPS:
        yield from asyncio_servers(loop)
    trio, needs_trio = "raw trio", ("trio",)
    yield ServerPeer(trio, trio, "raw_trio", (), ECHO, raw=True, requires=needs_trio, short=BASIC)
    yield ServerPeer("adapters.trio", trio, "own_trio", requires=needs_trio, short=BASIC, connections="full")
    yield ServerPeer(
        "adapters.anyio/trio", trio, "own_anyio", ("--backend", "trio"), requires=("anyio", "trio"),
        short=ROUND_TRIPS, connections="full",
    )  # fmt: skip
    yield ServerPeer(
        "websockets trio", trio, "websockets_trio", requires=("trio", "websockets"), short=BASIC,
        connections="full",
    )  # fmt: skip
    yield ServerPeer(
        "trio-websocket", trio, "trio_websocket_server", compression=False, requires=("trio_websocket",),
        short=BASIC, full=MINOR, connections="full",
    )  # fmt: skip
    threads = "raw threads"
    threaded = (*BASIC, "inflight32-*", "pingpong-*", "receive-*", "send-*", "compressed-*")
    yield ServerPeer(threads, threads, "raw_threads", (), ECHO, raw=True, short=BASIC, full=threaded)
    yield ServerPeer("adapters.threading", threads, "own_threading", short=BASIC, full=threaded)
    yield ServerPeer(
        "websockets threading", threads, "websockets_threading", requires=("websockets",), short=BASIC,
        full=threaded,
    )  # fmt: skip
    # What C does with the same work of the kernel: one read and one write for each batch of frames.
    c = "C raw echo"
    yield ServerPeer(c, c, modes=ECHO, raw=True, command_line=(WSECHO, "--raw"), short=())
    yield ServerPeer("C wsecho", c, modes=ECHO, compression=False, command_line=(WSECHO,), short=())


def clients() -> Iterator[ClientPeer]:
    for loop in LOOPS:
        on = on_loop(loop)
        limit = f"raw protocol/{loop}"
        short = EVERYTHING if loop == "asyncio" else BASIC_CLIENT
        yield ClientPeer(limit, limit, "raw_asyncio", on, ECHO, raw=True, requires=needs(loop), short=short)
        yield ClientPeer(
            f"adapters.asyncio/{loop}", limit, "own_asyncio", on, requires=needs(loop), short=short
        )
        yield ClientPeer(
            f"adapters.asyncio callback/{loop}", limit, "own_callback", on, frozenset(("echo", "recv")),
            requires=needs(loop), short=("pingpong-256", "inflight32-256", "receive-256"),
        )  # fmt: skip
        yield ClientPeer(
            f"adapters.anyio/{loop}", limit, "own_anyio", on, requires=needs(loop, "anyio"), short=short
        )
        yield ClientPeer(
            f"picows core/{loop}",
            limit,
            "picows_core",
            on,
            compression=False,
            requires=needs(loop, "picows"),
            short=short,
        )
        yield ClientPeer(
            f"picows.websockets/{loop}",
            limit,
            "picows_websockets",
            on,
            requires=needs(loop, "picows"),
            short=short,
        )
        yield ClientPeer(
            f"aiohttp/{loop}", limit, "aiohttp_client", on, requires=needs(loop, "aiohttp"), short=short
        )
        yield ClientPeer(
            f"websockets/{loop}",
            limit,
            "websockets_asyncio",
            on,
            requires=needs(loop, "websockets"),
            short=short,
        )
        yield ClientPeer(
            f"websocket-rs/{loop}", limit, "websocket_rs_asyncio", on, compression=False,
            requires=needs(loop, "websocket_rs"), short=short,
        )  # fmt: skip
    trio = "raw trio"
    yield ClientPeer(trio, trio, "raw_trio", modes=ECHO, raw=True, requires=("trio",))
    yield ClientPeer("adapters.trio", trio, "own_trio", requires=("trio",))
    yield ClientPeer("websockets trio", trio, "websockets_trio", requires=("trio", "websockets"))
    yield ClientPeer(
        "trio-websocket", trio, "trio_websocket_client", compression=False, requires=("trio_websocket",)
    )
    threads = "raw threads"
    yield ClientPeer(threads, threads, "raw_threads", modes=ECHO, raw=True)
    yield ClientPeer("adapters.threading", threads, "own_threading")
    yield ClientPeer("websockets threading", threads, "websockets_threading", requires=("websockets",))
    yield ClientPeer(
        "websocket-client", threads, "websocket_client", compression=False, requires=("websocket",)
    )
    yield ClientPeer("wsproto", threads, "wsproto_socket", requires=("wsproto",))
    yield ClientPeer(
        "websocket-rs threading", threads, "websocket_rs_threading", compression=False,
        requires=("websocket_rs",),
    )  # fmt: skip


SERVERS = {peer.name: peer for peer in servers()}
CLIENTS = {peer.name: peer for peer in clients()}

SHORT_NAMES = {
    "asyncio": "adapters.asyncio/asyncio",
    "uvloop": "adapters.asyncio/uvloop",
    "callback": "adapters.asyncio callback/asyncio",
    "pure": "adapters.asyncio pure/asyncio",
    "trio": "adapters.trio",
    "threading": "adapters.threading",
    "anyio": "adapters.anyio/asyncio",
    "anyio-trio": "adapters.anyio/trio",
}
"""Names of this library's peers for the command line; `raw` is the limit of every other peer named."""


def missing_modules(peer: ServerPeer | ClientPeer) -> list[str]:
    return [module for module in peer.requires if importlib.util.find_spec(module) is None]


def choose(words: Sequence[str], limits: Mapping[str, str]) -> list[str]:
    """Return the names of the peers that the words of a command line mean, in the order of the table.

    Args:
        words: short names, names, patterns like ``picows*``, and `raw`; no words mean all peers.
        limits: by name of a peer, the name of its limit.
    """
    if not words:
        return list(limits)
    patterns = [SHORT_NAMES.get(word, word) for word in words]
    chosen = {name for name in limits if any(fnmatch(name, pattern) for pattern in patterns)}
    if "raw" in words:
        chosen |= {limits[name] for name in chosen} or {name for name in limits if name.startswith("raw")}
    return [name for name in limits if name in chosen]


def check_words(words: Sequence[str]) -> None:
    """Check the words of a command line.

    Raises:
        ValueError: a word means no peer.
    """
    names = list(dict.fromkeys([*SERVERS, *CLIENTS, *CODECS]))
    for word in words:
        if word != "raw" and not any(fnmatch(name, SHORT_NAMES.get(word, word)) for name in names):
            raise ValueError(f"no peer {word!r}; there are: {', '.join([*SHORT_NAMES, *names])}")
