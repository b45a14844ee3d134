"""permessage-deflate (RFC 7692).

An idle connection should need little memory, so little is kept between messages.

An inflater lives as long as the message that it inflates. Under context takeover the next message
refers to the last bytes of the messages before: these bytes are kept, and the next inflater starts from
them, which takes no longer than keeping an inflater. The same is done after a final block.

A compressor needs much memory, and time to be made. It can also start from the bytes that were sent
before: so the first messages of a connection get a compressor each, and only a connection that goes on
sending keeps one, until it has been idle. Most connections send little, or seldom. An idle connection
forgets the bytes that it has sent, too: a sender may start anew at any time, and its peer only keeps more
history than is used.

Output is bounded, not input: no more is inflated at once than was asked for.

The library is chosen here, once: zlib-ng if it is installed, otherwise zlib. Only speed and memory depend
on it.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from ..exceptions import (
    DuplicateParameter,
    InvalidParameterName,
    InvalidParameterValue,
    InvalidPayload,
    NegotiationError,
)
from ..types import Data, ExtensionName, ExtensionParameter
from .base import (
    RSV1,
    ClientExtensionFactory,
    CompressionExtension,
    EncodingKey,
    Extension,
    ServerExtensionFactory,
)

zlib: Any
try:
    from zlib_ng import zlib_ng as zlib
except ImportError:
    import zlib

ZLIB: str = zlib.__name__
"""The name of the module that compresses."""

__all__ = [
    "DEFAULT_CLIENT",
    "DEFAULT_SERVER",
    "ZLIB",
    "ClientPerMessageDeflateFactory",
    "PerMessageDeflate",
    "ServerPerMessageDeflateFactory",
]

NAME = ExtensionName("permessage-deflate")
MAX_BITS = 15

# The default window of a sender. 4 KiB instead of 32 need an eighth of the memory, and compress the messages
# of most applications nearly as well. A sender may use a smaller window than was negotiated: its peer then
# keeps more history than is used.
DEFAULT_BITS = 12

# The end of an empty stored block: it follows each message and is not sent (section 7.2.1).
TAIL = b"\x00\x00\xff\xff"

# An empty message (section 7.2.3.6): the rest of an empty stored block.
EMPTY = b"\x00"

# Bytes that are inflated at once.
MAX_INPUT = 2**14

EMPTY_FINAL_BLOCK = b"\x03\x00"

# Blocks with BFINAL in one message. Each takes two bytes to send, and an inflater to go on behind.
MAX_FINAL_BLOCKS = 1024

# Messages in a row that get a compressor each; then it is kept.
MAX_MADE_ANEW = 16

SHOWN = tuple(f"{end}_{x}" for x in ("no_context_takeover", "max_window_bits") for end in ("remote", "local"))

DEFAULT_SETTINGS: Mapping[str, Any] = {"memLevel": 5}


class _Inflation:
    """One message that is inflated.

    Attributes:
        has_more: whether there may be more output without more input.
    """

    __slots__ = (
        "_bits", "_empty", "_final_blocks", "_inflater", "_input", "_position", "_window", "has_more",
    )  # fmt: skip

    def __init__(self, bits: int, history: bytes) -> None:
        """
        Args:
            bits: the window is of 2 to this power bytes.
            history: the last bytes of the messages before.
        """
        self.has_more = False
        self._bits = bits
        self._window = bytearray(history)
        self._inflater: Any = None
        self._empty = True  # whether nothing has come
        self._final_blocks = 0
        self._input = b""  # what has come last,
        self._position = 0  # and how much of it the inflater has taken

    def feed(self, data: bytes, final: bool) -> None:
        """Give the next piece of the payload, when there is no more output of those before."""
        if data:
            self._empty = False
        # Nothing at all is an empty message: there is no block to be completed.
        self._input = data + TAIL if final and not self._empty else data
        self._position = 0

    def take(self, max_length: int, final: bool) -> bytes:
        """Inflate what there is, to at most ``max_length`` bytes, and set :attr:`has_more`."""
        if not self._input:
            return b""
        # Not all at once: what the inflater does not take, it copies.
        piece = self._input[self._position : self._position + MAX_INPUT]
        self._position += len(piece)
        self.has_more = self._position < len(self._input)
        if self._inflater is None:
            if final and self._final_blocks and piece == TAIL:
                # Right behind a block with BFINAL: the peer left out the first byte of an empty block too.
                return b""
            self._inflater = zlib.decompressobj(-self._bits, zdict=self._history())
        try:
            output: bytes = self._inflater.decompress(piece, max_length)
        except zlib.error as error:
            raise InvalidPayload(f"compressed message cannot be inflated: {error}") from error
        self._window += output
        if len(self._window) >= 2 << self._bits:
            # So each byte is moved once at most.
            self._window[:] = self._history()
        if self._inflater.eof:
            # A block with BFINAL (section 7.2.3.4): what follows begins a new stream, with the history.
            self._final_blocks += 1
            if self._final_blocks > MAX_FINAL_BLOCKS:
                raise InvalidPayload(f"compressed message with more than {MAX_FINAL_BLOCKS} final blocks")
            self._position -= len(self._inflater.unused_data)
            self._inflater = None
            self.has_more = self._position < len(self._input)
        else:
            self._position -= len(self._inflater.unconsumed_tail)
            # An output that is full may leave some behind even when all input is taken.
            self.has_more = self._position < len(self._input) or len(output) >= max_length
        if not self.has_more:
            self._input = b""
        return output

    def end(self) -> bytes:
        """The message is complete: return the history for the next one."""
        if self._inflater is not None:
            # A message that was cut off ends within a block. Behind its last block, another one may
            # follow: try it with an empty one.
            try:
                self._inflater.decompress(EMPTY_FINAL_BLOCK)
            except zlib.error as error:
                raise InvalidPayload("compressed message ends within a block") from error
            if not self._inflater.eof:
                raise InvalidPayload("compressed message ends within a block")
        return self._history()

    def _history(self) -> bytes:
        """Return the last bytes of the output, which what follows may refer to."""
        return bytes(self._window[-(1 << self._bits) :])


class PerMessageDeflate(CompressionExtension):
    """permessage-deflate on one connection, with the parameters negotiated."""

    __slots__ = (
        "_compressing", "_compressor", "_history", "_inflation", "_made_anew", "_recent",
        "compress_settings", "local_max_window_bits", "local_no_context_takeover", "remote_max_window_bits",
        "remote_no_context_takeover", "threshold", "used_window_bits",
    )  # fmt: skip

    name = NAME
    reserved_bits = RSV1
    marks_messages = True

    def __init__(
        self,
        *,
        remote_no_context_takeover: bool,
        local_no_context_takeover: bool,
        remote_max_window_bits: int = MAX_BITS,
        local_max_window_bits: int = MAX_BITS,
        used_window_bits: int = MAX_BITS,
        compress_settings: Mapping[str, Any] | None = None,
        threshold: int = 0,
        idle_timeout: float | None = None,
    ) -> None:
        """
        Args:
            remote_no_context_takeover, remote_max_window_bits: how the peer compresses.
            local_no_context_takeover, local_max_window_bits: how this end may compress.
            used_window_bits: a limit on the window that this end compresses with, below which the
                one that it may use is not used in full.
            compress_settings: keyword arguments for ``zlib.compressobj``, except ``wbits`` and ``zdict``.
            threshold: bytes below which a whole message is not compressed, unless that is asked for.
            idle_timeout: seconds without a message after which memory is given up; ``None`` for never.
        """
        super().__init__()
        self.remote_no_context_takeover = remote_no_context_takeover
        self.local_no_context_takeover = local_no_context_takeover
        self.remote_max_window_bits = remote_max_window_bits
        self.local_max_window_bits = local_max_window_bits
        self.used_window_bits = min(used_window_bits, local_max_window_bits)
        self.compress_settings = DEFAULT_SETTINGS if compress_settings is None else compress_settings
        self.threshold = threshold
        self.idle_timeout = idle_timeout
        # receiving
        self._inflation: _Inflation | None = None  # the message that arrives, if it is compressed
        self._history = b""  # what the next one may refer to
        # sending
        self._compressing = False  # whether the message that is sent is compressed
        self._compressor: Any = None
        self._recent = b""  # what the next message may refer to, without a compressor
        self._made_anew = 0  # compressors made for a single message

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={getattr(self, name)}" for name in SHOWN)
        return f"PerMessageDeflate({shown})"

    # Receiving

    def begin_decoding(self, reserved_bits: int) -> None:
        self._inflation = None
        if reserved_bits == RSV1:
            self._inflation = _Inflation(self.remote_max_window_bits, self._history)

    def decode(self, data: bytes, *, frame_end: bool, final: bool, max_length: int) -> bytes:
        inflation = self._inflation
        if inflation is None:
            return data
        if not self.has_more:
            inflation.feed(data, final)
            self.compressed_bytes_received += len(data)
        output = inflation.take(max_length, final)
        self.decompressed_bytes_received += len(output)
        self.has_more = inflation.has_more
        if final and not self.has_more:
            history = inflation.end()
            self._inflation = None
            if not self.remote_no_context_takeover:
                self._history = history
        return output

    def decode_whole(self, data: bytes, text: bool, max_length: int) -> tuple[Data, int] | None:
        if len(data) > MAX_INPUT or not data or type(self) is not PerMessageDeflate:
            # a subclass may decode in another way
            return None
        raw = zlib.decompressobj(-self.remote_max_window_bits, zdict=self._history)
        try:
            output: bytes = raw.decompress(data + TAIL, max_length + 1)
            # A block with BFINAL and a message that ends within a block have more rules: see _Inflation.
            if len(output) > max_length or raw.eof or raw.decompress(EMPTY_FINAL_BLOCK) or not raw.eof:
                return None
            message: Data = str(output, "utf-8") if text else output
        except (zlib.error, UnicodeDecodeError):
            return None
        self.compressed_bytes_received += len(data)
        self.decompressed_bytes_received += len(output)
        if not self.remote_no_context_takeover:
            self._history = (self._history + output)[-(1 << self.remote_max_window_bits) :]
        return message, len(output)

    # Sending

    def encode(
        self, data: bytes, *, first: bool, final: bool, compress: bool | None = None
    ) -> tuple[int, bytes]:
        if first:
            small = final and len(data) < self.threshold
            self._compressing = compress if compress is not None else not small
        if not self._compressing:
            return 0, data
        compressor = self._compressor
        if compressor is None:
            # zlib has no raw window of 8 bits. With 9, it never looks back further than 250 bytes.
            bits = max(self.used_window_bits, 9)
            compressor = zlib.compressobj(wbits=-bits, zdict=self._recent, **self.compress_settings)
        # Each fragment is flushed: what is sent can be read.
        output: bytes = compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH)
        if final:
            output = output.removesuffix(TAIL) or EMPTY
            if first and compress is None and len(output) > len(data):
                # The peer will not see what the compressor has seen.
                self._compressor = None
                return 0, data
        self.compressed_bytes_sent += len(output)
        self.decompressed_bytes_sent += len(data)
        if final:
            if self.local_no_context_takeover:
                self._compressor = None
                return RSV1, output
            if self._compressor is None and self._made_anew < MAX_MADE_ANEW:
                self._made_anew += 1
                size = 1 << self.used_window_bits
                self._recent = (self._recent + data[-size:])[-size:]
                return RSV1, output
        self._compressor = compressor
        self._recent = b""
        return RSV1, output

    def cancel_encoding(self) -> None:
        self.release()

    def encoding_key(self) -> EncodingKey | None:
        if type(self) is not PerMessageDeflate:
            # a subclass may encode in another way
            return None
        settings = tuple(sorted(self.compress_settings.items()))
        return _deflate_key(self.used_window_bits, self.threshold, settings)

    def release(self) -> None:
        self._compressor = None
        self._recent = b""
        self._made_anew = 0


class _DeflateKey(EncodingKey):
    """Compression of a message on its own (RFC 7692 section 7.2.1): it refers to no message before it.

    So the result means the same to every receiver whose window is large enough, whatever is in it.
    """

    __slots__ = ("_bits", "_settings", "_threshold")

    def __init__(self, bits: int, threshold: int, settings: tuple[tuple[str, Any], ...]) -> None:
        """
        Args:
            bits: the window is of 2 to this power bytes.
            threshold: bytes below which a message is not compressed, unless that is asked for.
            settings: keyword arguments for ``zlib.compressobj``.
        """
        self._bits = bits
        self._threshold = threshold
        self._settings = settings

    def encode(self, payload: bytes, compress: bool | None) -> tuple[int, bytes]:
        extension = PerMessageDeflate(
            remote_no_context_takeover=True,
            local_no_context_takeover=True,
            local_max_window_bits=self._bits,
            compress_settings=dict(self._settings),
            threshold=self._threshold,
        )
        return extension.encode(payload, first=True, final=True, compress=compress)


# One object for each set of parameters, so that two connections' can be compared at once. There are as
# many as an application's factories and its clients' choices of a window make.
_deflate_key = functools.cache(_DeflateKey)


# Negotiation (section 7.1)

WINDOW_BITS = ("server_max_window_bits", "client_max_window_bits")
PARAMETERS = ("server_no_context_takeover", "client_no_context_takeover", *WINDOW_BITS)


def _parse_parameters(params: Sequence[ExtensionParameter], *, valueless_bits: bool) -> dict[str, int | bool]:
    """Parse parameters into a dictionary; those without a value are ``True``.

    Args:
        valueless_bits: whether ``client_max_window_bits`` may have no value, as in a request.
    """
    parsed: dict[str, int | bool] = {}
    for name, value in params:
        if name not in PARAMETERS:
            raise InvalidParameterName(name)
        if name in parsed:
            raise DuplicateParameter(name)
        if name.endswith("_no_context_takeover"):
            if value is not None:
                raise InvalidParameterValue(name, value)
            parsed[name] = True
        elif value is None and name == "client_max_window_bits" and valueless_bits:
            parsed[name] = True
        else:
            # "a decimal integer without leading zeroes between 8 to 15" (sections 7.1.2.1, 7.1.2.2)
            if value not in ("8", "9", "10", "11", "12", "13", "14", "15"):
                raise InvalidParameterValue(name, value)
            parsed[name] = int(value)
    return parsed


def _build_parameters(wanted: Mapping[str, int | bool | None]) -> list[ExtensionParameter]:
    return [
        (name, None if wanted[name] is True else str(wanted[name]))
        for name in PARAMETERS
        if wanted[name] is not None and wanted[name] is not False
    ]


class _Factory:
    """The parameters of both factories."""

    name = NAME

    def __init__(
        self,
        server_no_context_takeover: bool = False,
        client_no_context_takeover: bool = False,
        server_max_window_bits: int | None = None,
        client_max_window_bits: int | bool | None = None,
        compress_settings: Mapping[str, Any] | None = None,
        *,
        threshold: int = 64,
        idle_timeout: float | None = 30,
    ) -> None:
        """
        Args:
            server_no_context_takeover: the server forgets what it has sent after each message.
            client_no_context_takeover: the same for the client. Without context takeover less
                memory is used between messages, and similar messages compress much worse.
            server_max_window_bits: the window of the server is of 2 to this power bytes, 8 to 15. On a
                client, a number asks the server for a window of at most this size, and an answer
                without it is refused (RFC 7692 section 7.1.2.1); ``None`` accepts any, up to 15.
            client_max_window_bits: the same for the client; on a client, ``True`` lets the server
                choose a limit, and ``None`` does not. For the window of this end, ``None`` and ``True``
                are 12, or less if the peer asks for less.
            compress_settings: keyword arguments for ``zlib.compressobj``, except ``wbits`` and ``zdict``;
                ``{"memLevel": 5}`` by default.
            threshold: bytes below which a message is sent uncompressed, unless ``send`` is told to
                compress it. The headers of deflate cost more than they save then.
            idle_timeout: seconds without a message after which the memory for compression is given
                up, except for the last bytes received; ``None`` for never.

        Raises:
            TypeError, ValueError: a parameter is not allowed.
        """
        self.server_no_context_takeover = server_no_context_takeover
        self.client_no_context_takeover = client_no_context_takeover
        self.server_max_window_bits = server_max_window_bits
        self.client_max_window_bits = client_max_window_bits
        self.compress_settings = compress_settings
        self.threshold = threshold
        self.idle_timeout = idle_timeout
        for name in WINDOW_BITS:
            bits = getattr(self, name)
            valueless = name == "client_max_window_bits" and isinstance(self, ClientExtensionFactory)
            if bits is None or (bits is True and valueless):
                continue
            if type(bits) is not int or not 8 <= bits <= MAX_BITS:
                raise ValueError(f"{name} must be None or an int from 8 to 15, not {bits!r}")
        if compress_settings is not None and "wbits" in compress_settings:
            raise ValueError("compress_settings must not have wbits: set server_ or client_max_window_bits")
        if compress_settings is not None and "zdict" in compress_settings:
            raise ValueError("compress_settings must not have zdict: the peer would not know it")
        zlib.compressobj(wbits=-MAX_BITS, **(compress_settings or {}))  # its errors are clear
        if threshold < 0:
            raise ValueError(f"threshold must not be negative: {threshold!r}")
        if idle_timeout is not None and not idle_timeout > 0:
            raise ValueError(f"idle_timeout must be positive or None, not {idle_timeout!r}")

    def _make(self, *, server: bool, agreed: Mapping[str, int | bool | None]) -> PerMessageDeflate:
        local, remote = ("server", "client") if server else ("client", "server")
        told = getattr(self, f"{local}_max_window_bits")
        return PerMessageDeflate(
            remote_no_context_takeover=bool(agreed[f"{remote}_no_context_takeover"]),
            local_no_context_takeover=bool(agreed[f"{local}_no_context_takeover"]),
            remote_max_window_bits=agreed[f"{remote}_max_window_bits"] or MAX_BITS,
            local_max_window_bits=agreed[f"{local}_max_window_bits"] or MAX_BITS,
            # Who gives a number means it.
            used_window_bits=DEFAULT_BITS if told is None or told is True else MAX_BITS,
            compress_settings=self.compress_settings,
            threshold=self.threshold,
            idle_timeout=self.idle_timeout,
        )


class ClientPerMessageDeflateFactory(_Factory, ClientExtensionFactory):
    """Offers permessage-deflate to a server."""

    def get_request_params(self) -> list[ExtensionParameter]:
        return _build_parameters({name: getattr(self, name) for name in PARAMETERS})

    def process_response_params(
        self, params: Sequence[ExtensionParameter], accepted_extensions: Sequence[Extension]
    ) -> PerMessageDeflate:
        answer = _parse_parameters(params, valueless_bits=False)
        agreed: dict[str, int | bool | None] = {name: answer.get(name) for name in PARAMETERS}
        # What was asked of the server, it has to grant (sections 7.1.1.1 and 7.1.2.1). Without a word
        # from it, its window is of 15 bits: it need not say so if that was asked for.
        if self.server_no_context_takeover and not answer.get("server_no_context_takeover"):
            raise NegotiationError("server did not accept server_no_context_takeover")
        limit = self.server_max_window_bits
        if limit is not None and answer.get("server_max_window_bits", MAX_BITS) > limit:
            raise NegotiationError(f"server did not accept server_max_window_bits={limit}")
        # What the server asks of us was at our disposal, but only if we offered it (section 7.1.2.2).
        hint = self.client_max_window_bits
        own = MAX_BITS if hint is None or hint is True else hint
        bits = answer.get("client_max_window_bits")
        if bits is not None and (hint is None or bits > own):
            raise NegotiationError(f"server asks for client_max_window_bits={bits}, which was not offered")
        agreed["client_max_window_bits"] = own if bits is None else bits
        if self.client_no_context_takeover:
            agreed["client_no_context_takeover"] = True
        return self._make(server=False, agreed=agreed)


class ServerPerMessageDeflateFactory(_Factory, ServerExtensionFactory):
    """Accepts permessage-deflate from a client."""

    def process_request_params(
        self, params: Sequence[ExtensionParameter], accepted_extensions: Sequence[Extension]
    ) -> tuple[list[ExtensionParameter], PerMessageDeflate]:
        offer = _parse_parameters(params, valueless_bits=True)
        agreed: dict[str, int | bool | None] = {}
        for side in ("server", "client"):
            name = f"{side}_no_context_takeover"
            agreed[name] = getattr(self, name) or offer.get(name, False)
        for name in WINDOW_BITS:
            # The smaller of what the client asks for and what we want. Only a client that offers it lets us
            # limit its window (section 7.1.2.2).
            wanted = [getattr(self, name), offer.get(name)]
            limited = name in offer or name == "server_max_window_bits"
            numbers = (bits for bits in wanted if bits is not None and bits is not True)
            agreed[name] = min(numbers, default=None) if limited else None
        return _build_parameters(agreed), self._make(server=True, agreed=agreed)


# The factories of ``compression="deflate"``. The client's offer is that of browsers. It asks nothing of the
# server: many servers that are in use answer a request for ``server_max_window_bits`` without it, or
# refuse the connection. The server limits both windows, if the client allows it, so that neither end has
# to keep more of what it has received than a sender uses by default.

DEFAULT_CLIENT = ClientPerMessageDeflateFactory(client_max_window_bits=True)
DEFAULT_SERVER = ServerPerMessageDeflateFactory(
    server_max_window_bits=DEFAULT_BITS, client_max_window_bits=DEFAULT_BITS
)
