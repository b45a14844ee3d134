"""The cases on permessage-deflate, with each adapter, as a server and as a client, with few messages each.

And: each of these ways to be wrong is found.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.adapters.runtimes import Runtime, make_runtime
from wsproto_core.extensions import permessage_deflate
from wsproto_core.extensions.permessage_deflate import (
    ClientPerMessageDeflateFactory,
    PerMessageDeflate,
    ServerPerMessageDeflateFactory,
)

from .deflate import shortened
from .deflate_cases import CASES, choose
from .running import each_runtime, try_client, try_server
from .verdicts import FAILED, OK, Verdict

MESSAGES, SIZE = 20, 2**15
"""Messages of a case at most, more than get a compressor each, and about as many bytes in all."""

SHORT = ("--messages", str(MESSAGES), "--bytes", str(SIZE))

DEFAULTS: dict[str, Any] = {"compression": "deflate"}

WIDE = {
    try_server: ServerPerMessageDeflateFactory(server_max_window_bits=15, client_max_window_bits=15),
    try_client: ClientPerMessageDeflateFactory(client_max_window_bits=15),
}
"""Factories with windows of 15 bits instead of the 12 that are the default."""


async def check(attempt: Any, runtime: Runtime, section: str, options: dict[str, Any]) -> None:
    verdicts = await attempt(runtime, "deflate", *SHORT, cases=[section], **options)
    assert list(verdicts) == [case.name for case in choose([section])]
    others = {name: verdict for name, verdict in verdicts.items() if verdict.outcome != OK or verdict.late}
    assert not others
    for name, verdict in verdicts.items():
        check_compressed(name, verdict)


def check_compressed(name: str, verdict: Verdict) -> None:
    """See that messages have come back compressed, but for those that would be longer."""
    case = CASES[name]
    if name.startswith("12.5."):
        assert verdict.compressed == 0
    elif case.size >= 256:
        assert verdict.compressed == shortened(case, MESSAGES, SIZE).count


def options(attempt: Any, section: str) -> dict[str, Any]:
    """By default, the library's own; with section 14, wide windows."""
    return {"extensions": [WIDE[attempt]]} if section == "14.*" else DEFAULTS


@pytest.mark.parametrize("section", ["12.*", "13.*", "14.*"])
@each_runtime
def test_server(name: str, section: str) -> None:
    runtime = make_runtime(name)
    runtime.run(check(try_server, runtime, section, options(try_server, section)))


@pytest.mark.parametrize("section", ["12.*", "13.*", "14.*"])
@each_runtime
def test_client(name: str, section: str) -> None:
    runtime = make_runtime(name)
    runtime.run(check(try_client, runtime, section, options(try_client, section)))


PIECE = 1000


async def echo_in_fragments(websocket: Any) -> None:
    async for message in websocket:
        await websocket.send([message[start : start + PIECE] for start in range(0, len(message), PIECE)])


@each_runtime
def test_server_sends_fragments(name: str) -> None:
    """Each with all data, with the window kept and reset, and with a small window."""
    cases = ["12.*.6", "12.*.11", "14.2.7", "14.3.7", "14.5.7"]
    runtime = make_runtime(name)

    async def run() -> None:
        verdicts = await try_server(
            runtime, "deflate", *SHORT, cases=cases, handler=echo_in_fragments, extensions=[WIDE[try_server]]
        )
        assert {(verdict.outcome, verdict.late) for verdict in verdicts.values()} == {(OK, ())}
        assert len(verdicts) == 13
        for case, verdict in verdicts.items():
            # A message in fragments is compressed whatever becomes of it.
            assert verdict.compressed == shortened(CASES[case], MESSAGES, SIZE).count

    runtime.run(run())


# Ways to be wrong

encode = PerMessageDeflate.encode
decode_whole = PerMessageDeflate.decode_whole


def keep_the_compressor(self: PerMessageDeflate, data: bytes, **options: Any) -> tuple[int, bytes]:
    """Compress with context takeover, whatever was agreed."""
    self.local_no_context_takeover = False
    return encode(self, data, **options)


def use_the_largest_window(self: PerMessageDeflate, data: bytes, **options: Any) -> tuple[int, bytes]:
    """Compress with 15 bits, whatever was agreed."""
    self.used_window_bits = 15
    return encode(self, data, **options)


def leave_out_rsv1(self: PerMessageDeflate, data: bytes, **options: Any) -> tuple[int, bytes]:
    """Send compressed messages as if they were not."""
    return 0, encode(self, data, **options)[1]


def mark_all_frames(self: PerMessageDeflate, data: bytes, **options: Any) -> tuple[int, bytes]:
    """Send messages that are not compressed as if they were."""
    return 0x40, encode(self, data, **options)[1]


def leave_the_tail(self: PerMessageDeflate, data: bytes, **options: Any) -> tuple[int, bytes]:
    """Send a final block, whose end is not that of a message."""
    bits, output = encode(self, data, **options)
    return (bits, output + permessage_deflate.EMPTY_FINAL_BLOCK) if bits else (bits, output)


def forget_the_history(self: PerMessageDeflate, *arguments: Any) -> Any:
    """Decompress each message on its own, whatever was agreed."""
    self._history = b""
    return decode_whole(self, *arguments)


def use_the_smallest_window(self: PerMessageDeflate, *arguments: Any) -> Any:
    """Decompress with 9 bits, whatever was agreed."""
    self.remote_max_window_bits = 9
    return decode_whole(self, *arguments)


MISTAKES = [
    # a method, what takes its place, a case that finds it
    ("encode", keep_the_compressor, "14.2.6"),
    ("encode", use_the_largest_window, "14.3.6"),
    ("encode", leave_out_rsv1, "12.1.4"),
    ("encode", mark_all_frames, "12.5.4"),
    ("encode", leave_the_tail, "12.1.4"),
    ("decode_whole", forget_the_history, "14.1.4"),
    ("decode_whole", use_the_smallest_window, "14.1.6"),
]


@pytest.mark.parametrize("attempt", [try_server, try_client])
@pytest.mark.parametrize(("method", "mistake", "case"), MISTAKES)
def test_a_mistake_is_found(
    attempt: Any, method: str, mistake: Any, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The case is OK, and fails with the mistake."""

    async def run(outcome: str) -> None:
        extensions = {"extensions": [WIDE[attempt]]}
        verdicts = await attempt(runtime, "deflate", *SHORT, cases=[case], **extensions)
        assert {name: verdict.outcome for name, verdict in verdicts.items()} == {case: outcome}

    runtime = make_runtime("asyncio")
    runtime.run(run(OK))
    monkeypatch.setattr(PerMessageDeflate, method, mistake)
    runtime.run(run(FAILED))
