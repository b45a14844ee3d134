"""docs/name.md: what hides the name `adapters`, the errors that its users see, and the name that is left.

A wheel is installed in two environments, in the second one together with another distribution that has a
package `adapters`.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path
from typing import Any

import h11
import pytest

from tests.docs.samples import blocks
from wsproto_core import COMPILED

from .building import ROOT, build, copy_sources

SAMPLES = blocks("name.md", "sample")

# Of the distribution of this name on PyPI, the package begins by importing torch.
OTHER = {
    "adapters/__init__.py": "import torch\n",
    "adapters-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: adapters\nVersion: 1.0\n",
    "adapters-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    "adapters-1.0.dist-info/RECORD": "adapters/__init__.py,,\n",
}

ECHO = """
import asyncio
from {name}.asyncio import connect, serve

async def echo(websocket):
    async for message in websocket:
        await websocket.send(message)

async def main():
    async with asyncio.timeout(100), serve(echo, "localhost", 0) as server:
        async with connect(f"ws://localhost:{{server.port}}") as websocket:
            await websocket.send("hello")
            print(await websocket.recv(), connect.__module__)

asyncio.run(main())
"""


def write(path: Path, text: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def make_environment(folder: Path, *wheels: Path) -> Path:
    """Make a virtual environment with these wheels and h11; return the folder of its packages."""
    venv.create(folder, symlinks=os.name != "nt")
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    pip = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(python),
        "--quiet",
        "install",
        "--no-deps",
        "--no-index",
    ]
    subprocess.run([*pip, "--no-compile", *map(str, wheels)], check=True)
    (packages,) = folder.rglob("site-packages")
    shutil.copytree(Path(h11.__file__).parent, packages / "h11")
    return packages


def run(packages: Path, folder: Path, *arguments: str) -> tuple[int, str]:
    """Run Python in an environment; return its exit status, and what it has printed."""
    root = packages.parents[1 if os.name == "nt" else 2]
    python = root / ("Scripts" if os.name == "nt" else "bin") / "python"
    ours = ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE")
    variables = {name: value for name, value in os.environ.items() if name not in ours}
    done = subprocess.run(
        [python, *arguments],
        cwd=folder,
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = copy_sources(tmp_path_factory.mktemp("names") / "project")
    return build(project, "wheel", WSPROTO_CORE_PURE="1")[0]


@pytest.fixture(scope="module")
def packages(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_environment(tmp_path_factory.mktemp("alone") / "environment", wheel)


@pytest.fixture(scope="module")
def merged_packages(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("merged")
    other = folder / "adapters-1.0-py3-none-any.whl"
    with zipfile.ZipFile(other, "w") as archive:
        for name, text in OTHER.items():
            archive.writestr(name, text)
    return make_environment(folder / "environment", wheel, other)


# The environments have no pytest.
ENTRY_POINTS = """
import sys, types
from importlib.metadata import entry_points

sys.modules["pytest"] = types.SimpleNamespace(fixture=lambda function: function, FixtureRequest=None)
for group, name in (("console_scripts", "wsproto-core"), ("pytest11", "wsproto_core")):
    (entry_point,) = entry_points(group=group, name=name)
    print(entry_point.load().__name__)
"""


def check_second_name(packages: Path, folder: Path) -> None:
    """The second name works, and so do the command and the plugin."""
    source = ECHO.format(name="wsproto_core.adapters") + SAMPLES["second"] + ENTRY_POINTS
    program = write(folder / "second_name.py", source)
    status, output = run(packages, folder, program.name)
    assert status == 0, output
    assert output.splitlines() == [
        "hello wsproto_core.adapters.asyncio.client",
        "main",
        "wsproto_core_pytest",
    ]


def test_both_names(packages: Path, tmp_path: Path) -> None:
    program = write(tmp_path / "first_name.py", ECHO.format(name="adapters"))
    assert run(packages, tmp_path, program.name) == (0, "hello adapters.asyncio.client\n")
    for name in ("adapters", "wsproto_core.adapters"):
        status, output = run(packages, tmp_path, "-m", name, "--help")
        assert status == 0
        assert output.startswith(f"usage: python -m {name} ")
    check_second_name(packages, tmp_path)


def test_a_package_of_the_application(packages: Path, tmp_path: Path) -> None:
    own = write(tmp_path / "adapters" / "__init__.py")
    program = write(tmp_path / "program.py", "from adapters.asyncio import connect\n")
    status, output = run(packages, tmp_path, program.name)
    assert status == 1
    assert output.endswith(SAMPLES["package"])
    check_second_name(packages, tmp_path)

    write(tmp_path / "adapters" / "asyncio.py")
    status, output = run(packages, tmp_path, program.name)
    assert status == 1
    assert output.endswith(SAMPLES["same"].replace("/home/me/shop", str(tmp_path)))

    (tmp_path / "adapters" / "asyncio.py").unlink()
    own.write_text(SAMPLES["extend"])
    program.write_text(ECHO.format(name="adapters"))
    assert run(packages, tmp_path, program.name) == (0, "hello adapters.asyncio.client\n")


def test_a_module_of_the_application(packages: Path, tmp_path: Path) -> None:
    write(tmp_path / "adapters.py")
    status, output = run(packages, tmp_path, "-c", "import adapters.asyncio")
    assert status == 1
    assert output.endswith(SAMPLES["module"])


def test_a_package_of_tests(packages: Path, tmp_path: Path) -> None:
    """pytest puts the folder of test modules at the beginning of ``sys.path``."""
    write(tmp_path / "tests" / "adapters" / "__init__.py")
    write(
        tmp_path / "tests" / "test_shop.py",
        "from adapters.asyncio import connect\n\ndef test_shop():\n    pass\n",
    )
    write(
        tmp_path / "tests" / "test_second_name.py",
        "from wsproto_core.adapters.asyncio import connect\n\n"
        "def test(ws_pair):\n"
        "    with ws_pair(timeout=100) as (client, server):\n"
        "        assert type(client).__module__ == 'wsproto_core.adapters.testing.threading'\n",
    )

    def run_tests(*arguments: str) -> tuple[int, str]:
        variables = {**os.environ, "PYTHONPATH": str(packages), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        variables.pop("PYTHONDONTWRITEBYTECODE", None)
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "wsproto_core", *arguments]
        done = subprocess.run(
            command, cwd=tmp_path, env=variables, capture_output=True, text=True, check=False
        )
        return done.returncode, done.stdout

    # Without what an editable installation adds for itself.
    write(
        tmp_path / "conftest.py",
        "import sys\nsys.meta_path[:] = [each for each in sys.meta_path if 'Editable' not in repr(each)]\n",
    )
    status, output = run_tests("tests/test_shop.py")
    assert status == 2
    assert SAMPLES["tests"] in output
    status, output = run_tests("tests/test_second_name.py")
    assert status == 0, output
    status, output = run_tests("--import-mode=importlib", "tests/test_shop.py")
    assert status == 0, output


def test_a_distribution(merged_packages: Path, tmp_path: Path) -> None:
    assert (merged_packages / "adapters" / "__init__.py").exists()
    program = write(tmp_path / "program.py", "from adapters.asyncio import connect\n")
    status, output = run(merged_packages, tmp_path, program.name)
    assert status == 1
    assert output.endswith(SAMPLES["distribution"])
    check_second_name(merged_packages, tmp_path)


def test_two_copies(packages: Path, tmp_path: Path) -> None:
    """The table of the page: what the two copies share, and what they do not."""
    program = """
import logging, pickle
import adapters.asyncio as first, adapters.shared.tls
import wsproto_core.adapters.asyncio as second, wsproto_core.adapters.shared.tls
print(first.Connection is second.Connection, issubclass(first.ClientConnection, second.Connection))
print(first.ConnectionClosed is second.ConnectionClosed, first.State is second.State)
print(first.Headers is second.Headers, first.prepare is second.prepare)
error = first.InvalidURI("a", "b")
print(pickle.dumps(error).count(b"adapters"))
information = adapters.shared.tls.TLSInfo
other = wsproto_core.adapters.shared.tls.TLSInfo
values = dict.fromkeys(information.__dataclass_fields__)
print(type(pickle.loads(pickle.dumps(information(**values)))) is information)
print(type(pickle.loads(pickle.dumps(other(**values)))) is other, information is other)
"""
    assert run(packages, tmp_path, "-c", program) == (
        0,
        "False False\nTrue True\nTrue True\n0\nTrue\nTrue False\n",
    )


def test_both_names_in_one_program() -> None:
    """In a checkout, too, and with the compiled half: each copy has its own, of its own name."""
    names = ("adapters", "wsproto_core.adapters")
    first, second = (importlib.import_module(f"{name}.asyncio") for name in names)
    assert first.Connection is not second.Connection
    asyncio.run(check_echo(first, second))
    asyncio.run(check_echo(second, first))


async def check_echo(client: Any, server: Any) -> None:
    async def echo(websocket: Any) -> None:
        async for message in websocket:
            await websocket.send(message)

    async with (
        asyncio.timeout(100),
        server.serve(echo, "localhost", 0) as listening,
        client.connect(f"ws://localhost:{listening.port}/") as websocket,
    ):
        assert isinstance(websocket, client.Connection)
        assert not isinstance(websocket, server.Connection)
        receiving = websocket.recv()
        if COMPILED:
            compiled = f"{client.__name__}._speedups._compiled"
            assert type(receiving).__module__ == compiled
            assert sys.modules[compiled].__name__ == compiled
        await websocket.send("hello")
        assert await receiving == "hello"


# Types


TYPED = """
import {name}.asyncio, {name}.otel, {name}.session, {name}.threading, {name}.topics
import {name}.websockets, {name}.wsproto

{name}.asyncio.connect(1)  # type: ignore[arg-type]
{name}.otel.Telemetry().instrument(1)  # type: ignore[arg-type]
{name}.session.Session(1)  # type: ignore[arg-type]
{name}.threading.connect(1)  # type: ignore[arg-type]
{name}.topics.Topics(1)  # type: ignore[arg-type]
{name}.websockets.connect(1)  # type: ignore[arg-type]
{name}.wsproto.WSConnection(1)  # type: ignore[arg-type]
"""


def test_types_of_an_installed_package(packages: Path, tmp_path: Path) -> None:
    """The type checker knows the arguments: it complains about a comment that is not needed."""
    names = ("adapters", "wsproto_core.adapters")
    programs = [
        write(tmp_path / f"program_{number}.py", TYPED.format(name=name)) for number, name in enumerate(names)
    ]
    root = packages.parents[1 if os.name == "nt" else 2]
    python = root / ("Scripts" if os.name == "nt" else "bin") / "python"
    command = [sys.executable, "-m", "mypy", "--strict", "--python-executable", str(python)]
    done = subprocess.run(
        [*command, *(program.name for program in programs)],
        # In this folder, no sources are found before the installed package.
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout


def test_each_adapter_is_marked_as_typed() -> None:
    """`adapters` is a namespace package: PEP 561 wants the mark in each of its packages."""
    folders = [path.parent for path in (ROOT / "adapters").glob("*/__init__.py")]
    assert len(folders) > 10
    assert [folder.name for folder in folders if not (folder / "py.typed").exists()] == []
