"""The argument ``decode`` of the methods that receive: messages as ``str`` or as ``bytes``."""

from __future__ import annotations

from wsproto_core.events import Fragment
from wsproto_core.types import Data
from wsproto_core.utf8 import Utf8Decoder

__all__ = ["PieceConverter", "check_decode", "convert_message"]


def check_decode(decode: object) -> None:
    """Check the type in which a message is asked for, before one is taken.

    Raises:
        TypeError: it is neither a truth value nor ``None``.
    """
    if decode is not None and not isinstance(decode, bool):
        hint = ": a timeout is given by its name" if isinstance(decode, int | float) else ""
        raise TypeError(f"decode must be True, False or None, not {decode!r}{hint}")


def convert_message(message: Data, decode: bool | None) -> Data:
    """Give a received message the type that the caller asks for.

    Args:
        decode: ``True`` for ``str``, ``False`` for ``bytes``, ``None`` for the type that it has.

    Raises:
        UnicodeDecodeError: a binary message is to be a ``str`` and is not UTF-8.
    """
    if decode is None:
        return message
    if isinstance(message, str):
        return message if decode else message.encode()
    return message.decode() if decode else message


class PieceConverter:
    """Like :func:`convert_message`, for a message in pieces."""

    def __init__(self, decode: bool | None) -> None:
        check_decode(decode)
        self._decode = decode
        self._decoder = Utf8Decoder()

    def convert(self, piece: Data, final: bool) -> Data:
        """Convert the next piece; characters that it splits move to the next one."""
        if self._decode and isinstance(piece, bytes):
            return self._decoder.decode(piece, final)
        return convert_message(piece, self._decode)

    def convert_fragment(self, fragment: Fragment | Data) -> tuple[Data, bool]:
        """Convert the next fragment, or a whole message; return it, and whether it is the last one."""
        if not isinstance(fragment, Fragment):
            fragment = Fragment(fragment, True)
        return self.convert(fragment.data, fragment.final), fragment.final
