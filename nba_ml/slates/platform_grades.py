"""Grades of the platform's systems: what they predicted, compared with the results and with ours on the same games.

Predictions made ahead, replayed ones, and those of which this is unknown are never combined. `slates.platform_rows`
decides which rows count.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from nba_ml.contract.digest import json_digest
from nba_ml.data.tables import REPLAYED
from nba_ml.evaluation.grades import PUSH, RIGHT, WRONG, Proportion, outcomes, proportion
from nba_ml.model.metrics import Interval, PredictionMetrics, measure
from nba_ml.slates.grades import day_interval, paired_gain, range_text, rate_text
from nba_ml.slates.platform_rows import counted_rows
from nba_ml.slates.slate import AHEAD, UNKNOWN, Made

_FROZEN = ConfigDict(frozen=True, extra="forbid")
_KEY = ["player_lookup", "game_date"]
_KINDS: tuple[Made, ...] = (AHEAD, UNKNOWN, REPLAYED)


class PlatformGrade(BaseModel):
    """The grade of one system's predictions of one kind (`made`).

    `predicted` are its player-games that count, of which `void` are of players who did not play, `waiting` of dates
    without results yet, and `metrics.n` the rest. `mae_interval` is None for fewer than 5 dates. `pushes` are bets
    whose result equals the line; they do not count.
    """

    model_config = _FROZEN

    system_id: str
    made: Made
    predicted: int
    void: int
    waiting: int
    days: int
    metrics: PredictionMetrics | None
    mae_interval: Interval | None
    hit_rate: Proportion | None
    pushes: int


class PairedGrade(BaseModel):
    """A system and ours on the player-games that both predicted and that have a result.

    `ours` is the asset that our predictions are from. `gain` is the system's MAE minus ours, paired by row: above 0
    ours is better. `interval` is its 95% interval (bootstrap over days), None for fewer than 5 dates. The hit rates are
    each side's own bets.
    """

    model_config = _FROZEN

    system_id: str
    made: Made
    ours: str
    rows: int
    days: int
    mae: float
    our_mae: float
    bias: float
    our_bias: float
    gain: float
    interval: Interval | None
    hit_rate: Proportion | None
    our_hit_rate: Proportion | None


class PlatformReport(BaseModel):
    """The grades of the platform's systems over some months. `left_out`: system -> reason -> rows.

    `without_ours` are the assets of ours that have no predictions of these months to compare with.
    """

    model_config = _FROZEN

    months: tuple[str, ...]
    systems: tuple[str, ...]
    grades: tuple[PlatformGrade, ...]
    paired: tuple[PairedGrade, ...]
    left_out: dict[str, dict[str, int]]
    without_ours: tuple[str, ...]

    @property
    def without_rows(self) -> tuple[str, ...]:
        """The systems that have no row that counts."""
        return tuple(each for each in self.systems if each not in {grade.system_id for grade in self.grades})


@dataclass(frozen=True, slots=True)
class PlatformGrades:
    """The rows that count, of all systems, with `points` where there is a result, and their report."""

    rows: pd.DataFrame
    report: PlatformReport

    @property
    def digest(self) -> str:
        """Of the report: its numbers change with any row that counts."""
        return json_digest(self.report.model_dump(mode="json"))


def grade_platform(
    months: Sequence[str], systems: Sequence[str], found: pa.Table, results: pa.Table, ours: Mapping[str, pa.Table]
) -> PlatformGrades:
    """Grade systems' predictions with the results, and compare each with ours.

    Args:
        found: active rows (`tables.PLATFORM_PREDICTIONS`).
        results: all players who played in these months (`tables.RESULTS`).
        ours: asset -> graded rows (`tables.PREDICTION_GRADES`), at most one per player and date.
    """
    counted = counted_rows(found)
    played: pd.DataFrame = results.select([*_KEY, "points"]).to_pandas(date_as_object=False)
    rows = counted.rows.merge(played, on=_KEY, how="left", validate="many_to_one")
    rows["outcome"] = outcomes(rows["recommendation"], rows["points"], rows["current_points_line"])
    rows["error"] = rows["predicted_points"] - rows["points"]
    days = set(played["game_date"])
    groups = [
        (system, made, of_them)
        for system in systems
        for made in _KINDS
        if len(of_them := rows[(rows["system_id"] == system) & (rows["made"] == made)])
    ]
    frames = {asset: _our_rows(table) for asset, table in ours.items() if table.num_rows}
    report = PlatformReport(
        months=tuple(months),
        systems=tuple(systems),
        grades=tuple(_grade(system, made, of_them, days) for system, made, of_them in groups),
        paired=tuple(
            pair
            for system, made, of_them in groups
            for asset, frame in frames.items()
            for pair in _paired(system, made, of_them, asset, frame)
        ),
        left_out={system: dict(reasons) for system, reasons in sorted(counted.left_out.items())},
        without_ours=tuple(asset for asset in ours if asset not in frames),
    )
    return PlatformGrades(rows, report)


def _our_rows(table: pa.Table) -> pd.DataFrame:
    frame: pd.DataFrame = table.select([*_KEY, "signed_error", "outcome"]).to_pandas(date_as_object=False)
    return frame


def _grade(system: str, made: Made, rows: pd.DataFrame, days: set[pd.Timestamp]) -> PlatformGrade:
    waiting = ~rows["game_date"].isin(days)
    graded = rows[rows["points"].notna()]
    dates = graded["game_date"].to_numpy().astype("datetime64[D]")
    predicted, points = graded["predicted_points"].to_numpy(), graded["points"].to_numpy()
    return PlatformGrade(
        system_id=system,
        made=made,
        predicted=len(rows),
        void=len(rows) - len(graded) - int(waiting.sum()),
        waiting=int(waiting.sum()),
        days=len(np.unique(dates)),
        metrics=measure(predicted, points) if len(graded) else None,
        mae_interval=day_interval(graded["error"].abs().to_numpy(), dates),
        hit_rate=_hit_rate(graded["outcome"]),
        pushes=int((graded["outcome"] == PUSH).sum()),
    )


def _paired(system: str, made: Made, rows: pd.DataFrame, asset: str, ours: pd.DataFrame) -> Iterator[PairedGrade]:
    both = rows[rows["points"].notna()].merge(ours, on=_KEY, suffixes=("", "_ours"), validate="one_to_one")
    if both.empty:
        return
    theirs, mine = both["error"].abs().to_numpy(), both["signed_error"].abs().to_numpy()
    yield PairedGrade(
        system_id=system,
        made=made,
        ours=asset,
        mae=round(float(theirs.mean()), 6),
        our_mae=round(float(mine.mean()), 6),
        bias=round(float(both["error"].mean()), 6) + 0.0,
        our_bias=round(float(both["signed_error"].mean()), 6) + 0.0,
        **paired_gain(theirs, mine, both["game_date"]),
        hit_rate=_hit_rate(both["outcome"]),
        our_hit_rate=_hit_rate(both["outcome_ours"]),
    )


def _hit_rate(outcomes_of_rows: pd.Series) -> Proportion | None:
    right, wrong = (int((outcomes_of_rows == outcome).sum()) for outcome in (RIGHT, WRONG))
    return proportion(right, right + wrong)


def platform_frame(report: PlatformReport) -> pd.DataFrame:
    """Each system's own grade, as a table for reading."""
    return pd.DataFrame(
        [
            {
                "system": grade.system_id,
                "made": grade.made,
                "n": grade.metrics.n if grade.metrics else 0,
                "MAE": f"{grade.metrics.mae:.3f}" if grade.metrics else "-",
                "95%": range_text(grade.mae_interval, ".3f"),
                "bias": f"{grade.metrics.bias:+.2f}" if grade.metrics else "-",
                "hit rate": rate_text(grade.hit_rate),
                "pushes": grade.pushes,
                "void": grade.void,
                "waiting": grade.waiting,
                "days": grade.days,
            }
            for grade in report.grades
        ]
    )


def paired_frame(report: PlatformReport) -> pd.DataFrame:
    """Each system beside ours on the same player-games, as a table for reading."""
    return pd.DataFrame(
        [
            {
                "system": pair.system_id,
                "made": pair.made,
                "ours": pair.ours,
                "rows": pair.rows,
                "days": pair.days,
                "MAE": f"{pair.mae:.3f}",
                "our MAE": f"{pair.our_mae:.3f}",
                "gain": f"{pair.gain:+.3f}",
                "95%": range_text(pair.interval, "+.3f"),
                "hit rate": rate_text(pair.hit_rate),
                "our hit rate": rate_text(pair.our_hit_rate),
            }
            for pair in report.paired
        ]
    )


def left_out_lines(report: PlatformReport) -> Iterator[str]:
    """What does not count, and what there is nothing of, one fact a line."""
    for system, reasons in report.left_out.items():
        yield f"{system}: left out {', '.join(f'{rows:,} ({reason})' for reason, rows in reasons.items())}."
    if report.without_rows:
        yield f"No active row that counts: {', '.join(report.without_rows)}."
    for asset in report.without_ours:
        yield f"Nothing of ours to compare with in {asset}."
