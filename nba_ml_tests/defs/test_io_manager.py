"""What an asset is handed: one month, or a dict of months without a hole."""

from __future__ import annotations

import gc
import weakref
from dataclasses import replace
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pytest

from nba_ml.contract.errors import MissingMonthsError
from nba_ml.data.snapshot import Snapshot
from nba_ml.defs.io_manager import MonthStoreIOManager
from nba_ml.defs.partitions import History, reads, season_months
from nba_ml.storage.months import MonthByMonth
from nba_ml_tests.conftest import snapshot_of

pytestmark = pytest.mark.slow

ASSET = "feature_store_snapshot"
MONTHS = season_months("2021-10", "2022-11")


@pytest.fixture
def manager(tmp_path: Path) -> MonthStoreIOManager:
    return MonthStoreIOManager(str(tmp_path))


def save(manager: MonthStoreIOManager, *months: str) -> None:
    """Hand over real snapshots as an asset does; which month's rows they are does not matter here."""
    for month in months:
        with dg.build_output_context(asset_key=ASSET, partition_key=month, asset_partitions_def=MONTHS) as context:
            manager.handle_output(context, snapshot_of("2021-11" if month == "2021-11" else "2021-10"))


def load(manager: MonthStoreIOManager, month: str, given: dg.AssetIn | None = None) -> object:
    with (
        dg.DagsterInstance.ephemeral() as instance,
        dg.build_input_context(
            instance=instance,
            asset_key=ASSET,
            asset_partition_key_range=dg.PartitionKeyRange(month, month),
            asset_partitions_def=MONTHS,
            definition_metadata=given.metadata if given else {},
        ) as context,
    ):
        return manager.load_input(context)


SO_FAR = reads("feature_store_snapshot", History.SO_FAR)


def test_one_month_is_handed_over_as_it_is(manager: MonthStoreIOManager) -> None:
    """Guards against a dict where an asset reads its own month."""
    save(manager, "2021-10", "2021-11")
    value = load(manager, "2021-11")
    assert isinstance(value, Snapshot)
    assert value.digest == snapshot_of("2021-11").digest


@pytest.mark.parametrize("last", ["2021-10", "2021-11"])
def test_a_window_is_a_dict_even_of_one_month(manager: MonthStoreIOManager, last: str) -> None:
    """Guards against the first month of all, whose window of one stock IO managers hand over bare."""
    save(manager, "2021-10", "2021-11")
    value = load(manager, last, SO_FAR)
    assert isinstance(value, dict)
    assert list(value) == [month for month in ("2021-10", "2021-11") if month <= last]
    assert all(isinstance(snapshot, Snapshot) for snapshot in value.values())
    assert value["2021-10"].digest == snapshot_of("2021-10").digest


def test_the_month_before_the_first_is_an_empty_dict(manager: MonthStoreIOManager) -> None:
    """Guards the first month, before which no model was trained: an error there, or a model of its own month."""
    save(manager, "2021-10", "2021-11")
    assert load(manager, "2021-10", reads("feature_store_snapshot", History.BEFORE)) == {}
    value = load(manager, "2021-11", reads("feature_store_snapshot", History.BEFORE))
    assert isinstance(value, dict)
    assert list(value) == ["2021-10"]


def test_only_the_wanted_columns_are_read(manager: MonthStoreIOManager) -> None:
    """Guards against a split that reads 33 features of every month to look at dates."""
    save(manager, "2021-10", "2021-11")
    value = load(manager, "2021-11", reads("feature_store_snapshot", History.SO_FAR, "game_date"))
    assert isinstance(value, dict)
    assert {tuple(snapshot.table.column_names) for snapshot in value.values()} == {("game_date",)}


def test_months_of_a_large_history_are_read_one_by_one(manager: MonthStoreIOManager) -> None:
    """Guards the memory of a training: all its months at once would be a multiple of what XGBoost needs."""
    save(manager, "2021-10", "2021-11")
    one_by_one = reads("feature_store_snapshot", History.SO_FAR, "game_date", one_by_one=True)
    value = load(manager, "2021-11", one_by_one)
    assert isinstance(value, MonthByMonth)
    assert list(value) == ["2021-10", "2021-11"]
    assert value["2021-11"] is not value["2021-11"]
    assert value["2021-11"].table.column_names == ["game_date"]
    with pytest.raises(dg.Failure, match=r"was never materialised for 2021-12\."):
        load(manager, "2021-12", one_by_one)


def test_what_a_step_has_stored_is_not_kept_in_memory(manager: MonthStoreIOManager) -> None:
    """Guards the memory of a backfill: Dagster keeps what each step returns, so a training ran beside its month's
    tables, and the next month began beside them too."""
    stored: list[weakref.ref[pa.Table]] = []

    @dg.asset(key=ASSET, partitions_def=MONTHS)
    def made() -> Snapshot:
        value = snapshot_of("2021-10")
        table = value.table.slice(0)  # another object
        stored.append(weakref.ref(table))
        return replace(value, table=table)

    @dg.asset(deps=[made], partitions_def=MONTHS)
    def later() -> None:
        gc.collect()  # a step is a cycle
        assert stored[0]() is None

    job = dg.Definitions(
        [made, later], resources={"io_manager": manager}, jobs=[dg.define_asset_job("both")]
    ).resolve_job_def("both")
    with dg.DagsterInstance.ephemeral() as instance:
        assert job.execute_in_process(instance=instance, partition_key="2021-10").success
    value = load(manager, "2021-10")
    assert isinstance(value, Snapshot)
    assert value.digest == snapshot_of("2021-10").digest


def test_a_hole_in_the_window_is_an_error_that_names_the_months(manager: MonthStoreIOManager) -> None:
    """Guards against a model trained around a month that nobody misses, and says how to fill it."""
    save(manager, "2021-10", "2021-12", "2022-02")
    with pytest.raises(dg.Failure) as missing:
        load(manager, "2022-02", SO_FAR)
    assert isinstance(missing.value.__cause__, MissingMonthsError)
    message = str(missing.value)
    assert message.startswith("feature_store_snapshot was never materialised for 2021-11, 2022-01. ")
    assert "nba-ml backfill --from 2021-11 --to 2022-01 --only-missing --assets feature_store_snapshot" in message


def test_a_long_hole_is_counted(manager: MonthStoreIOManager) -> None:
    """Guards against a message of all months since the first."""
    save(manager, "2021-10")
    with pytest.raises(dg.Failure, match="2021-11, 2021-12, 2022-01, 2022-02, 2022-03, 2022-04 and 4 more months"):
        load(manager, "2022-11", SO_FAR)


def test_a_single_missing_month_is_an_error_too(manager: MonthStoreIOManager) -> None:
    """Guards against None where an asset expects its month."""
    with pytest.raises(dg.Failure, match=r"was never materialised for 2021-11\."):
        load(manager, "2021-11")
