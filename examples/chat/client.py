"""A chat client for the terminal, on threads: one prints what is said, the other one reads the keyboard.

Usage: python examples/chat/client.py NAME [URI]
"""

from __future__ import annotations

import json
import sys
import threading
import time

from adapters.threading import ClientConnection, ConnectionClosed, connect


def read_keyboard(websocket: ClientConnection) -> None:
    """Send each line of standard input; close the connection at its end (Ctrl-D)."""
    # Not `sys.stdin`: when the server closes, the program ends although this thread still waits for a line,
    # and a lock that Python needs for its end must not be held then.
    with open(0, encoding="utf-8", closefd=False) as lines:
        try:
            for line in lines:
                if text := line.strip():
                    websocket.send(text)
        except ConnectionClosed:
            return  # the other thread says why
    websocket.close()


def show(message: str) -> None:
    fields = json.loads(message)
    clock = time.strftime("%H:%M", time.localtime(fields["time"]))
    who = f"{fields['name']}: " if fields["name"] else "* "
    # Control characters of other people would be commands to the terminal.
    text = "".join(character if character.isprintable() else "?" for character in fields["text"])
    print(f"{clock} {who}{text}", flush=True)


def main(name: str, uri: str) -> int:
    with connect(uri) as websocket:
        websocket.send(name)
        threading.Thread(target=read_keyboard, args=[websocket], daemon=True).start()
        try:
            for message in websocket:
                show(str(message))
        except ConnectionClosed as error:
            print(f"The connection has ended: {error}", file=sys.stderr)
            return 1
        if websocket.close_code == 1001:
            print("The server has shut down.", file=sys.stderr)
    return 0


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "ws://localhost:8765/"))
