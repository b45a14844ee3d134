"""Blocks: entered once, and which exception comes out when closing raises another one."""

from __future__ import annotations

import logging

import pytest

from adapters.shared.blocks import Once, keep_exception


class Cancelled(BaseException):
    """As runtimes have them."""


LEAVING = ValueError("the user's")


def leave(leaving: BaseException | None, raised: BaseException) -> None:
    with keep_exception(leaving, logging.getLogger("test")):
        raise raised


@pytest.fixture(autouse=True)
def _everything_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "test")


@pytest.mark.parametrize("raised", [OSError(), Cancelled(), KeyboardInterrupt()], ids=repr)
def test_normal_exit_lets_everything_out(raised: BaseException, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(type(raised)):
        leave(None, raised)
    assert not caplog.records


def test_error_of_closing_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    error = OSError("closing")
    leave(LEAVING, error)
    (record,) = caplog.records
    assert (record.levelno, record.getMessage()) == (logging.ERROR, "closing failed")
    assert record.exc_info is not None
    assert record.exc_info[1] is error


def test_cancellation_gives_way(caplog: pytest.LogCaptureFixture) -> None:
    leave(LEAVING, Cancelled())
    assert caplog.record_tuples == [("test", logging.DEBUG, "closing was interrupted: Cancelled")]


@pytest.mark.parametrize(
    "raised",
    [
        KeyboardInterrupt(),
        SystemExit(1),
        GeneratorExit(),
        BaseExceptionGroup("", [Cancelled(), KeyboardInterrupt()]),
    ],
    ids=lambda raised: type(raised).__name__,
)
def test_end_of_the_program_does_not_give_way(raised: BaseException) -> None:
    with pytest.raises(type(raised)):
        leave(LEAVING, raised)


class Made(Once):
    made_by = "make"


def test_once() -> None:
    made, other = Made(), Made()
    made._begin()
    for _ in range(2):
        with pytest.raises(RuntimeError, match=r"what make\(\) returned has been used already"):
            made._begin()
    other._begin()
