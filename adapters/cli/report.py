"""What ``bench`` says: for programs as JSON, for people with a histogram."""

from __future__ import annotations

from typing import Any

from wsproto_core.version import VERSION

from .latencies import Latencies
from .load import Load, Result

__all__ = ["PERCENTILES", "make_report", "render", "shown_seconds"]

PERCENTILES = (50.0, 90.0, 99.0, 99.9)

BARS = 16
BLOCKS = " ▏▎▍▌▋▊▉█"
WIDTH = 40


def make_report(uri: str, load: Load, result: Result) -> dict[str, Any]:
    """Return the results as an object of JSON; times are in seconds."""
    latencies = result.latencies
    return {
        "uri": uri,
        "version": VERSION,
        "connections": load.connections,
        "depth": load.depth,
        "size": load.size,
        "binary": load.binary,
        "seconds": round(result.seconds, 6),
        "messages": latencies.count,
        "messages_per_second": round(result.rate, 3),
        "bytes_per_second": round(result.rate * load.size, 3),
        "latency": {
            "mean": round(latencies.mean, 9),
            **{f"p{percent:g}": round(latencies.percentile(percent), 9) for percent in PERCENTILES},
            "max": round(latencies.longest, 9),
        },
    }


def render(report: dict[str, Any], latencies: Latencies) -> str:
    """Return the results as text, with a histogram."""
    plural = "" if report["connections"] == 1 else "s"
    kind = "binary" if report["binary"] else "text"
    connections = f"{report['connections']:,} connection{plural}, {report['depth']:,} on the way on each"
    throughput = f"{report['bytes_per_second'] / 2**20:,.2f} MiB/s in each direction"
    lines = [
        report["uri"],
        f"{connections}, {kind} messages of {report['size']:,} bytes",
        f"{report['messages']:,} messages in {report['seconds']:.2f} s",
        f"{report['messages_per_second']:,.0f} messages/s, {throughput}",
        "latency: "
        + ", ".join(f"{name} {shown_seconds(value)}" for name, value in report["latency"].items()),
        "",
    ]
    bars = latencies.bars(BARS)
    most = max(count for _, _, count in bars)
    for start, _, count in bars:
        lines.append(f"{shown_seconds(start):>10} |{_bar(count / most):{WIDTH}}| {count:,}")
    return "\n".join(lines)


def _bar(share: float) -> str:
    """Draw a bar, in eighths of a character."""
    eighths = round(share * WIDTH * 8)
    # What is not nothing is seen.
    eighths = max(eighths, 1 if share else 0)
    return (BLOCKS[8] * (eighths // 8) + BLOCKS[eighths % 8]).rstrip()


def shown_seconds(seconds: float) -> str:
    """Return a duration in a unit that suits it."""
    if seconds < 1e-3:
        return f"{seconds * 1e6:.3g} µs"
    return f"{seconds * 1e3:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"
