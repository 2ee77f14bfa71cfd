"""XGBoost's JSON and UBJ files that were not trained by nba_ml."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from nba_ml.contract.errors import BundleError
from nba_ml.registry.booster_structure import StructureError, inspect_booster
from nba_ml.registry.learners.interface import Learner, MissingValues, ParsedModel, library


def parse(data: bytes, what: str, threads: int | None) -> ParsedModel:
    """Load the model in a JSON or UBJ file.

    Raises:
        BundleError: its structure cannot be trusted, XGBoost cannot load it, or it has trees after its best iteration.
    """
    xgb = library("xgboost", "XGBoost", None)
    try:
        inspect_booster(data)
        model = xgb.Booster(params={"nthread": threads or 0}, model_file=bytearray(data))
        names = model.feature_names
    # XGBoost returns damaged text inside a model unchanged, and Python cannot decode it.
    except (StructureError, xgb.core.XGBoostError, UnicodeDecodeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise BundleError(f"{what} cannot be loaded by XGBoost {xgb.__version__}: {reason}") from error
    _require_cut(model, what)
    unnamed = names is None or names == [f"f{position}" for position in range(len(names))]
    return ParsedModel(
        names=() if unnamed else tuple(names),
        columns=model.num_features(),
        predict=lambda vectors: model.inplace_predict(vectors, missing=np.nan, validate_features=False),
        contributions=lambda vectors: model.predict(
            xgb.DMatrix(vectors, missing=np.nan, nthread=1), pred_contribs=True, validate_features=False
        ),
        missing=lambda: _missing(model),
    )


def _require_cut(model: Any, what: str) -> None:
    """A booster that stopped early keeps the trees after its best iteration. XGBoost's own classes disagree on whether
    these count: Booster.predict uses them, XGBRegressor.predict does not. So the trainer decides."""
    best, rounds = model.attr("best_iteration"), model.num_boosted_rounds()
    if best is not None and not best.isdecimal():
        raise BundleError(
            f"{what} has the best iteration {best[:80]!r}, and a number is expected. Save the model again."
        )
    if best is not None and int(best) + 1 < rounds:
        raise BundleError(
            f"{what} stopped early: its best iteration is {best}, and it has {rounds} rounds. Booster.predict would "
            "use all of them and XGBRegressor.predict those up to the best, so save the one that you mean: `import "
            "xgboost; b = xgboost.Booster(model_file=FILE)`, then `b[: b.best_iteration + 1].save_model('cut.json')` "
            "for the best iteration, or `b.set_attr(best_iteration=None); b.save_model('all.json')` for all rounds."
        )


def _missing(model: Any) -> MissingValues:
    """From the trees: where nothing was missing in training, every split sends a missing value the same way."""
    content = json.loads(model.save_raw("json"))["learner"]["gradient_booster"]
    trees = content.get("gbtree", content)["model"]["trees"]  # dart wraps its trees once more
    ways: dict[int, set[int]] = {}
    for tree in trees:
        for feature, left, child in zip(
            tree["split_indices"], tree["default_left"], tree["left_children"], strict=True
        ):
            if child != -1:  # a leaf has no children
                ways.setdefault(feature, set()).add(left)
    return MissingValues(
        used=frozenset(ways), seen=frozenset(feature for feature, found in ways.items() if len(found) > 1)
    )


XGBOOST_FILE = Learner(
    system_id="xgboost_registered",
    model_type="xgboost",
    title="XGBoost",
    library="xgboost",
    extra=None,
    suffix_of=lambda data: ".json" if data[1:2].isspace() or data[1:2] == b'"' else ".ubj",
    parse=parse,
)
