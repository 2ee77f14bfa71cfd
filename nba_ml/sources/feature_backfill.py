"""The features of a month, computed in BigQuery: from `player_game_summary` into the feature table.

So are those of a date whose games are still to be played, for the players of whom the platform has feature rows of its
own version. One script per month or date runs the steps of `data.features.bigquery_sql` on temporary tables, and one
MERGE writes the rows. A MERGE has its effect completely or not at all, so a run that was stopped leaves each month as
it was or as it should be. Rows that did not change are not written again: their `updated_at`, and with it the month's
data version, stay.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta

import pyarrow as pa
from sqlglot import exp, parse_one

from nba_ml.contract.errors import SourceDataError
from nba_ml.contract.features import V2_33FEATURES, FeatureVersion
from nba_ml.contract.game_types import GameType
from nba_ml.contract.season import month_bounds, season_on
from nba_ml.data.features.bigquery_sql import KEYS, SUMMARY_COLUMNS, feature_statements
from nba_ml.data.features.compute import DATA_SOURCE, DECIMALS
from nba_ml.data.tables import ML_FEATURE_STORE_V2, PLAYER_GAME_SUMMARY, PROP_LINES
from nba_ml.data.upcoming import game_type_on
from nba_ml.sources.bigquery_connection import BigQueryConnection, quoted_table
from nba_ml.sources.queries import query
from nba_ml.sources.table_columns import NUMBER, TIME, require_columns, result_parts, standing_lines

_SECONDS = 1800.0
"""Time limit of a month's script: some twenty statements, each of which BigQuery plans and queues on its own."""

_LEAST_BILLED = 10 * 2**20
"""Bytes that BigQuery bills at least for each table that a statement reads."""

_STAMPS = ("created_at", "updated_at")


@dataclass(frozen=True, slots=True)
class Estimate:
    """Bytes that a month would bill: `stored` for the stored tables, by dry runs, and `temporary` at least for the
    script's temporary tables, of which BigQuery bills no less than 10 MiB at each reading."""

    stored: int
    temporary: int

    @property
    def total(self) -> int:
        return self.stored + self.temporary


@dataclass(frozen=True, slots=True)
class Written:
    """A month or a date: how many rows were computed, how many rows of the table were inserted, updated or deleted, and
    how many rows of other writers with the same keys were left as they are."""

    when: str
    rows: int
    changed: int
    others: int


@dataclass(frozen=True)
class BigQueryFeatureBackfill:
    """Computes features in BigQuery. `lines_table` has points lines in the columns of `PROP_LINES`; None: no lines.

    What is computed is a month, or the date of games to be played, whose players are those of the feature table's rows
    of `platform_versions`.
    """

    connection: BigQueryConnection
    feature_table: str
    summary_table: str
    lines_table: str | None = None
    version: FeatureVersion = V2_33FEATURES
    platform_versions: tuple[str, ...] = (V2_33FEATURES.name,)

    def estimate(self, when: str | date) -> Estimate:
        """What `write` would bill for the month or date. The dry runs are free of charge.

        Raises:
            SettingsError, SourceDataError: as for `write`.
        """
        name, found = self._table(self.feature_table, ML_FEATURE_STORE_V2, "NBA_ML_FEATURE_TABLE")
        stored = query("backfill_stored", feature_table=name, columns=", ".join(found), **_days(when))
        inputs = self._inputs(when)
        if self.lines_table is None:
            del inputs["lines"]
        return Estimate(
            sum(max(self.connection.estimate(sql), _LEAST_BILLED) for sql in (*inputs.values(), stored)),
            sum(_LEAST_BILLED * _tables_read(sql) for sql in self._statements(when)),
        )

    def require_affordable(self, when: str | date, estimate: Estimate) -> None:
        """Do nothing unless a month or date would bill more than the connection's limit.

        Raises:
            SourceDataError: it would. Nothing was billed.
        """
        limit = self.connection.maximum_bytes_billed
        if estimate.total > limit:
            raise SourceDataError(
                f"{when}: computing the features would bill at least {estimate.total:,} bytes, and the limit is "
                f"{limit:,}. Nothing ran. Check that {self.summary_table} has a partition on game_date; if it is "
                "really that large, set NBA_ML_BIGQUERY_MAX_BYTES or --max-bytes to more."
            )

    def write(self, when: str | date) -> Written:
        """Compute the features of the month or date and merge them into the feature table.

        Raises:
            SettingsError: there are no usable credentials, or a table's name is invalid.
            SourceDataError: a table lacks a column, the box scores break the rules that the features rely on, or
                BigQuery rejects the script or does not finish it in time, or a date has no players. The feature table
                is unchanged.
        """
        patient = replace(self.connection, deadline_seconds=_SECONDS)
        [found] = patient.rows(self.script(when), {}, "features").to_pylist()
        if found["faults"]:
            raise SourceDataError(
                f"{when}: box scores in {self.summary_table} break the rules that the features rely on (one row per "
                f"player and date, two teams per game, one game per team and date): {'; '.join(found['faults'])}. Fix "
                f"or remove these rows and compute it again. {self.feature_table} is unchanged."
            )
        if isinstance(when, date) and not found["written"]:
            raise SourceDataError(
                f"{when}: {self.feature_table} has no rows of {' or '.join(self.platform_versions)} on that date. They "
                "say who plays. Wait until the platform has written them, then run the same command again."
            )
        return Written(str(when), found["written"], found["changed"], found["others"])

    def script(self, when: str | date) -> str:
        """The statements that `write` runs, as one text.

        Raises:
            SettingsError, SourceDataError: as for `write`.
        """
        table, found = self._table(self.feature_table, ML_FEATURE_STORE_V2, "NBA_ML_FEATURE_TABLE")
        games, faults, *steps = self._statements(when)
        inputs = [f"CREATE OR REPLACE TEMP TABLE {name} AS\n{sql}" for name, sql in self._inputs(when).items()]
        compared = [name for name in ML_FEATURE_STORE_V2.names if name not in _STAMPS]
        stored, computed = (
            f"TO_JSON_STRING(STRUCT({', '.join(f'{side}.{name}' for name in compared)}))"
            for side in ("stored", "computed")
        )
        changing = [name for name in ML_FEATURE_STORE_V2.names if name != "created_at"]
        return query(
            "backfill",
            prepare=_joined((*inputs, games, faults)),
            steps=_joined(steps),
            computed=_lines(f"CAST({value} AS {found[name]}) AS {name}" for name, value in self._values().items()),
            keys=_lines(KEYS),
            scaled=_lines(f"CAST({name} AS FLOAT64) * {10**DECIMALS} AS {name}" for name in self.version.names),
            differs=f"{stored} != {computed}",
            updates=", ".join(f"{name} = computed.{name}" for name in changing),
            columns=", ".join(ML_FEATURE_STORE_V2.names),
            inserted=", ".join(f"computed.{name}" for name in ML_FEATURE_STORE_V2.names),
            feature_table=table,
            version=self.version.name,
            data_source=DATA_SOURCE,
            **_days(when),
        )

    def _statements(self, when: str | date) -> list[str]:
        return feature_statements(self.version, *_bounds(when))

    def _values(self) -> dict[str, str]:
        """SQL for each column of the feature table, from the keys and the features times a million."""
        names = self.version.names
        known = " + ".join(f"IF({name} IS NULL, 0, 1)" for name in names)
        return {name: name for name in KEYS} | {
            "features": f"[{', '.join(map(_rounded, names))}]",
            "feature_names": f"[{', '.join(repr(name) for name in names)}]",
            "feature_count": str(self.version.count),
            "feature_version": f"'{self.version.name}'",
            "feature_quality_score": f"ROUND(100 * ({known}) / {self.version.count}, 2)",
            "data_source": f"'{DATA_SOURCE}'",
            **dict.fromkeys(_STAMPS, "CURRENT_TIMESTAMP()"),
        }

    def _inputs(self, when: str | date) -> dict[str, str]:
        """The feature SQL's input tables: name -> query."""
        summary, found = self._table(
            self.summary_table, _part(PLAYER_GAME_SUMMARY, SUMMARY_COLUMNS), "NBA_ML_SUMMARY_TABLE"
        )
        played = _bounds(when)[1] if isinstance(when, str) else when - timedelta(days=1)
        inputs = {
            "summary": query(
                "backfill_summary",
                values=_lines(map(_whole, SUMMARY_COLUMNS)),
                columns=_lines(name for name in SUMMARY_COLUMNS if name != "player_lookup"),
                did_not_play="IFNULL(is_dnp, FALSE)" if found.get("is_dnp") == "BOOL" else "FALSE",
                summary_table=summary,
                **result_parts(summary, found),
                **{**_days(when), "until": played.isoformat()},
            )
        }
        if isinstance(when, date):
            inputs["summary"] += f"\nUNION ALL\n{self._upcoming(when)}"
        if self.lines_table is None:
            nothing = ", ".join(f"CAST(NULL AS {_ACCEPTED[field.type][0]}) AS {field.name}" for field in PROP_LINES)
            return {**inputs, "lines": f"SELECT * FROM (SELECT {nothing}) WHERE FALSE"}
        lines, found = self._table(self.lines_table, PROP_LINES, "NBA_ML_LINES_TABLE")
        days = (f"DATE '{day}'" for day in _days(when).values())
        return {**inputs, "lines": query("backfill_lines", lines=standing_lines(lines, found, *days))}

    def _upcoming(self, day: date) -> str:
        """The rows of box scores without a result, of the players who have a feature row of the platform's version."""
        name = quoted_table(self.feature_table, self.connection.project)
        known = {
            **{each: each for each in _KNOWN_BEFORE},
            "season": f"'{season_on(day).name}'",
            "playoffs": str(game_type_on(day) is GameType.PLAYOFFS).upper(),
        }
        return query(
            "backfill_upcoming",
            upcoming_values=_lines(known.get(each) or _nothing(each) for each in SUMMARY_COLUMNS),
            feature_table=name,
            platform_versions=", ".join(f"'{version}'" for version in self.platform_versions),
            **_days(day),
        )

    def _table(self, table: str, schema: pa.Schema, setting: str) -> tuple[str, dict[str, str]]:
        """A table's quoted name and its columns, after a look at those of the schema."""
        name = quoted_table(table, self.connection.project)
        found = self.connection.columns(name)
        require_columns(name, found, {field.name: _ACCEPTED[field.type] for field in schema}, setting)
        return name, found


_ACCEPTED: Mapping[pa.DataType, tuple[str, ...]] = {
    pa.string(): ("STRING",),
    pa.date32(): ("DATE",),
    pa.bool_(): ("BOOL",),
    pa.int16(): NUMBER,
    pa.int64(): NUMBER,
    pa.float64(): ("FLOAT64", *NUMBER),
    pa.decimal128(5, 2): NUMBER,
    pa.list_(pa.float64()): ("ARRAY<FLOAT64>",),
    pa.list_(pa.string()): ("ARRAY<STRING>",),
    pa.timestamp("us", tz="UTC"): TIME,
}
"""Arrow's type -> the accepted types in BigQuery."""


_KNOWN_BEFORE = (
    *("player_lookup", "universal_player_id", "game_date", "game_id", "team_abbr", "opponent_team_abbr", "is_home"),
    "neutral_site",
)
"""The columns of box scores that `backfill_upcoming` has before a game; the others but the season are NULL."""


def _nothing(name: str) -> str:
    """NULL for a column of the box scores, in the type that `_whole` gives it."""
    return f"CAST(NULL AS {'BOOL' if PLAYER_GAME_SUMMARY.field(name).type == pa.bool_() else 'INT64'}) AS {name}"


def _part(schema: pa.Schema, names: Iterable[str]) -> pa.Schema:
    return pa.schema([schema.field(name) for name in names])


def _whole(name: str) -> str:
    """A column of the box scores; numbers as integers, minutes rounded half up as nba.com does."""
    if PLAYER_GAME_SUMMARY.field(name).type != pa.int16():
        return name
    return f"CAST(FLOOR({name} + 0.5) AS INT64) AS {name}"


def _rounded(name: str) -> str:
    """A feature times a million, rounded half to even as NumPy does, divided again; NaN where it is missing.

    BigQuery rounds a FLOAT64 half away from zero.
    """
    nearest = f"IF(ABS({name} - TRUNC({name})) = 0.5, 2 * ROUND({name} / 2), ROUND({name}))"
    return f"IFNULL({nearest} / {10**DECIMALS} + 0.0, CAST('NaN' AS FLOAT64))"


def _bounds(when: str | date) -> tuple[date, date]:
    return month_bounds(when) if isinstance(when, str) else (when, when)


def _days(when: str | date) -> dict[str, str]:
    first, last = _bounds(when)
    return {"first": first.isoformat(), "last": last.isoformat()}


def _tables_read(statement: str) -> int:
    """How many tables a statement reads."""
    tree = parse_one(statement, dialect="bigquery")
    own = {tree.this.name, *(each.alias for each in tree.find_all(exp.CTE))}
    return len({table.name for table in tree.find_all(exp.Table)} - own)


def _joined(statements: Iterable[str]) -> str:
    return "\n\n".join(f"{statement};" for statement in statements)


def _lines(parts: Iterable[str]) -> str:
    return ",\n    ".join(parts)
