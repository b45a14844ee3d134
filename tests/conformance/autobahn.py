"""Run Autobahn's cases against a peer; print the verdicts as JSON.

    python -m tests.conformance.autobahn client URI [CASE ...]
    python -m tests.conformance.autobahn server [CASE ...]

The first is a client for the server at the URI. The second is a server, prints its URI in the first
line, and ends when a client has asked for ``/updateReports``.

The runner is ``kosoku``. It has a process of its own, since it changes what the interpreter has: it puts
a module called ``case`` and a package called ``autobahn`` on the path, and replaces a function of
``binascii``.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from kosoku import FailureError, run_fuzzingclient, run_fuzzingserver

from .verdicts import INFORMATIONAL, OK, Verdict, dump

SECTIONS = tuple(f"{section}.*" for section in (1, 2, 3, 4, 5, 6, 7, 9, 10))
"""Autobahn has no section 8 and no section 11; 12 and 13 do not run in this version of the runner, and are
in :mod:`.deflate`."""

CONCURRENCY = 8
"""Cases at the same time: some of them wait for a second."""

PATIENCE = 10
"""By how much the deadlines of the cases are multiplied.

They are seconds, made for machines that do nothing else. None of them passes when the peer is right.
"""


class Patient:
    """The connection as a case sees it, with longer deadlines."""

    def __init__(self, connection: Any) -> None:
        object.__setattr__(self, "_connection", connection)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._connection, name, value)

    # The names are the cases'.

    def killAfter(self, seconds: float) -> None:
        self._connection.killAfter(seconds * PATIENCE)

    def closeAfter(self, seconds: float) -> None:
        self._connection.closeAfter(seconds * PATIENCE)

    def continueLater(self, seconds: float, function: Callable[[], object], tag: str | None = None) -> None:
        # Section 6.4 waits twice: "A" passes in any case, "B" if the peer has not closed meanwhile.
        factor = PATIENCE if tag == "B" else 1
        self._connection.continueLater(seconds * factor, function, tag)


def be_patient() -> None:
    """Let all cases have longer deadlines."""
    # What makes the next import possible.
    import kosoku.cases  # noqa: F401
    from case import Case

    initialize = Case.__init__

    def initialize_with_patience(case: Any, connection: Any) -> None:
        initialize(case, Patient(connection))

    Case.__init__ = initialize_with_patience


def verdict(result: Any) -> Verdict:
    late = tuple(
        name
        for name in (
            "was_open_handshake_timeout",
            "was_close_handshake_timeout",
            "was_server_connection_drop_timeout",
        )
        if getattr(result, name)
    )
    behavior, closing = result.behavior.value, result.behavior_close.value
    return Verdict(behavior, closing, late, reason(result))


def reason(result: Any) -> str:
    """What the runner says, and how the peer has closed."""
    told = result.result_close if result.behavior.value in (OK, INFORMATIONAL) else result.result
    code, text = result.remote_close_code, result.remote_close_reason
    closing = (
        "there was no close code" if code is None else f"the close code was {code}, {text or 'no reason'}"
    )
    return f"{told.rstrip('.')}; {closing}"


async def run_client(uri: str, cases: Sequence[str]) -> list[Any]:
    return await run_fuzzingclient(uri, cases, concurrency=CONCURRENCY)


async def run_server(cases: Sequence[str]) -> list[Any]:
    async with run_fuzzingserver(cases, port=0) as server:
        print(f"ws://{server.address}:{server.port}", flush=True)
        return await server.get_result()


def main(side: str, *arguments: str) -> None:
    be_patient()
    if side == "client":
        uri, *cases = arguments
        running = run_client(uri, cases or SECTIONS)
    else:
        running = run_server(arguments or SECTIONS)
    try:
        results = asyncio.run(running)
    except FailureError as error:
        results = list(error.results)
    print(dump({result.case_id: verdict(result) for result in results}), flush=True)
    # The runner's threads outlive it and may abort a process that ends in the ordinary way.
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
