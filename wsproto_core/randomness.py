"""The default source of randomness: ``os.urandom``, in batches.

RFC 6455 section 5.3 wants masking keys "derived from a strong source of entropy" that an attacker
cannot predict. One system call a frame would cost more than all the rest of a small frame, so keys
are drawn a thousand at a time.
"""

from __future__ import annotations

import os

__all__ = ["keys", "random_bytes"]

_KEY = 4
_BATCH = 4096

keys: list[bytes] = []
# The keys that have been drawn. They are taken from its end.

# Two processes must not share what was drawn before they parted.
getattr(os, "register_at_fork", lambda **_: None)(after_in_child=keys.clear)


def random_bytes(count: int) -> bytes:
    """Return ``count`` bytes from a strong source."""
    if count != _KEY:
        return os.urandom(count)
    try:
        # list.pop is atomic: two threads never get the same key.
        return keys.pop()
    except IndexError:
        batch = os.urandom(_BATCH)
        keys.extend(batch[start : start + _KEY] for start in range(_KEY, _BATCH, _KEY))
        return batch[:_KEY]
