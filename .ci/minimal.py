"""Print the oldest versions that are allowed of everything that the package and its tests need, for pip.

A line is a constraint, like ``h11==0.16``. They are the lower limits of pyproject.toml, its extras and what
builds it included, and of tests/requirements.txt. What these need themselves is not limited.

Ends with an error if a package has no lower limit, or another one in each of the two files.

    python .ci/minimal.py [DIRECTORY]
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

REQUIREMENT = re.compile(r"(?P<name>[\w.-]+) *(?:\[[\w, -]+\])? *(?P<limits>[^;]*)(?:;(?P<marker>.*))?")
LOWER = re.compile(r"(?:==|~=|>=) *([\w.]+)")


def requirements(root: Path) -> Iterator[tuple[str, str]]:
    """Each requirement with the file that has it."""
    with (root / "pyproject.toml").open("rb") as file:
        settings = tomllib.load(file)
    project = settings["project"]
    lists = [settings["build-system"]["requires"], project["dependencies"]]
    for requires in [*lists, *project["optional-dependencies"].values()]:
        for line in requires:
            # An extra may name other extras of this package.
            if not line.startswith(f"{project['name']}["):
                yield "pyproject.toml", line
    for line in (root / "tests" / "requirements.txt").read_text(encoding="utf-8").splitlines():
        line = line.partition("#")[0].strip()
        if line:
            yield "tests/requirements.txt", line


def minimal(root: Path) -> list[str]:
    """Return the constraints.

    Raises:
        ValueError: a package has no lower limit, or several.
    """
    found: dict[str, tuple[str, str, str]] = {}
    for file, line in requirements(root):
        match = REQUIREMENT.fullmatch(line)
        lower = LOWER.search(match["limits"]) if match else None
        if match is None or lower is None:
            raise ValueError(f"{file}: {line} has no lower limit")
        name, version = match["name"].lower().replace("_", "-"), lower[1]
        marker = f"; {match['marker'].strip()}" if match["marker"] else ""
        other, other_file, _ = found.setdefault(name, (version, file, marker))
        if other != version:
            raise ValueError(f"{name} is at least {other} in {other_file}, and {version} in {file}")
    return [f"{name}=={version}{marker}" for name, (version, _, marker) in sorted(found.items())]


def main(root: Path) -> None:
    try:
        print("\n".join(minimal(root)))
    except ValueError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main(Path(*sys.argv[1:]) if sys.argv[1:] else Path(__file__).parent.parent)
