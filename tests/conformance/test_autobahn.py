"""All of Autobahn's cases that the runner has, with each adapter, as a server and as a client."""

from __future__ import annotations

from typing import Any

import pytest

from tests.adapters.runtimes import Runtime, make_runtime

from .running import each_runtime, try_client, try_server
from .verdicts import INFORMATIONAL, OK, is_late

pytest.importorskip("kosoku", reason="the package kosoku is not installed")

COUNT = 301
"""Cases in sections 1 to 7, 9 and 10."""

INFORMATIONAL_CASES = {"7.1.6", "7.13.1", "7.13.2"}
"""Cases in which everything is right. In all others one thing is."""

ATTEMPTS = 3
"""How often a case is run that ends by a deadline of the runner itself: a busy machine may be too slow."""

AT_ONCE = 8
"""How many cases a client of ours runs at the same time: in some of them the runner waits for a second."""


async def check(attempt: Any, runtime: Runtime, **options: Any) -> None:
    verdicts = await attempt(runtime, "autobahn", cases=[], **options)
    assert len(verdicts) == COUNT
    for _ in range(ATTEMPTS - 1):
        late = [case for case, verdict in verdicts.items() if is_late(case, verdict)]
        if late:
            verdicts |= await attempt(runtime, "autobahn", cases=late, **options)
    others = {case: verdict for case, verdict in verdicts.items() if verdict.outcome != OK}
    assert others.keys() == INFORMATIONAL_CASES, others
    for verdict in others.values():
        assert (verdict.behavior, verdict.closing, verdict.late) == (INFORMATIONAL, INFORMATIONAL, ())


@each_runtime
def test_server(name: str) -> None:
    runtime = make_runtime(name)
    runtime.run(check(try_server, runtime))


@each_runtime
def test_client(name: str) -> None:
    runtime = make_runtime(name)
    runtime.run(check(try_client, runtime, at_once=AT_ONCE))
