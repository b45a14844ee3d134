"""A client of the file server, on threads, which shows its progress.

Usage: python examples/files/client.py put FILE [URI]
       python examples/files/client.py get NAME FILE [URI]
"""

from __future__ import annotations

import hashlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from adapters.threading import ClientConnection, ConnectionClosed, connect

BLOCK = 65536  # bytes
URI = "ws://localhost:8765"


class Progress:
    """Writes how much of a file has been transferred: on a terminal often, elsewhere each quarter."""

    def __init__(self, name: str, size: int) -> None:
        self.name = name
        self.size = size
        self.done = 0
        self._start = time.monotonic()
        self._shown = -1

    def add(self, count: int) -> None:
        self.done += count
        percent = 100 * self.done // max(self.size, 1)
        step = percent if sys.stderr.isatty() else percent // 25
        if step == self._shown:
            return
        self._shown = step
        rate = self.done / 2**20 / max(time.monotonic() - self._start, 1e-3)
        end = "\r" if sys.stderr.isatty() and self.done < self.size else "\n"
        line = f"{self.name}: {percent} %, {self.done} of {self.size} bytes, {rate:.1f} MiB/s"
        print(line, end=end, file=sys.stderr, flush=True)


def put(websocket: ClientConnection, path: Path) -> str:
    """Send a file; return the SHA-256 of what the server has stored."""
    digest = hashlib.sha256()
    progress = Progress(path.name, path.stat().st_size)

    def blocks() -> Iterator[bytes]:
        yield b""  # so that an empty file is a message, too
        with path.open("rb") as file:
            while block := file.read(BLOCK):
                digest.update(block)
                yield block
                progress.add(len(block))

    websocket.send(blocks())
    websocket.send(digest.hexdigest())
    return websocket.recv(decode=True)


def get(websocket: ClientConnection, name: str, path: Path) -> str:
    """Receive a file; return its SHA-256. Until it is complete and checked, it has another name."""
    digest = hashlib.sha256()
    progress = Progress(name, int(websocket.recv(decode=True)))
    partial = path.with_name(path.name + ".part")
    with partial.open("wb") as file:
        for piece in websocket.recv_streaming(decode=False):
            digest.update(piece)
            file.write(piece)
            if piece:
                progress.add(len(piece))
    if websocket.recv(decode=True) != digest.hexdigest():
        raise ValueError(f"{partial} was damaged on the way")
    os.replace(partial, path)
    return digest.hexdigest()


def main(arguments: list[str]) -> None:
    match arguments:
        case ["put", file, *rest] if len(rest) <= 1:
            name = Path(file).name
        case ["get", name, file, *rest] if len(rest) <= 1:
            pass
        case _:
            sys.exit(__doc__)
    action, path = arguments[0], Path(file)
    base = rest[0].rstrip("/") if rest else URI
    try:
        with connect(f"{base}/{action}/{quote(name)}", max_size=None, compression=None) as websocket:
            digest = put(websocket, path) if action == "put" else get(websocket, name, path)
    except (ConnectionClosed, OSError, ValueError) as error:
        sys.exit(f"{name}: {error}")
    print(digest)


if __name__ == "__main__":
    main(sys.argv[1:])
