"""The pages of the examples."""

from __future__ import annotations

import asyncio

from tests.examples.programs import started
from tests.ports import free_port

from .devtools import TIMEOUT, Chromium, DevTools

DRAWN = """(() => {
    const canvas = document.querySelector("#south canvas");
    const {data} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    return data.some(byte => byte);
})()"""


def test_dashboard(chromium: Chromium) -> None:
    async def main(url: str) -> None:
        async with asyncio.timeout(TIMEOUT), DevTools.connect(chromium.uri) as devtools:
            page = await devtools.open(url)
            await page.wait_for("document.querySelector('#state').textContent === 'connected'")
            value = "document.querySelector('#south .value').textContent"
            await page.wait_for(f"{value} !== '-'")
            first = await page.evaluate(value)
            await page.wait_for(f"{value} !== '{first}'")
            await page.wait_for(DRAWN)
            assert await page.evaluate("document.querySelector('#south .gaps').textContent") == ""
            # The history of a process without Redis ends with it, and the page says so when it is back.
            assert await asyncio.to_thread(server.stop) == 0
            await page.wait_for("document.querySelector('#state').textContent.startsWith('lost')")
            with started(*program) as another:
                await asyncio.to_thread(another.expect, "Open")
                gaps = "document.querySelector('#south .gaps').textContent"
                await page.wait_for(f"{gaps} === 'gaps: 1, the last one: lost'")
                last = await page.evaluate(value)
                await page.wait_for(f"{value} !== '{last}'")

    port = free_port()
    program = ("dashboard/server.py", "--port", port, "--interval", 0.05)
    with started(*program) as server:
        server.expect("Open")
        asyncio.run(main(f"http://localhost:{port}/"))


def test_chat(chromium: Chromium) -> None:
    async def main(url: str) -> None:
        async with asyncio.timeout(TIMEOUT), DevTools.connect(chromium.uri) as devtools:
            page = await devtools.open(url)
            await page.type("#name", "Ada")
            await page.wait_for("document.querySelector('#state').textContent === 'Connected.'")
            await page.type("#text", "<b>Hello!</b>")
            await page.wait_for("document.querySelectorAll('#messages li').length === 2")
            said = await page.evaluate("document.querySelector('#messages').lastChild.textContent")
            assert said.endswith(" Ada: <b>Hello!</b>")
            assert server.stop() == 0
            await page.wait_for(
                "document.querySelector('#state').textContent.includes('the server has shut down')"
            )

    port = free_port()
    with started("chat/server.py", port) as server:
        server.expect("Open")
        asyncio.run(main(f"http://localhost:{port}/"))
