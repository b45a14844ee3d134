"""The page on topics: its code works."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

from adapters.asyncio import connect
from adapters.topics import START, Position, Retention, Topics
from adapters.topics.nats import NatsBackplane
from adapters.topics.redis import RedisBackplane, RedisClusterBackplane

PAGE = (Path(__file__).parents[3] / "docs" / "topics.md").read_text(encoding="utf-8")
CODES = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def test_chat() -> None:
    program, *_ = CODES
    assert len([line for line in program.splitlines() if line.strip()]) <= 20
    ports: list[int] = []
    names: dict[str, Any] = {"ports": ports}
    program = program.replace("8765", "0").replace(
        "await server.serve", "ports.append(server.port); await server.serve"
    )
    assert "\nasyncio.run(main())\n" in program
    exec(program.replace("\nasyncio.run(main())\n", ""), names)

    async def test() -> None:
        serving = asyncio.create_task(names["main"]())
        async with asyncio.timeout(30):
            while not ports:
                assert not serving.done()
                await asyncio.sleep(0.01)
            uri = f"ws://localhost:{ports[0]}"
            async with connect(f"{uri}/tea") as one, connect(f"{uri}/coffee") as other:
                for message in ("Hello!", "Is somebody here?"):
                    await one.send(message)
                    assert await one.recv() == message
                async with connect(f"{uri}/tea") as two:
                    assert [await two.recv(), await two.recv()] == ["Hello!", "Is somebody here?"]
                    await two.send("Yes.")
                    assert await one.recv() == await two.recv() == "Yes."
                await other.send("Coffee?")
                assert await other.recv() == "Coffee?"
        serving.cancel()
        await asyncio.wait([serving])

    asyncio.run(test())


def test_other_codes() -> None:
    names: dict[str, Any] = {"Topics": Topics, "Retention": Retention}
    made = []
    for code in CODES[1:]:
        exec(code, names)
        made.append(names["topics"])
    assert made[1]._on_gap is names["on_gap"]
    assert isinstance(made[2]._backplane, RedisBackplane)
    assert isinstance(made[3]._backplane, RedisClusterBackplane)
    assert isinstance(made[4]._backplane, NatsBackplane)


def test_position_is_a_short_text() -> None:
    assert str(Position("2b7e151628aed2a6", 41)) == "2b7e151628aed2a6:41"
    assert Position.parse("2b7e151628aed2a6:41") > START
