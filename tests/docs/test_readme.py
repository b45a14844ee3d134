"""Every program of the README is run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.ports import free_port

from .samples import DOCS, blocks, connected, python, run, serving, write

PROGRAMS = blocks("../README.md", "program")
COMMANDS = blocks("../README.md", "run")


def test_all_programs_are_named() -> None:
    assert (DOCS.parent / "README.md").read_text(encoding="utf-8").count("```python") == len(PROGRAMS)
    assert PROGRAMS.keys() == {
        "core/client.py",
        *(
            f"{runtime}/{end}.py"
            for runtime in ("asyncio", "trio", "threads")
            for end in ("server", "client")
        ),
    }


@pytest.mark.parametrize("runtime", ["asyncio", "trio", "threads"])
def test_server_and_client(runtime: str, tmp_path: Path) -> None:
    port = {"8765": str(free_port())}
    server = write(tmp_path, "server.py", PROGRAMS[f"{runtime}/server.py"], port)
    clients = [f"{runtime}/client.py"] + ["core/client.py"] * (runtime == "asyncio")

    async def wait(uri: str) -> None:
        async with connected(process, uri):
            pass

    with serving(tmp_path, str(server)) as process:
        run(lambda: wait(f"ws://localhost:{port['8765']}"))
        for client in clients:
            program = write(tmp_path, "client.py", PROGRAMS[client], port)
            assert python(tmp_path, str(program)) == "Hello!\n"


def test_commands() -> None:
    """tests/adapters/cli/test_page.py runs those of the command line, tests/demo the demo."""
    assert COMMANDS["command-line"] == blocks("command-line.md", "run")["first"]
    demo = [line.partition("#")[0].split() for line in COMMANDS["demo"].splitlines()]
    assert demo == [["make", "demo"], ["make", "demo", "SERVE=1"]]
    makefile = (DOCS.parent / "Makefile").read_text(encoding="utf-8")
    assert "\ndemo: $(VENV)/.package\n\t$(BIN)/python docs/demo/demo.py\n" in makefile
