"""Fuzz: ``python -m fuzz run``; ``python -m fuzz reproduce TARGET FILE``; ``python -m fuzz seeds``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from fuzz import running, seeds
from fuzz.targets import TARGETS, load


def reproduce(target: str, files: list[Path]) -> int:
    """Play inputs, one after the other: an exception says what is wrong."""
    if target in running.NATIVE:
        return running.reproduce_native(target, files)
    for file in files:
        load(target)(file.read_bytes())
        print(f"{file}: nothing is wrong")
    return 0


def main() -> int:
    every = (*TARGETS, *running.NATIVE)
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="search for inputs that break a rule")
    run.add_argument("--seconds", type=float, default=600, help="in total, for all targets: %(default)s")
    run.add_argument("--log", type=Path, default=running.BUILD / "log.txt", help="default: %(default)s")
    run.add_argument("targets", nargs="*", metavar="TARGET", help=f"default: all of {', '.join(every)}")
    one = commands.add_parser("reproduce", help="play inputs once")
    one.add_argument("target", choices=every)
    one.add_argument("files", nargs="+", type=Path)
    commands.add_parser("seeds", help="write the corpus anew")
    arguments = parser.parse_args()
    if arguments.command == "seeds":
        seeds.write()
        return 0
    if arguments.command == "reproduce":
        return reproduce(arguments.target, arguments.files)
    unknown = set(arguments.targets) - set(every)
    if unknown:
        parser.error(f"no such target: {', '.join(sorted(unknown))}; there are {', '.join(every)}")
    return running.run(arguments.targets or every, arguments.seconds, arguments.log)


if __name__ == "__main__":
    sys.exit(main())
