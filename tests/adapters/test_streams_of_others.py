"""Streams that are given to an adapter of another runtime are refused before anything is done."""

from __future__ import annotations

from typing import Any

import anyio.abc
import pytest
import trio.testing

import adapters.anyio
import adapters.trio


def stream_of_trio() -> trio.abc.Stream:
    return trio.testing.memory_stream_pair()[0]


class StreamOfAnyio(anyio.abc.ByteStream):
    async def receive(self, max_bytes: int = 65536) -> bytes:
        raise AssertionError

    async def send(self, item: bytes) -> None:
        raise AssertionError

    async def send_eof(self) -> None:
        raise AssertionError

    async def aclose(self) -> None:
        raise AssertionError


async def handler(websocket: Any) -> None:
    raise AssertionError


CASES = [
    (adapters.trio, StreamOfAnyio, r"receive_some, send_all"),
    (adapters.anyio, stream_of_trio, r"receive, send"),
]


@pytest.mark.parametrize(("adapter", "make_stream", "methods"), CASES)
def test_connect(adapter: Any, make_stream: Any, methods: str) -> None:
    with pytest.raises(TypeError, match=rf"stream must have the methods of the runtime's own \({methods}"):
        adapter.connect("ws://localhost/", stream=make_stream())


@pytest.mark.parametrize(("adapter", "make_stream", "methods"), CASES)
def test_serve_stream(adapter: Any, make_stream: Any, methods: str) -> None:
    with pytest.raises(TypeError, match=methods):
        trio.run(adapter.serve_stream, handler, make_stream())
