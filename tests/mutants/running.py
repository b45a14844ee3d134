"""Runs the tests of a module against its mutants.

One process imports the tests once. It runs them without a change in a first child, which tells how long each
takes and which lines of the module it runs. Then it forks for each mutant: the child changes functions
(:mod:`.patching`), runs the tests that reach the changed lines, the shortest first, and ends at the first
failure. So most mutants cost some milliseconds.

A mutant that changes what runs at import gets a child of a process that has imported pytest, but neither the
tests nor the library. So does every mutant that survived: the library may have called the changed function
when it was imported.

A child that takes too much time or memory has been killed by its tests as well. The limit is one on the
processor's time, as the machine may be busy.
"""

from __future__ import annotations

import contextlib
import importlib.machinery
import json
import os
import resource
import signal
import sys
import tempfile
import threading
import time
import types
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, Phase, settings

from .operators import Mutant, generate
from .patching import compile_module, differences, find_functions, patch
from .subjects import ROOT, Subject

__all__ = ["Result", "TestsFail", "run"]

PROFILE = "mutants"
settings.register_profile(
    PROFILE,
    deadline=None,
    derandomize=True,
    database=None,
    max_examples=30,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)

LEAST_SECONDS = 2.0
"""Of the processor, for a test, beside three times what it takes without a change, under a trace."""

IMPORT_SECONDS = 20.0
"""Of the processor, to import the tests."""

LONGEST_WAIT = 1800
"""Seconds until a child ends that waits for something. Others may take long, too, on a busy machine."""

MEMORY = 2**31
"""Bytes that a child may take."""

SURVIVED, KILLED, BROKEN = 0, 10, 12
"""Exit codes of a child. One that was ended by the system has another."""

OPTIONS = [
    *("-q", "--no-header", "--no-summary", "--tb=no", "--capture=sys"),
    # Others take time at each start.
    *("-p", "_hypothesis_pytestplugin"),
    *("-p", "no:cacheprovider", "-o", "faulthandler_timeout=0"),
    # hypothesis is imported before pytest can rewrite it
    *("-W", "ignore::pytest.PytestAssertRewriteWarning"),
]


class TestsFail(Exception):
    """The tests fail without a change."""

    __test__ = False


class Result(NamedTuple):
    """What became of a mutant."""

    mutant: Mutant
    killed: bool
    tests: int
    """Tests that reach the changed lines."""


class Item(NamedTuple):
    """What the run without a change has told of a test."""

    name: str
    seconds: float
    lines: dict[str, list[int]]
    """The lines that it runs, by the paths of modules."""


# Children


def _limit() -> None:
    """Limit the memory of this process, and the time that it waits."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(LONGEST_WAIT)


def _limit_processor(seconds: float) -> None:
    """Limit what this process takes of the processor from now on."""
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_PROF, seconds)


def _fork(child: Callable[[], int]) -> int:
    """Run a function in a child, whose exit code it returns; return the number of the process."""
    sys.stdout.flush()
    sys.stderr.flush()
    process = os.fork()
    if process:
        return process
    code = BROKEN
    try:
        code = child()
    except MemoryError:
        code = KILLED
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(code)


def _wait(process: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def _run_all(children: Iterable[Callable[[], int]], processes: int) -> list[int]:
    """Run children, some at a time; return their exit codes."""
    codes: dict[int, int] = {}
    running: dict[int, int] = {}

    def wait() -> None:
        process, status = os.waitpid(-1, 0)
        codes[running.pop(process)] = os.waitstatus_to_exitcode(status)

    for number, child in enumerate(children):
        if len(running) == processes:
            wait()
        running[_fork(child)] = number
    while running:
        wait()
    return [codes[number] for number in sorted(codes)]


def _silence() -> None:
    """Write nothing more."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)


# Plugins of pytest


class FirstFailure:
    """Ends the process at the first failure, and in a test that takes much longer than without a change."""

    def __init__(self, items: Iterable[Item], seconds: float) -> None:
        self._limits = {item.name: seconds + 3 * item.seconds for item in items}

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logstart(self, nodeid: str) -> None:
        _limit_processor(self._limits[nodeid])

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            os._exit(KILLED)


class Selection(FirstFailure):
    """Runs some tests, in their order here."""

    def __init__(self, items: Sequence[Item], seconds: float) -> None:
        super().__init__(items, seconds)
        self._names = [item.name for item in items]

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        by_name = {item.nodeid: item for item in items}
        items[:] = [by_name[name] for name in self._names if name in by_name]


def _run_items(items: Sequence[pytest.Item]) -> Iterator[pytest.Item]:
    """Run tests, and yield each when it has been run."""
    following: list[pytest.Item | None] = [*items[1:], None]
    for item, next_item in zip(items, following, strict=False):
        item.ihook.pytest_runtest_protocol(item=item, nextitem=next_item)
        yield item


class Recorder:
    """Runs all tests without a change, and records what is known of each.

    Attributes:
        items: in the order of the tests.
        failed: the tests that failed.
    """

    def __init__(self, paths: Iterable[Path]) -> None:
        self._paths = {str(path) for path in paths}
        self.items: list[Item] = []
        self.failed: list[str] = []
        self._lines: dict[str, set[int]] = {}

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failed.append(report.nodeid)

    def _trace(self, frame: types.FrameType, event: str, argument: object) -> Any:
        path = frame.f_code.co_filename
        if path not in self._paths:
            return None
        lines = self._lines.setdefault(path, set())
        lines.add(frame.f_lineno)

        def line(frame: types.FrameType, event: str, argument: object) -> Any:
            lines.add(frame.f_lineno)
            return line

        return line

    def run(self, items: Sequence[pytest.Item]) -> None:
        started = time.process_time()
        self._start()
        for item in _run_items(items):
            self._stop()
            lines = {path: sorted(each) for path, each in self._lines.items()}
            now = time.process_time()
            self.items.append(Item(item.nodeid, now - started, lines))
            if self.failed[-1:] == [item.nodeid]:
                # A test that measures memory fails because of the trace.
                self.failed.pop()
                for _ in _run_items([item]):
                    pass
            self._lines, started = {}, time.process_time()
            self._start()
        self._stop()

    def _start(self) -> None:
        threading.settrace(self._trace)
        sys.settrace(self._trace)

    def _stop(self) -> None:
        sys.settrace(None)
        threading.settrace(None)


class Forker:
    """Runs the tests in a child for each mutant, in the place of pytest's loop."""

    def __init__(self, mutants: Sequence[Mutant], *, folder: Path, processes: int, seconds: float) -> None:
        self._mutants = mutants
        self._seconds = seconds
        self._folder = folder
        self._processes = processes

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        paths = {mutant.path for mutant in self._mutants}

        def record() -> int:
            recorder = Recorder(paths)
            session.config.pluginmanager.register(recorder)
            recorder.run(session.items)
            _write(self._folder / "items", recorder.items)
            _write(self._folder / "failed", recorder.failed)
            return 0

        if _wait(_fork(record)):
            raise RuntimeError("the run without a change was ended")
        if _read(self._folder / "failed"):
            return True
        items = [Item(*each) for each in _read(self._folder / "items")]
        session.config.pluginmanager.register(FirstFailure(items, self._seconds))
        by_name = {item.nodeid: item for item in session.items}
        functions = {path: find_functions(path) for path in paths}
        originals = {path: compile_module(path.read_bytes(), path) for path in paths}

        def child(mutant: Mutant) -> Callable[[], int]:
            def run() -> int:
                changed = differences(originals[mutant.path], compile_module(mutant.source, mutant.path))
                chosen = _reaching(mutant, items)
                if not changed or not patch(functions[mutant.path], changed):
                    return SURVIVED  # it is tried again, imported
                _limit()
                _silence()
                for _ in _run_items([by_name[item.name] for item in chosen]):
                    pass
                return SURVIVED

            return run

        codes = _run_all(map(child, self._mutants), self._processes)
        _write(self._folder / "codes", codes)
        return True


class Changed(importlib.machinery.SourceFileLoader):
    """Loads a mutant instead of a module."""

    def __init__(self, name: str, mutant: Mutant) -> None:
        super().__init__(name, str(mutant.path))
        self._mutant = mutant

    def get_code(self, fullname: str) -> types.CodeType:
        return compile_module(self._mutant.source, self._mutant.path)


class ChangedFinder(MetaPathFinder):
    """Finds one module: the mutant."""

    def __init__(self, mutant: Mutant) -> None:
        self._name = ".".join(mutant.path.relative_to(ROOT).with_suffix("").parts)
        self._mutant = mutant

    def find_spec(
        self, name: str, path: object, target: object = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != self._name:
            return None
        return importlib.machinery.ModuleSpec(
            name, Changed(name, self._mutant), origin=str(self._mutant.path)
        )


# A subject


def _write(path: Path, value: object) -> None:
    path.write_text(json.dumps(value), encoding="utf-8")


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _reaching(mutant: Mutant, items: Iterable[Item]) -> list[Item]:
    """The tests that reach a mutant, the shortest first."""
    lines = range(mutant.first, mutant.last + 1)
    reaching = [item for item in items if any(line in lines for line in item.lines.get(str(mutant.path), ()))]
    return sorted(reaching, key=lambda item: item.seconds)


def _import_and_run(mutant: Mutant, chosen: Sequence[Item], seconds: float) -> Callable[[], int]:
    """Make a child that imports a mutant and the tests."""

    def child() -> int:
        _limit()
        _limit_processor(IMPORT_SECONDS)
        _silence()
        sys.meta_path.insert(0, ChangedFinder(mutant))
        files = dict.fromkeys(item.name.partition("::")[0] for item in chosen)
        code = pytest.main([*OPTIONS, *files], plugins=[Selection(chosen, seconds)])
        return SURVIVED if code == pytest.ExitCode.OK else KILLED

    return child


def _judge(mutant: Mutant, code: int) -> bool:
    """Return whether a mutant was killed."""
    if code == BROKEN:
        raise RuntimeError(f"cannot be tested: {mutant}")
    return code != SURVIVED


def run(
    subject: Subject,
    *,
    processes: int = 2,
    seconds: float = LEAST_SECONDS,
    tell: Callable[[str], None] = lambda text: None,
) -> list[Result]:
    """Test all mutants of a subject.

    Args:
        processes: how many run at a time.
        seconds: see :data:`LEAST_SECONDS`.
        tell: is told of the progress.

    Raises:
        TestsFail: the tests fail without a change.
    """
    os.environ["WSPROTO_CORE_PURE"] = "1"
    os.environ["HYPOTHESIS_PROFILE"] = PROFILE
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    patched: list[Mutant] = []
    imported: list[Mutant] = []
    for module in subject.modules:
        path = ROOT / module
        original = compile_module(path.read_bytes(), path)
        for mutant in generate(path):
            changed = differences(original, compile_module(mutant.source, path))
            if changed is None:
                imported.append(mutant)
            elif changed:
                patched.append(mutant)

    tell(f"{len(patched)} mutants of functions")
    with tempfile.TemporaryDirectory() as name, contextlib.chdir(ROOT):
        folder = Path(name)

        def collect() -> int:
            output = os.open(folder / "output", os.O_WRONLY | os.O_CREAT)
            os.dup2(output, 1)
            os.dup2(output, 2)

            forker = Forker(patched, folder=folder, processes=processes, seconds=seconds)
            return pytest.main([*OPTIONS, *subject.tests], plugins=[forker])

        code = _wait(_fork(collect))
        failed = _read(folder / "failed") if (folder / "failed").exists() else []
        if code or failed or not (folder / "codes").exists():
            output = (folder / "output").read_text(encoding="utf-8", errors="replace")
            raise TestsFail("\n".join(failed) or output)
        items = [Item(*each) for each in _read(folder / "items")]
        codes = dict(zip(patched, _read(folder / "codes"), strict=True))
        again = [mutant for mutant, code in codes.items() if not _judge(mutant, code)]
        everything = sorted(items, key=lambda item: item.seconds)
        chosen = {mutant: _reaching(mutant, items) or everything for mutant in again}
        chosen |= dict.fromkeys(imported, everything)
        tell(f"{len(again)} survived; they again, and {len(imported)} mutants of what runs at import")
        children = [_import_and_run(mutant, reaching, seconds) for mutant, reaching in chosen.items()]
        codes |= dict(zip(chosen, _run_all(children, processes), strict=True))
    results = [
        Result(mutant, _judge(mutant, code), len(_reaching(mutant, items))) for mutant, code in codes.items()
    ]
    return sorted(results, key=lambda result: (result.mutant.path, result.mutant.first, result.mutant.key))
