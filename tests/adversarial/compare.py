"""Play the cases against the servers of `bench/`, and write docs/adversarial.md.

    .venv-bench/bin/python -m tests.adversarial.compare [--page PAGE] [PEER ...]

It runs in the environment of the benchmarks, which has the other libraries. Each server has the same limit on
a message as this library's default, and else its own defaults. Only servers are attacked.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from .cases import LIMIT, SERVER, Case
from .driver import attack_server
from .rows import ROOT, ROWS, Row
from .targets import Memory

sys.path.insert(0, str(ROOT / "bench"))

from kit.peers import SERVERS
from kit.processes import Server, StartError

PEERS = {
    "this library, asyncio": "adapters.asyncio/asyncio",
    "trio": "adapters.trio",
    "threads": "adapters.threading",
    "websockets": "websockets/asyncio",
    "websockets threading": "websockets threading",
    "aiohttp": "aiohttp/asyncio",
    "picows.websockets": "picows.websockets/asyncio",
    "tornado": "tornado/asyncio",
    "uvicorn websockets": "uvicorn websockets-sansio/asyncio",
    "uvicorn wsproto": "uvicorn wsproto/asyncio",
    "trio-websocket": "trio-websocket",
}
"""By heading of a column, the peer of the benchmarks."""

PACKAGES = ("websockets", "aiohttp", "picows", "tornado", "uvicorn", "wsproto", "trio-websocket")

MEMORY = 2**23
"""Bytes that every server may grow by in a case that is about memory, at least."""

HEAD = """# Hostile input

What servers do with hostile input: one driver, which shares no code with any library, plays the same cases
against each of them over a socket. `make adversarial` writes this page. The cases are also tests of every
adapter of this library, as server and as client (`tests/adversarial`).

A cell says how many cases were right, of those that apply. A case about compression does not apply where none
is negotiated. All servers have a limit of 1 MiB on a message, and otherwise their own defaults. A case is
wrong too if the process grows by more than 8 MiB where the row is about memory. For some cases a standard
leaves a choice, most of all in HTTP; what each server did is below the table.

"""


def play(case: Case, server: Server) -> str:
    """Play a case; return what was wrong, a hyphen if it does not apply, or nothing."""
    memory = Memory(server.pid)
    memory.start()
    try:
        observed = attack_server(case, server.port, deadline=case.patience)
    except OSError as error:
        return f"cannot be connected to: {error}"
    extensions = observed.headers.get("sec-websocket-extensions", "")
    if case.offer and observed.status == 101 and "permessage-deflate" not in extensions:
        return "-"
    fault = case.expect.fault(observed)
    if not fault and case.memory is not None:
        growth = memory.growth()
        if growth > max(case.memory, MEMORY):
            return f"the process grows by {growth >> 20} MiB"
    return fault


def play_all(name: str) -> dict[str, str]:
    """Play all cases against a peer; a server that has died is started again."""
    peer = SERVERS[name]
    found: dict[str, str] = {}
    with contextlib.ExitStack() as stack:

        def start() -> Server:
            def command(port: int) -> list[str]:
                limit = ["--max-size", str(LIMIT)]
                return [*peer.command(port, "echo", compressed=peer.compression), *limit]

            return stack.enter_context(Server(command, env=peer.variables))

        server = start()
        for row in ROWS:
            for case in row.cases:
                if SERVER in case.sides and case.peers:
                    try:
                        found[repr(case)] = play(case, server)
                    except (LookupError, OSError):
                        found[repr(case)] = "the process ends"
                        server = start()
    return found


def cell(row: Row, found: dict[str, str]) -> str:
    played = [found[repr(case)] for case in row.cases if repr(case) in found]
    applicable = [fault for fault in played if fault != "-"]
    if not applicable:
        return "n/a"
    right = applicable.count("")
    return f"{right}" if right == len(applicable) else f"**{right} of {len(applicable)}**"


def page(results: dict[str, dict[str, str]]) -> str:
    versions = []
    for package in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            versions.append(f"{package} {version(package)}")
    lines = [f"Versions: {', '.join(versions)}; Python {sys.version.split()[0]}.", ""]
    lines += [f"| | row | must get | {' | '.join(results)} |", f"|---|---|---|{'---|' * len(results)}"]
    others = []
    for row in ROWS:
        cells = [cell(row, found) for found in results.values()]
        if set(cells) == {"n/a"}:
            others.append(row)
        else:
            lines.append(f"| {row.key} | {row.title} | {row.answer} | {' | '.join(cells)} |")
    lines += ["", "## What was wrong", ""]
    for heading, found in results.items():
        wrong = [f"{name}: {fault}" for name, fault in found.items() if fault not in ("", "-")]
        lines += [f"**{heading}**: {'; '.join(wrong) or 'nothing'}.", ""]
    lines += ["## Rows that bytes from a client cannot show", ""]
    lines += [
        "They are about clients, or about what a program does. The tests of this library that hold them:",
        "",
    ]
    for row in others:
        tests = (
            ", ".join(f"`{pattern}`" for pattern in row.tests)
            or "`tests/adversarial/test_attacks.py::test_client`"
        )
        lines.append(f"- {row.key}, {row.title}: {row.answer}. {tests}")
    return HEAD + "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--page", type=Path)
    parser.add_argument("peers", nargs="*", help="headings of columns")
    arguments = parser.parse_args()
    chosen = {heading: name for heading, name in PEERS.items() if heading in (arguments.peers or PEERS)}
    results: dict[str, dict[str, str]] = {}
    with ThreadPoolExecutor(len(chosen)) as pool:
        playing = {heading: pool.submit(play_all, name) for heading, name in chosen.items()}
        for heading, future in playing.items():
            try:
                results[heading] = future.result()
            except StartError as error:
                sys.exit(f"{heading}: {error}")
    text = page(results)
    if arguments.page is None:
        print(text)
    else:
        arguments.page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
