"""Commands on a pseudo-terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .commands import AMPLE, environment, program

__all__ = ["Terminal", "on_terminal"]

SEQUENCES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07]*\x07|\x1b[=>78]")
"""Control sequences with which the prompt and colours are drawn."""


class Terminal:
    """The end of a pseudo-terminal where somebody types and looks.

    Attributes:
        raw: all bytes that were written to the terminal.
    """

    def __init__(self, master: int, process: subprocess.Popen[bytes]) -> None:
        self.raw = b""
        self.process = process
        self._master = master
        self._seen = 0

    @property
    def text(self) -> str:
        """What was written, without control sequences."""
        return SEQUENCES.sub("", self.raw.decode(errors="replace")).replace("\r", "")

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def expect(self, text: str) -> str:
        """Wait until a text is written, behind what was expected before; return what was before it."""
        deadline = time.monotonic() + AMPLE
        while (found := self.text.find(text, self._seen)) < 0:
            assert self._read(deadline), f"{text!r} is not in {self.text!r}"
        before = self.text[self._seen : found]
        self._seen = found + len(text)
        return before

    def end(self) -> int:
        """Wait for the end of the process; return its exit status."""
        while self._read(time.monotonic() + AMPLE):
            pass
        return self.process.wait(AMPLE)

    def _read(self, deadline: float) -> bool:
        if not select.select([self._master], [], [], max(0, deadline - time.monotonic()))[0]:
            return False
        try:
            data = os.read(self._master, 65536)
        except OSError:
            # On Linux, this is the end: nobody has the other side open.
            return False
        self.raw += data
        return bool(data)


@contextmanager
def on_terminal(home: Path, *arguments: str, **options: Any) -> Iterator[Terminal]:
    """Run a command on a terminal.

    Args:
        home: where it keeps its history.
        arguments: of the command.
        options: of :class:`subprocess.Popen`, in the place of the terminal, or others.
    """
    master, slave = pty.openpty()
    # Wide, so that no line is broken.
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 300, 0, 0))
    variables = environment(TERM="xterm", PROMPT_TOOLKIT_NO_CPR="1", XDG_STATE_HOME=str(home))
    settings = {"stdin": slave, "stdout": slave, "stderr": slave, "env": variables, **options}
    process = subprocess.Popen([*program(), *arguments], start_new_session=True, **settings)
    os.close(slave)
    try:
        yield Terminal(master, process)
    finally:
        process.kill()
        with process:
            os.close(master)
