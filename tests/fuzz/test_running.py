"""The driver of the fuzzers, with programs in their place."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from fuzz import __main__ as program
from fuzz import running

QUIET = "print('stat::number_of_executed_units: 1234')"

# What libFuzzer does when an input breaks a rule.
FINDING = """
import sys
(prefix,) = [option.partition("=")[2] for option in sys.argv if option.startswith("-artifact_prefix=")]
open(prefix + "crash-1", "wb").write(b"bad")
print("a traceback")
sys.exit(77)
"""


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(running, "ROOT", tmp_path)
    monkeypatch.setattr(running, "BUILD", tmp_path / "build")
    monkeypatch.setattr(running, "missing", lambda target: None)
    return tmp_path / "build"


def use(monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    monkeypatch.setattr(running, "command", lambda target: [sys.executable, "-c", script, target])


def test_nothing_is_found(
    build: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    use(monkeypatch, QUIET)
    assert running.run(["uri", "c_mask"], 20, build / "log.txt") == 0
    lines = (build / "log.txt").read_text().splitlines()
    assert ["1234 executions, 0 findings" in line for line in lines] == [True, True]
    assert [" uri: " in lines[0], " c_mask: " in lines[1]] == [True, True]
    assert capsys.readouterr().out.splitlines() == lines


def test_an_input_is_found(
    build: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the fuzzer printed is shown, and how to reproduce it; other targets run all the same."""
    use(monkeypatch, FINDING)
    assert running.run(["uri", "frames"], 20, build / "log.txt") == 1
    output = capsys.readouterr().out
    assert output.count("1 findings") == 2
    assert "a traceback" in output
    assert "-m fuzz reproduce frames build/crashes/frames/crash-1" in output
    assert (build / "crashes" / "uri" / "crash-1").read_bytes() == b"bad"


def test_time_is_divided(build: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, f"import sys; assert '-max_total_time=5' in sys.argv, sys.argv; {QUIET}")
    assert running.run(["uri", "frames", "halves", "proxy"], 20, build / "log.txt") == 0


def test_a_fuzzer_is_missing(
    build: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    use(monkeypatch, QUIET)
    monkeypatch.setattr(running, "missing", lambda target: "clang" if target == "c_mask" else None)
    assert running.run(["uri", "c_mask"], 1, build / "log.txt") == 0
    assert "c_mask: not run, because clang is not installed" in capsys.readouterr().out
    assert running.run(["c_mask"], 1, build / "log.txt") == 1


def test_reproduce(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "input"
    file.write_bytes(b"\0ws://localhost/")
    monkeypatch.setattr(sys, "argv", ["fuzz", "reproduce", "uri", str(file)])
    assert program.main() == 0
    monkeypatch.setattr("fuzz.targets.uri.check_parts", lambda uri: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        program.main()


def test_unknown_targets(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["fuzz", "run", "urls"])
    with pytest.raises(SystemExit):
        program.main()
    assert "no such target: urls" in capsys.readouterr().err
