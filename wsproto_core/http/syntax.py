"""The syntax that several grammars of HTTP and of URIs share."""

from __future__ import annotations

import re
from typing import TypeAlias, cast

__all__ = ["CONTROL_CHARACTER", "DEFAULT_PORTS", "TOKEN", "VISIBLE_ASCII", "Reference", "split_reference"]

TOKEN = r"[-!#$%&'*+.^_`|~0-9A-Za-z]++"
"""Pattern of a token (RFC 9110 section 5.6.2)."""

CONTROL_CHARACTER = re.compile(r"[\x00-\x1f\x7f]")

VISIBLE_ASCII = "".join(map(chr, range(0x21, 0x7F)))

DEFAULT_PORTS = {"ws": 80, "wss": 443}
"""The schemes of WebSocket URIs and their ports (RFC 6455 section 3)."""

# RFC 3986 appendix B; an empty scheme is one, so that an error can name it.
_REFERENCE = re.compile(
    r"(?:([^:/?#]*+):)?+(?://([^/?#]*+))?+([^?#]*+)(?:\?([^#]*+))?+(?:#(.*+))?+", re.DOTALL
)


Reference: TypeAlias = tuple[str | None, str | None, str, str | None, str | None]
"""Scheme, authority, path, query and fragment, as they are written; ``None`` if absent."""


def split_reference(text: str) -> Reference:
    """Divide a URI reference into its parts, of which none is validated.

    This is the regular expression of RFC 3986 appendix B. ``urllib.parse.urlsplit`` silently removes
    control characters, ignores what stands around an address in brackets, and takes what stands before
    several ``@`` for user information: each of these once made two programs see two different hosts in
    one URI.
    """
    match = _REFERENCE.fullmatch(text)
    assert match is not None  # every text matches
    return cast(Reference, match.groups())
