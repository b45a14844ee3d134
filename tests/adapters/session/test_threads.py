"""Sessions on threads: what is not so with coroutines. ``test_session.py`` has the rest."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import itertools
import pydoc
import signal
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

import adapters.session
from adapters.asyncio import serve
from adapters.session.staying import BaseSession
from adapters.threading.session import START, Message, Session, SessionEnded
from adapters.topics import Retention, Topics
from adapters.topics.session import serve_session
from tests.adapters.runtimes.base import QUIET, Log
from tests.adapters.threads import DEADLINE, RawServer, Thread, until
from tests.interrupting import Interruption, interrupt
from wsproto_core import ConcurrencyError

SOON: dict[str, Any] = {"reconnect_delays": lambda: itertools.repeat(0.01), **QUIET}

STRIDE = 3
"""Every third place is interrupted; the scenarios begin at different ones."""


class Server:
    """A server with topics, in a thread.

    Attributes:
        ends: its connections, in their order.
    """

    def __init__(self) -> None:
        self.topics = Topics(history=Retention(100_000))
        self.ends: list[Any] = []
        self.uri = ""
        self._begun = threading.Event()
        self._thread = Thread(lambda: asyncio.run(self._serve()))
        assert self._begun.wait(DEADLINE)

    async def _serve(self) -> None:
        self._end = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        async with self.topics, serve(self._handle, "127.0.0.1", 0, **QUIET) as server:
            self.uri = f"ws://127.0.0.1:{server.port}/"
            self._begun.set()
            await self._end.wait()

    async def _handle(self, websocket: Any) -> None:
        self.ends.append(websocket)
        await serve_session(self.topics, websocket, may=lambda *_: True)

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(DEADLINE)

    def lose(self) -> None:
        """Lose the last connection."""
        end = self.ends[-1]
        self._loop.call_soon_threadsafe(lambda: (end.protocol.fail(RuntimeError("lost")), end._react()))

    def end(self) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.result()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.end()


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    until(lambda: not session_threads())


def session_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "wsproto-core session"]


def texts(session: Session, count: int) -> list[Any]:
    events = [session.recv(timeout=DEADLINE) for _ in range(count)]
    assert all(isinstance(event, Message) for event in events)
    return [event.data for event in events if isinstance(event, Message)]


def test_calls_of_many_threads(server: Server) -> None:
    def publish(number: int) -> None:
        for each in range(20):
            assert session.publish("room", f"{number} {each}", timeout=DEADLINE) is not None
            if each == 10 and number == 0:
                server.lose()

    with Session(server.uri, **SOON) as session:
        session.subscribe("room", after=START)
        threads = [Thread(publish, number) for number in range(8)]
        found: list[str] = []
        while len(found) < 160:
            # A message that was sent and not confirmed is sent again.
            found += [text for text in texts(session, 1) if text not in found]
        for number, thread in enumerate(threads):
            thread.result()
            assert [text for text in found if text.startswith(f"{number} ")] == [
                f"{number} {each}" for each in range(20)
            ]


def test_threads_that_iterate_share_the_events(server: Server) -> None:
    with Session(server.uri, **SOON) as session:
        iterating = [Thread(list, session) for _ in range(3)]
        session.subscribe("room", after=START)
        for number in range(30):
            session.publish("room", str(number), timeout=DEADLINE)
        until(lambda: (position := session.positions["room"]) is not None and position.offset == 30)
    found = [event.data for thread in iterating for event in thread.result()]
    assert sorted(found, key=int) == [str(number) for number in range(30)]


def test_timeouts(server: Server) -> None:
    with Session(server.uri, **SOON) as session:
        session.subscribe("room", after=START)
        for seconds in (0, 0.2):
            with pytest.raises(TimeoutError, match="deadline"):
                session.recv(timeout=seconds)
        session.publish("room", "a", timeout=DEADLINE)
        assert texts(session, 1) == ["a"]


@contextlib.contextmanager
def silent_server() -> Iterator[str]:
    """A server that accepts a stream, and does nothing with it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"ws://127.0.0.1:{listener.getsockname()[1]}/"


def test_publishing_to_a_server_that_does_not_answer() -> None:
    with silent_server() as uri, Session(uri, max_pending=2, open_timeout=None) as session:
        with pytest.raises(TimeoutError, match="published nevertheless"):
            session.publish("room", "a", timeout=0.2)
        session.publish("room", "b", wait=False)
        with pytest.raises(TimeoutError, match="deadline"):
            session.publish("room", "c", timeout=0.2, wait=False)
        assert session._state.pending == 2
        waiting = Thread(session.publish, "room", "d")
    with pytest.raises(SessionEnded):
        waiting.result()


def test_server_that_does_not_read() -> None:
    """Threads of the application do not wait for it, nor does the end of the block after an exception."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> socket.socket:
            sock, _ = listener.accept()
            peer = RawServer(sock)
            peer.answer()
            return peer.socket

        accepting = Thread(accept)
        session = Session(f"ws://127.0.0.1:{listener.getsockname()[1]}/", **SOON)
        session.__enter__()
        with accepting.result():
            for _ in range(50):
                session.publish("room", b"a" * 500_000, wait=False, timeout=DEADLINE)
                session.subscribe("room")
                session.unsubscribe("room")
            error = ZeroDivisionError()
            session.__exit__(ZeroDivisionError, error, None)
            assert session._state.pending == 0
            until(lambda: not session_threads())


# Interruptions


def interrupted(first: int, session: Session, call: Callable[[], object], handler: Any) -> Iterator[bool]:
    """Interrupt a call at one place after the other; tell whether an exception has come out."""

    def run(interruption: Interruption) -> bool:
        try:
            with interruption:
                call()
        except (KeyboardInterrupt, ConcurrencyError):
            return True
        return False

    number = first % STRIDE
    happened = True
    while happened:
        interruption = Interruption(number, handler)
        yield Thread(run, interruption).result()
        happened = interruption.happened
        assert session._tasks._lock.acquire(timeout=DEADLINE)
        session._tasks._lock.release()
        number += STRIDE


def check_works(session: Session, received: list[str], expected: list[str]) -> None:
    """A message is published and comes back, and nothing was lost before it."""
    expected.append(f"end {len(expected)}")
    session.publish("room", expected[-1], timeout=DEADLINE)
    while expected[-1] not in received:
        received += texts(session, 1)
    # One that was not confirmed is sent again.
    assert list(dict.fromkeys(received)) == expected
    received[:] = list(dict.fromkeys(received))


@pytest.mark.parametrize("wait", [False, True])
def test_publishing_is_interrupted_anywhere(server: Server, wait: bool) -> None:
    received: list[str] = []
    expected: list[str] = []
    numbers = itertools.count()

    def publish() -> None:
        session.publish("room", f"message {next(numbers)}", wait=wait, timeout=DEADLINE)

    with Session(server.uri, **SOON) as session:
        session.subscribe("room", after=START)
        check_works(session, received, expected)
        count = 0
        for raised in interrupted(wait, session, publish, interrupt):
            count += raised
            session.publish("room", "next", timeout=DEADLINE)
            while "next" not in received:
                received += texts(session, 1)
            received.remove("next")
            # It is known by what came back whether it was accepted before the interruption.
            last = f"message {next(numbers) - 1}"
            assert raised or last in received
            if last in received:
                expected.append(last)
            received[:] = [text for text in dict.fromkeys(received) if text != "next"]
            check_works(session, received, expected)
        assert count > 5


def test_receiving_is_interrupted_anywhere(server: Server) -> None:
    received: list[str] = []
    expected: list[str] = []

    def receive() -> None:
        event: Any
        for event in itertools.islice(session, 2):
            received.append(event.data)

    with Session(server.uri, **SOON) as session:
        session.subscribe("room", after=START)
        check_works(session, received, expected)
        counts = [0, 0]
        expected += ["a 0", "b 0"]
        for text in expected[-2:]:
            server.run(server.topics.publish("room", text))
        for number, raised in enumerate(interrupted(1, session, receive, interrupt), 1):
            counts[raised] += 1
            check_works(session, received, expected)
            expected += [f"a {number}", f"b {number}"]
            for text in expected[-2:]:
                server.run(server.topics.publish("room", text))
        check_works(session, received, expected)
        assert counts[1] > 5


def test_subscribing_is_interrupted_anywhere(server: Server) -> None:
    numbers = itertools.count()

    def subscribe() -> None:
        session.subscribe(f"topic.{next(numbers)}", after=START)

    with Session(server.uri, **SOON) as session:
        for raised in interrupted(0, session, subscribe, interrupt):
            topic = f"topic.{next(numbers) - 1}"
            assert raised or topic in session.positions
            if topic not in session.positions:
                session.subscribe(topic, after=START)
            session.publish(topic, topic, timeout=DEADLINE)
            assert texts(session, 1) == [topic]
            session.unsubscribe(topic)


def test_signal_handler_that_publishes(server: Server) -> None:
    """It does, or it gets an error; it does not wait for the call that it has interrupted."""
    received: list[str] = []
    expected: list[str] = []
    accepted: list[str] = []

    def handle() -> None:
        session.publish("other", "of the handler", timeout=DEADLINE)
        accepted.append("of the handler")

    def publish() -> None:
        session.publish("room", "a", timeout=DEADLINE)

    with Session(server.uri, **SOON) as session:
        session.subscribe("room", after=START)
        outcomes = {raised: len(accepted) for raised in interrupted(2, session, publish, handle)}
        assert set(outcomes) == {False, True}
        assert accepted
        session.publish("room", "b", timeout=DEADLINE)
        while "b" not in received:
            received += texts(session, 1)
        assert set(received) == {"a", "b"}
        check_works(session, received, list(dict.fromkeys(received)) + expected)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="there is no such signal")
def test_interruption_of_a_wait_in_the_main_thread(server: Server) -> None:
    """The connection stays, and nothing is lost."""
    before = signal.signal(signal.SIGALRM, lambda *_: interrupt())
    try:
        with Session(server.uri, **SOON) as session:
            session.subscribe("room", after=START)
            until(lambda: session.websocket)
            websocket = session.websocket
            # The signal comes again if Python has dropped the exception.
            signal.setitimer(signal.ITIMER_REAL, 0.2, 1)
            with pytest.raises(KeyboardInterrupt):
                session.recv()
            signal.setitimer(signal.ITIMER_REAL, 0)
            session.publish("room", "a", timeout=DEADLINE)
            assert texts(session, 1) == ["a"]
            assert session.websocket is websocket
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


# The end


@pytest.mark.parametrize("failing", [False, True])
def test_end_of_the_block(server: Server, failing: bool) -> None:
    with contextlib.suppress(ZeroDivisionError), Session(server.uri, **SOON) as session:
        session.publish("room", "a", timeout=DEADLINE)
        if failing:
            raise ZeroDivisionError
    until(lambda: server.ends[0].closed)
    assert server.ends[0].close_code == (1001 if failing else 1000)


def test_leaving_while_the_opening_handshake_waits() -> None:
    with silent_server() as uri:
        for _ in range(2):
            with Session(uri, open_timeout=None) as session:
                until(lambda: session._last_connection)
            assert list(session) == []
            assert session.phase == "ended"
        until(lambda: not session_threads())


def test_leaving_while_a_delay_goes_on() -> None:
    with Session("ws://127.0.0.1:9", credentials=refuse, reconnect_delays=[10_000]) as session:
        until(lambda: session.phase == "waiting" and session._tasks._threads)
    until(lambda: not session_threads())


def refuse() -> dict[str, Any]:
    raise OSError


def test_leaving_while_a_function_of_the_application_goes_on(server: Server) -> None:
    """The block does not wait for it, and no connection is opened afterwards."""
    begun, go_on = threading.Event(), threading.Event()

    def credentials() -> dict[str, Any]:
        begun.set()
        assert go_on.wait(DEADLINE)
        return {}

    with Session(server.uri, credentials=credentials, **SOON):
        assert begun.wait(DEADLINE)
    assert len(session_threads()) == 1
    go_on.set()
    until(lambda: not session_threads())
    assert server.ends == []


def test_leaving_while_a_name_lookup_goes_on(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The block does not wait for it, and the connection is not opened afterwards."""
    begun, go_on = threading.Event(), threading.Event()
    look_up = socket.getaddrinfo

    def slow(*args: Any, **options: Any) -> Any:
        begun.set()
        assert go_on.wait(DEADLINE)
        return look_up(*args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    with Session(server.uri.replace("127.0.0.1", "localhost"), open_timeout=None, **SOON):
        assert begun.wait(DEADLINE)
    go_on.set()
    until(lambda: not session_threads())
    assert server.ends == []


def test_phases_are_told_in_order(server: Server) -> None:
    """One at a time, also if a function is slow and other threads change the phase meanwhile."""
    told: list[str] = []
    begun, go_on = threading.Event(), threading.Event()
    telling = threading.Lock()

    def on_phase(phase: str, error: Exception | None) -> None:
        assert telling.acquire(blocking=False)
        told.append(phase)
        if phase == "live":
            begun.set()
            assert go_on.wait(DEADLINE)
        telling.release()

    session = Session(server.uri, on_phase=on_phase, **SOON)
    with session:
        assert begun.wait(DEADLINE)
        leaving = Thread(session.__exit__, None, None, None)
        until(lambda: session.phase == "ended")
        go_on.set()
        leaving.result()
        until(lambda: told[-1] == "ended")
    assert told == ["connecting", "live", "ended"]


def test_function_that_fails(server: Server) -> None:
    log = Log()

    def on_phase(phase: str, error: Exception | None) -> None:
        raise ValueError(phase)

    with Session(server.uri, on_phase=on_phase, logger=log, **SOON) as session:
        session.publish("room", "a", timeout=DEADLINE)
    assert log.errors()[:2] == [("on_phase failed", ValueError)] * 2


def test_function_that_ends_its_thread(caplog: pytest.LogCaptureFixture) -> None:
    """The session ends, and the exception is raised at the end of the block."""

    def credentials() -> dict[str, Any]:
        raise SystemExit(5)

    session = Session("ws://127.0.0.1:9", credentials=credentials)
    session.__enter__()
    assert list(session) == []
    with pytest.raises(SessionEnded):
        session.subscribe("room")
    with pytest.raises(SystemExit):
        session.__exit__(None, None, None)
    assert "a thread has failed" in caplog.text


# Mistakes, and names


def test_coroutine_function_as_credentials() -> None:
    async def credentials() -> dict[str, Any]:
        return {}

    with (
        Session("ws://127.0.0.1:9", credentials=credentials) as session,
        pytest.raises(TypeError, match="not a coroutine function"),
    ):
        next(session)


def test_session_that_was_not_entered() -> None:
    session = Session("ws://127.0.0.1:9")
    for call in (
        lambda: session.subscribe("room"),
        lambda: session.unsubscribe("room"),
        lambda: session.publish("room", "a"),
        session.recv,
        lambda: next(session),
        lambda: session.__exit__(None, None, None),
    ):
        with pytest.raises(RuntimeError, match="use 'with Session"):
            call()
    assert session.positions == {}
    assert repr(session) == "<Session('ws://127.0.0.1:9')>"


def test_session_with_coroutines_that_was_not_entered() -> None:
    async def test() -> None:
        session = adapters.session.Session("ws://127.0.0.1:9")
        for call in (
            lambda: session.subscribe("room"),
            lambda: session.unsubscribe("room"),
            lambda: session.publish("room", "a"),
            session.recv,
            lambda: anext(session),
        ):
            with pytest.raises(RuntimeError, match="use 'async with Session"):
                await call()

    asyncio.run(test())


def test_blocks_of_the_other_kind() -> None:
    async def test() -> None:
        async with Session("ws://127.0.0.1:9"):  # type: ignore[attr-defined]
            pass

    with pytest.raises(TypeError, match=r"entered by 'with'.*adapters\.session"):
        asyncio.run(test())
    with pytest.raises(TypeError, match="entered by 'async with'"):
        adapters.session.Session("ws://127.0.0.1:9").__enter__()  # type: ignore[attr-defined]


def test_names() -> None:
    """Each runtime has the same names, and those of the session with coroutines are the same objects."""
    for runtime in ("asyncio", "trio", "anyio", "threading"):
        module = importlib.import_module(f"adapters.{runtime}.session")
        names = {name: value for name, value in vars(module).items() if not name.startswith("_")}
        assert names.keys() == set(adapters.session.__all__)
        assert names.pop("Session") is (Session if runtime == "threading" else adapters.session.Session)
        assert all(value is getattr(adapters.session, name) for name, value in names.items())


def test_help() -> None:
    text = pydoc.plain(pydoc.render_doc(Session))
    for name in ("credentials", "on_phase", "unconfirmed", "max_pending", "max_events", "timeout"):
        assert f"{name}: " in text
    for name in ("subscribe", "unsubscribe", "publish", "recv", "positions"):
        ours, other = (getattr(kind, name) for kind in (Session, adapters.session.Session))
        assert ours.__doc__
        assert other.__doc__
    assert issubclass(Session, BaseSession)
