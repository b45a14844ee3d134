"""Faults that are planted in the library, or in its C files: each target finds its own in the corpus."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import wsproto_core.messages
from fuzz import running
from fuzz.running import NATIVE, ROOT
from fuzz.targets import TARGETS, load
from tests.halves import HALVES
from wsproto_core import exceptions
from wsproto_core.connect import redirects
from wsproto_core.events import Fragment
from wsproto_core.extensions import permessage_deflate
from wsproto_core.frames import check_first_bytes
from wsproto_core.handshake import answers, client
from wsproto_core.http import grammar, messages, reading, uri
from wsproto_core.inbox import Inbox
from wsproto_core.outbox import Outbox
from wsproto_core.pongs import Pongs

from .test_targets import files

take_fragment = Inbox._take_fragment

Plant = Callable[[pytest.MonkeyPatch], None]


def replace(owner: object, name: str, value: object) -> Plant:
    """Plant a fault by another attribute."""
    return lambda patch: patch.setattr(owner, name, value)


def answer_wrongly(outbox: Any, payload: bytes, received: int) -> None:
    """Send a pong with another payload than the ping's."""
    outbox._pongs = outbox._pongs or Pongs()
    outbox._pongs.answer(payload + b"!", received, blocked=False)


def overtake(outbox: Any, message: Any, text: Any, fin: bool, compress: Any) -> None:
    """Send a message before those that were sent earlier."""
    buffers = outbox.writer.message(message, text=text, fin=fin, compress=compress)
    outbox._buffers[:0] = buffers
    outbox.queued += sum(map(len, buffers))


def changed(patch: pytest.MonkeyPatch) -> None:
    """Other events of one half."""
    # A method, because a module that is first imported meanwhile would keep a function.
    patch.setattr(HALVES[1].module("inbox").Inbox, "notify", do_nothing)


def begin_after_the_end(inbox: Any) -> Fragment | None:
    """Take a piece of a message that will not go on as if it did."""
    fragment = take_fragment(inbox)
    if fragment is not None:
        inbox._streaming = not fragment.final
    return fragment


def accept_bits(first: int, second: int, *, masked: bool, reserved_bits: int) -> None:
    """Accept any reserved bits in the first byte of a frame."""
    check_first_bytes(first & 0x8F, second, masked=masked, reserved_bits=reserved_bits)


def do_nothing(*arguments: object) -> None:
    """Stand for a check, or for a step, that was forgotten."""


PLANTS: list[tuple[str, Plant]] = [
    ("request", replace(answers, "check_no_body", do_nothing)),
    ("request", replace(reading.RequestReader, "_check_controls", do_nothing)),
    ("response", replace(client, "check_response", do_nothing)),
    ("headers", replace(grammar, "_PLAIN_HOST", re.compile("([^:]+)(?::([0-9]+))?"))),
    ("heads", replace(messages, "_CONTROL_IN_TEXT", re.compile("\0"))),
    ("negotiation", replace(permessage_deflate, "MAX_BITS", 14)),
    ("uri", replace(exceptions, "hide_user_info", str)),
    ("uri", replace(uri, "quote", lambda text, safe: text)),
    ("proxy", replace(reading.ResponseReader, "trailing_data", b"")),
    ("redirects", replace(redirects, "_FOR_ONE_ORIGIN", ("cookie",))),
    ("redirects", replace(redirects, "same_origin", lambda one, other: True)),
    ("frames", replace(Outbox, "answer_ping", answer_wrongly)),
    ("frames", replace(wsproto_core.messages, "check_first_bytes", accept_bits)),
    ("deflate", replace(permessage_deflate, "EMPTY_FINAL_BLOCK", b"")),
    ("deflate", replace(permessage_deflate, "TAIL", b"\0\0\xff")),
    ("conversation", replace(Outbox, "add_message", overtake)),
    ("conversation", replace(Outbox, "drop_all", do_nothing)),
    ("conversation", replace(Inbox, "_take_fragment", begin_after_the_end)),
    ("halves", changed),
]


@pytest.mark.parametrize(("target", "plant"), PLANTS)
def test_planted_faults_are_found(target: str, plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    fuzz = load(target)
    plant(monkeypatch)
    found = 0
    for file in files(target):
        try:
            fuzz(file.read_bytes())
        except Exception:
            found += 1
    assert found > 0


@pytest.mark.parametrize(
    ("target", "old", "new"),
    [
        ("c_mask", "half ^= key", "half ^= key ^ 1"),
        ("c_utf8", "state->low = 0xA0", "state->low = 0x80"),
        ("c_frame", "65536 : 126", "65535 : 126"),
    ],
)
def test_planted_faults_in_c_are_found(
    target: str, old: str, new: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = f"wsproto_core/_speedups/{target.removeprefix('c_')}.c"
    for folder in ("fuzz/native", "wsproto_core/_speedups"):
        (tmp_path / folder).mkdir(parents=True)
        for file in (ROOT / folder).glob("*.[ch]"):
            (tmp_path / folder / file.name).write_bytes(file.read_bytes())
    honest = (tmp_path / source).read_text()
    assert old in honest
    (tmp_path / source).write_text(honest.replace(old, new))
    monkeypatch.setattr(running, "ROOT", tmp_path)
    program = running.build_native(target, tmp_path / "bin", fuzzer=False)
    result = subprocess.run([program, "2000", *files(target)], capture_output=True)
    assert result.returncode != 0


def test_each_target_has_a_planted_fault() -> None:
    assert {target for target, _ in PLANTS} == set(TARGETS)
    assert len(NATIVE) == 3
