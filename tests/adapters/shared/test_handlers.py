"""Handlers that ``serve`` refuses, as far as it can be known that they cannot work."""

from __future__ import annotations

import functools
import types
from typing import Any

import pytest

from adapters.shared.handlers import check_async_handler, check_plain
from tests.adapters.runtimes.base import HOST


async def coroutine_function(websocket: Any) -> None:
    pass


def returning(websocket: Any) -> Any:
    if websocket is None:
        return None
    return coroutine_function(websocket)


def chosen(websocket: Any) -> Any:
    return (websocket and coroutine_function(websocket)) or None


@types.coroutine
def older_coroutine_function(websocket: Any) -> Any:
    yield


class Handler:
    async def method(self, websocket: Any) -> None:
        pass

    async def __call__(self, websocket: Any) -> None:
        pass

    def plain(self, websocket: Any) -> None:
        pass


class Made:
    def __init__(self, websocket: Any) -> None:
        self.coroutine = coroutine_function(websocket)

    def __await__(self) -> Any:
        return self.coroutine.__await__()


class PlainHandler:
    def __call__(self, websocket: Any) -> None:
        pass


def plain(websocket: Any) -> None:
    print(websocket)


def plain_with_returns(websocket: Any) -> Any:
    if websocket:
        return None
    return 3


def raising(websocket: Any) -> None:
    raise ZeroDivisionError


def generator(websocket: Any) -> Any:
    yield


async def asynchronous_generator(websocket: Any) -> Any:
    yield


GOOD = [
    coroutine_function,
    returning,
    chosen,
    older_coroutine_function,
    Handler(),
    Handler().method,
    functools.partial(coroutine_function),
    functools.partial(functools.partial(Handler().method)),
    lambda websocket: coroutine_function(websocket),
    functools.lru_cache(coroutine_function),
    iter,
    Made,
]

PLAIN = [
    plain,
    plain_with_returns,
    raising,
    PlainHandler(),
    Handler().plain,
    functools.partial(plain),
    lambda websocket: None,
]


@pytest.mark.parametrize("handler", GOOD)
def test_functions_that_may_be_awaited(handler: Any) -> None:
    check_async_handler(handler)


@pytest.mark.parametrize("handler", PLAIN)
def test_functions_that_cannot_be_awaited(handler: Any) -> None:
    with pytest.raises(TypeError, match=r"^handler must be a coroutine function: write 'async def' before "):
        check_async_handler(handler)
    check_plain(handler, None)


def test_name_of_the_function() -> None:
    with pytest.raises(TypeError) as raised:
        check_async_handler(plain)
    assert str(raised.value) == "handler must be a coroutine function: write 'async def' before plain"


@pytest.mark.parametrize("handler", [generator, asynchronous_generator])
def test_generators(handler: Any) -> None:
    with pytest.raises(TypeError) as raised:
        check_async_handler(handler)
    assert str(raised.value) == (
        f"handler must be a coroutine function, but {handler.__name__} is a generator: it has a yield"
    )
    with pytest.raises(TypeError, match=r"^handler must be a plain function, not a generator"):
        check_plain(handler, None)


@pytest.mark.parametrize("handler", [coroutine_function, Handler(), functools.partial(coroutine_function)])
def test_coroutine_functions_on_threads(handler: Any) -> None:
    message = "must be a plain function, not a coroutine function: threads run it"
    with pytest.raises(TypeError, match=rf"^handler {message}"):
        check_plain(handler, None)
    with pytest.raises(TypeError, match=rf"^process_request {message}"):
        check_plain(plain, handler)


@pytest.mark.parametrize("name", ["asyncio", "trio", "anyio", "threading"])
def test_serve_refuses_before_it_listens(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    adapter = pytest.importorskip(f"adapters.{name}")
    monkeypatch.setattr("socket.socket.bind", None)
    wrong: Any = coroutine_function if name == "threading" else plain
    with pytest.raises(TypeError, match=r"^handler must be a "):
        adapter.serve(wrong, HOST, 0)

    def without_arguments() -> None:
        pass

    with pytest.raises(TypeError, match=r"^handler must take the connection"):
        adapter.serve(without_arguments, HOST, 0)
