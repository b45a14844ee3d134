"""The seeds of the corpus: for each target, a few inputs that reach most of its code.

``python -m fuzz seeds`` writes them into ``fuzz/corpus``. The first bytes of an input are the choices of its
target: see :mod:`fuzz.source`.
"""

from __future__ import annotations

import random
import shutil
import zlib
from collections.abc import Iterator

from fuzz.peer import build_frame
from fuzz.running import CORPUS, NATIVE
from fuzz.targets import TARGETS
from fuzz.targets.conversation import ACTIONS, OPTIONS, Conversation
from fuzz.targets.frames import OPTIONS as FRAME_OPTIONS
from fuzz.targets.headers import CHECKS
from fuzz.targets.redirects import BASES
from fuzz.targets.request import ANSWERS
from fuzz.targets.request import OPTIONS as REQUEST_OPTIONS
from fuzz.targets.response import ACCEPT, ENDS
from fuzz.targets.response import OPTIONS as RESPONSE_OPTIONS

__all__ = ["make", "write"]

KEY = b"\x37\xfa\x21\x3d"

TEXTS = [
    b"",
    b"Hello",
    b"x" * 200,
    "aé漢😀".encode() * 30,
    "é".encode() * 100 + b"\xff",
    b"a" * 63 + "😀".encode()[:3],
    b"\xed\xa0\x80",
    "".join(map(chr, range(0x20, 0x500))).encode(),
    b"ascii" * 40 + "漢".encode() * 40 + b"\xe0\x80",
]

REQUEST = (
    b"GET /chat HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
)
RESPONSE = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: " + ACCEPT.encode() + b"\r\n"
)
DEFLATE = b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"


def request() -> Iterator[bytes]:
    streams = [
        REQUEST + b"\r\n",
        REQUEST + DEFLATE + b"Origin: https://example.com\r\nSec-WebSocket-Protocol: chat\r\n\r\n",
        b"\r\n" + REQUEST.replace(b"\r\n", b"\n") + b"\n" + build_frame(0x81, b"Hello", KEY),
        REQUEST.replace(b"GET /chat", b"GET http://other.example.com/chat?x=y") + b"\r\n",
        REQUEST.replace(b"GET", b"HEAD") + b"\r\n",
        REQUEST.replace(b"13", b"8") + b"\r\n",
        REQUEST + b"Content-Length: 5\r\n\r\nHello",
        REQUEST + b"X-Folded: a\r\n b\r\nX-Name: " + b"x" * 100 + b"\r\n\r\n",
        REQUEST + b"X-Name: a\x01b\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.0\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01",
    ]
    for index, stream in enumerate(streams):
        yield bytes((index % len(REQUEST_OPTIONS), index % len(ANSWERS), 0, index)) + stream
        yield bytes((0, 0, 0, index)) + stream


def response() -> Iterator[bytes]:
    streams = [
        RESPONSE + b"\r\n",
        RESPONSE + DEFLATE.replace(b"_bits", b"_bits=10") + b"Sec-WebSocket-Protocol: chat\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" + RESPONSE.replace(b"\r\n", b"\n") + b"\n" + build_frame(0x81, b"x"),
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\nHello",
        b"HTTP/1.1 302 Found\r\nLocation: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nHello\r\n0\r\n\r\n",
        b"HTTP/1.0 500 Error\r\n\r\nno such",
        b"HTTP/1.1 200\r\nContent-Length: 100\r\n\r\nshort",
        RESPONSE + b"Transfer-Encoding: chunked\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        RESPONSE + b"X-Name: " + b"x" * 100 + b"\r\n\r\n",
        RESPONSE.replace(ACCEPT.encode(), b"x3pPLMBiTxaQ9kYGzzhZRbK+xOo=") + b"\r\n",
    ]
    for index, stream in enumerate(streams):
        yield bytes((index % len(RESPONSE_OPTIONS), index % len(ENDS), 0, index)) + stream
        yield bytes((2, 0, 0, index)) + stream


def headers() -> Iterator[bytes]:
    values = {
        "connection": [b"keep-alive, Upgrade", b" ,, a ,\t,b,"],
        "upgrade": [b"websocket", b"HTTP/2.0, websocket", b"a/"],
        "subprotocol": [b"chat, superchat", b"a,a"],
        "extension": [
            b'permessage-deflate; client_max_window_bits, x-other; a=1; b="two"',
            b'a; b="\\t\\wo"; c',
            b'a; b="x y"',
        ],
        "host": [b"example.com:8080", b"[2001:db8::1]:443", b"a%2Fb", b"x:99999", b"[::1"],
        "credentials": [b"Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", b"basic  dTpw", b"Basic dTr/", b"Digest x"],
        "built_credentials": [b"\x04userpassword", b"\x02a:b", "\x05é漢x".encode()],
        "built_host": [b"\x01\xbb\x01example.com", b"\x00\x50\x00fe80::1%eth0"],
        "built_lists": [b"chat\nsuperchat", b"a\na", b"a b"],
        "realm": [b'a "realm" \\', "é".encode()],
    }
    for index, check in enumerate(CHECKS):
        for value in values[check.__name__.removeprefix("check_")]:
            yield bytes((index,)) + value


def heads() -> Iterator[bytes]:
    # A request and a response: flag, seed, flag of the method, headers (flag, number, name or choice, value).
    yield b"\x01\x00\x01\x01\x01\x02\x01\x01\x05value\x00\x04name\x03\xc3\xa9x\x04path"
    yield b"\x01\x00\x01\x00\x05PATCH\x01\x01\x01\x05\x03a=b\x01x"
    yield b"\x01\x00\x01\x01\x00\x01\x01\x00\x09localhost"
    yield b"\x01\x00\x01\x01\x01\x01\x01\x02\x010\x00"
    yield b"\x01\x00\x01\x01\x01\x01\x01\x01\x03a\x01b\x00"
    yield b"\x01\x00\x01\x01\x01\x01\x01\x01\x08a\r\nb: cd\x00"
    for status in range(8):
        yield bytes((0, 0, 1, status, 2)) + b"OK\x01\x01\x01\x01\x05value\x00\x05Hello\x01"
        yield bytes((0, 0, 1, status, 2)) + b"OK\x01\x01\x01\x02\x015\x00\x05Hello\x00"
        yield bytes((0, 0, 1, status, 0)) + b"\x01\x02\x01\x05\x01a\x01\x05\x01b\x00\x00\x00"


def negotiation() -> Iterator[bytes]:
    for options in (b"\x00\x00\x00\x00", b"\x01\x01\x03\x04", b"\x00\x01\x00\x09"):
        yield b"\x00" + options + b"permessage-deflate; client_max_window_bits"
        yield b"\x00" + options + b'permessage-deflate; server_max_window_bits=10; client_max_window_bits="9"'
        yield b"\x00" + options + b"x-other; a\npermessage-deflate; x, permessage-deflate"
        yield b"\x01" + options + b"permessage-deflate; server_max_window_bits=9; client_max_window_bits=9"
        yield (
            b"\x01" + options + b"permessage-deflate; server_no_context_takeover; client_no_context_takeover"
        )
        yield b"\x02" + options + options[::-1]


def uri() -> Iterator[bytes]:
    uris = [
        "ws://example.com/a/b?c=d",
        "wss://user:pa%20ss@[fe80::1%25eth0]:8443?x",
        "ws://bücher.example/straße",
        "ws://a:b@c",
        "ws://localhost:99999",
        "http://x",
        "ws://x/#f",
        "ws://xn--bcher-kva.example.",
        "WS://EXAMPLE.com:080",
    ]
    for each in uris:
        yield b"\x00" + each.encode()
        yield b"\x02\x01" + each.replace("ws", "http").encode()
    yield b"\x01\x0aexample.c/\x00\x00"
    yield b"\x01\x08[::1]:1/\x01\x02\x00"
    proxies = (
        "socks5h://user:password@proxy:1080",
        "proxy.example.com",
        "https://[::1]/",
        "x:y@z",
        "socks4://é:é@x",
    )
    for proxy in proxies:
        yield b"\x02\x00" + proxy.encode()
    for reference in ("//other/x", "../x?y#z", "https://x:1", "?q", "", "/./a/../b/.", "ws:a"):
        yield b"\x03\x00" + reference.encode()
    for lines in ("a,.example.com", "10.0.0.0/8 192.0.2.0/24", "[2001:db8::]/32\n\n\nhttp://p\nx", "\n\ns:1"):
        yield b"\x04\x01\x00" + lines.encode()
        yield b"\x04\x00\x01" + lines.encode()


def proxy() -> Iterator[bytes]:
    streams = [
        b"HTTP/1.1 200 Connection established\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nContent-Length: 10\r\n\r\n",
        b"HTTP/1.1 100 Continue\n\nHTTP/1.1 204 No Content\n\nrest",
        b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX: " + b"x" * 80 + b"\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"\x05\x00",
    ]
    for index, stream in enumerate(streams):
        yield bytes((index % 3, index % 2, 0, index)) + stream
        yield bytes((0, 0, 0, index)) + stream


def redirects() -> Iterator[bytes]:
    for base in range(len(BASES)):
        for limit, fixed in ((0, 0), (3, 0), (4, 1), (0, 4)):
            start = bytes((base, limit, fixed))
            yield (
                start
                + b"\x00/c/../d?e\n\x01wss://example.com/\n\x02https://other.example.com\n\x03//example.com/"
            )
            yield start + b"\x04ws://a:b@example.com/x\ty"
            yield start + b"\x00?q\n\x00ws://[2001:db8::1]/\n\x07"


def frames() -> Iterator[bytes]:
    for server in (False, True):
        key = KEY if server else b""
        parts = [
            build_frame(0x81, b"Hello", key),
            build_frame(0x82, bytes(200), key),
            build_frame(0x01, "aé".encode()[:2], key),
            build_frame(0x89, b"ping", key),
            build_frame(0x80, "é漢".encode()[1:], key),
            build_frame(0x8A, b"pong", key),
            build_frame(0x02, b"x", key) + build_frame(0x00, b"y" * 130, key) + build_frame(0x80, b"", key),
        ]
        ends = [
            build_frame(0x88, b"\x03\xe8bye", key),
            build_frame(0x88, b"", key),
            build_frame(0x88, b"\x03\xed", key),
            build_frame(0x88, b"\x03\xe8\xff", key),
            build_frame(0x81, b"a\xff", key),
            build_frame(0xC1, b"", key),
            build_frame(0x80, b"", key),
            build_frame(0x81, bytes(70_000), key)[:10],
            build_frame(0x82, b"x" * 1000, key)[:500],
        ]
        for index, end in enumerate(ends):
            for way in range(4):
                choices = bytes((server, index % len(FRAME_OPTIONS), way, 0, index))
                yield choices + b"".join(parts[: index + 1]) + end
                yield bytes((server, 0, way, 0, index)) + b"".join(parts) + end


def compressed(payload: bytes, bits: int = 15, flush: int = zlib.Z_SYNC_FLUSH) -> bytes:
    compressor = zlib.compressobj(wbits=-bits)
    return (compressor.compress(payload) + compressor.flush(flush)).removesuffix(b"\x00\x00\xff\xff")


def deflate() -> Iterator[bytes]:
    for payload in TEXTS:
        message = compressed(payload)
        final = compressed(payload, flush=zlib.Z_FINISH)
        for takeover, length in ((1, 0), (0, 2), (1, 1)):
            start = bytes((0, 7, takeover, length, 0, 9, 0))
            yield start + len(message).to_bytes(2, "big") + message + final
            yield start + len(final).to_bytes(2, "big") + final + message[:-1]
    yield bytes((0, 7, 1, 0, 0, 9, 3)) + compressed(bytes(200_000))
    source = random.Random(1)
    for bits in range(8):
        yield bytes((1, bits, bits + 1, bits, bits & 1, 1, bits % 3, 0, 0, bits)) + source.randbytes(120)


def conversation() -> Iterator[bytes]:
    def action(name: str) -> int:
        return ACTIONS.index(getattr(Conversation, name))

    source = random.Random(1)
    send, run = action("send"), action("run")
    for options in range(len(OPTIONS)):
        start = bytes((options, 0, options, 0, 0, 0, 1))
        plain = bytes((0, send, 0, 5)) + b"Hello\x00" + bytes((1, send, 3, 4, 0)) + b"ab\x01"
        yield start + plain + bytes((0, run, 1, 1, action("close"), 0, 3)) + b"bye" + bytes((0, run, 2))
        for name in (
            "send_fragment",
            "send_prepared",
            "broadcast",
            "ping",
            "take_pieces",
            "cut",
            "reset",
            "die",
        ):
            steps = (
                bytes((0, action(name), 0, 3)) + b"abc" + bytes((0, run, 0, 1, action(name), 0, 3)) + b"xyz"
            )
            yield start + plain + steps + bytes((0, run, 2))
        for _ in range(6):
            yield source.randbytes(source.choice((40, 120, 250)))


def halves() -> Iterator[bytes]:
    source = random.Random(2)
    for check in range(3):
        for _ in range(12):
            yield bytes((check,)) + source.randbytes(source.choice((30, 100, 300)))


def c_mask() -> Iterator[bytes]:
    for flags in range(8):
        for payload in TEXTS:
            yield KEY + bytes((flags * 5, 3 * flags)) + payload
    yield bytes(4) + b"\x02\x00" + bytes(300)


def c_utf8() -> Iterator[bytes]:
    for wide in range(2):
        for payload in TEXTS:
            for step in (0, 1, 64, 100):
                yield bytes((wide, step, 0)) + payload


def c_frame() -> Iterator[bytes]:
    for key in (b"", KEY):
        for length in (0, 125, 126, 65535, 65536):
            yield build_frame(0x82, bytes(length), key)[:16]
        mask_bit = 0x80 * bool(key)
        yield bytes((0x81, mask_bit | 126, 0, 125)) + key
        yield bytes((0x81, mask_bit | 127)) + b"\x80" + bytes(7) + key
        yield bytes((0x81, mask_bit | 127)) + bytes(6) + b"\xff\xff" + key


def make(target: str) -> dict[str, bytes]:
    """Return the seeds of a target, by the names of their files."""
    inputs = list(dict.fromkeys(globals()[target]()))
    return {f"seed-{index:03}": data for index, data in enumerate(inputs)}


def write() -> None:
    """Write the seeds of all targets."""
    for target in (*TARGETS, *NATIVE):
        folder = CORPUS / target
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for name, data in make(target).items():
            (folder / name).write_bytes(data)
