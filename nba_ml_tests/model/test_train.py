"""From a split and snapshots to a model: each booster is parsed once, each side predicted once."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import xgboost as xgb

from nba_ml.contract.digest import bytes_digest
from nba_ml.contract.features import V2_33FEATURES
from nba_ml.contract.systems import XGBOOST_V1
from nba_ml.data.split import split_by_date
from nba_ml.model.record import make_record
from nba_ml.model.train import train
from nba_ml.registry.reference import predict_rows
from nba_ml_tests.conftest import QUICK, Trained, snapshot_of, split_of

MONTHS = ["2021-10", "2021-11", "2021-12"]


@pytest.mark.parametrize("refit", [True, False])
def test_a_booster_is_parsed_once_and_each_side_predicted_once(refit: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards the time of a training: parsing a booster costs more than predicting a side with it."""
    parsed: list[str] = []
    predicted: Counter[int] = Counter()
    construct, predict = xgb.Booster.__init__, xgb.Booster.inplace_predict

    def counting_construct(self: xgb.Booster, *args: Any, **kwargs: Any) -> None:
        if kwargs.get("model_file") is not None:
            parsed.append(bytes_digest(bytes(kwargs["model_file"])))
        construct(self, *args, **kwargs)

    def counting_predict(self: xgb.Booster, data: Any, *args: Any, **kwargs: Any) -> Any:
        predicted[len(data)] += 1
        return predict(self, data, *args, **kwargs)

    split, snapshots = split_of(MONTHS), {month: snapshot_of(month) for month in MONTHS}
    with monkeypatch.context() as counting:
        counting.setattr(xgb.Booster, "__init__", counting_construct)
        counting.setattr(xgb.Booster, "inplace_predict", counting_predict)
        model = train(split, snapshots, QUICK.model_copy(update={"refit": refit}), V2_33FEATURES, threads=1)
    report, sizes = model.report, {name: side.rows for name, side in split.sides().items()}
    assert sorted(parsed) == sorted({str(report.measured_sha256), str(report.model_sha256)})
    assert len(parsed) == (2 if refit else 1)
    assert predicted == {size: 1 + (refit and name == "validation") for name, size in sizes.items()}


def test_training_gives_the_booster_and_the_record_of_its_steps(trained: Trained) -> None:
    """Guards against a second recipe: the public step and the pieces it is made of agree to the byte."""
    model = train(trained.split, {month: snapshot_of(month) for month in MONTHS}, QUICK, V2_33FEATURES, threads=2)
    assert model.booster == trained.fitted.booster
    assert make_record(model.report, model.booster, XGBOOST_V1).to_bytes() == trained.record.to_bytes()
    rows = model.report.reference_rows
    assert predict_rows(model.booster, [row.features for row in rows], V2_33FEATURES) == [
        row.prediction for row in rows
    ]


def test_without_rows_there_is_no_model() -> None:
    """Guards the first month of a season: a report of the split, and no booster to publish."""
    october = snapshot_of("2021-10")
    empty = october.table.slice(0, 0)
    split = split_by_date({"2021-10": (october.digest, empty.column("game_date").to_numpy())})
    model = train(split, {"2021-10": october}, QUICK, V2_33FEATURES, threads=1)
    assert (model.booster, model.digest) == (None, split.digest)
