"""The pages of the examples."""

from __future__ import annotations

import asyncio

from tests.examples.programs import started
from tests.ports import free_port

from .devtools import TIMEOUT, Chromium, DevTools

DRAWN = """(() => {
    const canvas = document.querySelector("#plot");
    const {data} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    return data.some(byte => byte);
})()"""


def test_dashboard(chromium: Chromium) -> None:
    async def main(url: str) -> None:
        async with asyncio.timeout(TIMEOUT), DevTools.connect(chromium.uri) as devtools:
            page = await devtools.open(url)
            await page.wait_for("document.querySelector('#state').textContent === 'connected'")
            number = "Number(document.querySelector('#number').textContent)"
            await page.wait_for(f"{number} >= 0")
            first = await page.evaluate(number)
            await page.wait_for(f"{number} > {first + 5}")
            await page.wait_for(DRAWN)
            assert (await page.evaluate("document.querySelector('#latency').textContent")).endswith(" ms")

    port = free_port()
    with started("dashboard/server.py", port, 0.05) as server:
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
