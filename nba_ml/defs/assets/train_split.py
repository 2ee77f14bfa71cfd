"""`train_split`: which rows train, stop and validate, as a manifest."""

from typing import Any

import dagster as dg
import pandas as pd

from nba_ml.contract.systems import System
from nba_ml.data.snapshot import Snapshot
from nba_ml.data.split import split_by_date
from nba_ml.defs.assets.recording import OWNERS, digests, markdown_table, recorded
from nba_ml.defs.partitions import History, reads
from nba_ml.defs.reasons import fails_with_its_reason

CODE_VERSION = "1"


def build(months: dg.MonthlyPartitionsDefinition, system: System) -> dg.AssetsDefinition:
    snapshots = system.asset("feature_store_snapshot")

    @dg.asset(
        key=dg.AssetKey.from_user_string(system.asset("train_split")),
        partitions_def=months,
        group_name=system.group("training"),
        kinds={"json"},
        owners=OWNERS,
        code_version=CODE_VERSION,
        ins={"feature_store_snapshot": reads(snapshots, History.SO_FAR, "game_date")},
    )
    @fails_with_its_reason
    def train_split(feature_store_snapshot: dict[str, Snapshot]) -> dg.Output[Any]:
        """Chronological split of every month so far, by whole dates: train 70%, early stopping 10%, validation 20%.

        A manifest that names the snapshots by digest, not a copy of rows.
        """
        split = split_by_date(
            {month: (s.digest, s.table.column("game_date").to_numpy()) for month, s in feature_store_snapshot.items()}
        )
        sides = split.sides()
        return recorded(
            split,
            code_version=CODE_VERSION,
            inputs={snapshots: digests(feature_store_snapshot)},
            metadata={
                "rows": split.rows,
                "months": len(split.snapshots),
                **{f"{name}_rows": side.rows for name, side in sides.items()},
                **{f"{name}_from": side.first.isoformat() for name, side in sides.items()},
                "sides": markdown_table(
                    pd.DataFrame([{"side": name, **side.model_dump()} for name, side in sides.items()])
                ),
            },
        )

    return train_split
