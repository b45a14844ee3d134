"""UTF-8 in pieces (RFC 6455 section 8.1)."""

from __future__ import annotations

import codecs

__all__ = ["Utf8Decoder"]


class Utf8Decoder(codecs.getincrementaldecoder("utf-8")):  # type: ignore[misc]
    """An incremental decoder that fails at the first bad byte, always."""

    def decode(self, data: bytes, final: bool = False) -> str:
        text: str = super().decode(data, final)
        # Python's waits for the third byte of a surrogate, in case that surrogates are let pass.
        if len(self.buffer) == 2 and self.buffer[0] == 0xED and self.buffer[1] >= 0xA0:
            raise UnicodeDecodeError("utf-8", self.buffer, 0, 2, "surrogates are no characters")
        return text
