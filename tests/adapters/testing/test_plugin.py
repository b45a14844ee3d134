"""The plugin for pytest, and the examples of docs/testing.md: test modules that pytest runs, in a process."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

PLUGINS = (
    "anyio.pytest_plugin",
    "pytest_asyncio.plugin",
    "pytest_trio.plugin",
    "wsproto_core_pytest",
)
"""What pytest would load by entry points: these alone, whatever else is installed."""

PAGE = (ROOT / "docs" / "testing.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def run(folder: Path, *sources: str, options: tuple[str, ...] = ()) -> tuple[int, str]:
    """Run pytest on test modules; return its exit status, and what it has printed."""
    (folder / "pytest.ini").write_text(
        "[pytest]\nfilterwarnings = error\nasyncio_default_fixture_loop_scope = function\n"
    )
    for number, source in enumerate(sources):
        (folder / f"test_{number}.py").write_text(source, encoding="utf-8")
    plugins = [argument for name in PLUGINS for argument in ("-p", name)]
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *plugins, *options]
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_entry_point_and_extra() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    assert project["entry-points"]["pytest11"] == {"wsproto_core": PLUGINS[-1]}
    assert {re.match(r"\w+", line)[0] for line in project["optional-dependencies"]["testing"]} == {  # type: ignore[index]
        "pytest",
        "anyio",
    }


def test_examples_of_the_page(tmp_path: Path) -> None:
    status, output = run(tmp_path, *EXAMPLES)
    assert status == 0, output
    # Each has a test, those for anyio's plugin run on two runtimes, and one module has two tests.
    assert f"{len(EXAMPLES) + 3} passed" in output


def test_tests_of_the_page_are_short() -> None:
    for example in EXAMPLES:
        tests = re.findall(r"(?:@.*\n)*(?:async )?def test_.*\n(?:(?: .*)?\n)*", example)
        assert tests
        assert all(len(test.strip().splitlines()) < 10 for test in tests)


RUNNERS = {
    "asyncio": "@pytest.mark.asyncio\nasync",
    "trio": "@pytest.mark.trio\nasync",
    "anyio": "@pytest.mark.anyio\nasync",
    "threading": "",
}


@pytest.mark.parametrize("adapter", RUNNERS)
def test_runtime_of_a_test(tmp_path: Path, adapter: str) -> None:
    head = RUNNERS[adapter]
    a, wait = ("async ", "await ") if head else ("", "")
    source = f"""
import pytest

{a}def echo(websocket):
    {wait}websocket.send({wait}websocket.recv())

{head} def test(ws_runtime, ws_pair, ws_server):
    assert ws_runtime == "{adapter}"
    {a}with ws_pair(timeout=100) as (client, server):
        assert type(client).__module__ == "adapters.testing.{adapter}"
        {wait}client.send("hello")
        assert {wait}server.recv() == "hello"
    from adapters.{adapter} import connect
    {a}with ws_server(echo, timeout=100) as serving, connect(serving.uri) as client:
        {wait}client.send("hello")
        assert {wait}client.recv() == "hello"
""".replace("\n def test", "\ndef test")
    status, output = run(tmp_path, source)
    assert status == 0, output


def test_second_name(tmp_path: Path) -> None:
    source = """
import wsproto_core.adapters.threading

def test(ws_pair, asgi_ws):
    with ws_pair(timeout=100) as (client, server):
        assert type(client).__module__ == "wsproto_core.adapters.testing.threading"
    assert asgi_ws.__module__ == "wsproto_core.adapters.testing.asgi"
"""
    status, output = run(tmp_path, source)
    assert status == 0, output


def test_another_runtime(tmp_path: Path) -> None:
    source = """
import pytest

@pytest.fixture
def ws_runtime(request):
    return request.config.getoption("-k")

@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_asyncio(anyio_backend, ws_pair):
    async with ws_pair(timeout=100) as (client, server):
        assert type(client).__module__ == "adapters.testing.asyncio"

def test_curio(ws_pair):
    pass
"""
    assert run(tmp_path, source, options=("-k", "asyncio"))[0] == 0
    status, output = run(tmp_path, source, options=("-k", "curio"))
    assert status == 1
    assert "ws_runtime is 'asyncio', 'trio', 'anyio' or 'threading', not 'curio'" in output


VIRTUAL = """
import pytest, trio

@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request):
    return request.param, {{"clock": trio.testing.MockClock(autojump_threshold=0)}} if {mock} else {{}}

@pytest.mark.anyio
async def test_anyio(virtual_time, ws_pair):
    import anyio
    begun = anyio.current_time()
    async with ws_pair(timeout=5000) as (client, server):
        with pytest.raises(TimeoutError):
            await client.recv()
    assert anyio.current_time() - begun == pytest.approx(5000)
"""


def test_virtual_time_with_anyio(tmp_path: Path) -> None:
    status, output = run(tmp_path, VIRTUAL.format(mock='request.param == "trio"'))
    assert status == 0, output
    assert "2 passed" in output
    status, output = run(tmp_path, VIRTUAL.format(mock="False"))
    assert status == 1
    assert "1 failed, 1 passed" in output
    assert "virtual_time needs trio's MockClock: let the fixture anyio_backend return" in output


def test_virtual_time_with_other_plugins(tmp_path: Path) -> None:
    source = """
import asyncio, time, pytest, trio

@pytest.mark.trio
async def test_trio(virtual_time):
    begun = trio.current_time()
    await trio.sleep(5000)
    assert trio.current_time() - begun == pytest.approx(5000)

@pytest.mark.asyncio
async def test_asyncio(virtual_time):
    begun = asyncio.get_running_loop().time()
    await asyncio.sleep(5000)
    assert asyncio.get_running_loop().time() - begun == pytest.approx(5000)

@pytest.mark.asyncio
async def test_real_time():
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await asyncio.sleep(5000)

def test_plain(virtual_time):
    pass
"""
    status, output = run(tmp_path, source)
    assert status == 1
    assert "3 passed, 1 error" in output
    assert "virtual_time needs a coroutine function as a test" in output


def test_import_is_cheap() -> None:
    program = "import pytest, sys; import wsproto_core_pytest; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = {name for name in done.stdout.split() if name.startswith(("adapters", "wsproto_core", "anyio"))}
    assert loaded == {"wsproto_core_pytest"}
