"""Checks of the model record: it matches its schema, and a new process reproduces its predictions."""

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
    metric = "violations of the JSON schema"
    if model.record is None:
        return Finding(passed=True, metric=metric, value="no model yet", n=0)
    data = model.record.to_bytes()
    faults = [
        {"at": "/".join(map(str, error.absolute_path)) or "the record", "fault": error.message[:200]}
        for error in _validator().iter_errors(json.loads(data))
    ]
    if not faults and ModelRecord.model_validate_json(data).to_bytes() != data:
        faults.append({"at": "the record", "fault": "its bytes change when it is read and written again"})
    return Finding(
        passed=not faults,
        metric=metric,
        value=len(faults),
        n=1,
        worst=faults[:5],
        next_step=f"Materialise model_metadata for {context.month} again. If the check still fails, the record changed "
        "and the shipped schema did not. Readers in other languages rely on the schema: update it.",
    )


@cache
def _validator() -> Draft202012Validator:
    """Validator for the shipped schema."""
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
        next_step="The saved booster differs from the one that was measured. Materialise xgboost_model for "
        f"{context.month} again.",
    )


def checks(_limits: Thresholds) -> tuple[Check, ...]:
    """The checks of this asset. They use no limits."""
    return (
        Check(
            asset=ASSET,
            name="valid_schema",
            consequence=Consequence.STOPS_RUN,
            threshold="valid against the shipped JSON schema, and the same bytes when read and written again",
            reason="Readers in any language rely on the schema.",
            examine=_valid_schema,
        ),
        Check(
            asset=ASSET,
            name="loads_in_fresh_process",
            consequence=Consequence.STOPS_RUN,
            threshold="every reference row predicted to the last bit",
            reason="The prediction worker loads the saved booster, which can differ: all trees instead of the best "
            "ones, or another feature order.",
            examine=_loads_in_fresh_process,
        ),
    )
