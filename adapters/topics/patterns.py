"""Names of topics, and patterns of names.

A name consists of words with a point between them: ``room.1``. In a pattern, ``*`` stands for any one word,
and ``**`` at the end for one or more words. Engines have such patterns, too, and their other special
characters are not allowed in names, so that a name means the same to each of them.
"""

from __future__ import annotations

import re

__all__ = ["check_name", "check_topic", "is_pattern", "pattern_matches"]

LONGEST = 200
"""Limit on the characters of a name."""

_WORD = r"[^\s.*?<>\[\]{}\\^\x00-\x1f\x7f]+"
_TOPIC = re.compile(rf"{_WORD}(?:\.{_WORD})*")
_PATTERN = re.compile(rf"(?:(?:{_WORD}|\*)\.)*(?:{_WORD}|\*\*?)")


def is_pattern(name: str) -> bool:
    """Return whether a name is a pattern."""
    return "*" in name


def check_topic(name: object) -> str:
    """Return the name of one topic.

    Raises:
        TypeError: it is not a ``str``.
        ValueError: it is not a name, or it is a pattern.
    """
    return _checked(name, _TOPIC, "the name of a topic is words with points between them, such as 'room.1'")


def check_name(name: object) -> str:
    """Return the name of a topic, or a pattern.

    Raises:
        TypeError: it is not a ``str``.
        ValueError: it is neither.
    """
    return _checked(
        name,
        _PATTERN,
        "a topic is words with points between them, such as 'room.1'; in a pattern, a word may be '*', and "
        "the last one '**'",
    )


def _checked(name: object, allowed: re.Pattern[str], rule: str) -> str:
    if not isinstance(name, str):
        raise TypeError(f"the name of a topic must be a str, not {name!r}")
    if len(name) > LONGEST:
        raise ValueError(f"the name of a topic has {LONGEST} characters at most, and this one {len(name)}")
    if not allowed.fullmatch(name) or not name.isprintable():
        raise ValueError(f"{rule}, not {name!r}")
    return name


def pattern_matches(pattern: str, topic: str) -> bool:
    """Return whether a topic has a name that a pattern, or a name, stands for."""
    words, names = pattern.split("."), topic.split(".")
    if words[-1] == "**":
        words.pop()
        if len(names) <= len(words):
            return False
        names = names[: len(words)]
    return len(words) == len(names) and all(
        word in ("*", name) for word, name in zip(words, names, strict=True)
    )
