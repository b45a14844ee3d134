"""The benchmarks run, with little to do, and print their tables."""

from __future__ import annotations

import json
import math
import os
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
BENCH = ROOT / "bench"
TIMEOUT = 500
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")

LITTLE = {
    "bomb": ["128"],
    "broadcast": ["100", "2"],
    "calls": [],
    "compression_settings": ["3", "no compression", "the defaults"],
    "fairness": ["1024"],
    "flat_memory": [
        "--time",
        "3",
        "--connections",
        "20",
        "--ping-interval",
        "0.3",
        "--limit",
        "1e9",
        "--served",
        "0.01",
    ],
    "growth": [],
    "idle_connections": ["3", "256"],
    "idle_objects": [],
    "opening_calls": [],
    "structured_round_trip": ["10", "1"],
    "threading_round_trip": ["10"],
    "topics": ["--subscribers", "1,20", "--processes", "2", "--seconds", "0.1", "--backplanes", "memory"],
}
"""By script, its arguments."""

LIMITED = ("calls", "fairness", "flat_memory", "growth", "opening_calls")
"""Those that measure each adapter and have limits."""

ADAPTERS = ("asyncio", "uvloop", "trio", "threading", "anyio-asyncio", "anyio-trio")

thorough = pytest.mark.thorough

MARKDOWN = ("bomb", "broadcast", "compression_settings", "idle_connections", "idle_objects")
LONG = ("bomb", "compression_settings", "idle_connections", "structured_round_trip")
"""Those that print tables for the documentation."""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is measured by means of Linux")


def if_long(name: str) -> Any:
    return pytest.param(name, marks=thorough) if name in LONG else name


def test_all_are_tried_and_run_by_make() -> None:
    scripts = {path.stem for path in BENCH.glob("*.py") if "__main__" in path.read_text(encoding="utf-8")}
    scripts.remove("run")
    assert scripts == set(LITTLE)
    assert set(re.findall(r"python bench/(\w+)\.py", MAKEFILE)) == {*scripts, "run"}


def run(name: str, *options: str, more: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *options, BENCH / f"{name}.py", *LITTLE[name], *more],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


@pytest.mark.parametrize("name", list(map(if_long, MARKDOWN)))
def test_benchmark_for_the_documentation(name: str) -> None:
    done = run(name, "-W", "error")
    assert (done.returncode, done.stderr) == (0, "")
    table = [line for line in done.stdout.splitlines() if line.startswith("|")]
    assert len(table) > 2
    # Every row has a figure, and as many cells as the head.
    assert len({line.count("|") for line in table}) == 1
    assert all(re.search(r"\d", line) for line in table if not line.startswith(("|--", table[0])))


@pytest.mark.parametrize("name", list(map(if_long, sorted(set(LITTLE) - {*MARKDOWN, *LIMITED, "topics"}))))
def test_benchmark(name: str) -> None:
    done = run(name)
    assert done.returncode == 0, done.stderr
    assert len(re.findall(r"\d\.\d", done.stdout)) > 2


@thorough
@pytest.mark.parametrize("adapter", ADAPTERS)
def test_others_get_their_turn(adapter: str) -> None:
    done = run("fairness", more=[adapter])
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(f"\n| {adapter} ") >= 5


@pytest.mark.parametrize("name", ["calls", "opening_calls"])
@pytest.mark.parametrize("adapter", ADAPTERS)
def test_calls(adapter: str, name: str) -> None:
    done = run(name, more=[adapter])
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(rf"^\| {adapter} \| \d+ \| \d+ \|$", done.stdout, re.MULTILINE)


@thorough
@pytest.mark.parametrize("adapter", ADAPTERS)
def test_memory_is_watched(adapter: str) -> None:
    done = run("flat_memory", "-W", "error", more=["--adapter", adapter])
    assert (done.returncode, done.stderr) == (0, "")
    figure = r"-?[\d,]+"
    row = rf"{figure} to {figure} \| {figure} ± (?:{figure}|inf) \| 1,000,000,000 \|"
    for process in ("idle, server", "idle, clients", "load, server", "load, clients"):
        assert len(re.findall(rf"^\| [\d.]+ \| {process} \|", done.stdout, re.MULTILINE)) > 10
        assert re.search(rf"^\| {process} \| {row}", done.stdout, re.MULTILINE)


@pytest.mark.parametrize(
    "place", ["core", "asyncio", *(pytest.param(name, marks=thorough) for name in ADAPTERS[1:])]
)
def test_work_is_in_proportion(place: str) -> None:
    done = run("growth", more=[f"{place}: "])
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(f"\n| {place}: ") >= 3


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (
            "import bomb; bomb.LIMIT = 1000; bomb.main(128 * 2**20)",
            r"the peak rose by [\d.]+ times max_size",
        ),
        (
            "import calls; calls.LIMITS['trio'] = (11, 3); calls.main(['trio'], False)",
            r"more calls than the limit: trio: \d+; trio, 32 at once: \d+",
        ),
        (
            "import opening_calls; opening_calls.LIMITS['trio'] = 9; opening_calls.main(['trio'], False)",
            r"more calls than the limit: trio: \d+",
        ),
        (
            "import idle_objects; idle_objects.LIMITS['with compression'] = 1; idle_objects.main(50)",
            r"more memory than the limit: .*with compression: [\d.]+ KiB",
        ),
        (
            "import flat_memory as f; f.main('--phases idle --time 1 --connections 5 --limit=-1e8'.split())",
            r"memory does not stay flat: idle, server: -?[\d,]+ KiB an hour are above the limit",
        ),
        pytest.param(
            "import flat_memory; flat_memory.main('--time 1 --phases load --rate 1e9 --limit 1e9'.split())",
            r"memory does not stay flat: load, server: \d+ messages or frames are too few",
            marks=thorough,
        ),
        (
            "import fairness; fairness.BYTES = 1000; fairness.main(64, 'asyncio')",
            r"others do not get their turn: asyncio, bytes of pongs; asyncio, bytes of pongs on TLS; ",
        ),
        (
            "import growth; growth.CALLS = 1.5; growth.ATTEMPTS = 1; growth.main('asyncio: tasks')",
            r"more than in proportion: asyncio: tasks that wait to send",
        ),
        (
            "import growth; growth.TIME = 0.5; growth.ATTEMPTS = 1; growth.main('core: fragments')",
            r"more than in proportion: core: fragments of a message",
        ),
    ],
)
def test_limits_that_are_not_kept_are_noticed(code: str, said: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=BENCH,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 1
    assert re.search(said, done.stderr)


def test_line_and_its_uncertainty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCH))
    from flat_memory import fit

    times = [number / 100 for number in range(100)]
    line = fit(times, [3 * when + 1 for when in times])
    assert (round(line.slope, 9), line.error) == (3, 0)
    assert fit(times, [5.0] * 100) == (0, 0)
    # The slope is in the confidence interval in 95% of the cases.
    source = random.Random(1)
    noisy = [fit(times, [3 * when + source.gauss(0, 1) for when in times]) for _ in range(500)]
    assert 0.9 < sum(abs(line.slope - 3) < line.error for line in noisy) / len(noisy) < 0.99
    # Values that change rarely say less.
    steps = [fit(times, [value for _ in range(20) for value in [source.gauss(0, 1)] * 5]) for _ in range(500)]
    assert 0.85 < sum(abs(line.slope) < line.error for line in steps) / len(steps) < 0.99
    assert fit([0.0, 1.0], [1.0, 2.0]).error == math.inf


# The comparison with other libraries


@pytest.fixture
def kit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let tests import what bench/run.py imports."""
    monkeypatch.syspath_prepend(str(BENCH))


def run_kit(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, BENCH / "run.py", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )


needs_compiler = pytest.mark.skipif(
    not (shutil.which("cc") and shutil.which("make")), reason="the load tools need a C compiler and make"
)


def has_header(name: str) -> bool:
    command = ["cc", "-E", "-include", name, "-x", "c", "/dev/null"]
    return subprocess.run(command, capture_output=True).returncode == 0


@needs_compiler
@pytest.mark.parametrize("backplane", ["memory", "redis", pytest.param("nats", marks=thorough)])
def test_topics(tmp_path: Path, backplane: str) -> None:
    if backplane != "memory" and shutil.which(f"{backplane}-server") is None:
        pytest.skip(f"{backplane}-server is not installed")
    file = tmp_path / "records.jsonl"
    more = ["--backplanes", backplane, "--peers", "adapters.topics", "--json", str(file)]
    done = run("topics", "-W", "error", more=more)
    assert (done.returncode, done.stderr) == (0, "")
    _, *records, settings = [json.loads(line) for line in file.read_text().splitlines()]
    processes = 1 if backplane == "memory" else 2
    places = [(backplane, processes, 1), (backplane, processes, 20)]
    assert [(each["backplane"], each["processes"], each["subscribers"]) for each in records] == places
    assert all(each["us"] > 0 and each["encodings"] == 1 for each in records)
    # One process at least has clients with several of the settings.
    assert 1 < settings["encodings"] <= settings["settings"] == 3
    assert len(re.findall(r"^\| .* \| yes \|$", done.stdout, re.MULTILINE)) == 3


@pytest.mark.usefixtures("kit")
@pytest.mark.parametrize(
    ("changes", "missed"),
    [
        ({}, []),
        ({"least": 0}, ["how often each has a message"]),
        ({"most": 2}, ["how often each has a message"]),
        ({"encodings": 2}, ["encodings of a message in a process"]),
        ({"us": 26}, ["CPU time a delivery, of that of python-socketio"]),
        ({"us": 26, "backplane": "memory"}, []),
        ({"us": 26, "subscribers": 100}, []),
    ],
)
def test_goals_of_topics(changes: dict[str, object], missed: list[str]) -> None:
    from topics import goals

    place = {"backplane": "redis", "processes": 4, "subscribers": 20_000}
    place |= {key: value for key, value in changes.items() if key in place}
    own = {"peer": "adapters.topics", "least": 1, "most": 1, "encodings": 1, "us": 25, **place, **changes}
    smaller = {**own, "processes": 2, "us": 1000, "least": 0}
    other = {"peer": "python-socketio", "us": 100, **place}
    failed = {"peer": "adapters.topics", **place, "processes": 8, "error": "failed"}
    settings = {"settings": 3, "encodings": 3, "subscribers": 30}
    found = list(goals([smaller, own, other, failed], settings))
    assert len(found) == (4 if (place["backplane"], place["subscribers"]) == ("redis", 20_000) else 3)
    assert [goal.name.rpartition(": ")[2] for goal in found if not goal.is_met] == missed
    *_, compressed = goals([own], {**settings, "encodings": 4})
    assert not compressed.is_met


@pytest.mark.usefixtures("kit")
def test_machine_that_allows_too_few_files() -> None:
    from topics import LimitError, check_files

    check_files(20_000, 4, 20_000)
    with pytest.raises(LimitError, match=r"needs 20,100 open files, and this machine allows 20,000"):
        check_files(20_000, 1, 20_000)


@thorough
@needs_compiler
def test_peers_do_their_work() -> None:
    done = run_kit("verify", "--peers", "asyncio,raw")
    if has_header("openssl/ssl.h"):
        assert done.returncode == 0, done.stdout + done.stderr
    assert re.findall(r"^(\w+) (.*): ok$", done.stdout, re.MULTILINE)[-2:] == [
        ("client", "raw protocol/asyncio"),
        ("client", "adapters.asyncio/asyncio"),
    ]


@needs_compiler
def test_figures_become_a_page(tmp_path: Path) -> None:
    records, page = tmp_path / "records.jsonl", tmp_path / "page.md"
    measured = [
        ("servers", "asyncio,raw", "pingpong-256,send-256"),
        ("clients", "asyncio,raw", "pingpong-256"),
        ("handshakes", "asyncio", ""),
        ("core", "wsproto_core,wsproto_core pure,websockets", "decode-256"),
    ]
    for part, peers, workloads in measured:
        options = ["--peers", peers, "--seconds", "0.3", "--output", records]
        done = run_kit(part, *options, *(["--workloads", workloads] if workloads else []))
        assert done.returncode == 0, done.stdout + done.stderr
    figures = [json.loads(line) for line in records.read_text().splitlines()]
    assert all(figure["us"] > 0 for figure in figures if "peer" in figure)
    done = run_kit("report", "--output", records, "--page", page)
    assert done.returncode == 0, done.stderr
    text = page.read_text()
    assert re.search(
        r"^\| adapters.asyncio/asyncio \| pingpong-256 \| raw protocol/asyncio \| 1.15 \| [\d.]+ \| ",
        text,
        re.M,
    )
    assert re.search(r"^\| \*\*adapters.asyncio/asyncio\*\* \| ~?[\d.]+ \([\d.]+ x\)", text, re.M)
    assert re.search(
        r"^\| core, wsproto_core pure \| decode-256 \| websockets \| 0.6 \| [\d.]+ \| ", text, re.M
    )


def test_unknown_peers_and_workloads_are_told() -> None:
    done = run_kit("servers", "--peers", "nobody")
    assert done.returncode == 2
    assert "no peer 'nobody'; there are: asyncio, " in done.stderr
    done = run_kit("servers", "--workloads", "pingpong-1")
    assert done.returncode == 2
    assert "no workload 'pingpong-1'; there are: pingpong-256, " in done.stderr


@pytest.mark.usefixtures("kit")
def test_targets_are_about_what_is_measured() -> None:
    from kit.codecs import CODECS
    from kit.core import SHORT_CASES
    from kit.measure import COPY
    from kit.peers import CLIENTS, SERVERS
    from kit.targets import targets
    from kit.workloads import CLIENT_WORKLOADS, WORKLOADS

    places = {
        "clients": (CLIENTS, CLIENT_WORKLOADS),
        "core": ({*CODECS, COPY}, SHORT_CASES),
        "handshakes": (SERVERS, {"handshakes"}),
        "memory": (SERVERS, {"idle connection", "idle connection, compression"}),
    }
    found = list(targets())
    assert len(found) > 100
    assert len(set(found)) == len(found)
    for target in found:
        peers, workloads = places.get(target.part, (SERVERS, WORKLOADS))
        assert target.workload in workloads
        assert {target.peer, *target.others} <= set(peers)
        if target.part not in places:
            assert WORKLOADS[target.workload].part == target.part


@pytest.mark.usefixtures("kit")
def test_ratios_are_those_of_one_round() -> None:
    from kit.tables import Results
    from kit.targets import Target, outcome

    def record(peer: str, number: int, cost: float, others: float = 0.0) -> dict[str, object]:
        figures = {"us": cost, "others": others, "round": number}
        return {"part": "servers", "peer": peer, "limit": "raw", "workload": "w", **figures}

    costs = {"own": (10, 22, 30), "raw": (10, 20, 20), "other": (50, 50, 50)}
    results = Results(record(peer, i, cost) for peer in costs for i, cost in enumerate(costs[peer]))
    target = Target("servers", "w", "own", ("other", "raw"), 1.1)
    found = outcome(target, results)
    assert found is not None
    assert (found.other, round(found.figure, 3), found.is_met) == ("raw", 1.1, True)
    # Records that others have disturbed do not count if there are two that they have not.
    results = Results([record("own", 0, 99, others=1), record("own", 1, 4), record("own", 2, 6)])
    assert results.figure("servers", "own", "w") == 5
    assert outcome(target, results) is None
