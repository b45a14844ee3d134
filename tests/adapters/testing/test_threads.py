"""Clients of connection handlers, pairs of connections, and servers, on threads."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from adapters.testing.threading import connection_pair, handler_client, handler_server
from adapters.threading import ConnectionClosedError, ConnectionClosedOK, InvalidStatusCode, connect
from tests.adapters.runtimes.base import DEADLINE

from .expiring import EXPIRES, may_close_late


def echo(websocket: Any) -> None:
    for message in websocket:
        websocket.send(message)


def fails_on_message(websocket: Any) -> None:
    websocket.recv()
    raise KeyError("of the handler")


def test_messages() -> None:
    with handler_client(echo, timeout=DEADLINE) as client:
        client.send("hello")
        assert client.recv() == "hello"
        client.send([b"in ", b"fragments"])
        assert b"".join(client.recv_streaming(False)) == b"in fragments"
        client.send("last")
        assert next(client) == "last"
    assert client.close_code == 1000


def test_path_and_options() -> None:
    def handler(websocket: Any, path: str) -> None:
        websocket.send(f"{path} {websocket.request_headers['X-Token']}")

    with handler_client(handler, "/chat?x=1", timeout=DEADLINE, extra_headers={"X-Token": "1"}) as client:
        assert list(client) == ["/chat?x=1 1"]
        with pytest.raises(ConnectionClosedOK):
            client.recv()


def test_refusal() -> None:
    server = {"process_request": lambda path, headers: (401, [], b"who are you?")}
    with pytest.raises(InvalidStatusCode), handler_client(echo, timeout=DEADLINE, server=server):
        pytest.fail("the block does not begin")


def test_coroutine_function() -> None:
    async def handler(websocket: Any) -> None: ...

    with pytest.raises(TypeError, match="must be a plain function"), handler_client(handler):  # type: ignore
        pytest.fail("the block does not begin")


def test_options_that_have_no_meaning() -> None:
    with pytest.raises(TypeError, match="'sock' cannot be given"), handler_client(echo, sock=None):
        pytest.fail("the block does not begin")


@pytest.mark.parametrize("way", ["recv", "iteration", "pieces"])
def test_error_where_the_test_waits(way: str) -> None:
    with handler_client(fails_on_message, timeout=DEADLINE) as client:
        client.send("go")
        ways = {
            "recv": client.recv,
            "iteration": client.__next__,
            "pieces": lambda: next(client.recv_streaming()),
        }
        with pytest.raises(KeyError, match="of the handler") as raised:
            ways[way]()
        assert isinstance(raised.value.__context__, ConnectionClosedError)


def test_error_that_no_wait_has_raised() -> None:
    def test() -> None:
        with handler_client(fails_on_message, timeout=DEADLINE) as client:
            client.send("go")

    with pytest.raises(KeyError, match="of the handler"):
        test()


def test_error_is_a_note_on_that_of_the_test() -> None:
    def test() -> None:
        with handler_client(fails_on_message, timeout=DEADLINE) as client:
            client.send("go")
            client.wait_closed()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as raised:
        test()
    assert "KeyError: 'of the handler'" in raised.value.__notes__[0]


def test_no_message_in_time() -> None:
    with may_close_late(), handler_client(echo, **EXPIRES) as client:
        with pytest.raises(TimeoutError, match=r"^no message in 0\.2 seconds$"):
            client.recv()
        with pytest.raises(TimeoutError, match=r"^no message in 0\.3 seconds$"):
            client.recv(timeout=0.3)
        with pytest.raises(TimeoutError, match=r"^no message in 0\.2 seconds$"):
            next(client)
        with pytest.raises(TimeoutError, match=r"^no piece of a message in 0\.2 seconds$"):
            next(client.recv_streaming())
        with pytest.raises(TimeoutError, match=r"^the connection was not closed in 0\.2 seconds$"):
            client.wait_closed()


def test_handler_that_does_not_return() -> None:
    go_on = threading.Event()

    def handler(websocket: Any) -> None:
        go_on.wait(DEADLINE)

    def test() -> None:
        with handler_client(handler, **EXPIRES):
            pass

    try:
        with pytest.raises(TimeoutError, match=r"closed.* in 0\.2 seconds"):
            test()
    finally:
        go_on.set()


def test_pair() -> None:
    with connection_pair(timeout=DEADLINE) as (client, server):
        client.send("to the server")
        assert server.recv() == "to the server"
        server.send("to the client")
        assert client.recv() == "to the client"
        client.close(4000, "enough")
        with pytest.raises(ConnectionClosedError):
            server.recv()


def test_both_ends_of_a_pair_wait_in_time() -> None:
    with may_close_late(), connection_pair(**EXPIRES) as ends:
        for end in ends:
            with pytest.raises(TimeoutError, match=r"no message in 0\.2 seconds"):
                end.recv()


def test_server() -> None:
    with handler_server(echo, timeout=DEADLINE) as serving, connect(serving.uri) as client:
        client.send("hello")
        assert client.recv() == "hello"


def test_error_on_a_server() -> None:
    def test() -> None:
        with handler_server(fails_on_message, timeout=DEADLINE) as serving, connect(serving.uri) as client:
            client.send("go")
            client.wait_closed()

    with pytest.raises(KeyError, match="of the handler"):
        test()
