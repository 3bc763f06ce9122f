"""Turns a second by the length of the session, as an SVG. Written by hand: the same bytes for the
same figures, and no plotting library to install for one picture.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 840, 480
LEFT, RIGHT, TOP, BOTTOM = 64, 216, 84, 56
LABEL_APART = 19
"""Pixels between the baselines of two labels, at least."""
INK, PALE, GRID, FONT = "#1f2937", "#6b7280", "#e5e7eb", "system-ui, 'DejaVu Sans', sans-serif"


@dataclass(frozen=True, slots=True)
class Series:
    """A line: its points as (messages, turns a second), both over 0, from left to right."""

    label: str
    colour: str
    points: Sequence[tuple[float, float]]
    dashed: bool = False
    bold: bool = False


def svg(title: str, subtitle: str, series: Sequence[Series]) -> str:
    """The picture. Both axes are logarithmic; each line is named at its end."""
    drawn = [each for each in series if each.points]
    across, up = _axes(drawn)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'font-family="{FONT}" role="img" aria-label="{escape(title)}">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" rx="8" fill="#ffffff"/>',
        _text(LEFT - 40, 34, title, size=18, weight=600),
        _text(LEFT - 40, 56, subtitle, colour=PALE),
        *_grid(across, up, sorted({x for each in drawn for x, _ in each.points})),
        *(_line(each, across, up) for each in drawn),
        *_labels(drawn, across, up),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


@dataclass(frozen=True, slots=True)
class _Axis:
    """A logarithmic axis from `low` to `high`, which lie at the pixels `start` and `end`."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        share = math.log(value / self.low) / math.log(self.high / self.low)
        return round(self.start + share * (self.end - self.start), 1)

    def powers(self) -> list[float]:
        """The powers of ten from end to end."""
        first, last = math.ceil(math.log10(self.low)), math.floor(math.log10(self.high))
        return [10.0**n for n in range(first, last + 1)]


def _axes(series: Sequence[Series]) -> tuple[_Axis, _Axis]:
    xs = [x for each in series for x, _ in each.points]
    ys = [y for each in series for _, y in each.points]
    low, high = 10 ** math.floor(math.log10(min(ys))), 10 ** math.ceil(math.log10(max(ys)))
    # A factor of ten at least: --quick has one length.
    across = _Axis(min(xs), max(*xs, 10 * min(xs)), LEFT + 12, WIDTH - RIGHT)
    return across, _Axis(low, max(high, 10 * low), HEIGHT - BOTTOM, TOP)


def _grid(across: _Axis, up: _Axis, lengths: Sequence[float]) -> list[str]:
    parts = []
    for value in up.powers():
        y = up.at(value)
        parts += [
            f'<line x1="{LEFT}" x2="{WIDTH - RIGHT + 12}" y1="{y}" y2="{y}" stroke="{GRID}"/>',
            _text(LEFT - 8, y + 4, f"{value:,g}", colour=PALE, anchor="end"),
        ]
    for value in lengths:
        x, bottom = across.at(value), HEIGHT - BOTTOM
        parts += [
            f'<line x1="{x}" x2="{x}" y1="{bottom}" y2="{bottom + 5}" stroke="{PALE}"/>',
            _text(x, bottom + 20, f"{value:,g}", colour=PALE, anchor="middle"),
        ]
    middle = (across.start + across.end) / 2
    return [*parts, _text(middle, HEIGHT - 14, "messages in the session", anchor="middle")]


def _line(series: Series, across: _Axis, up: _Axis) -> str:
    points = [(across.at(x), up.at(y)) for x, y in series.points]
    dash = ' stroke-dasharray="6 4"' if series.dashed else ""
    path = " ".join(f"{x},{y}" for x, y in points)
    width = 3.5 if series.bold else 2
    dots = "".join(
        f'<circle cx="{x}" cy="{y}" r="{width + 0.5}" fill="{series.colour}"/>' for x, y in points
    )
    return (
        f'<polyline points="{path}" fill="none" stroke="{series.colour}" '
        f'stroke-width="{width}" stroke-linejoin="round"{dash}/>{dots}'
    )


def _labels(series: Sequence[Series], across: _Axis, up: _Axis) -> list[str]:
    """Names at the lines' ends, pushed apart where two would cover each other."""
    ends = sorted(series, key=lambda each: up.at(each.points[-1][1]))
    parts, free = [], -math.inf
    for each in ends:
        y = max(up.at(each.points[-1][1]) + 4, free)
        free = y + LABEL_APART
        last = each.points[-1][1]
        text = f"{each.label}, {last:,.0f}" if last >= 100 else f"{each.label}, {last:.2g}"
        weight = 600 if each.bold else 400
        parts.append(_text(across.end + 18, y, text, colour=each.colour, weight=weight))
    return parts


def _text(
    x: float,
    y: float,
    text: str,
    *,
    colour: str = INK,
    size: int = 13,
    anchor: str = "start",
    weight: int = 400,
) -> str:
    return (
        f'<text x="{x}" y="{y}" font-size="{size}" font-weight="{weight}" fill="{colour}" '
        f'text-anchor="{anchor}">{escape(text)}</text>'
    )
