"""The list is complete: each row has cases or names tests that exist, and each case has a row."""

from __future__ import annotations

import pytest

from .cases import CLIENT, SERVER
from .rows import CASES, ROWS, Row, matches


def test_all_rows_are_there() -> None:
    numbers = [row.key for row in ROWS if isinstance(row.key, int)]
    assert numbers == list(range(1, 45))
    assert len(ROWS) == 44 + 18
    assert len({row.key for row in ROWS}) == len(ROWS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: str(row.key))
def test_row_is_held(row: Row) -> None:
    assert row.cases or row.tests
    for pattern in row.tests:
        assert matches(pattern), f"there is no test {pattern}"


def test_patterns_that_name_nothing() -> None:
    assert not matches("tests/adversarial/test_rows.py::test_row_99_*")
    assert not matches("tests/adversarial/test_nothing.py::test_*")


def test_cases_are_of_a_row_and_have_names_of_their_own() -> None:
    keys = {row.key for row in ROWS}
    assert all(case.row in keys for case in CASES)
    assert len({repr(case) for case in CASES}) == len(CASES)
    assert all(case.sides and set(case.sides) <= {SERVER, CLIENT} for case in CASES)


def test_sections_are_cited() -> None:
    assert all(case.section.startswith("RFC ") for case in CASES)
