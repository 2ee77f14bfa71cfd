"""Pictures for metadata: small PNGs, drawn without a display."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO

from matplotlib.figure import Figure

from nba_ml.core.progress import MonthProgress, Status
from nba_ml.core.season import parse_month, season_of

_COLOURS = {
    Status.COMPLETE: "#1a7f4b",
    Status.SUBSTANTIAL: "#8fc93a",
    Status.PARTIAL: "#f4a259",
    Status.MISSING: "#e6e6e6",
}
_CALENDAR = (10, 11, 12, 1, 2, 3, 4, 5, 6)
_NAMES = ("Oct", "Nov", "Dec", "Jan", "Feb", "Mar", "Apr", "May", "Jun")


def coverage_heat_map(months: Sequence[MonthProgress]) -> bytes:
    """A calendar of the backfill: one line a season, one cell a month with its coverage. PNG bytes."""
    seasons = sorted({season_of(m.month) for m in months})
    figure = Figure(figsize=(8.5, 0.9 + 0.45 * len(seasons)), dpi=110, layout="constrained")
    axes = figure.add_subplot()
    for m in months:
        x, y = _CALENDAR.index(parse_month(m.month)[1]), seasons.index(season_of(m.month))
        axes.fill_between([x - 0.47, x + 0.47], y - 0.45, y + 0.45, color=_COLOURS[m.status])
        light = m.status in (Status.MISSING, Status.SUBSTANTIAL, Status.PARTIAL)
        text = "-" if m.status == Status.MISSING else f"{int(m.coverage * 100)}%"  # 94.9% is not 95%
        axes.text(x, y, text, ha="center", va="center", fontsize=9, color="#333333" if light else "white")
    axes.set(xlim=(-0.6, 8.6), ylim=(len(seasons) - 0.4, -0.6), title="Player-games with features, by month")
    axes.set_xticks(range(9), _NAMES)
    axes.set_yticks(range(len(seasons)), seasons)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    handles = [axes.fill_between([], [], color=colour, label=str(status)) for status, colour in _COLOURS.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    out = BytesIO()
    figure.savefig(out, format="png")
    return out.getvalue()
