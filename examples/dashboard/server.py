"""A dashboard: publishers, several server processes, and a page with live plots that comes back after a loss.

Usage: python examples/dashboard/server.py [--port 8765] [--redis URL] [--processes 4] [--interval 0.1]

With ``--redis redis://localhost:6379/0``, values are published in one process, and several others serve the
page on one port: the operating system distributes the connections to them. A process that is killed is
replaced; its pages connect to another one, and get what they missed from the history in Redis. Without it,
everything is in one process, and the history is in its memory.

``--interval`` is the time in seconds between two values of a publisher.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import sys
import time
from asyncio.subprocess import PIPE, Process
from pathlib import Path

from adapters.asyncio import Headers, Response, ServerConnection, make_response, serve
from adapters.topics import BackplaneLost, Retention, Topics
from adapters.topics.session import Action, serve_session

FOLDER = Path(__file__).parent
FILES = {
    "/": (FOLDER / "page.html", "text/html; charset=utf-8"),
    "/session.js": (FOLDER.parents[1] / "docs" / "session.js", "text/javascript; charset=utf-8"),
}
"""By path: the file, and its type."""

VALUES = ("value.north", "value.east", "value.south")
MARKS = "marks"
HISTORY = {"value.*": Retention(entries=600), MARKS: Retention(entries=20)}
"""A page that was away for as many values gets all of them."""

MOST_BYTES = 1000
"""Limit on what a page sends: subscriptions, and marks."""


def make_topics(redis: str | None) -> Topics:
    if redis is None:
        return Topics(history=HISTORY)
    from adapters.topics.redis import RedisBackplane

    return Topics(RedisBackplane(redis), history=HISTORY)


async def publish(topics: Topics, topic: str, interval: float) -> None:
    """Publish a value again and again: a random walk between 0 and 100."""
    value = 50.0
    while True:
        value = min(max(value + random.gauss(0, 2), 0.0), 100.0)
        try:
            await topics.publish(topic, json.dumps({"time": time.time(), "value": round(value, 2)}))
        except BackplaneLost as error:
            print(f"A value was not published: {error}", file=sys.stderr)
        await asyncio.sleep(interval)


def may(websocket: object, action: Action, topic: str) -> bool:
    """Let a page subscribe to everything that there is, and set marks."""
    return topic == MARKS or (action == "subscribe" and topic in VALUES)


def answer_http(path: str, request_headers: Headers) -> Response | None:
    """Send the page to browsers; a request for WebSocket goes on."""
    if "Upgrade" in request_headers:
        return None
    if path in FILES:
        file, kind = FILES[path]
        return make_response(200, {"Content-Type": kind}, file.read_bytes())
    return make_response(404, body="There is only one page here: /\n")


async def work(options: argparse.Namespace, stopped: asyncio.Event, ready: str) -> None:
    """Serve, publish, or do both, until the program is stopped.

    Args:
        options: those of the command line.
        stopped: is set when the program is stopped.
        ready: printed when it serves.
    """

    async def handle(websocket: ServerConnection) -> None:
        await serve_session(topics, websocket, may=may)

    async with make_topics(options.redis) as topics, asyncio.TaskGroup() as tasks:
        publishers = []
        if options.role != "serve":
            publishers = [tasks.create_task(publish(topics, each, options.interval)) for each in VALUES]
        if options.role != "publish":
            server = serve(
                handle,
                "localhost",
                options.port,
                reuse_port=options.role == "serve",
                process_request=answer_http,
                # Without this, a page of any other site could set marks. Programs send no origin.
                origins=[f"http://localhost:{options.port}", f"http://127.0.0.1:{options.port}", None],
                subprotocols=["topics.1"],
                max_size=MOST_BYTES,
                # The developer tools of a browser show which process has the connection.
                extra_headers={"X-Process": str(os.getpid())},
            )
            async with server:
                print(ready, flush=True)
                await stopped.wait()
            # All connections are closed here, with code 1001.
        else:
            print(ready, flush=True)
            await stopped.wait()
        for publisher in publishers:
            publisher.cancel()


class Processes:
    """The processes of the dashboard, which are replaced when they are killed.

    Attributes:
        failed: whether one of them has ended by an error.
    """

    def __init__(self, options: argparse.Namespace, stopped: asyncio.Event) -> None:
        self._options = options
        self._stopped = stopped
        self._running: dict[int, Process] = {}
        self.failed = False

    async def run(self) -> None:
        """Run the processes until the program is stopped."""
        roles = ["publish", *["serve"] * self._options.processes]
        async with asyncio.TaskGroup() as tasks:
            started = [tasks.create_task(self._start(index, role)) for index, role in enumerate(roles)]
            await asyncio.wait(started)
            for index, role in enumerate(roles):
                tasks.create_task(self._keep(index, role))
            if not self.failed:
                print(opened(self._options), flush=True)
            await self._stopped.wait()
            # They stop at the end of their standard input, and would do so if this process were killed.
            for process in self._running.values():
                end_input(process)

    async def _start(self, index: int, role: str) -> None:
        options = self._options
        arguments = ["--role", role, "--port", options.port, "--redis", options.redis]
        arguments += ["--interval", options.interval]
        command = [sys.executable, __file__, *map(str, arguments)]
        process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE)
        self._running[index] = process
        assert process.stdout
        # A line says that it is ready.
        if not await process.stdout.readline():
            self._fail()
        if self._stopped.is_set():
            end_input(process)

    async def _keep(self, index: int, role: str) -> None:
        while (status := await self._running[index].wait()) < 0 and not self._stopped.is_set():
            print(f"Process {self._running[index].pid} was killed, and is replaced.", flush=True)
            await self._start(index, role)
        if status > 0:
            self._fail()

    def _fail(self) -> None:
        self.failed = True
        self._stopped.set()


def end_input(process: Process) -> None:
    assert process.stdin
    process.stdin.close()


def opened(options: argparse.Namespace) -> str:
    return f"Open http://localhost:{options.port}/ in a browser. Ctrl-C stops everything."


async def main(options: argparse.Namespace) -> int:
    """Run the program; return its status."""
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()

    def input_ended() -> None:
        loop.remove_reader(sys.stdin)
        stopped.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    if options.role is not None:
        # Nothing is written there: it becomes readable when it ends.
        loop.add_reader(sys.stdin, input_ended)
        await work(options, stopped, "ready")
    elif options.redis is None:
        print(
            "Without --redis: one process serves and publishes, and its memory has the history.", flush=True
        )
        await work(options, stopped, opened(options))
    else:
        print(f"{options.processes} processes serve and one publishes, over {options.redis}.", flush=True)
        processes = Processes(options, stopped)
        await processes.run()
        return int(processes.failed)
    return 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="A dashboard with live plots.")
    parser.add_argument("--port", type=int, default=8765)
    parser.add_argument("--redis", metavar="URL", help="such as redis://localhost:6379/0")
    parser.add_argument("--processes", type=int, default=4, help="that serve the page, with Redis")
    parser.add_argument("--interval", type=float, default=0.1, help="seconds between two values")
    # What a process that this program starts is for.
    parser.add_argument("--role", choices=("serve", "publish"), help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(asyncio.run(main(parse())))
