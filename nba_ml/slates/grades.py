"""Grades of slates: served and shadow predictions compared with the actual results.

The grades use predictions stored when they were made, never recreated ones. Predictions made ahead, replayed ones, and
those of which this is unknown are never combined.

Groups rows and measures them. `evaluation.grades` grades single rows; `slates.slate` decides which version counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from nba_ml.contract.digest import json_digest
from nba_ml.contract.features import V2_33FEATURES, FeatureVersion
from nba_ml.data.snapshot import Snapshot
from nba_ml.data.table_digest import table_digest
from nba_ml.data.tables import PREDICTIONS, PRICES, REPLAYED, SLATE_GRADES, SLATE_PREDICTIONS
from nba_ml.evaluation.grades import PUSH, RIGHT, WRONG, Proportion, grade_rows, proportion
from nba_ml.evaluation.market import MarketResult, measure_market
from nba_ml.evaluation.predictions import MonthPredictions
from nba_ml.model.metrics import FEWEST_DAYS, Interval, PredictionMetrics, interval_over_days, measure
from nba_ml.slates.slate import AHEAD, CHALLENGER, CHAMPION, SERVED, UNKNOWN, Made, Slate, made

_FROZEN = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())
_KEY = ["player_lookup", "game_date"]
_GROUP = ["side", "role", "system_id", "model_version", "made"]


class SlateGrade(BaseModel):
    """The grade of one group of predictions.

    `side` is champion, challenger, or 'all' for all served predictions. `predicted` counts predictions on days with
    results. Of these, `void` are players who did not play, `unmatched` are players who played but no longer have a
    valid feature row, and `metrics.n` are the rest. `mae_interval` is None for fewer than 5 dates. `pushes` are bets
    whose result equals the line; they do not count.
    """

    model_config = _FROZEN

    side: Literal["champion", "challenger", "all"]
    role: Literal["served", "shadow"]
    system_id: str
    model_version: str
    made: Made
    predicted: int
    void: int
    unmatched: int
    days: int
    metrics: PredictionMetrics | None
    mae_interval: Interval | None
    hit_rate: Proportion | None
    pushes: int
    market: MarketResult | None = None


class SidesCompared(BaseModel):
    """Champion and challenger on the rows that both scored, whichever served them.

    `gain` is the champion's MAE minus the challenger's, paired by row. Above 0 the challenger is better. `interval` is
    its 95% interval (bootstrap over days), or None for fewer than 5 dates.
    """

    model_config = _FROZEN

    champion: str
    challenger: str
    made: Made
    rows: int
    days: int
    champion_mae: float
    challenger_mae: float
    gain: float
    interval: Interval | None


class SlateGradeReport(BaseModel):
    """The grades of a month's slates. `waiting` are dates without results yet; they are not measured.

    `replayed_dates` have a prediction that was made after tip-off, `unknown_dates` one that may have been.
    """

    model_config = _FROZEN

    month: str
    dates: int
    waiting: tuple[date, ...]
    replayed_dates: int
    unknown_dates: int = 0
    served: tuple[SlateGrade, ...]
    grades: tuple[SlateGrade, ...]
    compared: tuple[SidesCompared, ...]

    @property
    def note(self) -> str:
        """Why there are no numbers, or '' if there are."""
        if any(grade.metrics for grade in self.grades):
            return ""
        if not self.dates:
            return f"there are no slates of {self.month}"
        if len(self.waiting) == self.dates:
            return f"none of the {self.dates} dates with a slate has results yet"
        return "none of the predicted players has a result"


@dataclass(frozen=True, slots=True)
class SlateGrades:
    """A month's graded rows, in `tables.SLATE_GRADES`, and their report."""

    table: pa.Table
    report: SlateGradeReport
    digest: str

    @classmethod
    def of(cls, table: pa.Table, report: SlateGradeReport) -> SlateGrades:
        """Build the value with the digest of the rows and the report."""
        return cls(table, report, json_digest({"rows": table_digest(table), "report": report.model_dump(mode="json")}))


def grade_slates(
    slates: Sequence[Slate], snapshot: Snapshot, month: str, version: FeatureVersion = V2_33FEATURES
) -> SlateGrades:
    """Grade a month's slates, one per date, with the results in its snapshot.

    Raises:
        ValueError: two slates have the same date.
    """
    if len({slate.report.game_date for slate in slates}) != len(slates):
        raise ValueError("two slates have the same date: choose the version that counts first")
    played = set(snapshot.results.column("game_date").to_pylist())
    ready = [slate for slate in slates if slate.report.game_date in played]
    rows = _predicted(ready)
    graded = _graded(rows, snapshot, version)
    report = SlateGradeReport(
        month=month,
        dates=len(slates),
        waiting=tuple(sorted({slate.report.game_date for slate in slates} - played)),
        replayed_dates=sum(slate.made == REPLAYED for slate in slates),
        unknown_dates=sum(slate.made == UNKNOWN for slate in slates),
        served=tuple(_served(rows, graded, snapshot)),
        grades=tuple(_by_kind(rows, graded, snapshot)),
        compared=tuple(_compared(graded)),
    )
    table = pa.table({f.name: pa.array(graded[f.name], type=f.type, from_pandas=False) for f in SLATE_GRADES})
    return SlateGrades.of(table.cast(SLATE_GRADES), report)


def _predicted(slates: Sequence[Slate]) -> pd.DataFrame:
    """All rows of the slates, with the column `made`."""
    tables = [
        slate.table.append_column(
            "made", pa.array([made(slate.created_at, day, each) for each in tip_offs], pa.string())
        )
        for slate in sorted(slates, key=lambda slate: slate.report.game_date)
        for day, tip_offs in [(slate.report.game_date, slate.table.column("tip_off").to_pylist())]
    ]
    empty = SLATE_PREDICTIONS.empty_table().append_column("made", pa.array([], pa.string()))
    frame: pd.DataFrame = pa.concat_tables([empty, *tables]).to_pandas(date_as_object=False)
    return frame


def _graded(rows: pd.DataFrame, snapshot: Snapshot, version: FeatureVersion) -> pd.DataFrame:
    """The graded rows of both sides. A key can occur once per side."""
    graded: list[pd.DataFrame] = []
    for side in (CHAMPION, CHALLENGER):
        one = rows[rows["side"] == side]
        schema = PREDICTIONS
        table = pa.table({f.name: pa.array(one[f.name], type=f.type, from_pandas=False) for f in schema}, schema=schema)
        prices = pa.Table.from_pandas(one[[*_KEY, *PRICES]], preserve_index=False)
        found = grade_rows(MonthPredictions.of(table, None), snapshot, version, prices)
        more = one[[*_KEY, "side", "role", "channel_serial", "created_at", "made"]]
        graded.append(found.to_pandas(date_as_object=False).merge(more, on=_KEY, how="left", validate="one_to_one"))
    rows_of_both = pd.concat([each for each in graded if len(each)] or graded[:1])
    return rows_of_both.sort_values(["game_date", "player_lookup", "role"], ignore_index=True)


def _served(rows: pd.DataFrame, graded: pd.DataFrame, snapshot: Snapshot) -> Iterator[SlateGrade]:
    """Grades of all served predictions, whichever model made them."""
    for kind in (AHEAD, UNKNOWN, REPLAYED):
        chosen = rows[(rows["role"] == SERVED) & (rows["made"] == kind)]
        if len(chosen):
            of_them = graded[(graded["role"] == SERVED) & (graded["made"] == kind)]
            yield _grade(("all", SERVED, "", "", kind), chosen, of_them, snapshot)


def _by_kind(rows: pd.DataFrame, graded: pd.DataFrame, snapshot: Snapshot) -> Iterator[SlateGrade]:
    for kind, chosen in rows.groupby(_GROUP, sort=True):
        assert isinstance(kind, tuple)
        of_them = graded[(graded[_GROUP] == list(kind)).all(axis=1)]
        yield _grade(kind, chosen, of_them, snapshot)


def _grade(kind: Sequence[object], rows: pd.DataFrame, graded: pd.DataFrame, snapshot: Snapshot) -> SlateGrade:
    results: pd.DataFrame = snapshot.results.select(_KEY).to_pandas(date_as_object=False)
    played = len(rows.merge(results, on=_KEY, how="inner"))
    outcomes = graded["outcome"].value_counts()
    right, wrong = int(outcomes.get(RIGHT, 0)), int(outcomes.get(WRONG, 0))
    days = graded["game_date"].to_numpy().astype("datetime64[D]")
    has_results = len(graded) > 0
    return SlateGrade.model_validate(
        {
            **dict(zip(_GROUP, kind, strict=True)),
            "predicted": len(rows),
            "void": len(rows) - played,
            "unmatched": played - len(graded),
            "days": len(np.unique(days)),
            "metrics": measure(graded["predicted_points"].to_numpy(), graded["points"].to_numpy())
            if has_results
            else None,
            "mae_interval": day_interval(graded["absolute_error"].to_numpy(), days),
            "hit_rate": proportion(right, right + wrong),
            "pushes": int(outcomes.get(PUSH, 0)),
            "market": measure_market(graded),
        }
    )


def _compared(graded: pd.DataFrame) -> Iterator[SidesCompared]:
    """Compare each champion and challenger on the rows of both."""
    champion, challenger = (graded[graded["side"] == side] for side in (CHAMPION, CHALLENGER))
    wanted = [*_KEY, "model_version", "made", "absolute_error"]
    both = champion[wanted].merge(challenger[wanted], on=[*_KEY, "made"], validate="one_to_one")
    for (ours, theirs, kind), rows in both.groupby(["model_version_x", "model_version_y", "made"], sort=True):
        errors, challenger_errors = (rows[f"absolute_error_{side}"].to_numpy() for side in ("x", "y"))
        yield SidesCompared(
            champion=ours,
            challenger=theirs,
            made=kind,
            champion_mae=round(float(errors.mean()), 6),
            challenger_mae=round(float(challenger_errors.mean()), 6),
            **paired_gain(errors, challenger_errors, rows["game_date"]),
        )


def paired_gain(
    errors: npt.NDArray[np.float64], others: npt.NDArray[np.float64], game_date: pd.Series
) -> dict[str, Any]:
    """The fields `rows`, `days`, `gain` and `interval` of a comparison by row: how much smaller the others' are."""
    days = game_date.to_numpy().astype("datetime64[D]")
    return {
        "rows": len(days),
        "days": len(np.unique(days)),
        "gain": round(float((errors - others).mean()), 6) + 0.0,
        "interval": day_interval(errors - others, days),
    }


def day_interval(values: npt.NDArray[np.float64], days: npt.NDArray[np.datetime64]) -> Interval | None:
    """95% interval of the mean (bootstrap over days); None for fewer than 5 dates."""
    return interval_over_days(values, days) if len(np.unique(days)) >= FEWEST_DAYS else None


def grades_frame(report: SlateGradeReport) -> pd.DataFrame:
    """The grades as a table for reading: all served predictions first, then each side, served and in shadow."""
    return pd.DataFrame(
        [
            {
                "side": grade.side,
                "role": grade.role,
                "made": grade.made,
                "model": grade.model_version or "all served",
                "n": grade.metrics.n if grade.metrics else 0,
                "MAE": f"{grade.metrics.mae:.3f}" if grade.metrics else "-",
                "95%": range_text(grade.mae_interval, ".3f"),
                "bias": f"{grade.metrics.bias:+.2f}" if grade.metrics else "-",
                "hit rate": rate_text(grade.hit_rate),
                "pushes": grade.pushes,
                **_brier(grade.market),
                "void": grade.void,
                "days": grade.days,
            }
            for grade in (*report.served, *report.grades)
        ]
    )


def _brier(result: MarketResult | None) -> dict[str, str]:
    """The Brier score, and how much higher it is than the market's where there are prices."""
    lines, market = (result.lines, result.prices and result.prices.market) if result else (None, None)
    return {
        "Brier": f"{lines.model.brier:.4f}" if lines else "-",
        "minus market": f"{market.brier.value:+.4f}" if market else "-",
    }


def compared_frame(report: SlateGradeReport) -> pd.DataFrame:
    """Champion against challenger, as a table for reading."""
    return pd.DataFrame(
        [
            {
                "champion": pair.champion,
                "challenger": pair.challenger,
                "made": pair.made,
                "rows": pair.rows,
                "days": pair.days,
                "champion MAE": f"{pair.champion_mae:.3f}",
                "challenger MAE": f"{pair.challenger_mae:.3f}",
                "gain": f"{pair.gain:+.3f}",
                "95%": range_text(pair.interval, "+.3f"),
            }
            for pair in report.compared
        ]
    )


def range_text(interval: Interval | None, form: str) -> str:
    """An interval for reading, its ends in the given format."""
    return f"{interval.low:{form}} to {interval.high:{form}}" if interval else f"needs {FEWEST_DAYS} days"


def rate_text(rate: Proportion | None) -> str:
    """A hit rate for reading, with its interval."""
    return f"{rate.share:.1%} of {rate.n} ({rate.low:.1%} to {rate.high:.1%})" if rate else "no bet"
