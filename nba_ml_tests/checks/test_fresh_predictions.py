"""When a check needs a new process, and when the one before has tried the very same."""

from __future__ import annotations

import pytest

from nba_ml.checks import fresh_predictions
from nba_ml.checks.fresh_predictions import predict_once
from nba_ml.contract.errors import BundleError
from nba_ml.contract.features import V2_33FEATURES
from nba_ml.registry.fresh_process import predict_in_fresh_process
from nba_ml_tests.conftest import Trained
from nba_ml_tests.runner.conftest import count

pytestmark = pytest.mark.slow


def test_only_the_very_same_bytes_and_rows_are_not_tried_again(
    trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards a damaged bundle that passes because another was sound, and a failure that is remembered for good."""
    fresh_predictions._predicted.cache_clear()
    calls = count(monkeypatch, fresh_predictions, "predict_in_fresh_process")
    booster, record = trained.fitted.booster, trained.record
    rows = [row.features for row in record.reference_rows]
    found = predict_once(booster, rows, V2_33FEATURES)
    assert found == [row.prediction for row in record.reference_rows]
    assert predict_once(bytes(bytearray(booster)), [list(row) for row in rows], V2_33FEATURES) == found
    assert len(calls) == 1
    found.clear()
    assert len(predict_once(booster, rows, V2_33FEATURES)) == len(rows), "what a caller does to the answer stays there"
    assert predict_once(booster, rows[:3], V2_33FEATURES) == predict_in_fresh_process(booster, rows[:3], V2_33FEATURES)
    for _ in range(2):
        with pytest.raises(BundleError):
            predict_once(booster[:-1], rows, V2_33FEATURES)
    assert len(calls) == 4
