"""``connect`` in pipes."""

from __future__ import annotations

import os
import random
import signal
import socket
import ssl
import subprocess
import threading
from contextlib import suppress
from typing import Any

import pytest

from adapters.threading import ServerConnection
from tests.ports import free_port
from wsproto_core import ConnectionClosed

from .commands import AMPLE, CERTIFICATES, environment, program, run, served, spawn


def echo(websocket: ServerConnection) -> None:
    for message in websocket:
        websocket.send(message)


def sender(*messages: str | bytes) -> Any:
    """A handler that sends messages, and then waits for the end."""

    def handle(websocket: ServerConnection) -> None:
        for message in messages:
            websocket.send(message)
        for _ in websocket:
            pass

    return handle


def echo_some(size: int) -> Any:
    """A handler that sends messages back until they are so long in sum, and then closes."""

    def handle(websocket: ServerConnection) -> None:
        left = size
        while left > 0:
            message = websocket.recv()
            websocket.send(message)
            left -= len(message)

    return handle


# What goes in and out


@pytest.mark.parametrize(
    ("data", "output"),
    [
        (b"hello\n", b"hello\n"),
        (b"one\n\ntwo\r\nthree", b"one\n\ntwo\nthree\n"),
        ("naïve ✓\n".encode(), "naïve ✓\n".encode()),
        (b"", b""),
    ],
    ids=["one", "ends of lines", "UTF-8", "nothing"],
)
def test_each_line_is_a_message(data: bytes, output: bytes) -> None:
    with served(echo) as uri:
        assert run("connect", uri, data=data) == (0, output, "")


def test_many_lines_and_long_ones() -> None:
    data = b"".join(b"%d\n" % number for number in range(3000)) + b"x" * 300_000 + b"\n"
    with served(echo_some(len(data) - data.count(b"\n"))) as uri:
        assert run("connect", "--wait", "inf", uri, data=data) == (0, data, "")


def test_closing_at_once() -> None:
    """The answers before the close frame are written; this server answers in order."""
    with served(echo, close_timeout=AMPLE) as uri:
        arguments = ("--wait", "0", "--close-timeout", str(AMPLE))
        assert run("connect", *arguments, uri, data=b"1\n2\n") == (0, b"1\n2\n", "")


def test_binary_is_not_touched() -> None:
    data = random.randbytes(300_000)
    with served(echo_some(len(data))) as uri:
        assert run("connect", "--binary", "--wait", "inf", uri, data=data) == (0, data, "")


def test_what_is_received_goes_into_a_pipe_as_it_is() -> None:
    with served(sender("\x1b[31m\x07", b"\x00\xff\x1b", '{"a": 1}')) as uri:
        assert run("connect", uri) == (0, b'\x1b[31m\x07\n\x00\xff\x1b{"a": 1}\n', "")


def test_json_is_indented_on_request() -> None:
    with served(sender('{"a": ["\u2713", "\\ud800"]}', "{no", b"{}")) as uri:
        _, output, _ = run("connect", "--json", uri)
    assert output.decode() == '{\n  "a": [\n    "\u2713",\n    "\\ud800"\n  ]\n}\n{no\n{}'


def test_timestamps() -> None:
    with served(sender("hello")) as uri:
        status, output, _ = run("connect", "--timestamps", uri)
    assert status == 0
    time, _, text = output.decode().partition(" ")
    assert len(time) == len("12:34:56.789")
    assert text == "hello\n"


def test_input_that_is_no_text() -> None:
    with served(echo) as uri:
        status, output, errors = run("connect", uri, data=b"fine\n\xff\xfe\nlost\n")
    assert status == 1
    assert b"lost" not in output
    assert (
        errors
        == "wsproto-core connect: line 2 of standard input is not UTF-8: --binary sends input as it is\n"
    )


# The end


def test_one_shot_ends_with_the_first_message() -> None:
    def handle(websocket: ServerConnection) -> None:
        assert websocket.recv() == "question"
        with suppress(ConnectionClosed):
            while True:
                websocket.send("answer")

    with served(handle) as uri, spawn("connect", "--one-shot", uri) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"question\n")
        process.stdin.flush()
        # The input does not end before the answer.
        assert process.wait(AMPLE) == 0
        assert process.stdout.read() == b"answer\n"


def test_one_shot_without_a_message() -> None:
    with served(lambda websocket: None) as uri:
        status, output, errors = run("connect", "--one-shot", uri)
    assert (status, output) == (1, b"")
    assert errors == "wsproto-core connect: the server has closed the connection and has sent no message\n"


def test_the_server_closes_while_there_is_input() -> None:
    with served(lambda websocket: websocket.send("bye")) as uri, spawn("connect", uri) as process:
        assert process.wait(AMPLE) == 0
        assert process.stdout is not None
        assert process.stdout.read() == b"bye\n"


def test_the_server_closes_with_an_error() -> None:
    with served(lambda websocket: websocket.close(4001, "no\x1b[31m")) as uri:
        status, _, errors = run("connect", uri)
    assert status == 1
    assert errors.count("\n") == 1
    assert "4001" in errors
    assert r"\x1b[31m" in errors


def test_waiting_without_an_end() -> None:
    with served(sender("hello")) as uri, spawn("connect", "--wait", "inf", uri) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        assert process.stdout.readline() == b"hello\n"
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1.5)
        process.kill()


def test_interrupted() -> None:
    codes = []

    def handle(websocket: ServerConnection) -> None:
        websocket.send("hello")
        with suppress(ConnectionClosed):
            websocket.recv()
        codes.append(websocket.close_code)

    with served(handle) as uri, spawn("connect", uri) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"hello\n"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=AMPLE)
    assert (process.returncode, errors) == (130, b"")
    assert codes == [1001]


def test_nobody_reads_the_output() -> None:
    codes = []

    def handle(websocket: ServerConnection) -> None:
        with suppress(ConnectionClosed):
            while True:
                websocket.send("y")
        codes.append(websocket.close_code)

    with served(handle) as uri, spawn("connect", uri) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"y\n"
        process.stdout.close()
        assert process.wait(AMPLE) == 141
        assert process.stderr is not None
        assert process.stderr.read() == b""
    assert codes == [1001]


def test_connecting_again() -> None:
    connections = []

    def handle(websocket: ServerConnection) -> None:
        connections.append(websocket)
        if len(connections) == 1:
            websocket.send("first")
            websocket.close(1012)
        else:
            echo(websocket)

    with served(handle) as uri, spawn("connect", "--reconnect", uri) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"first\n"
        assert b"1012" in process.stderr.readline()
        process.stdin.write(b"second\n")
        process.stdin.close()
        assert process.stdout.readline() == b"second\n"
        assert process.wait(AMPLE) == 0


# Arguments


def test_what_the_server_is_sent() -> None:
    seen: list[Any] = []

    def handle(websocket: ServerConnection) -> None:
        headers = websocket.request_headers
        names = ("Origin", "X-One", "User-Agent", "Sec-WebSocket-Extensions")
        seen.extend([websocket.path, websocket.subprotocol, *(headers.get(name) for name in names)])

    with served(handle, subprotocols=["b"]) as uri:
        arguments = ["-H", "X-One: a: b ", "--header", "User-Agent: me", "-s", "a", "-s", "b"]
        status, _, errors = run(
            *("connect", *arguments, "--origin", "http://page", "--compression", "none"),
            uri.removeprefix("ws://") + "path?query",
        )
    assert (status, errors) == (0, "")
    assert seen == ["/path?query", "b", "http://page", "a: b", "me", None]


def test_tls() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATES / "localhost.pem", CERTIFICATES / "localhost.key")
    with served(echo, ssl=context) as uri:
        status, _, errors = run("connect", uri, data=b"hello\n")
        assert status == 1
        assert errors.count("\n") == 1
        assert "certificate" in errors
        assert run("connect", "--insecure", uri, data=b"hello\n") == (0, b"hello\n", "")
        trusted = ("--ca-file", str(CERTIFICATES / "localhost.pem"))
        assert run("connect", *trusted, uri, data=b"hello\n") == (0, b"hello\n", "")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["http://localhost/"], "http"),
        (["ws://localhost/", "--header", "nothing"], "expected 'NAME: VALUE'"),
        (["ws://localhost/", "--header", "Upgrade: x"], "opening handshake"),
        (["ws://localhost/", "--insecure"], "wss:"),
        (["wss://localhost/", "--ca-file", "/nothing.pem"], "/nothing.pem"),
        (["ws://localhost/", "--wait=-1"], "0 or more"),
        (["ws://localhost/", "--max-size", "many"], "1 or more"),
        ([], "URI"),
    ],
)
def test_wrong_usage(arguments: list[str], said: str) -> None:
    status, output, errors = run("connect", *arguments)
    assert (status, output) == (2, b"")
    assert said in errors
    assert "Traceback" not in errors


def test_nobody_is_there() -> None:
    port = free_port()
    status, output, errors = run("connect", f"ws://localhost:{port}/", data=b"hello\n")
    assert (status, output) == (1, b"")
    assert errors.startswith("wsproto-core connect: ")
    assert errors.count("\n") == 1
    assert f"ws://localhost:{port}/" in errors


def test_no_websocket_server_is_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            sock, _ = listener.accept()
            with sock:
                sock.recv(65536)
                sock.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\n\x1b[31m")

        thread = threading.Thread(target=answer)
        thread.start()
        status, _, errors = run("connect", f"ws://127.0.0.1:{listener.getsockname()[1]}/")
        thread.join()
    assert status == 1
    assert "404" in errors
    assert "\x1b" not in errors


def test_help_and_version() -> None:
    for arguments, said in ((["--help"], b"connect"), (["connect", "--help"], b"--one-shot")):
        status, output, errors = run(*arguments)
        assert (status, errors) == (0, "")
        assert said in output
    assert run("--version")[1].startswith(b"wsproto-core 0.")


def test_it_needs_no_extra(tmp_path: Any) -> None:
    """In a pipe, neither prompt_toolkit nor rich are imported."""
    for name in ("prompt_toolkit", "rich"):
        (tmp_path / f"{name}.py").write_text("raise ModuleNotFoundError('hidden', name='hidden')")
    path = os.pathsep.join([str(tmp_path), environment()["PYTHONPATH"]])
    with served(echo) as uri:
        done = subprocess.run(
            [*program(), "connect", uri],
            input=b"hello\n",
            env=environment(PYTHONPATH=path),
            capture_output=True,
            timeout=AMPLE,
        )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"hello\n", b"")
