"""The programs of the explanations print what the pages say."""

from __future__ import annotations

import pytest

from .samples import blocks


@pytest.mark.parametrize("name", ["state-machine", "time"])
def test_programs(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    page = f"{name}.md"
    exec(compile(blocks(page, "program")[name], f"docs/{page}", "exec"), {"__name__": name})
    assert capsys.readouterr().out == blocks(page, "prints")[name]
