"""The summary of all graded months, and its tables.

The picture is in `pictures`, the page in `report`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict

from nba_ml.contract.digest import json_digest
from nba_ml.contract.quantiles import QUANTILE_COLUMNS
from nba_ml.contract.season import season_of
from nba_ml.evaluation.grades import Breakdown, GradedMonth, GradeReport, Proportion, Slice, break_down
from nba_ml.evaluation.market import MarketResult, market_rows, measure_market
from nba_ml.model.diagnosis import Diagnosis, diagnose


class WalkForward(BaseModel):
    """Every month, scored by the previous month's model and graded.

    `months` has the report of every graded month, with or without rows. `missing` lists the other months. Seasons and
    `overall` are measured on all their rows, not averaged over months.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    months: dict[str, GradeReport]
    missing: tuple[str, ...]
    seasons: dict[str, Breakdown]
    overall: Breakdown | None
    market: MarketResult | None = None

    @property
    def digest(self) -> str:
        return json_digest(self.model_dump(mode="json"))

    @property
    def measured(self) -> dict[str, Breakdown]:
        """The months that have rows."""
        return {month: report.breakdown for month, report in self.months.items() if report.breakdown is not None}

    @property
    def every_month(self) -> list[str]:
        """The months of the source, graded or not, in order."""
        return sorted({*self.months, *self.missing})

    @property
    def notes(self) -> dict[str, str]:
        """Month -> why it has no numbers."""
        never = dict.fromkeys(self.missing, "never graded")
        return dict(sorted((never | {m: r.note for m, r in self.months.items() if r.breakdown is None}).items()))


_OF_ROWS_ALONE = (
    *QUANTILE_COLUMNS,
    *("model_type", "model_sha256", "feature_version", "confidence_score", "line_margin"),
    *("signed_error", "within_3", "within_5", "rest_advantage"),
)


def without_details(month: GradedMonth) -> GradedMonth:
    """A month's grades without the columns that neither `summarise`, `graded_games` nor `compare_graded` reads.

    They take half of the memory of many months. The digest stays that of the whole.
    """
    return replace(month, table=month.table.drop_columns([n for n in _OF_ROWS_ALONE if n in month.table.column_names]))


def summarise(graded: Mapping[str, GradedMonth], months: Sequence[str]) -> WalkForward:
    """Measure all graded rows, by season and overall.

    Args:
        graded: month -> its grades.
        months: all months of the source.
    """
    tables = {month: graded[month].table for month in sorted(graded)}
    by_season: dict[str, list[pa.Table]] = {}
    for month, table in tables.items():
        by_season.setdefault(season_of(month), []).append(table)
    seasons = {season: break_down(pa.concat_tables(parts)) for season, parts in by_season.items()}
    every = pa.concat_tables(tables.values()) if tables else None
    return WalkForward(
        months={month: graded[month].report for month in tables},
        missing=tuple(month for month in months if month not in graded),
        seasons={season: measured for season, measured in seasons.items() if measured is not None},
        overall=break_down(every) if every else None,
        market=measure_market(market_rows(tables.values())) if tables else None,
    )


@dataclass(frozen=True, slots=True)
class GradedGames:
    """All graded predictions together: the dates of the first and the last, and where they are right."""

    first: date
    last: date
    diagnosis: Diagnosis


def graded_games(graded: Mapping[str, GradedMonth]) -> GradedGames | None:
    """Diagnose all graded rows; None without rows. `graded`: month -> its grades."""
    tables = [each.table for each in graded.values() if each.table.num_rows]
    if not tables:
        return None
    rows = pa.concat_tables(tables)
    days = pc.min_max(rows.column("game_date")).as_py()
    return GradedGames(days["min"], days["max"], diagnose(rows))


def month_ranges(months: Iterable[str], order: Sequence[str]) -> list[str]:
    """The months as ranges over those that follow each other in `order`: `2021-10 to 2022-01`."""
    ranges: list[tuple[str, str]] = []
    for month in sorted(months, key=order.index):
        if ranges and order.index(ranges[-1][1]) + 1 == order.index(month):
            ranges[-1] = (ranges[-1][0], month)
        else:
            ranges.append((month, month))
    return [first if first == last else f"{first} to {last}" for first, last in ranges]


def summary_table(slices: Mapping[str, Slice], label: str) -> pd.DataFrame:
    """One row per slice, formatted for reading. `label` is the heading of the first column."""
    return pd.DataFrame([{label: name, **_row(each)} for name, each in slices.items()])


def _row(each: Slice) -> dict[str, str]:
    def mae_of(name: str) -> str:
        return f"{each.baselines[name].metrics.mae:.3f}" if name in each.baselines else "-"

    season, line = each.baselines.get("season_average"), each.against_line
    return {
        "n": f"{each.metrics.n:,}",
        "MAE": f"{each.metrics.mae:.3f}",
        "95% interval": f"{each.mae_interval.low:.3f} to {each.mae_interval.high:.3f}",
        "season average": mae_of("season_average"),
        "gain": f"{season.gain:+.3f} ({season.gain_interval.low:+.3f} to {season.gain_interval.high:+.3f})"
        if season
        else "-",
        "last 10": mae_of("last_10_average"),
        "last 5": mae_of("last_5_average"),
        "mock": mae_of("mock"),
        "line": f"{line.line.metrics.mae:.3f} (model {line.line.model_mae:.3f}, n {line.n:,})" if line else "-",
        "hit rate": hit_rate_in_words(line.hit_rate) if line else "-",
        "coverage": f"{each.coverage.inside:.1%}",
    }


def hit_rate_in_words(rate: Proportion | None) -> str:
    """`51.3% (48.9% to 53.7%) of 1,640`, with its Wilson interval, or `no bet`."""
    return f"{rate.share:.1%} ({rate.low:.1%} to {rate.high:.1%}) of {rate.n:,}" if rate else "no bet"
