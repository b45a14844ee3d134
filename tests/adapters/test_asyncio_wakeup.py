"""The future that resumes its task at once: :mod:`adapters.asyncio.waiting`."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from typing import Any

import pytest

from adapters.asyncio.waiting import Wakeup

from .event_loop import turns


async def wait(wakeup: Wakeup, log: list[str], name: str = "woken") -> str:
    await wakeup
    log.append(name)
    return name


def outside(function: Any) -> asyncio.Future[Any]:
    """Call a function from the event loop, where no task runs."""
    loop = asyncio.get_running_loop()
    result = loop.create_future()

    def call() -> None:
        try:
            result.set_result(function())
        except BaseException as error:
            result.set_exception(error)

    loop.call_soon(call, context=contextvars.Context())
    return result


async def test_nobody_waits() -> None:
    wakeup = Wakeup()
    assert not wakeup.done()
    wakeup.wake()
    await outside(wakeup.wake)
    assert wakeup.cancel() is False


async def test_wake_resumes_the_task_before_it_returns() -> None:
    wakeup, log = Wakeup(), []
    task = asyncio.create_task(wait(wakeup, log))
    await turns()
    assert not wakeup.done()

    def wake() -> None:
        log.append("before")
        wakeup.wake()
        log.append("after")

    await outside(wake)
    assert log == ["before", "woken", "after"]
    assert wakeup.done()
    assert await task == "woken"


async def test_wake_from_a_task_resumes_the_other_one_later() -> None:
    wakeup, log = Wakeup(), []
    task = asyncio.create_task(wait(wakeup, log))
    await turns()
    wakeup.wake()
    log.append("after")
    assert wakeup.done()
    await task
    assert log == ["after", "woken"]


async def test_wake_in_the_context_of_the_task_resumes_it_later() -> None:
    wakeup, log = Wakeup(), []
    context = contextvars.copy_context()
    loop = asyncio.get_running_loop()
    task = loop.create_task(wait(wakeup, log), context=context)
    await turns()

    def wake() -> None:
        wakeup.wake()
        log.append("after")

    loop.call_soon(wake, context=context)
    await task
    assert log == ["after", "woken"]


async def test_second_wake_does_nothing() -> None:
    wakeup, log = Wakeup(), []
    task = asyncio.create_task(wait(wakeup, log))
    await turns()
    wakeup.wake()
    wakeup.wake()
    await outside(wakeup.wake)
    await task
    assert log == ["woken"]


async def test_cancelled_while_waiting() -> None:
    wakeup, log = Wakeup(), []
    task = asyncio.create_task(wait(wakeup, log))
    await turns()
    task.cancel("message")
    assert wakeup.done()
    # Too late to be woken.
    await outside(wakeup.wake)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert log == []


async def test_cancelled_after_being_woken() -> None:
    wakeup, log = Wakeup(), []
    task = asyncio.create_task(wait(wakeup, log))
    await turns()
    wakeup.wake()
    assert task.cancel() is True
    with pytest.raises(asyncio.CancelledError):
        await task
    assert log == []


async def test_cancellation_that_the_task_survives() -> None:
    first, second = Wakeup(), Wakeup()

    async def survive() -> str:
        with contextlib.suppress(asyncio.CancelledError):
            await first
        await second
        return "woken"

    task = asyncio.create_task(survive())
    await turns()
    task.cancel()
    await turns()
    assert first.cancelled()
    await outside(second.wake)
    assert await task == "woken"


async def test_timeout_of_the_waiting_task() -> None:
    wakeup = Wakeup()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await wakeup
    assert wakeup.cancelled()
    wakeup = Wakeup()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(wait(wakeup, []), 0.01)
    assert wakeup.cancelled()


async def test_task_runs_in_its_own_context() -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="none")
    wakeup = Wakeup()

    async def check() -> tuple[str, Any]:
        variable.set("the task's")
        await wakeup
        return variable.get(), asyncio.current_task()

    task = asyncio.create_task(check())
    await turns()

    def wake() -> str:
        variable.set("the callback's")
        wakeup.wake()
        assert asyncio.current_task() is None
        return variable.get()

    assert await outside(wake) == "the callback's"
    assert await task == ("the task's", task)
    assert variable.get() == "none"


async def test_exception_of_the_task_stays_in_it() -> None:
    wakeup = Wakeup()

    async def fail() -> None:
        await wakeup
        raise RuntimeError("cannot enter context: <Context> is already entered")

    task = asyncio.create_task(fail())
    await turns()
    await outside(wakeup.wake)
    with pytest.raises(RuntimeError, match="cannot enter"):
        await task


async def test_other_errors_of_the_callback_are_not_swallowed() -> None:
    wakeup = Wakeup()
    called = []

    def fail(future: object) -> None:
        called.append(future)
        raise RuntimeError("something else")

    wakeup.add_done_callback(fail, context=contextvars.copy_context())
    with pytest.raises(RuntimeError, match="something else"):
        await outside(wakeup.wake)
    assert called == [wakeup]


async def test_it_belongs_to_its_loop() -> None:
    assert Wakeup().get_loop() is asyncio.get_running_loop()


async def test_woken_task_that_waits_again_at_once() -> None:
    # The task is woken, and waits again, within one callback.
    wakeups = [Wakeup() for _ in range(10)]
    count = 0

    async def run() -> None:
        nonlocal count
        for wakeup in wakeups:
            await wakeup
            count += 1

    task = asyncio.create_task(run())
    await turns()

    def wake() -> int:
        for wakeup in wakeups:
            wakeup.wake()
        return count

    assert await outside(wake) == 10
    await task
