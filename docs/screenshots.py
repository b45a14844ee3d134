"""Takes the screenshots of the chat's page, by a headless Chromium: ``python -m docs.screenshots``."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from pathlib import Path

from adapters.asyncio import ClientConnection, connect
from adapters.cli.chat import ChatServer, Room, serve_chat
from tests.browser.devtools import Chromium, DevTools, Page

FOLDER = Path(__file__).with_name("screenshots")

# By name of the picture: color scheme, width and height in CSS pixels, and whether it is a phone's.
PICTURES = {
    "chat-light": ("light", 760, 560, False),
    "chat-dark": ("dark", 760, 560, False),
    "chat-phone": ("light", 360, 640, True),
}


async def say(person: ClientConnection, *texts: str) -> None:
    for text in texts:
        await person.send(json.dumps({"type": "message", "text": text}))


async def talk(server: ChatServer, page: Page) -> None:
    """Say something, with a page and two other clients."""

    async def wait(count: int) -> None:
        await page.wait_for(f"document.querySelectorAll('.said').length === {count}")

    await page.type("#name", "Ada")
    await page.wait_for("document.querySelector('#people').dataset.count")
    async with connect(server.chat_url) as grace, connect(server.chat_url) as hedy:
        for person, name in ((grace, "Grace"), (hedy, "Hedy")):
            await person.send(json.dumps({"type": "join", "name": name}))
            await page.wait_for(f"document.querySelector('#log').textContent.includes('{name} joined')")
        await say(grace, "Hello! Does this work on a phone, too?", "Mine is small.")
        await wait(2)
        await page.type("#text", "It does. It also connects again by itself.")
        await wait(3)
        await hedy.send(json.dumps({"type": "file", "file": "frequency-hopping.pdf"}))
        await hedy.send(bytes(1_234_567))
        await wait(4)
        await say(hedy, "The plans, as a file: one binary message.")
        await wait(5)
        await page.wait_for("!document.querySelector('#latency').hidden")
        for name, (scheme, width, height, phone) in PICTURES.items():
            await page.command(
                "Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}]
            )
            await page.command(
                "Emulation.setDeviceMetricsOverride",
                width=width,
                height=height,
                deviceScaleFactor=1,
                mobile=phone,
            )
            await page.evaluate("new Promise(resolve => requestAnimationFrame(() => setTimeout(resolve)))")
            await page.evaluate("document.querySelector('#log').scrollTop = 10 ** 6")
            picture = FOLDER / f"{name}.png"
            picture.write_bytes(await page.screenshot())
            print(f"{picture.name}: {picture.stat().st_size} bytes")


async def main(executable: str) -> None:
    with Chromium(executable) as chromium:
        async with serve_chat(Room()) as server, DevTools.connect(chromium.uri) as devtools:
            await talk(server, await devtools.open(server.page_url))


if __name__ == "__main__":
    found = shutil.which("chromium")
    if found is None:
        sys.exit("chromium is not installed")
    asyncio.run(main(found))
