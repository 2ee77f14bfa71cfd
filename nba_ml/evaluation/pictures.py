"""Small PNGs for asset metadata, drawn without a display."""

from __future__ import annotations

from calendar import month_abbr
from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import TYPE_CHECKING

from nba_ml.contract.season import parse_month, season_of
from nba_ml.data.progress import BackfillStatus, MonthProgress
from nba_ml.evaluation.grades import Slice

# Importing matplotlib costs 40 MB and 0.5 s, and a month's run draws nothing.
if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLOURS = {
    BackfillStatus.COMPLETE: "#1a7f4b",
    BackfillStatus.SUBSTANTIAL: "#8fc93a",
    BackfillStatus.PARTIAL: "#f4a259",
    BackfillStatus.MISSING: "#e6e6e6",
}
_ORDINARY_MONTHS = 9
"""October to June."""


def coverage_heat_map(months: Sequence[MonthProgress]) -> bytes:
    """A calendar of the backfill as PNG bytes: one row per season, one cell per month with its coverage."""
    seasons = sorted({season_of(m.month) for m in months})
    columns = max([_ORDINARY_MONTHS, *(_month_of_season(m.month) + 1 for m in months)])
    figure = _figure((8.5, 0.9 + 0.45 * len(seasons)), 110)
    axes = figure.add_subplot()
    for m in months:
        x, y = _month_of_season(m.month), seasons.index(season_of(m.month))
        axes.fill_between([x - 0.47, x + 0.47], y - 0.45, y + 0.45, color=_COLOURS[m.status])
        light = m.status in (BackfillStatus.MISSING, BackfillStatus.SUBSTANTIAL, BackfillStatus.PARTIAL)
        text = "-" if m.status == BackfillStatus.MISSING else f"{int(m.coverage * 100)}%"  # 94.9% is not 95%
        axes.text(x, y, text, ha="center", va="center", fontsize=9, color="#333333" if light else "white")
    axes.set(xlim=(-0.6, columns - 0.4), ylim=(len(seasons) - 0.4, -0.6), title="Player-games with features, by month")
    axes.set_xticks(range(columns), [month_abbr[(9 + x) % 12 + 1] for x in range(columns)])
    axes.set_yticks(range(len(seasons)), seasons)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    handles = [axes.fill_between([], [], color=colour, label=str(status)) for status, colour in _COLOURS.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    out = BytesIO()
    figure.savefig(out, format="png")
    return out.getvalue()


def _month_of_season(month: str) -> int:
    """Months since the October in which the month's season began: October 2020 of 2019-20 has 12."""
    year, number = parse_month(month)
    return (year - int(season_of(month)[:4])) * 12 + number - 10


def _figure(size: tuple[float, float], dpi: int) -> Figure:
    """An empty figure; `size` in inches."""
    from matplotlib.figure import Figure  # noqa: PLC0415 (see above)

    return Figure(figsize=size, dpi=dpi, layout="constrained")


_PREDICTORS = {
    "season_average": ("season average", "#c2571a"),
    "last_10_average": ("last 10", "#b08a00"),
    "last_5_average": ("last 5", "#b9a6c9"),
    "mock": ("mock", "#9aa3ad"),
}
_MODEL_COLOUR, _LINE_COLOUR = "#0b5cad", "#111827"
_BETTER, _WORSE, _UNCLEAR = "#1a7f4b", "#b3261e", "#8a9099"


def walk_forward_curve(months: Mapping[str, Slice], *, narrow: bool = False, dpi: int | None = None) -> bytes:
    """Two panels over the months with rows, as PNG bytes.

    Above: the MAE of the model with its 95% interval as a band, and of the baselines. Below: the gain over the season
    average with its 95% interval, green above zero and red below. `narrow` is for phones: half as wide, with a larger
    font. The wide picture is 11 inches wide; `dpi` overrides the default resolution.
    """
    size, dots = ((4.6, 5.6), 170) if narrow else ((11, 6.2), 120)
    figure = _figure(size, dpi or dots)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(5, 4))
    order = list(months)
    for season in sorted({season_of(month) for month in order}):
        inside = [i for i, month in enumerate(order) if season_of(month) == season]
        _season_curves(above, inside, [months[order[i]] for i in inside])
        if inside[0]:
            for axes in (above, below):
                axes.axvline(inside[0] - 0.5, color="#d7dbe0", linewidth=0.8)
        below.annotate(
            season if not narrow else season[2:],
            (sum(inside) / len(inside), 0),
            xytext=(0, -28 if not narrow else -34),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            ha="center",
            color="#4b5563",
            fontsize=9,
        )
    for i, month in enumerate(order):
        _gain_bar(below, i, months[month])
    below.axhline(0, color="#111827", linewidth=1)
    above.set_ylabel("mean absolute error, points")
    below.set_ylabel("gain on season average")
    names = [month_abbr[parse_month(month)[1]] for month in order]
    below.set_xticks(range(len(order)), [name[0] for name in names] if narrow else names, fontsize=7 if narrow else 8)
    below.set_xlim(-0.7, max(len(order) - 0.3, 0.7))
    for axes in (above, below):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color="#eceff3", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.tick_params(length=0)
    handles, labels = above.get_legend_handles_labels()
    unique = dict(zip(labels, handles, strict=True))
    first = [name for name in ("model", "95% interval") if name in unique]
    shown = [*first, *(name for name in unique if name not in first)]
    figure.legend(
        [unique[name] for name in shown],
        shown,
        loc="outside upper center",
        ncols=3 if narrow else 7,
        frameon=False,
        fontsize=8,
    )
    out = BytesIO()
    figure.savefig(out, format="png")
    return out.getvalue()


def _season_curves(axes: Axes, places: Sequence[int], slices: Sequence[Slice]) -> None:
    """Draw one season's curves. Seasons are separate, so no line crosses the summer."""
    for name, (label, colour) in _PREDICTORS.items():
        values = [s.baselines[name].metrics.mae if name in s.baselines else float("nan") for s in slices]
        axes.plot(places, values, color=colour, linewidth=1.2, marker=".", markersize=4, label=label)
    lines = [s.against_line.line.metrics.mae if s.against_line else float("nan") for s in slices]
    if any(s.against_line for s in slices):
        axes.plot(
            places, lines, color=_LINE_COLOUR, linewidth=0, marker="D", markersize=4, label="the line (its rows only)"
        )
    low, high = [s.mae_interval.low for s in slices], [s.mae_interval.high for s in slices]
    axes.fill_between(places, low, high, color=_MODEL_COLOUR, alpha=0.15, linewidth=0, label="95% interval")
    axes.plot(
        places,
        [s.metrics.mae for s in slices],
        color=_MODEL_COLOUR,
        linewidth=2.2,
        marker="o",
        markersize=4,
        label="model",
    )


def _gain_bar(axes: Axes, place: int, each: Slice) -> None:
    season = each.baselines.get("season_average")
    if season is None:
        return
    low, high = season.gain_interval.low, season.gain_interval.high
    colour = _BETTER if low > 0 else _WORSE if high < 0 else _UNCLEAR
    axes.plot([place, place], [low, high], color=colour, linewidth=2, solid_capstyle="round", alpha=0.6)
    axes.plot([place], [season.gain], color=colour, marker="o", markersize=5)
