"""The page on conformance says what the verdicts say."""

from __future__ import annotations

from .deflate_cases import choose
from .report import cell, named, others, table
from .verdicts import FAILED, INFORMATIONAL, NON_STRICT, OK, UNIMPLEMENTED, Verdict

GOOD = Verdict(OK, OK)


def test_cells() -> None:
    assert cell([]) == "not run"
    assert cell([GOOD, GOOD]) == "2"
    assert cell([Verdict(UNIMPLEMENTED, OK)]) == "1 u"
    mixed = [GOOD, Verdict(INFORMATIONAL, INFORMATIONAL), Verdict(NON_STRICT, OK), Verdict(OK, "UNCLEAN")]
    assert cell(mixed) == "1, 1 i, 1 n, 1 f"


def test_table() -> None:
    verdicts = {"1.1.1": GOOD, "1.1.2": Verdict(FAILED, OK), "12.1.1": GOOD, "14.1.1": GOOD}
    head, rule, own, other = table({"ours": verdicts, "theirs": {"2.1": GOOD}}, ["ours"])
    assert head.count("|") == rule.count("|") == own.count("|") == other.count("|")
    cells = own.strip("| ").split(" | ")
    assert cells[:3] == ["**ours**", "1, 1 f", "not run"]
    # Section 14 is not among Autobahn's cases.
    assert cells[-2:] == ["2, 1 f", "1"]
    assert other.startswith("| theirs | not run | 1 |")


def test_what_is_not_ok_is_named() -> None:
    verdicts = {
        "1.1.1": GOOD,
        "3.2": Verdict(NON_STRICT, OK, reason="whatever"),
        "3.3": Verdict(NON_STRICT, OK),
        "7.1.6": Verdict(INFORMATIONAL, INFORMATIONAL),
        "9.1.1": Verdict(FAILED, FAILED, reason="no  message"),
        **{case.name: Verdict(UNIMPLEMENTED, OK) for case in choose(["12.1.*"])},
    }
    assert list(others(verdicts)) == [
        "non-strict: 3.2, 3.3",
        "unimplemented: 12.1.*",
        "failed: 9.1.1 (no message)",
    ]


def test_whole_subsections() -> None:
    assert named(["12.1.1", "13.2.4"]) == "12.1.1, 13.2.4"
    assert named([case.name for case in choose(["12.1.*", "12.2.1"])]) == "12.1.*, 12.2.1"
