"""An extension of Sphinx: the diagrams of Mermaid on a page, drawn as SVG when the site is built.

mermaidx runs Mermaid in an interpreter of JavaScript within Python. So the page loads nothing, from here or
from elsewhere, and building needs no browser and no network.
"""

from __future__ import annotations

import re
from itertools import count

import mermaidx
from docutils import nodes
from sphinx.application import Sphinx

WIDTH = re.compile(r'viewBox="\S+ \S+ (\S+) ')

LARGEST = 1400
"""The width of a diagram, in pixels; a wider one is made smaller."""


def draw(app: Sphinx, document: nodes.document) -> None:
    """Replace the source of each diagram."""
    numbers = count(1)
    for block in list(document.findall(nodes.literal_block)):
        if block.get("language") == "mermaid":
            svg = mermaidx.render(block.astext()).svg()
            # The rules of style within an SVG hold for the identifier that it has.
            svg = svg.replace("my-svg", f"diagram-{next(numbers)}")
            # In the width of a page, the text of a large diagram would be too small.
            width = min(float(WIDTH.findall(svg)[0]), LARGEST)
            svg = svg.replace('width="100%"', f'width="{width}"', 1)
            # Its colours are for a light background, also where the theme is dark.
            html = f'<div style="background: white; padding: 1em; overflow-x: auto">{svg}</div>'
            block.replace_self(nodes.raw("", html, format="html"))


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("doctree-read", draw)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
