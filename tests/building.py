"""Copies of the sources, and distributions that are built from them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parent.parent


PACKAGES = ("wsproto_core", "adapters")
FILES = ("pyproject.toml", "setup.py", "wsproto_core_pytest.py", "MANIFEST.in", "README.md", "LICENSE")
"""What a wheel is built from."""

MORE_FOLDERS = (".ci", "bench", "changelog.d", "docs", "examples", "fuzz", "tests")
MORE_FILES = ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "Makefile")
"""What the distribution of the sources has beside that."""


def copy_sources(target: Path, folders: Iterable[str] = PACKAGES, files: Iterable[str] = FILES) -> Path:
    """Copy what a distribution is built from, without what was built before."""
    # "bin" and "results" are those of the benchmarks: other tests make them meanwhile.
    ignored = shutil.ignore_patterns("*.so", "*.pyd", "__pycache__", "node_modules", "bin", "results")
    for folder in folders:
        shutil.copytree(ROOT / folder, target / folder, ignore=ignored)
    for file in files:
        shutil.copy(ROOT / file, target)
    return target


def files_of(root: Path, folders: Iterable[str], files: Iterable[str]) -> set[str]:
    """The files that a distribution of the sources is to have."""
    paths = (path for folder in folders for path in (root / folder).rglob("*"))
    return {path.relative_to(root).as_posix() for path in paths if path.is_file()} | set(files)


def build(project: Path, kind: str, **environment: str) -> tuple[Path, str]:
    """Build a ``"wheel"`` or an ``"sdist"`` as pip does; return the file, and what was printed."""
    result = subprocess.run(
        [sys.executable, "-c", f"import setuptools.build_meta as b; b.build_{kind}('dist')"],
        cwd=project,
        env={**os.environ, "WSPROTO_CORE_PURE": "", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout
    (file,) = (project / "dist").iterdir()
    return file, result.stdout
