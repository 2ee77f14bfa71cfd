"""Charts as SVG: dots with intervals over a few groups, and horizontal bars.

A few kilobytes each, sharp at any size, and the same bytes everywhere. matplotlib would cost every month's run 0.5 s.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from markupsafe import Markup

from nba_ml.evaluation.report.templates import template

WIDTH = 350
"""Pixels: what Dagster's column of values shows in a window of 1,400, and a phone. Wider pages scale it up."""

_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 8, 48, 44
_PLOT_HEIGHT = 190
_GRID, _AXIS = "#e5e8ec", "#6b7280"
_MOST_DECIMALS = 4


@dataclass(frozen=True, slots=True)
class Dot:
    """A value with the interval around it, in the units of the axis. `text` is shown under the mouse."""

    value: float
    text: str
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Series:
    """Dots by group: group -> dot. Groups may be missing."""

    name: str
    colour: str
    dots: Mapping[str, Dot]


@dataclass(frozen=True, slots=True)
class _Line:
    x1: float
    y1: float
    x2: float
    y2: float
    colour: str
    width: float = 1.0
    dashed: bool = False


@dataclass(frozen=True, slots=True)
class _Bar:
    x: float
    y: float
    width: float
    height: float
    colour: str


@dataclass(frozen=True, slots=True)
class _Place:
    x: float
    y: float
    text: str
    colour: str = ""
    anchor: str = "middle"


@dataclass(slots=True)
class _Drawing:
    title: str
    height: int
    lines: list[_Line] = field(default_factory=list)
    bars: list[_Bar] = field(default_factory=list)
    dots: list[_Place] = field(default_factory=list)
    texts: list[_Place] = field(default_factory=list)

    def svg(self) -> Markup:
        return Markup(
            template("chart.svg.jinja").render(
                width=WIDTH, height=self.height, title=self.title,
                lines=self.lines, bars=self.bars, dots=self.dots, texts=self.texts,
            )
        )  # fmt: skip


def dot_chart(
    title: str,
    groups: Sequence[str],
    series: Sequence[Series],
    *,
    unit: Callable[[float, int], str],
    x_label: str,
    targets: Mapping[str, float],
) -> Markup:
    """Dots over groups from left to right.

    Args:
        unit: a number of the vertical axis as text, with this many decimals more than usual.
        targets: group -> where a dot ought to be, drawn as a dashed line; empty for none.
    """
    drawing = _Drawing(title, _TOP + _PLOT_HEIGHT + _BOTTOM)
    every = [dot for each in series for dot in each.dots.values()]
    values = [v for dot in every for v in (dot.value, dot.low, dot.high) if v is not None] + [*targets.values()]
    ticks = nice_ticks(min(values), max(values))
    low, high = ticks[0], ticks[-1]

    def y_of(value: float) -> float:
        return round(_TOP + (high - value) / (high - low) * _PLOT_HEIGHT, 1)

    slot = (WIDTH - _LEFT - _RIGHT) / len(groups)
    for tick, label in zip(ticks, tick_labels(ticks, unit), strict=True):
        drawing.lines.append(_Line(_LEFT, y_of(tick), WIDTH - _RIGHT, y_of(tick), _GRID))
        drawing.texts.append(_Place(_LEFT - 7, y_of(tick) + 4, label, anchor="end"))
    for i, group in enumerate(groups):
        left = _LEFT + i * slot
        drawing.texts.append(_Place(round(left + slot / 2, 1), _TOP + _PLOT_HEIGHT + 18, group))
        if group in targets:
            at = y_of(targets[group])
            drawing.lines.append(_Line(round(left, 1), at, round(left + slot, 1), at, _AXIS, 1.5, dashed=True))
        for j, each in enumerate(series):
            if group in each.dots:
                x = round(left + slot * (j + 1) / (len(series) + 1), 1)
                _dot(drawing, each.dots[group], x, y_of, each.colour)
    drawing.texts.append(_Place((WIDTH + _LEFT - _RIGHT) / 2, drawing.height - 8, x_label))
    if len(series) > 1:
        _legend(drawing, series)
    return drawing.svg()


def _dot(drawing: _Drawing, dot: Dot, x: float, y_of: Callable[[float], float], colour: str) -> None:
    if dot.low is not None and dot.high is not None:
        drawing.lines.append(_Line(x, y_of(dot.high), x, y_of(dot.low), colour, 2.0))
    drawing.dots.append(_Place(x, y_of(dot.value), dot.text, colour))


def _legend(drawing: _Drawing, series: Sequence[Series]) -> None:
    x = float(_LEFT)
    for each in series:
        drawing.dots.append(_Place(x, 34, each.name, each.colour))
        drawing.texts.append(_Place(x + 9, 38, each.name, anchor="start"))
        x += 24 + 6.3 * len(each.name)


def bar_chart(
    title: str, rows: Mapping[str, Sequence[float]], columns: Sequence[tuple[str, str, Callable[[float], str]]]
) -> Markup:
    """Horizontal bars: a row for each name, and a column of bars for each of its values.

    Args:
        rows: name -> a value of at least 0 for each column.
        columns: heading, colour, and the value as text.
    """
    labels, row_height = 152, 19
    drawing = _Drawing(title, 52 + row_height * len(rows))
    width = (WIDTH - labels - 10) / len(columns)
    for j, (heading, colour, unit) in enumerate(columns):
        left, longest = labels + j * width, max((each[j] for each in rows.values()), default=0.0) or 1.0
        drawing.texts.append(_Place(round(left, 1), 38, heading, anchor="start"))
        for i, values in enumerate(rows.values()):
            top, length = 46 + i * row_height, round(values[j] / longest * (width - 46), 1)
            drawing.bars.append(_Bar(round(left, 1), top, max(length, 0.5), row_height - 6, colour))
            drawing.texts.append(_Place(round(left + length + 5, 1), top + 10.5, unit(values[j]), anchor="start"))
    for i, name in enumerate(rows):
        drawing.texts.append(_Place(labels - 8, 46 + i * row_height + 10.5, name, anchor="end"))
    return drawing.svg()


def tick_labels(ticks: Sequence[float], unit: Callable[[float, int], str]) -> list[str]:
    """The ticks as text, with as many decimals as tell them apart: 79.5% and 80.0%, not 80% twice."""
    labels = ([unit(tick, decimals) for tick in ticks] for decimals in range(_MOST_DECIMALS))
    return next((each for each in labels if len(set(each)) == len(ticks)), [str(tick) for tick in ticks])


def nice_ticks(low: float, high: float) -> list[float]:
    """Four to eight round numbers, from at most `low` to at least `high`."""
    span = high - low or abs(high) or 1.0
    power = 10.0 ** math.floor(math.log10(span / 5))
    step = next(each * power for each in (1, 2, 2.5, 5, 10) if span / (each * power) <= 6)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [round(i * step, 10) for i in range(first, max(last, first + 1) + 1)]
