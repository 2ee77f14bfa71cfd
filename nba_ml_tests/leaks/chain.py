"""The chain in memory, from stored rows to the findings of every check, with a place to plant a fault at each step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import pyarrow as pa

from nba_ml.checks.check import Check, CheckContext, Finding
from nba_ml.checks.registry import all_checks
from nba_ml.contract.digest import HasDigest
from nba_ml.contract.season import month_bounds, season_months
from nba_ml.contract.systems import System
from nba_ml.contract.thresholds import Thresholds
from nba_ml.data.features import compute_features
from nba_ml.data.snapshot import MonthRows, Snapshot, take_snapshot
from nba_ml.data.split import SplitManifest, split_by_date
from nba_ml.model.fitting import Hyperparameters, fit, gather
from nba_ml.model.record import Judgement, report_training
from nba_ml.model.values import TrainedModel
from nba_ml.settings import SAMPLE_DATA
from nba_ml.sources.embedded import EmbeddedFeatureSource
from nba_ml.storage.objects import ObjectStore
from nba_ml_tests.conftest import COMPUTED_AT, FIRST_MONTH, summary_of
from nba_ml_tests.data.features.conftest import between

MONTHS = season_months("2024-10", "2025-04")
"""One season, with lines in three of its months: long enough for a model that beats its baselines."""

RECIPE = Hyperparameters(num_boost_round=150, learning_rate=0.08, early_stopping_rounds=15, refit=False)
"""Larger steps than the shipped recipe: a second of training, and still good enough to be published."""

THREADS = 1

CHECKED = ("feature_store_snapshot", "train_split", "xgboost_model")
"""The assets that hold rows, or what was learnt from them. What is published is checked elsewhere."""


@dataclass(frozen=True, slots=True)
class StoredMonth:
    """What the feature store holds of a month: `tables.ML_FEATURE_STORE_V2` and `tables.PLAYER_GAME_SUMMARY`."""

    features: pa.Table
    summary: pa.Table


Stored = Mapping[str, StoredMonth]
Snapshots = Mapping[str, Snapshot]


def _leave(value: object) -> object:
    return value


@dataclass(frozen=True, slots=True)
class Steps:
    """What a fault changes, step by step; by default nothing."""

    rows: Callable[[Stored], Stored] = _leave  # type: ignore[assignment]
    snapshots: Callable[[Snapshots], Snapshots] = _leave  # type: ignore[assignment]
    window: Callable[[Sequence[str]], Sequence[str]] = _leave  # type: ignore[assignment]
    split: Callable[[SplitManifest], SplitManifest] = _leave  # type: ignore[assignment]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the chain made of the months: digests by month, the model's judgement, and each check's finding."""

    digests: Mapping[str, str]
    judgement: Judgement
    findings: Sequence[tuple[Check, str, Finding]]

    @property
    def failed(self) -> dict[str, list[str]]:
        """Checks that failed, with the months in which they did."""
        found: dict[str, list[str]] = {}
        for check, month, finding in self.findings:
            if not finding.passed:
                found.setdefault(check.key, []).append(month)
        return found


@cache
def real_rows(system: System) -> Stored:
    """The season's feature store of a system, computed from the embedded box scores and lines."""
    source = EmbeddedFeatureSource(data=str(SAMPLE_DATA))
    history = pa.concat_tables([summary_of(month) for month in season_months(FIRST_MONTH, MONTHS[-1])])
    lines = pa.concat_tables([source.prop_lines(month) for month in MONTHS])
    (first, _), (_, last) = month_bounds(MONTHS[0]), month_bounds(MONTHS[-1])
    made = compute_features(
        history, lines, first, last, computed_at=COMPUTED_AT, version=system.features, threads=THREADS
    )
    return {month: StoredMonth(between(made, *month_bounds(month)), summary_of(month)) for month in MONTHS}


def _snapshot(month: str, rows: StoredMonth, system: System) -> Snapshot:
    return take_snapshot(MonthRows.of_tables(rows.features, rows.summary, system.features), month, system.features)


@cache
def _clean_snapshot(month: str, system: System) -> Snapshot:
    return _snapshot(month, real_rows(system)[month], system)


def run(steps: Steps, system: System) -> Outcome:
    """Snapshot, split, train and check the season, with what `steps` plants.

    Checks that would stop a run are only noted here, so that the MAE of the faulty chain is seen too.

    Raises:
        SnapshotRejectedError: the snapshot refuses the rows.
    """
    version, untouched = system.features, real_rows(system)
    stored = steps.rows(untouched)
    taken = {
        month: _clean_snapshot(month, system) if rows is untouched[month] else _snapshot(month, rows, system)
        for month, rows in stored.items()
    }
    snapshots = steps.snapshots(taken)
    seen = {month: snapshots[month] for month in steps.window(MONTHS)}
    split = steps.split(
        split_by_date({m: (each.digest, each.table.column("game_date").to_numpy()) for m, each in seen.items()})
    )
    samples = gather({month: each.table for month, each in seen.items()}, split, version)
    sides = samples.sides(split)
    fitted = fit(sides["train"], sides["early_stopping"], RECIPE, version, THREADS)
    report = report_training(fitted, fitted.booster, samples, split, RECIPE, version, THREADS)
    assert report.judgement is not None
    model = TrainedModel(report, fitted.booster)
    values: dict[tuple[str, str], HasDigest] = {
        **{("feature_store_snapshot", month): each for month, each in snapshots.items()},
        ("train_split", MONTHS[-1]): split,
        ("xgboost_model", MONTHS[-1]): model,
    }
    digests = {month: each.digest for month, each in snapshots.items()}
    return Outcome(digests, report.judgement, _findings(values, snapshots, system))


def _findings(
    values: Mapping[tuple[str, str], HasDigest], snapshots: Snapshots, system: System
) -> list[tuple[Check, str, Finding]]:
    limits = Thresholds()
    found = []
    for (asset, month), value in values.items():
        scene = CheckContext(
            month=month,
            limits=limits,
            months=[each for each in MONTHS if each <= month],
            load=lambda asset, month: values.get((asset, month)),
            results=lambda month: snapshots[month].results if month in snapshots else None,
            artifacts=_nothing_published,
            system=system,
        )
        checks = [c for c in all_checks(limits, [system]) if c.asset == system.asset(asset) and asset in CHECKED]
        found += [(check, month, check.examine(value, scene)) for check in checks]
    return found


def _nothing_published() -> ObjectStore:
    raise AssertionError("the drills publish nothing")
