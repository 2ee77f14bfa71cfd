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
from nba_ml.contract.season import month_of
from nba_ml.data.tables import REPLAYED
from nba_ml.model.recommendation import publish_points
from nba_ml.registry.channel import Evidence
from nba_ml.registry.promotion_rules import (
    ComparisonRows,
    Condition,
    PromotionDecision,
    Unseen,
    evidence_of,
    too_few_rows,
)
from nba_ml.registry.release_context import ReleaseContext
from nba_ml.registry.systems.interface import PredictionSystem, columns_of
from nba_ml.storage.months import parquet_bytes, parquet_table
from nba_ml.storage.objects import ObjectStore

FOLDER = "platform_grades"

BEATS = "beats_production"
"""The condition of a promotion or a rollout that names a system of the platform to beat. It cannot be waived: leave out
the name."""

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
) -> Evidence | str:
    """Compare what a system predicted with a candidate's published points, on the same rows from `first` to `last`.

    Both dates are inclusive. Without a row that both predicted and that has a result, returns what to do.

    Raises:
        ReleaseError: nothing is kept of the system.
        BundleError: the candidate's output is infinite.
    """
    production = kept_production(context.months.objects, system_id, month_of(first))
    none = (
        f"no prediction of {system_id} from {first} on is kept that was made ahead and has a result. Run `nba-ml "
        f"grades --systems {system_id} --from {month_of(first)}` first"
    )
    snapshots = list(context.snapshots(month_of(first), candidate).values())
    if not snapshots:
        return none
    rows = pa.concat_tables(snapshots)
    dates = rows.column("game_date")
    rows = rows.filter(pc.and_(pc.greater_equal(dates, first), pc.less_equal(dates, last)))
    keys = ["player_lookup", "game_date"]
    both = rows.join(production.select([*keys, "predicted_points"]), keys=keys, join_type="inner").sort_by(
        [("game_date", "ascending"), ("player_lookup", "ascending")]
    )
    raw = candidate.predict(columns_of(both, candidate.features))
    known = ~np.isnan(raw)
    if not known.any():
        return none
    both = both.filter(pa.array(known))
    return evidence_of(
        (production_name(system_id), both.column("predicted_points").to_numpy()),
        (candidate.version, publish_points(raw[known])),
        ComparisonRows(both, unseen),
        margin,
    )


def beats_production(compared: Evidence | str, fewest: int) -> Condition:
    """Whether a candidate beats what a system of the platform predicted, or why that is not known.

    On `fewest` rows of 5 dates its MAE must be lower, and at most the margin higher at the end of the 95% interval.
    """
    if isinstance(compared, str):
        return Condition(name=BEATS, met=False, detail=compared)
    missing = too_few_rows(compared.rows, compared.days, fewest)
    numbers = (
        f"MAE {compared.candidate_mae:.3f} against {compared.champion_mae:.3f} of {compared.champion} on "
        f"{compared.rows:,} rows ({compared.first} to {compared.last}), gain {compared.gain:+.3f} ({compared.low:+.3f} "
        f"to {compared.high:+.3f}), above 0 and from {-compared.margin:+.2f} required"
    )
    met = missing is None and compared.gain > 0 and compared.low >= -compared.margin
    return Condition(name=BEATS, met=met, detail=numbers if missing is None else f"{missing}: {numbers}")


def beating(decision: PromotionDecision, compared: Evidence | str, fewest: int) -> PromotionDecision:
    """The decision with this condition, and its evidence, added."""
    return decision.model_copy(
        update={
            "conditions": (*decision.conditions, beats_production(compared, fewest)),
            "beaten": compared if isinstance(compared, Evidence) else None,
        }
    )


def production_name(system_id: str) -> str:
    """The system's name in evidence: lower case, and not to be mistaken for a model of ours."""
    return f"production_{re.sub(r'[^a-z0-9_]', '_', system_id.lower())}"


def _name(month: str, system_id: str) -> str:
    return f"{FOLDER}/{month}/{system_id}.parquet"
