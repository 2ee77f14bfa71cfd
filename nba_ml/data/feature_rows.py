"""Validate rows of the feature store against the contract, by one rule for all readers.

Returns the usable rows as canonical vectors, and why the others are not usable. `snapshot` freezes a month of them,
`slates` scores a date.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from nba_ml.contract.features import FeatureVersion
from nba_ml.data.canonical import canonical_vectors

KEY = ["player_lookup", "game_date"]

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Reasons = npt.NDArray[np.object_]


@dataclass(frozen=True, slots=True)
class ValidatedRows:
    """n rows, each of them early season, valid, or invalid for a reason.

    `keys` (n rows) has the identifying columns of `tables.FEATURE_ROWS`; `early` (n,) is the early-season flag;
    `reasons` (n,) says how a row breaks the contract, '' if it does not or is early; `vectors` (valid rows, features)
    are the canonical values of the valid rows, in their order.
    """

    keys: pd.DataFrame
    early: Mask
    reasons: Reasons
    vectors: Floats

    @property
    def valid(self) -> Mask:
        """Which rows (n,) meet the contract."""
        valid: Mask = ~self.early & (self.reasons == "")
        return valid


def validate_rows(features: pa.Table, version: FeatureVersion) -> ValidatedRows:
    """Validate rows (`tables.FEATURE_ROWS`) against the contract. The result does not depend on their order.

    Early-season rows come first: on the platform their vectors may be empty, and a team's pace after one
    double-overtime game is outside any range. Then duplicates are rejected (the newest `updated_at` stays), and then
    all other rows that break the contract, with the first reason found.
    """
    keys = _key_frame(features)
    early = keys["early_season_flag"].to_numpy(dtype=bool)
    duplicate = np.zeros(len(keys), dtype=bool)
    duplicate[_superseded(keys[~early], features)] = True
    lengths = pc.fill_null(pc.list_value_length(features.column("features")), 0).to_numpy()
    stated = pc.fill_null(features.column("feature_count"), version.count).to_numpy()
    in_order = pc.fill_null(features.column("names_in_order"), False).to_numpy()
    reasons: Reasons = np.full(len(keys), "", dtype=object)
    readable = ~early
    for broken, reason in (
        ((keys["player_lookup"] == "").to_numpy(), "no player_lookup"),
        (duplicate, "duplicate key"),
        ((keys["feature_version"] != version.name).to_numpy(), f"feature version is not {version.name}"),
        ((lengths != version.count) | (stated != version.count), f"not {version.count} values"),
        (~in_order, "feature names differ from the contract's"),
    ):
        reasons[readable & broken] = reason
        readable &= ~broken
    vectors = canonical_vectors(_matrix(features, readable, version), version)
    faults = np.array(contract_faults(vectors, version), dtype=object)
    reasons[readable] = faults
    sound = faults == ""
    return ValidatedRows(keys, early, reasons, vectors if sound.all() else vectors[sound])


def contract_faults(vectors: Floats, version: FeatureVersion) -> list[str]:
    """For each vector (n, features), the first violation of the contract, or ''."""
    faults = np.full(len(vectors), "", dtype=object)
    for i, feature in enumerate(version.features):
        values = vectors[:, i]
        missing = np.isnan(values)
        if (((values >= feature.low) & (values <= feature.high)) | (missing & feature.nullable)).all() and (
            feature.unit != "0/1"
        ):
            continue
        found: dict[str, Mask] = {
            f"{feature.name} is infinite": np.isinf(values),
            f"{feature.name} outside {feature.low:g} to {feature.high:g}": (values < feature.low)
            | (values > feature.high),
        }
        if feature.unit == "0/1":
            found[f"{feature.name} is neither 0 nor 1"] = ~missing & (values != 0) & (values != 1)
        if not feature.nullable:
            found[f"{feature.name} is missing"] = missing
        for fault, mask in found.items():
            faults[mask & (faults == "")] = fault
    return faults.tolist()


def _key_frame(features: pa.Table) -> pd.DataFrame:
    columns = [*KEY, "game_id", "feature_version", "feature_quality_score", "early_season_flag", "updated_at"]
    frame: pd.DataFrame = features.select(columns).to_pandas(date_as_object=False)
    # Old rows lack some values: a missing flag counts as false, a missing time as the oldest.
    return frame.assign(
        early_season_flag=frame["early_season_flag"].eq(True),
        **{name: frame[name].fillna("") for name in ("player_lookup", "game_id", "feature_version")},
    )


def _superseded(rows: pd.DataFrame, features: pa.Table) -> pd.Index:
    """Rows that are replaced by a newer row with the same key.

    Of rows written at the same time, the one with the higher quality score stays, then the one whose vector sorts last.
    All distinguishing columns are compared, so that the warehouse's order does not matter.
    """
    repeated = rows[rows.duplicated(KEY, keep=False)]
    stored = features.select(["features", "names_in_order"]).take(pa.array(repeated.index)).to_pydict()
    ranked = repeated.assign(vector=list(map(repr, stored["features"])), named=stored["names_in_order"]).sort_values(
        ["updated_at", "feature_quality_score", "vector", "game_id", "named", "feature_version"],
        ascending=False,
        na_position="last",
    )
    return ranked.index[ranked.duplicated(KEY)]


def _matrix(features: pa.Table, keep: Mask, version: FeatureVersion) -> Floats:
    """The kept rows' vectors (n, features), through Arrow buffers."""
    column = features.column("features")
    column = column if keep.all() else column.filter(pa.array(keep))
    values = column.combine_chunks().flatten() if column.num_chunks else pa.array([], pa.float64())
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    matrix: Floats = values.fill_null(np.nan).to_numpy(zero_copy_only=False).reshape(-1, version.count)
    return matrix
