"""Plays a case against a process, and says whether it was right."""

from __future__ import annotations

import socket
from typing import Any

from .cases import Case
from .driver import Observed, attack_client, attack_server
from .targets import Target

DEADLINE = 40.0
"""Seconds for a case on a busy machine. None of them takes that long, unless something is wrong."""

QUIET = {"ping_interval": None, "compression": None, "close_timeout": 2.0}
"""Options of what is attacked: no keepalive, no compression, and little patience with who has gone."""


def check(fault: str, case: Case, growth: int) -> None:
    assert not fault, f"{case.name}: {fault}"
    if case.memory is not None:
        assert growth <= case.memory, f"{case.name}: the process has grown by {growth} bytes"


def play_on_server(target: Target, case: Case, bytewise: bool = False) -> Observed:
    """Play a case against a server; it must serve on, and forget the connection."""
    port = target.port({**QUIET, **case.options})
    target.memory.start()
    observed = attack_server(case, port, deadline=DEADLINE, bytewise=bytewise)
    target.wait_until_idle(port)
    check(case.expect.fault(observed), case, target.memory.growth())
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
        check("", case, target.memory.growth())
    else:
        check(case.expect.fault(observed), case, target.memory.growth())
    return ended


def is_for(case: Case, side: str) -> bool:
    """Whether a case attacks that side."""
    return side in case.sides
