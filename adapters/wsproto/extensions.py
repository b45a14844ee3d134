"""Extensions (RFC 6455 section 9), and permessage-deflate (RFC 7692).

An :class:`Extension` negotiates by texts, and transforms by hooks that are called for each frame.
:class:`PerMessageDeflate` only negotiates: the core compresses, which has limits where the hooks have none.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from wsproto_core.exceptions import InvalidHandshake, InvalidHeaderFormat, NegotiationError
from wsproto_core.extensions.permessage_deflate import (
    MAX_BITS,
    NAME,
    ClientPerMessageDeflateFactory,
    ServerPerMessageDeflateFactory,
)
from wsproto_core.extensions.permessage_deflate import PerMessageDeflate as Codec
from wsproto_core.http.grammar import build_extension, parse_extension
from wsproto_core.types import ExtensionParameter

from .frames import CloseReason, Endpoint, Opcode, RsvBits
from .utilities import RemoteProtocolError

__all__ = ["SUPPORTED_EXTENSIONS", "Extension", "PerMessageDeflate"]

_NO_BITS = RsvBits(False, False, False)


class Extension(ABC):
    """An extension: its negotiation, and hooks that see the data frames of a connection.

    Attributes:
        name: the name under which it is negotiated.
    """

    name: str

    def enabled(self) -> bool:
        """Whether it was negotiated: only then its hooks are called."""
        return False

    @abstractmethod
    def offer(self) -> bool | str:
        """Return a client's parameters; ``True`` for none, ``False`` for no offer."""

    def accept(self, offer: str) -> bool | str | None:  # noqa: B027
        """Answer a client's offer, on a server.

        Args:
            offer: the name and the parameters.

        Returns:
            The parameters of the answer; ``True`` for none, ``False`` or ``None`` to decline.
        """

    def finalize(self, offer: str) -> None:  # noqa: B027
        """Take a server's answer, on a client.

        Args:
            offer: the name and the parameters.
        """

    def frame_inbound_header(
        self, proto: Endpoint, opcode: Opcode, rsv: RsvBits, payload_length: int
    ) -> CloseReason | RsvBits:
        """Take the header of a data frame that arrives.

        Args:
            proto: the connection's end.
            opcode: its opcode.
            rsv: its reserved bits.
            payload_length: bytes in its payload.

        Returns:
            The reserved bits that this extension uses, or the close code to fail with.
        """
        return _NO_BITS

    def frame_inbound_payload_data(self, proto: Endpoint, data: bytes) -> bytes | CloseReason:
        """Transform a piece of the payload of a data frame.

        Args:
            proto: the connection's end.
            data: the piece.

        Returns:
            What it becomes, or the close code to fail with.
        """
        return data

    def frame_inbound_complete(  # noqa: B027
        self, proto: Endpoint, fin: bool
    ) -> bytes | CloseReason | None:
        """Take the end of a data frame.

        Args:
            proto: the connection's end.
            fin: whether it is the last one of its message.

        Returns:
            What follows its payload, or the close code to fail with.
        """

    def frame_outbound(
        self, proto: Endpoint, opcode: Opcode, rsv: RsvBits, data: bytes, fin: bool
    ) -> tuple[RsvBits, bytes]:
        """Transform a data frame that is sent.

        Args:
            proto: the connection's end.
            opcode: its opcode.
            rsv: its reserved bits.
            data: its payload.
            fin: whether it is the last one of its message.

        Returns:
            Its reserved bits and its payload.
        """
        return rsv, data


class PerMessageDeflate(Extension):
    """permessage-deflate (RFC 7692): the parameters that are wanted, then those that were negotiated.

    Attributes:
        client_no_context_takeover: whether the client forgets what it has sent after each message.
        server_no_context_takeover: the same for the server.
    """

    name = NAME

    DEFAULT_CLIENT_MAX_WINDOW_BITS = MAX_BITS
    DEFAULT_SERVER_MAX_WINDOW_BITS = MAX_BITS

    def __init__(
        self,
        client_no_context_takeover: bool = False,
        client_max_window_bits: int | None = None,
        server_no_context_takeover: bool = False,
        server_max_window_bits: int | None = None,
    ) -> None:
        """
        Args:
            client_no_context_takeover, server_no_context_takeover: see the attributes.
            client_max_window_bits, server_max_window_bits: see the properties; ``None`` is 15.

        Raises:
            ValueError: a number of bits is not from 9 to 15.
        """
        self.client_no_context_takeover = client_no_context_takeover
        self.server_no_context_takeover = server_no_context_takeover
        self.client_max_window_bits = MAX_BITS if client_max_window_bits is None else client_max_window_bits
        self.server_max_window_bits = MAX_BITS if server_max_window_bits is None else server_max_window_bits
        self._enabled = False

    @property
    def client_max_window_bits(self) -> int:
        """The window of the client is of 2 to this power bytes."""
        return self._client_max_window_bits

    @client_max_window_bits.setter
    def client_max_window_bits(self, value: int) -> None:
        self._client_max_window_bits = _check_bits(value)

    @property
    def server_max_window_bits(self) -> int:
        """The window of the server is of 2 to this power bytes."""
        return self._server_max_window_bits

    @server_max_window_bits.setter
    def server_max_window_bits(self, value: int) -> None:
        self._server_max_window_bits = _check_bits(value)

    def enabled(self) -> bool:
        return self._enabled

    def offer(self) -> str:
        bits = (
            f"client_max_window_bits={self.client_max_window_bits}",
            f"server_max_window_bits={self.server_max_window_bits}",
        )
        return "; ".join((*bits, *self._takeovers()))

    def accept(self, offer: str) -> str | None:
        factory = ServerPerMessageDeflateFactory(
            self.server_no_context_takeover,
            self.client_no_context_takeover,
            self._server_limit(),
            self._client_max_window_bits,
        )
        try:
            _, offered = parse_extension(offer)[0]
            answer, _ = factory.process_request_params(offered, ())
        except (InvalidHeaderFormat, NegotiationError):
            return None
        self._agree(answer)
        return build_extension([(NAME, answer)]).removeprefix(NAME).removeprefix("; ")

    def finalize(self, offer: str) -> None:
        factory = ClientPerMessageDeflateFactory(
            self.server_no_context_takeover,
            self.client_no_context_takeover,
            self._server_limit(),
            self._client_max_window_bits,
        )
        try:
            _, answer = parse_extension(offer)[0]
            factory.process_response_params(answer, ())
        except InvalidHandshake as error:
            raise RemoteProtocolError(str(error)) from error
        # Of its own window, a client may use less than the server allows (RFC 7692 section 7.1.2.2).
        own = ("client_max_window_bits", str(self._client_max_window_bits))
        asked = [(name, None) for name in self._takeovers() if name not in dict(answer)]
        self._agree([own, *asked, *answer])

    def codec(self, client: bool) -> Codec:
        """Return what compresses on one connection.

        Args:
            client: whether it is for the client's end.
        """
        bits = self._server_max_window_bits, self._client_max_window_bits
        takeover = self.server_no_context_takeover, self.client_no_context_takeover
        return Codec(
            remote_no_context_takeover=takeover[not client],
            local_no_context_takeover=takeover[client],
            remote_max_window_bits=bits[not client],
            local_max_window_bits=bits[client],
        )

    def _takeovers(self) -> list[str]:
        names = ("client_no_context_takeover", "server_no_context_takeover")
        return [name for name in names if getattr(self, name)]

    def _server_limit(self) -> int | None:
        # The largest window is no limit.
        return None if self._server_max_window_bits == MAX_BITS else self._server_max_window_bits

    def _agree(self, parameters: list[ExtensionParameter]) -> None:
        agreed = dict(parameters)
        self.client_no_context_takeover = "client_no_context_takeover" in agreed
        self.server_no_context_takeover = "server_no_context_takeover" in agreed
        self._client_max_window_bits = int(agreed.get("client_max_window_bits") or MAX_BITS)
        self._server_max_window_bits = int(agreed.get("server_max_window_bits") or MAX_BITS)
        self._enabled = True

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.offer()}>"


def _check_bits(bits: int) -> int:
    if not 9 <= bits <= MAX_BITS:
        raise ValueError(f"Window size must be between 9 and 15 inclusive, not {bits!r}")
    return bits


SUPPORTED_EXTENSIONS = {PerMessageDeflate.name: PerMessageDeflate}
"""The extensions that there are, by their names."""
