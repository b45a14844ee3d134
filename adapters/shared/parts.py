"""A response whose body comes in parts, and its framing (RFC 9112 section 6).

The state machine sends a response whose body is there at once. This is for a body that comes as it is made.
"""

from __future__ import annotations

from wsproto_core.http import Headers, Response

__all__ = ["ResponseInParts"]

_BODILESS = (204, 304)


class ResponseInParts:
    """A response that is sent part by part: with ``Content-Length`` if that is given, else in chunks."""

    def __init__(self, status: int, headers: Headers) -> None:
        """
        Args:
            status: the HTTP status.
            headers: all headers.
        """
        self._status = status
        self._headers = headers
        self._length: int | None = None  # bytes of the body that are still to come, if that is known

    def head(self) -> bytes:
        """Return the bytes of the head.

        Raises:
            ValueError: the status or a header cannot be sent.
        """
        head = Response(self._status, self._headers).serialize(head_only=True)
        length = self._headers.get("Content-Length")
        if self._status in _BODILESS or length is not None:
            self._length = 0 if self._status in _BODILESS else int(length or 0)
            return head
        # The length is not known, and serialize has added that of no body, at the end.
        return head.removesuffix(b"Content-Length: 0\r\n\r\n") + b"Transfer-Encoding: chunked\r\n\r\n"

    def part(self, body: bytes, more: bool) -> bytes:
        """Return the bytes of the next part of the body.

        Args:
            body: the part.
            more: whether other parts follow.

        Raises:
            ValueError: the body is not as long as ``Content-Length`` says.
        """
        if self._length is None:
            # RFC 9112 section 7.1
            return (b"%x\r\n%b\r\n" % (len(body), body) if body else b"") + (b"" if more else b"0\r\n\r\n")
        left = self._length - len(body)
        if left < 0 or (left and not more):
            raise ValueError(f"Too {'much' if left < 0 else 'little'} data for declared Content-Length")
        self._length = left
        return body
