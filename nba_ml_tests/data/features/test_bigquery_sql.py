"""The feature SQL for BigQuery: the same tables as DuckDB's own, and nothing in it that BigQuery lacks.

The emulator runs BigQuery's SQL on DuckDB and takes much that BigQuery refuses. So what BigQuery lacks is looked for in
the text, by rules from its reference (https://cloud.google.com/bigquery/docs/reference/standard-sql/).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlglot import exp, parse_one, transpile
from sqlglot.errors import SqlglotError, UnsupportedError

from nba_ml.contract.features import V2_33FEATURES, V3_FEATURES, FeatureVersion
from nba_ml.data.features import bigquery_sql, compute
from nba_ml.data.features.bigquery_sql import feature_statements
from nba_ml.sources.feature_backfill import _rounded
from nba_ml_tests.conftest import summary_of
from nba_ml_tests.data.features.conftest import between

WEEK = (date(2025, 1, 6), date(2025, 1, 12))
"""With lines of several books, and of players whose name is another's or is spelled in another way."""

FUNCTIONS = {
    *("ABS", "ARRAY_AGG", "ARRAY_LENGTH", "CAST", "COALESCE", "COUNT", "DATE_ADD", "DATE_DIFF", "DATE_SUB", "DIV"),
    *("GREATEST", "LAG", "LEAD", "LEAST", "LEFT", "LOGICAL_OR", "MAX", "MIN", "NULLIF", "POWER", "REGEXP_REPLACE"),
    *("ROUND", "ROW_NUMBER", "SAFE_OFFSET", "SQRT", "STRING_AGG", "STRUCT", "SUM", "TO_JSON_STRING", "UNIX_DATE"),
    "UNNEST",
}
"""BigQuery's functions and operators with parentheses that the statements use (functions-and-operators)."""

KEYWORDS = {
    *("ALL", "AND", "AS", "BY", "DISTINCT", "EXISTS", "FROM", "IN", "JOIN", "NOT", "ON", "OR", "OVER", "SELECT"),
    *("THEN", "UNION", "WHEN", "WHERE"),
}
"""Keywords that a parenthesis may follow."""

NUMBERING = (exp.RowNumber, exp.Lag, exp.Lead)


def faults(statement: str) -> Iterator[str]:
    """What BigQuery would refuse in a statement."""
    names = re.findall(r"\b([A-Za-z_]\w*)\s*\(", re.sub(r"'[^']*'", "''", statement))
    yield from (f"function {name}" for name in names if name.upper() not in FUNCTIONS | KEYWORDS)
    yield from re.findall(r"\b(?:TEMP(?:ORARY)? VIEW|MACRO|MATERIALIZED|ASOF|EXCLUDE|IGNORE NULLS\))", statement)
    yield from re.findall(r"NULLS (?:FIRST|LAST)|::", statement)
    tree = parse_one(statement, dialect="bigquery")
    for window in tree.find_all(exp.Window):
        yield from window_faults(window)
    for each in tree.find_all(exp.Sub, exp.Add):
        if any(is_date(side) for side in (each.this, each.expression)):
            yield f"arithmetic of dates: {each.sql('bigquery')}"
    for each in tree.find_all(exp.DPipe):
        for side in (each.this, each.expression):
            if isinstance(side, exp.Count | exp.Sum):
                yield f"number as text: {side.sql('bigquery')}"
    if any(count.find(exp.Tuple) for count in tree.find_all(exp.Count)):
        yield "COUNT of a struct"
    for column in tree.find_all(exp.Column):
        if not column.table and column.find_ancestor(exp.Select) and not column.find_ancestor(exp.Unnest):
            yield f"unqualified column, which may be an alias of the same SELECT: {column.name}"


def window_faults(window: exp.Window) -> Iterator[str]:
    """window-function-calls: a frame needs a function that may have one; RANGE needs one number to order by."""
    frame = window.args.get("spec")
    if frame is None:
        return
    if isinstance(window.this, NUMBERING):
        yield f"frame of {window.this.key}"
    if frame.args["kind"] == "RANGE":
        [by] = window.args["order"].expressions
        if not isinstance(by.this, exp.UnixDate):
            yield f"RANGE ordered by {by.sql('bigquery')}"
        if frame.find(exp.Interval):
            yield "RANGE over an interval"


def is_date(node: exp.Expr) -> bool:
    column = node.this if isinstance(node, exp.Window) else node
    return (isinstance(column, exp.Column) and column.name.endswith("date")) or (
        isinstance(node, exp.Cast) and node.is_type("date")
    )


@pytest.mark.slow
@pytest.mark.parametrize("version", [V2_33FEATURES, V3_FEATURES], ids=lambda version: version.name)
def test_nothing_that_bigquery_lacks(version: FeatureVersion) -> None:
    statements = feature_statements(version, *WEEK)
    assert len(statements) >= 17
    assert [fault for statement in statements for fault in faults(statement)] == []


@pytest.mark.parametrize(
    ("statement", "fault"),
    [
        ("SELECT MEDIAN(t.a) AS a FROM t", "function MEDIAN"),
        ("SELECT getvariable('first') AS a FROM t", "function getvariable"),
        ("SELECT SUM(t.a) OVER (ORDER BY t.game_date RANGE BETWEEN 7 PRECEDING AND 1 PRECEDING) AS a FROM t", "RANGE"),
        ("SELECT LAG(t.a) OVER (ORDER BY t.b ROWS BETWEEN 2 PRECEDING AND 1 PRECEDING) AS a FROM t", "frame of lag"),
        ("SELECT t.game_date - t.last_date AS a FROM t", "arithmetic of dates"),
        ("SELECT CAST('2022-01-01' AS DATE) - 30 AS a FROM t", "arithmetic of dates"),
        ("SELECT 'a' || COUNT(*) AS a FROM t", "number as text"),
        ("SELECT COUNT(DISTINCT (t.a, t.b)) AS a FROM t", "COUNT of a struct"),
        ("SELECT t.a > 1 AS b, b AND TRUE AS c FROM t", "unqualified column"),
        ("CREATE TEMP VIEW v AS SELECT t.a AS a FROM t", "TEMP VIEW"),
        ("WITH u AS MATERIALIZED (SELECT t.a AS a FROM t) SELECT u.a AS a FROM u", "MATERIALIZED"),
    ],
)
def test_what_bigquery_lacks_is_found(statement: str, fault: str) -> None:
    """Guards against rules that find nothing."""
    assert any(found.startswith(fault) for found in faults(statement)), list(faults(statement))


@pytest.mark.slow
def test_every_step_makes_the_same_table(summary: pa.Table, lines: pa.Table) -> None:
    """The translated statements, run by DuckDB, against the files that they come from; all steps of both versions."""
    history = between(summary, date(2022, 1, 1), WEEK[1])
    found, expected = duckdb.connect(), duckdb.connect()
    for connection in (found, expected):
        connection.register("summary", history)
        connection.register("lines", lines)
    compute._prepare(expected, *WEEK, V3_FEATURES)
    compared = []
    for statement in feature_statements(V3_FEATURES, *WEEK):
        [text] = transpile(statement, read="bigquery", write="duckdb")
        found.execute(text)
        name = statement.split()[5]
        if name not in ("faults", "assembled_features"):
            made, own = (connection.sql(f"FROM {name} ORDER BY ALL").fetchall() for connection in (found, expected))
            assert made == own, name
            compared.append(name)
    assert {"games", "target_rows", "matched_lines", "player_workload", "absences", "assembled_careers"} <= {*compared}
    outcomes = {row[0] for row in found.sql("SELECT DISTINCT outcome FROM matched_lines").fetchall()}
    assert {"matched by id", "matched by name"} & outcomes
    assert found.sql("FROM faults").fetchall() == []


def test_what_breaks_the_rules_is_found_as_in_duckdb(lines: pa.Table) -> None:
    """Guards against a check of the box scores that is lost in translation."""
    week = between(summary_of("2025-01"), *WEEK)
    broken = pa.concat_tables([week, week.slice(0, 2), _moved(week.slice(5, 1))])
    found, expected = duckdb.connect(), duckdb.connect()
    for connection in (found, expected):
        connection.register("summary", broken)
        connection.register("lines", lines)
    compute._set_range(expected, *WEEK)
    expected.execute(compute.step_text("select_games"))
    for statement in feature_statements(V3_FEATURES, *WEEK)[:2]:
        found.execute(transpile(statement, read="bigquery", write="duckdb")[0])
    sentences = expected.execute(compute.step_text("find_faults")).fetchall()
    assert len(sentences) >= 4
    assert sorted(found.sql("FROM faults").fetchall()) == sorted(sentences)


def _moved(row: pa.Table) -> pa.Table:
    """The row in a game of a third team."""
    position = row.schema.get_field_index("team_abbr")
    return row.set_column(position, row.schema.field(position), pa.array(["XYZ"]))


ROWS = st.lists(st.tuples(st.sampled_from(["a", "b", None]), st.integers(0, 6)), max_size=8, unique=True)


@given(left=ROWS, right=ROWS, comparison=st.sampled_from(["<", "<="]))
def test_the_join_in_place_of_an_asof_join(
    left: list[tuple[str | None, int]], right: list[tuple[str | None, int]], comparison: str
) -> None:
    """Keys that are NULL, that have no row in time, and times that are equal."""
    query = (
        "SELECT l.key AS key, l.time AS time, r.time AS found FROM l "
        f"ASOF LEFT JOIN r AS r ON r.key = l.key AND r.time {comparison} l.time ORDER BY ALL"
    )
    tree = parse_one(query, dialect="duckdb")
    bigquery_sql._replace_asof_joins(tree)
    schema = pa.schema([("key", pa.string()), ("time", pa.int64())])
    with duckdb.connect() as connection:
        for name, rows in (("l", left), ("r", right)):
            connection.register(name, pa.Table.from_pylist([{"key": k, "time": t} for k, t in rows], schema))
        made, own = (connection.sql(text).fetchall() for text in (tree.sql("duckdb"), query))
    assert "ASOF" not in tree.sql("duckdb").replace("asof_", "")
    assert made == own


def test_an_asof_join_the_other_way_round_is_refused() -> None:
    tree = parse_one("SELECT l.a FROM l ASOF LEFT JOIN r AS r ON l.key = r.key AND l.time > r.time", dialect="duckdb")
    with pytest.raises(UnsupportedError, match="does not begin with r"):
        bigquery_sql._replace_asof_joins(tree)


def test_a_column_that_is_not_read_from_the_box_scores_is_refused() -> None:
    """Guards against a step that reads a column which the backfill does not pass on."""
    with pytest.raises(SqlglotError, match="plus_minus"):
        list(bigquery_sql._Translator().translate("CREATE TEMP TABLE t AS SELECT plus_minus FROM summary"))


TIES = st.integers(-(10**9), 10**9).map(lambda n: (2 * n + 1) / 2 / 1e6)
VALUES = st.one_of(TIES, st.floats(-1e6, 1e6), st.sampled_from([0.0, -0.0, 1 / 128, -1e-9]))


@given(st.lists(VALUES, min_size=1, max_size=50))
def test_features_are_rounded_as_by_numpy(values: list[float]) -> None:
    """To the bit: ties to the even neighbour, and no negative zero."""
    [text] = transpile(f"SELECT {_rounded('x')} AS y FROM scaled", read="bigquery", write="duckdb")
    with duckdb.connect() as connection:
        connection.register("given", pa.table({"x": values}))
        connection.execute("CREATE VIEW scaled AS SELECT x * 1000000 AS x FROM given")
        found = connection.sql(text).fetchnumpy()["y"]
    assert found.tobytes() == (np.round(np.array(values), 6) + 0.0).tobytes()
