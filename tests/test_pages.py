"""The pages of the documentation: each is on the site, and their links have targets.

``make docs`` checks the same with Sphinx, and more; this takes no time, and needs no other environment.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from wsproto_core import exceptions

ROOT = Path(__file__).parent.parent

# What docs/conf.py includes.
PAGES = sorted(
    page.relative_to(ROOT)
    for pattern in (
        "*.md",
        "docs/*.md",
        "docs/*/*.md",
        "bench/README.md",
        "fuzz/README.md",
        "changelog.d/README.md",
    )
    for page in ROOT.glob(pattern)
)
INDEX = Path("docs/index.md")

FENCED = re.compile(r"^( *)(```+|~~~+).*?^\1\2 *$", re.MULTILINE | re.DOTALL)
TOCTREE = re.compile(r"^```\{toctree\}\n(?::[^\n]*\n)*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"(`+)(?!`).*?(?<!`)\1(?!`)")
LINK = re.compile(r"\]\(([^()\s]+)\)")
HEADING = re.compile(r"^#+ +(.+?) *$", re.MULTILINE)


def links(text: str) -> list[str]:
    """Return the targets of links to files, and to places of pages."""
    targets = LINK.findall(CODE.sub("", FENCED.sub("", text)))
    return [target for target in targets if not re.match(r"[a-z]+:", target)]


def anchors(text: str) -> set[str]:
    """Return the anchors of headings, as hosts of repositories name them."""
    found: set[str] = set()
    for heading in HEADING.findall(FENCED.sub("", text)):
        title = re.sub(r"\[(.*?)\]\(.*?\)", r"\1", heading)
        anchor = re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
        number = 0
        while (unique := f"{anchor}-{number}" if number else anchor) in found:
            number += 1
        found.add(unique)
    return found


def broken(page: Path, text: str) -> list[str]:
    """Return the links of a page that lead nowhere. A link to a folder does not: the site has none."""
    without_target = []
    for link in links(text):
        path, _, anchor = link.partition("#")
        target = ROOT / page.parent / path
        if not path:
            found = anchors(text)
        elif target.is_file():
            found = anchors(target.read_text(encoding="utf-8")) if anchor else set()
        else:
            without_target.append(link)
            continue
        if anchor and anchor not in found:
            without_target.append(link)
    return without_target


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_links(page: Path) -> None:
    assert broken(page, (ROOT / page).read_text(encoding="utf-8")) == []


def test_broken_links_are_found() -> None:
    text = (
        "[a](#here) [b](options.md#unknown) [c](absent.md) [d](examples) [e](../README.md#on-trio)\n"
        "# Here\n`[f](absent)` [g](https://example.com/)\n```\n[h](absent)\n```\n"
    )
    assert broken(Path("docs/page.md"), text) == ["options.md#unknown", "absent.md", "examples"]


def test_anchors() -> None:
    text = "# `a_b`: two words, (more)\n## [A link](x.md)\n## A link\n```\n# no heading\n```\n"
    assert anchors(text) == {"a_b-two-words-more", "a-link", "a-link-1"}


def test_each_page_is_in_the_index_once() -> None:
    entries = [
        line for tree in TOCTREE.findall((ROOT / INDEX).read_text(encoding="utf-8")) for line in tree.split()
    ]
    paths = [(ROOT / INDEX.parent / entry).resolve().relative_to(ROOT) for entry in entries]
    reference = [path.with_suffix("").relative_to(ROOT) for path in (ROOT / "docs/reference").glob("*.rst")]
    assert sorted(paths) == sorted([*reference, *(page.with_suffix("") for page in PAGES if page != INDEX)])


def missing_commands(text: str) -> list[str]:
    """Return the extras that a text says how to install, but not how to do so in a checkout."""
    named = re.findall(r"pip install '?wsproto-core\[(\w+)\]", text)
    return [extra for extra in named if f"pip install '.[{extra}]'" not in text]


def test_extras_can_be_installed_from_a_checkout() -> None:
    modules = [path for folder in ("wsproto_core", "adapters") for path in (ROOT / folder).rglob("*.py")]
    pages = [ROOT / page for page in PAGES if page.name != "CHANGELOG.md"]
    missing = {
        path.relative_to(ROOT): missing_commands(path.read_text("utf-8")) for path in [*pages, *modules]
    }
    # Its text has a variable for the extra.
    assert "pip install '.[{extra}]'" in (ROOT / "adapters/cli/failures.py").read_text("utf-8")
    assert {path: extras for path, extras in missing.items() if extras} == {}


def test_missing_commands() -> None:
    assert missing_commands("`pip install 'wsproto-core[trio]'`") == ["trio"]
    assert missing_commands("pip install wsproto-core[a]: pip install '.[a]'; wsproto-core[b]") == []


def test_each_exception_has_a_line() -> None:
    page = (ROOT / "docs" / "exceptions.md").read_text(encoding="utf-8")
    lines = re.findall(r"^\| (`.*?`) \|", page, re.MULTILINE)
    assert sorted(name.strip("`") for line in lines for name in line.split(", ")) == sorted(
        exceptions.__all__
    )
