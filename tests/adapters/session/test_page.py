"""The page on sessions: its programs work together."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from tests.docs.samples import blocks

PROGRAMS = blocks("session.md", "program")
SERVER, CLIENT, THREADS = PROGRAMS["server"], PROGRAMS["client"], PROGRAMS["threads"]
RUN = "\nasyncio.run(main())\n"
PRINT = "print(event.data, event.position)\n"


async def run_client(port: str) -> None:
    client: dict[str, Any] = {}
    exec(CLIENT.replace(RUN, "").replace("8765", port), client)
    await client["main"]()


async def run_on_threads(port: str) -> None:
    # A thread cannot be cancelled.
    program = THREADS.replace(PRINT, f"{PRINT.strip()}; break\n").replace("8765", port)
    await asyncio.to_thread(exec, program, {})


@pytest.mark.parametrize("run_program", [run_client, run_on_threads])
def test_programs(
    run_program: Callable[[str], Coroutine[Any, Any, None]], capsys: pytest.CaptureFixture[str]
) -> None:
    ports: list[int] = []
    server: dict[str, Any] = {"ports": ports}
    program = SERVER.replace("8765", "0").replace(
        "await server.serve", "ports.append(server.port); await server.serve"
    )
    assert RUN in program
    assert RUN in CLIENT
    assert PRINT in THREADS
    exec(program.replace(RUN, ""), server)

    async def test() -> None:
        serving = asyncio.create_task(server["main"]())
        printed = ""
        async with asyncio.timeout(60):
            while not ports:
                assert not serving.done()
                await asyncio.sleep(0.01)
            running = asyncio.create_task(run_program(str(ports[0])))
            while not printed.endswith("\n"):
                await asyncio.sleep(0.01)
                printed += capsys.readouterr().out
                assert printed or not running.done()
        assert re.fullmatch(r"Hello! [0-9a-f]{16}:1\n", printed)
        for task in (running, serving):
            task.cancel()
            await asyncio.wait([task])
        assert running.cancelled() or running.exception() is None

    asyncio.run(test())
