"""Grades of predictions, compared with the actual results.

Grades single rows, and measures them overall and by group. A month, a season and all months (`walk_forward`) use the
same measures.
"""

from __future__ import annotations

import calendar
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field

from nba_ml.contract.digest import json_digest
from nba_ml.contract.features import FeatureVersion
from nba_ml.contract.quantiles import QUANTILE_COLUMNS
from nba_ml.data.snapshot import Snapshot
from nba_ml.data.table_digest import table_digest
from nba_ml.data.tables import PREDICTION_GRADES, PRICES, SEPARATE_PRICES
from nba_ml.evaluation.market import MarketResult, market_rows, measure_market
from nba_ml.evaluation.predictions import MonthPredictions, PredictingModel, prices_to_store
from nba_ml.model.baselines import BASELINES, predict_baselines
from nba_ml.model.calibration import Coverage
from nba_ml.model.comparison import BaselineResult, compare
from nba_ml.model.distribution import DistributionScores, score_rows
from nba_ml.model.metrics import LEVEL, Interval, PredictionMetrics, interval_over_days, measure
from nba_ml.model.recommendation import NO_LINE, OVER, PASS, UNDER
from nba_ml.model.spread import Spread
from nba_ml.model.tiers import TIER_NAMES, tier_of

RIGHT, WRONG, PUSH = "RIGHT", "WRONG", "PUSH"

SEASON_CALENDAR = (10, 11, 12, 1, 2, 3, 4, 5, 6, 7, 8, 9)
"""Calendar months in season order."""

_FROZEN = ConfigDict(frozen=True, extra="forbid")
_KEY = ["player_lookup", "game_date"]

Array = npt.NDArray[np.floating]
Labels = npt.NDArray[np.str_]


class Proportion(BaseModel):
    """`hits` of `n`: the share and its 95% Wilson score interval."""

    model_config = _FROZEN

    hits: int
    n: int
    share: float
    low: float
    high: float


class LineResult(BaseModel):
    """Predictions compared with the line, on the `n` rows that have one.

    A bet is an OVER or UNDER recommendation (see `recommendation.recommend`). `pushes` are bets whose result equals the
    line; they do not count. `hit_rate` is right / (right + wrong), or None without such bets. `bias` is the mean of the
    model's own number minus line. `line` is the line as a predictor, with the prediction's gain on it; `own` the
    model's own number (`model_points`), likewise; None in reports of before there were two numbers.
    """

    model_config = _FROZEN

    n: int
    over: int
    under: int
    passed: int
    pushes: int
    hit_rate: Proportion | None
    bias: float
    line: BaselineResult
    own: BaselineResult | None = None


class Slice(BaseModel):
    """All measures on one set of graded predictions. `coverage` is that of the 10-90% interval."""

    model_config = _FROZEN

    metrics: PredictionMetrics
    mae_interval: Interval = Field(description="95%, bootstrap over days")
    days: int
    baselines: dict[str, BaselineResult]
    coverage: Coverage
    distribution: DistributionScores | None = Field(None, description="of the rows that have quantiles")
    against_line: LineResult | None


class Breakdown(BaseModel):
    """Measures overall, and by dimension and group. Groups without rows are omitted."""

    model_config = _FROZEN

    overall: Slice
    by: dict[str, dict[str, Slice]]


class GradeReport(BaseModel):
    """A month's grades. `breakdown` is None if there is nothing to grade.

    `graded` + `void` is the number of predictions. `void` counts predicted players without a result, `late` results
    without a prediction. `without_result` and `early_season` are the snapshot's counts.
    """

    model_config = _FROZEN

    month: str
    model: PredictingModel | None
    graded: int
    void: int
    late: int
    without_result: int
    early_season: int
    breakdown: Breakdown | None
    market: MarketResult | None = Field(None, description="None without lines, and in reports of before it existed")

    @property
    def note(self) -> str:
        """Why there are no numbers, or '' if there are."""
        if self.breakdown is not None:
            return ""
        waiting = f"{self.without_result:,} feature rows without a result"
        if self.void:
            return f"none of the {self.void:,} predicted players has a result: no games yet, or no box scores"
        if self.late:
            why = "there was no earlier model" if self.model is None else "the predictions are for older rows"
            return f"{self.late:,} results but no predictions: {why}; {waiting}"
        if self.early_season:
            return f"only early-season rows ({self.early_season:,}), which are not predicted; {waiting}"
        return f"no results yet; {waiting}"


@dataclass(frozen=True, slots=True)
class GradedMonth:
    """A month's graded rows, in `tables.PREDICTION_GRADES`, and their report."""

    table: pa.Table
    report: GradeReport
    digest: str

    @classmethod
    def of(cls, table: pa.Table, report: GradeReport) -> GradedMonth:
        """Build the value with the digest of the rows and the report."""
        return cls(table, report, json_digest({"rows": table_digest(table), "report": report.model_dump(mode="json")}))


def grade_month(
    predictions: MonthPredictions,
    snapshot: Snapshot,
    month: str,
    version: FeatureVersion,
    prices: pa.Table | None = None,
) -> GradedMonth:
    """Grade a month's predictions with the results in its snapshot. `prices` as in `grade_rows`.

    The prediction of a player who did not play is void and counts in no measure. Without rows, the report has a note.
    """
    table = grade_rows(predictions, snapshot, version, prices)
    return GradedMonth.of(
        table,
        GradeReport(
            month=month,
            model=predictions.model,
            graded=table.num_rows,
            void=predictions.table.num_rows - table.num_rows,
            late=snapshot.table.num_rows - table.num_rows,
            without_result=snapshot.counts.without_result,
            early_season=snapshot.counts.early_season,
            breakdown=break_down(table),
            market=measure_market(market_rows([table])),
        ),
    )


def grade_rows(
    predictions: MonthPredictions, snapshot: Snapshot, version: FeatureVersion, prices: pa.Table | None = None
) -> pa.Table:
    """Grade the predictions that have a result. Returns `tables.PREDICTION_GRADES`.

    `prices` are those of the lines, by player_lookup and game_date; `tables.SEPARATE_PRICES` may be left out.
    """
    predicted: pd.DataFrame = predictions.table.to_pandas(date_as_object=False)
    wanted = [*_KEY, "points", "home_away", "back_to_back", "rest_advantage"]
    results: pd.DataFrame = snapshot.table.select(wanted).to_pandas(date_as_object=False)
    vectors = np.column_stack([snapshot.table.column(name).to_numpy() for name in version.names])
    known = results.assign(**predict_baselines(vectors, version))
    rows = predicted.merge(known, on=_KEY, how="inner", validate="one_to_one")
    if prices is None:
        rows = rows.assign(**dict.fromkeys(PRICES, np.nan))
    else:
        rows = rows.merge(prices.to_pandas(date_as_object=False), on=_KEY, how="left", validate="one_to_one")
        if SEPARATE_PRICES in rows:
            numbers = ("model_points", "current_points_line", *PRICES)
            points, line, over, under = (rows[name].to_numpy(np.float64) for name in numbers)
            kept = prices_to_store(points, line, (over, under), rows[SEPARATE_PRICES].eq(True).to_numpy())
            rows = rows.assign(**dict(zip(PRICES, kept, strict=True)))
    error = (rows["predicted_points"] - rows["points"]).round(2)
    columns: dict[str, Any] = {
        **{str(name): rows[name] for name in rows},
        "signed_error": error,
        "absolute_error": error.abs(),
        "within_3": error.abs() <= 3,
        "within_5": error.abs() <= 5,
        "outcome": outcomes(rows["recommendation"], rows["points"], rows["current_points_line"]),
        "is_home": rows["home_away"] == 1,
        "back_to_back": rows["back_to_back"] == 1,
        "month_of_season": (rows["game_date"].dt.month - SEASON_CALENDAR[0]) % 12 + 1,
        **_distribution_columns(rows),
    }
    schema = PREDICTION_GRADES
    return pa.table({f.name: pa.array(columns[f.name], type=f.type, from_pandas=False) for f in schema}, schema=schema)


def _distribution_columns(rows: pd.DataFrame) -> dict[str, Array]:
    """Scores of the rows' quantiles; NaN for the rows of a system without an interval."""
    spread, points = Spread.published(rows[list(QUANTILE_COLUMNS)].to_numpy()), rows["points"].to_numpy(np.float64)
    known = ~np.isnan(spread.quantiles[:, 0])
    low, high = np.where(known[:, None], spread.pit(points), np.nan).T
    return {"crps": np.where(known, spread.crps(points), np.nan), "pit_low": low, "pit_high": high}


def outcomes(recommendation: pd.Series, points: pd.Series, line: pd.Series) -> Labels:
    """Outcome of each recommendation (n,): RIGHT, WRONG or PUSH (result equals the line); PASS and NO_LINE stay."""
    bet = recommendation.isin((OVER, UNDER))
    won = ((recommendation == OVER) & (points > line)) | ((recommendation == UNDER) & (points < line))
    return np.select([recommendation == NO_LINE, ~bet, points == line, won], [NO_LINE, PASS, PUSH, RIGHT], WRONG)


@dataclass(frozen=True, slots=True)
class _Rows:
    """Graded rows, of which a column is read and cut to the chosen ones when it is asked for.

    A copy of the rows of each group, with all their columns, took 60 MB of 36 months.
    """

    table: pa.Table
    chosen: npt.NDArray[np.bool_] | None = None
    """Of the table (n,); None for all."""

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        """A column; texts as objects."""
        values: npt.NDArray[Any] = self.table.column(name).to_pandas(date_as_object=False).to_numpy()
        return values if self.chosen is None else values[self.chosen]

    def where(self, chosen: npt.NDArray[np.bool_]) -> _Rows:
        """Those of these rows (n,) that are chosen."""
        if self.chosen is None:
            return _Rows(self.table, chosen)
        both = self.chosen.copy()
        both[both] = chosen
        return _Rows(self.table, both)

    def __len__(self) -> int:
        return self.table.num_rows if self.chosen is None else int(self.chosen.sum())


_SEASON_MONTHS = tuple(calendar.month_name[number] for number in SEASON_CALENDAR)

DIMENSIONS: Mapping[str, tuple[tuple[str, ...], Callable[[_Rows], Labels]]] = {
    "tier": (TIER_NAMES, lambda rows: tier_of(rows["season_average"])),
    "venue": (("home", "away"), lambda rows: np.where(rows["is_home"], "home", "away")),
    "rest": (("rested", "back-to-back"), lambda rows: np.where(rows["back_to_back"], "back-to-back", "rested")),
    "month of season": (
        _SEASON_MONTHS,
        lambda rows: np.array(_SEASON_MONTHS)[rows["month_of_season"] - 1],
    ),
}
"""Dimension -> its groups in order, and a function that returns the group of each row."""


def break_down(table: pa.Table) -> Breakdown | None:
    """Measure graded rows (`tables.PREDICTION_GRADES`), overall and by every dimension; None without rows."""
    if not table.num_rows:
        return None
    rows = _Rows(table)
    overall = _measure_slice(rows)
    by: dict[str, dict[str, Slice]] = {}
    for dimension, (groups, group_of) in DIMENSIONS.items():
        labels = group_of(rows)
        by[dimension] = {
            # The bootstrap is expensive: do not measure a group again if it has all rows.
            group: overall if (labels == group).all() else _measure_slice(rows.where(labels == group))
            for group in groups
            if (labels == group).any()
        }
    return Breakdown(overall=overall, by=by)


def _measure_slice(rows: _Rows) -> Slice:
    """All measures of graded rows. Raises ValueError without rows."""
    predicted, actual, days = rows["predicted_points"], rows["points"], rows["game_date"].astype("datetime64[D]")
    compared = {name: compare(rows[name], predicted, actual, days) for name in BASELINES}
    return Slice(
        metrics=measure(predicted, actual),
        mae_interval=interval_over_days(np.abs(predicted - actual), days),
        days=len(np.unique(days)),
        baselines={name: result for name, result in compared.items() if result is not None},
        coverage=_coverage(rows),
        distribution=_distribution(rows),
        against_line=_against_line(rows.where(rows["recommendation"] != NO_LINE)),
    )


def proportion(hits: int, n: int) -> Proportion | None:
    """A share with its 95% Wilson score interval; None if `n` is 0.

    Source: E. B. Wilson, Probable inference, the law of succession, and statistical inference, Journal of
    the American Statistical Association 22 (1927), 209-212. It stays within 0 and 1 and is valid for few bets.
    """
    if n == 0:
        return None
    z = NormalDist().inv_cdf((1 + LEVEL) / 2)
    share = hits / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return Proportion(
        hits=hits,
        n=n,
        share=round(share, 6),
        low=round(max(float(centre - half), 0.0), 6),
        high=round(min(float(centre + half), 1.0), 6),
    )


def _coverage(rows: _Rows) -> Coverage:
    points = rows["points"]
    return Coverage.of(points < rows["points_low"], points > rows["points_high"])


def _distribution(rows: _Rows) -> DistributionScores | None:
    rows = rows.where(~np.isnan(rows["crps"]))
    if not len(rows):
        return None
    narrow, wide, pit = (
        np.stack([rows[name] for name in names], axis=1)
        for names in (("points_low", "points_high"), ("points_low_90", "points_high_90"), ("pit_low", "pit_high"))
    )
    return score_rows(rows["points"], narrow, wide, rows["crps"], pit)


def _against_line(rows: _Rows) -> LineResult | None:
    names = ("predicted_points", "model_points", "points", "current_points_line")
    predicted, own, actual, line = (rows[name] for name in names)
    days = rows["game_date"].astype("datetime64[D]")
    result = compare(line, predicted, actual, days)
    if result is None:
        return None
    counted = Counter(rows["outcome"])
    right, wrong = counted[RIGHT], counted[WRONG]
    return LineResult(
        n=len(rows),
        over=int((rows["recommendation"] == OVER).sum()),
        under=int((rows["recommendation"] == UNDER).sum()),
        passed=counted[PASS],
        pushes=counted[PUSH],
        hit_rate=proportion(right, right + wrong),
        bias=round(float((own - line).mean()), 6),
        line=result,
        own=compare(own, predicted, actual, days),
    )
