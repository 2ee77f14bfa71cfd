"""CatBoost's `.cbm` files."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from nba_ml.contract.errors import BundleError
from nba_ml.registry.learners.interface import Learner, MissingValues, ParsedModel, library, refuse_categories

MAGIC = b"CBM1"
"""The first bytes of CatBoost's file format; a pickle never starts with them."""

EXTRA = "nba_ml[catboost]"


def parse(data: bytes, what: str, threads: int | None) -> ParsedModel:
    """Load the model in a `.cbm` file.

    Raises:
        BundleError: CatBoost cannot load it, or it treats features as categories.
        MissingExtraError: CatBoost is not installed.
    """
    catboost = library("catboost", "CatBoost", EXTRA)
    model = catboost.CatBoostRegressor()
    with tempfile.TemporaryDirectory() as folder:  # CatBoost validates the format of a file but not of bytes in memory
        path = Path(folder) / "model.cbm"
        path.write_bytes(data)
        try:
            model.load_model(str(path), format="cbm")
        except catboost.CatBoostError as error:
            raise BundleError(f"{what} cannot be loaded by CatBoost {catboost.__version__}: {error}") from error
    if model.get_cat_feature_indices():
        refuse_categories(what)
    names = tuple(model.feature_names_ or ())
    unnamed = names == tuple(str(position) for position in range(len(names)))  # the columns of a NumPy array
    return ParsedModel(
        names=() if unnamed else names,
        columns=len(names),
        predict=lambda vectors: model.predict(vectors, thread_count=threads or -1),
        contributions=lambda vectors: model.get_feature_importance(
            catboost.Pool(vectors), type="ShapValues", thread_count=threads or -1
        ),
        missing=lambda: _missing(model),
    )


def _missing(model: Any) -> MissingValues:
    """From the model as JSON: `has_nans` is set by the training data, and only features with borders are in a tree."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.json"
        model.save_model(str(path), format="json")
        features = json.loads(path.read_bytes())["features_info"]["float_features"]
    return MissingValues(
        used=frozenset(each["flat_feature_index"] for each in features if each["borders"]),
        seen=frozenset(each["flat_feature_index"] for each in features if each["has_nans"]),
    )


CATBOOST = Learner(
    system_id="catboost_v8",  # the platform's name for its system
    model_type="catboost",
    title="CatBoost",
    library="catboost",
    extra=EXTRA,
    suffix_of=lambda _: ".cbm",
    parse=parse,
)
