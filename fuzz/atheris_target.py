"""One target in Python under atheris: ``python -m fuzz.atheris_target TARGET [options of libFuzzer]``."""

from __future__ import annotations

import sys

import atheris

# The copy of the core in pure Python is that of tests/halves.py.
INSTRUMENTED = ["wsproto_core", "pure_wsproto_core", "h11"]


def main() -> None:
    name = sys.argv.pop(1)
    with atheris.instrument_imports(include=INSTRUMENTED):
        from fuzz.targets import load

        target = load(name)
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
