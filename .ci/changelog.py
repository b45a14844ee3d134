"""Move the fragments of changelog.d/ into the section "Unreleased" of CHANGELOG.md, and remove their files.

    python .ci/changelog.py
    python .ci/changelog.py --release 0.2.0 2027-01-31

The second command also names the section after a version. changelog.d/README.md says what a fragment is.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

KINDS = ("Added", "Changed", "Deprecated", "Removed", "Fixed", "Security")
"""The subsections, in their order in a section."""

UNRELEASED = "## Unreleased\n"

FRAGMENT = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*\.(?P<kind>[a-z]+)\.md")


def read_fragment(path: Path) -> tuple[str, str]:
    """Return the kind of a fragment and its text.

    Raises:
        ValueError: it is no fragment.
    """
    name = FRAGMENT.fullmatch(path.name)
    kind = name["kind"].capitalize() if name else ""
    if kind not in KINDS:
        kinds = ", ".join(KINDS).lower()
        raise ValueError(f"{path.name}: a fragment is called SUBJECT.KIND.md, and KIND is one of {kinds}")
    text = path.read_text(encoding="utf-8").strip()
    if not text or "\n" in text or text.startswith(("-", "*", "#")):
        raise ValueError(f"{path.name}: a fragment is one line, without the sign of a list or a heading")
    return kind, text


def read_fragments(folder: Path) -> dict[Path, tuple[str, str]]:
    """Read all fragments: by file, in the order of their names."""
    paths = (path for path in sorted(folder.iterdir()) if path.name != "README.md")
    return {path: read_fragment(path) for path in paths}


def add(changelog: str, fragments: list[tuple[str, str]]) -> str:
    """Return a changelog with fragments at the ends of the subsections of "Unreleased"."""
    if UNRELEASED not in changelog:
        changelog = re.sub(r"(?=^## )|\Z", f"{UNRELEASED}\n", changelog, count=1, flags=re.MULTILINE)
    before, _, rest = changelog.partition(UNRELEASED)
    match = re.search(r"^## ", rest, re.MULTILINE)
    section, after = (rest[: match.start()], rest[match.start() :]) if match else (rest, "")
    parts = re.split(r"^### (\w+)\n", section, flags=re.MULTILINE)
    texts = dict(zip(parts[1::2], parts[2::2], strict=True))
    for kind, text in fragments:
        texts[kind] = f"{texts.get(kind, '').strip()}\n- {text}"
    kinds = [*KINDS, *(kind for kind in texts if kind not in KINDS)]
    subsections = [f"### {kind}\n\n{texts[kind].strip()}\n" for kind in kinds if kind in texts]
    return "\n".join([before + UNRELEASED, *subsections, after]).rstrip("\n") + "\n"


def release(changelog: str, version: str, date: str) -> str:
    """Return a changelog whose section "Unreleased" has the name of a version."""
    return changelog.replace(UNRELEASED, f"## {version} - {date}\n", 1)


def main() -> None:
    parser = argparse.ArgumentParser(description="move fragments into CHANGELOG.md")
    parser.add_argument("--release", nargs=2, metavar=("VERSION", "DATE"))
    arguments = parser.parse_args()
    root = Path(__file__).parents[1]
    fragments = read_fragments(root / "changelog.d")
    page = root / "CHANGELOG.md"
    changelog = add(page.read_text(encoding="utf-8"), list(fragments.values()))
    if arguments.release:
        changelog = release(changelog, *arguments.release)
    page.write_text(changelog, encoding="utf-8")
    for path in fragments:
        path.unlink()


if __name__ == "__main__":
    main()
