"""A browser as the other side.

Chromium is as strict a client as there is, and the one that most servers have to do with.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from itertools import product
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import pytest

from adapters.asyncio import Server, ServerConnection, connect, serve
from adapters.cli.chat import PAGE, Room, parse, serve_chat
from adapters.cli.pages import CONSOLE, Site
from tests.docs.samples import blocks
from wsproto_core import ConnectionClosed, ConnectionClosedOK, Headers, Response, make_response
from wsproto_core.extensions import Extension, ServerExtensionFactory
from wsproto_core.extensions.permessage_deflate import PerMessageDeflate, ServerPerMessageDeflateFactory
from wsproto_core.types import ExtensionParameter

from .devtools import TIMEOUT, Chromium, DevTools, DevToolsError, Page

T = TypeVar("T")
Handler: TypeAlias = Callable[[ServerConnection], Awaitable[None]]

OPEN = """(url, protocols) => new Promise(resolve => {
    window.seen = {messages: [], errors: 0, close: null};
    window.socket = new WebSocket(url, protocols);
    socket.binaryType = "arraybuffer";
    socket.onmessage = event => seen.messages.push(event.data);
    socket.onerror = () => ++seen.errors;
    socket.onopen = () => resolve("open");
    socket.onclose = ({code, reason, wasClean}) => {
        seen.close = {code, reason, wasClean};
        resolve("closed");
    };
})"""


CONTRASTS = """() => {
    const color = text => text.match(/[\\d.]+/g).map(Number);
    const luminance = ([red, green, blue]) => {
        const [r, g, b] = [red, green, blue].map(each => each / 255).map(
            each => each <= 0.03928 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const behind = item => {
        const found = color(getComputedStyle(item).backgroundColor);
        return found.length === 4 && found[3] === 0 ? behind(item.parentElement) : found;
    };
    const texts = [...document.querySelectorAll("body *")].filter(item => item.checkVisibility() &&
        [...item.childNodes].some(node => node.nodeType === Node.TEXT_NODE && node.data.trim()));
    return Math.min(...texts.map(item => {
        const pair = [color(getComputedStyle(item).color), behind(item)].map(luminance);
        return (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
    }));
}"""
"""The least contrast of a text and what is behind it."""


def run(main: Coroutine[Any, Any, T]) -> T:
    async def within_deadline() -> T:
        async with asyncio.timeout(1.5 * TIMEOUT):
            return await main

    return asyncio.run(within_deadline())


def blank_page(path: str, request_headers: Headers) -> Response | None:
    """A page for the sockets of a test to come from; anything but ``/`` is for WebSocket."""
    if path == "/":
        body = '<!DOCTYPE html><title>Blank</title><link rel="icon" href="data:,">'
        return make_response(200, {"Content-Type": "text/html"}, body)
    return None


def address_of(server: Server) -> str:
    assert server.sockets
    host, port = server.sockets[0].getsockname()
    return f"{host}:{port}"


@asynccontextmanager
async def page_of(chromium: Chromium, handler: Handler, **options: Any) -> AsyncIterator[tuple[Page, str]]:
    """A page, and the URI of a server with this handler, from where the page comes as well."""
    async with (
        serve(handler, "127.0.0.1", 0, process_request=blank_page, **options) as server,
        DevTools.connect(chromium.uri) as devtools,
    ):
        address = address_of(server)
        yield await devtools.open(f"http://{address}/"), f"ws://{address}/socket"


async def no_handler(websocket: ServerConnection) -> None:
    raise AssertionError("there should have been no connection")


# The demo's chat, as people use it


async def enter_chat(page: Page, name: str) -> None:
    await page.type("#name", name)
    await page.wait_for("document.querySelector('#people').dataset.count")


async def said(page: Page) -> list[list[str]]:
    """Who said what, as the page shows it."""
    found: list[list[str]] = await page.evaluate(
        """[...document.querySelectorAll('.said')].map(
            item => [".who", ".what"].map(part => item.querySelector(part).textContent)
        )"""
    )
    return found


async def wait_for_messages(page: Page, count: int) -> None:
    await page.wait_for(f"document.querySelectorAll('.said').length === {count}")


async def wait_for_count(page: Page, count: int) -> None:
    await page.wait_for(f"document.querySelector('#people').dataset.count === '{count}'")


def test_the_page_of_an_echo(chromium: Chromium) -> None:
    async def echo(websocket: ServerConnection) -> None:
        async for message in websocket:
            await websocket.send(message)
            await websocket.send(message.encode())

    async def main() -> None:
        site = Site(CONSOLE, local=True)
        async with (
            serve(echo, "127.0.0.1", 0, process_request=site.process_request) as server,
            DevTools.connect(chromium.uri) as devtools,
        ):
            page = await devtools.open(f"http://127.0.0.1:{server.port}/")
            await page.wait_for("document.querySelector('#state').dataset.state === 'open'")
            await page.type("#text", "<b>hi</b>")
            await page.wait_for("document.querySelectorAll('.received').length === 2")
            shown = "[...document.querySelectorAll('#log li')].map(item => item.textContent)"
            hexadecimal = "binary, 9 bytes: 3c 62 3e 68 69 3c 2f 62 3e"
            assert await page.evaluate(shown) == ["<b>hi</b>", "<b>hi</b>", hexadecimal]

    run(main())


def test_two_tabs_see_each_other(chromium: Chromium) -> None:
    async def main() -> None:
        async with serve_chat(Room()) as server, DevTools.connect(chromium.uri) as devtools:
            one = await devtools.open(server.page_url)
            assert await one.evaluate("document.querySelector('#state').textContent") == "not connected"
            await enter_chat(one, "Ada")
            assert await one.evaluate("document.querySelector('#state').textContent") == "connected"
            await wait_for_count(one, 1)
            two = await devtools.open(server.page_url)
            await enter_chat(two, "Grace")
            for page in (one, two):
                await wait_for_count(page, 2)
                assert await page.evaluate("document.querySelector('#people').textContent") == "2 people here"

            await one.type("#text", "Hello, Grace!")
            for page in (one, two):
                await wait_for_messages(page, 1)
            await two.type("#text", "Hello, Ada! ✓")
            for page in (one, two):
                await wait_for_messages(page, 2)
            assert await said(one) == [["You", "Hello, Grace!"], ["Grace", "Hello, Ada! ✓"]]
            assert await said(two) == [["Ada", "Hello, Grace!"], ["You", "Hello, Ada! ✓"]]
            assert await one.evaluate("document.querySelector('#text').value") == ""

            await two.close()
            await wait_for_count(one, 1)
            assert await one.evaluate("document.querySelector('#people').textContent") == "1 person here"

    run(main())


def test_what_people_write_is_not_html(chromium: Chromium) -> None:
    html = "<img src=x onerror='window.broken = true'>"

    async def main() -> None:
        async with serve_chat(Room()) as server, DevTools.connect(chromium.uri) as devtools:
            page = await devtools.open(server.page_url)
            await enter_chat(page, "Ada")
            async with connect(server.chat_url) as websocket:
                await websocket.send(json.dumps({"type": "join", "name": "<b>Eve</b>"}))
                await websocket.send(json.dumps({"type": "message", "text": html}))
                await wait_for_messages(page, 1)
            assert await said(page) == [["<b>Eve</b>", html]]
            await page.wait_for("document.querySelector('#log').textContent.includes('<b>Eve</b> left')")
            assert await page.evaluate("document.querySelectorAll('#log img, #log b').length") == 0

    run(main())


def test_binary_messages_are_shown_with_their_size(chromium: Chromium) -> None:
    size = 5 * 2**20

    async def main() -> None:
        async with serve_chat(Room()) as server, DevTools.connect(chromium.uri) as devtools:
            page = await devtools.open(server.page_url)
            await enter_chat(page, "Ada")
            async with connect(server.chat_url) as websocket:
                await websocket.send(json.dumps({"type": "join", "name": "Grace"}))
                await websocket.send(bytes(size))
                await websocket.send(b"x")
                await page.wait_for("document.querySelector('[data-bytes=\"1\"]')?.textContent")
            shown = "[...document.querySelectorAll('[data-bytes]')].map(item => item.textContent)"
            assert await page.evaluate(shown) == [
                "A binary message: 5.0 MiB (5,242,880 bytes)",
                "A binary message: 1 byte",
            ]

    run(main())


def test_the_page_connects_again(chromium: Chromium) -> None:
    async def main() -> None:
        async with DevTools.connect(chromium.uri) as devtools:
            async with serve_chat(Room()) as server:
                page = await devtools.open(server.page_url)
                await enter_chat(page, "Ada")
            await page.wait_for("document.querySelector('#log').textContent.includes('Disconnected')")
            last = "document.querySelector('#log').lastChild.textContent"
            assert await page.evaluate(last) == "Disconnected: the server has shut down"
            await page.wait_for("document.querySelector('#state').textContent.includes('next attempt in')")

            room = Room()
            async with serve_chat(room, server.port) as server:
                await wait_for_count(page, 1)
                assert list(room.people.values()) == ["Ada"]
                assert await page.evaluate("document.querySelector('#state').textContent") == "connected"

            # Who leaves is not connected again.
            await page.wait_for("!document.querySelector('#again').hidden")
            await page.evaluate("document.querySelector('#leave').click()")
            assert await page.evaluate("document.querySelector('#state').textContent") == "not connected"
            assert not await page.evaluate("document.querySelector('#join').hidden")
            async with serve_chat(Room(), server.port) as server:
                await page.type("#name", "")
                await wait_for_count(page, 1)

    run(main())


def test_whom_the_server_refuses_does_not_connect_again(chromium: Chromium) -> None:
    async def refuse(websocket: ServerConnection) -> None:
        await websocket.close(1008, "not you")

    async def main() -> None:
        site = Site(PAGE, local=True)
        async with (
            serve(refuse, "127.0.0.1", 0, process_request=site.process_request) as server,
            DevTools.connect(chromium.uri) as devtools,
        ):
            page = await devtools.open(f"http://127.0.0.1:{server.port}/")
            await page.type("#name", "Ada")
            await page.wait_for(
                "document.querySelector('#state').textContent === 'the server closed: not you'"
            )
            assert not await page.evaluate("document.querySelector('#join').hidden")
            assert await page.evaluate("document.querySelector('#again').hidden")

    run(main())


def test_messages_of_one_person_are_grouped(chromium: Chromium) -> None:
    async def main() -> None:
        async with serve_chat(Room()) as server, DevTools.connect(chromium.uri) as devtools:
            page = await devtools.open(server.page_url)
            await enter_chat(page, "Ada")
            async with connect(server.chat_url) as websocket:
                await websocket.send(json.dumps({"type": "join", "name": "Grace"}))
                for text in ("one", "two", "three"):
                    await websocket.send(json.dumps({"type": "message", "text": text}))
                await wait_for_messages(page, 3)
                await page.type("#text", "four")
                await wait_for_messages(page, 4)
            shown = "[...document.querySelectorAll('.said')].map(item => item.classList.contains('more'))"
            assert await page.evaluate(shown) == [False, True, True, False]
            # Each message has its name and time all the same, for who does not see the groups.
            assert (await said(page))[1] == ["Grace", "two"]
            now = "Date.now() - Date.parse(document.querySelector('.said time').dateTime) < 300000"
            assert await page.evaluate(now)

    run(main())


def test_files(chromium: Chromium, tmp_path: Path) -> None:
    data = random.randbytes(300_000)
    (tmp_path / "<i>photo.png").write_bytes(data)

    async def main() -> None:
        async with serve_chat(Room()) as server, DevTools.connect(chromium.uri) as devtools:
            one, two = [await devtools.open(server.page_url) for _ in range(2)]
            await enter_chat(one, "Ada")
            await enter_chat(two, "Grace")
            document = await one.command("DOM.getDocument")
            node = await one.command("DOM.querySelector", nodeId=document["root"]["nodeId"], selector="#file")
            file = str(tmp_path / "<i>photo.png")
            await one.command("DOM.setFileInputFiles", nodeId=node["nodeId"], files=[file])
            await one.wait_for("document.querySelector('.progress')?.textContent === ', sent'")
            await two.wait_for("document.querySelector('.file')")
            for page, name, end in ((one, "You", ", sent"), (two, "Ada", "")):
                what = "<i>photo.png, 293.0 KiB (300,000 bytes)" + end
                assert await said(page) == [[name, what]]
            assert await two.evaluate("document.querySelector('.file').download") == "<i>photo.png"
            assert await two.evaluate("document.querySelector('[data-bytes]').dataset.bytes") == "300000"

    run(main())


def test_the_page_shows_the_latency(chromium: Chromium) -> None:
    async def main() -> None:
        async with serve_chat(Room()) as server, DevTools.connect(chromium.uri) as devtools:
            page = await devtools.open(server.page_url)
            await enter_chat(page, "Ada")
            await page.wait_for("!document.querySelector('#latency').hidden")
            shown = await page.evaluate("document.querySelector('#latency').textContent")
            assert re.fullmatch(r"latency \d+ ms", shown)

    run(main())


def test_the_page_is_accessible(chromium: Chromium) -> None:
    async def main() -> None:
        async with serve_chat(Room()) as server, DevTools.connect(chromium.uri) as devtools:
            page = await devtools.open(server.page_url)
            await enter_chat(page, "Ada")
            # Who uses a keyboard can go on writing.
            assert await page.evaluate("document.activeElement.id") == "text"
            tree = (await page.command("Accessibility.getFullAXTree"))["nodes"]
            found = {
                (node["role"]["value"], node.get("name", {}).get("value", ""))
                for node in tree
                if not node["ignored"]
            }
            wanted = {("log", "Messages"), ("textbox", "Message"), ("button", "Send"), ("heading", "Chat")}
            assert wanted | {("link", "wsproto-core"), ("button", "Send a file")} <= found
            assert not [role for role, name in found if role in ("textbox", "button", "link") and not name]
            for scheme in ("light", "dark"):
                await page.command(
                    "Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}]
                )
                # WCAG 2.2, 1.4.3: 4.5 to 1 for text.
                assert await page.call(CONTRASTS) >= 4.5, scheme
            # Nothing is wider than the narrowest phones.
            await page.command(
                "Emulation.setDeviceMetricsOverride", width=320, height=560, deviceScaleFactor=1, mobile=True
            )
            assert await page.evaluate("document.documentElement.scrollWidth") == 320
            box = "document.querySelector('#attach').getBoundingClientRect()"
            assert await page.evaluate(f"{box}.right <= 320 && {box}.bottom <= 560")

    run(main())


def test_the_page_of_the_tutorial(chromium: Chromium) -> None:
    names: dict[str, Any] = {"__name__": "chat"}
    exec(blocks("tutorial/room.md", "program")["asyncio/chat.py"], names)
    html = blocks("tutorial/browser.md", "file")["page.html"]
    lines = "[...document.querySelectorAll('#lines li')].map(item => item.textContent)"

    def process_request(path: str, request_headers: Headers) -> Response | None:
        return make_response(200, {"Content-Type": "text/html"}, html) if path == "/" else None

    async def main() -> None:
        async with (
            serve(names["chat"], "127.0.0.1", 0, process_request=process_request) as server,
            DevTools.connect(chromium.uri) as devtools,
        ):
            page = await devtools.open(f"http://{address_of(server)}/")
            await page.wait_for("websocket.readyState === WebSocket.OPEN")
            await page.type("input", "Alice")
            await page.wait_for(f"{lines}.length === 1")
            await page.type("input", "<b>Hello!</b>")
            await page.wait_for(f"{lines}.length === 2")
            await page.evaluate("websocket.send(new Uint8Array(1))")
            await page.wait_for(f"{lines}.length === 3")
            assert await page.evaluate(lines) == [
                "Alice is here.",
                "Alice: <b>Hello!</b>",
                "The connection is closed: 1003 this room is for text",
            ]

    run(main())


def test_leaving_the_page_says_goodbye(chromium: Chromium) -> None:
    async def main() -> Room:
        room = Room()
        async with serve_chat(room) as server, DevTools.connect(chromium.uri) as devtools:
            page = await devtools.open(server.page_url)
            await enter_chat(page, "Ada")
            async with connect(server.chat_url) as websocket:
                await websocket.send(json.dumps({"type": "join", "name": "Grace"}))
                await page.command("Page.navigate", url="about:blank")
                while parse(await websocket.recv()) != {"type": "leave", "name": "Ada"}:
                    pass
        return room

    assert run(main()).departures[0] == ("Ada", 1001, "")


# Messages


def test_messages_of_all_sizes_both_ways(chromium: Chromium) -> None:
    async def echo(websocket: ServerConnection) -> None:
        async for message in websocket:
            await websocket.send(message)

    async def main() -> None:
        async with page_of(chromium, echo, max_size=2**24) as (page, uri):
            assert await page.call(OPEN, uri, []) == "open"
            # The sizes at which the header's form changes, and ones that need many reads.
            for size in (0, 1, 125, 126, 65535, 65536, 1_000_001, 4 * 2**20):
                assert await page.call(
                    """size => new Promise(resolve => {
                        const text = "é".repeat(size / 2) + "x".repeat(size % 2);
                        const bytes = Uint8Array.from({length: size}, (_, index) => index % 251);
                        const got = [];
                        socket.onmessage = ({data}) => {
                            if (got.push(data) < 2) return;
                            const back = new Uint8Array(got[1]);
                            const same = back.every((byte, index) => byte === bytes[index]);
                            resolve([got[0] === text, back.length, same]);
                        };
                        socket.send(text);
                        socket.send(bytes);
                    })""",
                    size,
                ) == [True, size, True]

    run(main())


def test_a_large_message_arrives(chromium: Chromium) -> None:
    size = 7 * 2**20 + 1

    async def handler(websocket: ServerConnection) -> None:
        await websocket.send("✓" * size)
        await websocket.wait_closed()

    async def main() -> None:
        async with page_of(chromium, handler) as (page, uri):
            await page.call(OPEN, uri, [])
            await page.wait_for("seen.messages.length")
            assert await page.evaluate("seen.messages[0].length") == size
            assert await page.evaluate("/^✓*$/.test(seen.messages[0])")

    run(main())


def test_fragments_arrive_as_one_message(chromium: Chromium) -> None:
    async def pieces() -> AsyncIterator[str]:
        for piece in ("a", "", "b€", "c"):
            yield piece

    async def handler(websocket: ServerConnection) -> None:
        await websocket.send(pieces())
        await websocket.send([b"\x00", b"\xff"])
        await websocket.wait_closed()

    async def main() -> None:
        async with page_of(chromium, handler) as (page, uri):
            await page.call(OPEN, uri, [])
            await page.wait_for("seen.messages.length === 2")
            assert await page.evaluate("[seen.messages[0], ...new Uint8Array(seen.messages[1])]") == [
                "ab€c",
                0,
                255,
            ]

    run(main())


# Compression


def compressing(**parameters: Any) -> dict[str, Any]:
    """Options of a server that asks for this."""
    return {"extensions": [ServerPerMessageDeflateFactory(**parameters)]}


# Options, the parameters that the page sees, how the server sends and how it receives.
COMPRESSIONS = {
    "default": ({}, {"server_max_window_bits=12", "client_max_window_bits=12"}, (False, 12), (False, 12)),
    "unlimited": (compressing(), set(), (False, 15), (False, 15)),
    "no-takeover": (
        compressing(server_no_context_takeover=True, client_no_context_takeover=True),
        {"server_no_context_takeover", "client_no_context_takeover"},
        (True, 15),
        (True, 15),
    ),
    "9-bits": (
        compressing(server_max_window_bits=9, client_max_window_bits=9),
        {"server_max_window_bits=9", "client_max_window_bits=9"},
        (False, 9),
        (False, 9),
    ),
    "8-bits-from-us": (
        compressing(server_max_window_bits=8),
        {"server_max_window_bits=8"},
        (False, 8),
        (False, 15),
    ),
    "9-bits-no-takeover": (
        compressing(
            server_no_context_takeover=True,
            client_no_context_takeover=True,
            server_max_window_bits=9,
            client_max_window_bits=9,
        ),
        {
            "server_no_context_takeover",
            "client_no_context_takeover",
            "server_max_window_bits=9",
            "client_max_window_bits=9",
        },
        (True, 9),
        (True, 9),
    ),
}

# Sends a message, which comes back; whether it is the same is for the page to say.
ECHO = """text => new Promise((resolve, reject) => {
    socket.onclose = ({code, reason}) => reject(new Error(`closed: ${code} ${reason}`));
    socket.onmessage = ({data}) => resolve(data === text);
    socket.send(text);
})"""

# The same for bytes: of a kind, and as many as asked for.
ECHO_BYTES = """(kind, size) => new Promise((resolve, reject) => {
    const bytes = new Uint8Array(size);
    if (kind === "random") {
        // Not Math.random(): the same in each run. It is xorshift32.
        let state = 7692;
        for (let index = 0; index < size; ++index) {
            state ^= state << 13; state ^= state >>> 17; state ^= state << 5;
            bytes[index] = state;
        }
    } else {
        for (let index = 0; index < size; ++index) bytes[index] = index % 101;
    }
    socket.onclose = ({code, reason}) => reject(new Error(`closed: ${code} ${reason}`));
    socket.onmessage = ({data}) => {
        const back = new Uint8Array(data);
        resolve(back.length === size && back.every((byte, index) => byte === bytes[index]));
    };
    socket.send(bytes);
})"""


@asynccontextmanager
async def echoing_page(
    chromium: Chromium, **options: Any
) -> AsyncIterator[tuple[Page, ServerConnection, set[str]]]:
    """A page with an open connection, the server's end of it, and what the page says was negotiated."""
    handed: asyncio.Future[ServerConnection] = asyncio.get_running_loop().create_future()

    async def echo(websocket: ServerConnection) -> None:
        handed.set_result(websocket)
        async for message in websocket:
            await websocket.send(message)

    # Tests count the bytes, among which there are no pings.
    options = {"max_size": 2**23, "ping_interval": None, **options}
    async with page_of(chromium, echo, **options) as (page, uri):
        assert await page.call(OPEN, uri, []) == "open"
        extensions: str = await page.evaluate("socket.extensions")
        yield page, await handed, set(filter(None, extensions.split("; ")))


class Meter:
    """What the server has received and sent since it was asked last."""

    def __init__(self, websocket: ServerConnection) -> None:
        self._websocket = websocket
        self._before = (0, 0)
        self.read()

    def read(self) -> tuple[int, int]:
        statistics = self._websocket.statistics
        before, self._before = self._before, (statistics.bytes_received, statistics.bytes_sent)
        return self._before[0] - before[0], self._before[1] - before[1]


SIZE = 2 * 2**20


@pytest.mark.parametrize(
    ("options", "parameters", "sending", "receiving"), COMPRESSIONS.values(), ids=COMPRESSIONS
)
def test_compressed_messages_both_ways(
    chromium: Chromium,
    options: dict[str, Any],
    parameters: set[str],
    sending: tuple[bool, int],
    receiving: tuple[bool, int],
) -> None:
    noise = random.Random(7692)
    sample = noise.randbytes(75).hex()
    # A window of 9 bits does not reach back to the block before, one of 12 does.
    blocks = 4 * noise.randbytes(1500).hex()

    async def main() -> None:
        async with echoing_page(chromium, **options) as (page, websocket, negotiated):
            assert negotiated == {"permessage-deflate", *parameters}
            (extension,) = websocket.extensions
            assert isinstance(extension, PerMessageDeflate)
            assert (extension.local_no_context_takeover, extension.local_max_window_bits) == sending
            assert (extension.remote_no_context_takeover, extension.remote_max_window_bits) == receiving

            meter = Meter(websocket)
            for number in range(3):
                assert await page.call(ECHO, sample)
                # Each direction knows the sample already, if it may.
                for cost, (no_context_takeover, _) in zip(meter.read(), (receiving, sending), strict=True):
                    assert 75 < cost < 150 if no_context_takeover or not number else cost < 30
            assert await page.call(ECHO, blocks)
            for cost, (_, bits) in zip(meter.read(), (receiving, sending), strict=True):
                assert 1500 < cost < 2600 if bits >= 12 else 6000 < cost < 10000
            for message in ("", "x", "", "Grüße, 世界, 🎉" * 1000, sample[:60], sample):
                assert await page.call(ECHO, message)
            for size in (0, 1, 1000, 70000):
                for kind in ("random", "regular"):
                    assert await page.call(ECHO_BYTES, kind, size)

            meter.read()
            assert await page.evaluate(f"({ECHO})('é'.repeat({SIZE // 2}))")
            assert max(meter.read()) < SIZE / 50
            assert await page.call(ECHO_BYTES, "regular", SIZE)
            assert max(meter.read()) < SIZE / 3
            assert await page.call(ECHO_BYTES, "random", SIZE)
            received, sent = meter.read()
            assert SIZE * 0.99 < received < SIZE * 1.01
            assert SIZE * 0.99 < sent <= SIZE + 10
            # It goes on where it was.
            for _ in range(2):
                assert await page.call(ECHO, sample)

    run(main())


class Chosen(ServerExtensionFactory):
    """A factory whose parameters can be changed between connections."""

    name = ServerPerMessageDeflateFactory.name

    def __init__(self) -> None:
        self.factory = ServerPerMessageDeflateFactory()

    def process_request_params(
        self, params: Sequence[ExtensionParameter], accepted_extensions: Sequence[Extension]
    ) -> tuple[list[ExtensionParameter], Extension]:
        return self.factory.process_request_params(params, accepted_extensions)


@pytest.mark.parametrize("server_forgets", [False, True])
@pytest.mark.parametrize("client_forgets", [False, True])
def test_all_windows(chromium: Chromium, server_forgets: bool, client_forgets: bool) -> None:
    noise = random.Random(7692)
    sample = noise.randbytes(75).hex()
    # 1500 bytes each: found again only by those that look back that far.
    blocks = 4 * noise.randbytes(1500).hex()
    chosen = Chosen()
    connections: asyncio.Queue[ServerConnection] = asyncio.Queue()

    async def echo(websocket: ServerConnection) -> None:
        connections.put_nowait(websocket)
        async for message in websocket:
            await websocket.send(message, compress=True)

    async def main() -> None:
        async with page_of(chromium, echo, extensions=[chosen], compression=None) as (page, uri):
            for server_bits, client_bits in product((None, *range(8, 16)), repeat=2):
                wanted = {
                    "server_no_context_takeover": server_forgets,
                    "client_no_context_takeover": client_forgets,
                    "server_max_window_bits": server_bits,
                    "client_max_window_bits": client_bits,
                }
                chosen.factory = ServerPerMessageDeflateFactory(**wanted)  # type: ignore[arg-type]
                assert await page.call(OPEN, uri, []) == "open"
                extensions: str = await page.evaluate("socket.extensions")
                given = {
                    name: value for name, value in wanted.items() if value is not None and value is not False
                }
                parameters = {name if value is True else f"{name}={value}" for name, value in given.items()}
                assert set(extensions.split("; ")) == {"permessage-deflate", *parameters}
                meter = Meter(await connections.get())
                costs = []
                for text in (sample, sample, blocks):
                    assert await page.call(ECHO, text)
                    costs.append(meter.read())
                for cost, forgets, bits in zip(
                    zip(*costs, strict=True),
                    (client_forgets, server_forgets),
                    (client_bits or 15, server_bits or 15),
                    strict=True,
                ):
                    first, again, found = cost
                    assert 75 < first < 150
                    assert 75 < again < 150 if forgets else again < 30
                    assert 1500 < found < 2600 if bits >= 12 else 6000 < found < 10000
                await page.evaluate("void socket.close()")

    run(main())


def test_compression_is_turned_off(chromium: Chromium) -> None:
    async def main() -> None:
        async with echoing_page(chromium, compression=None) as (page, websocket, negotiated):
            assert websocket.request_headers is not None
            # Otherwise this would show nothing.
            assert "permessage-deflate" in websocket.request_headers["Sec-WebSocket-Extensions"]
            assert negotiated == set()
            assert websocket.extensions == ()
            meter = Meter(websocket)
            assert await page.call(ECHO, "x" * 10000)
            assert meter.read() == (10008, 10004)

    run(main())


@pytest.mark.parametrize("bits", [9, 15])
def test_compression_goes_on_after_idling(
    chromium: Chromium, bits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = asyncio.Event()
    release = PerMessageDeflate.release

    def release_and_tell(self: PerMessageDeflate) -> None:
        release(self)
        released.set()

    monkeypatch.setattr(PerMessageDeflate, "release", release_and_tell)
    options = compressing(server_max_window_bits=bits, client_max_window_bits=bits, idle_timeout=0.2)
    sample = random.Random(7692).randbytes(75).hex()

    async def main() -> None:
        async with echoing_page(chromium, **options) as (page, websocket, _):
            meter = Meter(websocket)
            for number in range(3):
                assert await page.call(ECHO, sample)
                received, sent = meter.read()
                # The page's compressor still knows it, and so must the server. The server's starts anew.
                assert 75 < received < 150 if not number else received < 30
                assert 75 < sent < 150
                released.clear()
                async with asyncio.timeout(TIMEOUT):
                    await released.wait()

    run(main())


def test_compressed_fragments_and_choices_of_the_handler(chromium: Chromium) -> None:
    messages: list[Any] = [["Gr", "", "üße", "x" * 1000], "y" * 1000, [b"\x00", b"", b"\xff" * 1000], b""]
    costs: list[int] = []

    async def handler(websocket: ServerConnection) -> None:
        meter = Meter(websocket)
        for compress in (None, True, False):
            for message in messages:
                await websocket.send(message, compress=compress)
            # Control frames may come between fragments.
            await websocket.send(with_pings(websocket), compress=compress)
            # Messages in a row share a write at the end of this iteration of the event loop.
            await asyncio.sleep(0)
            costs.append(meter.read()[1])
        await websocket.wait_closed()

    async def with_pings(websocket: ServerConnection) -> AsyncIterator[str]:
        for fragment in ("a" * 100, "", "b" * 100):
            yield fragment
            await websocket.ping()

    async def main() -> None:
        async with page_of(chromium, handler) as (page, uri):
            await page.call(OPEN, uri, [])
            await page.wait_for("seen.messages.length === 15")
            shown = "seen.messages.map(data => typeof data === 'string' ? data : [...new Uint8Array(data)])"
            once = ["Grüße" + "x" * 1000, "y" * 1000, [0] + [255] * 1000, [], "a" * 100 + "b" * 100]
            assert await page.evaluate(shown) == 3 * once

    run(main())
    assert max(costs[:2]) < 300
    assert costs[2] > 3200


def test_a_message_that_inflates_to_too_much_for_the_server(chromium: Chromium) -> None:
    async def handler(websocket: ServerConnection) -> None:
        async for message in websocket:
            await websocket.send(message)

    async def main() -> None:
        async with page_of(chromium, handler, max_size=1000) as (page, uri):
            await page.call(OPEN, uri, [])
            assert await page.call(ECHO, "x" * 1000)
            # It arrives in less than fifty bytes.
            await page.call(OPEN, uri, [])
            await page.evaluate("socket.send('x'.repeat(1001))")
            assert (await page.wait_for("seen.close"))["code"] == 1009

    run(main())


# Pings


def test_the_browser_answers_pings(chromium: Chromium) -> None:
    async def main() -> None:
        latency: asyncio.Future[float] = asyncio.get_running_loop().create_future()

        async def handler(websocket: ServerConnection) -> None:
            first = await websocket.ping()
            second = await websocket.ping(b"x" * 125)
            await first
            latency.set_result(await second)
            assert websocket.latency == latency.result()

        async with page_of(chromium, handler) as (page, uri):
            await page.call(OPEN, uri, [])
            assert await latency > 0
            await page.wait_for("seen.close")
            assert await page.evaluate("seen") == {
                "messages": [],
                "errors": 0,
                "close": {"code": 1000, "reason": "", "wasClean": True},
            }

    run(main())


# Closing


@pytest.mark.parametrize(
    ("code", "reason"),
    [(1000, ""), (1011, "broken"), (3000, "registered"), (4321, "because ✓"), (4999, "x" * 123)],
)
def test_the_page_sees_the_code_of_a_handler(chromium: Chromium, code: int, reason: str) -> None:
    async def handler(websocket: ServerConnection) -> None:
        await websocket.close(code, reason)

    async def main() -> None:
        async with page_of(chromium, handler) as (page, uri):
            await page.call(OPEN, uri, [])
            assert await page.wait_for("seen.close") == {"code": code, "reason": reason, "wasClean": True}

    run(main())


def test_the_page_sees_a_close_without_code(chromium: Chromium) -> None:
    async def handler(websocket: ServerConnection) -> None:
        await websocket.close(1005)

    async def main() -> None:
        async with page_of(chromium, handler) as (page, uri):
            await page.call(OPEN, uri, [])
            assert await page.wait_for("seen.close") == {"code": 1005, "reason": "", "wasClean": True}

    run(main())


def test_the_page_sees_that_a_handler_failed(chromium: Chromium, caplog: pytest.LogCaptureFixture) -> None:
    async def handler(websocket: ServerConnection) -> None:
        raise RuntimeError("oops")

    async def main() -> None:
        async with page_of(chromium, handler) as (page, uri):
            await page.call(OPEN, uri, [])
            assert (await page.wait_for("seen.close"))["code"] == 1011

    run(main())
    assert "oops" in caplog.text


def test_the_page_sees_that_the_server_goes_away(chromium: Chromium) -> None:
    async def handler(websocket: ServerConnection) -> None:
        await websocket.wait_closed()

    async def main() -> None:
        async with DevTools.connect(chromium.uri) as devtools:
            async with serve(handler, "127.0.0.1", 0, process_request=blank_page) as server:
                address = address_of(server)
                page = await devtools.open(f"http://{address}/")
                await page.call(OPEN, f"ws://{address}/socket", [])
                server.close(reason="maintenance")
                await server.wait_closed()
            assert await page.wait_for("seen.close") == {
                "code": 1001,
                "reason": "maintenance",
                "wasClean": True,
            }

    run(main())


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [('4001, "bye ✓"', 4001, "bye ✓"), ("1000", 1000, ""), ("", 1005, "")],
)
def test_the_server_sees_the_code_of_the_page(
    chromium: Chromium, arguments: str, code: int, reason: str
) -> None:
    async def main() -> None:
        ended: asyncio.Future[ConnectionClosed] = asyncio.get_running_loop().create_future()

        async def handler(websocket: ServerConnection) -> None:
            try:
                await websocket.recv()
            except ConnectionClosed as error:
                await websocket.wait_closed()
                ended.set_result(error)

        async with page_of(chromium, handler) as (page, uri):
            await page.call(OPEN, uri, [])
            await page.evaluate(f"socket.close({arguments})")
            closed = await ended
            assert (closed.code, closed.reason, closed.received_first) == (code, reason, True)
            assert isinstance(closed, ConnectionClosedOK) is (code in (1000, 1005))
            seen = await page.wait_for("seen.close")
            assert (seen["code"], seen["wasClean"]) == (code, True)

    run(main())


def test_a_message_that_is_too_big_for_the_server(chromium: Chromium) -> None:
    async def handler(websocket: ServerConnection) -> None:
        async for _ in websocket:
            pass

    async def main() -> None:
        async with page_of(chromium, handler, max_size=1000) as (page, uri):
            await page.call(OPEN, uri, [])
            await page.evaluate("socket.send('x'.repeat(5000000))")
            assert (await page.wait_for("seen.close"))["code"] == 1009

    run(main())


# The opening handshake


@pytest.mark.parametrize(
    ("offered", "supported", "chosen"),
    [
        (["chat", "superchat"], ["superchat", "chat"], "chat"),
        (["chat", "superchat"], ["superchat"], "superchat"),
        ([], ["superchat"], ""),
    ],
)
def test_a_subprotocol_is_negotiated(
    chromium: Chromium, offered: list[str], supported: list[str], chosen: str
) -> None:
    async def handler(websocket: ServerConnection) -> None:
        await websocket.send(str(websocket.subprotocol))
        await websocket.wait_closed()

    def select(client: Any, server: Any) -> Any:
        return next((subprotocol for subprotocol in client if subprotocol in server), None)

    async def main() -> None:
        async with page_of(chromium, handler, subprotocols=supported, select_subprotocol=select) as (
            page,
            uri,
        ):
            assert await page.call(OPEN, uri, offered) == "open"
            assert await page.evaluate("socket.protocol") == chosen
            await page.wait_for("seen.messages.length")
            assert await page.evaluate("seen.messages") == [chosen or "None"]

    run(main())


def test_the_browser_insists_on_a_subprotocol(chromium: Chromium) -> None:
    async def handler(websocket: ServerConnection) -> None:
        assert websocket.subprotocol is None
        await websocket.wait_closed()

    async def main() -> None:
        async with page_of(chromium, handler) as (page, uri):
            assert await page.call(OPEN, uri, ["chat"]) == "closed"
            assert (await page.evaluate("seen.close"))["code"] == 1006

    run(main())


def test_the_origin_is_checked(chromium: Chromium) -> None:
    async def handler(websocket: ServerConnection) -> None:
        assert websocket.request_headers is not None
        await websocket.send(websocket.request_headers["Origin"])
        await websocket.wait_closed()

    async def main() -> None:
        own = re.compile(r"http://127\.0\.0\.1:\d+")
        async with page_of(chromium, handler, origins=[own]) as (page, uri):
            assert await page.call(OPEN, uri, []) == "open"
            await page.wait_for("seen.messages.length")
            assert await page.evaluate("seen.messages[0] === location.origin")

        async with page_of(chromium, no_handler, origins=["http://example.com", None]) as (page, uri):
            errors = page.expect_event("Network.webSocketFrameError")
            assert await page.call(OPEN, uri, []) == "closed"
            assert await page.evaluate("seen") == {
                "messages": [],
                "errors": 1,
                "close": {"code": 1006, "reason": "", "wasClean": False},
            }
            async with asyncio.timeout(TIMEOUT):
                assert (await errors.get())["errorMessage"].endswith("Unexpected response code: 403")

    run(main())


def test_cookies_and_path_reach_the_server(chromium: Chromium) -> None:
    async def handler(websocket: ServerConnection) -> None:
        assert websocket.request_headers is not None
        await websocket.send(f"{websocket.path} {websocket.request_headers['Cookie']}")
        await websocket.wait_closed()

    async def main() -> None:
        async with page_of(chromium, handler) as (page, uri):
            await page.evaluate("document.cookie = 'taste=sweet'")
            await page.call(OPEN, f"{uri}?query=é", [])
            await page.wait_for("seen.messages.length")
            assert await page.evaluate("seen.messages") == ["/socket?query=%C3%A9 taste=sweet"]

    run(main())


# The tool itself


def test_errors_in_a_page_are_raised(chromium: Chromium) -> None:
    async def main() -> None:
        async with DevTools.connect(chromium.uri) as devtools:
            page = await devtools.open("data:text/html,<title>Hello</title>")
            assert await page.evaluate("Promise.resolve(document.title)") == "Hello"
            with pytest.raises(DevToolsError, match="nothing is not defined"):
                await page.evaluate("nothing")
            with pytest.raises(DevToolsError, match="nothing is not defined"):
                await page.wait_for("nothing")
            with pytest.raises(DevToolsError, match="wasn't found"):
                await page.command("No.such")

    run(main())


def test_a_browser_that_does_not_start() -> None:
    executable = shutil.which("false")
    assert executable is not None
    with pytest.raises(DevToolsError, match="did not start, status 1"), Chromium(executable):
        pass
