"""The page on conformance, from the verdicts."""

from __future__ import annotations

import platform
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.metadata import version

from wsproto_core import __version__

from .corpora import CORPORA
from .deflate_cases import COUNT, OWN_COUNT, SETS
from .verdicts import FAILED, INFORMATIONAL, NON_STRICT, OK, OUTCOMES, UNIMPLEMENTED, Verdict

__all__ = ["page"]

SECTIONS = {
    "1": "messages of all sizes",
    "2": "pings and pongs",
    "3": "reserved bits",
    "4": "reserved opcodes",
    "5": "fragments",
    "6": "UTF-8",
    "7": "closing",
    "9": "large messages and many of them",
    "10": "a message that the runner cuts into fragments",
    "12": "permessage-deflate with data of several kinds",
    "13": "permessage-deflate with all sets of parameters",
    "14": "the same in both directions",
}

OWN_SECTION = "14"
"""Not Autobahn's, and not counted with it."""

LETTERS = {INFORMATIONAL: "i", NON_STRICT: "n", UNIMPLEMENTED: "u", FAILED: "f"}

PACKAGES = ("websockets", "aiohttp", "picows", "wsproto", "uvicorn", "tornado", "uvloop", "trio", "anyio")

INTRODUCTION = """\
# Conformance

How servers and clients of this library, and of others, do in the cases of the
[Autobahn testsuite](https://github.com/crossbario/autobahn-testsuite). `make conformance` made this page on
{date}.

- wsproto-core {own}, Python {python}; {versions}
{limit}
A subject is a program that sends every message back, without a limit on the size of messages and on the
number of fragments, and otherwise with the options that its library has by default. The servers are those of
`bench/servers`, the clients are in `tests/conformance/clients.py`. `adapters.asyncio pure` uses no compiled
code.

Sections 1 to 10 are Autobahn's own cases, run by [kosoku](https://pypi.org/project/kosoku/); there is no
section 8 and no section 11. Sections 12 and 13 do not run there. They are a table in
`tests/conformance/deflate_cases.py`, with Autobahn's numbers, sizes, counts, fragments and parameters, and
with data of this project's own. Their driver shares no code with this library: it builds and checks frames
and handshakes by itself, and compresses by `zlib`. It is stricter than Autobahn in two ways: an answer must
grant what the client asks of the server (RFC 7692 sections 7.1.1.1 and 7.1.2.1), and no message may refer
further back than the negotiated window. `make test` runs all cases on each adapter, those of sections 12 to
14 with few messages.

The verdicts are Autobahn's:

- *OK*: all is as the RFC demands, strictly: an error is found as early as it can be.
- *Informational* (i): the RFC leaves it open. Autobahn has three such cases, 7.1.6, 7.13.1 and 7.13.2, in
  which there is no other verdict.
- *Non-strict* (n): allowed, but an error is found later than it could be.
- *Unimplemented* (u): permessage-deflate was not negotiated.
- *Failed* (f): the RFC is violated, or the closing handshake goes wrong.

The sections: {sections}.
"""

DEFLATE = """\
## What is sent with permessage-deflate

A case of sections 12 and 13 sends {count} messages of one size, each when the one before has come back: from
16 bytes to 128 KiB in one frame, and from 8 to 128 KiB in frames of 256, 1024, 4096 or 32768 compressed
bytes. These are 18 cases in each subsection.

| subsection | data, or parameters of the subject |
|---|---|
{rows}

The data of sections 13 and 14 is the JSON of section 12.1. In section 13 a parameter limits the subject
alone, as in Autobahn. Section 14 is not Autobahn's, and not counted with its cases: it has the same
parameters in both directions, so each end compresses and decompresses with them. Its cases have {own_count}
messages.
"""


def section_of(case: str) -> str:
    return case.partition(".")[0]


def cell(verdicts: Iterable[Verdict]) -> str:
    """How many are OK, and how many are what else."""
    counts = Counter(verdict.outcome for verdict in verdicts)
    if not counts:
        return "not run"
    others = (f"{counts[outcome]} {letter}" for outcome, letter in LETTERS.items() if counts[outcome])
    return ", ".join([str(counts[OK])] * bool(counts[OK]) + list(others))


def table(subjects: Mapping[str, Mapping[str, Verdict]], own: Sequence[str]) -> Iterator[str]:
    """Yield the lines of a table of one side."""
    by_section = [section for section in SECTIONS if section != OWN_SECTION]
    yield f"| | {' | '.join(by_section)} | all | {OWN_SECTION} |"
    yield f"|---|{'--:|' * (len(SECTIONS) + 1)}"
    for subject, verdicts in subjects.items():
        sections: dict[str, list[Verdict]] = defaultdict(list)
        for case, verdict in verdicts.items():
            sections[section_of(case)].append(verdict)
        cells = [cell(sections[section]) for section in by_section]
        everything = [verdict for section in by_section for verdict in sections[section]]
        name = f"**{subject}**" if subject in own else subject
        yield f"| {name} | {' | '.join([*cells, cell(everything), cell(sections[OWN_SECTION])])} |"


def others(verdicts: Mapping[str, Verdict]) -> Iterator[str]:
    """Yield what is neither OK nor informational: the cases with the same outcome and the same reason."""
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    for case, verdict in verdicts.items():
        if verdict.outcome not in (OK, INFORMATIONAL):
            # Only a failure has a reason that says more than the verdict.
            reason = " ".join(verdict.reason.split())[:160] if verdict.outcome == FAILED else ""
            groups[verdict.outcome, reason].append(case)
    for (outcome, reason), cases in sorted(groups.items(), key=lambda item: OUTCOMES.index(item[0][0])):
        yield f"{outcome.lower()}: {named(cases)}{f' ({reason})' if reason else ''}"


def named(cases: Sequence[str]) -> str:
    """The numbers of cases; whole subsections of permessage-deflate in short."""
    subsections = Counter(case.rpartition(".")[0] for case in cases)
    whole = {name for name, count in subsections.items() if count == 18 and int(section_of(name)) >= 12}
    names = dict.fromkeys(
        f"{case.rpartition('.')[0]}.*" if case.rpartition(".")[0] in whole else case for case in cases
    )
    return ", ".join(names)


def deflate_rows() -> Iterator[str]:
    for number, (words, _) in CORPORA.items():
        yield f"| 12.{number} | {words} |"
    for number, sets in SETS.items():
        texts = (wanted.text("server").removeprefix("; ") for wanted in sets)
        words = ", or ".join(f"`{text}`" if text else "none" for text in texts)
        yield f"| 13.{number}, 14.{number} | {words} |"


def page(
    sides: Mapping[str, Mapping[str, Mapping[str, Verdict]]],
    *,
    own: Sequence[str],
    messages: int | None,
    date: str,
    runner: str,
) -> str:
    """Return the page.

    Args:
        sides: for ``server`` and ``client``, the verdicts of each subject.
        own: the subjects that are this library's.
        messages: the limit on the messages of a case, if there is one.
        date: of the run.
        runner: name and version of what runs Autobahn's cases.
    """
    versions = ", ".join([runner, *(f"{package} {version(package)}" for package in PACKAGES)])
    lines = [
        INTRODUCTION.format(
            sections=", ".join(f"{section} {words}" for section, words in SECTIONS.items()),
            date=date,
            own=__version__,
            python=platform.python_version(),
            versions=versions,
            limit=limit(messages),
        )
    ]
    for side, subjects in sides.items():
        lines += [f"## {side.title()}s", "", *table(subjects, own), ""]
        for subject, verdicts in subjects.items():
            if found := list(others(verdicts)):
                lines += [f"{subject}:", "", *(f"- {line}" for line in found), ""]
    rows = "\n".join(deflate_rows())
    lines.append(DEFLATE.format(count=COUNT, own_count=OWN_COUNT, rows=rows))
    return "\n".join(lines)


def limit(messages: int | None) -> str:
    if messages is None or messages >= COUNT:
        return ""
    return (
        f"\n**A short run**: of the {COUNT} messages of a case on permessage-deflate, {messages} were sent "
        f"(`make conformance MESSAGES={messages}`).\n"
    )
