"""A frozen month: validated, in canonical form and order, and identified by its digest.

Decides which rows of the feature store are samples and which break the contract. `sources` reads the rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from nba_ml.contract.errors import SnapshotRejectedError, SourceDataError
from nba_ml.contract.features import FeatureVersion
from nba_ml.data.feature_rows import KEY, Floats, Mask, Reasons, validate_rows
from nba_ml.data.lines import LineCounts
from nba_ml.data.results_due import RESULTS_DUE_AT, dates_without_results, named_dates, split_by_due
from nba_ml.data.table_digest import table_digest
from nba_ml.data.tables import FEATURE_ROWS, RESULTS, snapshot_schema

MAX_REJECTED_SHARE = 0.01
"""Maximum share of rejected rows. More than one bad row in a hundred means that the backfill is broken."""


@dataclass(frozen=True, slots=True)
class SnapshotCounts:
    """Counts of a month's rows. Every row of the feature store is in exactly one of the first four.

    `played` counts player-games with a result (minutes above 0) in the box scores, `covered` those that also have a
    valid feature row. `missing_results` counts player-games with features in games without any result although it is
    due, and those that the calendar implies on dates without any row; `missing_dates` lists their dates.
    """

    samples: int
    early_season: int
    without_result: int
    rejected: int
    played: int
    covered: int
    missing_results: int = 0
    missing_dates: str = ""

    @property
    def coverage(self) -> float:
        """Share of the player-games, played or with missing results, that are covered; 1.0 if there are no games."""
        expected = self.played + self.missing_results
        return self.covered / expected if expected else 1.0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A frozen month.

    `table` has `tables.snapshot_schema`, ordered by (game_date, player_lookup), because training is byte-identical only
    for rows in the same order. `rejects` are the rows that break the contract: key, reason, and the stored vector.
    `results` are all players who played in the month (`tables.RESULTS`), for checking the features. Neither is part of
    the digest, nor read if columns are selected. `lines` are the counts of the month's lines if nba_ml matched them;
    None if the features came from elsewhere.
    """

    table: pa.Table
    rejects: pa.Table
    results: pa.Table
    counts: SnapshotCounts
    digest: str
    lines: LineCounts | None = None

    @property
    def rejected_by_reason(self) -> dict[str, int]:
        """Reason -> number of rejected rows, most frequent first."""
        return dict(Counter(self.rejects.column("reason").to_pylist()).most_common())


REJECTS_SCHEMA = pa.schema(
    [
        pa.field("player_lookup", pa.string()),
        pa.field("game_date", pa.date32()),
        pa.field("reason", pa.string()),
        pa.field("features", pa.list_(pa.float64())),
    ]
)


@dataclass(frozen=True, slots=True)
class MonthRows:
    """A month's rows of the feature store, in `tables.FEATURE_ROWS`, and its results, in `tables.RESULTS`.

    `notes` say what the source left out, for the log.
    """

    features: pa.Table
    results: pa.Table
    lines: LineCounts | None = None
    """Counts of the lines behind the features; None if the source does not provide them."""
    notes: tuple[str, ...] = ()
    absent: Mapping[date, int] = field(default_factory=dict)
    """Player-games, by date, that the calendar implies on dates that the source has no row of."""

    @classmethod
    def of_tables(
        cls, features: pa.Table, summary: pa.Table, version: FeatureVersion, lines: LineCounts | None = None
    ) -> MonthRows:
        """From whole tables: `tables.ML_FEATURE_STORE_V2` and `tables.PLAYER_GAME_SUMMARY`."""
        columns = {
            **{name: features.column(name) for name in FEATURE_ROWS.names if name in features.column_names},
            "names_in_order": pa.array(_names_in_order(features, version)),
            # Through text: Arrow's direct cast from decimal to float is off by one bit for one value in eight.
            "feature_quality_score": features.column("feature_quality_score").cast(pa.string()).cast(pa.float64()),
        }
        played = summary.filter(pc.greater(summary.column("minutes_played"), 0))
        return cls(
            features=pa.table({name: columns[name] for name in FEATURE_ROWS.names}).cast(FEATURE_ROWS),
            results=played.select(RESULTS.names).cast(RESULTS),
            lines=lines,
        )


def take_snapshot(rows: MonthRows, month: str, version: FeatureVersion, due: date = date.max) -> Snapshot:
    """Freeze the month's rows of the feature store, with their results.

    Early-season rows are separated first, then duplicates and rows that break the contract
    (`feature_rows.validate_rows`), then rows without a result.

    Args:
        rows: the rows of the source.
        month: for error messages.
        version: the contract that the rows must meet.
        due: the last game date whose results are due; by default all dates.

    Raises:
        SourceDataError: there are feature rows but no results.
        SnapshotRejectedError: more than `MAX_REJECTED_SHARE` of the rows break the contract. The
            error carries the rejected rows as `rejects`.
    """
    features = rows.features
    read = validate_rows(features, version)
    keys, early, valid = read.keys, read.early, read.valid
    joined = keys.merge(rows.results.to_pandas(date_as_object=False), on=KEY, how="left", validate="many_to_one")
    has_result = joined["minutes_played"].notna().to_numpy()
    missing, awaited = split_by_due(dates_without_results(keys, has_result), due)
    if rows.results.num_rows == 0 and features.num_rows:
        raise _no_results(month, features.num_rows, missing, awaited)
    missing |= rows.absent
    sample = valid & has_result

    rejected = ~valid & ~early
    covered_keys = keys.loc[(valid | early) & has_result, KEY].drop_duplicates()
    counts = SnapshotCounts(
        samples=int(sample.sum()),
        early_season=int(early.sum()),
        without_result=int((valid & ~has_result).sum()),
        rejected=int(rejected.sum()),
        played=rows.results.num_rows,
        covered=len(covered_keys),
        missing_results=sum(missing.values()),
        missing_dates=named_dates(missing),
    )
    rejects = _rejects(features, read.reasons, rejected)
    _require_few_rejected(counts, rejects, month)

    table = _canonical_table(joined[sample], read.vectors, np.flatnonzero(sample[valid]), version)
    return Snapshot(
        table=table,
        rejects=rejects,
        results=rows.results.sort_by([(name, "ascending") for name in ("game_date", "player_lookup")]),
        counts=counts,
        digest=table_digest(table),
        lines=rows.lines,
    )


def _no_results(month: str, rows: int, missing: Mapping[date, int], awaited: Mapping[date, int]) -> SourceDataError:
    found = f"{month} has no results yet: {rows:,} feature rows and no box score."
    if missing:
        return SourceDataError(
            f"{found} Results are due by {RESULTS_DUE_AT}:00 in New York on the day after a game; missing: "
            f"{named_dates(missing)}. Load the box scores into player_game_summary, then materialise the month again. "
            "The stored snapshot is unchanged."
        )
    return SourceDataError(
        f"{found} None are due yet: the games are on {named_dates(awaited)}. Materialise the month when their box "
        "scores are available. The stored snapshot is unchanged."
    )


def _names_in_order(features: pa.Table, version: FeatureVersion) -> Mask:
    """Which rows have the contract's feature names in the contract's order."""
    expected = list(version.names)
    masks: list[Mask] = []
    for chunk in features.column("feature_names").chunks:
        offsets = np.asarray(chunk.offsets)
        values = chunk.values.dictionary_encode() if not pa.types.is_dictionary(chunk.values.type) else chunk.values
        codes, words = np.asarray(values.indices), values.dictionary.to_pylist()
        wanted = np.array([words.index(name) if name in words else -1 for name in expected])
        mask = np.diff(offsets) == len(expected)
        starts = offsets[:-1][mask]
        mask[mask] = (codes[starts[:, None] + np.arange(len(expected))] == wanted).all(axis=1)
        masks.append(mask)
    return np.concatenate(masks) if masks else np.zeros(0, dtype=bool)


def _rejects(features: pa.Table, reasons: Reasons, rejected: Mask) -> pa.Table:
    mask = pa.array(rejected)
    table = pa.table(
        {
            "player_lookup": features.column("player_lookup").filter(mask),
            "game_date": features.column("game_date").filter(mask),
            "reason": pa.array(reasons[rejected].tolist(), pa.string()),
            "features": features.column("features").filter(mask),
        },
        schema=REJECTS_SCHEMA,
    )
    # Sort by all columns, which Arrow cannot do: two rows with the same key may be rejected for the same reason.
    rows = sorted(
        range(table.num_rows),
        key=lambda i: tuple(
            str(table.column(name)[i]) for name in ("game_date", "player_lookup", "reason", "features")
        ),
    )
    return table.take(pa.array(rows, pa.int64()))


def _require_few_rejected(counts: SnapshotCounts, rejects: pa.Table, month: str) -> None:
    considered = counts.samples + counts.without_result + counts.rejected
    if counts.rejected <= MAX_REJECTED_SHARE * considered:
        return
    by_reason = Counter(rejects.column("reason").to_pylist()).most_common(5)
    worst = "; ".join(f"{r['player_lookup']} {r['game_date']}: {r['reason']}" for r in rejects.slice(0, 5).to_pylist())
    error = SnapshotRejectedError(
        f"{month}: {counts.rejected:,} of {considered:,} feature rows ({counts.rejected / considered:.1%}) break the "
        f"contract, more than {MAX_REJECTED_SHARE:.0%}. By reason: "
        + ", ".join(f"{reason} ({n:,})" for reason, n in by_reason)
        + f". First: {worst}. The stored snapshot is unchanged; correct the feature rows and materialise the "
        "month again."
    )
    error.rejects = rejects
    raise error


def _canonical_table(
    rows: pd.DataFrame, vectors: Floats, places: npt.NDArray[np.intp], version: FeatureVersion
) -> pa.Table:
    """The samples in order, each with the vector at its place among `vectors`."""
    order = rows.reset_index(drop=True).sort_values(["game_date", "player_lookup"], kind="stable").index.to_numpy()
    rows, vectors = rows.iloc[order], np.take(vectors, places[order], axis=0)
    columns: Mapping[str, object] = {
        "player_lookup": rows["player_lookup"],
        "game_date": rows["game_date"],
        "game_id": rows["game_id"],
        **{name: vectors[:, i] for i, name in enumerate(version.names)},
        "points": rows["points"],
        "minutes_played": rows["minutes_played"],
        "feature_quality_score": rows["feature_quality_score"],
    }
    schema = snapshot_schema(version)
    # from_pandas=False keeps NaN: a missing feature is NaN here, not an Arrow null.
    return pa.table({f.name: pa.array(columns[f.name], type=f.type, from_pandas=False) for f in schema}, schema=schema)
