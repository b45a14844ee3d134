"""An extension of one's own: a checksum at the end of each message."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

from wsproto_core.exceptions import InvalidPayload, NegotiationError
from wsproto_core.extensions.base import (
    ClientExtensionFactory,
    Extension,
    MessageExtension,
    ServerExtensionFactory,
)
from wsproto_core.testing import connect
from wsproto_core.types import ExtensionName, ExtensionParameter


# region extension
class Checksum(MessageExtension):
    """Appends the CRC-32 of each message, and checks it."""

    name = ExtensionName("x-checksum")
    reserved_bits = 0x20

    def encode_message(self, message: bytes) -> bytes:
        return message + zlib.crc32(message).to_bytes(4, "big")

    def decode_message(self, message: bytes, reserved_bits: int) -> bytes:
        if reserved_bits != self.reserved_bits:
            raise InvalidPayload("message without a checksum")
        if zlib.crc32(message[:-4]).to_bytes(4, "big") != message[-4:]:
            raise InvalidPayload("wrong checksum")
        return message[:-4]


def check_no_parameters(params: Sequence[ExtensionParameter]) -> None:
    if params:
        raise NegotiationError("x-checksum has no parameters")


class ClientChecksum(ClientExtensionFactory):
    name = Checksum.name

    def get_request_params(self) -> list[ExtensionParameter]:
        return []

    def process_response_params(
        self, params: Sequence[ExtensionParameter], accepted_extensions: Sequence[Extension]
    ) -> Checksum:
        check_no_parameters(params)
        return Checksum()


class ServerChecksum(ServerExtensionFactory):
    name = Checksum.name

    def process_request_params(
        self, params: Sequence[ExtensionParameter], accepted_extensions: Sequence[Extension]
    ) -> tuple[list[ExtensionParameter], Checksum]:
        check_no_parameters(params)
        return [], Checksum()


# endregion


def main() -> None:
    link = connect(
        client_options={"extensions": [ClientChecksum()]},
        server_options={"extensions": [ServerChecksum()]},
    )
    link.client.send("What could go wrong?")
    link.client.send(b"\x00" * 1000)
    link.run()
    for message in link.server_events[-2:]:
        print(f"received {message[:20]!r}, checked" if isinstance(message, str | bytes) else message)
    print("extensions:", ", ".join(extension.name for extension in link.server.extensions))


if __name__ == "__main__":
    main()
