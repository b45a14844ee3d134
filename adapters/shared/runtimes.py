"""Which runtime runs the caller, for an error that says so when it is the wrong one."""

from __future__ import annotations

import sys
from typing import Any

__all__ = ["check_running"]


def check_running(adapter: str, *needed: str) -> None:
    """Refuse a runtime that an adapter is not for, which would fail somewhere within it.

    Args:
        adapter: the adapter's module.
        needed: the runtimes that it is for: ``"asyncio"`` or ``"trio"``.

    Raises:
        RuntimeError: another one runs the caller, or none does.
    """
    running = _running()
    if running in needed:
        return
    needs = f"{adapter} needs {' or '.join(needed)}"
    if running is None:
        raise RuntimeError(f"{needs}, and neither asyncio nor trio runs this code")
    raise RuntimeError(f"{needs}, but {running} runs this code: use adapters.{running} or adapters.anyio")


def _running() -> str | None:
    # One that has not been imported does not run. Each may be the host of the other one's event loop; so
    # it is the task that tells.
    asyncio: Any = sys.modules.get("asyncio")
    if asyncio is not None and asyncio._get_running_loop() is not None and asyncio.current_task() is not None:
        return "asyncio"
    trio: Any = sys.modules.get("trio")
    if trio is not None and trio.lowlevel.in_trio_task():
        return "trio"
    return None
