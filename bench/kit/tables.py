"""Records to medians, ratios and tables."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from .measure import Record

Place = tuple[str, str, str]
"""Part, peer, workload."""

QUIET = 0.25
"""Processors that others may use before a record counts as disturbed."""


def number(value: float | None) -> str:
    """Three digits."""
    if value is None:
        return ""
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


class Results:
    """The records of a run without those that failed.

    If at least two records of a peer and a workload were not disturbed, the others do not count.
    """

    def __init__(self, records: Iterable[Record]) -> None:
        self.errors: list[Record] = []
        self._records: dict[tuple[str, str, str], list[Record]] = {}
        for record in records:
            if "error" in record:
                self.errors.append(record)
            elif "peer" in record:
                key = record["part"], record["peer"], record["workload"]
                self._records.setdefault(key, []).append(record)
        for key, found in self._records.items():
            quiet = [record for record in found if record.get("others", 0) <= QUIET]
            if len(quiet) >= 2:
                self._records[key] = quiet

    def peers(self, *parts: str) -> list[str]:
        return list(dict.fromkeys(peer for part, peer, _ in self._records if part in parts))

    def workloads(self, *parts: str) -> list[str]:
        return list(dict.fromkeys(workload for part, _, workload in self._records if part in parts))

    def records(self, part: str, peer: str, workload: str) -> list[Record]:
        return self._records.get((part, peer, workload), [])

    def figure(
        self,
        part: str,
        peer: str,
        workload: str,
        key: str = "us",
        of: Callable[[list[float]], float] = statistics.median,
    ) -> float | None:
        """Return the median, or what else is asked for, if there are records."""
        figures = [record[key] for record in self.records(part, peer, workload) if key in record]
        return of(figures) if figures else None

    def ratio(self, part: str, peer: str, other: str, workload: str, key: str = "us") -> float | None:
        """Return the median of the ratios, each formed within one round as far as possible."""
        others = {record["round"]: record[key] for record in self.records(part, other, workload)}
        if not others:
            return None
        median = statistics.median(others.values())
        ratios = [
            record[key] / (others.get(record["round"]) or median)
            for record in self.records(part, peer, workload)
            if others.get(record["round"]) or median
        ]
        return statistics.median(ratios) if ratios else None

    def spread(self, part: str, peer: str, workload: str, key: str = "us") -> float:
        """Return half of the range, as a share of the median."""
        figures = [record[key] for record in self.records(part, peer, workload) if key in record]
        median = statistics.median(figures) if figures else 0
        return (max(figures) - min(figures)) / 2 / median if median else 0

    def is_disturbed(self, part: str, peer: str, workload: str) -> bool:
        return any(record.get("others", 0) > QUIET for record in self.records(part, peer, workload))

    def disturbed_share(self) -> float:
        """Return the share of the figures that were measured while others used the machine."""
        disturbed = [self.is_disturbed(*place) for place in self._records]
        return sum(disturbed) / len(disturbed) if disturbed else 0

    def limit(self, part: str, peer: str, workload: str) -> str:
        return str(self.records(part, peer, workload)[0]["limit"])


def print_results(records: list[Record]) -> None:
    """Print the figures of a run of one part for a person who waits for them."""
    results = Results(records)
    columns: list[tuple[str, Callable[[Place], str]]] = [
        ("us a message", lambda place: number(results.figure(*place))),
        ("least", lambda place: number(results.figure(*place, of=min))),
        ("+-%", lambda place: f"{results.spread(*place):.0%}"),
        ("of its limit", lambda place: of_limit(results, *place)),
        ("messages/s", lambda place: number(results.figure(*place, "rate"))),
        ("others", lambda place: number(results.figure(*place, "others"))),
    ]
    rows: list[Any] = []
    parts = list(dict.fromkeys(record["part"] for record in records))
    for part in parts:
        for workload in results.workloads(part):
            for peer in results.peers(part):
                found = results.records(part, peer, workload)
                if not found:
                    continue
                if "bytes" in found[0]:
                    kib = (results.figure(part, peer, workload, "bytes") or 0) / 1024
                    rows.append((workload, peer, f"{kib:.1f} KiB", *[""] * (len(columns) - 1)))
                else:
                    cells = (cell((part, peer, workload)) for _, cell in columns)
                    rows.append((workload, peer, *cells))
    head = ("workload", "peer", *(name for name, _ in columns))
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    for row in [head, *rows]:
        names = (cell.ljust(width) for cell, width in zip(row[:2], widths, strict=False))
        figures = (cell.rjust(width) for cell, width in zip(row[2:], widths[2:], strict=True))
        print("  ".join([*names, *figures]).rstrip())


def of_limit(results: Results, part: str, peer: str, workload: str) -> str:
    ratio = results.ratio(part, peer, results.limit(part, peer, workload), workload)
    return "" if ratio is None else f"{ratio:.2f} x"
