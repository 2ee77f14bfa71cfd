"""The feature SQL for BigQuery: DuckDB's files are the source, and a step is translated when it is needed.

The files stay as they are, because their text is part of the embedded features' code version. sqlglot parses a step,
resolves its columns and types against the results of the steps before it, and writes it in BigQuery's dialect. In
between, what BigQuery lacks is rewritten on the syntax tree:

- macros and variables become their text and values; a temporary view becomes a table, and a CTE is not `MATERIALIZED`;
- named windows are written out, without a frame for functions that may not have one;
- a window over an interval of days is ordered by the number of the day;
- an ASOF join becomes a join with the newest row of each key;
- differences and sums of dates, medians, lengths of lists and strings put together from numbers get BigQuery's
  functions.

`nba_ml_tests/data/features/test_bigquery_sql.py` lists what BigQuery lacks, and finds none of it in the result.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from functools import cache

import pyarrow as pa
from sqlglot import exp, parse, parse_one
from sqlglot.errors import UnsupportedError
from sqlglot.optimizer.annotate_types import annotate_types
from sqlglot.optimizer.qualify import qualify
from sqlglot.schema import MappingSchema

from nba_ml.contract.features import FeatureVersion
from nba_ml.contract.season import EARLY_SEASON_DAYS
from nba_ml.data import tables
from nba_ml.data.features.compute import step_text, steps_of

_DUCKDB, _BIGQUERY = "duckdb", "bigquery"

_TYPES = {pa.string(): "TEXT", pa.date32(): "DATE", pa.bool_(): "BOOLEAN", pa.int16(): "BIGINT", pa.float64(): "DOUBLE"}

SUMMARY_COLUMNS = (
    *("player_lookup", "universal_player_id", "game_date", "game_id", "season", "playoffs", "team_abbr"),
    *("opponent_team_abbr", "is_home", "neutral_site", "team_won", "minutes_played", "points", "fg_makes"),
    *("fg_attempts", "three_pt_makes", "three_pt_attempts", "ft_makes", "ft_attempts", "offensive_rebounds"),
    "turnovers",
)
"""The box scores' columns from which features are computed. Types: `tables.PLAYER_GAME_SUMMARY`, INT64 for int16."""

KEYS = (
    *("player_lookup", "universal_player_id", "game_date", "game_id", "opponent_team_abbr", "is_home", "days_rest"),
    *("early_season_flag", "is_production_ready"),
)
"""The columns of the feature store that are computed beside the features."""

_FIRST, _LAST = "{first}", "{last}"
_DAYS = re.compile(r"\{first\}|\{last\}")

_WITHOUT_FRAME = (exp.Lag, exp.Lead, exp.RowNumber)
"""Window functions that BigQuery refuses with a frame. Their result does not depend on one."""


def feature_statements(version: FeatureVersion, first: date, last: date) -> list[str]:
    """BigQuery's statements for the version's features of a range of dates, in order.

    They read the tables `summary` (`SUMMARY_COLUMNS`) and `lines` (`tables.PROP_LINES`), and each makes a temporary
    table. The first is `games`; the second, `faults`, lists what breaks the rules on which the features rely, as
    `fault`; the last one is `assembled_features`, with a column per feature, not rounded, NULL where it is missing.

    Raises:
        sqlglot.errors.SqlglotError: a step has something that cannot be translated, or reads another column or table.
    """
    days = {_FIRST: first.isoformat(), _LAST: last.isoformat()}
    return [_DAYS.sub(lambda found: days[found[0]], text) for text in _statements(version)]


@cache
def _statements(version: FeatureVersion) -> tuple[str, ...]:
    """The statements with places for the dates: translating takes a second, and a backfill has dozens of months."""
    translator = _Translator()
    statements: list[str] = []
    for step in steps_of(version):
        statements += translator.translate(step_text(step))
        if step == "select_games":
            statements += translator.translate(f"CREATE TEMP TABLE faults AS {step_text('find_faults')}")
    columns = ", ".join((*KEYS, *version.names))
    assembled = f"SELECT {columns} FROM {translator.newest}"
    statements += translator.translate(f"CREATE TEMP TABLE assembled_features AS {assembled}")
    return tuple(statements)


class _Translator:
    """Translates statements in order; a statement may read the tables that earlier ones made."""

    def __init__(self) -> None:
        self.newest = ""
        self._schema = MappingSchema(dialect=_DUCKDB)
        fields = {"summary": map(tables.PLAYER_GAME_SUMMARY.field, SUMMARY_COLUMNS), "lines": tables.PROP_LINES}
        for table, columns in fields.items():
            self._schema.add_table(table, {field.name: _TYPES[field.type] for field in columns})
        self._variables: dict[str, exp.Expr] = {
            "first": exp.cast(exp.Literal.string(_FIRST), "DATE"),
            "last": exp.cast(exp.Literal.string(_LAST), "DATE"),
            "early_season_days": exp.Literal.number(EARLY_SEASON_DAYS),
        }
        self._macros: dict[str, exp.Create] = {}

    def translate(self, text: str) -> Iterator[str]:
        """The statements of a DuckDB text, each `CREATE OR REPLACE TEMP TABLE`, but its macros, which are kept."""
        for tree in parse(text, dialect=_DUCKDB):
            if not isinstance(tree, exp.Create):
                continue
            if tree.args["kind"] == "MACRO":
                self._macros[tree.this.this.name] = tree
            else:
                yield self._table(tree)

    def _table(self, tree: exp.Create) -> str:
        query = tree.expression.transform(self._inlined)
        _write_out_windows(query)
        _replace_asof_joins(query)
        query = qualify(query, schema=self._schema, dialect=_DUCKDB, quote_identifiers=False)
        query = annotate_types(query, schema=self._schema, dialect=_DUCKDB)
        query = annotate_types(_for_bigquery(query), schema=self._schema, dialect=_BIGQUERY)
        assert isinstance(query, exp.Query)
        self.newest = tree.this.name
        columns = {column.alias_or_name: column.type or exp.DataType.build("UNKNOWN") for column in query.selects}
        self._schema.add_table(self.newest, columns)
        text = query.sql(dialect=_BIGQUERY, pretty=True, comments=False)
        return f"CREATE OR REPLACE TEMP TABLE {self.newest} AS\n{text}"

    def _inlined(self, node: exp.Expr) -> exp.Expr:
        """A macro's or a variable's value instead of its call."""
        if not isinstance(node, exp.Anonymous):
            return node
        if node.name.lower() == "getvariable":
            return self._variables[node.expressions[0].name].copy()
        if (macro := self._macros.get(node.name)) is None:
            return node
        given = dict(zip((each.name for each in macro.this.expressions), node.expressions, strict=True))
        body = macro.expression.transform(
            lambda each: exp.paren(given[each.name].copy()) if isinstance(each, exp.Column) else each
        )
        return exp.paren(body)


def _write_out_windows(tree: exp.Expr) -> None:
    """`OVER name` with the window of that name."""
    for select in tree.find_all(exp.Select):
        named = {window.name: window for window in select.args.get("windows") or ()}
        select.set("windows", None)
        for window in select.find_all(exp.Window):
            if (definition := named.get(window.alias)) is None or window.parent_select is not select:
                continue
            for part in ("partition_by", "order", "spec"):
                value = definition.args.get(part)
                window.set(part, [each.copy() for each in value] if isinstance(value, list) else value and value.copy())
            window.set("alias", None)


def _replace_asof_joins(tree: exp.Expr) -> None:
    """`left ASOF LEFT JOIN right ON right.key = left.key AND right.time < left.time` by a join with one row per key.

    That row is the newest of those that match, found by QUALIFY among the keys of `left` joined with `right`.
    """
    for join in list(tree.find_all(exp.Join)):
        select = join.parent_select
        if join.args.get("method") != "ASOF" or select is None:
            continue
        left, right = select.args["from_"].this, join.this
        keys, within, outside, time = [], [], [], None
        for comparison in join.args["on"].flatten():
            of_right, of_left = comparison.this, comparison.expression
            if of_right.table != right.alias:
                raise UnsupportedError(f"ASOF JOIN: {comparison.sql(_DUCKDB)} does not begin with {right.alias}.")
            key = exp.column(f"asof_{of_left.name}", table="asof_keys")
            keys.append((of_left.name, key))
            within.append(type(comparison)(this=of_right.copy(), expression=key.copy()))
            outside.append(exp.EQ(this=exp.column(key.name, table=right.alias), expression=of_left.copy()))
            time = time if isinstance(comparison, exp.EQ) else of_right
        table = exp.to_table(left.name)
        distinct = exp.select(*(exp.alias_(exp.column(name), key.name) for name, key in keys)).distinct().from_(table)
        newest = exp.Window(
            this=exp.RowNumber(),
            partition_by=[key.copy() for _, key in keys],
            order=exp.Order(expressions=[exp.Ordered(this=time, desc=True)]),
        )
        rows = (
            exp.select(f"{right.alias}.*", *(key.copy() for _, key in keys))
            .from_(distinct.subquery("asof_keys"))
            .join(right.copy(), on=exp.and_(*within))
            .where(exp.true())
        )
        rows.set("qualify", exp.Qualify(this=exp.EQ(this=newest, expression=exp.Literal.number(1))))
        join.set("method", None)
        join.set("this", rows.subquery(right.alias))
        join.set("on", exp.and_(*outside))


def _for_bigquery(tree: exp.Expr) -> exp.Expr:
    """Every node in BigQuery's form, the innermost first: the type of a difference depends on those of its sides."""
    for node in reversed(list(tree.walk(bfs=False))):
        form = _FORMS.get(type(node))
        made = node if form is None else form(node)
        if made is not node:
            if made.type is None or made.is_type(exp.DataType.Type.UNKNOWN):
                annotate_types(made, dialect=_BIGQUERY)
            if node is tree:
                tree = made
            else:
                node.replace(made)
    return tree


def _days(node: exp.Expr) -> exp.Expr:
    """`date - date`, `date - days`, `date + days` and `date - INTERVAL n YEARS`."""
    left, right = node.this, node.expression
    if not left.is_type("date"):
        return node
    if right.is_type("date"):
        made: exp.Expr = exp.DateDiff(this=left, expression=right, unit=exp.var("DAY"))
        made.type = exp.DataType.build("BIGINT")
        return made
    kind = exp.DateSub if isinstance(node, exp.Sub) else exp.DateAdd
    unit = exp.var("DAY")
    if isinstance(right, exp.Interval):
        right, unit = exp.Literal.number(right.name), right.args["unit"]
    made = kind(this=left, expression=right, unit=unit)
    made.type = exp.DataType.build("DATE")
    return made


def _window(node: exp.Expr) -> exp.Expr:
    frame = node.args.get("spec")
    if frame is not None and isinstance(node.this, _WITHOUT_FRAME):
        node.set("spec", None)
    elif frame is not None and frame.args["kind"] == "RANGE":
        for end in ("start", "end"):
            if isinstance(frame.args[end], exp.Interval):
                frame.set(end, exp.Literal.number(frame.args[end].name))
        [by] = node.args["order"].expressions
        by.set("this", exp.UnixDate(this=by.this))
    return node


def _ordered(node: exp.Expr) -> exp.Expr:
    """BigQuery's own order of NULLs. The keys have none, and an aggregate may not name another order."""
    node.set("nulls_first", not node.args.get("desc"))
    return node


def _median(node: exp.Expr) -> exp.Expr:
    """The mean of the two values in the middle: BigQuery's exact median is a window function."""
    value = node.this.sql(dialect=_BIGQUERY)
    low, high = (
        f"ARRAY_AGG({value} IGNORE NULLS ORDER BY {value})[SAFE_OFFSET(DIV({position}, 2))]"
        for position in (f"(COUNT({value}) - 1)", f"COUNT({value})")
    )
    made: exp.Expr = parse_one(f"({low} + {high}) / 2", dialect=_BIGQUERY)
    made.type = exp.DataType.build("DOUBLE")
    return made


def _length(node: exp.Expr) -> exp.Expr:
    return exp.ArraySize(this=node.this) if node.this.is_type(exp.DataType.Type.ARRAY, exp.DataType.Type.LIST) else node


def _contains(node: exp.Expr) -> exp.Expr:
    """NULL for no list, as in DuckDB: BigQuery's IN says FALSE."""
    found = exp.In(this=node.expression, unnest=exp.Unnest(expressions=[node.this]))
    return exp.Case(ifs=[exp.If(this=exp.Not(this=exp.Is(this=node.this.copy(), expression=exp.null())), true=found)])


def _concatenation(node: exp.Expr) -> exp.Expr:
    for side in ("this", "expression"):
        value = node.args[side]
        if not value.is_type("text", "varchar"):
            node.set(side, exp.cast(value, "TEXT"))
    node.type = exp.DataType.build("TEXT")
    return node


def _as_json(value: exp.Expr) -> exp.Expr:
    return exp.func("TO_JSON_STRING", value)


def _distinct(node: exp.Expr) -> exp.Expr:
    """COUNT(DISTINCT (a, b)): BigQuery counts no structs."""
    values = [
        _as_json(exp.Struct(expressions=each.expressions)) if isinstance(each, exp.Tuple) else each
        for each in node.expressions
    ]
    node.set("expressions", values)
    return node


def _unequal(node: exp.Expr) -> exp.Expr:
    """Lists are compared as text: BigQuery compares no arrays."""
    if node.this.is_type(exp.DataType.Type.ARRAY, exp.DataType.Type.LIST):
        node.set("this", _as_json(node.this))
        node.set("expression", _as_json(node.expression))
    return node


def _cte(node: exp.Expr) -> exp.Expr:
    node.set("materialized", None)
    return node


_FORMS: Mapping[type[exp.Expr], Callable[[exp.Expr], exp.Expr]] = {
    exp.Add: _days,
    exp.Sub: _days,
    exp.Window: _window,
    exp.Ordered: _ordered,
    exp.Median: _median,
    exp.Length: _length,
    exp.ArrayContains: _contains,
    exp.DPipe: _concatenation,
    exp.Distinct: _distinct,
    exp.NEQ: _unequal,
    exp.CTE: _cte,
}
