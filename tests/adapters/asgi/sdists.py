"""The source distributions of other projects, which have their tests and examples."""

from __future__ import annotations

import importlib.metadata
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import pytest

BUILD = Path(__file__).parents[3] / "build" / "sdists"


def sources(package: str) -> Path:
    """Return the folder of the source distribution of a package, at the version that is installed here.

    It is downloaded once. Without a package index, the test is skipped.
    """
    version = importlib.metadata.version(package)
    folder = BUILD / f"{package}-{version}"
    if folder.exists():
        return folder
    with tempfile.TemporaryDirectory() as temporary:
        options = ["--no-deps", "--no-binary", package, "--quiet", "--dest", temporary]
        command = [sys.executable, "-m", "pip", "download", *options, f"{package}=={version}"]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode != 0:
            pytest.skip(f"needs the source distribution of {package} {version}: {result.stderr[-500:]}")
        (archive,) = Path(temporary).glob("*.tar.gz")
        with tarfile.open(archive) as tar:
            tar.extractall(temporary, filter="data")
        BUILD.mkdir(parents=True, exist_ok=True)
        # Another process may have done the same.
        if not folder.exists():
            shutil.copytree(Path(temporary) / folder.name, folder, dirs_exist_ok=True)
    return folder
