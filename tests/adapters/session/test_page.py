"""The page on sessions: its programs work together."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest

from tests.docs.samples import blocks

PROGRAMS = blocks("session.md", "program")
SERVER, CLIENT = PROGRAMS["server"], PROGRAMS["client"]
RUN = "\nasyncio.run(main())\n"


def test_programs(capsys: pytest.CaptureFixture[str]) -> None:
    ports: list[int] = []
    server: dict[str, Any] = {"ports": ports}
    program = SERVER.replace("8765", "0").replace(
        "await server.serve", "ports.append(server.port); await server.serve"
    )
    assert RUN in program
    assert RUN in CLIENT
    exec(program.replace(RUN, ""), server)

    async def test() -> None:
        serving = asyncio.create_task(server["main"]())
        printed = ""
        async with asyncio.timeout(60):
            while not ports:
                assert not serving.done()
                await asyncio.sleep(0.01)
            client: dict[str, Any] = {}
            exec(CLIENT.replace(RUN, "").replace("8765", str(ports[0])), client)
            running = asyncio.create_task(client["main"]())
            while not printed.endswith("\n"):
                assert not running.done()
                await asyncio.sleep(0.01)
                printed += capsys.readouterr().out
        assert re.fullmatch(r"Hello! [0-9a-f]{16}:1\n", printed)
        for task in (running, serving):
            task.cancel()
            await asyncio.wait([task])

    asyncio.run(test())
