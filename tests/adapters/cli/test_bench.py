"""``bench``, and the histogram of its latencies."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from adapters.cli.latencies import Latencies
from adapters.cli.report import shown_seconds
from adapters.threading import ServerConnection

from .commands import AMPLE, environment, program, run, served, spawn
from .terminals import on_terminal

SHORT = ("bench", "--duration", "0.3", "--warmup", "0", "-c", "2", "--answer-timeout", str(AMPLE))


def echo(websocket: ServerConnection) -> None:
    for message in websocket:
        websocket.send(message)


def greet_and_echo(websocket: ServerConnection) -> None:
    websocket.send("welcome")
    echo(websocket)


@pytest.mark.parametrize(
    "more", [[], ["--binary", "--size", "100000", "--depth", "3"], ["--uvloop", "--warmup", "0.1"]]
)
def test_json(more: list[str]) -> None:
    with served(greet_and_echo) as uri:
        status, output, errors = run(*SHORT, *more, "--json", uri)
    assert (status, errors) == (0, "")
    report = json.loads(output)
    assert report["uri"] == uri
    assert report["messages"] > 0
    assert report["messages_per_second"] == pytest.approx(report["messages"] / report["seconds"], rel=1e-3)
    latency = report["latency"]
    percentiles = [latency[name] for name in ("p50", "p90", "p99", "p99.9", "max")]
    assert percentiles == sorted(percentiles)
    assert 0 < latency["mean"] <= latency["max"]


def test_text() -> None:
    with served(echo) as uri:
        status, output, errors = run(*SHORT, uri)
    assert (status, errors) == (0, "")
    lines = output.decode().splitlines()
    assert lines[0] == uri
    assert lines[1] == "2 connections, 1 on the way on each, text messages of 64 bytes"
    assert "messages/s" in lines[3]
    assert lines[4].startswith("latency: mean ")
    assert any("█" in line for line in lines)


def test_progress_on_a_terminal(tmp_path: Path) -> None:
    with served(echo) as uri, on_terminal(tmp_path, *SHORT, uri) as it:
        it.expect("━")
        it.expect("latency: mean")
        assert it.end() == 0


def test_plot(tmp_path: Path) -> None:
    with served(echo) as uri:
        assert run(*SHORT, "--plot", str(tmp_path / "plot.png"), uri)[0] == 0
        status, _, errors = run(*SHORT, "--plot", str(tmp_path / "none" / "plot.png"), uri)
    with Image.open(tmp_path / "plot.png") as image:
        assert image.format == "PNG"
        # There are bars in it.
        assert (0x2F, 0x5B, 0xD7) in [color for _, color in image.getcolors(maxcolors=2**20)]
    assert status == 1
    assert errors.count("\n") == 1


def silent(websocket: ServerConnection) -> None:
    for _ in websocket:
        pass


def chatty(websocket: ServerConnection) -> None:
    for message in websocket:
        websocket.send(f"you said {message}\x1b")


def deaf(websocket: ServerConnection) -> None:
    for number, message in enumerate(websocket):
        websocket.send(message if number < 3 else "enough")


def leaving(websocket: ServerConnection) -> None:
    websocket.send(websocket.recv())
    websocket.close(1008, "go away")


@pytest.mark.parametrize(
    ("handler", "said"),
    [
        (silent, "no answer came for 0.5 seconds"),
        (chatty, "the server does not echo, it sends 'you said x"),
        (deaf, "the server does not echo, it sends 'enough' (6 characters)"),
        (leaving, "1008"),
    ],
)
def test_servers_that_do_not_echo(handler: Any, said: str) -> None:
    answer_timeout = "0.5" if handler is silent else str(AMPLE)
    size = "1" if handler is chatty else "64"
    with served(handler) as uri:
        arguments = ("--duration", str(AMPLE), "--answer-timeout", answer_timeout, "--size", size)
        status, output, errors = run("bench", *arguments, uri)
    assert (status, output) == (1, b"")
    assert said in errors
    assert errors.count("\n") == 1
    assert "\x1b" not in errors
    if handler is not leaving:
        assert errors.endswith("such as: python -m adapters serve echo\n")


def test_a_server_that_stops_to_answer() -> None:
    def handle(websocket: ServerConnection) -> None:
        for number, message in enumerate(websocket):
            if number < 3:
                websocket.send(message)

    with served(handle) as uri:
        status, _, errors = run("bench", "--duration", str(AMPLE), "--answer-timeout", "1", uri)
    assert status == 1
    assert "no answer came for 1 seconds" in errors


def test_interrupted() -> None:
    with served(echo) as uri, spawn("bench", "--duration", "1000", "-v", uri) as process:
        assert process.stderr is not None
        try:
            assert any(b"sent text frame" in line for line in process.stderr)
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=AMPLE)
        finally:
            process.kill()
    assert process.returncode == 130


def test_a_plot_without_pillow(tmp_path: Path) -> None:
    (tmp_path / "PIL.py").write_text("raise ModuleNotFoundError('hidden', name='PIL')")
    path = os.pathsep.join([str(tmp_path), environment()["PYTHONPATH"]])
    done = subprocess.run(
        [*program(), "bench", "--plot", "plot.png", "ws://localhost:1/"],
        env=environment(PYTHONPATH=path),
        capture_output=True,
        timeout=AMPLE,
    )
    assert done.returncode == 1
    assert b"--plot needs PIL: pip install 'wsproto-core[cli]'" in done.stderr


# Latencies


def test_percentiles_are_exact_to_a_hundredth() -> None:
    randomness = random.Random(1)
    values = sorted(randomness.lognormvariate(-7, 1) for _ in range(10_000))
    latencies = Latencies()
    for value in values:
        latencies.add(value)
    for percent in (1, 50, 90, 99, 99.9, 100):
        exact = values[max(0, round(len(values) * percent / 100) - 1)]
        assert exact <= latencies.percentile(percent) * (1 + 1e-9)
        assert latencies.percentile(percent) <= exact * 1.011
    assert latencies.longest == values[-1] == latencies.percentile(100)
    assert latencies.mean == pytest.approx(sum(values) / len(values))
    bars = latencies.bars(16)
    assert len(bars) <= 16
    assert sum(count for _, _, count in bars) >= 0.9999 * len(values) - 1
    assert all(end == pytest.approx(start) for (_, end, _), (start, _, _) in pairwise(bars))


def test_no_latencies_and_one() -> None:
    latencies = Latencies()
    assert (latencies.mean, latencies.percentile(50), latencies.bars(3)) == (0, 0, [])
    latencies.add(0)
    assert [count for _, _, count in latencies.bars(3)] == [1]


def test_shown_seconds() -> None:
    assert [shown_seconds(each) for each in (0.0000123, 0.0123, 1.23)] == ["12.3 µs", "12.3 ms", "1.23 s"]
