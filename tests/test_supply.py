"""The oldest versions of dependencies that are allowed, and the audit of the latest ones."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent


def load(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, ROOT / ".ci" / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


minimal, audit = load("minimal"), load("audit")


# The oldest versions


def project(folder: Path, dependencies: str, requirements: str) -> Path:
    (folder / "tests").mkdir()
    (folder / "tests" / "requirements.txt").write_text(requirements)
    (folder / "pyproject.toml").write_text(
        'build-system.requires = ["builder >= 77"]\n[project]\nname = "own"\n'
        f"dependencies = [{dependencies}]\n"
        '[project.optional-dependencies]\nfast = ["loop>=0.21; os == \'a\'"]\nall = ["own[fast]"]\n'
    )
    return folder


def test_all_have_lower_limits_which_agree() -> None:
    done = subprocess.run([sys.executable, ROOT / ".ci" / "minimal.py"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    names = {line.partition("==")[0] for line in done.stdout.splitlines()}
    assert {"h11", "uvloop", "zlib-ng", "trio", "anyio", "python-socks", "werkzeug", "pytest"} <= names


def test_lower_limits(tmp_path: Path) -> None:
    requirements = "# checks\nCheck_er==1.2  # exact\nloop~=0.21\nother[a, b]>=2,!=2.1\n\n"
    assert minimal.minimal(project(tmp_path, '"http>=0.16,<0.17"', requirements)) == [
        "builder==77",
        "check-er==1.2",
        "http==0.16",
        "loop==0.21; os == 'a'",
        "other==2",
    ]


@pytest.mark.parametrize(
    ("dependencies", "requirements", "said"),
    [
        ("", "loop>=0.22", "loop is at least 0.21 in pyproject.toml, and 0.22 in tests/requirements.txt"),
        ("", "free", "tests/requirements.txt: free has no lower limit"),
        ('"http<2"', "", "pyproject.toml: http<2 has no lower limit"),
    ],
)
def test_lower_limits_that_cannot_be_used(
    tmp_path: Path, dependencies: str, requirements: str, said: str
) -> None:
    root = project(tmp_path, dependencies, requirements)
    done = subprocess.run([sys.executable, ROOT / ".ci" / "minimal.py", root], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"{said}\n")


# The audit

CLEAN = {"name": "h11", "version": "0.16.0", "vulns": []}
OWN = {"name": "wsproto-core", "skip_reason": "distribution marked as editable"}
SKIPPED = {"name": "trio", "skip_reason": "Dependency not found on PyPI"}
BAD = {"name": "anyio", "version": "1.0", "vulns": [{"id": "X-1", "fix_versions": ["1.1", "2.0"]}]}


@pytest.mark.parametrize(
    ("packages", "lines", "error"),
    [
        ([CLEAN, OWN], ["1 packages were audited: no known vulnerabilities"], None),
        ([CLEAN, BAD, SKIPPED], ["anyio 1.0: X-1, fixed in 1.1 and 2.0"], "1 known vulnerabilities"),
        ([CLEAN, SKIPPED], [], f"1 packages were audited; {audit.UNREACHED}, for trio"),
        ([OWN], [], f"0 packages were audited; {audit.UNREACHED}, for there are none"),
    ],
)
def test_report(packages: list[Any], lines: list[str], error: str | None) -> None:
    assert audit.report({"dependencies": packages}) == (lines, error)


def test_audit_of_nothing_fails(tmp_path: Path) -> None:
    program = tmp_path / "pip-audit"
    program.write_text("#!/bin/sh\necho 'Traceback:' >&2\necho 'ConnectionError: no way' >&2\nexit 1\n")
    program.chmod(0o755)
    done = subprocess.run(
        [sys.executable, ROOT / ".ci" / "audit.py", tmp_path, program], capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr == f"nothing was audited; {audit.UNREACHED}: ConnectionError: no way\n"
