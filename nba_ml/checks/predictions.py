"""Checks of a month's predictions: whether the rows resemble the serving model's training rows.

They only warn, and the publication verdict ignores them, because they depend on which model serves.

The reference is the champion's training rows of the same calendar month. Against all its training rows, all but two
months of 2021-22 to 2023-24 warned because of the calendar, not drift: `playoff_game` (0.3 in January, 12 in May),
`minutes_change` (0.6 in November) or `fatigue_score` (4 in May). Against the same calendar month none of them warned
(largest PSI: 0.13 for a feature, 0.10 for the predicted points). In 2024-25 only November to January did, when lines
began to be recorded.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import pyarrow as pa

from nba_ml.checks.check import Check, CheckContext, Consequence, Finding
from nba_ml.checks.drift import SNAPSHOT, most_moved, moved, psi_of_features, same_month_of_earlier_seasons
from nba_ml.contract.errors import BundleError, ChannelError, MissingExtraError
from nba_ml.contract.thresholds import Thresholds
from nba_ml.data.snapshot import Snapshot
from nba_ml.evaluation.predictions import MonthPredictions
from nba_ml.model.drift import population_stability_index
from nba_ml.model.fitting import predict
from nba_ml.model.values import TrainedModel
from nba_ml.registry.channel import read_channel
from nba_ml.registry.systems.interface import Columns, Floats, columns_of, matrix_of
from nba_ml.registry.systems.loading import load_system

ASSET = "predictions"

_check = partial(Check, ASSET)

_Predict = Callable[[Columns], Floats]


@dataclass(frozen=True, slots=True)
class _Compared:
    """The month's rows, and the reference rows that the model was trained on. `who` describes the model."""

    who: str
    predict: _Predict
    rows: pa.Table
    reference: pa.Table


def _feature_drift(made: MonthPredictions, context: CheckContext) -> Finding:
    metric = "largest PSI of a feature against the model's training rows of the same calendar month"
    compared = _compare(made, context, metric)
    if isinstance(compared, Finding):
        return compared
    ranked = psi_of_features(compared.reference, compared.rows, context.system.features)
    drifted = moved(ranked, context.limits.max_psi)
    return Finding(
        passed=not drifted,
        metric=metric,
        value=round(ranked[0][1], 4),
        n=compared.rows.num_rows,
        interval=f"reference: {compared.reference.num_rows:,} rows of {compared.who}",
        worst=most_moved(ranked),
        next_step=f"{compared.who} was not trained on rows like these: {drifted}. If a source began or ended (lines, "
        "injury reports), train on the new months and promote the model. Otherwise check the job that writes these "
        "features before you use the predictions.",
    )


def _prediction_drift(made: MonthPredictions, context: CheckContext) -> Finding:
    metric = "PSI of the predicted points against the model's own on its training rows of the same calendar month"
    compared = _compare(made, context, metric)
    if isinstance(compared, Finding):
        return compared
    before, now = (
        compared.predict(columns_of(table, context.system.features)) for table in (compared.reference, compared.rows)
    )
    psi = population_stability_index(before, now)
    return Finding(
        passed=psi <= context.limits.max_prediction_psi,
        metric=metric,
        value=round(psi, 4),
        n=compared.rows.num_rows,
        interval=f"mean {now.mean():.2f} points, {before.mean():.2f} in the reference of {compared.who}",
        worst=most_moved(psi_of_features(compared.reference, compared.rows, context.system.features)),
        next_step="The players differ from those in training, or features changed their meaning. Check the listed "
        "features, which moved most. The grades of the month show whether accuracy suffered.",
    )


def _compare(made: MonthPredictions, context: CheckContext, metric: str) -> _Compared | Finding:
    """The rows to compare, or a finding if there are none."""
    now = context.load(SNAPSHOT, context.month)
    if made.model is None or not isinstance(now, Snapshot) or now.table.num_rows < context.limits.min_rows_for_psi:
        rows = now.table.num_rows if isinstance(now, Snapshot) else 0
        return Finding(passed=True, metric=metric, value="too few predictions to compare", n=rows)
    try:
        who, predict_points, newest = _model(made, context)
    except (BundleError, ChannelError, MissingExtraError) as error:
        # A broken champion must not fail the run that trains the next model.
        return Finding(
            passed=False,
            metric=metric,
            value="the champion cannot be loaded",
            n=now.table.num_rows,
            next_step=f"{error} To serve the previous champion, run `nba-ml champion rollback`.",
        )
    tables = same_month_of_earlier_seasons(context, newest)
    if sum(table.num_rows for table in tables) < context.limits.min_rows_for_psi:
        too_few = f"{who} was trained on too few rows of this calendar month"
        return Finding(passed=True, metric=metric, value=too_few, n=now.table.num_rows)
    return _Compared(who, predict_points, now.table, pa.concat_tables(tables))


def _model(made: MonthPredictions, context: CheckContext) -> tuple[str, _Predict, str]:
    """Description, prediction and newest month of the champion; of the scoring model if the champion has seen the month
    or reads features of another system.

    Raises:
        BundleError, ChannelError, MissingExtraError: the champion cannot be loaded.
    """
    objects = context.artifacts()
    channel = read_channel(objects)
    if channel is not None:
        champion = load_system(objects, channel.champion, threads=1)
        readable = set(champion.features.names) <= set(context.system.features.names)
        if readable and champion.newest_month < context.month:
            return f"the champion {champion.version}", champion.predict, champion.newest_month
    if made.model is None:
        raise BundleError(
            f"The predictions of {context.month} do not name a model. Materialise predictions for "
            f"{context.month} again."
        )
    scored = context.load("xgboost_model", made.model.newest_month)
    if not isinstance(scored, TrainedModel) or scored.booster is None:
        raise BundleError(
            f"{made.model.model_version}, which scored {context.month}, is no longer in the store. Materialise "
            f"xgboost_model for {made.model.newest_month} again."
        )
    booster, features = scored.booster, context.system.features

    def predict_scored(columns: Columns) -> Floats:
        return predict(booster, matrix_of(columns, features), 1).astype("float64")

    return f"the model {made.model.model_version}", predict_scored, made.model.newest_month


def checks(limits: Thresholds) -> tuple[Check, ...]:
    """The checks of this asset with the given limits."""
    return (
        _check(
            name="feature_drift",
            consequence=Consequence.WARNS,
            threshold=f"no player's feature has a PSI above {limits.max_psi} against the serving model's training rows "
            f"of the same calendar month (from {limits.min_rows_for_psi} rows on)",
            reason="A model is only known to work on players and games like those it was trained on.",
            examine=_feature_drift,
        ),
        _check(
            name="prediction_drift",
            consequence=Consequence.WARNS,
            threshold=f"the predicted points have a PSI of at most {limits.max_prediction_psi} against the serving "
            "model's own on those rows",
            reason="Many small feature shifts can add up to a large shift of the predictions, which bets depend on.",
            examine=_prediction_drift,
        ),
    )
