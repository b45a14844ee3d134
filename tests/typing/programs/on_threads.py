"""Types of a program on threads: see :mod:`tests.typing.test_types`."""

from __future__ import annotations

from typing import assert_type

from adapters.threading import Headers, Request, Server, ServerConnection, connect, serve


class Connection(ServerConnection):
    pass


def receive(uri: str) -> None:
    with connect(uri) as websocket:
        assert_type(websocket.recv(), str | bytes)
        assert_type(websocket.recv(timeout=1), str | bytes)
        assert_type(websocket.recv(True, timeout=1), str)
        assert_type(websocket.recv(decode=False), bytes)
        for message in websocket:
            assert_type(message, str | bytes)
        for piece in websocket.recv_streaming():
            assert_type(piece, str | bytes)
        for text in websocket.recv_streaming(decode=True):
            assert_type(text, str)
        for data in websocket.recv_streaming(False, timeout=1):
            assert_type(data, bytes)
        assert_type(websocket.ping().wait(), float)


def handler(websocket: ServerConnection) -> None:
    assert_type(websocket.path, str)
    assert_type(websocket.request, Request)
    assert_type(websocket.request_headers, Headers)


def handler_with_path(websocket: ServerConnection, path: str) -> None:
    pass


def handler_of_connections_of_its_own(websocket: Connection) -> None:
    pass


async def coroutine_function(websocket: ServerConnection) -> None:
    pass


def without_arguments() -> None:
    pass


def with_wrong_path(websocket: ServerConnection, path: int) -> None:
    pass


def with_wrong_connection(websocket: int) -> None:
    pass


def check() -> None:
    assert_type(serve(handler), Server)
    serve(handler_with_path, "localhost", 8765, ping_interval=None)
    serve(handler_of_connections_of_its_own, create_protocol=Connection)
    serve(coroutine_function)  # type: ignore[arg-type]
    serve(without_arguments)  # type: ignore[arg-type]
    serve(with_wrong_path)  # type: ignore[arg-type]
    serve(with_wrong_connection)  # type: ignore[type-var]
    serve(handler, ping_intervall=20)  # type: ignore[call-arg]
