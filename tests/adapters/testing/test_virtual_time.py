"""Virtual time: hours pass at once, in the clients for tests as well."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest
import trio
import trio.testing
import uvloop

from adapters.testing import anyio as on_anyio
from adapters.testing import asyncio as on_asyncio
from adapters.testing import trio as on_trio
from adapters.testing.asgi import asgi_client

HOUR = 3600.0


def run_on_asyncio(test: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        with on_asyncio.virtual_time():
            await test()

    asyncio.run(main())


def run_on_trio(test: Callable[[], Awaitable[None]]) -> None:
    trio.run(test, clock=trio.testing.MockClock(autojump_threshold=0))


RUNTIMES = {
    "asyncio": (run_on_asyncio, on_asyncio, asyncio.sleep, lambda: asyncio.get_running_loop().time()),
    "trio": (run_on_trio, on_trio, trio.sleep, trio.current_time),
    "anyio-asyncio": (run_on_asyncio, on_anyio, anyio.sleep, anyio.current_time),
    "anyio-trio": (run_on_trio, on_anyio, anyio.sleep, anyio.current_time),
}


@pytest.fixture(params=RUNTIMES)
def runtime(request: pytest.FixtureRequest) -> Any:
    return RUNTIMES[request.param]


def test_handler(runtime: Any) -> None:
    run, tools, sleep, now = runtime

    async def remind(websocket: Any) -> None:
        await sleep(HOUR)
        await websocket.send("an hour has passed")

    async def test() -> None:
        begun = now()
        async with tools.handler_client(remind, timeout=2 * HOUR) as client:
            assert await client.recv() == "an hour has passed"
            # The keepalive is in virtual time, too.
            assert client.statistics.frames_sent > 100
        assert now() - begun == pytest.approx(HOUR)

    run(test)


def test_timeout_of_a_handler(runtime: Any) -> None:
    run, tools, _, now = runtime

    async def nothing(websocket: Any) -> None:
        await websocket.wait_closed()

    async def test() -> None:
        begun = now()
        async with tools.handler_client(nothing, timeout=HOUR) as client:
            with pytest.raises(TimeoutError, match=r"no message in 3600\.0 seconds"):
                await client.recv()
        assert now() - begun == pytest.approx(HOUR)

    run(test)


def test_asgi_application(runtime: Any) -> None:
    run, _, sleep, now = runtime

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await sleep(HOUR)
        await send({"type": "websocket.send", "text": "an hour has passed"})
        await receive()

    async def test() -> None:
        begun = now()
        async with asgi_client(application, timeout=2 * HOUR) as client:
            assert await client.recv() == "an hour has passed"
            with pytest.raises(TimeoutError, match="waits for the next one"):
                await client.recv()
        assert now() - begun == pytest.approx(3 * HOUR)

    run(test)


# asyncio


def test_clock_goes_on_after_the_block() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        with on_asyncio.virtual_time():
            await asyncio.sleep(HOUR)
            inside = loop.time()
        assert begun + HOUR <= inside <= loop.time()
        await asyncio.sleep(0.01)
        assert loop.time() >= inside + 0.01
        assert await asyncio.to_thread(lambda: 1) == 1

    asyncio.run(main())


def test_threads_are_waited_for() -> None:
    async def test() -> None:
        begun = threading.Event()

        def work() -> str:
            begun.set()
            time.sleep(0.2)
            return "done"

        async with asyncio.timeout(HOUR):
            assert await asyncio.to_thread(work) == "done"

    run_on_asyncio(test)


def test_uvloop() -> None:
    async def test() -> None:
        with pytest.raises(
            RuntimeError, match=r"needs the event loop asyncio\.SelectorEventLoop, and Loop runs"
        ):
            on_asyncio.virtual_time().__enter__()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(test())
