"""Types of a program on the facade: see :mod:`tests.typing.test_types`."""

from __future__ import annotations

from typing import assert_type

from adapters import websockets


async def receive(uri: str) -> None:
    async with websockets.connect(uri) as websocket:
        assert_type(await websocket.recv(), str | bytes)
        assert_type(await websocket.recv(True), str)
        assert_type(await websocket.recv(decode=False), bytes)


async def handler(websocket: websockets.WebSocketServerProtocol, path: str) -> None:
    assert_type(websocket.path, str)


async def with_wrong_path(websocket: websockets.WebSocketServerProtocol, path: int) -> None:
    pass


def check() -> None:
    websockets.serve(handler, "localhost", 8765)
    websockets.serve(with_wrong_path)  # type: ignore[arg-type]
