"""Sessions of each runtime, which a test uses in one way.

Topics need coroutines. So for sessions on threads, the test and the server run on asyncio, and each call of
the session blocks a thread beside them.
"""

from __future__ import annotations

import asyncio
import functools
from typing import Any, Self

import adapters.session
from adapters.threading.session import Session as BlockingSession
from tests.adapters.runtimes import Runtime
from tests.adapters.runtimes.on_asyncio import Asyncio
from tests.adapters.runtimes.on_threads import blocking

__all__ = ["AwaitedSession", "WithThreads", "session_on"]


class WithThreads(Asyncio):
    """asyncio, beside threads with sessions."""

    def __init__(self) -> None:
        super().__init__("asyncio")


def session_on(runtime: Runtime, *args: Any, **options: Any) -> Any:
    """Return the session of a runtime."""
    kind = AwaitedSession if isinstance(runtime, WithThreads) else adapters.session.Session
    return kind(*args, **options)


class AwaitedSession:
    """A session on threads whose methods are coroutine functions.

    Attributes:
        native: the session.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        if "credentials" in options:
            options["credentials"] = blocking(options["credentials"])
        self.native = BlockingSession(*args, **options)

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.native, name)
        return functools.partial(asyncio.to_thread, value) if callable(value) else value

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self.native.__enter__)
        return self

    async def __aexit__(self, *exc_info: Any) -> None:
        await asyncio.to_thread(self.native.__exit__, *exc_info)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        # A future cannot have a StopIteration.
        event = await asyncio.to_thread(next, self.native, None)
        if event is None:
            raise StopAsyncIteration
        return event
