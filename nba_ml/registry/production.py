"""What the platform's systems predicted, as kept when they were graded, and a candidate compared with one of them.

A promotion or a rollout can name such a system as the one to beat. What production predicted counts more than a model
that is scored again on other inputs. Replayed predictions are no evidence: nobody could have bet on them.
"""

from __future__ import annotations

import re
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nba_ml.contract.errors import ReleaseError
from nba_ml.contract.features import V2_33FEATURES
from nba_ml.contract.season import month_of
from nba_ml.model.recommendation import publish_points
from nba_ml.registry.channel import Evidence
from nba_ml.registry.promotion_rules import ComparisonRows, Unseen, evidence_of
from nba_ml.registry.release_context import ReleaseContext
from nba_ml.registry.systems.interface import PredictionSystem, columns_of
from nba_ml.storage.months import parquet_bytes, parquet_table
from nba_ml.storage.objects import ObjectStore

FOLDER = "platform_grades"

REPLAYED = "replayed"
"""As `slates.slate.REPLAYED`."""

SCHEMA = pa.schema(
    [
        pa.field("player_lookup", pa.string(), nullable=False),
        pa.field("game_date", pa.date32(), nullable=False),
        pa.field("predicted_points", pa.float64(), nullable=False),
        pa.field("made", pa.string(), nullable=False),
    ]
)
"""One row per player-game of a system."""


def keep_production(objects: ObjectStore, month: str, system_id: str, rows: pa.Table) -> None:
    """Keep what a system predicted in a month, in `SCHEMA`, in place of what was kept before."""
    objects.write(_name(month, system_id), parquet_bytes(rows.select(SCHEMA.names).cast(SCHEMA), {}))


def kept_production(objects: ObjectStore, system_id: str, first: str) -> pa.Table:
    """What is kept of a system from month `first` on, without replayed predictions, in `SCHEMA`.

    Raises:
        ReleaseError: nothing is kept of it.
    """
    names = [name for name in objects.names(f"{FOLDER}/") if name.endswith(f"/{system_id}.parquet")]
    if not names:
        raise ReleaseError(
            f"Nothing is kept of what {system_id} predicted. Run `nba-ml grades --systems {system_id} --from YYYY-MM` "
            "for the months after the model's training data (NBA_ML_SOURCE=bigquery)."
        )
    found = [objects.read(name) for name in names if name.split("/")[1] >= first]
    table = pa.concat_tables([SCHEMA.empty_table(), *(parquet_table(each.data, None)[0] for each in found if each)])
    return table.filter(pc.not_equal(table.column("made"), REPLAYED))


def compare_production(
    context: ReleaseContext,
    system_id: str,
    candidate: PredictionSystem,
    unseen: Unseen,
    first: date,
    last: date = date.max,
    margin: float = 0.0,
) -> Evidence | None:
    """Compare what a system predicted with a candidate's published points, on the same rows from `first` to `last`.

    Both dates are inclusive. None if there is no row with a result that both predicted.

    Raises:
        ReleaseError: nothing is kept of the system.
        BundleError: the candidate's output is infinite.
    """
    production = kept_production(context.months.objects, system_id, month_of(first))
    snapshots = list(context.snapshots(month_of(first)).values())
    if not snapshots:
        return None
    rows = _between(pa.concat_tables(snapshots), first, last)
    keys = ["player_lookup", "game_date"]
    both = rows.join(production.select([*keys, "predicted_points"]), keys=keys, join_type="inner").sort_by(
        [("game_date", "ascending"), ("player_lookup", "ascending")]
    )
    if not both.num_rows:
        return None
    raw = candidate.predict(columns_of(both, V2_33FEATURES))
    known = ~np.isnan(raw)
    if not known.any():
        return None
    both = both.filter(pa.array(known))
    return evidence_of(
        (production_name(system_id), both.column("predicted_points").to_numpy()),
        (candidate.version, publish_points(raw[known])),
        ComparisonRows(both, unseen),
        margin,
    )


def production_name(system_id: str) -> str:
    """The system's name in evidence: lower case, and not to be mistaken for a model of ours."""
    return f"production_{re.sub(r'[^a-z0-9_]', '_', system_id.lower())}"


def _between(table: pa.Table, first: date, last: date) -> pa.Table:
    dates = table.column("game_date")
    bounds = (pa.scalar(each, pa.date32()) for each in (first, last))
    low, high = (pc.greater_equal(dates, next(bounds)), pc.less_equal(dates, next(bounds)))
    return table.filter(pc.and_(low, high))


def _name(month: str, system_id: str) -> str:
    return f"{FOLDER}/{month}/{system_id}.parquet"
