"""Storage formats of the feature backfill, the snapshot and the split."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict

import pyarrow as pa

from nba_ml.contract.systems import XGBOOST_V1, System
from nba_ml.data.games import REFUSED_GAMES, SummaryMonth
from nba_ml.data.lines import FeatureMonth, LineCounts, LineOutcome
from nba_ml.data.snapshot import REJECTS_SCHEMA, Snapshot, SnapshotCounts
from nba_ml.data.split import SplitManifest
from nba_ml.data.table_digest import DigestedTable
from nba_ml.data.tables import RESULTS
from nba_ml.storage.months import (
    MonthStore,
    Parts,
    StoredAsset,
    parquet_bytes,
    parquet_facts,
    parquet_table,
    stored_record,
)


def results_of(months: MonthStore, month: str, system: System = XGBOOST_V1) -> pa.Table | None:
    """The players who played in a month, from its snapshot, in `tables.RESULTS`; None if there is no snapshot.

    Raises:
        StaleInputError: what is stored is damaged.
    """
    snapshot = SNAPSHOT.of(system)
    found = months.objects.read(snapshot.file(month))
    with months.readable(snapshot, month):
        parts = Parts(months.objects, snapshot.name, month)
        return None if found is None else _part(parts, parquet_facts(found.data), "results")


def save_refused(months: MonthStore, month: str, rejects: pa.Table, system: System = XGBOOST_V1) -> str:
    """Store the rejected rows of a refused snapshot next to the stored one. Returns their URI."""
    name = f"{SNAPSHOT.of(system).name}/{month}.refused.parquet"
    months.objects.write(name, parquet_bytes(rejects, {}))
    return months.objects.uri(name)


def _summary_to_bytes(value: DigestedTable, parts: Parts) -> bytes:
    facts = {"digest": value.digest}
    if isinstance(value, SummaryMonth):
        facts["source"] = value.source
        if value.refused.num_rows:
            facts["refused"] = parts.put("parts", "parquet", parquet_bytes(value.refused, {}))
    return parquet_bytes(value.table, facts)


def _summary_from_bytes(data: bytes, parts: Parts, columns: Sequence[str] | None) -> DigestedTable:
    table, facts = parquet_table(data, columns)
    if not facts.keys() & {"refused", "source"} or columns:
        return DigestedTable(table, facts["digest"])
    refused = _part(parts, facts, "refused") if "refused" in facts else REFUSED_GAMES.empty_table()
    return SummaryMonth(table, facts["digest"], refused, facts.get("source", ""))


def _features_to_bytes(value: DigestedTable, parts: Parts) -> bytes:
    facts = {"digest": value.digest}
    if isinstance(value, FeatureMonth):
        facts |= _lines_fact(value.lines)
        if value.reports is not None:
            facts["reports"] = parts.put("parts", "parquet", parquet_bytes(value.reports, {}))
    return parquet_bytes(value.table, facts)


def _features_from_bytes(data: bytes, parts: Parts, columns: Sequence[str] | None) -> DigestedTable:
    table, facts = parquet_table(data, columns)
    lines = _lines(facts)
    reports = _part(parts, facts, "reports") if "reports" in facts and not columns else None
    return FeatureMonth(table, facts["digest"], lines, reports) if lines else DigestedTable(table, facts["digest"])


def _lines_fact(lines: LineCounts | None) -> dict[str, str]:
    return {} if lines is None else {"lines": json.dumps(asdict(lines))}


def _lines(facts: Mapping[str, str]) -> LineCounts | None:
    """None if an older version stored the snapshot, or if there are no lines to count."""
    if "lines" not in facts:
        return None
    found = json.loads(facts["lines"])
    by_outcome = {LineOutcome(outcome): count for outcome, count in found["by_outcome"].items()}
    return LineCounts(by_outcome, found["named_otherwise"])


def _snapshot_to_bytes(value: Snapshot, parts: Parts) -> bytes:
    return parquet_bytes(
        value.table,
        {
            "digest": value.digest,
            "counts": json.dumps(asdict(value.counts)),
            "rejects": parts.put("parts", "parquet", parquet_bytes(value.rejects, {})),
            "results": parts.put("parts", "parquet", parquet_bytes(value.results, {})),
            **_lines_fact(value.lines),
        },
    )


def _snapshot_from_bytes(data: bytes, parts: Parts, columns: Sequence[str] | None) -> Snapshot:
    table, facts = parquet_table(data, columns)
    return Snapshot(
        table=table,
        rejects=REJECTS_SCHEMA.empty_table() if columns else _part(parts, facts, "rejects"),
        results=RESULTS.empty_table() if columns else _part(parts, facts, "results"),
        counts=SnapshotCounts(**json.loads(facts["counts"])),
        digest=facts["digest"],
        lines=_lines(facts),
    )


def _part(parts: Parts, facts: dict[str, str], part: str) -> pa.Table:
    """A table that belongs to a snapshot. Older stores keep it next to the snapshot, without a digest."""
    if part in facts:
        data = parts.get("parts", "parquet", facts[part])
    else:
        beside = parts.objects.read(f"{parts.asset}/{parts.month}.{part}.parquet")
        if beside is None:
            raise LookupError(f"its {part} are missing")
        data = beside.data
    return parquet_table(data, None)[0]


SUMMARY = StoredAsset("player_game_summary", DigestedTable, _summary_to_bytes, _summary_from_bytes, tabular=True)
FEATURES = StoredAsset("ml_feature_store_v2", DigestedTable, _features_to_bytes, _features_from_bytes, tabular=True)
SNAPSHOT = StoredAsset("feature_store_snapshot", Snapshot, _snapshot_to_bytes, _snapshot_from_bytes, tabular=True)
SPLIT = stored_record("train_split", SplitManifest)
