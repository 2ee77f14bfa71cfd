"""Real models of the first months, published, with the snapshots they come from: what releases are tested on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from typing import Any

from nba_ml.assets.xgboost_model import _train
from nba_ml.checks.thresholds import Thresholds
from nba_ml.core.channel import read_channel
from nba_ml.core.contract import V2_33FEATURES
from nba_ml.core.gates import CheckVerdict, Verdict
from nba_ml.core.model_record import ModelRecord, make_record
from nba_ml.core.object_store import ObjectStore
from nba_ml.core.publication import Bundle, publish
from nba_ml.core.season import season_months
from nba_ml.core.training import Hyperparameters
from nba_ml.core.values import TrainedModel
from nba_ml.release.bench import Bench
from nba_ml.resources.month_store import MonthStore
from nba_ml_tests.conftest import FIRST_MONTH, QUICK, snapshot_of, split_of

AT = datetime(2022, 2, 1, 12, tzinfo=UTC)
WHY = "a reason of a sentence"
MONTHS = ("2021-10", "2021-11", "2021-12", "2022-01")
REFITTED = QUICK.model_copy(update={"refit": True})
"""As shipped: fitted anew on all rows, so that the published booster has no held-out rows of its own."""

SLOW_LEARNER = REFITTED.model_copy(update={"num_boost_round": 2, "learning_rate": 0.02})
"""Two timid steps: far worse than any other model."""

LIMITS = Thresholds(promotion_margin=0.2, rollout_margin=0.1)
"""The first months' models, of 60 large steps, differ by more than the shipped margins allow."""


@dataclass(frozen=True)
class Made:
    """A trained model with its record."""

    booster: bytes
    record: ModelRecord

    @property
    def model_id(self) -> str:
        return self.record.model_id


@cache
def model_of(month: str, parameters: Hyperparameters = REFITTED) -> Made:
    """The model of a month, as the asset trains it."""
    months = season_months(FIRST_MONTH, month)
    model, _ = _train(parameters, split_of(months), {each: snapshot_of(each) for each in months}, threads=1)
    assert isinstance(model, TrainedModel)
    assert model.booster is not None
    return Made(model.booster, make_record(model.report, model.booster, V2_33FEATURES))


def published_model(objects: ObjectStore, month: str, parameters: Hyperparameters = REFITTED) -> str:
    """Publish the model of a month, with a verdict that it passed; its id."""
    made = model_of(month, parameters)
    sha = made.record.model_sha256
    check = CheckVerdict(asset="xgboost_model", check="mae", month=month, passed=True, subject=sha)
    verdict = Verdict(model_sha256=sha, checks=(check,))
    publish(objects, Bundle(made.model_id, made.booster, made.record.to_bytes(), verdict))
    return made.model_id


def bench_of(objects: ObjectStore, store: ObjectStore, *months: str, limits: Thresholds = LIMITS) -> Bench:
    """A bench whose store has the snapshots of the months, by default all four."""
    months_store = MonthStore(store)
    for month in months or MONTHS:
        months_store.save("feature_store_snapshot", month, snapshot_of(month))
    return Bench(objects, months_store, limits, threads=1)


def champion_of(bench: Bench) -> str:
    """The id of the champion, which there must be."""
    channel = read_channel(bench.objects)
    assert channel is not None
    return channel.champion.model_id


def strict(bench: Bench, **limits: Any) -> Bench:
    """The bench under `LIMITS`, but for those given."""
    return replace(bench, limits=LIMITS.model_copy(update=limits))
