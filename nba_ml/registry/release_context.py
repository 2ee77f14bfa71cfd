"""The stores and limits that promotion and rollout work with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from functools import reduce

import pyarrow as pa

from nba_ml.contract.features import FeatureVersion
from nba_ml.contract.systems import system_of_features
from nba_ml.contract.thresholds import Thresholds
from nba_ml.data.feature_rows import KEY
from nba_ml.data.snapshot import Snapshot
from nba_ml.data.stored import SNAPSHOT
from nba_ml.data.tables import snapshot_schema
from nba_ml.registry.systems.interface import PredictionSystem
from nba_ml.storage.months import MonthStore, StoredAsset
from nba_ml.storage.objects import ObjectStore


@dataclass(frozen=True, slots=True)
class ReleaseContext:
    """The models, the months that they are graded on, and the limits for candidates."""

    objects: ObjectStore
    months: MonthStore
    limits: Thresholds
    threads: int | None = None

    def snapshots(self, first: str, *readers: PredictionSystem | FeatureVersion) -> dict[str, pa.Table]:
        """The stored snapshots of the months from `first` on ('' for all): month -> rows.

        With the columns that the readers (systems or feature versions, at least one) read, and of the player-games for
        which there are all of them.
        """
        named = (each if isinstance(each, FeatureVersion) else each.features for each in readers)
        versions = list({each.name: each for each in named}.values())
        wanted = sorted(set.intersection(*(set(self.months.stored(_rows_of(each))) for each in versions)))
        loaded = {month: [self._rows(month, each) for each in versions] for month in wanted if month >= first}
        return {month: reduce(joined, tables) for month, tables in loaded.items()}

    def _rows(self, month: str, version: FeatureVersion) -> pa.Table:
        columns = snapshot_schema(version).names  # without the rejects and results, which are stored separately
        return self.months.require(_rows_of(version), [month], columns)[month].table


def _rows_of(version: FeatureVersion) -> StoredAsset[Snapshot]:
    return SNAPSHOT.of(system_of_features(version))


def joined(rows: pa.Table, others: pa.Table) -> pa.Table:
    """The player-games of both tables (`tables.snapshot_schema`), with the columns of both, in the order of `rows`.

    A column that both have is the same in both: versions that share a feature's name share its definition.
    """
    at = {key: index for index, key in enumerate(_keys(others))}
    found = [at.get(key, -1) for key in _keys(rows)]
    both = rows.filter(pa.array([index >= 0 for index in found], pa.bool_()))
    theirs = others.take([index for index in found if index >= 0])
    for name in theirs.column_names:
        both = both if name in both.column_names else both.append_column(name, theirs.column(name))
    return both


def _keys(rows: pa.Table) -> Iterator[tuple[str, date]]:
    return zip(*(rows.column(name).to_pylist() for name in KEY), strict=True)
