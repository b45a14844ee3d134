"""What only a server on threads has: a bound on threads, signals, and handlers that do not return."""

from __future__ import annotations

import contextlib
import signal
import socket
import ssl
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from adapters.threading import ServerConnection, connect, serve, unix_connect, unix_serve
from tests.core.helpers import request
from tests.ports import free_port
from wsproto_core import ConnectionClosed, InvalidHandshake, InvalidStatusCode

from .threads import CERTIFICATES, DEADLINE, HOST, Thread

ROOT = Path(__file__).parent.parent.parent


def echo(websocket: ServerConnection) -> None:
    for message in websocket:
        websocket.send(message)


def uri_of(server: Any, scheme: str = "ws") -> str:
    return f"{scheme}://{HOST}:{server.sockets[0].getsockname()[1]}/"


def check_echo(websocket: Any) -> None:
    websocket.send("hello")
    assert websocket.recv(timeout=DEADLINE) == "hello"


def server_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATES / "localhost.pem", CERTIFICATES / "localhost.key")
    return context


# Threads


def test_clients_over_the_bound_wait() -> None:
    with serve(echo, HOST, 0, max_threads=2) as server:
        uri = uri_of(server)
        with connect(uri) as first, connect(uri) as second:
            waiting = Thread(connect(uri, open_timeout=DEADLINE))
            check_echo(first)
            check_echo(second)
            assert len(server.connections) == 2
            assert waiting.is_alive()
            first.close()
            third = waiting.result()
            check_echo(third)
            check_echo(second)
            third.close()


def test_server_closes_while_clients_wait() -> None:
    with serve(echo, HOST, 0, max_threads=1) as server, connect(uri_of(server)) as first:
        waiting = Thread(connect(uri_of(server)))
        check_echo(first)
        server.shutdown()
        # It was in the queue, or came too late even for that.
        with pytest.raises((InvalidHandshake, ConnectionError)):
            waiting.result()
        assert first.close_code == 1001


def test_client_that_says_nothing_holds_nobody_up() -> None:
    with serve(echo, HOST, 0, ssl=server_context()) as server:
        context = ssl.create_default_context(cafile=CERTIFICATES / "localhost.pem")
        with socket.create_connection(server.sockets[0].getsockname()):
            uri = uri_of(server, "wss").replace(HOST, "localhost")
            with connect(uri, host=HOST, ssl=context) as websocket:
                check_echo(websocket)


def test_handler_runs_in_a_thread_that_ends() -> None:
    threads = []

    def handler(websocket: ServerConnection) -> None:
        threads.append(threading.current_thread())

    with serve(handler, HOST, 0) as server, connect(uri_of(server)) as websocket:
        websocket.wait_closed(DEADLINE)
    (thread,) = threads
    thread.join(DEADLINE)
    assert thread.daemon
    assert thread is not threading.main_thread()


def test_thread_that_cannot_be_started(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The client is sent away; the server goes on."""
    with serve(echo, HOST, 0) as server:
        monkeypatch.setattr("adapters.threading.server.PAUSE", 0.01)
        start = threading.Thread.start

        def fail(thread: threading.Thread) -> None:
            if thread.name.endswith("(_run)"):
                monkeypatch.setattr(threading.Thread, "start", start)
                raise RuntimeError("can't start new thread")
            start(thread)

        monkeypatch.setattr(threading.Thread, "start", fail)
        with socket.create_connection(server.sockets[0].getsockname()) as sock:
            sock.settimeout(DEADLINE)
            assert sock.recv(1) == b""
        with connect(uri_of(server)) as websocket:
            check_echo(websocket)
    assert "accepting a connection failed; trying again" in caplog.messages


# Closing


def test_shutdown_leaves_a_handler_to_itself_that_does_not_return(caplog: pytest.LogCaptureFixture) -> None:
    started, finish = threading.Event(), threading.Event()

    def handler(websocket: ServerConnection) -> None:
        started.set()
        finish.wait(DEADLINE)

    server = serve(handler, HOST, 0)
    serving = Thread(server.serve_forever)
    with connect(uri_of(server)) as websocket:
        assert started.wait(DEADLINE)
        server.shutdown(timeout=0.2)
        websocket.wait_closed(DEADLINE)
    assert "1 connection handlers do not return" in caplog.messages
    serving.result()
    finish.set()


def test_shutdown_aborts_what_is_not_closed_in_time() -> None:
    """A peer that does not answer the close frame: its handler is woken."""
    with serve(echo, HOST, 0, close_timeout=None) as server:
        with socket.create_connection(server.sockets[0].getsockname()) as sock:
            sock.sendall(request())
            assert sock.recv(65536).startswith(b"HTTP/1.1 101 ")
            assert server.connections
            server.shutdown(timeout=0.2)
        assert not server.connections


def test_shutdown_leaves_connections_to_their_handlers() -> None:
    with serve(echo, HOST, 0) as server, connect(uri_of(server)) as websocket:
        check_echo(websocket)
        closing = Thread(server.shutdown, close_connections=False, timeout=None)
        while server.is_serving():
            time.sleep(0.005)
        check_echo(websocket)
        assert closing.is_alive()
        websocket.close()
        closing.result()
        assert websocket.close_code == 1000


def test_shutdown_aborts_connections_that_it_has_left_for_too_long() -> None:
    with serve(echo, HOST, 0) as server, connect(uri_of(server)) as websocket:
        check_echo(websocket)
        server.shutdown(close_connections=False, timeout=0.2)
        websocket.wait_closed(DEADLINE)
        assert websocket.close_code == 1006


def test_shutdown_drains() -> None:
    """The timeout begins when the last connection has begun to close."""
    with serve(echo, HOST, 0) as server:
        clients = [connect(uri_of(server))() for _ in range(2)]
        for client in clients:
            check_echo(client)
        server.shutdown(1012, "back soon", drain=6, timeout=3)
        for client in clients:
            client.wait_closed(DEADLINE)
            assert (client.close_code, client.close_reason) == (1012, "back soon")


def test_shutdown_aborts_what_has_not_ended_after_a_drain() -> None:
    with serve(echo, HOST, 0, close_timeout=None) as server, contextlib.ExitStack() as stack:
        for _ in range(2):
            sock = stack.enter_context(socket.create_connection(server.sockets[0].getsockname()))
            sock.sendall(request())
            assert sock.recv(65536).startswith(b"HTTP/1.1 101 ")
        server.shutdown(drain=0.2, timeout=0.2)
        assert not server.connections


def test_drain_does_not_wait_for_a_lock() -> None:
    """A thread is in the middle of a change of the connection whose turn comes: another one is closed."""
    with serve(echo, HOST, 0) as server, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(connect(uri_of(server))) for _ in range(3)]
        for client in clients:
            check_echo(client)
        free = threading.Event()
        server.close(drain=3)
        assert server._drain is not None
        (_, held), (_, other) = server._drain._queue
        holding = Thread(held._locked, free.wait, DEADLINE)
        other.wait_closed(DEADLINE)
        assert holding.is_alive()
        free.set()
        holding.result()
        server.wait_closed(DEADLINE)


def test_wait_closed_times_out() -> None:
    with serve(echo, HOST, 0) as server, connect(uri_of(server)) as websocket:
        with pytest.raises(TimeoutError, match="1 connections"):
            server.wait_closed(0.2)
        check_echo(websocket)


def test_handler_closes_its_server() -> None:
    def handler(websocket: ServerConnection) -> None:
        websocket.server.close()
        websocket.recv()

    server = serve(handler, HOST, 0)
    serving = Thread(server.serve_forever)
    with connect(uri_of(server)) as websocket:
        websocket.wait_closed(DEADLINE)
        assert websocket.close_code == 1001
    serving.result()


def test_serve_forever_of_a_closed_server() -> None:
    with serve(echo, HOST, 0) as server:
        server.close()
        server.serve_forever()


def test_error_in_serve_forever_shuts_the_server_down(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*args: Any) -> None:
        raise KeyboardInterrupt

    server = serve(echo, HOST, 0)
    with connect(uri_of(server)) as websocket:
        previous = signal.signal(signal.SIGALRM, interrupt)
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.2)
            with pytest.raises(KeyboardInterrupt):
                server.serve_forever()
        finally:
            signal.signal(signal.SIGALRM, previous)
        assert websocket.close_code == 1001
    assert not server.connections
    with pytest.raises(RuntimeError, match="closed"):
        server.start_serving()


@pytest.mark.parametrize(
    ("handler", "number", "returned"),
    [
        # As it comes: a traceback of KeyboardInterrupt, and all closed.
        (None, signal.SIGINT, -signal.SIGINT),
        ("lambda *args: server.shutdown()", signal.SIGTERM, 0),
    ],
    ids=["Ctrl-C", "handler"],
)
def test_signals(handler: str | None, number: int, returned: int) -> None:
    script = f"""
        import signal
        from adapters.threading import serve

        # Jobs in the background of a shell ignore it.
        signal.signal(signal.SIGINT, signal.default_int_handler)

        def wait(websocket):
            websocket.send("ready")
            try:
                websocket.recv()
            finally:
                print("handler", flush=True)

        with serve(wait, "127.0.0.1", 0) as server:
            if {handler is not None}:
                signal.signal({int(number)}, {handler})
            print(server.sockets[0].getsockname()[1], flush=True)
            server.serve_forever()
        print("closed", flush=True)
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    with subprocess.Popen(command, cwd=ROOT, stdout=-1, stderr=-1, text=True) as process:
        assert process.stdout
        try:
            with connect(f"ws://127.0.0.1:{process.stdout.readline().strip()}/") as websocket:
                assert websocket.recv(timeout=DEADLINE) == "ready"
                process.send_signal(number)
                with pytest.raises(ConnectionClosed):
                    websocket.recv(timeout=DEADLINE)
                assert websocket.close_code == 1001
            output, errors = process.communicate(timeout=DEADLINE)
        finally:
            process.kill()
    assert output == ("handler\nclosed\n" if handler else "handler\n"), errors
    assert process.returncode == returned
    assert ("KeyboardInterrupt" in errors) is (handler is None)


# Mistakes


async def a_coroutine(*args: Any) -> None:
    raise AssertionError("nobody awaits this")


def test_coroutine_functions_are_refused() -> None:
    with pytest.raises(TypeError, match="handler must be a plain function"):
        serve(a_coroutine, HOST, 0)
    with pytest.raises(TypeError, match="process_request must be a plain function"):
        serve(echo, HOST, 0, process_request=a_coroutine)


def test_process_request_that_returns_a_coroutine(caplog: pytest.LogCaptureFixture) -> None:
    class Connection(ServerConnection):
        async def process_request(self, path: str, request_headers: Any) -> Any:
            raise AssertionError("nobody awaits this")

    with (
        serve(echo, HOST, 0, create_protocol=Connection) as server,
        pytest.raises(InvalidStatusCode) as info,
    ):
        connect(uri_of(server))()
    assert info.value.status_code == 500
    (error,) = [record.exc_info[1] for record in caplog.records if record.exc_info]
    assert "must be a plain function, not a coroutine function" in str(error)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"max_threads": 0}, ValueError),
        ({"max_threads": 1.5}, TypeError),
        ({"max_thread": 1}, TypeError),
        ({"sock": socket.socket}, ValueError),
    ],
)
def test_options(options: dict[str, Any], error: type[Exception]) -> None:
    with contextlib.ExitStack() as stack:
        if "sock" in options:
            options["sock"] = stack.enter_context(socket.socket())
        with pytest.raises(error):
            serve(echo, HOST, 0, **options)


def test_handler_that_ends_its_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """As ``sys.exit()`` does: it leaves no connection behind."""
    ended = threading.Event()
    monkeypatch.setattr(threading, "excepthook", lambda args: ended.set())
    with serve(lambda websocket: sys.exit(), HOST, 0) as server:
        with connect(uri_of(server)) as websocket:
            websocket.wait_closed(DEADLINE)
            assert websocket.close_code == 1001
        assert ended.wait(DEADLINE)
        assert not server.connections


# Where it listens


def test_sock() -> None:
    with socket.create_server((HOST, 0)) as sock, serve(echo, sock=sock) as server:
        with connect(uri_of(server)) as websocket:
            check_echo(websocket)
        assert server.sockets == (sock,)


def test_start_serving_later() -> None:
    with serve(echo, HOST, 0, start_serving=False) as server:
        assert not server.is_serving()
        server.start_serving()
        server.start_serving()
        assert server.is_serving()
        with connect(uri_of(server)) as websocket:
            check_echo(websocket)


def test_address_in_use() -> None:
    with socket.create_server((HOST, 0)) as sock, pytest.raises(OSError, match="in use"):
        serve(echo, HOST, sock.getsockname()[1])


def test_several_hosts_of_which_one_is_in_use() -> None:
    """All or none."""
    port = free_port()
    with socket.create_server(("127.0.0.2", port)), pytest.raises(OSError, match="in use"):
        serve(echo, [HOST, "127.0.0.2"], port)
    with serve(echo, [HOST, "127.0.0.2"], port) as server:
        assert len(server.sockets) == 2


def test_unix_socket_that_was_left_behind(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    for _ in range(2):
        with unix_serve(echo, path), unix_connect(path) as websocket:
            check_echo(websocket)


def test_file_that_is_no_socket(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    with pytest.raises(OSError, match=r"cannot listen on .*file"):
        unix_serve(echo, str(path))
    assert path.exists()


# Functions of the application that do not return


@pytest.mark.parametrize(
    "name", ["process_request", "select_subprotocol", "extra_headers", "process_response"]
)
def test_function_that_does_not_return(name: str) -> None:
    """Its connection ends at the deadline, and does not count any more; nobody waits for it."""
    begun, go_on, returned = threading.Event(), threading.Event(), threading.Event()

    def hang(*args: Any) -> Any:
        if not begun.is_set():
            begun.set()
            go_on.wait(DEADLINE)
            returned.set()
        return None

    options: Any = {name: hang, "open_timeout": 0.5, "close_timeout": 0.5, "max_connections": 1}
    try:
        with serve(echo, HOST, 0, **options) as server:
            with pytest.raises(InvalidHandshake), connect(uri_of(server)):
                raise AssertionError
            assert begun.is_set()
            while server.connections:
                time.sleep(0.01)
            with connect(uri_of(server)) as websocket:
                check_echo(websocket)
            server.close()
            server.wait_closed(DEADLINE)
            assert not returned.is_set()
    finally:
        go_on.set()
    assert returned.wait(DEADLINE)
