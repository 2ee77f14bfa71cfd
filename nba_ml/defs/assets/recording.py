"""What every asset writes on its materialisation: data version, inputs, and metadata with stable keys."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import reduce
from operator import getitem
from typing import Any

import dagster as dg
import pandas as pd
import pyarrow as pa

from nba_ml.contract.digest import HasDigest
from nba_ml.contract.features import Feature, FeatureVersion
from nba_ml.contract.lineage import Inputs, inputs_digest
from nba_ml.data.lines import LineCounts
from nba_ml.data.tables import DESCRIPTIONS
from nba_ml.defs.event_log import latest_events
from nba_ml.defs.internals import DATA_VERSION_TAG, silence_preview_warnings
from nba_ml.evaluation.market import COIN, MarketResult
from nba_ml.registry.systems.published import SPREAD
from nba_ml.sources.job_costs import Cost, JobCost
from nba_ml.sources.month_rows import SUMMARY

INPUTS = "nba_ml/inputs"
"""Metadata of a materialisation: the digest of everything it was made from."""

BYTES_BILLED, SLOT_SECONDS = "bigquery_bytes_billed", "bigquery_slot_seconds"
"""Metadata of a materialisation or observation: what its queries cost."""

OWNERS = ["team:ml-platform"]

_DAGSTER_TYPES = {"date32[day]": "date", "list<item: double>": "array<double>", "list<item: string>": "array<string>"}


MAY_BE_NAN = (*SPREAD, "current_points_line", "line_margin", "crps", "pit_low", "pit_high")
"""Columns of predictions that are NaN where there is no line or no interval; to Arrow they are not null."""


def column_schema(
    schema: pa.Schema, version: FeatureVersion | None = None, sources: Mapping[str, Sequence[str]] | None = None
) -> dg.TableSchema:
    """An Arrow schema as Dagster shows it: meaning, nullability and, for the features of a version, unit and range.

    Args:
        sources: feature -> columns of the box scores, for the text. The open-source UI draws no column lineage.
    """
    features = {feature.name: feature for feature in version.features} if version else {}
    return dg.TableSchema(
        columns=[_column(field, features.get(field.name), (sources or {}).get(field.name, ())) for field in schema]
    )


def _column(field: pa.Field, feature: Feature | None, sources: Sequence[str]) -> dg.TableColumn:
    kind = _DAGSTER_TYPES.get(str(field.type), str(field.type))
    if feature is None:
        constraints = dg.TableColumnConstraints(nullable=field.nullable or field.name in MAY_BE_NAN)
        return dg.TableColumn(field.name, kind, DESCRIPTIONS.get(field.name), constraints)
    missing = f" Missing: {feature.missing_when}." if feature.missing_when else ""
    made_of = f" From {', '.join(sources)}." if sources else ""
    text = f"{feature.definition[:1].upper()}{feature.definition[1:]}.{missing}{made_of}"
    limits = "0 or 1" if feature.unit == "0/1" else f"{feature.low:g} to {feature.high:g} {feature.unit}"
    constraints = dg.TableColumnConstraints(nullable=feature.nullable, other=[limits])
    return dg.TableColumn(field.name, kind, text, constraints)


def feature_lineage(
    version: FeatureVersion, columns: Mapping[str, Sequence[str]], feature_store: str
) -> dg.TableColumnLineage:
    """From which columns each column of a snapshot is made.

    Args:
        columns: feature -> columns of the box scores; nothing where the feature store is another system's.
        feature_store: the asset of the feature store.
    """
    summary, store = dg.AssetKey(SUMMARY), dg.AssetKey.from_user_string(feature_store)
    copied = {
        name: [dg.TableColumnDep(summary, name)]
        for name in ("player_lookup", "game_date", "game_id", "points", "minutes_played")
    }
    features = {
        name: [
            dg.TableColumnDep(store, "features"),
            *(dg.TableColumnDep(summary, column) for column in columns.get(name, ())),
        ]
        for name in version.names
    }
    return dg.TableColumnLineage({**copied, **features})


def recorded(
    value: HasDigest,
    *,
    code_version: str,
    inputs: Inputs,
    outside: Mapping[str, str] | None = None,
    metadata: Mapping[str, Any],
) -> dg.Output[Any]:
    """An output whose data version is the value's digest, with the digest of what it was made from."""
    with silence_preview_warnings():
        return dg.Output(
            value,
            data_version=dg.DataVersion(value.digest),
            metadata={**metadata, INPUTS: in_parts(inputs_digest(code_version, inputs, outside or {}))},
        )


def materialised(digest: str, metadata: Mapping[str, Any]) -> dg.MaterializeResult[None]:
    """A materialisation of what is kept elsewhere than by month, with its digest as data version."""
    with silence_preview_warnings():
        return dg.MaterializeResult(data_version=dg.DataVersion(digest), metadata=metadata)


def in_parts(digest: str, length: int = 32) -> str:
    """A digest as metadata. Dagit breaks lines at spaces only: a whole digest pushes other values out of the page.

    Args:
        length: characters before each space; fewer than a half in a table, where others need the space too.
    """
    return " ".join(digest[at : at + length] for at in range(0, len(digest), length))


def whole(value: dg.MetadataValue[Any]) -> str:
    """The digest of metadata, in parts or, as older materialisations have it, in one piece."""
    return without_spaces(value.value)


def without_spaces(digest: object) -> str:
    """A digest that may be in parts, in one piece."""
    return str(digest).replace(" ", "")


def cost_metadata(jobs: Sequence[JobCost]) -> dict[str, Any]:
    """What BigQuery billed for an asset's queries: the sums, and a table of the jobs. Nothing without a job."""
    if not jobs:
        return {}
    table = pd.DataFrame([asdict(job) for job in jobs])
    return {**cost_sums(Cost.of(jobs)), "bigquery_jobs": markdown_table(table)}


def cost_sums(cost: Cost) -> dict[str, Any]:
    """A cost under the keys that `nba-ml progress` adds up by month (`defs.costs`)."""
    return {BYTES_BILLED: cost.bytes_billed, SLOT_SECONDS: cost.slot_seconds}


def market_facts(result: MarketResult | None) -> dict[str, Any]:
    """The scores of over probabilities under stable keys: against a coin, and where there are prices the market."""
    if result is None or result.lines is None:
        return {}
    facts: dict[str, Any] = {
        "brier": result.lines.model.brier,
        "log_loss": result.lines.model.log_loss,
        "brier_minus_coin": result.lines.others[COIN].brier.value,
    }
    if result.prices is not None and result.prices.market is not None:
        against = result.prices.market.brier
        facts |= {"prices": result.prices.model.n, "brier_minus_market": against.value}
        if against.low is not None and against.high is not None:
            facts |= {"brier_minus_market_low": against.low, "brier_minus_market_high": against.high}
    if result.bets is not None:
        facts |= {"priced_bets": result.bets.n, "return_at_prices": result.bets.returned.value}
    return facts


def digests_of(event: dg.AssetMaterialization) -> tuple[str, str]:
    """The digests of a materialisation's value and of its inputs; '' for both of one that was reported in the UI."""
    inputs = event.metadata.get(INPUTS)
    return (event.tags or {}).get(DATA_VERSION_TAG, ""), "" if inputs is None else whole(inputs)


def latest_digests(instance: dg.DagsterInstance, asset: str) -> dict[str, tuple[str, str]]:
    """Month -> what `digests_of` says of its latest materialisation, read from the stored JSON."""
    return {month: _stored_digests(event) for month, event in latest_events(instance, asset).items()}


_MADE = ("dagster_event", "event_specific_data", "materialization")
"""Where the JSON of an event has the materialisation."""


def _stored_digests(event: str) -> tuple[str, str]:
    try:
        made = reduce(getitem, _MADE, json.loads(event))
        inputs = [entry["entry_data"]["text"] for entry in made["metadata_entries"] if entry["label"] == INPUTS]
        return str((made["tags"] or {}).get(DATA_VERSION_TAG, "")), without_spaces(inputs[0]) if inputs else ""
    except (KeyError, TypeError, ValueError):  # another release of Dagster stores it in another form
        parsed = dg.deserialize_value(event, dg.EventLogEntry).asset_materialization
        return ("", "") if parsed is None else digests_of(parsed)


def digests(values: Mapping[str, HasDigest]) -> dict[str, str]:
    """Month -> digest."""
    return {month: value.digest for month, value in values.items()}


def lines_metadata(counts: LineCounts) -> dict[str, Any]:
    """What became of a month's lines, as numbers that plot over partitions and one table of the outcomes."""
    outcomes = pd.DataFrame(counts.by_outcome.items(), columns=["outcome", "lines"])
    return {
        "lines": counts.listed,
        "lines_matched": counts.matched,
        "lines_unmatched": counts.judged - counts.matched,
        "lines_named_otherwise": counts.named_otherwise,
        **({"lines_by_outcome": markdown_table(outcomes)} if len(outcomes) else {}),
    }


SHOWN_INLINE = 1000
"""Characters: Dagster shows shorter Markdown where it is, and longer behind a click."""


def markdown_table(frame: pd.DataFrame) -> dg.MarkdownMetadataValue:
    """A small table for the UI."""
    return dg.MetadataValue.md(_compact(frame))


def picture(title: str, address: str, table: pd.DataFrame | None = None) -> dg.MarkdownMetadataValue:
    """A picture that `nba-ml ui` serves, over its numbers.

    The table says the same where the address leads nowhere (`dagster dev`). Of a long one the first rows are shown.
    """
    shown = f"![{title}]({address})"
    for rows in range(0 if table is None else len(table), 0, -1):
        text = f"{shown}\n\n{_compact(table.head(rows))}"  # type: ignore[union-attr]
        if len(text) < SHOWN_INLINE:
            return dg.MetadataValue.md(text)
    return dg.MetadataValue.md(shown)


def _compact(frame: pd.DataFrame) -> str:
    """A Markdown table without the spaces and dashes that only align its source."""
    as_text = frame.select_dtypes(exclude=object).empty  # numbers that are text already keep their signs and zeros
    text = frame.to_markdown(index=False, disable_numparse=as_text)
    return re.sub(r":?-{3,}(:?)", r"---\1", re.sub(r" {2,}", " ", text))
