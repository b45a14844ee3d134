"""Detection of the runtime that runs the caller, for the error of a wrong one."""

from __future__ import annotations

import sys
from typing import Any

__all__ = ["check_running", "running_runtime"]


def check_running(adapter: str, *needed: str) -> None:
    """Check that an adapter runs on its own runtime.

    Args:
        adapter: the adapter's module.
        needed: the runtimes of the adapter: ``"asyncio"`` or ``"trio"``.

    Raises:
        RuntimeError: another runtime runs the caller, or none.
    """
    running = running_runtime()
    if running in needed:
        return
    needs = f"{adapter} needs {' or '.join(needed)}"
    if running is None:
        raise RuntimeError(f"{needs}, and neither asyncio nor trio runs this code")
    name = adapter.rpartition(".")[0]
    raise RuntimeError(f"{needs}, but {running} runs this code: use {name}.{running} or {name}.anyio")


def running_runtime() -> str | None:
    """Return the runtime that runs the caller: ``"asyncio"``, ``"trio"`` or ``None``."""
    # A runtime that has not been imported does not run. trio may run within asyncio's event loop or the other
    # way round, so the current task decides.
    asyncio: Any = sys.modules.get("asyncio")
    if asyncio is not None and asyncio._get_running_loop() is not None and asyncio.current_task() is not None:
        return "asyncio"
    trio: Any = sys.modules.get("trio")
    if trio is not None and trio.lowlevel.in_trio_task():
        return "trio"
    return None
