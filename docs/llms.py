"""An extension of Sphinx that writes the pages for programs that read text (https://llmstxt.org).

``llms.txt`` has a line for each page: its title, its address on the site, and its first sentence.
``llms-full.txt`` has the source text of all pages that are written by hand.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

SENTENCE = re.compile(r".+?[.:?!](?= |$)")


def pages(env: BuildEnvironment, name: str) -> Iterator[str]:
    """Return the names of the pages below a page, in the order of the index."""
    for page in env.toctree_includes.get(name, ()):
        yield page
        yield from pages(env, page)


def first_sentence(document: nodes.document) -> str:
    """Return the first sentence of a page; "" if it begins with a table or a list."""
    for paragraph in document.findall(nodes.paragraph):
        if isinstance(paragraph.parent, nodes.section):
            text = " ".join(paragraph.astext().split())
            found = SENTENCE.match(text)
            return (found[0] if found else text).rstrip(":")
    return ""


def write(app: Sphinx, error: Exception | None) -> None:
    if error is not None or app.builder.format != "html":
        return
    index, full = [f"# {app.config.project}\n"], []
    index.append(f"> {first_sentence(app.env.get_doctree(app.config.root_doc))}\n")
    for name in pages(app.env, app.config.root_doc):
        title = app.env.titles[name].astext()
        sentence = first_sentence(app.env.get_doctree(name))
        index.append(
            f"- [{title}]({app.builder.get_target_uri(name)})" + (f": {sentence}" if sentence else "")
        )
        source = Path(app.env.doc2path(name))
        if source.suffix == ".md":
            full.append(f"<!-- {source.relative_to(app.srcdir)} -->\n\n{source.read_text(encoding='utf-8')}")
    for name, parts in (("llms.txt", index), ("llms-full.txt", full)):
        (Path(app.outdir) / name).write_text("\n".join(parts) + "\n", encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("build-finished", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
