"""Model ids: the system, the number of features, the month of the newest row, and the booster's digest."""

from __future__ import annotations

import re

from nba_ml.contract.digest import bytes_digest
from nba_ml.contract.features import FeatureVersion
from nba_ml.contract.season import parse_month

SYSTEM_ID = "xgboost_v1"
"""The platform's name for this prediction system, and the folder of its bundles."""

MODEL_ID = re.compile(SYSTEM_ID + r"_\d+features_\d{6}_([0-9a-f]{12})")
"""The form of a model id; its group is the first 12 hex digits of the booster's sha256."""


def model_id(version: FeatureVersion, newest_month: str, booster: bytes) -> str:
    """The id of a model: `xgboost_v1_33features_202206_0123456789ab`.

    Args:
        version: its feature version; the id contains its number of features.
        newest_month: `YYYY-MM` of the newest row it was given. An empty month adds no row, so the id keeps the
            previous month. The current time is not used.
        booster: its bytes; the id ends with the first 12 hex digits of their sha256.

    Raises:
        MonthError: `newest_month` is not a season month.
    """
    year, month = parse_month(newest_month)
    return f"{SYSTEM_ID}_{version.count}features_{year:04d}{month:02d}_{bytes_digest(booster)[:12]}"


def month_of_model(model_id: str) -> str | None:
    """`2025-06` of `xgboost_v1_33features_202506_9eb8b7fbed60`; None for a model of another system."""
    if MODEL_ID.fullmatch(model_id) is None:
        return None
    month = model_id.split("_")[-2]
    return f"{month[:4]}-{month[4:]}"
