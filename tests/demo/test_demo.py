"""The demo does what it says, and notices when something does not work."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import Any, cast

import pytest
from transcript import Step, Tally, Transcript, describe, size

from adapters.asyncio import ClientConnection, connect
from adapters.cli.chat import MAX_NAME, MAX_TEXT, PAGE, Room, clean_name, parse, serve_chat
from wsproto_core import ConnectionClosed, InvalidStatusCode

DEMO = Path(__file__).parents[2] / "docs" / "demo"
TIMEOUT = 100


def run_demo(breakage: str = "") -> subprocess.CompletedProcess[str]:
    """Run the demo in a process of its own, after having broken something in it."""
    arguments = ["-c", f"import sys, demo\n{breakage}\nsys.exit(demo.main())"] if breakage else ["demo.py"]
    environment = {name: value for name, value in os.environ.items() if name not in ("SERVE", "PORT")}
    return subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        cwd=DEMO,
        env={**environment, "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        encoding="utf-8",
        timeout=TIMEOUT,
        check=False,
    )


# The whole demo


def test_everything_happens() -> None:
    result = run_demo()
    assert result.stderr == ""
    assert result.returncode == 0
    lines, _, then = result.stdout.partition("\n\nWhat next?\n")
    assert "make demo SERVE=1" in then
    for page in re.findall(r"docs/\S+", then):
        assert (DEMO.parents[1] / page).is_file()
    *_, total, verdict = lines.splitlines()
    assert re.fullmatch(r"In all \d+ messages in \d+ frames, 9\.\d\d MiB on the wire\.", total)
    assert re.fullmatch(rf"OK: {len(Step)} of {len(Step)} steps done, in [\d.]+ s", verdict)
    for name, code in (("Ada", 1001), ("Grace", 1000), ("Hedy", 1000)):
        assert re.search(rf"^{name} .* 1, [\d.]+ ms +{code}$", result.stdout, re.MULTILINE), name


def test_it_runs_from_any_directory_and_without_unicode() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "SERVE"}
    result = subprocess.run(
        [sys.executable, DEMO / "demo.py"],
        cwd="/",
        env={**environment, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        encoding="ascii",
        timeout=TIMEOUT,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr


BREAKAGES: dict[str, tuple[str, list[Step]]] = {
    "binary messages are damaged": (
        """
import json
from adapters.cli import chat
deliver = chat.Room._deliver
async def damage(self, person, *messages):
    await deliver(self, person, *(each[::-1] if isinstance(each, bytes) else each for each in messages))
chat.Room._deliver = damage
""",
        [Step.BINARY, Step.FILE_IN_PIECES, Step.FILE_WHOLE],
    ),
    "half of the file is missing": (
        """
import clients
send_file = clients.AsyncioClient.send_file
clients.AsyncioClient.send_file = lambda self, data: send_file(self, data[: len(data) // 2])
""",
        [Step.FILE_IN_PIECES, Step.FILE_WHOLE],
    ),
    "there is no page": (
        """
from adapters.cli import chat
chat.PAGE = chat.PAGE.with_name("nothing.html")
""",
        [Step.PAGE],
    ),
    "a message is not counted": (
        """
import clients
clients.ChatClient._count = lambda self, length: None
""",
        [Step.COUNTERS],
    ),
    "a client leaves with another code": (
        """
import clients
leave = clients.ChatClient.leave
clients.ChatClient.leave = lambda self, code, reason: leave(self, 4000, reason)
""",
        [Step.LEFT],
    ),
    "the server never answers": (
        """
import asyncio
from adapters.cli import chat
async def say_nothing(self, websocket):
    await websocket.wait_closed()
chat.Room.handle = say_nothing
demo.DEADLINE = 5
""",
        [step for step in Step if step not in (Step.PAGE, Step.NOT_FOUND)],
    ),
}


@pytest.mark.parametrize("breakage", BREAKAGES)
def test_what_does_not_happen_is_missed(breakage: str) -> None:
    code, missing = BREAKAGES[breakage]
    result = run_demo(code)
    assert result.returncode == 1
    assert re.findall("^MISSING: (.*)$", result.stdout, re.MULTILINE) == [step.value for step in missing]
    assert f"FAILED: only {len(Step) - len(missing)} of {len(Step)} steps done" in result.stdout


def test_a_hang_that_ignores_the_deadline_ends() -> None:
    result = run_demo(
        """
import time
from adapters.cli import chat
async def block(self, websocket):
    time.sleep(1000)
chat.Room.handle = block
demo.DEADLINE, demo.GRACE = 5, 1
"""
    )
    assert result.returncode == 1
    assert "Timeout" in result.stderr
    assert "in block" in result.stderr


# SERVE=1


@contextmanager
def serving(port: str = "") -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The demo with SERVE=1, and the URL that it prints."""
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "demo.py"],
        cwd=DEMO,
        env={**os.environ, "SERVE": "1", "PORT": port, "PYTHONIOENCODING": "utf-8"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
    with process:
        try:
            assert process.stdout is not None
            url = re.search(r"http://127\.0\.0\.1:\d+/", process.stdout.readline())
            assert url
            yield process, url.group()
        finally:
            process.kill()


def test_serve_stays_until_interrupted() -> None:
    with serving() as (process, url):
        with urllib.request.urlopen(url, timeout=TIMEOUT) as response:
            assert response.status == 200
            assert response.headers["Content-Type"] == "text/html; charset=utf-8"
            assert response.read() == PAGE.read_bytes()

        async def talk() -> int | None:
            async with connect(f"{url.replace('http', 'ws')}chat") as websocket:
                await websocket.send('{"type": "join", "name": "Ada"}')
                await websocket.recv()
                process.send_signal(signal.SIGINT)
                await websocket.wait_closed()
                return websocket.close_code

        assert asyncio.run(talk()) == 1001
        output, errors = process.communicate(timeout=TIMEOUT)
        assert process.returncode == 0
        assert errors == ""
        assert output.splitlines()[-1].endswith("is closed")


def test_serve_on_a_port_that_is_taken() -> None:
    with serving() as (_, url):
        port = url.split(":")[2].strip("/")
        result = subprocess.run(
            [sys.executable, "demo.py"],
            cwd=DEMO,
            env={**os.environ, "SERVE": "1", "PORT": port},
            capture_output=True,
            encoding="utf-8",
            timeout=TIMEOUT,
            check=False,
        )
    assert result.returncode == 1
    assert result.stderr.startswith("The server can't start: ")
    assert "Traceback" not in result.stderr


# The server


async def receive_until(websocket: ClientConnection, kind: str) -> dict[str, Any]:
    while (fields := parse(await websocket.recv())).get("type") != kind:
        pass
    return fields


async def receive_all(websocket: ClientConnection) -> None:
    while True:
        await websocket.recv()


async def join(websocket: ClientConnection, name: object) -> str:
    """Join; return the name that the server gives, once everything about it has been received."""
    await websocket.send(json.dumps({"type": "join", "name": name}))
    given = await receive_until(websocket, "join")
    await receive_until(websocket, "people")
    return cast(str, given["name"])


def test_names_are_limited_and_unique() -> None:
    async def main() -> list[str]:
        async with serve_chat(Room()) as server:
            names = []
            async with connect(server.chat_url) as one, connect(server.chat_url) as two:
                names.append(await join(one, "<b>Ada</b>"))
                names.append(await join(two, "<b>Ada</b>"))
            async with connect(server.chat_url) as three:
                names.append(await join(three, "x" * 1000))
            async with connect(server.chat_url) as four:
                names.append(await join(four, ["not a name"]))
            return names

    assert asyncio.run(main()) == ["<b>Ada</b>", "<b>Ada</b> 2", "x" * MAX_NAME, "Somebody"]


def test_clean_name() -> None:
    assert clean_name("  Ada \t\n Lovelace ") == "Ada Lovelace"
    assert clean_name("Ada\x1b[31m\u202egnp.exe") == "Ada [31m gnp.exe"
    assert clean_name("\x00") == "Somebody"
    assert clean_name(None) == "Somebody"


def test_text_is_limited() -> None:
    async def main() -> str:
        async with serve_chat(Room()) as server, connect(server.chat_url) as websocket:
            await join(websocket, "Ada")
            await websocket.send(json.dumps({"type": "message", "text": "x" * 10 * MAX_TEXT}))
            return cast(str, (await receive_until(websocket, "message"))["text"])

    assert asyncio.run(main()) == "x" * MAX_TEXT


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        (["{"], "expected a join message first"),
        (["[" * 100_000], "expected a join message first"),
        (["[]"], "expected a join message first"),
        ([b"binary"], "expected a join message first"),
        (['{"type": "join", "name": "Ada"}', "hello"], "expected a message with a text"),
        (
            ['{"type": "join", "name": "Ada"}', '{"type": "message", "text": 1}'],
            "expected a message with a text",
        ),
    ],
)
def test_what_is_no_chat_is_refused(messages: list[str | bytes], reason: str) -> None:
    async def main() -> tuple[int, str]:
        async with serve_chat(Room()) as server, connect(server.chat_url) as websocket:
            for message in messages:
                await websocket.send(message)
            with pytest.raises(ConnectionClosed) as caught:
                await receive_all(websocket)
        return caught.value.code, caught.value.reason

    assert asyncio.run(main()) == (1008, reason)


def test_files_have_names() -> None:
    async def main() -> None:
        async with (
            serve_chat(Room()) as server,
            connect(server.chat_url) as ada,
            connect(server.chat_url) as grace,
            connect(server.chat_url) as hedy,
        ):
            await join(ada, "Ada")
            await join(grace, "Grace")
            await join(hedy, "Hedy")
            for person, name in ((ada, "a\x00.txt"), (grace, "x" * 1000)):
                await person.send(json.dumps({"type": "file", "file": name}))
            for person in (ada, grace):
                await person.send(bytes(100_000))
                await person.send(b"no file")
            announced = []
            while len(announced) < 4:
                message = await hedy.recv()
                fields = parse(message)
                if fields.get("type") == "file":
                    following = await hedy.recv()
                    assert len(following) == 100_000
                    announced.append((fields["name"], fields["file"]))
                elif isinstance(message, bytes):
                    assert message == b"no file"
                    announced.append((None, None))
            files = [each for each in announced if each[0]]
            assert sorted(files) == [("Ada", "a .txt"), ("Grace", "x" * 100)]

    asyncio.run(main())


def test_pings_of_pages_are_answered() -> None:
    async def main() -> None:
        async with serve_chat(Room()) as server, connect(server.chat_url) as ada:
            await join(ada, "Ada")
            await ada.send('{"type": "ping"}')
            assert await receive_until(ada, "pong") == {"type": "pong"}

    asyncio.run(main())


def test_whoever_does_not_join_is_sent_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapters.cli.chat.PATIENCE", 0.2)

    async def main() -> int | None:
        async with serve_chat(Room()) as server, connect(server.chat_url) as websocket:
            await websocket.wait_closed()
            return websocket.close_code

    assert asyncio.run(main()) == 1008


def test_whoever_does_not_read_is_sent_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapters.cli.chat.PATIENCE", 0.5)

    async def main() -> int | None:
        room = Room()
        async with serve_chat(room) as server, connect(server.chat_url, compression=None) as fast:
            await join(fast, "Fast")
            async with connect(server.chat_url, compression=None) as slow:
                await join(slow, "Slow")
                slow.transport.pause_reading()
                # More than any system keeps in its buffers.
                for _ in range(64):
                    if len(room.people) < 2 or not all(person.open for person in room.people):
                        break
                    await fast.send(bytes(2**20))
                else:
                    pytest.fail("nobody waited for the slow client")
                slow.transport.resume_reading()
                with pytest.raises(ConnectionClosed):
                    await receive_all(slow)
                return slow.close_code

    assert asyncio.run(main()) == 1013


@pytest.mark.parametrize("path", ["/nothing", "/chat.html", "/../demo.py", "/chat/"])
def test_there_is_only_one_page(path: str) -> None:
    async def main() -> int:
        async with serve_chat(Room()) as server:

            def get() -> int:
                with pytest.raises(urllib.error.HTTPError) as caught:
                    urllib.request.urlopen(server.page_url + path[1:], timeout=TIMEOUT)
                with caught.value as error:
                    return error.code

            return await asyncio.to_thread(get)

    assert asyncio.run(main()) == 404


def test_other_origins_are_refused() -> None:
    async def main() -> None:
        async with serve_chat(Room()) as server:
            async with connect(server.chat_url, origin=server.page_url.rstrip("/")) as websocket:
                assert await join(websocket, "Ada") == "Ada"
            with pytest.raises(InvalidStatusCode) as caught:
                await connect(server.chat_url, origin="http://example.com")
            assert caught.value.status_code == 403

    asyncio.run(main())


# The transcript


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_redrawn_on_a_terminal() -> None:
    terminal = Terminal()
    transcript = Transcript(terminal)
    for done in range(11):
        transcript.progress("Ada", "a file", done, 10)
    assert terminal.getvalue().count("\r") == 11
    assert terminal.getvalue().count("\n") == 1
    assert terminal.getvalue().endswith("[########################] 100%\n")


def test_progress_is_sparse_elsewhere() -> None:
    stream = StringIO()
    transcript = Transcript(stream)
    for done in range(1001):
        transcript.progress("Ada", "a file", done, 1000)
    assert [line[-4:] for line in stream.getvalue().splitlines()] == ["  0%", " 25%", " 50%", " 75%", "100%"]


def test_the_summary_fails_unless_all_is_done() -> None:
    transcript = Transcript(StringIO())
    for step in Step:
        assert not transcript.summary()
        transcript.done(step)
    assert transcript.summary()


def test_a_tally_that_disagrees_with_the_connection() -> None:
    assert not Tally(messages_sent=1, bytes_sent=1).agrees()


def test_messages_are_escaped() -> None:
    assert describe("\x1b[31m") == r"text, 5 B: '\x1b[31m'"
    assert describe("x" * 100) == "text, 100 B: '" + "x" * 59 + "…'"
    assert describe(bytes(2048)) == "binary, 2.0 KiB"
    assert size(5 * 2**20) == "5.00 MiB"


def test_the_page_writes_no_html() -> None:
    page = Path(PAGE).read_text(encoding="utf-8")
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(", page)
