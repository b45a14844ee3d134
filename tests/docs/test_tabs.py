"""The tabs of the site, made from plain Markdown."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from .samples import DOCS


def load(path: Path) -> object:
    specification = importlib.util.spec_from_file_location(path.stem, path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


tabs = load(DOCS / "tabs.py")

PAGE = """# Page

<!-- tabs -->
**asyncio**

```python
one = 2**3**4
```

**Threads**

text
<!-- end: tabs -->

**No tab**
"""

WITH_TABS = """# Page

::::{tab-set}
:sync-group: runtime

:::{tab-item} asyncio
:sync: asyncio

```python
one = 2**3**4
```

:::

:::{tab-item} Threads
:sync: Threads

text
:::

::::

**No tab**
"""


def test_tabs() -> None:
    assert tabs.with_tabs(PAGE) == WITH_TABS  # type: ignore[attr-defined]
    assert tabs.with_tabs("# Page\n") == "# Page\n"  # type: ignore[attr-defined]


def test_every_set_of_tabs_ends() -> None:
    for page in DOCS.rglob("*.md"):
        text = page.read_text(encoding="utf-8")
        assert len(tabs.TABS.findall(text)) == text.count("<!-- tabs -->"), page  # type: ignore[attr-defined]
