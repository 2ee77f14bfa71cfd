"""A month whose history other runs are about to make waits for them, goes behind them, or fails at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.remote_origin import GrpcServerCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin

from nba_ml.checks.registry import STORED
from nba_ml.contract.systems import XGBOOST_V1
from nba_ml.defs import waiting
from nba_ml.defs.assets import train_split
from nba_ml.defs.internals import make_new_run_id
from nba_ml.defs.io_manager import MonthStoreIOManager
from nba_ml.defs.partitions import HISTORY, History, season_months
from nba_ml.storage.directory import DirectoryStore
from nba_ml.storage.months import MonthStore
from nba_ml_tests.conftest import snapshot_of

pytestmark = pytest.mark.slow

SNAPSHOT = dg.AssetKey("feature_store_snapshot")
MONTHS = season_months("2021-10", "2022-01")
SPLIT = train_split.build(MONTHS, XGBOOST_V1)
MONTH = "2021-12"

QUEUED, STARTED = dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.STARTED


@pytest.fixture
def instance(monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    monkeypatch.setattr(waiting, "WAIT_SECONDS", 0.01)
    monkeypatch.setattr(waiting, "MOST_WAITS", 2)
    with dg.DagsterInstance.ephemeral(settings={"run_retries": {"enabled": True}}) as instance:
        yield instance


def add_run(
    instance: dg.DagsterInstance, month: str, status: dg.DagsterRunStatus, assets: set[dg.AssetKey] | None
) -> None:
    """A run of another process."""
    location = GrpcServerCodeLocationOrigin("localhost", port=4000, location_name="nba_ml")
    instance.add_run(
        dg.DagsterRun(
            "other",
            run_id=make_new_run_id(),
            status=status,
            tags={"dagster/partition": month},
            asset_selection=None if assets is None else frozenset(assets),
            remote_job_origin=RemoteJobOrigin(RemoteRepositoryOrigin(location, "repository"), "other"),
        )
    )


def with_snapshot(root: Path, month: str) -> Path:
    """A store that has the snapshot of one month; which month's rows it has does not matter here."""
    MonthStore(DirectoryStore(root)).save(STORED[SNAPSHOT.to_user_string()], month, snapshot_of("2021-10"))
    return root


def split(instance: dg.DagsterInstance, root: Path) -> tuple[dg.DagsterRun, int, str]:
    """Make the split of the month from an empty store; the run, how often it was tried again, and its error."""
    result = dg.materialize(
        [SPLIT, dg.AssetSpec(SNAPSHOT, partitions_def=MONTHS)],
        selection=[SPLIT],
        instance=instance,
        partition_key=MONTH,
        resources={"io_manager": MonthStoreIOManager(str(root))},
        raise_on_error=False,
    )
    run = instance.get_run_by_id(result.run_id)
    assert run is not None
    retries = [event for event in result.all_events if event.event_type is dg.DagsterEventType.STEP_UP_FOR_RETRY]
    failure = next(event for event in result.all_events if event.is_step_failure)
    return run, len(retries), str(failure.step_failure_data.error)


@pytest.mark.parametrize("assets", [{SNAPSHOT}, None], ids=["selected", "whole job"])
def test_it_waits_for_runs_that_have_begun(
    instance: dg.DagsterInstance, tmp_path: Path, assets: set[dg.AssetKey] | None
) -> None:
    """Guards months that start at the same time: each but the first failed, as a month of its history was missing."""
    for month in ("2021-10", "2021-11"):
        add_run(instance, month, STARTED, assets)
    # The month's own snapshot is there, or it would be missing too.
    root = with_snapshot(tmp_path, MONTH)
    run, retries, error = split(instance, root)
    assert retries == 2
    assert "Exceeded max_retries of 2" in error
    assert "feature_store_snapshot was never materialised for 2021-10, 2021-11" in error
    assert "dagster/max_retries" not in run.tags


def test_it_goes_behind_runs_that_are_queued(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    """Guards a queue whose places are all held by runs that wait for those behind them."""
    add_run(instance, "2021-10", STARTED, None)
    add_run(instance, "2021-11", QUEUED, None)
    run, retries, error = split(instance, with_snapshot(tmp_path, MONTH))
    assert retries == 0
    assert "feature_store_snapshot of 2021-11 is still to be made by runs in the queue." in error
    assert run.tags["dagster/max_retries"] == "3"
    assert run.tags["dagster/retry_on_asset_or_op_failure"] == "true"
    assert run.tags["dagster/will_retry"] == "true"


def test_a_run_that_begins_while_it_is_looked_for_is_found(
    instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards against a failure at the moment in which another run leaves the queue: it was neither there nor begun."""
    add_run(instance, "2021-10", STARTED, None)
    add_run(instance, "2021-11", QUEUED, None)
    original = instance.get_runs

    def get_runs(filters: dg.RunsFilter) -> Sequence[dg.DagsterRun]:
        found = original(filters)
        for run in original(dg.RunsFilter(statuses=[QUEUED])):
            instance.report_dagster_event(dg.DagsterEvent("PIPELINE_START", "other"), run.run_id)
        return found

    monkeypatch.setattr(instance, "get_runs", get_runs)
    _, _, error = split(instance, with_snapshot(tmp_path, MONTH))
    assert "feature_store_snapshot of 2021-11 is still to be made by runs in the queue." in error


def test_a_run_that_ends_before_it_is_looked_for_has_made_its_months(
    instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards against a failure at the moment in which the other run ends: its months were missing a moment before."""
    root = with_snapshot(tmp_path, MONTH)

    def get_runs(_: dg.RunsFilter) -> Sequence[dg.DagsterRun]:
        for month in ("2021-10", "2021-11"):
            with_snapshot(root, month)
        return []

    monkeypatch.setattr(instance, "get_runs", get_runs)
    loaded = MonthStoreIOManager(str(root)).load_input(
        dg.build_input_context(
            asset_key=SNAPSHOT,
            asset_partitions_def=MONTHS,
            asset_partition_key_range=dg.PartitionKeyRange(MONTH, MONTH),
            definition_metadata={HISTORY: History.SO_FAR},
            instance=instance,
        )
    )
    assert isinstance(loaded, Mapping)
    assert list(loaded) == ["2021-10", "2021-11", MONTH]


@pytest.mark.parametrize(
    ("month", "status", "assets", "own"),
    [
        pytest.param("2021-11", STARTED, None, True, id="one month has no run"),
        pytest.param("2021-10", STARTED, {dg.AssetKey("predictions")}, True, id="makes another asset"),
        pytest.param("2021-10", dg.DagsterRunStatus.FAILURE, None, True, id="has failed"),
        pytest.param(MONTH, STARTED, None, False, id="own month is missing"),
    ],
)
def test_it_fails_at_once_where_nobody_makes_the_history(
    instance: dg.DagsterInstance,
    tmp_path: Path,
    month: str,
    status: dg.DagsterRunStatus,
    assets: set[dg.AssetKey] | None,
    own: bool,
) -> None:
    """Guards the error that says what to run: ten minutes of waiting for nobody."""
    add_run(instance, month, status, assets)
    if not own:
        add_run(instance, "2021-10", STARTED, None)
        add_run(instance, "2021-11", STARTED, None)
    run, retries, error = split(instance, with_snapshot(tmp_path, MONTH) if own else tmp_path)
    assert retries == 0
    assert "nba-ml backfill --from 2021-10" in error
    assert "dagster/max_retries" not in run.tags
