"""A new snapshot compared with the previous one: the same rows, or other rows although no input's version changed."""

from __future__ import annotations

from dataclasses import dataclass

import dagster as dg

from nba_ml.data.feature_rows import KEY
from nba_ml.data.snapshot import Snapshot
from nba_ml.defs.assets.recording import digests_of, whole

STANDS_FOR = "nba_ml/stands_for"
"""Metadata of a snapshot: the digest of the inputs from which these very rows were first taken.

A table may be rewritten, or its version computed in another way, and the snapshot be the same. Then
nothing downstream is out of date. Older snapshots lack it and stand for their own inputs."""


@dataclass(frozen=True, slots=True)
class Before:
    """The month's previous materialisation: the digest of its rows, of its inputs, and of what they stand for."""

    digest: str
    inputs: str
    stands_for: str

    @classmethod
    def of(cls, event: dg.AssetMaterialization) -> Before:
        digest, inputs = digests_of(event)
        stands_for = whole(event.metadata[STANDS_FOR]) if STANDS_FOR in event.metadata else inputs
        return cls(digest, inputs, stands_for)


def latest(instance: dg.DagsterInstance, asset: str, month: str) -> Before | None:
    """The latest materialisation of the month; None if there is none."""
    wanted = dg.AssetRecordsFilter(asset_key=dg.AssetKey.from_user_string(asset), asset_partitions=[month])
    events = [record.asset_materialization for record in instance.fetch_materializations(wanted, limit=1).records]
    return next((Before.of(event) for event in events if event is not None), None)


def stands_for(before: Before | None, digest: str, inputs: str) -> str:
    """What a snapshot with this digest, taken from these inputs, stands for."""
    return before.stands_for if before is not None and before.digest == digest else inputs


def changed_rows(before: Snapshot, now: Snapshot) -> int:
    """Number of player-games that are in only one of the two, or have other values."""
    old, new = (each.table.to_pandas(date_as_object=False) for each in (before, now))
    both = old.merge(new, how="outer", on=list(old.columns), indicator=True)
    return len(both.loc[both["_merge"] != "both", KEY].drop_duplicates())
