"""The columns of the platform's two tables, which differ between its epochs: what is required, and SQL for each form.

A table that cannot be read is refused before any query, so that progress, observations, the sensor, snapshots and
slates say the same.
"""

from collections.abc import Mapping, Sequence

from nba_ml.contract.errors import SourceDataError
from nba_ml.contract.features import FEATURE_VERSIONS, V2_33FEATURES, FeatureVersion
from nba_ml.sources.queries import query

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
    table: str,
    found: Mapping[str, str],
    versions: Sequence[str],
    needed: Mapping[str, tuple[str, ...]],
    version: FeatureVersion = V2_33FEATURES,
) -> dict[str, str]:
    """The SQL that reads the rows of a feature version, by the names of its places in the statements.

    Args:
        table: its quoted name, for messages.
        found: column in lower case -> type (`BigQueryConnection.columns`).
        versions: what rows of `V2_33FEATURES` may be called, its own name among them; the first that a player-game has
            counts. Every other version has its own name only.
        needed: the columns that are read, with their accepted types.
        version: the version.

    Raises:
        SourceDataError: a column is missing or has another type.
    """
    versions = versions if version == V2_33FEATURES else (version.name,)
    values = version == V2_33FEATURES and all(name in found for name in VALUE_COLUMNS)
    if values and "features" not in found:
        needed = {name: types for name, types in needed.items() if name != "features"}
        needed |= dict.fromkeys(VALUE_COLUMNS, NUMBER)
    require_columns(table, found, needed, "NBA_ML_FEATURE_TABLE")
    own, count = version.name, version.count
    ranks = " ".join(f"WHEN '{version}' THEN {rank}" for rank, version in enumerate(versions))
    is_later = f"feature_version IN ({', '.join(repr(v) for v in versions if v != own)})" if len(versions) > 1 else ""
    return {
        "version_rank": f"CASE feature_version {ranks} ELSE {len(versions)} END",
        "versions": str(len(versions)),
        "of_version": of_version(versions, version),
        "own_version": own,
        "features": _vector(found, values, is_later),
        "feature_count": f"IF({is_later} AND feature_count > {count}, {count}, feature_count)"
        if is_later
        else "feature_count",
        "names_in_order": _names_in_order(is_later),
    }


def of_version(versions: Sequence[str], version: FeatureVersion) -> str:
    """The condition for the rows that are meant to be of a version.

    The table is that of `V2_33FEATURES`: its rows are all but those of the other versions that are known here, so that
    a row of an unknown version is reported.
    """
    if version != V2_33FEATURES:
        return f"feature_version = '{version.name}'"
    others = ", ".join(repr(name) for name in FEATURE_VERSIONS if name not in versions)
    return f"IFNULL(feature_version, '') NOT IN ({others})" if others else "TRUE"


def result_parts(table: str, found: Mapping[str, str]) -> dict[str, str]:
    """The same for a summary table: its version columns, where it has them."""
    require_columns(table, found, RESULT_COLUMNS, "NBA_ML_SUMMARY_TABLE")
    kinds = {"record_version": "INT64", "processed_at": "TIMESTAMP"}
    return {name: name if name in found else f"CAST(NULL AS {kind})" for name, kind in kinds.items()}


def standing_lines(table: str, found: Mapping[str, str], first: str = "@first", last: str = "@last") -> str:
    """The SQL of the rows of a table of lines that count, by `data.standing_lines`' rule; with a column `line_lookup`.

    Of a book's captures of a player the last one before tip-off, and no alternates: as far as the table has
    `captured_at`, `tip_off` and `is_alternate`.

    Args:
        table: its quoted name.
        first, last: SQL of the dates, both inclusive.

    Raises:
        SourceDataError: one of them has another type.
    """
    optional = {"captured_at": ("TIMESTAMP",), "tip_off": ("TIMESTAMP",), "is_alternate": ("BOOL",)}
    there = {name: types for name, types in optional.items() if name in found}
    require_columns(table, found, there, "NBA_ML_LINES_TABLE")
    conditions = [f"game_date BETWEEN {first} AND {last}", "line IS NOT NULL"]
    if "is_alternate" in there:
        conditions.append("NOT IFNULL(is_alternate, FALSE)")
    if {"captured_at", "tip_off"} <= there.keys():
        conditions.append("IFNULL(captured_at <= tip_off, TRUE)")
    rows = query("lines", lines_table=table, conditions=" AND ".join(conditions))
    return query("last_captures", rows=rows) if "captured_at" in there else rows


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
