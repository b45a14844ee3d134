"""Extensions for tests: small, but of every kind that the interface allows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from wsproto_core.exceptions import InvalidPayload, NegotiationError
from wsproto_core.extensions import (
    ClientExtensionFactory,
    CompressionExtension,
    Extension,
    ServerExtensionFactory,
)
from wsproto_core.types import ExtensionName, ExtensionParameter


class Xor(Extension):
    """Inverts the bits of every byte; says so by RSV2, and understands messages without."""

    name: ClassVar[ExtensionName] = ExtensionName("x-xor")
    reserved_bits = 0x20

    def begin_decoding(self, reserved_bits: int) -> None:
        self.active = reserved_bits == 0x20
        assert self.active or reserved_bits == 0

    def decode(self, data: bytes, *, frame_end: bool, final: bool, max_length: int) -> bytes:
        return self.transform(data) if self.active else data

    def encode(self, data: bytes, *, first: bool, final: bool) -> tuple[int, bytes]:
        return 0x20, self.transform(data)

    @staticmethod
    def transform(data: bytes) -> bytes:
        return bytes(byte ^ 0xFF for byte in data)


class Add(Extension):
    """Adds one to every byte, which is another thing before :class:`Xor` than after it. Uses RSV3."""

    name: ClassVar[ExtensionName] = ExtensionName("x-add")
    reserved_bits = 0x10

    def begin_decoding(self, reserved_bits: int) -> None:
        assert reserved_bits == 0x10

    def decode(self, data: bytes, *, frame_end: bool, final: bool, max_length: int) -> bytes:
        return bytes((byte - 1) % 256 for byte in data)

    def encode(self, data: bytes, *, first: bool, final: bool) -> tuple[int, bytes]:
        # The bits that are another extension's are to be ignored.
        return 0x70, bytes((byte + 1) % 256 for byte in data)


class Counting(CompressionExtension):
    """Changes nothing, uses no reserved bit, and remembers how it was called."""

    name: ClassVar[ExtensionName] = ExtensionName("x-counting")

    def __init__(self) -> None:
        super().__init__()
        self.begun: list[int] = []
        self.decoded: list[tuple[bytes, bool, bool, int]] = []
        self.encoded: list[tuple[bytes, bool, bool, bool | None]] = []
        self.cancelled = 0
        self.released = 0

    def begin_decoding(self, reserved_bits: int) -> None:
        self.begun.append(reserved_bits)

    def decode(self, data: bytes, *, frame_end: bool, final: bool, max_length: int) -> bytes:
        self.decoded.append((data, frame_end, final, max_length))
        return data

    def encode(
        self, data: bytes, *, first: bool, final: bool, compress: bool | None = None
    ) -> tuple[int, bytes]:
        self.encoded.append((data, first, final, compress))
        return 0, data

    def cancel_encoding(self) -> None:
        self.cancelled += 1

    def release(self) -> None:
        self.released += 1


class Repeat(Extension):
    """Sends a message as it is, and repeats every received byte ten times, as far as there is room."""

    name: ClassVar[ExtensionName] = ExtensionName("x-repeat")
    reserved_bits = 0x20

    def begin_decoding(self, reserved_bits: int) -> None:
        self.waiting = b""

    def decode(self, data: bytes, *, frame_end: bool, final: bool, max_length: int) -> bytes:
        if b"?" in data:
            raise InvalidPayload("a question mark is not repeated")
        self.waiting += bytes(byte for byte in data for _ in range(10))
        output, self.waiting = self.waiting[:max_length], self.waiting[max_length:]
        self.has_more = bool(self.waiting)
        return output

    def encode(self, data: bytes, *, first: bool, final: bool) -> tuple[int, bytes]:
        return 0, data


class Holding(Extension):
    """Gives nothing out before a message's end, in either direction, as compression may."""

    name: ClassVar[ExtensionName] = ExtensionName("x-holding")

    def __init__(self) -> None:
        super().__init__()
        self.incoming = self.outgoing = b""

    def begin_decoding(self, reserved_bits: int) -> None:
        self.incoming = b""

    def decode(self, data: bytes, *, frame_end: bool, final: bool, max_length: int) -> bytes:
        self.incoming += data
        return self.incoming if final else b""

    def encode(self, data: bytes, *, first: bool, final: bool) -> tuple[int, bytes]:
        self.outgoing = data if first else self.outgoing + data
        return 0, self.outgoing if final else b""


class ClientFactory(ClientExtensionFactory):
    """Offers an extension with parameters, and accepts it with the same ones only."""

    def __init__(self, extension: type[Extension], params: Sequence[ExtensionParameter] = ()) -> None:
        self.extension = extension
        self.name = extension.name  # type: ignore[misc]
        self.params = list(params)
        self.already_accepted: list[list[str]] = []

    def get_request_params(self) -> list[ExtensionParameter]:
        return self.params

    def process_response_params(
        self, params: Sequence[ExtensionParameter], accepted_extensions: Sequence[Extension]
    ) -> Extension:
        self.already_accepted.append([extension.name for extension in accepted_extensions])
        if params != self.params:
            raise NegotiationError(f"expected {self.params}, got {params}")
        return self.extension()


class ServerFactory(ServerExtensionFactory):
    """Accepts an offer of an extension with these parameters, and repeats them."""

    def __init__(self, extension: type[Extension], params: Sequence[ExtensionParameter] = ()) -> None:
        self.extension = extension
        self.name = extension.name  # type: ignore[misc]
        self.params = list(params)
        self.already_accepted: list[list[str]] = []

    def process_request_params(
        self, params: Sequence[ExtensionParameter], accepted_extensions: Sequence[Extension]
    ) -> tuple[list[ExtensionParameter], Extension]:
        self.already_accepted.append([extension.name for extension in accepted_extensions])
        if params != self.params:
            raise NegotiationError(f"expected {self.params}, got {params}")
        return self.params, self.extension()
