"""The samples of docs/patterns.md."""

from __future__ import annotations

import asyncio
import json
import queue
import threading
from typing import Any

import anyio
import anyio.lowlevel
import pytest
import trio

import adapters.anyio
import adapters.threading
import adapters.trio
from adapters.asyncio import ConnectionClosed, connect, serve
from adapters.testing import asyncio as asyncio_tools
from adapters.testing import threading as threading_tools
from adapters.testing import trio as trio_tools

from .samples import DEADLINE, Sample, run, until

sample = Sample("patterns.md")


def test_all_samples_are_tested() -> None:
    assert sample.all_are_in(__file__)


# Receive and send at the same time. Each test: a message each way, then the client leaves.


def test_both_on_asyncio() -> None:
    names = sample("both-asyncio")

    async def main() -> None:
        heard, to_send, ends = [], asyncio.Queue[str](), []

        async def handle(message: str) -> None:
            heard.append(message)
            await to_send.put("answer")

        async def handler(websocket: Any) -> None:
            await names["converse"](websocket, handle, to_send)
            ends.append(websocket.close_code)

        async with asyncio_tools.handler_client(handler, timeout=DEADLINE) as websocket:
            await to_send.put("greeting")
            assert await websocket.recv() == "greeting"
            await websocket.send("question")
            assert await websocket.recv() == "answer"
        assert (heard, ends) == (["question"], [1000])

    run(main)


def test_a_lost_connection_ends_both_on_asyncio(caplog: pytest.LogCaptureFixture) -> None:
    names = sample("both-asyncio")

    async def main() -> None:
        ended = asyncio.Event()

        async def handler(websocket: Any) -> None:
            try:
                await names["converse"](websocket, None, asyncio.Queue[str]())
            finally:
                ended.set()

        async with serve(handler, "localhost", 0) as server:
            websocket = await connect(f"ws://localhost:{server.port}/", proxy=None)
            websocket.transport.abort()
            await ended.wait()
            await websocket.wait_closed()

    run(main)
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


def test_both_on_trio() -> None:
    names = sample("both-trio")

    async def main() -> None:
        sender, receiver = trio.open_memory_channel[str](10)

        async def handle(message: str) -> None:
            await sender.send(message.upper())

        async def handler(websocket: Any) -> None:
            await names["converse"](websocket, handle, receiver)

        with trio.fail_after(DEADLINE):
            async with trio_tools.handler_client(handler, timeout=DEADLINE) as websocket:
                await sender.send("greeting")
                assert await websocket.recv() == "greeting"
                await websocket.send("question")
                assert await websocket.recv() == "QUESTION"

    trio.run(main)


def test_both_on_anyio() -> None:
    names = sample("both-anyio")

    async def main() -> None:
        sender, receiver = anyio.create_memory_object_stream[str](10)

        async def handle(message: str) -> None:
            await sender.send(message.upper())

        async def handler(websocket: Any) -> None:
            await names["converse"](websocket, handle, receiver)

        with anyio.fail_after(DEADLINE), sender, receiver:
            async with (
                adapters.anyio.serve(handler, "localhost", 0) as server,
                adapters.anyio.connect(f"ws://localhost:{server.port}/", proxy=None) as websocket,
            ):
                await sender.send("greeting")
                assert await websocket.recv() == "greeting"
                await websocket.send("question")
                assert await websocket.recv() == "QUESTION"

    anyio.run(main)


def test_both_on_threads() -> None:
    names = sample("both-threading")
    to_send = queue.SimpleQueue[str]()

    def handler(websocket: Any) -> None:
        names["converse"](websocket, lambda message: to_send.put(message.upper()), to_send)

    with threading_tools.handler_client(handler, timeout=DEADLINE) as websocket:
        to_send.put("greeting")
        assert websocket.recv() == "greeting"
        websocket.send("question")
        assert websocket.recv() == "QUESTION"


# Answers


def test_deadline() -> None:
    ask = sample("deadline")["ask"]

    async def slow(websocket: Any) -> None:
        async for message in websocket:
            if message != "never":
                await websocket.send(message)

    async def main() -> None:
        async with (
            serve(slow, "localhost", 0) as server,
            connect(f"ws://localhost:{server.port}/", proxy=None) as websocket,
        ):
            assert await ask(websocket, "hello", DEADLINE) == "hello"
            with pytest.raises(TimeoutError):
                await ask(websocket, "never", 0.2)
            assert websocket.closed

    run(main)


def test_many_questions() -> None:
    caller_class = sample("calls")["Caller"]

    async def backwards(websocket: Any) -> None:
        """Answer two questions in the reverse order, then none."""
        questions = [json.loads(await websocket.recv()) for _ in range(2)]
        for fields in reversed(questions):
            await websocket.send(json.dumps({"id": fields["id"], "answer": fields["question"].upper()}))
        unanswered = json.loads(await websocket.recv())
        late = json.loads(await websocket.recv())
        for fields in (unanswered, late):
            await websocket.send(json.dumps({"id": fields["id"], "answer": "late"}))
        await websocket.recv()

    async def main() -> None:
        async with (
            serve(backwards, "localhost", 0) as server,
            connect(f"ws://localhost:{server.port}/", proxy=None) as websocket,
            caller_class(websocket) as caller,
        ):
            answers = await asyncio.gather(caller.ask("one", DEADLINE), caller.ask("two", DEADLINE))
            assert answers == ["ONE", "TWO"]
            with pytest.raises(TimeoutError):
                await caller.ask("three", 0.2)
            assert await caller.ask("four", DEADLINE) == "late"
            with pytest.raises(ConnectionError, match="without an answer"):
                await caller.ask("five", DEADLINE)
            with pytest.raises(ConnectionError, match="any more"):
                await caller.ask("six", DEADLINE)
            assert caller.waiting == {}

    run(main)


# Rooms


def test_rooms() -> None:
    names = sample("rooms")
    handler = sample("rooms-handler", **names)["handler"]

    async def main() -> None:
        async with serve(handler, "localhost", 0) as server:
            uri = f"ws://localhost:{server.port}/"
            async with connect(uri, proxy=None) as one, connect(uri, proxy=None) as two:
                await one.send("+tea")
                await one.send("+coffee")
                await two.send("+tea")
                await until(lambda: len(names["rooms"].get("tea", ())) == 2)
                await one.send("hello")
                assert await one.recv() == await two.recv() == "hello"
                await two.send("good morning")
                assert await one.recv() == await two.recv() == "good morning"
            await until(lambda: not names["rooms"])

    run(main)


def test_a_method_as_handler() -> None:
    shop = sample("object")["Shop"]({"tea": 3})

    async def main() -> None:
        async with asyncio_tools.handler_client(shop.handle, timeout=DEADLINE) as websocket:
            await websocket.send("tea")
            assert await websocket.recv() == "3"
            await websocket.send("milk")
            assert await websocket.recv() == "unknown"

    run(main)


# Another thread


def test_from_a_thread_on_asyncio() -> None:
    send = sample("thread-asyncio")["send_from_thread"]

    async def handler(websocket: Any) -> None:
        await asyncio.to_thread(send, asyncio.get_running_loop(), websocket, "from a thread")

    async def main() -> None:
        async with asyncio_tools.handler_client(handler, timeout=DEADLINE) as websocket:
            assert await websocket.recv() == "from a thread"

    run(main)


def in_a_thread(target: Any, *arguments: Any) -> None:
    """Run a function in a thread that no event loop has started."""
    thread = threading.Thread(target=target, args=arguments)
    thread.start()
    thread.join()


def test_from_a_thread_on_trio() -> None:
    send = sample("thread-trio")["send_from_thread"]

    async def handler(websocket: Any) -> None:
        token = trio.lowlevel.current_trio_token()
        await trio.to_thread.run_sync(in_a_thread, send, token, websocket, "from a thread")

    async def main() -> None:
        with trio.fail_after(DEADLINE):
            async with trio_tools.handler_client(handler, timeout=DEADLINE) as websocket:
                assert await websocket.recv() == "from a thread"

    trio.run(main)


def test_from_a_thread_on_anyio() -> None:
    send = sample("thread-anyio")["send_from_thread"]

    async def handler(websocket: Any) -> None:
        token = anyio.lowlevel.current_token()
        await anyio.to_thread.run_sync(in_a_thread, send, token, websocket, "from a thread")

    async def main() -> None:
        with anyio.fail_after(DEADLINE):
            async with (
                adapters.anyio.serve(handler, "localhost", 0) as server,
                adapters.anyio.connect(f"ws://localhost:{server.port}/", proxy=None) as websocket,
            ):
                assert await websocket.recv() == "from a thread"

    anyio.run(main)


def test_from_a_thread_on_threads() -> None:
    send = sample("thread-threading")["send_from_thread"]

    def handler(websocket: Any) -> None:
        in_a_thread(send, websocket, "from a thread")

    with threading_tools.handler_client(handler, timeout=DEADLINE) as websocket:
        assert websocket.recv() == "from a thread"


# Always connected


def test_always_connected() -> None:
    deliver = sample("always")["deliver"]

    async def main() -> None:
        received = []
        connections = 0

        async def forgetful(websocket: Any) -> None:
            """Take two messages, and close without a confirmation of the second."""
            nonlocal connections
            connections += 1
            received.append(await websocket.recv())
            await websocket.send("thanks")
            received.append(await websocket.recv())

        async with serve(forgetful, "localhost", 0) as server:
            to_deliver = asyncio.Queue[str]()
            for message in ("one", "two", "three"):
                to_deliver.put_nowait(message)
            task = asyncio.create_task(deliver(f"ws://localhost:{server.port}/", to_deliver))
            await until(lambda: len(received) >= 4)
            task.cancel()
            with pytest.raises((asyncio.CancelledError, ConnectionClosed)):
                await task
        assert received[:4] == ["one", "two", "two", "three"]
        assert connections >= 2

    run(main)
