"""The generated parts of the documentation: Markdown made from the contract, the registry, click and OpenAPI."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import click
import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq

from nba_ml.checks.check import Check
from nba_ml.checks.registry import all_checks
from nba_ml.cli.main import main
from nba_ml.contract.assets import MONTHLY_ASSETS
from nba_ml.contract.features import V2_33FEATURES, FeatureVersion
from nba_ml.contract.thresholds import Thresholds
from nba_ml.data.box_scores import PLAYER_GAME_COLUMNS, PROP_LINE_COLUMNS
from nba_ml.data.tables import snapshot_schema
from nba_ml.defs import release_checks, slate_checks
from nba_ml.defs.build import build_defs
from nba_ml.defs.partitions import season_months
from nba_ml.serving.http.answers import EXPLANATION
from nba_ml.serving.http.limits import Limits
from nba_ml.serving.http.openapi import document
from nba_ml.settings import SAMPLE_DATA, Settings
from nba_ml.sources.upcoming import TABLES

ROOT = Path(__file__).parents[2]


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; a `|` in a cell is escaped."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def features(version: FeatureVersion = V2_33FEATURES, start: int = 0) -> str:
    """The feature contract, from a position on."""
    rows = [
        (
            str(i),
            f"`{f.name}`",
            f.group,
            f.definition,
            f.unit,
            f"{f.low:g} to {f.high:g}",
            f.missing_when or "no",
        )
        for i, f in enumerate(version.features)
        if i >= start
    ]
    return markdown_table(("i", "name", "group", "definition", "unit", "range", "may be missing"), rows)


# --- checks and limits ---------------------------------------------------------------------------------------

USED_ELSEWHERE = {
    "average_tolerance": (
        "feature_store_snapshot.last_5_recomputes",
        "feature_store_snapshot.last_10_recomputes",
        "feature_store_snapshot.season_average_recomputes",
    ),
    "min_rows_with_line": ("feature_store_snapshot.line_error",),
}
"""Limits that a check uses without showing them in its threshold."""

RELEASE_LIMITS = {
    "promotion_margin": "promotion",
    "min_rows_to_promote": "promotion",
    "rollout_margin": "rollout",
    "min_rows_per_step": "rollout",
    "min_external_rows": "registered models",
    "external_margin": "registered models",
    "external_bias": "registered models",
    "min_external_spread": "registered models",
    "min_external_correlation": "registered models",
}
"""Limits that are not a check's."""


def every_check(limits: Thresholds | None = None) -> list[Check]:
    """The registered checks, and those of slates."""
    limits = limits or Thresholds()
    # Under the first system's names, those that it lacks too.
    plain = [replace(check, asset=check.asset.rpartition("/")[2]) for check in all_checks(limits)]
    named = {check.key: check for check in reversed(plain)}
    registered = sorted(named.values(), key=plain.index)
    return [
        *sorted(registered, key=lambda check: MONTHLY_ASSETS.index(check.asset)),
        *slate_checks.checks(limits),
    ]


def standing(limits: Thresholds | None = None) -> list[tuple[str, dict[str, str]]]:
    """The checks of the release as a whole: key, and threshold and reason."""
    built = release_checks.build(season_months("2021-10", "2021-12"), limits or Thresholds())
    return [
        (f"{spec.asset_key.to_user_string()}.{spec.name}", {k: str(v.value) for k, v in _metadata(spec)})
        for spec in built.check_specs
    ]


def _metadata(spec: dg.AssetCheckSpec) -> Iterator[tuple[str, Any]]:
    for name, value in (spec.metadata or {}).items():
        yield name, value if hasattr(value, "value") else dg.MetadataValue.text(str(value))


@cache
def limits_of_checks() -> dict[str, list[str]]:
    """Check key -> the limits that it uses: those that change its threshold, and those of `USED_ELSEWHERE`."""
    shipped = {check.key: check.threshold for check in every_check()}
    shipped |= {key: content["threshold"] for key, content in standing()}
    found: dict[str, list[str]] = {key: [] for key in shipped}
    for name in Thresholds.model_fields:
        other = Thresholds(**{name: _another(getattr(Thresholds(), name))})
        changed = {check.key: check.threshold for check in every_check(other)}
        changed |= {key: content["threshold"] for key, content in standing(other)}
        for key, threshold in changed.items():
            if threshold != shipped[key] or key in USED_ELSEWHERE.get(name, ()):
                found[key].append(name)
    return found


def _another(value: Any) -> Any:
    """A value of the same kind that is allowed and shown differently."""
    if isinstance(value, tuple):
        return tuple(_another(each) for each in value)
    return value + 1 if isinstance(value, int) else value / 2 if value else 0.5


def checks() -> str:
    """The registry of asset checks, a table for each asset."""
    used = limits_of_checks()
    rows: dict[str, list[tuple[str, ...]]] = {}
    for check in every_check():
        names = ", ".join(f"`{name}`" for name in used[check.key])
        row = (f"`{check.name}`", check.threshold, str(check.consequence), names, check.reason)
        rows.setdefault(check.asset, []).append(row)
    header = ("check", "threshold", "a failure", "limits", "why")
    return "\n\n".join(f"## `{asset}`\n\n{markdown_table(header, each)}" for asset, each in rows.items())


def standing_table() -> str:
    """The checks of the release as a whole."""
    used = limits_of_checks()
    rows = [
        (
            f"`{key.partition('.')[2]}`",
            content["threshold"],
            ", ".join(f"`{name}`" for name in used[key]),
            content["reason"],
        )
        for key, content in standing()
    ]
    return markdown_table(("check", "threshold", "limits", "why"), rows)


def limits() -> str:
    """The limits with their shipped values, their checks and their sources."""
    used = limits_of_checks()
    rows = []
    for name, field in Thresholds.model_fields.items():
        users = [f"`{key}`" for key, names in used.items() if name in names]
        users += [RELEASE_LIMITS[name]] if name in RELEASE_LIMITS else []
        value = getattr(Thresholds(), name)
        shown = f"[{', '.join(f'{each:g}' for each in value)}]" if isinstance(value, tuple) else f"{value:g}"
        rows.append((f"`{name}`", shown if value != 110 / 210 else f"{value:.4f}", ", ".join(users), field.description))
    return markdown_table(("name", "shipped", "used by", "source"), [tuple(map(str, row)) for row in rows])


# --- columns -------------------------------------------------------------------------------------------------


def _columns(schema: pa.Schema) -> str:
    return markdown_table(("column", "type"), [(f"`{field.name}`", str(field.type)) for field in schema])


def player_games() -> str:
    """The columns of the box scores that are read."""
    schema = pq.read_schema(SAMPLE_DATA / "player_games" / "2021-10.parquet")
    return _columns(pa.schema([schema.field(name) for name in PLAYER_GAME_COLUMNS if name in schema.names]))


def prop_lines() -> str:
    """The columns of the points lines that are read."""
    schema = pq.read_schema(next((SAMPLE_DATA / "prop_lines").glob("*.parquet")))
    return _columns(pa.schema([schema.field(name) for name in PROP_LINE_COLUMNS if name in schema.names]))


def upcoming(table: str) -> str:
    """The columns of a table of games to be played."""
    rows = [(f"`{name}`", each.kind, "yes" if each.required else "no") for name, each in TABLES[table].items()]
    return markdown_table(("column", "type", "required"), rows)


def snapshot() -> str:
    """The columns of a snapshot."""
    return _columns(snapshot_schema(V2_33FEATURES))


# --- commands ------------------------------------------------------------------------------------------------


def commands() -> str:
    """Every command of `nba-ml`, with its help and its options."""
    return "\n\n".join(_command(name, each) for name, each in _walk("nba-ml", main))


def _walk(name: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    if isinstance(command, click.Group):
        for child in command.commands.values():
            yield from _walk(f"{name} {child.name}", child)
    else:
        yield name, command


def _command(name: str, command: click.Command) -> str:
    context = click.Context(command, info_name=name)
    usage = " ".join(command.collect_usage_pieces(context))
    rows = [
        (f"`{', '.join(option.opts)}{_metavar(option, context)}`", _option_help(option))
        for option in command.params
        if isinstance(option, click.Option) and not option.hidden
    ]
    parts = [f"## `{name}`", f"```text\n{name} {usage}\n```", _help(command)]
    if rows:
        parts.append(markdown_table(("option", "meaning"), rows))
    return "\n\n".join(parts)


def _metavar(option: click.Option, context: click.Context) -> str:
    if option.is_flag:
        return ""
    return f" {option.make_metavar(context)}"


def _option_help(option: click.Option) -> str:
    default = option.default
    shown = f" Default: {default}." if option.show_default and default is not None else ""
    several = " May be repeated." if option.multiple and "repeated" not in (option.help or "") else ""
    required = " Required." if option.required else ""
    return f"{option.help or ''}{shown}{several}{required}".strip()


def _help(command: click.Command) -> str:
    """The help text; paragraphs that click must not wrap (after `\\b`) become code."""
    paragraphs = inspect.cleandoc(command.help or "").split("\n\n")
    return "\n\n".join(
        f"```text\n{each.removeprefix(chr(8)).strip(chr(10))}\n```" if each.startswith("\b") else each
        for each in paragraphs
    )


def make() -> str:
    """The targets of the Makefile."""
    found = re.findall(r"^([a-z-]+):.*?## (.+)$", (ROOT / "Makefile").read_text(), re.M)
    return markdown_table(("target", "does"), [(f"`make {name}`", does) for name, does in found])


# --- HTTP ----------------------------------------------------------------------------------------------------


def http() -> str:
    """The operations of the service, and the fields of a prediction and of a problem."""
    made = document(Limits())
    predict, schemas = made["paths"]["/predict"]["post"], made["components"]["schemas"]
    parts = [
        "## Paths",
        markdown_table(
            ("request", "answer"),
            [
                ("`POST /predict`", 'predictions for one player, or for `{"rows": [...]}`'),
                ("`GET /health`", "whether a verified model is loaded, which one, since when, and whether it follows"),
                ("`GET /metrics`", "counters in Prometheus' text format"),
                ("`GET /openapi.json`", "the OpenAPI document"),
                ("`GET /docs`", "a page for people, with a form to try it; `/docs/model` and `/docs/health` beside it"),
            ],
        ),
        "## Answers of `/predict`",
        markdown_table(
            ("status", "meaning"), [(code, each["description"]) for code, each in predict["responses"].items()]
        ),
        "## A row",
        "The [features](features.md) of the model that serves, by name, all of them required; `null` where the "
        "contract allows a missing value. During a rollout between models of two versions: those of both. "
        "`/openapi.json`, `/docs` and `/docs/example.json` have the features that are needed now. `player_lookup`, "
        "`game_date` and `game_id` are optional and come back with the prediction.",
        "## A prediction",
        _fields(schemas, "Prediction"),
        "With `?explain=1` each prediction has one more field, `explanation`. " + EXPLANATION,
        _fields(schemas, "Explanation"),
        "## A problem",
        _fields(schemas, "ProblemDocument"),
        "Each of `errors`:",
        _fields(schemas, "Fault"),
        "## The answer of `/health`",
        _fields(schemas, "Health"),
        "`model`:",
        _fields(schemas, "ServedModel"),
        "`channel`, null for a service that does not follow one:",
        _fields(schemas, "ChannelHealth"),
    ]
    return "\n\n".join(parts)


def _fields(schemas: dict[str, Any], name: str) -> str:
    """The fields of a schema, with their meaning if the schema has any descriptions."""
    fields = schemas[name]["properties"].items()
    if not any("description" in each for _, each in fields):
        return markdown_table(("field", "type"), [(f"`{field}`", _type(each)) for field, each in fields])
    rows = [(f"`{field}`", _type(each), each.get("description", "")) for field, each in fields]
    return markdown_table(("field", "type", "meaning"), rows)


def _type(schema: dict[str, Any]) -> str:
    if "anyOf" in schema:
        return " or ".join(_type(each) for each in schema["anyOf"])
    if "$ref" in schema:
        return "object"
    if "enum" in schema or "const" in schema:
        return ", ".join(f"`{str(each).lower()}`" for each in schema.get("enum", [schema.get("const")]))
    kind = schema.get("type", "any")
    return f"{kind} ({schema['format']})" if "format" in schema else str(kind)


# --- automation ----------------------------------------------------------------------------------------------


@cache
def _definitions() -> dg.Definitions:
    """The graph on BigQuery, which has everything."""
    return build_defs(Settings.from_environment({"NBA_ML_SOURCE": "bigquery", "NBA_ML_BIGQUERY_PROJECT": "my-project"}))


def automation() -> str:
    """The schedules and sensors, with their own descriptions."""
    definitions = _definitions()
    rows = [
        (f"`{each.name}`", f"`{each.cron_schedule}`", f"`{each.job_name}`", each.description or "")
        for each in definitions.schedules or ()
        if isinstance(each, dg.ScheduleDefinition)
    ]
    rows += [
        (f"`{each.name}`", f"every {each.minimum_interval_seconds} s", "", each.description or "")
        for each in definitions.sensors or ()
    ]
    return markdown_table(("name", "when", "job", "description"), rows)


def jobs() -> str:
    """The jobs, with their own descriptions."""
    return markdown_table(
        ("job", "description"), [(f"`{each.name}`", each.description or "") for each in _definitions().jobs or ()]
    )
