"""The modules whose mutants are tested, and the tests that belong to each."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

__all__ = ["ROOT", "SUBJECTS", "Subject"]

ROOT = Path(__file__).parent.parent.parent


class Subject(NamedTuple):
    """Modules, and their own tests: files or folders. Paths begin in the project's folder."""

    modules: tuple[str, ...]
    tests: tuple[str, ...]


def _core(*names: str) -> tuple[str, ...]:
    return tuple(f"tests/core/test_{name}.py" for name in names)


SUBJECTS = {
    "frames": Subject(
        ("wsproto_core/frames.py",),
        (*_core("frames"), "tests/property/test_frames.py"),
    ),
    "messages": Subject(
        tuple(f"wsproto_core/{name}.py" for name in ("messages", "assembly", "utf8")),
        _core(
            *("messages", "receiving_in_place", "sending", "streaming", "backpressure", "suspended"),
            *("extensions", "extension_classes", "compressed_messages", "prepared", "observing"),
        ),
    ),
    "handshake": Subject(
        tuple(
            f"wsproto_core/handshake/{name}.py"
            for name in ("answers", "client", "headers", "negotiation", "server")
        ),
        _core(
            *("handshake", "opening", "opening_client", "opening_server", "process_response"),
            *("request_forms", "extensions", "open_by", "states"),
        ),
    ),
    "closing": Subject(
        ("wsproto_core/closing.py",),
        _core("closing", "frames", "good_codes", "exceptions", "error_texts"),
    ),
    "keepalive": Subject(
        ("wsproto_core/keepalive.py",),
        _core("keepalive", "statistics"),
    ),
    "pongs": Subject(
        ("wsproto_core/pongs.py",),
        _core("pongs"),
    ),
}
"""By the name that the command takes. All modules of a subject are tested by all of its tests."""
