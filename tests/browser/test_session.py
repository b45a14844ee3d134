"""The client of the session protocol for pages: docs/session.js."""

from __future__ import annotations

import re

from adapters.asyncio import ServerConnection
from adapters.topics import MemoryBackplane, Retention, Topics
from adapters.topics.session import serve_session
from tests.docs.samples import DOCS, blocks

from .devtools import Chromium
from .test_chromium import page_of, run

SOURCE = (DOCS / "session.js").read_text(encoding="utf-8")

LOAD = """async (source, url, options) => {
    const file = URL.createObjectURL(new Blob([source], {type: "text/javascript"}));
    const {Session} = await import(file);
    window.seen = {phases: [], messages: [], gaps: [], refused: []};
    window.session = new Session(() => url, {
        firstDelay: 10, phase: phase => seen.phases.push(phase), ...options
    });
    window.subscribe = (topic, position) => session.subscribe(
        topic,
        message => seen.messages.push([message.topic, [...message.data].join(" ")]),
        {position, gap: gap => seen.gaps.push(gap.reason), refused: each => seen.refused.push(each.reason)}
    );
}"""

MESSAGES = "() => seen.messages.splice(0).map(each => each.join())"


def test_file_is_short() -> None:
    assert len(SOURCE.splitlines()) < 150


def test_sample(chromium: Chromium) -> None:
    sample = blocks("session.md", "sample")["browser"]

    async def main() -> None:
        async with Topics(history=Retention(10)) as topics:

            async def handler(websocket: ServerConnection) -> None:
                await serve_session(topics, websocket, may=lambda *_: True)

            async with page_of(chromium, handler, subprotocols=["topics.1"]) as (page, uri):
                code = sample.replace("ws://localhost:8765/", uri)
                run_sample = """async (source, code) => {
                    const file = text => URL.createObjectURL(new Blob([text], {type: "text/javascript"}));
                    window.printed = [];
                    console.log = (...values) => printed.push(values.join(" "));
                    await import(file(code.replace("./session.js", file(source))));
                }"""
                await page.call(run_sample, SOURCE, code)
                await page.wait_for("printed.length")
                assert re.fullmatch(r"Hello! [0-9a-f]{16}:1", await page.evaluate("printed.join()"))

    run(main())


def test_page_that_comes_back(chromium: Chromium) -> None:
    ends: list[ServerConnection] = []

    async def main() -> None:
        backplane = MemoryBackplane()
        async with Topics(backplane, history={"kept.*": Retention(5)}) as topics:

            async def handler(websocket: ServerConnection) -> None:
                ends.append(websocket)
                await serve_session(topics, websocket, may=lambda _, action, topic: topic != "secret")

            async with page_of(chromium, handler, subprotocols=["topics.1"]) as (page, uri):
                await page.call(LOAD, SOURCE, uri, {})
                for topic in ("kept.1", "room", "kept.*", "secret"):
                    await page.call("topic => subscribe(topic)", topic)
                await page.wait_for("seen.refused.length")
                assert await page.evaluate("seen.refused.join()") == "not allowed"
                # Text and binary messages, in both directions.
                position = await page.call("() => session.publish('kept.1', 'Grüße')")
                assert position.endswith(":1")
                await page.call("() => session.publish('room', new Uint8Array([0, 10, 255]))")
                await page.wait_for("seen.messages.length === 3")
                assert sorted(await page.call(MESSAGES)) == [
                    "kept.1,G r ü ß e",
                    "kept.1,G r ü ß e",
                    "room,0 10 255",
                ]
                assert await page.call("() => session.position('kept.1')") == position
                # What was missed.
                ends[-1].transport.abort()
                for number in range(3):
                    await topics.publish("kept.1", str(number))
                await page.wait_for("seen.messages.length >= 3")
                found = await page.call(MESSAGES)
                assert [each for each in found if each.startswith("kept.1")][:3] == [
                    f"kept.1,{number}" for number in range(3)
                ]
                # What is not there any more.
                count = len(ends)
                ends[-1].transport.abort()
                for number in range(10):
                    await topics.publish("kept.1", str(number))
                await page.wait_for("seen.gaps.length")
                assert await page.evaluate("seen.gaps.join()") == "trimmed"
                assert len(ends) > count
                # What was accepted without a connection.
                ends[-1].transport.abort()
                later = await page.call("() => session.publish('kept.2', 'later')")
                assert later.endswith(":1")
                # What a subscription to a pattern does not get.
                backplane.forget("kept.2")
                await topics.publish("kept.2", "anew")
                await page.wait_for("seen.gaps.length === 2")
                assert await page.evaluate("seen.gaps.join()") == "trimmed,lost"
                phases = await page.evaluate("seen.phases.join()")
                assert phases.startswith("connecting,live,waiting,connecting,live,waiting")
                await page.call("() => session.close()")
                assert await page.evaluate("seen.phases.at(-1)") == "ended"

    run(main())
