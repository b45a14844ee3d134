"""The peers: how each server and each client is started, and what it can do.

A name is ``LIBRARY/LOOP`` for libraries on asyncio, and ``LIBRARY`` for the others. This library's names
begin with ``adapters.``. Each peer names its limit: a program that sends the same bytes back in the same way,
without WebSocket, and that its ratios refer to.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch

from .processes import WSECHO

LOOPS = ("asyncio", "uvloop")
PURE = {"WSPROTO_CORE_PURE": "1"}
"""The environment in which this library uses no compiled code."""

FULL_MODES = frozenset(("echo", "sink", "flood"))
BROADCAST_MODES = FULL_MODES | {"broadcast"}
ECHO = frozenset(("echo",))


@dataclass(frozen=True)
class ServerPeer:
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
        main: it is measured by all workloads, not by a few.
        requires: modules that must be installed.
        variables: more environment variables.
        command_line: what is run instead of a Python program.
        memory: its memory is measured.
    """

    name: str
    limit: str
    module: str = ""
    arguments: tuple[str, ...] = ()
    modes: frozenset[str] = FULL_MODES
    raw: bool = False
    compression: bool = True
    tls: bool = False
    main: bool = True
    requires: tuple[str, ...] = ()
    variables: dict[str, str] = field(default_factory=dict)
    command_line: tuple[str, ...] = ()
    memory: bool = True

    def command(self, port: int, mode: str, compressed: bool = False, tls: bool = False) -> list[str]:
        if self.command_line:
            return [self.command_line[0], str(port), *self.command_line[1:]]
        command = [sys.executable, "-m", f"servers.{self.module}", str(port), "--mode", mode, *self.arguments]
        return command + ["--compressed"] * compressed + ["--tls"] * tls


@dataclass(frozen=True)
class ClientPeer:
    """A client; the attributes are those of :class:`ServerPeer`."""

    name: str
    limit: str
    module: str
    arguments: tuple[str, ...] = ()
    raw: bool = False
    compression: bool = True
    requires: tuple[str, ...] = ()
    variables: dict[str, str] = field(default_factory=dict)

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
    fast = (*on, "--transport", "aiofastnet")
    uvloop = needs(loop)
    everything = BROADCAST_MODES
    yield ServerPeer(limit, limit, "raw_asyncio", on, everything, raw=True, tls=True, requires=uvloop)
    for kind in ("buffered", "awaited"):
        yield ServerPeer(
            f"raw {kind}/{loop}", limit, "raw_asyncio", (*on, "--kind", kind), ECHO, raw=True, main=False,
            requires=uvloop,
        )  # fmt: skip
    yield ServerPeer(
        f"adapters.asyncio/{loop}", limit, "own_asyncio", on, everything, tls=True, requires=uvloop
    )
    yield ServerPeer(
        f"adapters.asyncio callback/{loop}", limit, "own_asyncio", (*on, "--callback"), ECHO, requires=uvloop
    )
    yield ServerPeer(
        f"adapters.asyncio pure/{loop}", limit, "own_asyncio", on, everything, variables=PURE, requires=uvloop
    )
    yield ServerPeer(f"adapters.anyio/{loop}", limit, "own_anyio", on, requires=needs(loop, "anyio"))
    yield ServerPeer(
        f"picows core/{loop}", limit, "picows_core", on, everything, compression=False, tls=True,
        requires=needs(loop, "picows"),
    )  # fmt: skip
    for name, module, package in (
        ("picows.websockets", "picows_websockets", "picows"),
        ("aiohttp", "aiohttp_server", "aiohttp"),
        ("websockets", "websockets_asyncio", "websockets"),
    ):
        yield ServerPeer(
            f"{name}/{loop}", limit, module, on, everything, tls=True, requires=needs(loop, package)
        )
    yield ServerPeer(
        f"tornado/{loop}", limit, "tornado_server", on, main=False, requires=needs(loop, "tornado")
    )
    for implementation, package in (("websockets-sansio", "websockets"), ("wsproto", "wsproto")):
        yield ServerPeer(
            f"uvicorn {implementation}/{loop}", limit, "uvicorn_server",
            (*on, "--implementation", implementation), main=False, requires=needs(loop, "uvicorn", package),
        )  # fmt: skip
    # The same libraries on the transports of aiofastnet.
    fast_limit = f"raw protocol+aiofastnet/{loop}"
    for name, module, package, raw, compression in (
        ("raw protocol", "raw_asyncio", "aiofastnet", True, True),
        ("adapters.asyncio", "own_asyncio", "aiofastnet", False, True),
        ("picows core", "picows_core", "picows", False, False),
        ("picows.websockets", "picows_websockets", "picows", False, True),
        ("aiohttp", "aiohttp_server", "aiohttp", False, True),
    ):
        yield ServerPeer(
            f"{name}+aiofastnet/{loop}", fast_limit, module, fast, raw=raw, compression=compression, tls=True,
            main=False, requires=needs(loop, "aiofastnet", package), memory=False,
        )  # fmt: skip


def servers() -> Iterator[ServerPeer]:
    for loop in LOOPS:
        yield from asyncio_servers(loop)
    trio = "raw trio"
    needs_trio = ("trio",)
    yield ServerPeer(trio, trio, "raw_trio", (), ECHO, raw=True, requires=needs_trio)
    yield ServerPeer("adapters.trio", trio, "own_trio", requires=needs_trio)
    yield ServerPeer(
        "adapters.anyio/trio", trio, "own_anyio", ("--backend", "trio"), requires=("anyio", "trio")
    )
    yield ServerPeer("websockets trio", trio, "websockets_trio", requires=("trio", "websockets"))
    yield ServerPeer(
        "trio-websocket", trio, "trio_websocket_server", compression=False, requires=("trio_websocket",)
    )
    threads = "raw threads"
    yield ServerPeer(threads, threads, "raw_threads", (), ECHO, raw=True, memory=False)
    yield ServerPeer("adapters.threading", threads, "own_threading", memory=False)
    yield ServerPeer(
        "websockets threading", threads, "websockets_threading", requires=("websockets",), memory=False
    )
    # What C does with the same work of the kernel: one read and one write for each batch of frames.
    c = "C raw echo"
    yield ServerPeer(c, c, modes=ECHO, raw=True, command_line=(WSECHO, "--raw"))
    yield ServerPeer("C wsecho", c, modes=ECHO, compression=False, command_line=(WSECHO,))


def clients() -> Iterator[ClientPeer]:
    for loop in LOOPS:
        on = on_loop(loop)
        limit = f"raw protocol/{loop}"
        yield ClientPeer(limit, limit, "raw_asyncio", on, raw=True, requires=needs(loop))
        yield ClientPeer(f"adapters.asyncio/{loop}", limit, "own_asyncio", on, requires=needs(loop))
        yield ClientPeer(f"adapters.anyio/{loop}", limit, "own_anyio", on, requires=needs(loop, "anyio"))
        yield ClientPeer(
            f"picows core/{loop}", limit, "picows_core", on, compression=False, requires=needs(loop, "picows")
        )
        yield ClientPeer(
            f"picows.websockets/{loop}", limit, "picows_websockets", on, requires=needs(loop, "picows")
        )
        yield ClientPeer(f"aiohttp/{loop}", limit, "aiohttp_client", on, requires=needs(loop, "aiohttp"))
        yield ClientPeer(
            f"websockets/{loop}", limit, "websockets_asyncio", on, requires=needs(loop, "websockets")
        )
        yield ClientPeer(
            f"websocket-rs/{loop}", limit, "websocket_rs_asyncio", on, compression=False,
            requires=needs(loop, "websocket_rs"),
        )  # fmt: skip
    trio = "raw trio"
    yield ClientPeer(trio, trio, "raw_trio", raw=True, requires=("trio",))
    yield ClientPeer("adapters.trio", trio, "own_trio", requires=("trio",))
    yield ClientPeer("websockets trio", trio, "websockets_trio", requires=("trio", "websockets"))
    yield ClientPeer(
        "trio-websocket", trio, "trio_websocket_client", compression=False, requires=("trio_websocket",)
    )
    threads = "raw threads"
    yield ClientPeer(threads, threads, "raw_threads", raw=True)
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


def choose(names: Sequence[str], peers: Iterable[ServerPeer] | Iterable[ClientPeer]) -> list[str]:
    """Return the names of the peers that the words of a command line mean, in the order of the table.

    Args:
        names: short names, names, patterns like ``picows*``, and `raw`; no words mean all peers.
        peers: all peers.

    Raises:
        ValueError: a word means no peer.
    """
    limits = {peer.name: peer.limit for peer in peers}
    if not names:
        return list(limits)
    chosen: set[str] = set()
    for word in names:
        if word == "raw":
            continue
        pattern = SHORT_NAMES.get(word, word)
        found = {name for name in limits if fnmatch(name, pattern)}
        if not found:
            raise ValueError(f"no peer {word!r}; there are: {', '.join([*SHORT_NAMES, *limits])}")
        chosen |= found
    if "raw" in names:
        chosen |= {limits[name] for name in chosen} or {name for name in limits if name.startswith("raw")}
    return [name for name in limits if name in chosen]
