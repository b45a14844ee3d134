"""What the runtimes of the tests report when a test fails."""

from __future__ import annotations

import traceback

import pytest
import trio

from tests.adapters.runtimes import RUNTIMES, Runtime, make_runtime


@pytest.fixture(params=RUNTIMES)
def subject(request: pytest.FixtureRequest) -> Runtime:
    return make_runtime(request.param)


async def fail() -> None:
    raise ValueError("the reason")


def test_a_failure_has_the_errors_of_tasks(subject: Runtime) -> None:
    async def test() -> None:
        task = subject.spawn(fail)
        await subject.until(task.done)
        raise AssertionError("a consequence")

    with pytest.raises(AssertionError, match="a consequence") as raised:
        subject.run(test())
    (note,) = raised.value.__notes__
    assert note.startswith("fail: Traceback")
    assert "ValueError: the reason" in note


def test_a_task_that_fails_fails_the_test(subject: Runtime) -> None:
    async def test() -> None:
        task = subject.spawn(fail)
        await subject.until(task.done)

    with pytest.raises(ValueError, match="the reason"):
        subject.run(test())


def test_an_error_of_the_end_does_not_hide_that_of_the_test(subject: Runtime) -> None:
    async def test() -> None:
        async with subject.serving() as (_, uri), subject.connect(uri) as client:
            await client.send("x")
            raise AssertionError("the reason")

    with pytest.raises(AssertionError, match="the reason"):
        subject.run(test())


def test_a_test_that_does_not_end(subject: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    """The report says where it waits, and which task has failed."""
    subject.deadline = 1.0
    monkeypatch.setattr("tests.adapters.runtimes.on_threads.DEADLINE", 1.0)

    async def waits_here() -> None:
        await subject.event().wait()

    async def test() -> None:
        await subject.until(subject.spawn(fail).done)
        await waits_here()

    with pytest.raises((TimeoutError, AssertionError, trio.TooSlowError)) as raised:
        subject.run(test())
    report = "".join(traceback.format_exception(raised.value))
    assert "ValueError: the reason" in report
    # The virtual time of the core alone ends at once, with no stack of a task.
    assert "waits_here" in report or subject.name == "memory"
