"""Print the CPythons of this machine that the tests can run on, one a version.

A line has the version and the interpreter's path, like ``3.12 /usr/bin/python3.12``. The
interpreter that runs this script stands for its own version.

Interpreters are detected by running them: the shims of pyenv exist for versions that are not
selected, and fail.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

MINOR_VERSIONS = range(11, 17)

# Not taken: other implementations, prereleases and free-threaded builds, for which the tools and
# the peers of the tests often have no wheels; and interpreters that cannot make an environment.
PROBE = """
import importlib.util, sys
fit = (
    sys.implementation.name == "cpython"
    and sys.version_info >= (3, 11)
    and sys.version_info.releaselevel == "final"
    and "t" not in getattr(sys, "abiflags", "")
    and importlib.util.find_spec("venv")
    and (importlib.util.find_spec("ensurepip") or importlib.util.find_spec("pip"))
)
if fit:
    print("%d.%d" % sys.version_info[:2], sys.executable)
"""


def candidates() -> Iterator[Path]:
    yield Path(sys.executable)
    for directory in os.get_exec_path():
        for minor in MINOR_VERSIONS:
            yield Path(directory, f"python3.{minor}")
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    yield from sorted(pyenv.glob("versions/*/bin/python"))


def probe(interpreter: Path) -> tuple[str, str] | None:
    """Version and path of an interpreter, or None if it does not run or does not fit."""
    if not interpreter.is_file():
        return None
    try:
        result = subprocess.run(
            [interpreter, "-c", PROBE], capture_output=True, text=True, timeout=30, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    version, _, path = result.stdout.strip().partition(" ")
    return (version, path) if path else None


def main() -> None:
    found: dict[str, str] = {}
    for interpreter in candidates():
        if (fitting := probe(interpreter)) is not None:
            version, path = fitting
            found.setdefault(version, path)
    for version in sorted(found, key=lambda version: tuple(map(int, version.split(".")))):
        print(version, found[version])


if __name__ == "__main__":
    main()
