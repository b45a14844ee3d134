"""What `make conformance` is made of: its clients, and the results that it keeps."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

from .clients import CLIENTS, run_cases
from .running import ROOT, start
from .verdicts import FAILED, OK, UNIMPLEMENTED, Verdict, load

CLIENTS_HERE = [name for name in CLIENTS if name.startswith("adapters.") or name == "wsproto"]
"""Those that need nothing that is only in the environment of the benchmarks."""


@pytest.mark.parametrize("name", CLIENTS_HERE)
def test_clients(name: str) -> None:
    with start("deflate", "--messages", "3", "server", "12.1.4", "14.5.12") as process:
        assert process.stdout is not None
        run_cases(CLIENTS[name](), process.stdout.readline().strip(), 1)
        verdicts = load(process.stdout.read())
    assert {case: verdict.outcome for case, verdict in verdicts.items()} == {"12.1.4": OK, "14.5.12": OK}


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT / "bench")
    from . import run

    return run


def test_units(run: ModuleType) -> None:
    units = list(run.units())
    assert (
        len(units) == len(set(units)) == 4 * (2 * 7 + len(run.OTHERS["server"]) + len(run.OTHERS["client"]))
    )
    assert {unit.subject for unit in units if unit.side == "client"} == set(CLIENTS)
    assert {unit.subject for unit in units if unit.side == "server"} <= run.SERVERS.keys()


def test_results_are_kept(run: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "build" / "results.jsonl"
    autobahn, deflate = (run.Unit("server", "adapters.trio", part) for part in ("1-10", "12"))
    results = run.Results(path, 20)
    results.add(autobahn, {"1.1.1": Verdict(OK, OK)})
    results.add(deflate, {"12.1.1": Verdict(UNIMPLEMENTED, OK, reason="whatever")})
    assert run.Results(path, 20).verdicts == results.verdicts
    # The number of messages only matters to permessage-deflate.
    assert list(run.Results(path, None).verdicts) == [autobahn]
    assert list(results.of("server")) == ["adapters.trio"]
    assert results.of("client") == {}


def test_one_case_that_is_not_ok_is_enough(run: ModuleType, tmp_path: Path) -> None:
    results = run.Results(tmp_path / "results.jsonl", None)
    results.add(run.Unit("server", "tornado/asyncio", "1-10"), {"1.1.1": Verdict(FAILED, OK)})
    assert run.is_perfect(results)
    results.add(run.Unit("server", "adapters.trio", "1-10"), {"1.1.1": Verdict(UNIMPLEMENTED, OK)})
    assert not run.is_perfect(results)


def test_missing_cases(run: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "try_server", lambda *arguments: {"12.1.1": Verdict(OK, OK)})
    with pytest.raises(RuntimeError, match="1 cases were run, instead of 90"):
        run.run(run.Unit("server", "adapters.trio", "12"), None)


def test_late_cases_are_run_again(run: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    def attempt(unit: object, runner: object, cases: list[str]) -> dict[str, Verdict]:
        asked.append(cases)
        late = Verdict(FAILED, FAILED, ("the case",))
        return {f"12.1.{number}": Verdict(OK, OK) for number in range(90)} | (
            {"12.1.1": late, "12.1.2": late} if len(asked) == 1 else {}
        )

    monkeypatch.setattr(run, "try_client", attempt)
    verdicts = run.run(run.Unit("client", "adapters.trio", "12"), None)
    assert asked == [["12.*"], ["12.1.1", "12.1.2"]]
    assert {verdict.outcome for verdict in verdicts.values()} == {OK}
