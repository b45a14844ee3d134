"""An extension of Sphinx: one program on several runtimes, as tabs.

On a host of repositories, such a part of a page is a list of programs, each under the name of its runtime.
So the page is plain Markdown, with two comments, and the tabs of sphinx-design are made of it here.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx

TABS = re.compile(r"^<!-- tabs -->\n(.*?)^<!-- end: tabs -->$", re.MULTILINE | re.DOTALL)
NAME = re.compile(r"^\*\*(.+?)\*\*\n", re.MULTILINE)


def tab_set(found: re.Match[str]) -> str:
    """Return the directives for a part of a page."""
    _, *parts = NAME.split(found[1])
    items = [
        f":::{{tab-item}} {name}\n:sync: {name}\n{text}:::\n"
        for name, text in zip(parts[::2], parts[1::2], strict=True)
    ]
    return "\n".join(["::::{tab-set}\n:sync-group: runtime\n", *items, "::::"])


def with_tabs(text: str) -> str:
    """Return the source of a page, with directives in the place of the comments."""
    return TABS.sub(tab_set, text)


def change_source(app: Sphinx, name: str, source: list[str]) -> None:
    source[0] = with_tabs(source[0])


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("source-read", change_source)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
