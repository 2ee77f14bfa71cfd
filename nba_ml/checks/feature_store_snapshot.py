"""Checks of a frozen month: it keeps the contract, names each player-game once, and covers the games."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nba_ml.checks.check import Check, Finding, Severity
from nba_ml.core.contract import V2_33FEATURES
from nba_ml.core.digest import table_digest
from nba_ml.core.progress import COMPLETE, SUBSTANTIAL
from nba_ml.core.snapshot import Snapshot, contract_faults
from nba_ml.core.tables import snapshot_schema

ASSET = "feature_store_snapshot"


def _contract(snapshot: Snapshot, month: str) -> Finding:
    expected, found = snapshot_schema(V2_33FEATURES), snapshot.table.schema
    differing = [f"column {f.name} {f.type}" for f in found if f not in list(expected)]
    differing += [f"column {name} is not there" for name in expected.names if name not in found.names]
    if not differing and found.names != expected.names:
        differing.append("the order of the columns")
    if table_digest(snapshot.table) != snapshot.digest:
        differing.append("the rows are not those of the digest")
    return Finding(
        passed=not differing,
        metric="differences from the contract",
        value=len(differing),
        n=snapshot.table.num_rows,
        worst=[{"difference": difference} for difference in differing],
        next_step=f"Materialise feature_store_snapshot for {month} again with this version of the code.",
    )


def _unique_keys(snapshot: Snapshot, month: str) -> Finding:
    keys = (
        snapshot.table.select(["player_lookup", "game_date"])
        .group_by(["player_lookup", "game_date"])
        .aggregate([([], "count_all")])
    )
    repeated = keys.filter(pc.greater(keys.column("count_all"), 1))
    return Finding(
        passed=repeated.num_rows == 0,
        metric="player-games that stand more than once",
        value=repeated.num_rows,
        n=snapshot.table.num_rows,
        worst=[{k: str(v) for k, v in row.items()} for row in repeated.slice(0, 5).to_pylist()],
        next_step=f"Find out which job wrote {month} twice, remove the older rows, and materialise the month again.",
    )


def _ranges(snapshot: Snapshot, month: str) -> Finding:
    names = V2_33FEATURES.names
    vectors = (
        np.column_stack([snapshot.table.column(name).to_numpy() for name in names])
        if snapshot.table.num_rows
        else np.empty((0, len(names)))
    )
    faults = [(i, fault) for i, fault in enumerate(contract_faults(vectors, V2_33FEATURES)) if fault]
    keys = (
        snapshot.table.select(["player_lookup", "game_date"])
        .take(pa.array([i for i, _ in faults[:5]], pa.int64()))
        .to_pylist()
    )
    return Finding(
        passed=not faults,
        metric="rows outside the contract's ranges or missing where forbidden",
        value=len(faults),
        n=snapshot.table.num_rows,
        worst=[
            {**{k: str(v) for k, v in key.items()}, "fault": fault}
            for key, (_, fault) in zip(keys, faults, strict=False)
        ],
        next_step=f"Materialise feature_store_snapshot for {month} again: a snapshot taken by this code has no such "
        "row.",
    )


def _coverage(limit: float) -> Check:
    blocks = limit == SUBSTANTIAL

    def examine(snapshot: Snapshot, month: str) -> Finding:
        counts = snapshot.counts
        return Finding(
            passed=counts.coverage >= limit,
            metric="coverage",
            value=round(counts.coverage, 4),
            n=counts.played,
            next_step=f"{counts.played - counts.covered:,} player-games of {month} have no valid feature row: wait for "
            "the backfill to reach them, then materialise the month again.",
        )

    return Check(
        asset=ASSET,
        name="coverage" if blocks else "coverage_complete",
        severity=Severity.ERROR if blocks else Severity.WARN,
        blocking=blocks,
        threshold=f"at least {limit:.0%} of the player-games played have a valid feature row",
        reason="A month that is half there is not a fair sample of its games."
        if blocks
        else "The backfill calls a month complete at 95%.",
        examine=examine,
    )


CHECKS = (
    Check(
        asset=ASSET,
        name="contract",
        severity=Severity.ERROR,
        blocking=True,
        threshold="columns, types and digest as v2_33features has them",
        reason="A model trained on other columns, or in another order, predicts nonsense without an error.",
        examine=_contract,
    ),
    Check(
        asset=ASSET,
        name="unique_keys",
        severity=Severity.ERROR,
        blocking=True,
        threshold="no (player_lookup, game_date) twice",
        reason="A repeated row counts twice in training and twice in every metric.",
        examine=_unique_keys,
    ),
    Check(
        asset=ASSET,
        name="ranges",
        severity=Severity.ERROR,
        blocking=True,
        threshold="every value in its range, none missing where the contract forbids it",
        reason="Units that changed (a share stored as percent) show here first.",
        examine=_ranges,
    ),
    _coverage(SUBSTANTIAL),
    _coverage(COMPLETE),
)
