"""Types of a program on trio: see :mod:`tests.typing.test_types`."""

from __future__ import annotations

from http import HTTPStatus
from typing import assert_type

from adapters.trio import (
    CloseCode,
    ConnectionClosed,
    Headers,
    Request,
    Response,
    Server,
    ServerConnection,
    State,
    connect,
    make_response,
    serve,
)


class Connection(ServerConnection):
    pass


async def receive(uri: str) -> None:
    async with connect(uri) as websocket:
        assert_type(await websocket.recv(), str | bytes)
        assert_type(await websocket.recv(decode=None), str | bytes)
        assert_type(await websocket.recv(True), str)
        assert_type(await websocket.recv(decode=False), bytes)
        async for message in websocket:
            assert_type(message, str | bytes)
        async for piece in websocket.recv_streaming():
            assert_type(piece, str | bytes)
        async for text in websocket.recv_streaming(decode=True):
            assert_type(text, str)
        async for data in websocket.recv_streaming(False):
            assert_type(data, bytes)
        assert_type(await (await websocket.ping()), float)


async def handler(websocket: ServerConnection) -> None:
    assert_type(websocket.path, str)
    assert_type(websocket.request, Request)
    assert_type(websocket.request_headers, Headers)


async def handler_with_path(websocket: ServerConnection, path: str) -> None:
    pass


async def handler_of_connections_of_its_own(websocket: Connection) -> int:
    return 1


def answer(path: str, request_headers: Headers) -> tuple[HTTPStatus, dict[str, str], bytes] | None:
    return (HTTPStatus.OK, {"A": "b"}, b"body") if path == "/health" else None


async def answer_later(path: str, request_headers: Headers) -> Response | None:
    return None


async def answer_with_text(path: str, request_headers: Headers) -> str:
    return "no"


async def reasons(uri: str) -> str:
    async with connect(uri) as websocket:
        try:
            await websocket.send("a")
        except ConnectionClosed as error:
            assert_type(error.code, int)
            return error.failure or error.reason
        assert_type(websocket.state, State)
        return ""


def health(path: str, request_headers: Headers) -> Response | None:
    return make_response(200, {}, "OK") if path == "/health" else None


async def list_connections() -> None:
    async with serve(handler, process_request=health) as server:
        assert_type(server, Server)
        for websocket in server.connections:
            await websocket.close(CloseCode.GOING_AWAY)
            assert_type(websocket.path, str)


def plain(websocket: ServerConnection) -> None:
    pass


async def without_arguments() -> None:
    pass


async def with_wrong_path(websocket: ServerConnection, path: int) -> None:
    pass


async def with_more(websocket: ServerConnection, path: str, more: str) -> None:
    pass


async def with_wrong_connection(websocket: int) -> None:
    pass


def check() -> None:
    serve(handler)
    serve(handler_with_path, "localhost", 8765, ping_interval=None)
    serve(handler_of_connections_of_its_own, create_protocol=Connection)
    serve(lambda websocket: handler(websocket))
    serve(handler, process_request=answer)
    serve(handler, process_request=answer_later)
    serve(handler, process_request=answer_with_text)  # type: ignore[arg-type]
    serve(plain)  # type: ignore[arg-type]
    serve(without_arguments)  # type: ignore[arg-type]
    serve(with_wrong_path)  # type: ignore[arg-type]
    serve(with_more)  # type: ignore[arg-type]
    serve(with_wrong_connection)  # type: ignore[type-var]
    serve(handler, ping_intervall=20)  # type: ignore[call-overload]
