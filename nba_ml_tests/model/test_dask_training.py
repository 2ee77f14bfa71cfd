"""Training by real workers: a scheduler and two workers, each a process, which read the snapshots from a store."""

from __future__ import annotations

import re
import shutil
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from distributed import Client, Status, Worker

from nba_ml.contract.errors import StaleInputError, TrainingError
from nba_ml.contract.features import REPORTED, V4_FEATURES
from nba_ml.contract.season import month_bounds
from nba_ml.contract.systems import XGBOOST_V1, XGBOOST_V3, System
from nba_ml.data.features import compute_features
from nba_ml.data.snapshot import MonthRows, Snapshot, take_snapshot
from nba_ml.data.split import SplitManifest, split_by_date
from nba_ml.data.stored import SNAPSHOT
from nba_ml.data.tables import PROP_LINES
from nba_ml.model.dask_training import DaskEngine, _Team
from nba_ml.model.dask_worker import Share, fit_share, months_of
from nba_ml.model.engine import TrainingEngine
from nba_ml.model.fitting import Samples, fit, gather, load, predict
from nba_ml.storage.months import MonthStore
from nba_ml.storage.opening import open_objects
from nba_ml_tests.conftest import COMPUTED_AT, QUICK, snapshot_of, summary_of
from nba_ml_tests.model.dask_cluster import Cluster, running_cluster

pytestmark = pytest.mark.slow

MONTHS = ("2021-10", "2021-11", "2021-12")
REFITTED = QUICK.model_copy(update={"refit": True})
"""Two boosters, as models are shipped."""

LONG = QUICK.model_copy(update={"num_boost_round": 100_000, "early_stopping_rounds": 100_000})
"""A training that does not end while the test lasts."""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two workers. A test that loses one starts another."""
    with running_cluster(tmp_path_factory.mktemp("cluster"), workers=2) as running:
        yield running


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with the snapshots of the months, for both systems."""
    root = tmp_path_factory.mktemp("store")
    months = MonthStore(open_objects(str(root)))
    for month in MONTHS:
        history = pa.concat_tables([summary_of(each) for each in MONTHS if each <= month])
        months.save(SNAPSHOT.of(XGBOOST_V1), month, snapshot_of(month))
        features = compute_features(
            history, PROP_LINES.empty_table(), *month_bounds(month), computed_at=COMPUTED_AT, version=V4_FEATURES
        )
        reported = take_snapshot(MonthRows.of_tables(features, summary_of(month), V4_FEATURES), month, V4_FEATURES)
        months.save(SNAPSHOT.of(XGBOOST_V3), month, reported)
    return root


def split_in(store: Path, system: System) -> SplitManifest:
    """The split of a system's months in a store."""
    found = snapshots_in(store, system)
    return split_by_date({m: (each.digest, each.table.column("game_date").to_numpy()) for m, each in found.items()})


def snapshots_in(store: Path, system: System) -> dict[str, Snapshot]:
    """A system's months in a store."""
    return MonthStore(open_objects(str(store))).require(SNAPSHOT.of(system), MONTHS)


def rows_in(store: Path, system: System) -> Samples:
    """All rows of the split, as one process has them."""
    tables = {month: each.table for month, each in snapshots_in(store, system).items()}
    return gather(tables, split_in(store, system), system.features)


def engine(cluster: Cluster, store: Path, system: System = XGBOOST_V1) -> DaskEngine:
    return DaskEngine(cluster.address, str(store), system)


# --- who gets what --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("system", [XGBOOST_V1, XGBOOST_V3], ids=lambda system: system.id)
def test_the_shares_together_are_the_rows_of_one_process(store: Path, system: System) -> None:
    """Guards against rows of other sides among those that are learned, and a version with reports that learns once."""
    split = split_in(store, system)
    assert split.train is not None
    months = {ref.month for ref in months_of(split, split.train)}
    share = Share(str(store), system.id, split, tuple(months), rank=0, workers=2)
    times = 2 if system.features.reads_reports else 1
    learned = [share.learned(month) for month in sorted(months)]
    assert sum(map(len, learned)) == split.train.rows * times
    if times == 2:
        columns = [V4_FEATURES.index(name) for name in REPORTED]
        assert all(np.isnan(part.features[len(part) // 2 :, columns]).all() for part in learned)
    sides = rows_in(store, system).sides(split)
    for rank in range(2):
        features, points = Share(str(store), system.id, split, (), rank, workers=2).early_stopping()
        np.testing.assert_array_equal(features, sides["early_stopping"].features[rank::2])
        np.testing.assert_array_equal(points, sides["early_stopping"].points[rank::2])


# --- training -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("system", [XGBOOST_V1, XGBOOST_V3], ids=lambda system: system.id)
def test_as_many_workers_fit_the_same_booster_again_and_one_as_good(
    cluster: Cluster, store: Path, system: System
) -> None:
    """Guards against ranks by address or rows by chance, which gave another model each time, and against rows that
    are lost between the workers: the booster is as good as that of one process."""
    split = split_in(store, system)
    first, shipped = engine(cluster, store, system).fit(split, REFITTED)
    again, shipped_again = engine(cluster, store, system).fit(split, REFITTED)
    assert (first, shipped) == (again, shipped_again)
    assert first.engine == TrainingEngine(name="dask", workers=2)
    sides = rows_in(store, system).sides(split)
    alone = fit(sides["train"], sides["early_stopping"], REFITTED, system.features, threads=1)

    def missed(booster: bytes) -> float:
        rows = sides["validation"]
        return float(np.abs(predict(booster, rows.features, 1) - rows.points).mean())

    assert first.booster != alone.booster
    assert missed(first.booster) == pytest.approx(missed(alone.booster), rel=0.02)
    assert first.early_stopping_mae == pytest.approx(alone.early_stopping_mae, rel=0.02)
    assert load(first.booster).num_boosted_rounds() == load(shipped).num_boosted_rounds() == first.best_iteration + 1
    assert load(shipped).feature_names == list(system.features.names)
    assert shipped != first.booster


def test_three_workers_fit_the_same_booster_in_any_order(store: Path, tmp_path: Path) -> None:
    """Guards the ranks: of two workers the sums are the same in either order, of three they are not."""
    split = split_in(store, XGBOOST_V3)
    with running_cluster(tmp_path, workers=3) as three, Client(three.address, set_as_default=False) as client:
        ours, addresses = engine(three, store, XGBOOST_V3), sorted(client.nthreads())
        with client.as_current():
            orders = [tuple(addresses[place] for place in order) for order in ((0, 1, 2), (2, 0, 1), (1, 0, 2))]
            found = [ours._fit(_Team(client, three.address, order), split, REFITTED) for order in orders]
    assert found[0][0].engine == TrainingEngine(name="dask", workers=3)
    assert found[0] == found[1] == found[2]


def test_no_worker_is_without_a_month(cluster: Cluster, store: Path) -> None:
    """Guards the first months of a history: a worker without rows breaks off the others' training."""
    found = snapshots_in(store, XGBOOST_V1)["2021-11"]
    split = split_by_date({"2021-11": (found.digest, found.table.column("game_date").to_numpy())})
    fitted, _ = engine(cluster, store).fit(split, QUICK)
    assert fitted.engine == TrainingEngine(name="dask", workers=1)


def test_two_trainings_take_turns(cluster: Cluster, store: Path) -> None:
    """Guards against a deadlock: each of two trainings has one worker, and waits for the other's."""
    split = split_in(store, XGBOOST_V1)
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(engine(cluster, store).fit, split, QUICK) for _ in range(2)]
        first, second = (each.result(timeout=120) for each in both)
    assert first == second


# --- what goes wrong ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lost", [0, 1], ids=["the first", "the second"])
def test_a_lost_worker_ends_the_training_in_one_error(
    cluster: Cluster, store: Path, lost: int, capfd: pytest.CaptureFixture[str]
) -> None:
    """Guards against a training that waits for a worker that is gone. The first runs the tracker, too."""
    split = split_in(store, XGBOOST_V1)
    by_address = sorted((cluster.address_of(number), number) for number in cluster.alive())
    address, number = by_address[lost]
    with (
        cluster.killed_in_training(cluster.workers[number], number),
        pytest.raises(TrainingError, match=f"of 2 workers, .* has lost {address}") as raised,
    ):
        engine(cluster, store).fit(split, LONG)
    assert "Nothing was stored" in str(raised.value)
    assert capfd.readouterr().err == "", "the error is all that is said"
    cluster.add(1)
    assert engine(cluster, store).fit(split, QUICK)[0].engine == TrainingEngine(name="dask", workers=2)


def test_a_paused_worker_ends_the_training_in_one_error(
    cluster: Cluster, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards against a training that waits for ever for a worker whose memory is nearly full. A pause that ends counts
    for nothing.
    """
    split = split_in(store, XGBOOST_V1)
    address = cluster.address_of(cluster.alive()[0])

    def turn(status: Status) -> None:
        def of_worker(dask_worker: Worker) -> None:
            dask_worker.status = status

        with Client(cluster.address, set_as_default=False) as client:
            client.run(of_worker, workers=[address])

    turn(Status.paused)
    try:
        with monkeypatch.context() as patch:
            patch.setattr("nba_ml.model.dask_training.PAUSED_SECONDS", 2)
            with pytest.raises(TrainingError, match=f"{address} took no work for 2 seconds"):
                engine(cluster, store).fit(split, QUICK)
        with ThreadPoolExecutor(1) as pool:
            training = pool.submit(engine(cluster, store).fit, split, QUICK)
            time.sleep(3)
            assert not training.done()
            turn(Status.running)
            assert training.result(timeout=120)[0].engine == TrainingEngine(name="dask", workers=2)
    finally:
        turn(Status.running)


def test_a_lost_scheduler_ends_the_training_in_one_error(
    store: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Guards against a training that hangs, or pages of Dask's own tracebacks, when the connection breaks."""
    with (
        running_cluster(tmp_path, workers=1) as own,
        own.killed_in_training(own.scheduler, 0),
        pytest.raises(TrainingError, match=f"The connection to the scheduler {own.address} broke"),
    ):
        engine(own, store).fit(split_in(store, XGBOOST_V1), LONG)
    assert capfd.readouterr().err == ""


def test_a_worker_that_was_restarted_does_not_take_the_lost_ones_place(cluster: Cluster, store: Path) -> None:
    """Guards against a new process at the same address: Dask gives it the lost one's work, and nobody waits for it."""
    share = Share(str(store), XGBOOST_V1.id, split_in(store, XGBOOST_V1), ("2021-11",), rank=0, workers=1)
    with Client(cluster.address, set_as_default=False) as client:
        other_process = client.submit(fit_share, share, QUICK, {}, -1, pure=False)
        with pytest.raises(TrainingError, match="was restarted during the training"):
            other_process.result(timeout=300)


def test_a_store_that_a_worker_cannot_read_is_named(cluster: Cluster, store: Path, tmp_path: Path) -> None:
    """Guards against a folder of this machine that a worker of another one looks for in vain."""
    split = split_in(store, XGBOOST_V1)
    with pytest.raises(
        TrainingError, match=r"The worker tcp://127\.0\.0\.1:\d+ does not find .*2021-1\d\.parquet.*Set NBA_ML_STORE"
    ):
        engine(cluster, tmp_path / "not there").fit(split, QUICK)


def test_a_changed_snapshot_is_refused_by_the_worker_that_reads_it(
    cluster: Cluster, store: Path, tmp_path: Path
) -> None:
    """Guards against a record that names other rows than the workers read."""
    split = split_in(store, XGBOOST_V1)
    copy = shutil.copytree(store, tmp_path / "store")
    months = MonthStore(open_objects(str(copy)))
    months.save(SNAPSHOT, "2021-12", snapshot_of("2021-11"))
    with pytest.raises(StaleInputError, match="The snapshots of 2021-12 are not the ones"):
        engine(cluster, copy).fit(split, QUICK)


def test_no_scheduler_and_no_workers_are_said(store: Path, tmp_path: Path) -> None:
    """Guards against an endless wait for a cluster that nobody started."""
    split = split_in(store, XGBOOST_V1)
    with running_cluster(tmp_path, workers=0) as empty:
        with pytest.raises(TrainingError, match=r"has no workers\. Start some: `dask worker"):
            engine(empty, store).fit(split, QUICK)
        empty.scheduler.kill()
        empty.scheduler.wait()
        with pytest.raises(TrainingError, match=f"no scheduler answers there: .*{empty.address}.*dask scheduler"):
            engine(empty, store).fit(split, QUICK)


def test_workers_with_other_versions_are_refused(store: Path, tmp_path: Path) -> None:
    """Guards against a booster of another XGBoost, and an error from within Dask where a package is missing."""
    packages = tmp_path / "packages"
    packages.mkdir()
    for each in Path(np.__file__).parents[1].iterdir():
        if not each.name.startswith(("xgboost", "nba_ml", "_nba_ml", "__editable__")):
            (packages / each.name).symlink_to(each)
    older = packages / "nba_ml-0.0.1.dist-info"
    older.mkdir()
    (older / "METADATA").write_text("Metadata-Version: 2.1\nName: nba_ml\nVersion: 0.0.1\n")
    with running_cluster(tmp_path, workers=0) as cluster:
        # The interpreter under the environment, which has none of its packages.
        cluster.add(1, python=sys._base_executable, environ={"PYTHONPATH": str(packages)})  # type: ignore[attr-defined]
        with pytest.raises(TrainingError, match=r"nba_ml 0\.0\.1") as raised:
            engine(cluster, store).fit(split_in(store, XGBOOST_V1), QUICK)
    assert re.search(r"tcp://127\.0\.0\.1:\d+ has nba_ml 0\.0\.1 \(here [\d.]+\), xgboost missing", str(raised.value))
