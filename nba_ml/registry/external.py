"""What an external model must show on stored rows before it serves anybody.

A model of ours has a publisher's verdict; a registered file has only its trainer's word. So it is scored on rows of
the store that are later than the last game it was given, and is held to conditions that a model of points meets and a
model of something else does not.

The trust that remains: nobody can check the date that a person gave with `--given-until`. One that is too late only
hides rows. One that is too early has the model graded on games that it remembers; then its error is too small to be
true, and the condition `no_leak` refuses it.

What belongs here: the conditions. What does not: reading models and months (`registry.backtest`), deciding between
models (`promotion`, `rollout`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from nba_ml.contract.features import V2_33FEATURES
from nba_ml.model.baselines import BASELINES
from nba_ml.model.recommendation import publish_points
from nba_ml.registry.channel import Evidence
from nba_ml.registry.promotion_rules import FEWEST_DAYS, Condition, compare_systems, listed, rows_later_than
from nba_ml.registry.systems.interface import Floats, PredictionSystem, columns_of
from nba_ml.registry.systems.rules import Rule

SEASON_AVERAGE = Rule("season_average", BASELINES["season_average"])
"""What an external model is compared with. It is named as the champion in the evidence that is recorded."""


@dataclass(frozen=True, slots=True)
class ExternalLimits:
    """What an external model is held to; the sources are in `contract.thresholds`.

    `margin`: points of MAE by which it may be worse than the season average, at the low end of the gain's interval.
    `spread`: the least standard deviation of its predictions, as a share of the season average's.
    `correlation`: the least, of its predictions with the results. `leak_mae`: a smaller MAE is taken for a leak.
    """

    rows: int
    margin: float
    bias: tuple[float, float]
    spread: float
    correlation: float
    leak_mae: float


class Backtest(BaseModel):
    """An external model on stored rows that it was not given: each condition, and the numbers behind them.

    `evidence` compares it with the season average; None if there is no row for which both have a value.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    conditions: tuple[Condition, ...]
    evidence: Evidence | None

    @property
    def passed(self) -> bool:
        """Whether every condition is met."""
        return all(condition.met for condition in self.conditions)

    @property
    def too_few(self) -> bool:
        """Whether there are too few rows to say anything."""
        return any(condition.name == "unseen_rows" and not condition.met for condition in self.conditions)

    @property
    def said(self) -> str:
        """Every condition with its value and its limit, the unmet ones first."""
        return listed(self.conditions)


def backtest_external(system: PredictionSystem, snapshots: Sequence[pa.Table], limits: ExternalLimits) -> Backtest:
    """Hold an external model to the conditions, on all rows of the snapshots after the last game it was given.

    Raises:
        BundleError: the model's output is infinite.
    """
    rows = rows_later_than(SEASON_AVERAGE, system, snapshots, date.min, date.max)
    evidence = compare_systems(SEASON_AVERAGE, system, rows, limits.margin, V2_33FEATURES)
    if evidence is None:
        missing = _enough(0, 0, system.seen.given, limits)
        unknown = tuple(
            Condition(name=name, met=False, said="not measured, there is no such row")
            for name in ("season_average", "stored_bias", "spread", "correlation", "no_leak")
        )
        return Backtest(model=system.version, conditions=(missing, *unknown), evidence=None)
    conditions = (
        _enough(evidence.rows, evidence.days, system.seen.given, limits),
        *_errors(evidence, limits),
        *_variation(system, rows.table, limits),
    )
    return Backtest(model=system.version, conditions=conditions, evidence=evidence)


def _enough(rows: int, days: int, given: date, limits: ExternalLimits) -> Condition:
    return Condition(
        name="unseen_rows",
        met=rows >= limits.rows and days >= FEWEST_DAYS,
        said=f"{rows:,} stored player-games on {days} dates after {given}, the last date it was given by its "
        f"trainer's word; at least {limits.rows:,} on {FEWEST_DAYS} dates required",
    )


def _errors(evidence: Evidence, limits: ExternalLimits) -> tuple[Condition, Condition, Condition]:
    (low, high), n = limits.bias, f"n {evidence.rows:,}"
    return (
        Condition(
            name="season_average",
            met=evidence.low >= -limits.margin,
            said=f"MAE {evidence.candidate_mae:.3f}, the season average's {evidence.champion_mae:.3f}, gain "
            f"{evidence.gain:+.3f} ({evidence.low:+.3f} to {evidence.high:+.3f}); low end at least "
            f"{-limits.margin:+.2f} required, {n}",
        ),
        Condition(
            name="stored_bias",
            met=low <= evidence.bias <= high,
            said=f"bias {evidence.bias:+.2f}; {low:+.1f} to {high:+.1f} required, {n}",
        ),
        Condition(
            name="no_leak",
            met=evidence.candidate_mae >= limits.leak_mae,
            said=f"MAE {evidence.candidate_mae:.3f}; at least {limits.leak_mae:.1f} required, because a smaller one "
            f"means that it was given these games until the opposite is shown, {n}",
        ),
    )


def _variation(system: PredictionSystem, rows: pa.Table, limits: ExternalLimits) -> tuple[Condition, Condition]:
    columns = columns_of(rows, V2_33FEATURES)
    average, raw = SEASON_AVERAGE.predict(columns), system.predict(columns)
    there = ~(np.isnan(average) | np.isnan(raw))
    predicted, average = publish_points(raw[there]), publish_points(average[there])
    results: Floats = rows.column("points").to_numpy()[there]
    spread, usual, n = float(predicted.std()), float(average.std()), f"n {len(results):,}"
    constant = spread == 0 or results.std() == 0
    correlation = 0.0 if constant else float(np.corrcoef(predicted, results)[0, 1])
    return (
        Condition(
            name="spread",
            met=spread > 0 and spread >= limits.spread * usual,
            said=f"standard deviation of the predictions {spread:.2f}; at least {limits.spread * usual:.2f} required, "
            f"{limits.spread:.0%} of the season average's, {n}",
        ),
        Condition(
            name="correlation",
            met=correlation >= limits.correlation,
            said=f"correlation with the results {correlation:.2f}; at least {limits.correlation:.2f} required, {n}",
        ),
    )
