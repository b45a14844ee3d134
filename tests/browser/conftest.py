"""Make the demo's modules importable: they lie beside the script, not in a package."""

from __future__ import annotations

import sys
from pathlib import Path

DEMO = Path(__file__).parents[2] / "docs" / "demo"

if str(DEMO) not in sys.path:
    sys.path.append(str(DEMO))
