"""Plays a case against a process, and says whether it was right."""

from __future__ import annotations

import socket
from typing import Any

from tests.core.helpers import CLOSE

from .cases import Case
from .driver import Observed, attack_client, attack_server
from .targets import Target

DEADLINE = 40.0
"""Seconds for a case on a busy machine. None of them takes that long, unless something is wrong."""

QUIET = {"ping_interval": None, "compression": None, "close_timeout": 2.0}
"""Options of what is attacked: no keepalive, no compression, and little patience with who has gone."""


def check(observed: Observed, case: Case, growth: int) -> None:
    fault = case.expect.fault(observed)
    assert not fault, f"{case.name}: {fault}"
    if case.expect.says_why:
        assert len(next(each.payload for each in observed.frames if each.opcode == CLOSE)) > 2
    if case.expect.closed and observed.status is not None and observed.status >= 400:
        check_refusal(observed)
    check_memory(case, growth)


def check_memory(case: Case, growth: int) -> None:
    if case.memory is not None:
        assert growth <= case.memory, f"{case.name}: the process has grown by {growth} bytes"


def check_refusal(observed: Observed) -> None:
    """Check that a response is complete, and says what the client can do."""
    headers = observed.headers
    assert headers["connection"].endswith("close")
    assert int(headers["content-length"]) == len(observed.body)
    if observed.status == 426:
        assert (headers["sec-websocket-version"], headers["upgrade"]) == ("13", "websocket")
    if observed.status == 405:
        assert headers["allow"] == "GET, HEAD"


def play_on_server(target: Target, case: Case, bytewise: bool = False) -> Observed:
    """Play a case against a server; it must serve on, and forget the connection."""
    port = target.port({**QUIET, **case.options})
    target.memory.start()
    observed = attack_server(case, port, deadline=DEADLINE, bytewise=bytewise)
    target.wait_until_idle(port)
    check(observed, case, target.memory.growth())
    return observed


def play_on_client(
    target: Target, case: Case, listener: socket.socket, uri: str, bytewise: bool = False
) -> dict[str, Any]:
    """Play a case against a client; return how its connection has ended."""
    target.memory.start()
    target.start_command("connect", uri=uri, options={**QUIET, **case.options})
    observed = attack_client(case, listener, deadline=DEADLINE, bytewise=bytewise)
    ended: dict[str, Any] = target.answer()
    if case.expect.errors:
        assert case.expect.errors.intersection(ended["error"]), f"{case.name}: {ended}"
        check_memory(case, target.memory.growth())
    else:
        check(observed, case, target.memory.growth())
    return ended


def is_for(case: Case, side: str) -> bool:
    """Whether a case attacks that side."""
    return side in case.sides
