"""A plot of latencies: a histogram in a PNG file, drawn with Pillow."""

from __future__ import annotations

from typing import Any

from PIL import Image, ImageDraw, ImageFont

from .latencies import Latencies
from .report import PERCENTILES, shown_seconds

__all__ = ["write_plot"]

SIZE = (960, 540)
LEFT, TOP, RIGHT, BOTTOM = 80, 90, 930, 470
BARS = 60
TICKS = 8

INK = "#1b2230"
SOFT = "#5a6579"
LINE = "#d9dee8"
BAR = "#2f5bd7"
MARK = "#b3261e"


def write_plot(path: str, report: dict[str, Any], latencies: Latencies) -> None:
    """Write a histogram of latencies, on a logarithmic scale, with percentiles.

    Args:
        path: of the PNG file.
        report: the results.
        latencies: the latencies; at least one.

    Raises:
        OSError: the file cannot be written.
    """
    image = Image.new("RGB", SIZE, "white")
    draw = ImageDraw.Draw(image)
    small, large = ImageFont.load_default(14), ImageFont.load_default(20)
    draw.text((LEFT, 20), report["uri"], INK, large)
    draw.text(
        (LEFT, 50),
        f"{report['messages_per_second']:,.0f} messages/s; {report['connections']} connections, "
        f"{report['depth']} on the way on each, messages of {report['size']} bytes",
        SOFT,
        small,
    )
    bars = latencies.bars(BARS)
    most = max(count for _, _, count in bars)
    step = (RIGHT - LEFT) / len(bars)
    for part in range(5):
        y = BOTTOM - part * (BOTTOM - TOP) // 4
        draw.line((LEFT, y, RIGHT, y), LINE)
        draw.text((LEFT - 8, y), f"{most * part / 4:,.0f}", SOFT, small, anchor="rm")
    for index, (_, _, count) in enumerate(bars):
        x = LEFT + index * step
        draw.rectangle((x, BOTTOM - (BOTTOM - TOP) * count / most, x + max(step - 2, 1), BOTTOM), BAR)
    every = max(1, len(bars) // TICKS)
    for index in range(0, len(bars), every):
        x = LEFT + index * step
        draw.line((x, BOTTOM, x, BOTTOM + 6), SOFT)
        # The font has no µ.
        time = shown_seconds(bars[index][0]).replace("µ", "u")
        draw.text((x, BOTTOM + 10), time, SOFT, small, anchor="ma")
    draw.text(((LEFT + RIGHT) / 2, BOTTOM + 40), "latency", INK, small, anchor="ma")
    for percent in PERCENTILES:
        value = latencies.percentile(percent)
        place = next((index for index, (_, end, _) in enumerate(bars) if value < end), len(bars))
        x = LEFT + place * step
        draw.line((x, TOP, x, BOTTOM), MARK)
        draw.text((x + 3, TOP - 16), f"p{percent:g}", MARK, small)
    image.save(path, "PNG")
