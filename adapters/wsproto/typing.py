"""Types."""

from __future__ import annotations

from typing import TypeAlias

__all__ = ["Headers"]

Headers: TypeAlias = list[tuple[bytes, bytes]]
"""Names and values of HTTP headers."""
