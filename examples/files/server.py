"""A file server on threads: files are sent and received in pieces, and checked.

Usage: python examples/files/server.py DIRECTORY [PORT]

The request's path says what to do with which file: ``/put/NAME`` or ``/get/NAME``. The sender sends the
content as one binary message, however long it is, and then its SHA-256 as a text message. The receiver of a
``put`` answers with the SHA-256 of what it has stored.
"""

from __future__ import annotations

import hashlib
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from urllib.parse import unquote

from adapters.threading import CloseCode, ServerConnection, serve

BLOCK = 65536  # bytes
LARGEST_FILE = 10 * 2**30  # bytes


class Refused(Exception):
    """The server does not do what the client asks for."""


def receive_digest(websocket: ServerConnection) -> str:
    """Receive the SHA-256 of a file. There is no ``max_size`` here, so the length is checked."""
    digest = ""
    for piece in websocket.recv_streaming(decode=True):
        digest += piece
        if len(digest) > 64:
            raise Refused("a SHA-256 is 64 hexadecimal digits")
    return digest


def put(websocket: ServerConnection, path: Path) -> None:
    """Store a file that the client sends. Until it is complete and checked, it has another name."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".upload-", delete=False) as file:
        try:
            digest = hashlib.sha256()
            for piece in websocket.recv_streaming(decode=False):
                digest.update(piece)
                if file.tell() + len(piece) > LARGEST_FILE:
                    raise Refused("the file is too large")
                file.write(piece)
            if receive_digest(websocket) != digest.hexdigest():
                raise Refused("the file was damaged on the way")
            file.close()
            os.replace(file.name, path)
        except BaseException:
            os.unlink(file.name)
            raise
    websocket.send(digest.hexdigest())


def get(websocket: ServerConnection, path: Path) -> None:
    """Send a file. The next block is read when there is room for it in the send queue."""
    digest = hashlib.sha256()

    def blocks() -> Iterator[bytes]:
        yield b""  # so that an empty file is a message, too
        while block := file.read(BLOCK):
            digest.update(block)
            yield block

    try:
        file = path.open("rb")
    except OSError:
        raise Refused("there is no such file") from None
    with file:
        websocket.send(str(path.stat().st_size))
        websocket.send(blocks())
    websocket.send(digest.hexdigest())


def main(directory: Path, port: int) -> None:
    def handle(websocket: ServerConnection) -> None:
        _, action, name = (unquote(websocket.path).split("/", 2) + [""] * 2)[:3]
        try:
            # A name that is a path would lead out of the directory.
            if not name or name.startswith(".") or "/" in name or "\\" in name or "\0" in name:
                raise Refused("this name is not allowed")
            if action not in ("put", "get"):
                raise Refused("the path must be /put/NAME or /get/NAME")
            (put if action == "put" else get)(websocket, directory / name)
            print(f"{action} {name!r}", flush=True)
        except Refused as error:
            # The client has chosen both: they may have characters that a terminal would obey.
            print(f"{action!r} {name!r}: {error}", flush=True)
            websocket.close(CloseCode.POLICY_VIOLATION, str(error))

    def stop(number: int, frame: FrameType | None) -> None:
        server.close()

    with serve(
        handle,
        "localhost",
        port,
        origins=[None],  # no pages: a browser would let any page send files here
        max_size=None,  # messages are received in pieces, whose sizes `read_limit` limits
        compression=None,  # most large files are compressed already
    ) as server:
        signal.signal(signal.SIGINT, stop)
        signal.signal(signal.SIGTERM, stop)
        print(f"Files of {directory} at ws://localhost:{port}/. Ctrl-C stops the server.", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 8765)
