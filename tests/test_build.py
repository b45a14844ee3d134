"""The package is built with a compiler and without one, and its sources are all there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email import message_from_string
from email.message import Message
from pathlib import Path

import pytest

import wsproto_core

from .building import FILES, MORE_FILES, MORE_FOLDERS, PACKAGES, ROOT, build, copy_sources, files_of

SOURCES = ("wsproto_core/_speedups", "adapters/asyncio/_speedups")
FOLDERS = (*SOURCES, "wsproto_core/adapters/asyncio/_speedups")

needs_compiler = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs a C compiler")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The sources, without what was built before."""
    return copy_sources(tmp_path / "project")


def names(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


def test_without_a_compiler(project: Path) -> None:
    wheel, output = build(project, "wheel", CC="false")
    assert "_compiled was not built: wsproto-core is installed in pure Python" in output
    assert [name for name in names(wheel) if name.endswith(".so")] == []
    pages = {path.relative_to(ROOT).as_posix() for path in (ROOT / "adapters" / "cli").glob("*.html")}
    assert pages
    assert pages <= set(names(wheel))
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


def test_pure(project: Path) -> None:
    wheel, _ = build(project, "wheel", WSPROTO_CORE_PURE="1")
    assert wheel.name.endswith("-py3-none-any.whl")
    assert [name for name in names(wheel) if name.endswith(".so")] == []
    # The adapters have two names.
    first = {name for name in names(wheel) if name.startswith("adapters/")}
    assert {path.relative_to(ROOT).as_posix() for path in (ROOT / "adapters").rglob("*.py")} <= first
    second = {name for name in names(wheel) if name.startswith("wsproto_core/adapters/")}
    assert second == {f"wsproto_core/{name}" for name in first}


@needs_compiler
def test_with_a_compiler(project: Path) -> None:
    wheel, output = build(project, "wheel", WSPROTO_CORE_CFLAGS="-Werror")
    assert "was not built" not in output, output
    for folder in FOLDERS:
        found = [name for name in names(wheel) if name.startswith(f"{folder}/")]
        (extension,) = (name for name in found if name.endswith(".so"))
        assert sorted(found) == sorted([extension, f"{folder}/__init__.py", f"{folder}/_compiled.pyi"])


CONTENTS = ((*PACKAGES, *MORE_FOLDERS), (*FILES, *MORE_FILES))

# Tests that need nothing but the files themselves, and no extension module.
TESTS = ["tests/core/test_closing.py", "tests/test_pages.py"]

RUN_TESTS = """
import sys, pytest
status = pytest.main(["-q", "-p", "no:cacheprovider", *sys.argv[2:]])
place = sys.modules["wsproto_core"].__file__
sys.exit(status if place.startswith(sys.argv[1]) else place)
"""


def test_sources_have_their_tests(tmp_path: Path) -> None:
    """The distribution of the sources has all that belongs to it, and passes some of its own tests."""
    project = copy_sources(tmp_path / "project", *CONTENTS)
    expected = files_of(project, *CONTENTS)
    distribution, _ = build(project, "sdist")
    with tarfile.open(distribution) as archive:
        archive.extractall(tmp_path, filter="data")
    (unpacked,) = tmp_path.glob("wsproto_core-*")
    assert expected - files_of(unpacked, *CONTENTS) == set()
    done = subprocess.run(
        [sys.executable, "-c", RUN_TESTS, str(unpacked), *TESTS],
        cwd=unpacked,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def read_metadata(project: Path) -> Message:
    """The metadata of a wheel, as package indexes show it."""
    name = f"import setuptools.build_meta as b; print(b.prepare_metadata_for_build_wheel({str(project)!r}))"
    folder = subprocess.run(
        [sys.executable, "-c", name], cwd=project, stdout=subprocess.PIPE, text=True, check=True
    ).stdout.split()[-1]
    return message_from_string((project / folder / "METADATA").read_text(encoding="utf-8"))


@pytest.mark.parametrize("repository", ["", "https://git.example/owner/name/"])
def test_addresses(project: Path, monkeypatch: pytest.MonkeyPatch, repository: str) -> None:
    """A release names the repository: then all links of the description are absolute."""
    monkeypatch.setenv("WSPROTO_CORE_REPOSITORY", repository)
    metadata = read_metadata(project)
    assert metadata["Version"] == wsproto_core.__version__
    assert metadata["Description-Content-Type"] == "text/markdown"
    description = str(metadata.get_payload())
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    urls = dict(url.split(", ") for url in metadata.get_all("Project-URL", []))
    if not repository:
        assert description.strip() == readme.strip()
        assert urls == {}
        return
    files = f"{repository.rstrip('/')}/blob/v{wsproto_core.__version__}"
    relative = re.findall(r"\]\((?!https?:)([^)]*)\)", readme)
    assert len(relative) > 10
    assert re.findall(r"\]\((?!https?:)([^)]*)\)", description) == []
    pictures = re.findall(r"!\[[^]]*\]\(([^)]*)\)", readme)
    assert pictures
    for link in relative:
        place = files.replace("/blob/", "/raw/") if link in pictures else files
        assert f"]({place}/{link})" in description
    assert urls.keys() == {"Homepage", "Documentation", "Changelog", "Issues"}
    for url in urls.values():
        path = url.removeprefix(f"{files}/")
        assert path == url or (ROOT / path).is_file()


def test_version_is_in_one_place() -> None:
    version = re.compile(rf"(?<![\d.]){re.escape(wsproto_core.__version__)}(?![\d.])")
    patterns = ("*.toml", "*.py", "README.md", "wsproto_core/**/*.py", "adapters/**/*.py")
    paths = [path for pattern in patterns for path in ROOT.glob(pattern)]
    places = [path for path in paths if version.search(path.read_text(encoding="utf-8"))]
    assert places == [ROOT / "wsproto_core" / "version.py"]
