"""The conditions that an external model must meet on stored rows before it serves.

Our own models have the publisher's verdict; for a registered file there is only its trainer's statement. So it is
scored on stored rows after the last game in its training data, with conditions that a model of points meets and a
model of something else does not.

One thing cannot be verified: the date given with `--given-until`. A date that is too late only hides rows. A date that
is too early grades the model on games that it was trained on; its error is then implausibly small, and the condition
`no_leak` rejects it.

`promotion` and `rollout` decide between models.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import numpy as np
import pyarrow as pa

from nba_ml.contract.errors import ReleaseError
from nba_ml.contract.season import month_of
from nba_ml.contract.thresholds import Thresholds
from nba_ml.model.baselines import BASELINES
from nba_ml.model.metrics import FEWEST_DAYS
from nba_ml.model.recommendation import publish_points
from nba_ml.registry.channel import ChannelModel, Evidence
from nba_ml.registry.promotion_rules import Backtest, Condition, compare_systems, later_rows
from nba_ml.registry.release_context import ReleaseContext
from nba_ml.registry.systems.interface import Floats, PredictionSystem, columns_of
from nba_ml.registry.systems.loading import load_system
from nba_ml.registry.systems.rules import Rule

SEASON_AVERAGE = Rule("season_average", BASELINES["season_average"])
"""What an external model is compared with. The recorded evidence names it as the champion."""


CONDITIONS = ("unseen_rows", "season_average", "stored_bias", "no_leak", "spread", "correlation")
"""The conditions. A person may waive one of them, with a reason."""

OF_POINTS = ("stored_bias", "spread", "correlation")
"""Those that show that a model predicts points. They also hold on the rows that it was trained on."""


def require_one_waiver(names: Sequence[str]) -> None:
    """Raise ReleaseError if more than one condition of an external model is waived: that would leave it unproven."""
    waived = [name for name in names if name in CONDITIONS]
    if len(waived) > 1:
        raise ReleaseError(
            f"{', '.join(waived)} cannot all be waived: of a registered model's conditions ({', '.join(CONDITIONS)}) a "
            "person may waive one."
        )


def backtest_external(system: PredictionSystem, snapshots: Sequence[pa.Table], limits: Thresholds) -> Backtest:
    """Measure an external model against the conditions, on all rows of the snapshots after its training data.

    Raises:
        BundleError: the model's output is infinite.
    """
    rows = later_rows(SEASON_AVERAGE, system, snapshots, date.min, date.max)
    evidence = compare_systems(SEASON_AVERAGE, system, rows, limits.external_margin)
    if evidence is None:
        missing = _enough_rows(0, 0, system.extent.given_until, limits)
        unknown = tuple(
            Condition(name=name, met=False, detail="not measured: there are no rows")
            for name in ("season_average", "stored_bias", "spread", "correlation", "no_leak")
        )
        return Backtest(model=system.version, conditions=(missing, *unknown), evidence=None)
    conditions = (
        _enough_rows(evidence.rows, evidence.days, system.extent.given_until, limits),
        *_errors(evidence, limits),
        *_variation(system, rows.table, limits),
    )
    return Backtest(model=system.version, conditions=conditions, evidence=evidence)


def confirm_points(
    system: PredictionSystem, snapshots: Sequence[pa.Table], limits: Thresholds, waived: Sequence[str]
) -> Backtest:
    """Whether a model's output is points, on all stored rows, also those that it was trained on: the conditions of
    `OF_POINTS` only. A model of minutes is 13 too high, a constant does not vary."""
    found = backtest_external(system, snapshots, limits)
    return found.model_copy(update={"conditions": tuple(c for c in found.conditions if c.name in OF_POINTS)}).waive(
        waived
    )


def _enough_rows(rows: int, days: int, given: date, limits: Thresholds) -> Condition:
    return Condition(
        name="unseen_rows",
        met=rows >= limits.min_external_rows and days >= FEWEST_DAYS,
        detail=f"{rows:,} stored player-games on {days} dates after {given}, the stated end of its training data; at "
        f"least {limits.min_external_rows:,} on {FEWEST_DAYS} dates required",
    )


def _errors(evidence: Evidence, limits: Thresholds) -> tuple[Condition, Condition, Condition]:
    (low, high), n = limits.external_bias, f"n {evidence.rows:,}"
    return (
        Condition(
            name="season_average",
            met=evidence.low >= -limits.external_margin,
            detail=f"MAE {evidence.candidate_mae:.3f}, the season average's {evidence.champion_mae:.3f}, gain "
            f"{evidence.gain:+.3f} ({evidence.low:+.3f} to {evidence.high:+.3f}); low end at least "
            f"{-limits.external_margin:+.2f} required, {n}",
        ),
        Condition(
            name="stored_bias",
            met=low <= evidence.bias <= high,
            detail=f"bias {evidence.bias:+.2f}; {low:+.1f} to {high:+.1f} required, {n}",
        ),
        Condition(
            name="no_leak",
            met=evidence.candidate_mae >= limits.leak_mae,
            detail=f"MAE {evidence.candidate_mae:.3f}; at least {limits.leak_mae:.1f} required, because a smaller MAE "
            f"suggests that it was trained on these games, {n}",
        ),
    )


def _variation(system: PredictionSystem, rows: pa.Table, limits: Thresholds) -> tuple[Condition, Condition]:
    average, raw = (each.predict(columns_of(rows, each.features)) for each in (SEASON_AVERAGE, system))
    known = ~(np.isnan(average) | np.isnan(raw))
    predicted, average = publish_points(raw[known]), publish_points(average[known])
    results: Floats = rows.column("points").to_numpy()[known]
    spread, least, n = float(predicted.std()), limits.min_external_spread * float(average.std()), f"n {len(results):,}"
    constant = spread == 0 or results.std() == 0
    correlation = 0.0 if constant else float(np.corrcoef(predicted, results)[0, 1])
    return (
        Condition(
            name="spread",
            met=spread > 0 and spread >= least,
            detail=f"standard deviation of the predictions {spread:.2f}; at least {least:.2f} required, "
            f"{limits.min_external_spread:.0%} of the season average's, {n}",
        ),
        Condition(
            name="correlation",
            met=correlation >= limits.min_external_correlation,
            detail=f"correlation with the results {correlation:.2f}; at least {limits.min_external_correlation:.2f} "
            f"required, {n}",
        ),
    )


def backtest(context: ReleaseContext, system: PredictionSystem) -> Backtest:
    """Score an external model on all stored rows after its training data.

    Raises:
        BundleError: the model's output is infinite.
    """
    later = context.snapshots(month_of(system.extent.given_until), system.features)
    return backtest_external(system, list(later.values()), context.limits)


def require_evidence(context: ReleaseContext, model: ChannelModel, share: int, waived: Sequence[str] = ()) -> Backtest:
    """Backtest an external model that is to serve `share` percent, and require that it passes, but for a waiver.

    Raises:
        ReleaseError: a condition is not met. The message lists all conditions.
        BundleError: the model is incomplete or damaged, or its output is infinite.
        MissingExtraError: its learner is not installed.
    """
    result = backtest(context, load_system(context.objects, model, context.threads)).waive(waived)
    if not result.passed:
        raise ReleaseError(
            f"{model.model_id} may not serve {share}% of the player-games: it is an external model, which has no "
            f"verdict of the asset checks, and its backtest on stored rows failed. {result.summary}. To score and "
            f"grade it without serving, run `nba-ml rollout start {model.model_id} --share 0`."
        )
    return result
