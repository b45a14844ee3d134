"""HTTP responses of an application in the place of WebSocket: the extension ``websocket.http.response``.

A response whose body comes at once is given to the state machine, as any refusal. One whose body comes in
parts is written as it comes, before the state machine is told of the refusal: the deadline for the end of the
stream begins with the last part.
"""

from __future__ import annotations

from wsproto_core.exceptions import InvalidHandshake
from wsproto_core.handshake.server import Answer, ServerProtocol
from wsproto_core.http import Headers, Response, make_response

from ..shared.parts import ResponseInParts

__all__ = ["Denial"]


class Denial:
    """A response in the place of WebSocket.

    Attributes:
        status: its HTTP status.
        begun: whether its head has been given to the state machine.
    """

    def __init__(self, protocol: ServerProtocol, status: int, headers: Headers) -> None:
        """
        Args:
            protocol: the state machine of the connection.
            status: the HTTP status.
            headers: all headers.

        Raises:
            RuntimeError: the status is not that of a response.
        """
        if status not in range(200, 600):
            raise RuntimeError(f"Invalid HTTP status code '{status}' in response.")
        self.status = status
        self.begun = False
        self._protocol = protocol
        self._headers = headers
        self._parts = ResponseInParts(status, headers)

    def add(self, body: bytes, more: bool) -> None:
        """Add a part of the body.

        Args:
            body: the part.
            more: whether other parts follow.

        Raises:
            ValueError: a header cannot be sent, or the body is not as long as ``Content-Length`` says.
        """
        if not (self.begun or more):
            self._protocol.reject(make_response(self.status, self._headers, body))
            self.begun = True
            return
        head = b"" if self.begun else self._make_head()
        data = head + self._parts.part(body, more)
        self.begun = True
        if more:
            self._protocol.send_queue.open(data)
        else:
            self.end(data)

    def end(self, data: bytes = b"") -> None:
        """End the response; without its last part, the client can see that something is missing.

        Args:
            data: what is still to be sent.
        """
        error = InvalidHandshake(f"the request was answered with HTTP status {self.status}")
        self._protocol.give_answer(Answer(Response(self.status, self._headers), data, error))

    def _make_head(self) -> bytes:
        if "Connection" not in self._headers:
            self._headers["Connection"] = "close"
        return self._parts.head()
