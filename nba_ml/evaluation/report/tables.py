"""The page's tables: slices of the predictions with their gains on a common scale, and bets against the line.

Cells are plain values: `page.html.jinja` escapes them and writes the HTML.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from nba_ml.evaluation.grades import LineResult, Slice
from nba_ml.evaluation.report.marks import has_season, number, signed, tone
from nba_ml.model.comparison import BaselineResult


@dataclass(frozen=True, slots=True)
class WithInterval:
    """A number with its interval in small print. `tone` is its CSS class, or ''."""

    text: str
    small: str
    tone: str = ""


@dataclass(frozen=True, slots=True)
class Gain:
    """A gain as a number, and as a dot on its interval with the zero line: pixels from the left of `width`."""

    value: str
    interval: str
    tone: str
    zero: float
    low: float
    high: float
    at: float
    width: int


Cell = str | WithInterval | Gain


@dataclass(frozen=True, slots=True)
class Row:
    """A row; `total` highlights it."""

    name: str
    cells: Sequence[Cell]
    total: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """`names` are the headings; the first is that of the rows' names."""

    names: Sequence[str]
    rows: Sequence[Row]


@dataclass(frozen=True, slots=True)
class _Scale:
    """Maps points of gain to pixels. Each table has one scale, so its rows are comparable."""

    low: float
    high: float

    WIDTH = 110

    @classmethod
    def of(cls, slices: Sequence[Slice]) -> _Scale:
        """A scale that contains every gain's interval and zero."""
        gains = [each.baselines["season_average"].gain_interval for each in slices if has_season(each)]
        low, high = min([0.0, *(g.low for g in gains)]), max([0.0, *(g.high for g in gains)])
        margin = 0.06 * (high - low) or 0.1
        return cls(low - margin, high + margin)

    def at(self, points: float) -> float:
        """Pixels from the left."""
        return round((points - self.low) / (self.high - self.low) * self.WIDTH, 1)


def slices_table(
    label: str,
    slices: Mapping[str, Slice],
    *,
    total: tuple[str, Slice] | None = None,
    promised: Mapping[str, float | None] | None = None,
) -> Table:
    """One row per slice.

    Args:
        label: heading of the first column, which has the slices' names.
        total: a highlighted last row.
        promised: slice -> MAE of the model's validation, in points; None omits the column.
    """
    names = ["MAE", "gain on season average", *(["promised"] if promised is not None else []), "n", "season average"]
    names += ["last 10", "last 5", "mock", "bias", "RMSE", "within 3 / 5", "coverage"]
    scale = _Scale.of(list(slices.values()))
    rows = [Row(name, _slice_cells(name, each, scale, promised)) for name, each in slices.items()]
    if total is not None:
        rows.append(Row(total[0], _slice_cells(*total, scale, None), total=True))
    return Table([label, *names], rows)


def bets_table(label: str, results: Mapping[str, LineResult], *, total: tuple[str, LineResult] | None = None) -> Table:
    """One row per month or tier with lines. `label` and `total` as in `slices_table`."""
    names = [
        "hit rate",
        "gain on the line",
        "model MAE",
        "line MAE",
        "own MAE",
        "bias",
        "lines",
        "right",
        "wrong",
        "push",
    ]
    names += ["no bet", "over / under"]
    rows = [Row(name, _line_cells(result)) for name, result in results.items()]
    if total is not None:
        rows.append(Row(total[0], _line_cells(total[1]), total=True))
    return Table([label, *names], rows)


def plain(table: Table) -> pd.DataFrame:
    """The table with its cells as text, for Dagster and the terminal."""
    rows = [[row.name, *map(cell_text, row.cells)] for row in table.rows]
    return pd.DataFrame(rows, columns=list(table.names))


def cell_text(cell: Cell) -> str:
    """A cell as text, its interval in brackets."""
    if isinstance(cell, WithInterval):
        return f"{cell.text} ({cell.small})"
    return f"{cell.value} ({cell.interval})" if isinstance(cell, Gain) else cell


def _slice_cells(name: str, each: Slice, scale: _Scale, promised: Mapping[str, float | None] | None) -> list[Cell]:
    interval = each.mae_interval
    return [
        WithInterval(f"{each.metrics.mae:.3f}", f"{interval.low:.2f}-{interval.high:.2f}"),
        _gain(each.baselines.get("season_average"), scale),
        *([number(promised[name])] if promised is not None else []),
        f"{each.metrics.n:,}",
        *(
            number(each.baselines[other].metrics.mae if other in each.baselines else None)
            for other in ("season_average", "last_10_average", "last_5_average", "mock")
        ),
        signed(each.metrics.bias),
        f"{each.metrics.rmse:.3f}",
        f"{each.metrics.within_3:.0%} / {each.metrics.within_5:.0%}",
        f"{each.coverage.inside:.1%}",
    ]


def _gain(season: BaselineResult | None, scale: _Scale) -> Cell:
    if season is None:
        return "-"
    low, high = season.gain_interval.low, season.gain_interval.high
    return Gain(
        value=signed(season.gain),
        interval=f"{low:.3f} to {high:.3f}",
        tone=tone(season),
        zero=scale.at(0.0),
        low=scale.at(low),
        high=scale.at(high),
        at=scale.at(season.gain),
        width=scale.WIDTH,
    )


def _line_cells(result: LineResult) -> list[Cell]:
    rate, gain = result.hit_rate, result.line.gain_interval
    return [
        WithInterval(f"{rate.share:.1%}", f"{rate.low:.1%}-{rate.high:.1%}") if rate else "no bet",
        WithInterval(signed(result.line.gain), f"{signed(gain.low, 2)} to {signed(gain.high, 2)}", tone(result.line)),
        f"{result.line.model_mae:.3f}",
        f"{result.line.metrics.mae:.3f}",
        number(result.own.metrics.mae if result.own else None),
        signed(result.bias),
        f"{result.n:,}",
        *((f"{rate.hits:,}", f"{rate.n - rate.hits:,}") if rate else ("0", "0")),
        f"{result.pushes:,}",
        f"{result.passed:,}",
        f"{result.over:,} / {result.under:,}",
    ]
