"""How a model is named: its system, its features, the month of its newest row, and its own digest."""

from __future__ import annotations

import re

from nba_ml.contract.digest import bytes_digest
from nba_ml.contract.features import FeatureVersion
from nba_ml.contract.season import parse_month

SYSTEM_ID = "xgboost_v1"
"""The platform's name for this prediction system, and the folder that its bundles lie in."""

MODEL_ID = re.compile(SYSTEM_ID + r"_\d+features_\d{6}_([0-9a-f]{12})")
"""The form of a model id; its group is the first 12 hex digits of the booster's sha256."""


def model_id(version: FeatureVersion, newest_month: str, booster: bytes) -> str:
    """The name of a model: `xgboost_v1_33features_202206_0123456789ab`.

    Args:
        version: its feature version, of which the count goes into the name.
        newest_month: `YYYY-MM` of the newest row it was given. An empty month adds no row, so it gives the
            name of the month before: no clock takes part.
        booster: its bytes; the first 12 hex digits of their sha256 end the name.

    Raises:
        MonthError: `newest_month` is no season month.
    """
    year, month = parse_month(newest_month)
    return f"{SYSTEM_ID}_{version.count}features_{year:04d}{month:02d}_{bytes_digest(booster)[:12]}"
