"""All learners, by system id and by the first bytes of a file."""

from __future__ import annotations

from collections.abc import Mapping

from nba_ml.contract.errors import BundleError
from nba_ml.registry.learners.catboost import CATBOOST
from nba_ml.registry.learners.catboost import MAGIC as CBM
from nba_ml.registry.learners.interface import Learner
from nba_ml.registry.learners.lightgbm import LIGHTGBM
from nba_ml.registry.learners.lightgbm import MAGIC as LIGHTGBM_TEXT
from nba_ml.registry.learners.xgboost import XGBOOST_FILE

LEARNERS: Mapping[str, Learner] = {each.system_id: each for each in (CATBOOST, XGBOOST_FILE, LIGHTGBM)}
"""System id -> learner. The system id is also the folder of its registered models."""


def learner_of(data: bytes, what: str) -> Learner:
    """The learner of a file, by its first bytes.

    Raises:
        BundleError: it is none of theirs. No library has parsed a byte by then.
    """
    for start, learner in ((CBM, CATBOOST), (b"{", XGBOOST_FILE), (LIGHTGBM_TEXT, LIGHTGBM)):
        if data.startswith(start):
            return learner
    raise BundleError(
        f"{what} is not a model file: it begins with {data[:4]!r}. A CatBoost .cbm begins with {CBM!r} "
        "(save_model(path, format='cbm')), XGBoost's JSON and UBJ with '{' (save_model('model.json')), LightGBM's text "
        "with 'tree' (booster_.save_model('model.txt')). A pickle or joblib file is never loaded, because loading it "
        "runs code: load it where it was trained and save it so."
    )


def learner_of_model(model_id: str) -> Learner | None:
    """The learner of a registered model's id; None if it is not the id of a registered model."""
    return next((each for each in LEARNERS.values() if model_id.startswith(f"{each.system_id}_")), None)
