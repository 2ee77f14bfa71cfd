"""`feature_store_snapshot`: the month frozen, validated and canonical."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import pandas as pd

from nba_ml.contract.errors import SnapshotRejectedError, StaleInputError
from nba_ml.contract.lineage import inputs_digest
from nba_ml.contract.systems import XGBOOST_V1, System
from nba_ml.data.features.lineage import BOX_SCORE_COLUMNS
from nba_ml.data.results_due import last_date_due
from nba_ml.data.snapshot import Snapshot, take_snapshot
from nba_ml.data.split import SplitManifest
from nba_ml.data.stored import SNAPSHOT, SPLIT, save_refused
from nba_ml.data.tables import snapshot_schema
from nba_ml.defs.assets.recording import (
    OWNERS,
    column_schema,
    cost_metadata,
    feature_lineage,
    in_parts,
    lines_metadata,
    markdown_table,
    recorded,
)
from nba_ml.defs.assets.snapshot_history import STANDS_FOR, Before, changed_rows, latest, stands_for
from nba_ml.defs.partitions import one_month
from nba_ml.defs.reasons import fails_with_its_reason
from nba_ml.defs.resources import Store
from nba_ml.sources.job_costs import recorded_jobs
from nba_ml.sources.month_rows import FEATURES, SUMMARY, MonthRowsSource
from nba_ml.storage.months import MonthStore, StoredAsset

CODE_VERSION = "2"


def build(
    months: dg.PartitionsDefinition, system: System = XGBOOST_V1, *, external: bool = False
) -> dg.AssetsDefinition:
    """The asset. `external`: the feature store is another system's, so its features' columns are not known."""
    sources = {} if external else BOX_SCORE_COLUMNS
    version, features = system.features, system.asset(FEATURES)
    lineage = feature_lineage(version, sources, features)
    snapshots, splits = SNAPSHOT.of(system), SPLIT.of(system)

    @dg.asset(
        key=dg.AssetKey.from_user_string(snapshots.name),
        partitions_def=months,
        group_name=system.group("training"),
        kinds={"parquet"},
        owners=OWNERS,
        code_version=CODE_VERSION,
        deps=[SUMMARY, dg.AssetKey.from_user_string(features)],
        metadata={"dagster/column_schema": column_schema(snapshot_schema(version), version, sources)},
    )
    @fails_with_its_reason
    def feature_store_snapshot(
        context: dg.AssetExecutionContext, month_rows: dg.ResourceParam[MonthRowsSource], store: dg.ResourceParam[Store]
    ) -> dg.Output[Any]:
        """Frozen, validated, canonical copy of the month: keys, one column per feature, target, quality.

        Rows that break the contract are kept beside it with their reason; more than 1% of them fail
        the month. Named by its digest.
        """
        month = one_month(context, months)
        with recorded_jobs() as jobs:
            rows, inputs = month_rows.read(month, system)
        for note in rows.notes:
            context.log.warning(note)
        try:
            snapshot = take_snapshot(rows, month, version, last_date_due(datetime.now(UTC)))
        except SnapshotRejectedError as error:
            kept = save_refused(store.months(), month, error.rejects, system)
            context.log.error(f"The rejected rows are in {kept}")
            raise
        counts = snapshot.counts
        before, taken_from = latest(context.instance, snapshots.name, month), inputs_digest(CODE_VERSION, inputs, {})
        undated = _undated_changes(before, snapshot, taken_from, store.months(), snapshots, month)
        if undated:
            context.log.warning(
                f"{month}: {undated:,} rows have other values than in the snapshot before, and nothing that an "
                f"observation reads has changed. Such a change reaches neither the sensor nor --only-missing: whoever "
                f"writes {features} must set updated_at with every value."
            )
        stale = (
            _trained_on_another(snapshot, store.months(), splits, month)
            if before and before.digest != snapshot.digest
            else []
        )
        if stale:
            context.log.warning(
                f"{month}: the rows changed, and the models of {stale[0]} to {stale[-1]} ({len(stale)}) were trained "
                "on the earlier ones. `nba-ml backfill --only-missing` trains them again."
            )
        reasons = pd.DataFrame(snapshot.rejected_by_reason.items(), columns=["reason", "rows"])
        return recorded(
            snapshot,
            code_version=CODE_VERSION,
            inputs=inputs,
            metadata={
                "rows": counts.samples,
                "dagster/partition_row_count": counts.samples,
                "coverage": round(counts.coverage, 6),
                **{name: number for name, number in asdict(counts).items() if name not in ("samples", "covered")},
                "digest": in_parts(snapshot.digest),
                "dagster/column_lineage": lineage,
                **(lines_metadata(snapshot.lines) if snapshot.lines else {}),
                **cost_metadata(jobs),
                "dagster/uri": store.months().uri(snapshots, month),
                STANDS_FOR: in_parts(stands_for(before, snapshot.digest, taken_from)),
                "rows_changed_without_updated_at": undated,
                **({"months_out_of_date": ", ".join(stale)} if stale else {}),
                **({"rejected_by_reason": markdown_table(reasons)} if len(reasons) else {}),
            },
        )

    return feature_store_snapshot


def _trained_on_another(
    snapshot: Snapshot, store: MonthStore, splits: StoredAsset[SplitManifest], month: str
) -> list[str]:
    """Months whose split names another snapshot of this month: in the graph, Dagster does not see that they read it."""
    # With or without samples: an early-season month is in no split, and a month that gained some is missing in it.
    mine = [snapshot.digest] if snapshot.counts.samples else []
    found = []
    for later in store.stored(splits):
        split = store.load(splits, later) if later >= month else None
        if split is not None and [ref.digest for ref in split.snapshots if ref.month == month] != mine:
            found.append(later)
    return found


def _undated_changes(
    before: Before | None,
    snapshot: Snapshot,
    taken_from: str,
    store: MonthStore,
    kept: StoredAsset[Snapshot],
    month: str,
) -> int:
    """Rows that changed since the snapshot before, though its inputs have the same versions."""
    if before is None or before.inputs != taken_from or before.digest == snapshot.digest:
        return 0
    try:
        stored = store.load(kept, month)
    except StaleInputError:  # it is written anew now
        return 0
    return changed_rows(stored, snapshot) if stored is not None and stored.digest == before.digest else 0
