"""Every block of code on every page is run by a test, or is in the list of those that cannot be.

A block has a name in the comment before it (see ``samples.py``), and the test of its page has the same name
in quotation marks. On some pages, the test takes all blocks of Python, whatever their names are.
"""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest

from tests.test_pages import PAGES

from .samples import DOCS, ROOT, Block, blocks_of

TESTS = {
    "adapters/cli/test_page.py": "command-line",
    "adapters/session/test_page.py": "session",
    "adapters/test_faq.py": "faq",
    "browser/test_session.py": "session",
    "docs/test_explanations.py": "state-machine time",
    "docs/test_frameworks.py": "frameworks",
    "docs/test_guides.py": "authentication closed files tls tuning",
    "docs/test_patterns.py": "patterns",
    "docs/test_processes.py": "processes",
    "docs/test_services.py": "services",
    "docs/test_short_samples.py": "anyio asgi asyncio broadcasting compiled compression extensions "
    "observability proxies reconnecting threading trio websockets wsproto",
    "examples/test_page.py": "examples",
    "interop/test_nginx.py": "deployment",
    "test_deployment.py": "deployment",
    "test_names.py": "name",
}
"""The tests that have the names of blocks, and the pages in docs/ of these blocks."""

WHOLE = {
    "adapters/testing/test_plugin.py": "testing",
    "adapters/topics/test_page.py": "topics",
    "docs/test_readme.py": "../README",
    "docs/test_tutorial.py": "tutorial/browser tutorial/operation tutorial/room tutorial/start "
    "tutorial/tests",
    "interop/test_migrating.py": "migrating",
}
"""The tests that take all blocks of Python, and have the names of others, and their pages."""

PROGRAMS = {
    "examples/embedding_custom_loop.py": "core/test_embedding.py",
    "examples/embedding_selectors.py": "core/test_embedding.py",
    "examples/extension.py": "core/test_extension_example.py",
    "examples/observability.py": "adapters/test_observability_example.py",
    "examples/routing.py": "adapters/test_routing_guide.py",
    "examples/telemetry.py": "adapters/otel/test_telemetry.py",
    "examples/threading_echo.py": "adapters/test_threading_example.py",
}
"""The test that runs a program of which pages show parts."""

NOT_RUN = {
    ("CONTRIBUTING.md", "make test"): "the tests would run themselves; .ci/run has this command and others",
    ("bench/README.md", "make bench"): "takes minutes, and installs the other libraries",
    ("bench/README.md", ".venv/bin/python"): "takes a minute; test_bench.py runs the same program",
    ("bench/README.md", "PYTHONPATH=..:."): "needs a profiler",
    ("docs/routing.md", "pip install"): "asks the package index; .ci/wheels installs what is built",
    ("docs/testing.md", "pip install"): "asks the package index; .ci/wheels installs what is built",
    ("docs/tutorial/start.md", "mkdir chat"): "asks the package index; .ci/wheels installs what is built",
    ("fuzz/README.md", "make fuzz"): "takes minutes, and installs the fuzzer; tests/fuzz plays its targets",
}
"""Blocks that no test can run, by their page and their beginning: why."""

DRAWINGS = {"mermaid", "{toctree}", "{eval-rst}"}
"""Languages of blocks that are no code of the reader's."""


def pages_of(tests: dict[str, str]) -> dict[str, list[str]]:
    """Return the tests of each page."""
    pages: dict[str, list[str]] = {}
    for test, names in tests.items():
        for name in names.split():
            page = (DOCS / f"{name}.md").resolve().relative_to(ROOT).as_posix()
            pages.setdefault(page, []).append(test)
    return pages


def all_blocks() -> list[tuple[str, Block]]:
    """Return each page and each block of it."""
    return [
        (page.as_posix(), block)
        for page in PAGES
        if page.name != "CHANGELOG.md"
        for block in blocks_of((ROOT / page).read_text(encoding="utf-8"))
        if block.language not in DRAWINGS
    ]


def exception_of(page: str, block: Block) -> tuple[str, str] | None:
    """Return the entry of a block in the list of those that no test can run."""
    for of_page, beginning in NOT_RUN:
        if page == of_page and block.text.startswith(beginning):
            return page, beginning
    return None


def source_of(test: str) -> str:
    return (ROOT / "tests" / test).read_text(encoding="utf-8")


def runs(page: str, block: Block) -> bool:
    """Whether a test runs a block."""
    if block.kind.startswith("from "):
        return block.kind.removeprefix("from ") in PROGRAMS
    if block.kind == "file" and block.name in PROGRAMS:
        return True
    whole = pages_of(WHOLE).get(page, [])
    if whole and block.language == "python":
        return True
    tests = [*whole, *pages_of(TESTS).get(page, [])]
    return bool(block.name) and any(f'"{block.name}"' in source_of(test) for test in tests)


def test_every_block_is_run() -> None:
    left = [
        f"{page}: {block.kind} {block.name or block.text}"
        for page, block in all_blocks()
        if not runs(page, block) and exception_of(page, block) is None
    ]
    assert "\n".join(left) == ""


def test_the_lists_have_what_there_is() -> None:
    pages = {page for page, _ in all_blocks()}
    named, whole = pages_of(TESTS), pages_of(WHOLE)
    assert named.keys() | whole.keys() <= pages
    assert not named.keys() & whole.keys()
    assert {exception_of(*each) for each in all_blocks()} - {None} == NOT_RUN.keys()
    for page, tests in {**named, **whole}.items():
        assert all(Path(page).stem in source_of(test) for test in tests), page
    for program, test in PROGRAMS.items():
        assert Path(program).stem in source_of(test), program


def test_a_block_that_nobody_runs_is_found() -> None:
    text = (
        "```python\nwithout_a_name\n```\n\n<!-- sample: not-in-any-test -->\n```\na\n```\n"
        "<!-- sample: loop -->\n```python\nb\n```\n1. An item\n\n"
        "   <!-- sample: users -->\n\n   ```python\n   c\n   ```\n"
        "<!-- from examples/absent.py: part -->\n```python\nd\n```\n"
    )
    found = list(blocks_of(text))
    assert [block.text for block in found] == ["without_a_name\n", "a\n", "b\n", "c\n", "d\n"]
    assert [runs("docs/faq.md", block) for block in found] == [False, False, True, True, False]
    assert [runs("docs/new.md", block) for block in found] == [False] * 5


def region(path: Path, name: str) -> str:
    """Return the part of a program between its comments ``region`` and ``endregion``."""
    found = re.search(
        rf"^ *# region {name}\n(.*?)^ *# endregion$",
        path.read_text(encoding="utf-8"),
        re.MULTILINE | re.DOTALL,
    )
    assert found is not None, f"{path} has no region {name}"
    return textwrap.dedent(found[1]).strip("\n") + "\n"


SHOWN = [block for _, block in all_blocks() if block.kind.startswith("from ")]


@pytest.mark.parametrize("block", SHOWN, ids=lambda block: f"{block.kind}: {block.name}")
def test_a_part_of_a_program_is_shown_as_it_is(block: Block) -> None:
    assert block.text == region(DOCS / block.kind.removeprefix("from "), block.name)


def test_each_part_of_a_program_is_shown() -> None:
    parts = {
        (f"from {path}", name)
        for path in PROGRAMS
        for name in re.findall(r"# region (\w+)", (DOCS / path).read_text(encoding="utf-8"))
    }
    assert parts == {(block.kind, block.name) for block in SHOWN}
    assert len(parts) > 15


def test_commands_of_make_are_targets() -> None:
    """Of what is not run, too."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([\w-]+):", makefile, re.MULTILINE))
    named = {
        target
        for _, block in all_blocks()
        for target in re.findall(r"^make ([\w-]+)", block.text, re.MULTILINE)
    }
    assert {"demo", "test", "bench", "fuzz"} <= named <= targets
