"""The package is built with a compiler and without one, and its sources are all there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = ("wsproto_core/_speedups", "adapters/asyncio/_speedups")

needs_compiler = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs a C compiler")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The sources, without what was built before."""
    copy = tmp_path / "project"
    ignored = shutil.ignore_patterns("*.so", "__pycache__")
    for folder in ("wsproto_core", "adapters"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=ignored)
    for file in ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, copy)
    return copy


def build(project: Path, kind: str, **environment: str) -> tuple[Path, str]:
    """Build as pip does; return the file, and what was printed."""
    result = subprocess.run(
        [sys.executable, "-c", f"import setuptools.build_meta as b; b.build_{kind}('dist')"],
        cwd=project,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout
    (file,) = (project / "dist").iterdir()
    return file, result.stdout


def names(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


def test_without_a_compiler(project: Path) -> None:
    wheel, output = build(project, "wheel", CC="false")
    assert "_compiled was not built: wsproto-core is installed in pure Python" in output
    assert [name for name in names(wheel) if name.endswith(".so")] == []
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(project / "installed")
    program = "import wsproto_core; print(wsproto_core.COMPILED, wsproto_core.__file__)"
    told = subprocess.run(
        [sys.executable, "-c", program],
        cwd=project / "installed",
        env={**os.environ, "WSPROTO_CORE_PURE": ""},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout
    assert told.split() == ["False", str(project / "installed" / "wsproto_core" / "__init__.py")]


@needs_compiler
def test_with_a_compiler(project: Path) -> None:
    wheel, output = build(project, "wheel", WSPROTO_CORE_CFLAGS="-Werror")
    assert "was not built" not in output, output
    for folder in FOLDERS:
        found = [name for name in names(wheel) if name.startswith(f"{folder}/")]
        (extension,) = (name for name in found if name.endswith(".so"))
        assert sorted(found) == sorted([extension, f"{folder}/__init__.py", f"{folder}/_compiled.pyi"])


def test_all_sources_are_distributed(project: Path) -> None:
    distribution, _ = build(project, "sdist")
    with tarfile.open(distribution) as archive:
        found = {name.partition("/")[2] for name in archive.getnames()}
    sources = [path for folder in FOLDERS for path in (ROOT / folder).iterdir()]
    kinds = (".c", ".h", ".py", ".pyi")
    assert found >= {path.relative_to(ROOT).as_posix() for path in sources if path.suffix in kinds}
