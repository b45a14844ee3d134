"""The runner of mutants: it kills those that it must, and lets others survive."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from .listed import Listed, compare, read_list
from .operators import Key, Mutant, generate
from .report import Row, read_rows, write_page
from .running import Result
from .subjects import ROOT, SUBJECTS

SAMPLE = "tests/mutants/sample/meter.py"

PROGRAM = f"""
import json
from tests.mutants.running import run
from tests.mutants.subjects import Subject

subject = Subject(({SAMPLE!r},), ("tests/mutants/sample/test_meter.py",))
print(json.dumps([(*each.mutant.key, each.killed, each.tests) for each in run(subject, seconds=0.5)]))
"""


@pytest.fixture(scope="module")
def outcome() -> dict[tuple[str, str, str], tuple[bool, int]]:
    """Whether each mutant of the sample is killed, and how many tests reach it, by its key."""
    process = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr
    return {tuple(key): (killed, tests) for *key, killed, tests in json.loads(process.stdout)}


SURVIVORS = {
    ("", "UNUSED = 0", "UNUSED = 1"): 0,
    # the boundary is not tested
    ("describe", "if number > LEAST:", "if number >= LEAST:"): 1,
    ("never_called", "return number", "return None"): 0,
    # nobody reads it
    ("Meter.__init__", "self.unread = 0", "pass"): 1,
    ("Meter.__init__", "self.unread = 0", "self.unread = 1"): 1,
}
"""With the number of tests that reach each."""


def test_survivors(outcome: dict[tuple[str, str, str], tuple[bool, int]]) -> None:
    survived = {key: tests for key, (killed, tests) in outcome.items() if not killed}
    assert survived == SURVIVORS


@pytest.mark.parametrize(
    "key",
    [
        pytest.param(("is_enough", "return number >= LEAST", "return number > LEAST"), id="function"),
        pytest.param(("", "LEAST = 3", "LEAST = 4"), id="constant"),
        pytest.param(("", "START = take_all([3])", "START = take_all([4])"), id="call at import"),
        pytest.param(
            (
                "Meter.__init__",
                "def __init__(self, start: int = 0) -> None:",
                "def __init__(self, start: int = 1) -> None:",
            ),
            id="default",
        ),
        pytest.param(("Meter.add", "self.count += number", "pass"), id="statement"),
        # it never ends
        pytest.param(("take_all", "numbers.clear()", "pass"), id="loop"),
    ],
)
def test_killed(outcome: dict[tuple[str, str, str], tuple[bool, int]], key: tuple[str, str, str]) -> None:
    assert outcome[key][0]


def mutants_of(tmp_path: Path, text: str) -> list[Key]:
    path = tmp_path / "module.py"
    path.write_text(text, encoding="utf-8")
    mutants = generate(path)
    for mutant in mutants:
        assert mutant.source.count(b"\n") == text.count("\n")
        compile(mutant.source, path, "exec")
    return [mutant.key for mutant in mutants]


@pytest.mark.parametrize(
    ("line", "mutated"),
    [
        ("x = a < b", {"x = a <= b"}),
        ("x = a >= b", {"x = a > b"}),
        ("x = a == b", {"x = a != b"}),
        ("x = a is not None", {"x = a is None"}),
        ("x = a not in b", {"x = a in b"}),
        ("x = (a) and b and c", {"x = (a) or b and c", "x = (a) and b or c"}),
        ("x = not a", {"x = (a)"}),
        ("x = a & b", {"x = a | b"}),
        ("x = a << 1", {"x = a >> 1", "x = a << 2", "x = a << 0"}),
        ("x += a", {"x -= a"}),
        ("x = 0", {"x = 1"}),
        ("x = 125", {"x = 126", "x = 124"}),
        ("x = 1.5", {"x = 2.5"}),
        ("x = True", {"x = False"}),
        ("x = 'websocket'", {"x = 'websocketX'"}),
        ("x = b''", {"x = b'X'"}),
        ("x = 'text for people'", set()),
        ("x = f'{a + 1}'", set()),
        ("x: int | None = None", set()),
        ("x = a if b else c", {"x = a if not (b) else c"}),
        ("x = [a for a in b if c]", {"x = [a for a in b if not (c)]"}),
        ("x = isinstance(a, b | c)", set()),
        ("__all__ = ['a', 'b']", set()),
    ],
)
def test_operators(tmp_path: Path, line: str, mutated: set[str]) -> None:
    keys = mutants_of(tmp_path, f"{line}\n")
    assert all(key[:2] == ("", line) for key in keys)
    assert len(keys) == len(mutated)
    assert {key.mutated for key in keys} == mutated


def test_statements(tmp_path: Path) -> None:
    text = """
class C:
    @decorator(1)
    def f(self, a):
        'Documentation'
        if a:
            self.b(
                c
            )
        elif not a:
            raise a
        local = a
        a = local
        for each in a:
            continue
        return a
"""
    keys = mutants_of(tmp_path, text)
    assert {key.function for key in keys} == {"C.f"}
    assert [key[1:] for key in keys] == [
        ("if a:", "if not (a):"),
        ("self.b( c )", "pass"),
        ("elif not a:", "elif (a):"),
        ("raise a", "pass"),
        ("a = local", "pass"),
        ("continue", "pass"),
        ("return a", "return None"),
    ]


def test_lists(tmp_path: Path) -> None:
    """What is not listed, and what need not be listed, is told."""

    def result(name: str, *, killed: bool) -> Result:
        return Result(Mutant(tmp_path / "module.py", 1, 1, Key("", name, "x"), b""), killed, 1)

    def entry(name: str, module: str = "module.py") -> Listed:
        return Listed(module, Key("", name, "x"), "a reason")

    results = [result("a", killed=True), result("b", killed=False), result("c", killed=False)]
    entries = [entry("a"), entry("b"), entry("d"), entry("e", "other.py")]
    verdict = compare(results, entries, tmp_path)
    assert verdict.survived == [results[2]]
    assert verdict.listed == [entry("b")]
    assert verdict.outdated == [(entry("a"), "is killed"), (entry("d"), "does not exist")]


ENTRY = """
[[mutant]]
module = "module.py"
function = "f"
original = "a"
mutated = "b"
"""


def test_reasons(tmp_path: Path) -> None:
    path = tmp_path / "list.toml"
    path.write_text(f"{ENTRY}reason = 'It is\tthe same.'\n", encoding="utf-8")
    assert read_list(path) == [Listed("module.py", Key("f", "a", "b"), "It is the same.")]
    path.write_text(ENTRY, encoding="utf-8")
    with pytest.raises(ValueError, match="no reason for"):
        read_list(path)
    path.write_text(f"{ENTRY}reason = 'r'\n{ENTRY}reason = 'r'\n", encoding="utf-8")
    with pytest.raises(ValueError, match="listed twice"):
        read_list(path)


def test_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    assert read_rows(page) == {}
    rows = {name: Row(name, 200, 190, 10) for name in ("first", "second")}
    write_page(rows, [Listed("module.py", Key("f", "a", "b"), "A reason.")], ["second", "first"], page)
    assert read_rows(page) == rows
    text = page.read_text(encoding="utf-8")
    assert text.index("second") < text.index("| `first` | 200 | 190 | 10 | 95.0 |")
    assert "- `f`: `a` becomes `b`. A reason.\n" in text


def test_table() -> None:
    """The page, the table and the list name what exists."""
    paths = [path for subject in SUBJECTS.values() for path in (*subject.modules, *subject.tests)]
    assert [path for path in paths if not (ROOT / path).exists()] == []
    modules = {module for subject in SUBJECTS.values() for module in subject.modules}
    assert {entry.module for entry in read_list()} <= modules
    assert set(read_rows()) <= set(SUBJECTS)
