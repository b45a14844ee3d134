"""Builds the load tools, which are written in C."""

from __future__ import annotations

import fcntl
import shutil
import subprocess

from .processes import BENCH

LOAD = BENCH / "load"


class BuildError(Exception):
    """The load tools cannot be built here."""


def build() -> None:
    """Build what is not up to date.

    Raises:
        BuildError: there is no compiler, or it has failed.
    """
    for program in ("make", "cc"):
        if shutil.which(program) is None:
            raise BuildError(f"the load tools need {program}")
    # Several processes may build at the same time.
    with (LOAD / "Makefile").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = subprocess.run(["make", "-C", str(LOAD)], capture_output=True, text=True)
    if done.returncode:
        raise BuildError(f"the load tools cannot be built: {done.stderr}")
