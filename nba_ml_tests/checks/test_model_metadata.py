"""Checks of the record, in a fresh process."""

from __future__ import annotations

import math

import numpy as np
import pytest

from nba_ml.checks.model_metadata import checks
from nba_ml.contract.errors import BundleError
from nba_ml.contract.features import V2_33FEATURES
from nba_ml.contract.thresholds import Thresholds
from nba_ml.model.fitting import fit
from nba_ml.model.values import DescribedModel
from nba_ml_tests.checks.scenes import scene, told
from nba_ml_tests.conftest import QUICK, Trained

pytestmark = pytest.mark.slow

CHECKS = {check.name: check for check in checks(Thresholds())}
LOADS = CHECKS["loads_in_fresh_process"]
MONTH = "2021-12"


def test_a_real_model_predicts_the_same_in_a_fresh_process(trained: Trained) -> None:
    """Guards against a check that refuses real models, and against one that compares nothing."""
    finding = LOADS.examine(DescribedModel(trained.record, trained.fitted.booster), scene(MONTH))
    assert (finding.passed, finding.value, finding.n) == (True, 0, 20)


def test_a_prediction_that_differs_in_its_last_bit_fails(trained: Trained) -> None:
    """Guards against a comparison with tolerance, behind which another set of trees could hide."""
    first, *others = trained.record.reference_rows
    nudged = float(np.nextafter(np.float32(first.prediction), np.float32(math.inf)))
    record = trained.record.model_copy(
        update={"reference_rows": (first.model_copy(update={"prediction": nudged}), *others)}
    )
    passed, message, worst = told(LOADS, LOADS.examine(DescribedModel(record, trained.fitted.booster), scene(MONTH)))
    assert not passed
    assert message.startswith("failed: Reference rows that differ: 1, required: ")
    assert message.endswith(
        "The saved booster differs from the one that was measured. Materialise xgboost_model for 2021-12 again."
    )
    assert first.player_lookup in worst


def test_another_booster_than_the_recorded_one_fails(trained: Trained) -> None:
    """Guards against a record beside the wrong bytes: its predictions are those of other trees."""
    params = QUICK.model_copy(update={"num_boost_round": 5})
    other = fit(trained.side("train"), trained.side("early_stopping"), params, V2_33FEATURES, 2)
    finding = LOADS.examine(DescribedModel(trained.record, other.booster), scene(MONTH))
    assert not finding.passed
    assert int(finding.value) > 15


def test_bytes_that_no_loader_takes_are_an_error_not_a_pass(trained: Trained) -> None:
    """Guards against a check that swallows a crash of the loader."""
    with pytest.raises(BundleError, match="new process could not load the model"):
        LOADS.examine(DescribedModel(trained.record, trained.fitted.booster[:1000]), scene(MONTH))


def test_no_record_yet_passes_and_says_so() -> None:
    """Guards against a month before the first model that turns the backfill red."""
    for check in CHECKS.values():
        finding = check.examine(DescribedModel(None, None), scene("2021-10"))
        assert (finding.passed, finding.value, finding.n) == (True, "no model yet", 0)
