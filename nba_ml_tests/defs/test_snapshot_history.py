"""A snapshot taken again from BigQuery: rows that changed although nothing that an observation reads did."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from nba_ml.contract.features import V2_33FEATURES
from nba_ml.contract.season import season_months
from nba_ml.data.split import SnapshotRef, SplitManifest
from nba_ml.data.stored import SNAPSHOT, SPLIT
from nba_ml.defs.assets import feature_store_snapshot
from nba_ml.defs.assets.recording import INPUTS, in_parts
from nba_ml.defs.assets.snapshot_history import STANDS_FOR, Before, latest, stands_for
from nba_ml.defs.internals import DATA_VERSION_TAG
from nba_ml.defs.io_manager import MonthStoreIOManager
from nba_ml.defs.resources import Store
from nba_ml.storage.directory import DirectoryStore
from nba_ml.storage.months import MonthStore
from nba_ml_tests.cloud.bigquery import BigQueryEmulator, Platform, make_platform
from nba_ml_tests.conftest import features_of, summary_of

MONTH = "2022-06"
"""A month of six games."""
DAY = "2022-06-02"


@pytest.fixture
def platform(bigquery_emulator: BigQueryEmulator) -> Platform:
    made = make_platform(bigquery_emulator)
    made.load(features_of(MONTH), summary_of(MONTH))
    return made


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


def materialised(
    platform: Platform, instance: dg.DagsterInstance, root: Path
) -> tuple[dg.AssetMaterialization, list[str]]:
    """Take the snapshot: what is recorded of it, and its warnings."""
    months = dg.StaticPartitionsDefinition(season_months("2021-10", MONTH))
    result = dg.materialize(
        [feature_store_snapshot.build(months)],
        instance=instance,
        partition_key=MONTH,
        resources={
            "month_rows": platform.source(),
            "store": Store(str(root)),
            "io_manager": MonthStoreIOManager(str(root)),
        },
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
    )
    [event] = result.asset_materializations_for_node("feature_store_snapshot")
    logged = [record.user_message for record in instance.all_logs(result.run_id) if int(record.level) >= 30]
    return event, logged


def taken(platform: Platform, instance: dg.DagsterInstance, root: Path) -> tuple[int, list[str]]:
    """Take the snapshot: how many rows it reports as changed, and its warnings about them."""
    event, logged = materialised(platform, instance, root)
    value = event.metadata["rows_changed_without_updated_at"].value
    assert isinstance(value, int)
    return value, [line for line in logged if "updated_at" in line]


def rewritten(platform: Platform, name: str, change: float) -> int:
    """Add to a feature of one day's rows, and leave every other column as it was. Returns the number of rows."""
    rows = features_of(MONTH)
    rows = rows.filter(pc.equal(rows.column("game_date").cast(pa.string()), DAY))
    vectors = np.array(rows.column("features").to_pylist(), dtype=np.float64)
    vectors[:, V2_33FEATURES.index(name)] += change
    field = rows.schema.field("features")
    column = pa.array(vectors.tolist(), type=field.type)
    platform.sql(f"DELETE FROM {{features}} WHERE game_date = '{DAY}'")
    platform.load(rows.set_column(rows.column_names.index("features"), field, column))
    return rows.num_rows


def test_rows_rewritten_without_updated_at_are_counted_and_reported(
    platform: Platform, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    """Guards the only sign of a job that corrects features and leaves updated_at: an observation reads no feature, so
    neither the sensor nor --only-missing sees it."""
    assert taken(platform, instance, tmp_path) == (0, [])
    assert taken(platform, instance, tmp_path) == (0, []), "the same rows again"
    before = platform.source().read(MONTH)[1]
    written = rewritten(platform, "minutes_avg_last_10", 0.25)
    assert platform.source().read(MONTH)[1] == before, "the observation sees no change"
    changed, [warning] = taken(platform, instance, tmp_path)
    assert 0 < changed <= written  # of a day's rows, those that have a result are samples
    assert f"{MONTH}: {changed} rows have other values" in warning
    assert taken(platform, instance, tmp_path) == (0, []), "reported once"


def test_rows_rewritten_with_updated_at_are_an_ordinary_change(
    platform: Platform, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    """Guards a job that does as it should against being reported."""
    taken(platform, instance, tmp_path)
    rewritten(platform, "minutes_avg_last_10", 0.25)
    platform.sql(
        f"UPDATE {{features}} SET updated_at = TIMESTAMP_ADD(updated_at, INTERVAL 1 HOUR) WHERE game_date = '{DAY}'"
    )
    assert taken(platform, instance, tmp_path) == (0, [])


def test_months_trained_on_the_rows_before_are_named(
    platform: Platform, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    """Guards later models against a correction that nobody sees: in the graph they depend on their own month only."""
    store = MonthStore(DirectoryStore(tmp_path))
    event, warnings = materialised(platform, instance, tmp_path)
    snapshot = store.load(SNAPSHOT, MONTH)
    assert snapshot is not None
    ref = SnapshotRef(month=MONTH, digest=snapshot.digest, rows=snapshot.counts.samples)
    for month, refs in {"2022-05": (), MONTH: (ref,), "2022-10": (ref,), "2022-11": ()}.items():
        store.save(SPLIT, month, SplitManifest(snapshots=refs))
    assert ("months_out_of_date" in event.metadata, warnings) == (False, [])

    event, warnings = materialised(platform, instance, tmp_path)
    assert ("months_out_of_date" in event.metadata, warnings) == (False, []), "the same rows again"

    rewritten(platform, "minutes_avg_last_10", 0.25)
    event, warnings = materialised(platform, instance, tmp_path)
    assert event.metadata["months_out_of_date"].value == f"{MONTH}, 2022-10, 2022-11", "2022-11 lacks the month"
    assert any(f"the models of {MONTH} to 2022-11 (3) were trained on the earlier ones" in each for each in warnings)


@pytest.mark.parametrize("form", [str, in_parts], ids=["in one piece", "in halves"])
def test_a_digest_is_read_however_it_was_recorded(form: Callable[[str], str]) -> None:
    """Guards against homes of before the halves, in which every month would be out of date."""
    inputs, first = "0123456789abcdef" * 4, "fedcba9876543210" * 4
    metadata = {INPUTS: form(inputs), STANDS_FOR: form(first)}
    event = dg.AssetMaterialization("feature_store_snapshot", metadata=metadata, tags={DATA_VERSION_TAG: "rows"})
    assert Before.of(event) == Before(digest="rows", inputs=inputs, stands_for=first)


def test_a_snapshot_reported_in_the_ui_is_not_compared_with() -> None:
    """Guards against a month that no run can materialise any more: such an event has no inputs and no data version."""
    with dg.DagsterInstance.ephemeral() as instance:
        assert latest(instance, "feature_store_snapshot", MONTH) is None
        instance.report_runless_asset_event(dg.AssetMaterialization("feature_store_snapshot", partition=MONTH))
        before = latest(instance, "feature_store_snapshot", MONTH)
    assert before == Before(digest="", inputs="", stands_for="")
    assert stands_for(before, "a snapshot", "its inputs") == "its inputs"
