"""An extension of Sphinx: what the reference pages document, and where references in docstrings lead.

Many names have several modules: the one that defines them, and those that export them. Each is documented
once, and a reference by any of its names leads there. A reference to a name that exists, but is documented on
no page (of Python, or of a module that is no interface), is shown as text; one to a name that does not exist
is a warning.
"""

from __future__ import annotations

import builtins
import importlib
import sys
from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.ext.napoleon import GoogleDocstring
from sphinx.util.nodes import make_refnode

from adapters.shared import public
from wsproto_core import exceptions

PROJECT = ("adapters", "wsproto_core")
ADAPTERS = ("adapters.asyncio", "adapters.threading", "adapters.trio", "adapters.anyio")

SHARED = {
    "wsproto_core": {*exceptions.__all__, "OPTIONS"},
    **{adapter: set(public.__all__) for adapter in ADAPTERS},
}
"""Names that a module exports, and that have a page elsewhere; among them data, which know no module."""

MISSING = object()


def find(name: str) -> Any:
    """Return what a dotted name stands for; ``MISSING`` if it is nothing."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        try:
            value: Any = importlib.import_module(".".join(parts[:length]))
        except ImportError:
            continue
        for part in parts[length:]:
            value = getattr(value, part, MISSING)
        return value
    return getattr(builtins, name, MISSING)


def is_known(target: str) -> bool:
    """Whether a module of this project has a name: annotations have type aliases without their modules."""
    first = target.partition(".")[0]
    modules = [module for name, module in sys.modules.items() if name.partition(".")[0] in PROJECT]
    return any(hasattr(module, first) for module in modules)


def is_elsewhere(
    app: Sphinx, what: str, name: str, value: object, skip: bool, options: object
) -> bool | None:
    """Skip a name that a module has from another package, which documents it, as it does the exceptions."""
    if what != "module":
        return None
    module = app.env.current_document.autodoc_module or app.env.ref_context.get("py:module") or ""
    package = ".".join(module.split(".")[: 1 if module.startswith("wsproto_core") else 2])
    if module in ("wsproto_core", *ADAPTERS) and name in SHARED[module]:
        return True
    origin = getattr(value, "__module__", package)
    return (
        True if origin.partition(".")[0] in PROJECT and not f"{origin}.".startswith(f"{package}.") else None
    )


def resolve(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.TextElement
) -> nodes.Element | None:
    """Find the target of a reference that is documented by another name, or by none."""
    if node.get("refdomain") != "py":
        # A docstring of Python, which a method inherits, may refer to Python's own pages.
        return content if "docstring of" in (node.source or "") else None
    target = node["reftarget"].lstrip(".")
    module, cls = node.get("py:module"), node.get("py:class")
    scopes = [f"{module}.{cls}" if cls else "", module or "", ""]
    values = [find(f"{scope}.{target}" if scope else target) for scope in scopes]
    known = [value for value in values if value is not MISSING]
    objects = env.domains.python_domain.objects
    last = target.rpartition(".")[2]
    named = [name for name in objects if name.rpartition(".")[2] == last]
    targets = [name for name in named if any(find(name) is value for value in known)]
    if not known and len(named) == 1:
        targets = named
    if targets:
        entry = objects[targets[0]]
        return make_refnode(app.builder, node["refdoc"], entry.docname, entry.node_id, content, targets[0])
    return content if known or is_known(target) else None


def setup(app: Sphinx) -> dict[str, bool]:
    # Otherwise, what stands before a colon in the docstring of a property is taken for its type.
    GoogleDocstring._parse_attribute_docstring = GoogleDocstring._consume_to_end  # type: ignore[method-assign]
    app.setup_extension("sphinx.ext.autodoc")
    app.connect("autodoc-skip-member", is_elsewhere)
    app.connect("missing-reference", resolve)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
