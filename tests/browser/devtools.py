"""A small client of Chromium's DevTools protocol, over this library's own client.

https://chromedevtools.github.io/devtools-protocol/ describes the protocol: JSON objects over one
WebSocket connection to the browser. There is a session for each page, told by its identifier in
every message ("flat" sessions).

Nothing sleeps and hopes: conditions are waited for within the page, and every wait has a deadline.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from adapters.asyncio import ClientConnection, connect
from wsproto_core import ConnectionClosed

TIMEOUT = 60.0
"""Seconds for any single thing to happen."""

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-port=0",
)


class DevToolsError(Exception):
    """Chromium refused a command, or something threw in a page."""


class Chromium:
    """A Chromium process without windows, with an empty profile of its own."""

    def __init__(self, executable: str, *flags: str) -> None:
        self._command = [executable, *FLAGS, *flags]

    def __enter__(self) -> Self:
        self._profile = Path(tempfile.mkdtemp(prefix="chromium-"))
        self._log = self._profile / "log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [*self._command, f"--user-data-dir={self._profile}", "about:blank"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Its own process group, so that all of its processes can be ended.
                start_new_session=True,
            )
        try:
            self.uri = self._wait_for_uri()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._end()

    def _wait_for_uri(self) -> str:
        # Chromium writes the port and the path into this file when it is ready.
        ready = self._profile / "DevToolsActivePort"
        deadline = time.monotonic() + TIMEOUT
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                break
            if ready.exists() and len(lines := ready.read_text().splitlines()) == 2:
                return f"ws://127.0.0.1:{lines[0]}{lines[1]}"
            time.sleep(0.02)
        log = self._log.read_text(errors="replace")
        raise DevToolsError(f"Chromium did not start, status {self._process.poll()}:\n{log[-4000:]}")

    def _end(self) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(TIMEOUT / 4)
                break
        # Its helpers may still be on their way out.
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        shutil.rmtree(self._profile, ignore_errors=True)


class DevTools:
    """A connection to the browser: commands and their results, and events."""

    def __init__(self, connection: ClientConnection, context: str = "") -> None:
        self._connection = connection
        self._context = context
        self._results: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._events: dict[tuple[str, str], asyncio.Queue[dict[str, Any]]] = {}
        self._last = 0

    @classmethod
    @asynccontextmanager
    async def connect(cls, uri: str) -> AsyncIterator[DevTools]:
        """Connect to a browser. Pages share nothing with those of other connections."""
        # A screenshot is one message.
        async with connect(uri, max_size=2**26) as connection:
            devtools = cls(connection)
            receiving = asyncio.create_task(devtools._receive())
            try:
                created = await devtools.call("Target.createBrowserContext", disposeOnDetach=True)
                devtools._context = created["browserContextId"]
                yield devtools
            finally:
                await connection.close()
                await receiving

    async def call(self, method: str, session: str = "", **parameters: Any) -> dict[str, Any]:
        """Give a command, wait for its result."""
        self._last += 1
        number = self._last
        command: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if session:
            command["sessionId"] = session
        result: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._results[number] = result
        try:
            async with asyncio.timeout(TIMEOUT):
                await self._connection.send(json.dumps(command))
                return await result
        finally:
            del self._results[number]

    def expect_event(self, method: str, session: str) -> asyncio.Queue[dict[str, Any]]:
        """Return a queue of the parameters of these events, from now on."""
        return self._events.setdefault((method, session), asyncio.Queue())

    async def open(self, url: str) -> Page:
        """Open a page, wait until it has loaded."""
        created = await self.call("Target.createTarget", url="about:blank", browserContextId=self._context)
        target = created["targetId"]
        attached = await self.call("Target.attachToTarget", targetId=target, flatten=True)
        page = Page(self, target, attached["sessionId"])
        for domain in ("Page", "Runtime", "Network"):
            await page.command(f"{domain}.enable")
        # As if it were in front: else keys and timers behave as in a background tab.
        await page.command("Emulation.setFocusEmulationEnabled", enabled=True)
        loaded = page.expect_event("Page.loadEventFired")
        navigated = await page.command("Page.navigate", url=url)
        if "errorText" in navigated:
            raise DevToolsError(f"{url}: {navigated['errorText']}")
        async with asyncio.timeout(TIMEOUT):
            await loaded.get()
        return page

    async def _receive(self) -> None:
        try:
            async for message in self._connection:
                self._dispatch(json.loads(message))
        except ConnectionClosed:
            pass
        finally:
            for result in self._results.values():
                if not result.done():
                    result.set_exception(DevToolsError("the connection to the browser is closed"))

    def _dispatch(self, message: dict[str, Any]) -> None:
        if "id" not in message:
            queue = self._events.get((message["method"], message.get("sessionId", "")))
            if queue is not None:
                queue.put_nowait(message["params"])
            return
        result = self._results.get(message["id"])
        if result is None or result.done():
            return
        if "error" in message:
            result.set_exception(DevToolsError(message["error"]["message"]))
        else:
            result.set_result(message["result"])


class Page:
    """A tab."""

    def __init__(self, devtools: DevTools, target: str, session: str) -> None:
        self._devtools = devtools
        self._target = target
        self._session = session

    async def command(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Give a command to this page, wait for its result."""
        return await self._devtools.call(method, self._session, **parameters)

    def expect_event(self, method: str) -> asyncio.Queue[dict[str, Any]]:
        """Return a queue of the parameters of these events, from now on."""
        return self._devtools.expect_event(method, self._session)

    async def evaluate(self, expression: str) -> Any:
        """Evaluate an expression in the page and, if it is a promise, wait for it; return the value."""
        answer = await self.command(
            "Runtime.evaluate",
            expression=expression,
            awaitPromise=True,
            returnByValue=True,
            userGesture=True,
        )
        if "exceptionDetails" in answer:
            details = answer["exceptionDetails"]
            raise DevToolsError(details.get("exception", {}).get("description") or details["text"])
        return answer["result"].get("value")

    async def call(self, function: str, *arguments: Any) -> Any:
        """Call a JavaScript function in the page."""
        return await self.evaluate(f"({function})(...{json.dumps(arguments)})")

    async def wait_for(self, condition: str) -> Any:
        """Wait until an expression is true in the page; return its value."""
        return await self.call(
            f"""(condition, milliseconds) => new Promise((resolve, reject) => {{
                const end = Date.now() + milliseconds;
                const check = () => {{
                    const value = {condition};
                    if (value) resolve(value);
                    else if (Date.now() < end) setTimeout(() => attempt(), 20);
                    else reject(new Error(`never true: ${{condition}}; page: ${{document.body.innerText}}`));
                }};
                const attempt = () => {{ try {{ check(); }} catch (error) {{ reject(error); }} }};
                attempt();
            }})""",
            condition,
            1000 * TIMEOUT / 2,
        )

    async def type(self, selector: str, text: str) -> None:
        """Write into a field and press Enter, as a person does."""
        await self.call("selector => document.querySelector(selector).focus()", selector)
        await self.command("Input.insertText", text=text)
        enter = {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13}
        await self.command("Input.dispatchKeyEvent", type="keyDown", text="\r", **enter)
        await self.command("Input.dispatchKeyEvent", type="keyUp", **enter)

    async def screenshot(self) -> bytes:
        """Return what the page looks like, as a PNG file."""
        answer = await self.command("Page.captureScreenshot")
        return base64.b64decode(answer["data"])

    async def close(self) -> None:
        """Close the tab."""
        await self._devtools.call("Target.closeTarget", targetId=self._target)
