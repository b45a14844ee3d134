"""A proxy's answer to CONNECT: any bytes.

- The tunnel opens, or an exception of the class ``ProxyError`` says why not; all chunkings agree.
- It opens behind the head of a response with a status from 200 to 299, by a reading of its own, and takes
  no byte behind that head.
- The memory for a head has the limits of the options.
"""

from __future__ import annotations

import re

from fuzz.source import Source, play_chunkings
from wsproto_core.connect.proxy import Tunnel, parse_proxy
from wsproto_core.exceptions import InvalidProxyMessage, ProxyError
from wsproto_core.http.uri import parse_uri
from wsproto_core.limits import DEFAULT_HEAD_LIMITS, HeadLimits

LIMITS = (DEFAULT_HEAD_LIMITS, HeadLimits(8, 64, 256), HeadLimits(None, None, None))

URI = parse_uri("wss://example.com/chat")

PROXIES = (parse_proxy("http://proxy.example.com:3128"), parse_proxy("https://user:secret@[::1]"))


def fuzz(data: bytes) -> None:
    source = Source(data)
    limits = source.choice(LIMITS)
    proxy = source.choice(PROXIES)
    seed = source.seed()
    stream = source.rest()
    result = play_chunkings(
        lambda pieces: play(pieces, Tunnel(proxy, URI, limits=limits), limits), stream, seed
    )
    if result[0] == "open":
        check_open(stream)


def play(pieces: list[bytes], tunnel: Tunnel, limits: HeadLimits) -> tuple[object, ...]:
    """Let a tunnel receive pieces; return how it ends, and the number of bytes behind the head."""
    rest = sum(map(len, pieces))
    try:
        for piece in pieces:
            tunnel.receive_data(piece)
            rest -= len(piece)
            if tunnel.open:
                return "open", rest > 0
            if limits.max_header_bytes is not None:
                assert len(tunnel._reading._data) <= limits.max_header_bytes + len(piece)
        tunnel.receive_eof()
    except ProxyError as error:
        assert not tunnel.open
        if isinstance(error, InvalidProxyMessage) and "after the head of its answer" in str(error):
            # In other chunkings, these bytes come when the tunnel is open: they are not the proxy's.
            return "open", True
        return type(error).__name__, str(error)
    assert not tunnel.open
    return ("closed",)


def check_open(stream: bytes) -> None:
    """Check an answer that opened the tunnel."""
    text = stream.decode("latin-1")
    while True:
        head, _, text = re.split(r"(\n\r?\n)", text, maxsplit=1)
        status = int(head.split(" ")[1][:3])
        if status >= 200 or status == 101:
            break
    assert 200 <= status < 300, head
