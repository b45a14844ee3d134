"""See the library at work: a chat with three clients, told as it happens.

Two of the clients use the asyncio adapter, the third the bare core on a blocking socket. They say
things in all the ways there are, and everything that arrives is checked. The exit status is 0 only
if all of it did.

With ``SERVE=1`` in the environment the server stays, for browsers, until Ctrl-C; ``PORT`` chooses
its port.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import hashlib
import http.client
import io
import os
import random
import signal
import sys
import traceback
from typing import TextIO

from clients import AsyncioClient, CoreClient
from transcript import Step, Transcript, size

from adapters.cli.chat import ChatServer, Room, serve_chat
from wsproto_core import CloseCode

DEADLINE = 60.0
"""Seconds for all of it: many times what it takes."""

GRACE = 30.0
"""Seconds more, after which even what does not react to the deadline is ended."""

FILE_SIZE = 3 * 2**20

NEXT = """
What next?
  make demo SERVE=1           the same chat in your browser, until Ctrl-C
  docs/tutorial/start.md      build a chat room, step by step
  docs/examples.md            small programs to copy
  docs/README.md              all pages"""


async def fetch(server: ChatServer, path: str) -> http.client.HTTPResponse:
    """Get something by HTTP, from a thread, as anything but a WebSocket client would."""

    def get() -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=DEADLINE)
        connection.request("GET", path)
        return connection.getresponse()

    return await asyncio.to_thread(get)


async def show_page(server: ChatServer, transcript: Transcript) -> None:
    transcript.title("The page, by HTTP from the same port")
    with await fetch(server, "/") as response:
        body = response.read()
        kind = response.headers["Content-Type"]
    transcript.line("HTTP", f"GET / → {response.status}, {kind}, {size(len(body))}")
    if response.status == 200 and kind.startswith("text/html") and b"<title>Chat</title>" in body:
        transcript.done(Step.PAGE)
    with await fetch(server, "/nothing") as response:
        transcript.line("HTTP", f"GET /nothing → {response.status}")
    if response.status == 404:
        transcript.done(Step.NOT_FOUND)


async def show_messages(
    ada: AsyncioClient, grace: AsyncioClient, hedy: CoreClient, transcript: Transcript
) -> None:
    transcript.title("Text, from asyncio and from the bare core")
    for speaker, step, text in (
        (ada, Step.TEXT, "Hello! Does everybody get this? ✓"),
        (hedy, Step.ANSWER, "I do, with nothing but the core, a socket and a thread."),
    ):
        await speaker.say(text)
        for listener in (ada, grace, hedy):
            await listener.expect("message", name=speaker.name, text=text)
        transcript.done(step)

    transcript.title("Binary, byte for byte")
    data = bytes(range(256))
    await grace.send_binary(data)
    if await ada.expect_binary() == data == await hedy.expect_binary():
        transcript.done(Step.BINARY)

    transcript.title("A message in fragments, one a word")
    text = "This is sent in pieces, while it is being made."
    fragments = await ada.say_in_fragments(text)
    for listener in (ada, grace, hedy):
        await listener.expect("message", name=ada.name, text=text)
    if fragments > 1:
        transcript.done(Step.FRAGMENTS)

    transcript.title("Pings")
    latencies = [await ada.ping(), await grace.ping(), await hedy.ping()]
    if min(latencies) > 0:
        transcript.done(Step.PING)


async def show_file(
    ada: AsyncioClient, grace: AsyncioClient, hedy: CoreClient, transcript: Transcript
) -> None:
    transcript.title("A file: sent in fragments; Grace takes it in pieces, Hedy whole")
    data = random.randbytes(FILE_SIZE)
    digest = hashlib.sha256(data).hexdigest()
    ada.tell(f"has a file of {size(len(data))}, SHA-256 {digest[:16]}…")
    _, in_pieces, whole = await asyncio.gather(
        ada.send_file(data), grace.receive_file(), hedy.expect_binary()
    )
    if in_pieces == digest:
        transcript.done(Step.FILE_IN_PIECES)
    if hashlib.sha256(whole).hexdigest() == digest:
        transcript.done(Step.FILE_WHOLE)


async def show_leaving(
    ada: AsyncioClient, grace: AsyncioClient, hedy: CoreClient, room: Room, transcript: Transcript
) -> None:
    transcript.title("Leaving")
    for leaver, left in ((hedy, 2), (grace, 1)):
        await leaver.leave(CloseCode.NORMAL_CLOSURE, "bye")
        await ada.expect_count(left)
    seen = [tuple(departure) for departure in room.departures]
    for name, code, reason in seen:
        transcript.line("server", f"saw {name} leave with {code} {reason!r}")
    codes = {hedy.tally.close_code, grace.tally.close_code}
    if seen == [("Hedy", 1000, "bye"), ("Grace", 1000, "bye")] and codes == {1000}:
        transcript.done(Step.LEFT)


async def show_chat(transcript: Transcript) -> None:
    """Run the server and everybody in it; whatever goes wrong is raised, or a step is missing."""
    room = Room(lambda line: transcript.line("server", line))
    async with serve_chat(room) as server, contextlib.AsyncExitStack() as cleanup:
        transcript.line("server", f"listens on {server.chat_url}")
        await show_page(server, transcript)

        transcript.title("Joining")
        ada = await AsyncioClient.connect(server.chat_url, "Ada", transcript)
        await ada.join()
        grace = await AsyncioClient.connect(server.chat_url, "Grace", transcript)
        await grace.join()
        hedy = await CoreClient.connect(server.chat_url, "Hedy", transcript)
        cleanup.callback(hedy.end)
        await hedy.join()
        await ada.expect_count(3)
        if (grace.people, hedy.people) == (2, 3):
            transcript.done(Step.JOINED)

        await show_messages(ada, grace, hedy, transcript)
        await show_file(ada, grace, hedy, transcript)
        await show_leaving(ada, grace, hedy, room, transcript)
        transcript.line("server", "closes")
    await ada.wait_closed()
    if ada.tally.close_code == CloseCode.GOING_AWAY and room.departures[-1][:2] == ("Ada", 1001):
        transcript.done(Step.SERVER_CLOSED)
    if all(tally.agrees() for tally in transcript.tallies.values()):
        transcript.done(Step.COUNTERS)


def run(stream: TextIO) -> int:
    """Show everything; return the exit status."""
    transcript = Transcript(stream)

    async def within_deadline() -> None:
        async with asyncio.timeout(DEADLINE):
            await show_chat(transcript)

    # Should the event loop or a thread hang, so that the deadline above has no effect.
    faulthandler.dump_traceback_later(DEADLINE + GRACE, exit=True)
    try:
        asyncio.run(within_deadline())
    except Exception as error:
        late = isinstance(error, TimeoutError)
        transcript.title(f"Too late: it may take {DEADLINE:g} s" if late else "Something went wrong")
        traceback.print_exc()
    finally:
        faulthandler.cancel_dump_traceback_later()
    return 0 if transcript.summary() else 1


async def stay(port: int, transcript: Transcript) -> None:
    """Run the server until Ctrl-C."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        # Not `add_signal_handler`, which Windows lacks.
        signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop.set))
    room = Room(lambda line: transcript.line("server", line))
    async with serve_chat(room, port) as server:
        transcript.line("server", f"open {server.page_url} in one browser window, or several; Ctrl-C ends it")
        await stop.wait()
        transcript.line("server", "closes")
    transcript.line("server", "is closed")


def main() -> int:
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Rather a question mark than an error where the terminal has no arrows.
        sys.stdout.reconfigure(errors="replace")
    if os.environ.get("SERVE", "0") in ("", "0"):
        status = run(sys.stdout)
        if status == 0:
            print(NEXT)
        return status
    try:
        asyncio.run(stay(int(os.environ.get("PORT") or 0), Transcript(sys.stdout)))
    except (OSError, ValueError) as error:
        print(f"The server can't start: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
