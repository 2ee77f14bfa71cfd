"""Computes the rows of the feature store for a range of dates.

The SQL is in `sql/`, one file per step, in the order of `STEPS`. A private in-memory DuckDB runs it on the caller's
Arrow tables, without access to files or the network.

The bytes do not depend on the number of threads: only integers are summed, because sums of floats depend on the order,
and every value is rounded to 6 decimals.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from datetime import date, datetime, timedelta
from decimal import Decimal
from importlib import resources
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from nba_ml.contract.digest import json_digest
from nba_ml.contract.errors import SourceDataError
from nba_ml.contract.features import V2_33FEATURES, FeatureVersion
from nba_ml.contract.season import EARLY_SEASON_DAYS
from nba_ml.data import tables
from nba_ml.data.reports import LISTED, NO_REPORTS, REPORTS

if TYPE_CHECKING:
    import duckdb

DECIMALS = 6
"""Decimals of a feature: finer than any split of a model, coarser than float noise."""

DATA_SOURCE = "box_scores"
"""The `data_source` of rows computed here."""

STEPS = (
    "define_clamp",
    "select_games",
    "total_team_games",
    "select_history",
    "select_target_rows",
    "measure_form",
    "measure_shot_profile",
    "measure_usage",
    "measure_workload",
    "rate_teams",
    "rate_opponents",
    "rate_league",
    "match_lines",
    "choose_lines",
    "average_versus_opponent",
    "assemble_features",
)
"""The SQL files in order; each may use the results of the previous ones. The last one makes the view `assembled`."""

CAREER_STEPS = ("select_careers", "find_absences", "expect_players", "assemble_careers")
"""The files that follow for a version with features across seasons. The last one makes `assembled_careers`."""

REPORT_STEPS = (
    "select_careers",
    "find_absences",
    "add_rotation",
    "expect_players",
    "sum_reported_out",
    "find_absences",
    "assemble_careers",
    "assemble_reports",
)
"""Those files and more, for a version with features of reports. The last one makes `assembled_reports`."""

_BATCH_ROWS = 8_192
"""Rows converted to vectors at a time, which keeps peak memory near the size of the result."""

_LOCKED_DOWN: dict[str, str | bool | int | float | list[str]] = {
    "enable_external_access": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "allow_community_extensions": "false",
}
"""DuckDB reads only the given tables and downloads nothing."""


def compute_features(
    summary: pa.Table,
    lines: pa.Table,
    first: date,
    last: date,
    *,
    computed_at: datetime,
    version: FeatureVersion = V2_33FEATURES,
    reports: pa.Table = NO_REPORTS,
    threads: int | None = None,
) -> pa.Table:
    """Feature rows of all player-games from `first` to `last`, both inclusive.

    Every feature of a row is computed from games strictly before its date; the contract defines units and ranges. A row
    with 0 minutes gets features but is not used as history.

    Args:
        summary: box scores, schema `tables.PLAYER_GAME_SUMMARY`: the requested dates, their seasons from
            the opening game on, and 3 years before for the features against an opponent and for the names
            of lines without an id. Rows after `last` are ignored.
        lines: points lines, schema `tables.PROP_LINES`; may be empty. `match_lines` matches them to players.
        first, last: the range of `game_date`.
        computed_at: time zone aware; becomes `created_at` and `updated_at`.
        version: names and order of the vector.
        reports: who was reported out before the cut-off, schema `reports.REPORTS`; read by a version that
            `reads_reports` only. Without reports those features are NaN.
        threads: maximum number; None is DuckDB's default (one per core). The result does not depend on it.

    Returns:
        Schema `tables.ML_FEATURE_STORE_V2`, one row per row of `summary` in the range, ordered
        (game_date, player_lookup). Missing values are NaN. Several chunks, which share one block of
        `feature_names`.

    Raises:
        SourceDataError: a table's columns differ from its schema; a player has two rows on a date, a game does not have
            exactly two teams, or a team has two games on a date; or the version has a feature without SQL.
        ValueError: `first` is after `last`, or `computed_at` has no time zone.
    """
    if first > last:
        raise ValueError(f"first ({first}) is after last ({last})")
    if computed_at.tzinfo is None:
        raise ValueError(f"computed_at ({computed_at}) has no time zone")
    summary = _in_schema(summary, tables.PLAYER_GAME_SUMMARY, "player_game_summary")
    lines = _in_schema(lines, tables.PROP_LINES, "prop_lines")
    reports = _in_schema(reports, REPORTS, "reports")

    packer = _Packer(version, computed_at)
    batches: list[pa.RecordBatch] = []
    with _database({"summary": summary, "lines": lines, "reports": reports}, threads) as connection:
        for start, end in _season_spans(summary, first, last):
            _prepare(connection, start, end, version)
            batches.extend(packer.pack(batch) for batch in _select_vectors(connection, version))
    return pa.Table.from_batches(batches, tables.ML_FEATURE_STORE_V2)


def match_lines(summary: pa.Table, lines: pa.Table, first: date, last: date) -> pa.Table:
    """Match the lines from `first` to `last` to players, as `compute_features` does.

    Args:
        summary, lines: as for `compute_features`.
        first, last: the range of `game_date`, both inclusive.

    Returns:
        One row per listed line: `universal_player_id` (null: no player), `player_lookup` as listed, `game_date`,
        `book`, `line`, `named_otherwise` and `outcome` (`lines.LineOutcome`); ordered by date, lookup, book, line.

    Raises:
        SourceDataError: a table's columns differ from its schema.
    """
    summary = _in_schema(summary, tables.PLAYER_GAME_SUMMARY, "player_game_summary")
    lines = _in_schema(lines, tables.PROP_LINES, "prop_lines")
    with _database({"summary": summary, "lines": lines}) as connection:
        _set_range(connection, first, last)
        connection.execute(step_text("match_lines"))
        return connection.sql("FROM matched_lines ORDER BY game_date, player_lookup, book, line").to_arrow_table()


def inactive_lists(summary: pa.Table, listed: pa.Table, first: date, last: date) -> pa.Table:
    """Stand-in for the reports of past dates: who of each team's last ten games was on its inactive list.

    Args:
        summary: as for `compute_features`.
        listed: schema `reports.LISTED`. Dates without a row have no stand-in.
        first, last: the range of `game_date`, both inclusive.

    Returns:
        Schema `reports.REPORTS`, without times.

    Raises:
        SourceDataError: a table's columns differ from its schema.
    """
    summary = _in_schema(summary, tables.PLAYER_GAME_SUMMARY, "player_game_summary")
    with _database({"summary": summary, "listed": _in_schema(listed, LISTED, "listed_without_minutes")}) as connection:
        _set_range(connection, first, last)
        found = connection.sql(step_text("list_inactive")).to_arrow_table()
    for name in REPORTS.names[found.num_columns :]:
        found = found.append_column(name, pa.nulls(found.num_rows, REPORTS.field(name).type))
    return found.cast(REPORTS)


def _season_spans(summary: pa.Table, first: date, last: date) -> list[tuple[date, date]]:
    """The range cut at each 1 July, as far as `summary` has games: one season at a time bounds the memory."""
    if summary.num_rows == 0:
        return []
    held = pc.min_max(summary["game_date"]).as_py()
    start, last = max(first, held["min"]), min(last, held["max"])
    spans: list[tuple[date, date]] = []
    while start <= last:
        following = date(start.year + (start.month >= 7), 7, 1)
        spans.append((start, min(last, following - timedelta(days=1))))
        start = following
    return spans


def _prepare(connection: duckdb.DuckDBPyConnection, first: date, last: date, version: FeatureVersion) -> None:
    """Runs the version's steps for a range of dates, up to its view of assembled features."""
    _set_range(connection, first, last)
    connection.execute("SET VARIABLE early_season_days = $days", {"days": EARLY_SEASON_DAYS})
    for step in steps_of(version):
        connection.execute(step_text(step))
        if step == "select_games":
            _require_sound_games(connection, first, last)


def steps_of(version: FeatureVersion) -> tuple[str, ...]:
    """The version's SQL files in order."""
    if version.reads_reports:
        return (*STEPS, *REPORT_STEPS)
    return STEPS if _assembled(version) == "assembled" else (*STEPS, *CAREER_STEPS)


def _assembled(version: FeatureVersion) -> str:
    """The view that the version's last step makes."""
    if version.reads_reports:
        return "assembled_reports"
    return "assembled" if set(version.names) <= set(V2_33FEATURES.names) else "assembled_careers"


def _set_range(connection: duckdb.DuckDBPyConnection, first: date, last: date) -> None:
    # Variables, because a view cannot have parameters; values never become SQL text.
    connection.execute("SET VARIABLE first = $day", {"day": first})
    connection.execute("SET VARIABLE last = $day", {"day": last})


def _select_vectors(connection: duckdb.DuckDBPyConnection, version: FeatureVersion) -> Iterator[pa.RecordBatch]:
    """Keys and features of the prepared rows, in order, `_BATCH_ROWS` at a time."""
    _require_features(connection, version)
    columns = ",\n    ".join(f'"{name}"::DOUBLE AS "{name}"' for name in version.names)
    query = step_text("select_vectors").format(feature_columns=columns)
    if _assembled(version) != "assembled":
        query = f"WITH assembled AS (FROM {_assembled(version)})\n{query}"
    yield from connection.sql(query).to_arrow_reader(_BATCH_ROWS)


@contextmanager
def _database(held: Mapping[str, pa.Table], threads: int | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
    """A locked-down DuckDB that sees the tables by their names, for one call."""
    import duckdb  # every command imports this module, and few compute features

    limits: dict[str, str | bool | int | float | list[str]] = {} if threads is None else {"threads": threads}
    with duckdb.connect(":memory:", config={**_LOCKED_DOWN, **limits}) as connection:
        for name, table in held.items():
            connection.register(name, table)
        yield connection


def features_code_digest(version: FeatureVersion = V2_33FEATURES) -> str:
    """Digest of the version's queries and contract. It is part of the asset's code version."""
    stand_in = ("list_inactive",) if version.reads_reports else ()
    queries = {step: step_text(step) for step in (*steps_of(version), *stand_in, "find_faults", "select_vectors")}
    return json_digest({"sql": queries, "contract": [asdict(feature) for feature in version.features]})


def step_text(step: str) -> str:
    """The text of a file in `sql/`."""
    return (resources.files(__package__) / "sql" / f"{step}.sql").read_text(encoding="utf-8")


def _in_schema(table: pa.Table, schema: pa.Schema, name: str) -> pa.Table:
    """The columns of the schema; raises SourceDataError if one is missing or has another type."""
    given = {field.name: field.type for field in table.schema}
    wrong = [f"{f.name} ({given.get(f.name, 'missing')}, not {f.type})" for f in schema if given.get(f.name) != f.type]
    if wrong:
        raise SourceDataError(
            f"The {name} table of {table.num_rows:,} rows does not have the columns that features are computed from: "
            f"{', '.join(wrong)}. Load it with the schema in nba_ml/data/tables.py."
        )
    return table.select(schema.names)


def _require_sound_games(connection: duckdb.DuckDBPyConnection, first: date, last: date) -> None:
    faults = [str(fault) for (fault,) in connection.execute(step_text("find_faults")).fetchall()]
    if faults:
        raise SourceDataError(
            f"The box scores behind the features of {first} to {last} break the rules that the features rely on "
            f"(one row per player and date, two teams per game, one game per team and date): {'; '.join(faults)}. "
            "Fix or remove these rows in player_game_summary and compute the features again."
        )


def _require_features(connection: duckdb.DuckDBPyConnection, version: FeatureVersion) -> None:
    step = steps_of(version)[-1]
    computed = {str(row[0]) for row in connection.execute(f"DESCRIBE {_assembled(version)}").fetchall()}
    unknown = [name for name in version.names if name not in computed]
    if unknown:
        raise SourceDataError(
            f"{version.name} has {len(unknown)} of {version.count} features that are not computed from box scores: "
            f"{', '.join(unknown)}. Add them to nba_ml/data/features/sql/{step}.sql, or use another version."
        )


class _Packer:
    """Converts named columns to rows of the feature store, one batch at a time."""

    def __init__(self, version: FeatureVersion, computed_at: datetime) -> None:
        self._version = version
        self._computed_at = computed_at
        # 111,750 copies of 33 names are 63 MB: all batches share one block.
        self._names = _lists(pa.array(version.names * _BATCH_ROWS), version.count)
        # Quality has few distinct values: 100 x the share of features that are not missing, with 2 decimals.
        self._qualities = pa.array(
            [round(Decimal(100 * known) / version.count, 2) for known in range(version.count + 1)],
            tables.ML_FEATURE_STORE_V2.field("feature_quality_score").type,
        )

    def pack(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """`batch`: the keys and one nullable float column per feature, at most `_BATCH_ROWS` rows."""
        vectors = self._vectors(batch)
        n = batch.num_rows
        made = {
            "features": _lists(pa.array(vectors.ravel()), self._version.count),
            "feature_names": self._names.slice(0, n),
            "feature_count": pa.repeat(self._version.count, n),
            "feature_version": pa.repeat(self._version.name, n),
            "feature_quality_score": self._qualities.take(pa.array((~np.isnan(vectors)).sum(axis=1))),
            "data_source": pa.repeat(DATA_SOURCE, n),
            "created_at": pa.repeat(self._computed_at, n),
            "updated_at": pa.repeat(self._computed_at, n),
        }
        # Copy the keys: a column from DuckDB keeps its whole batch in memory.
        every = pa.array(np.arange(n))
        return pa.RecordBatch.from_arrays(
            [
                (made[field.name] if field.name in made else batch.column(field.name).take(every)).cast(field.type)
                for field in tables.ML_FEATURE_STORE_V2
            ],
            schema=tables.ML_FEATURE_STORE_V2,
        )

    def _vectors(self, batch: pa.RecordBatch) -> npt.NDArray[np.float64]:
        """(rows, features), rounded, NaN where missing."""
        vectors = np.empty((batch.num_rows, self._version.count))
        for position, name in enumerate(self._version.names):
            vectors[:, position] = batch.column(name).to_numpy(zero_copy_only=False)  # NULL becomes NaN
        np.round(vectors, DECIMALS, out=vectors)
        vectors += 0.0  # a value may round to -0.0, whose bytes differ from those of 0.0
        return vectors


def _lists(values: pa.Array, length: int) -> pa.ListArray:
    """Consecutive runs of `length` values as lists."""
    return pa.ListArray.from_arrays(pa.array(np.arange(0, len(values) + 1, length, dtype=np.int32)), values)
