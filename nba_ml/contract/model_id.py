"""Model ids: the system, the number of features, the month of the newest row, and the booster's digest.

The id of a model that several workers trained also names what trained it, before the digest.
"""

from __future__ import annotations

import re

from nba_ml.contract.digest import bytes_digest
from nba_ml.contract.season import parse_month
from nba_ml.contract.systems import SYSTEMS, System

MODEL_ID = re.compile(
    rf"(?P<system>{'|'.join(SYSTEMS)})_\d+features_(?P<month>\d{{6}})_(?:(?P<engine>dask\d+)_)?(?P<digest>[0-9a-f]{{12}})"
)
"""The form of a model id; `digest` is the first 12 hex digits of the booster's sha256."""


def model_id(system: System, newest_month: str, booster: bytes, engine: str | None = None) -> str:
    """The id of a model: `xgboost_v1_33features_202206_0123456789ab`.

    Args:
        system: its id and its number of features begin the model's id.
        newest_month: `YYYY-MM` of the newest row it was given. An empty month adds no row, so the id keeps the
            previous month. The current time is not used.
        booster: its bytes; the id ends with the first 12 hex digits of their sha256.
        engine: `dask2` if two workers of a Dask cluster trained it: `xgboost_v1_33features_202206_dask2_0123456789ab`.
            None if one process did.

    Raises:
        MonthError: `newest_month` is not a season month.
    """
    year, month = parse_month(newest_month)
    trained = f"{engine}_" if engine else ""
    return f"{system.id}_{system.features.count}features_{year:04d}{month:02d}_{trained}{bytes_digest(booster)[:12]}"


def system_of_model(model_id: str) -> System | None:
    """The system of a model that was trained here; None for any other id."""
    match = MODEL_ID.fullmatch(model_id)
    return SYSTEMS[match["system"]] if match else None


def month_of_model(model_id: str) -> str | None:
    """`2025-06` of `xgboost_v1_33features_202506_9eb8b7fbed60`; None for a model that was not trained here."""
    match = MODEL_ID.fullmatch(model_id)
    return f"{match['month'][:4]}-{match['month'][4:]}" if match else None
