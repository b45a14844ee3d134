"""The parts of the documentation that are drawn from the code are those that the code draws."""

import runpy
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
GENERATOR = runpy.run_path(str(DOCS / "generate.py"))


@pytest.mark.parametrize("name", GENERATOR["PARTS"])
def test_page_is_up_to_date(name: str) -> None:
    page = (DOCS / name).read_text(encoding="utf-8")
    assert page == GENERATOR["generate"](name), f"docs/{name} is out of date: run  python docs/generate.py"


@pytest.mark.parametrize("name", GENERATOR["DOCSTRINGS"])
def test_docstrings_are_up_to_date(name: str) -> None:
    module = (DOCS.parent / name).read_text(encoding="utf-8")
    assert module == GENERATOR["generate_docstrings"](name), (
        f"{name} is out of date: run  python docs/generate.py"
    )
