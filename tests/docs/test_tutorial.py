"""The programs of the tutorial, written into a folder as a reader would, on each runtime."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import ssl
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from adapters.asyncio import CloseCode, ConnectionClosed, InvalidStatusCode, connect
from tests.adapters.cli.terminals import on_terminal
from tests.ports import free_port

from .samples import CERTIFICATES, DEADLINE, blocks, connected, environment, python, run, serving, write

PAGES = {
    page: blocks(f"tutorial/{page}.md", "program")
    for page in ("start", "room", "browser", "tests", "operation")
}
PROGRAMS = {name: program for programs in PAGES.values() for name, program in programs.items()}
FILES = blocks("tutorial/browser.md", "file")
COMMANDS = {
    name: command
    for page in ("start", "room", "tests", "operation")
    for name, command in blocks(f"tutorial/{page}.md", "run").items()
}
PLUGINS = {"asyncio": "pytest_asyncio.plugin", "trio": "pytest_trio.plugin", "anyio": "anyio.pytest_plugin"}

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGTERM to be handled")


@pytest.fixture(params=["asyncio", "trio", "anyio", "threading"])
def runtime(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def save(folder: Path, runtime: str, name: str, port: int = 0) -> None:
    """Write a program of the tutorial into a folder, with another port."""
    program = PROGRAMS[f"{runtime}/{name}"]
    changes = {number: str(port) for number in ("8765", "8443") if number in program}
    write(folder, name, program, changes)


def command(name: str, folder: Path, port: int) -> str:
    """Run the commands of a page; return what they print."""
    text = COMMANDS[name].replace("8765", str(port)).replace("8443", str(port))
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    done = subprocess.run(
        text,
        shell=True,
        cwd=folder,
        env={**environment(), "PATH": path},
        capture_output=True,
        encoding="utf-8",
        timeout=DEADLINE,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def arguments(name: str) -> list[str]:
    """Return the arguments of Python in a command of a page."""
    python, *others = shlex.split(COMMANDS[name])
    assert python == "python"
    return others


def test_each_runtime_has_each_program() -> None:
    names = {name.partition("/")[2] for name in PROGRAMS}
    assert names == {"echo.py", "hello.py", "chat.py", "web.py", "test_chat.py", "secure.py"}
    assert len(PROGRAMS) == 4 * len(names)


def test_first_server_and_client(runtime: str, tmp_path: Path) -> None:
    port = free_port()
    save(tmp_path, runtime, "echo.py", port)
    save(tmp_path, runtime, "hello.py", port)

    async def wait() -> None:
        async with connected(process, f"ws://localhost:{port}/"):
            pass

    with serving(tmp_path, *arguments("server")) as process:
        run(wait)
        assert python(tmp_path, *arguments("client")) == "Hello!\n"
        if runtime == "asyncio":
            assert command("pipe", tmp_path, port) == "hello\n"


def test_room(runtime: str, tmp_path: Path) -> None:
    port = free_port()
    save(tmp_path, runtime, "chat.py", port)
    uri = f"ws://localhost:{port}"

    async def refuse(path: str, message: str) -> tuple[int | None, str | None]:
        async with connected(process, f"{uri}{path}") as client:
            # The reason may be there before the message is sent.
            with suppress(ConnectionClosed):
                await client.send(message)
            await client.wait_closed()
            return client.close_code, client.close_reason

    async def main() -> None:
        async with (
            connected(process, f"{uri}/tea") as alice,
            connected(process, f"{uri}/coffee") as elsewhere,
            connected(process, f"{uri}/tea") as bob,
        ):
            await alice.send("Alice")
            assert await alice.recv() == "Alice is here."
            await elsewhere.send("Alice")
            assert await elsewhere.recv() == "Alice is here."
            violation = CloseCode.POLICY_VIOLATION
            assert await refuse("/tea", "Alice") == (violation, "somebody has this name")
            assert await refuse("/tea", "A\n") == (violation, "a name has 1 to 20 characters")
            assert await refuse("/water", "Alice") == (violation, "there is no such room")
            await bob.send("Bob")
            assert [await bob.recv() for _ in range(2)] == ["Alice is here.", "Bob is here."]
            await bob.send(b"binary")
            await bob.wait_closed()
            assert bob.close_code == CloseCode.UNSUPPORTED_DATA
            assert [await alice.recv() for _ in range(2)] == ["Bob is here.", "Bob has left."]
            await alice.send("a" * 1001)
            await alice.wait_closed()
            assert alice.close_code == CloseCode.MESSAGE_TOO_BIG

    with serving(tmp_path, "chat.py") as process:
        run(main)
        if runtime == "asyncio":
            printed = command("chat", tmp_path, port).splitlines()
            assert printed[-2:] == ["Alice is here.", "Alice: Hello!"]
            talk_on_terminals(tmp_path, port)


def talk_on_terminals(folder: Path, port: int) -> None:
    """Do what the page says: two clients, and one with a name that somebody has."""
    _, _, _, *connect_to = shlex.split(COMMANDS["terminal"].replace("8765", str(port)))
    with on_terminal(folder, *connect_to) as carol, on_terminal(folder, *connect_to) as dan:
        for client in (carol, dan):
            client.expect(">")
        carol.type("Carol\r")
        carol.expect("< Carol is here.")
        carol.type("a line\r")
        carol.expect("< Carol: a line")
        dan.type("Dan\r")
        dan.expect("< Carol: a line")
        with on_terminal(folder, *connect_to) as other:
            other.expect(">")
            other.type("Dan\r")
            other.expect("1008 (policy violation) 'somebody has this name'")


def test_web_page(runtime: str, tmp_path: Path) -> None:
    port = free_port()
    save(tmp_path, runtime, "chat.py", port)
    save(tmp_path, runtime, "web.py", port)
    write(tmp_path, "page.html", FILES["page.html"], {})

    async def main() -> None:
        uri = f"ws://localhost:{port}"
        async with connected(process, f"{uri}/tea", origin=f"http://localhost:{port}") as client:
            await client.send("Alice")
            assert await client.recv() == "Alice is here."
        with pytest.raises(InvalidStatusCode) as refused:
            await connect(f"{uri}/tea", origin="https://attacker.example", proxy=None)
        assert refused.value.status_code == 403
        with pytest.raises(InvalidStatusCode) as answer:
            await connect(f"{uri}/", proxy=None)
        assert answer.value.status_code == 200
        assert answer.value.response is not None
        assert answer.value.response.body == FILES["page.html"].encode()

    with serving(tmp_path, "web.py") as process:
        run(main)


def test_tests(runtime: str, tmp_path: Path) -> None:
    save(tmp_path, runtime, "chat.py", 8765)
    save(tmp_path, runtime, "test_chat.py")
    ini = "[pytest]\nfilterwarnings = error\n"
    if runtime == "asyncio":
        ini += "asyncio_default_fixture_loop_scope = function\n"
    write(tmp_path, "pytest.ini", ini, {})
    plugins = ["wsproto_core_pytest", *([PLUGINS[runtime]] if runtime in PLUGINS else [])]
    arguments = [argument for name in plugins for argument in ("-p", name)]
    done = subprocess.run(
        [sys.executable, "-m", *shlex.split(COMMANDS["tests"]), "-p", "no:cacheprovider", *arguments],
        cwd=tmp_path,
        env={**environment(), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        encoding="utf-8",
        timeout=DEADLINE,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert ("2 passed" if runtime == "threading" else "3 passed") in done.stdout


def test_tls_and_stopping(runtime: str, tmp_path: Path) -> None:
    port = free_port()
    for name in ("chat.py", "web.py", "secure.py"):
        save(tmp_path, runtime, name, port)
    write(tmp_path, "page.html", FILES["page.html"], {})
    if runtime == "asyncio":
        if shutil.which("openssl") is None:
            pytest.skip("openssl is not installed")
        command("certificate", tmp_path, port)
    else:
        for file in ("localhost.pem", "localhost.key"):
            shutil.copy(CERTIFICATES / file, tmp_path)
    context = ssl.create_default_context(cafile=tmp_path / "localhost.pem")

    async def main() -> None:
        async with connected(process, f"wss://localhost:{port}/tea", ssl=context) as client:
            if runtime == "asyncio":
                assert "Alice: Hello!" in command("secure", tmp_path, port).splitlines()
            process.send_signal(signal.SIGTERM)
            await client.wait_closed()
            assert client.close_code == CloseCode.GOING_AWAY

    with serving(tmp_path, "secure.py") as process:
        run(main)
        assert process.communicate(timeout=DEADLINE) == ("", "")
        assert process.returncode == 0
