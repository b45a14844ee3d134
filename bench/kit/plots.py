"""Plots of the CPU time a message, as SVG, made by matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .tables import Results, number

COLOR_OWN = "#1b6ac9"
COLOR_LIMIT = "#9a9a9a"
COLOR_OTHER = "#e0a458"
BAR_HEIGHT = 0.28
"""Inches."""


def color(peer: str) -> str:
    if peer.startswith(("adapters.", "wsproto_core")):
        return COLOR_OWN
    return COLOR_LIMIT if peer.startswith(("raw ", "C ", "memcpy")) else COLOR_OTHER


def plot(
    results: Results, part: str, peers: Sequence[str], workloads: Sequence[str], title: str, path: Path
) -> bool:
    """Write a plot with a panel for each workload; return whether there was something to plot."""
    import matplotlib as mpl

    mpl.use("svg")
    # The same figures give the same file.
    mpl.rcParams["svg.hashsalt"] = "benchmarks"
    mpl.rcParams["svg.fonttype"] = "none"
    from matplotlib import pyplot

    panels = []
    for workload in workloads:
        costs = {peer: results.figure(part, peer, workload) for peer in peers}
        measured = {peer: cost for peer, cost in costs.items() if cost is not None}
        if any(color(peer) == COLOR_OWN for peer in measured):
            panels.append((workload, measured))
    if not panels:
        return False
    columns = min(2, len(panels))
    rows = (len(panels) + columns - 1) // columns
    height = max(len(measured) for _, measured in panels) * BAR_HEIGHT + 0.7
    figure, axes = pyplot.subplots(rows, columns, figsize=(5.5 * columns, height * rows + 0.5), squeeze=False)
    for axis, (workload, measured) in zip(axes.flat, panels, strict=False):
        ordered = sorted(measured, key=lambda peer: measured[peer], reverse=True)
        bars = axis.barh(
            ordered, [measured[peer] for peer in ordered], color=[color(peer) for peer in ordered]
        )
        axis.bar_label(bars, [number(measured[peer]) for peer in ordered], padding=3, fontsize=8)
        axis.set_title(workload, fontsize=10)
        axis.margins(x=0.15)
        axis.tick_params(labelsize=8)
        axis.spines[["top", "right"]].set_visible(False)
    for axis in list(axes.flat)[len(panels) :]:
        axis.set_visible(False)
    figure.suptitle(f"{title}: CPU time a message, in microseconds (shorter is better)", fontsize=11)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None, "Creator": None})
    pyplot.close(figure)
    return True
