"""Run all cases with all servers and clients, of this library and of others, and write docs/conformance.md.

    make conformance

Results are kept in ``build/conformance.jsonl``, a line for each subject and part, and what is there is not
run again: this program can be stopped and started. ``--messages N`` limits the messages of a case on
permessage-deflate; the page says so. Names of subjects, or patterns, choose some of them.

It runs in the environment of the benchmarks, which has the other libraries; the servers are those of
``bench/servers``. The runners run in the environment of the tests.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import datetime
import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from kit.peers import SERVERS
from kit.processes import Server, environment

from . import report
from .deflate_cases import choose
from .verdicts import INFORMATIONAL, OK, Verdict, dump, is_late, load

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "build" / "conformance.jsonl"
PAGE = ROOT / "docs" / "conformance.md"
RUNNER = ROOT / ".venv" / "bin" / "python"

OWN = (
    "adapters.asyncio/asyncio",
    "adapters.asyncio/uvloop",
    "adapters.asyncio pure/asyncio",
    "adapters.trio",
    "adapters.threading",
    "adapters.anyio/asyncio",
    "adapters.anyio/trio",
)

OTHERS = {
    "server": (
        "websockets/asyncio",
        "aiohttp/asyncio",
        "picows.websockets/asyncio",
        "uvicorn wsproto/asyncio",
        "tornado/asyncio",
    ),
    "client": ("websockets/asyncio", "aiohttp/asyncio", "picows.websockets/asyncio", "wsproto"),
}

PARTS = {"1-10": "autobahn", "12": "deflate", "13": "deflate", "14": "deflate"}
"""Sections that run at once, and their runner."""

COUNTS = {"1-10": 301, **{part: len(choose([f"{part}.*"])) for part in ("12", "13", "14")}}
"""Cases in each part."""

ATTEMPTS = 3
"""How often a case is run that ends by a deadline of the runner itself: a busy machine may be too slow."""

AT_ONCE = 8
"""Cases of Autobahn that a client runs at the same time: in some of them the runner waits for a second."""

WITHOUT_LIMIT = {"WEBSOCKETS_MAX_FRAGMENTS": str(2**30)}
"""The only way to lift the limit that websockets has on the fragments of a message; others have an option."""

PATIENCE = 4 * 3600
"""Seconds for a part."""


@dataclass(frozen=True)
class Unit:
    """A part of the cases, with one side of one subject."""

    side: str
    subject: str
    part: str

    @property
    def variables(self) -> dict[str, str]:
        """More environment variables; those of a client are those of the server of the same name."""
        variables = SERVERS[self.subject].variables if self.subject in SERVERS else {}
        return {**variables, **WITHOUT_LIMIT}


def units() -> Iterator[Unit]:
    # By part, so that a run that is stopped has told the same of all subjects.
    for part in PARTS:
        for side, others in OTHERS.items():
            for subject in (*OWN, *others):
                yield Unit(side, subject, part)


def run(unit: Unit, messages: int | None) -> dict[str, Verdict]:
    """Run a part; what was late is run again.

    Raises:
        RuntimeError: cases are missing.
    """
    runner = PARTS[unit.part]
    options = ["--messages", str(messages)] if messages and runner == "deflate" else []
    attempt = try_server if unit.side == "server" else try_client
    verdicts = attempt(unit, [runner, *options], [] if runner == "autobahn" else [f"{unit.part}.*"])
    for _ in range(ATTEMPTS - 1):
        late = [case for case, verdict in verdicts.items() if is_late(case, verdict)]
        if late:
            verdicts |= attempt(unit, [runner, *options], late)
    if len(verdicts) != COUNTS[unit.part]:
        raise RuntimeError(f"{len(verdicts)} cases were run, instead of {COUNTS[unit.part]}")
    return verdicts


def command(runner: Sequence[str], *arguments: str) -> list[str]:
    module, *options = runner
    return [str(RUNNER), "-m", f"tests.conformance.{module}", *options, *arguments]


def try_server(unit: Unit, runner: Sequence[str], cases: Sequence[str]) -> dict[str, Verdict]:
    peer = SERVERS[unit.subject]
    with Server(lambda port: peer.command(port, "echo", peer.compression), env=unit.variables) as server:
        os.sched_setaffinity(server.pid, os.sched_getaffinity(0))
        done = subprocess.run(
            command(runner, "client", f"ws://127.0.0.1:{server.port}/", *cases),
            cwd=ROOT, stdout=subprocess.PIPE, text=True, timeout=PATIENCE, check=True,
        )  # fmt: skip
    return load(done.stdout)


def try_client(unit: Unit, runner: Sequence[str], cases: Sequence[str]) -> dict[str, Verdict]:
    at_once = AT_ONCE if runner[0] == "autobahn" else 1
    process = subprocess.Popen(command(runner, "server", *cases), cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        uri = process.stdout.readline().strip()
        client = [sys.executable, "-m", "tests.conformance.clients", unit.subject, uri]
        subprocess.run(
            [*client, "--at-once", str(at_once)],
            cwd=ROOT,
            env=environment(unit.variables),
            stderr=subprocess.DEVNULL,
            timeout=PATIENCE,
            check=True,
        )
        return load(process.communicate(timeout=60)[0])
    finally:
        process.kill()
        process.wait()


# Results


class Results:
    """What is known, in a file with a line for each unit.

    Attributes:
        verdicts: of each unit.
    """

    def __init__(self, path: Path, messages: int | None) -> None:
        self.verdicts: dict[Unit, dict[str, Verdict]] = {}
        self._path = path
        self._messages = messages
        self._lock = threading.Lock()
        if path.exists():
            for record in map(json.loads, path.read_text().splitlines()):
                unit = Unit(*record["unit"])
                if record["messages"] == self._messages_of(unit):
                    self.verdicts[unit] = load(json.dumps(record["verdicts"]))

    def _messages_of(self, unit: Unit) -> int | None:
        return self._messages if PARTS[unit.part] == "deflate" else None

    def add(self, unit: Unit, verdicts: dict[str, Verdict]) -> None:
        record = {
            "unit": [unit.side, unit.subject, unit.part],
            "messages": self._messages_of(unit),
            "verdicts": json.loads(dump(verdicts)),
        }
        with self._lock:
            self.verdicts[unit] = verdicts
            self._path.parent.mkdir(exist_ok=True)
            with self._path.open("a") as file:
                print(json.dumps(record), file=file)

    def of(self, side: str) -> dict[str, dict[str, Verdict]]:
        """The verdicts by subject: those of this library first."""
        merged: dict[str, dict[str, Verdict]] = {}
        for subject in (*OWN, *OTHERS[side]):
            for part in PARTS:
                merged.setdefault(subject, {}).update(self.verdicts.get(Unit(side, subject, part), {}))
        return {subject: verdicts for subject, verdicts in merged.items() if verdicts}


def run_and_keep(unit: Unit, messages: int | None, results: Results) -> None:
    started = time.monotonic()
    verdicts = run(unit, messages)
    results.add(unit, verdicts)
    counts = Counter(verdict.outcome for verdict in verdicts.values())
    told = ", ".join(f"{count} {outcome}" for outcome, count in counts.items())
    print(f"{unit.side} {unit.subject}, {unit.part}: {told} ({time.monotonic() - started:.0f} s)", flush=True)


def version_of(package: str) -> str:
    """The version of a package in the environment of the runners."""
    program = f"import importlib.metadata as m; print(m.version({package!r}))"
    return subprocess.run(
        [str(RUNNER), "-c", program], stdout=subprocess.PIPE, text=True, check=True
    ).stdout.strip()


def is_perfect(results: Results) -> bool:
    """Whether nothing that this library has done is worse than informational."""
    return all(
        verdict.outcome in (OK, INFORMATIONAL)
        for unit, verdicts in results.verdicts.items()
        for verdict in verdicts.values()
        if unit.subject in OWN
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--messages", type=int, help="limits the messages of a case on permessage-deflate")
    parser.add_argument(
        "--jobs", type=int, default=len(os.sched_getaffinity(0)), help="parts at the same time"
    )
    parser.add_argument("subjects", nargs="*", help="names, or patterns; none means all")
    arguments = parser.parse_args()
    results = Results(RESULTS, arguments.messages)
    patterns = arguments.subjects or ["*"]
    wanted = [
        unit
        for unit in units()
        if unit not in results.verdicts and any(fnmatch(unit.subject, pattern) for pattern in patterns)
    ]
    failed = False
    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as executor:
        running = {executor.submit(run_and_keep, unit, arguments.messages, results): unit for unit in wanted}
        for future in concurrent.futures.as_completed(running):
            if (error := future.exception()) is not None:
                failed = True
                unit = running[future]
                print(f"{unit.side} {unit.subject}, {unit.part}: {error!r}", flush=True)
    PAGE.write_text(
        report.page(
            {side: results.of(side) for side in OTHERS},
            own=OWN,
            messages=arguments.messages,
            date=datetime.date.today().isoformat(),
            runner=f"kosoku {version_of('kosoku')}",
        )
    )
    if failed or not is_perfect(results):
        sys.exit("not all is well: see above, and docs/conformance.md")


if __name__ == "__main__":
    main()
