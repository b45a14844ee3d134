"""The settings of Sphinx, for ``make docs``.

The source folder is the root of the repository, and not this folder: so a link between any two of its files
is the same on the site, in an editor and on a host of repositories.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]

# The modules whose docstrings are read, and references.py. The compiled half has no docstrings.
sys.path[:0] = [str(ROOT), str(ROOT / "docs")]
os.environ["WSPROTO_CORE_PURE"] = "1"

project = "wsproto-core"
author = "the authors of wsproto-core"
(release,) = re.findall(r'^VERSION = "(.+)"$', (ROOT / "wsproto_core/version.py").read_text(), re.MULTILINE)

extensions = [
    "diagrams",
    "llms",
    "myst_parser",
    "references",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_design",
    "tabs",
]
root_doc = "docs/index"
include_patterns = ["*.md", "docs/**", "bench/README.md", "fuzz/README.md", "changelog.d/README.md"]
exclude_patterns = [
    ".*",
    "build",
    "dist",
    "adapters",
    "tests",
    "wsproto_core",
    "docs/_templates",
    "*.egg-info",
]

# A name that two packages have: the link leads to the core's.
suppress_warnings = ["ref.python"]

# A heading has the same anchor as on hosts of repositories.
myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence"]

autoclass_content = "both"
# The members of these bases are not repeated: those that are documented, and those of Python.
BASES = (
    "Connection StructuredConnection Exception BaseException BaseProtocol Mapping MutableMapping dict int "
    "str tuple Enum object"
)
autodoc_default_options = {"inherited-members": BASES.replace(" ", ", "), "no-value": True}
python_maximum_signature_line_length = 100
python_use_unqualified_type_names = True

# One argument of a docstring may be several names, which are no types.
napoleon_use_param = False
napoleon_use_rtype = False
# Sphinx cuts these annotations at a comma.
nitpick_ignore = [
    ("py:class", "Callable[..."),
    ("py:class", "collections.abc.Callable[[]"),
    ("py:class", "list[tuple[bytes"),
    ("py:obj", "typing.Literal['skip'"),
]
napoleon_custom_sections = [("Attributes", "params_style")]

html_theme = "furo"
html_title = f"{project} {release}"
html_copy_source = False
templates_path = ["_templates"]
html_additional_pages = {"index": "start.html"}
copybutton_prompt_text = r"^(\$ |>>> |\.\.\. )"
copybutton_prompt_is_regexp = True
