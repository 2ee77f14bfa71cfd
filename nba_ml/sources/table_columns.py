"""The columns of the platform's two tables, which differ between its epochs: what is required, and SQL for each form.

A table that cannot be read is refused before any query, so that progress, observations, the sensor, snapshots and
slates say the same.
"""

from collections.abc import Mapping, Sequence

from nba_ml.contract.errors import SourceDataError
from nba_ml.contract.features import V2_33FEATURES

NUMBER = ("INT64", "FLOAT64", "NUMERIC", "BIGNUMERIC")
TIME = ("TIMESTAMP", "DATETIME")
"""The accepted types of numbers and of times."""

FEATURE_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "player_lookup": ("STRING",),
    "game_date": ("DATE",),
    "game_id": ("STRING",),
    "features": ("ARRAY<FLOAT64>",),
    "feature_names": ("ARRAY<STRING>",),
    "feature_count": ("INT64",),
    "feature_version": ("STRING",),
    "feature_quality_score": NUMBER,
    "early_season_flag": ("BOOL",),
    "updated_at": TIME,
}
"""Column of the feature table -> accepted types."""

SLATE_COLUMNS = {**FEATURE_COLUMNS, "universal_player_id": ("STRING",)}
"""The same for a slate."""

RESULT_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "player_lookup": ("STRING",),
    "game_date": ("DATE",),
    "game_id": ("STRING",),
    "points": NUMBER,
    "minutes_played": NUMBER,
}
"""Column of the summary table -> accepted types."""

LINE_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "universal_player_id": ("STRING",),
    "player_lookup": ("STRING",),
    "game_date": ("DATE",),
    "book": ("STRING",),
    "line": NUMBER,
    "over_price": NUMBER,
    "under_price": NUMBER,
}
"""The same for a table of lines with prices."""

VALUE_COLUMNS = tuple(f"feature_{i}_value" for i in range(V2_33FEATURES.count))
"""What a table of the third epoch has instead of, or beside, `features`. NULL is a missing value."""

_NAN = "CAST('NaN' AS FLOAT64)"


def feature_parts(
    table: str, found: Mapping[str, str], versions: Sequence[str], needed: Mapping[str, tuple[str, ...]]
) -> dict[str, str]:
    """The SQL that reads a feature table, by the names of its places in the statements.

    Args:
        table: its quoted name, for messages.
        found: column in lower case -> type (`BigQueryConnection.columns`).
        versions: the accepted feature versions, the contract's among them; the first that a player-game has counts.
        needed: the columns that are read, with their accepted types.

    Raises:
        SourceDataError: a column is missing or has another type.
    """
    values = all(name in found for name in VALUE_COLUMNS)
    if values and "features" not in found:
        needed = {name: types for name, types in needed.items() if name != "features"}
        needed |= dict.fromkeys(VALUE_COLUMNS, NUMBER)
    require_columns(table, found, needed, "NBA_ML_FEATURE_TABLE")
    own, count = V2_33FEATURES.name, V2_33FEATURES.count
    ranks = " ".join(f"WHEN '{version}' THEN {rank}" for rank, version in enumerate(versions))
    is_later = f"feature_version IN ({', '.join(repr(v) for v in versions if v != own)})" if len(versions) > 1 else ""
    return {
        "version_rank": f"CASE feature_version {ranks} ELSE {len(versions)} END",
        "versions": str(len(versions)),
        "own_version": own,
        "features": _vector(found, values, is_later),
        "feature_count": f"IF({is_later} AND feature_count > {count}, {count}, feature_count)"
        if is_later
        else "feature_count",
        "names_in_order": _names_in_order(is_later),
    }


def result_parts(table: str, found: Mapping[str, str]) -> dict[str, str]:
    """The same for a summary table: its version columns, where it has them."""
    require_columns(table, found, RESULT_COLUMNS, "NBA_ML_SUMMARY_TABLE")
    kinds = {"record_version": "INT64", "processed_at": "TIMESTAMP"}
    return {name: name if name in found else f"CAST(NULL AS {kind})" for name, kind in kinds.items()}


def require_columns(table: str, found: Mapping[str, str], needed: Mapping[str, tuple[str, ...]], setting: str) -> None:
    """Do nothing if the table has the columns, each with an accepted type.

    Raises:
        SourceDataError: it has not. The message names each column, its type and the accepted types.
    """
    missing = [name for name in needed if name not in found]
    faults = [f"it lacks {', '.join(missing)}"] if missing else []
    faults += [
        f"{name} is {found[name]}, accepted: {' or '.join(types)}"
        for name, types in needed.items()
        if name in found and found[name] not in types
    ]
    if faults:
        raise SourceDataError(
            f"{table} cannot be read: {'; '.join(faults)}. Make a view that has these columns and set {setting} to it: "
            "docs/pages/how-to/cloud.md shows the views for other forms. Nothing was written."
        )


def _vector(found: Mapping[str, str], values: bool, is_later: str) -> str:
    """The contract's values: the first of a later version's."""
    count = V2_33FEATURES.count
    columns = f"[{', '.join(f'IFNULL(CAST({name} AS FLOAT64), {_NAN})' for name in VALUE_COLUMNS)}]"
    if "features" not in found:
        return columns
    own = "features"
    if is_later:
        first = f"ARRAY(SELECT value FROM UNNEST(features) AS value WITH OFFSET AS i WHERE i < {count} ORDER BY i)"
        own = f"IF({is_later}, {first}, features)"
    return f"IF(IFNULL(ARRAY_LENGTH(features), 0) = 0, {columns}, {own})" if values else own


def _names_in_order(is_later: str) -> str:
    """Whether the row's names are the contract's, or begin with them in a later version."""
    names = "ARRAY_TO_STRING(feature_names, ',')"
    same = f"{names} = @feature_names"
    return (
        f"IF({is_later}, STARTS_WITH(CONCAT({names}, ','), CONCAT(@feature_names, ',')), {same})" if is_later else same
    )
