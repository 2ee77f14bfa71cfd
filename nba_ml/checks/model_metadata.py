"""Checks of the record: it keeps its schema, and another process comes to the same predictions with it."""

from __future__ import annotations

import json
from functools import cache
from importlib import resources

from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from nba_ml import model as model_package
from nba_ml.checks.check import Check, CheckContext, Consequence, Finding
from nba_ml.contract.thresholds import Thresholds
from nba_ml.model.record import ModelRecord
from nba_ml.model.values import DescribedModel
from nba_ml.registry.fresh_process import predict_in_fresh_process

ASSET = "model_metadata"


def _valid_schema(model: DescribedModel, context: CheckContext) -> Finding:
    metric = "ways in which the record breaks its JSON schema"
    if model.record is None:
        return Finding(passed=True, metric=metric, value="no model yet", n=0)
    data = model.record.to_bytes()
    faults = [
        {"at": "/".join(map(str, error.absolute_path)) or "the record", "fault": error.message[:200]}
        for error in _validator().iter_errors(json.loads(data))
    ]
    if not faults and ModelRecord.model_validate_json(data).to_bytes() != data:
        faults.append({"at": "the record", "fault": "read and written again it has other bytes"})
    return Finding(
        passed=not faults,
        metric=metric,
        value=len(faults),
        n=1,
        worst=faults[:5],
        next_step=f"Materialise model_metadata for {context.month} again. If it stays, the record changed and the "
        "shipped schema did not: readers in other languages rely on it.",
    )


@cache
def _validator() -> Draft202012Validator:
    """Of the schema as it is shipped."""
    file = resources.files(model_package) / "schemas" / "model_metadata.schema.json"
    return Draft202012Validator(json.loads(file.read_text(encoding="utf-8")))


def _loads_in_fresh_process(model: DescribedModel, context: CheckContext) -> Finding:
    if model.record is None or model.booster is None:
        return Finding(passed=True, metric="reference rows that differ", value="no model yet", n=0)
    rows = model.record.reference_rows
    predicted = predict_in_fresh_process(model.booster, [row.features for row in rows])
    differing = [
        {"player": row.player_lookup, "date": row.game_date, "recorded": row.prediction, "predicted": value}
        for row, value in zip(rows, predicted, strict=True)
        if value != row.prediction
    ]
    return Finding(
        passed=not differing,
        metric="reference rows that differ",
        value=len(differing),
        n=len(rows),
        worst=differing,
        next_step="The saved booster is not the one that was measured. Materialise xgboost_model for "
        f"{context.month} again.",
    )


def checks(_limits: Thresholds) -> tuple[Check, ...]:
    """The checks of this asset. None of them has a limit to set."""
    return (
        Check(
            asset=ASSET,
            name="valid_schema",
            consequence=Consequence.STOPS_RUN,
            threshold="valid against the shipped JSON schema, and the same bytes when read and written again",
            reason="What reads the record beside the booster, in whatever language, goes by the schema.",
            examine=_valid_schema,
        ),
        Check(
            asset=ASSET,
            name="loads_in_fresh_process",
            consequence=Consequence.STOPS_RUN,
            threshold="every reference row predicted to the last bit",
            reason="A booster that predicts otherwise once saved and loaded (all trees instead of the best, another "
            "feature order) is what the prediction worker would get.",
            examine=_loads_in_fresh_process,
        ),
    )
