"""Runs side by side on one Postgres and one store make what they make one after the other."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from nba_ml.contract.assets import CHAIN, HOME_TAG, PID_TAG
from nba_ml.runner.home import fail_orphaned_runs, home_of
from nba_ml_tests.cli.command import Home
from nba_ml_tests.deploy.side_by_side import run_months, write_dagster_yaml
from nba_ml_tests.trained_home import REFUSED_MONTHS as MONTHS
from nba_ml_tests.trained_home import TrainedHomes


@pytest.fixture
def home(tmp_path: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> Home:
    """An empty home whose instance is in Postgres."""
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", postgres_url)
    write_dagster_yaml(tmp_path / "home")
    return Home(tmp_path / "home")


def test_months_at_once_and_out_of_order_publish_the_same_models(home: Home, trained_homes: TrainedHomes) -> None:
    """Guards against a model trained without the months that other runs are still making: it waits for them."""
    environ = {**home.environment(), "NBA_ML_DATA": str(trained_homes.refused.data), "NBA_ML_SYSTEMS": "xgboost_v1"}
    assert run_months(environ, "monthly_chain", [*reversed(MONTHS)], at_once=3, delay=4) == [True] * 3
    with home.instance() as instance:
        runs = {run.tags["dagster/partition"]: run.run_id for run in instance.get_runs()}
        retried = instance.all_logs(runs[MONTHS[-1]], of_type=dg.DagsterEventType.STEP_UP_FOR_RETRY)
    assert retried, "the last month began first, and waited for nothing"
    ours, theirs = home.versions(), trained_homes.published.versions()
    assert ours.keys() == {(asset, month) for asset in CHAIN for month in MONTHS}
    assert ours == {key: theirs[key] for key in ours}
    files = home.files("artifacts")
    assert sum(name.endswith("_manifest.json") for name in files) == 2, [*files]  # the first month has no model
    assert files.items() <= trained_homes.published.files("artifacts").items()


def test_a_command_leaves_the_runs_of_other_homes_alone(home: Home) -> None:
    """Guards a shared database: a command that began marked the runs of another machine's command as failed."""
    with home.instance() as instance:
        runs = {
            name: instance.create_run_for_job(
                dg.job(name="nothing")(lambda: None), status=dg.DagsterRunStatus.STARTED, tags=tags
            ).run_id
            for name, tags in {
                "ours": {PID_TAG: "1", HOME_TAG: home_of(instance)},
                "another machine's": {PID_TAG: "1", HOME_TAG: f"elsewhere:{instance.root_directory}"},
                "the launcher's": {},
            }.items()
        }
        assert fail_orphaned_runs(instance) == 1
        status = {name: instance.get_run_by_id(run_id).status for name, run_id in runs.items()}  # type: ignore[union-attr]
    started = dg.DagsterRunStatus.STARTED
    assert status == {
        "ours": dg.DagsterRunStatus.FAILURE,
        "another machine's": started,
        "the launcher's": started,
    }
