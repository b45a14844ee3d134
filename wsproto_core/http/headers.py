"""HTTP headers: :class:`Headers`.

Values are ``str`` that hold ASCII; other bytes are represented with surrogate escapes.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from typing import TypeAlias

__all__ = ["HeaderValues", "Headers", "HeadersLike", "MultipleValuesError", "decode_value", "values_by_name"]

HeaderValues: TypeAlias = dict[str, list[str]]
"""The values of headers by lower-case name: see :meth:`Headers.by_name`."""

HeadersLike: TypeAlias = "Headers | Mapping[str, str] | Iterable[tuple[str, str]]"
"""What is accepted wherever HTTP headers are given."""

# RFC 9110 sections 11.6.2 and 11.7.2
_CREDENTIALS = ("authorization", "proxy-authorization")

_ALIKE = frozenset(
    (
        "connection",
        "host",
        "origin",
        "sec-websocket-extensions",
        "sec-websocket-protocol",
        "sec-websocket-version",
        "server",
        "upgrade",
        "user-agent",
    )
)
"""Headers whose values are the same on many connections, and no secrets."""

_MAX_SHARED = 256
"""Strings that are shared, and characters that one may have."""


@functools.lru_cache(_MAX_SHARED)
def _first_equal(text: str) -> str:
    return text


def _share(text: str) -> str:
    """Return an equal string, the same one for all connections.

    Headers stay in memory as long as the connection, and nearly all connections have the same ones.
    On some versions of Python, ``sys.intern`` would keep the strings of all peers for ever.
    """
    return _first_equal(text) if type(text) is str and len(text) <= _MAX_SHARED else text


@functools.lru_cache(_MAX_SHARED)
def _decode_name(name: bytes) -> tuple[str, bool]:
    """Return a header's name as a text, and whether its value is the same on many connections."""
    text = name.decode("ascii", "surrogateescape")
    return _share(text), text.lower() in _ALIKE


def decode_value(value: bytes) -> str:
    """Return a header's value, or another part of a head, as a text."""
    return value.decode("ascii", "surrogateescape")


_decode_shared = functools.lru_cache(_MAX_SHARED)(decode_value)


class MultipleValuesError(LookupError):
    """:class:`Headers` has more than one value for a name."""


class Headers(MutableMapping[str, str]):
    """HTTP headers: a mapping from names to values that can hold a name several times.

    A ``dict`` neither ignores the case of names nor holds two values for one. This class holds names and
    values in their order, in one list. There are few of them, which are looked up a few times and stay in
    memory as long as the connection: an index, or an object for each pair, would take more memory than the
    headers.

    - ``headers[name]`` raises :exc:`KeyError` if there is no value, returns it if there is one, and
      raises :exc:`MultipleValuesError` if there are several. ``get``, ``pop``, ``setdefault`` and
      ``items`` follow this.
    - ``headers[name] = value`` adds a value after those that are there; ``update`` and the
      constructor do so for each pair.
    - ``del headers[name]`` removes all values.
    - The keys are lower-case names, each one once.

    Names and values are validated when a request or a response is serialized, not before.

    Args:
        headers: another :class:`Headers` (all values are taken over), a mapping, or pairs.
        values: more names and values, as ``dict`` takes them.
    """

    __slots__ = ("_items",)

    _items: list[str]  # the first name, its value, the second name, ...

    def __init__(self, headers: HeadersLike = (), /, **values: str) -> None:
        self._items = []
        if headers or values:
            self.update(headers, **values)

    @classmethod
    def decode(cls, fields: Iterable[tuple[bytes, bytes]]) -> Headers:
        """Make headers of the names and values that h11 has parsed."""
        items: list[str] = []
        for name, value in fields:
            known, alike = _decode_name(name) if len(name) <= _MAX_SHARED else (name.decode("ascii"), False)
            decode = _decode_shared if alike and len(value) <= _MAX_SHARED else decode_value
            items += (known, decode(value))
        headers = cls()
        headers._items = items[:]  # a list that grew has room for more
        return headers

    def extend(self, *items: str) -> None:
        """Add names, each before its value, which are shared already, such as constants."""
        self._items += items

    def __repr__(self) -> str:
        """Return the pairs, without credentials, since a log may show this."""
        shown = [(name, "***" if name.lower() in _CREDENTIALS else value) for name, value in self.raw_items()]
        return f"{type(self).__name__}({shown!r})"

    def __str__(self) -> str:
        """Return the header block as HTTP writes it, for display; it is not validated."""
        return "".join(f"{name}: {value}\r\n" for name, value in self.raw_items()) + "\r\n"

    def __copy__(self) -> Headers:
        return self.copy()

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and bool(self.get_all(name))

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(name.lower() for name in self._items[::2]))

    def __len__(self) -> int:
        """Return the number of different names."""
        return len({name.lower() for name in self._items[::2]})

    def __bool__(self) -> bool:
        return bool(self._items)

    def __getitem__(self, name: str) -> str:
        values = self.get_all(name)
        if not values:
            raise KeyError(name.lower())
        if len(values) > 1:
            raise MultipleValuesError(name)
        return values[0]

    def __setitem__(self, name: str, value: str) -> None:
        self._items += (_share(name), _share(value) if name.lower() in _ALIKE else value)

    def __delitem__(self, name: str) -> None:
        key = name.lower()
        items = [item for pair in self.raw_items() if pair[0].lower() != key for item in pair]
        if len(items) == len(self._items):
            raise KeyError(key)
        self._items = items

    def __eq__(self, other: object) -> bool:
        """Return whether both have the same values, for each name in the same order."""
        if not isinstance(other, Headers):
            return NotImplemented
        return set(self) == set(other) and all(self.get_all(name) == other.get_all(name) for name in self)

    def clear(self) -> None:
        """Remove all headers."""
        self._items = []

    def copy(self) -> Headers:
        """Return an independent copy."""
        return Headers(self)

    def update(self, headers: HeadersLike = (), /, **values: str) -> None:  # type: ignore[override]
        """Add all the given values; the arguments are those of the constructor."""
        if isinstance(headers, Headers):
            self._items += headers._items
        elif headers:
            for name, value in headers.items() if isinstance(headers, Mapping) else headers:
                self[name] = value
        for name, value in values.items():
            self[name] = value

    def get_all(self, key: str) -> list[str]:
        """Return the values of a name in their order; an empty list if there are none."""
        key = key.lower()
        names = list(map(str.lower, self._items[::2]))
        if key not in names:
            return []
        return [value for name, value in zip(names, self._items[1::2], strict=True) if name == key]

    def by_name(self) -> HeaderValues:
        """Return the values by lower-case name: for several names, this is faster than :meth:`get_all`."""
        values: HeaderValues = {}
        for name, value in self.raw_items():
            values.setdefault(name.lower(), []).append(value)
        return values

    def raw_items(self) -> Iterator[tuple[str, str]]:
        """Return an iterator of all pairs ``(name, value)``, in their order and case."""
        items = iter(self._items)
        return zip(items, items, strict=True)


def values_by_name(headers: Headers | HeaderValues) -> HeaderValues:
    """Return the values by lower-case name, of headers or as they are given."""
    return headers if isinstance(headers, dict) else headers.by_name()
