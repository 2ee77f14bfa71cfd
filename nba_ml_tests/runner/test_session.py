"""What opening a home asks of the store and of Dagster: it must not grow with the number of months."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy

from nba_ml.contract.assets import MONTHLY_ASSETS
from nba_ml.defs import build, check_results
from nba_ml.runner.check_run import check_month
from nba_ml.runner.home import open_instance
from nba_ml.runner.session import open_session
from nba_ml.settings import Settings
from nba_ml_tests.cli.command import Home
from nba_ml_tests.runner.conftest import THREE, Calls, count, settings_of
from nba_ml_tests.trained_home import MONTHS

pytestmark = pytest.mark.slow


def test_a_session_builds_the_graph_once(trained: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards against a graph that is built at an import and then once more."""
    built = count(monkeypatch, build, "build_assets")
    with open_session(settings_of(trained)):
        pass
    assert len(built) == 1


def test_given_settings_are_the_only_ones_that_are_read(trained: Home) -> None:
    """Guards a user's own test suite: a setting in the environment, which it does not use, failed its import."""
    code = (
        "import os, sys\n"
        "from nba_ml.settings import Settings\n"
        "mine = Settings.from_environment(dict(os.environ))\n"
        "os.environ['NBA_ML_THREADS'] = 'zero'\n"
        "from nba_ml.defs import build\n"
        "import nba_ml.runner.backfill\n"
        "print(sorted({'xgboost', 'scipy', 'matplotlib', 'sqlglot'} & sys.modules.keys()))\n"
        "built, original = [], build.build_assets\n"
        "def counting(*args, **named):\n"
        "    built.append(args)\n"
        "    return original(*args, **named)\n"
        "build.build_assets = counting\n"
        "from nba_ml.testing import check_month\n"
        f"report = check_month('{THREE[1]}', settings=mine)\n"
        "report.require_passed()\n"
        "print(len(built), len(report.outcomes) > 0, 'nba_ml.definitions' in sys.modules)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], env=trained.environment(), cwd=trained.root.parent, capture_output=True, text=True
    )
    assert (ended.returncode, ended.stdout) == (0, "[]\n1 True False\n"), ended.stderr


def test_opening_a_session_lists_the_store_once_and_reads_nothing(trained: Home, calls: Calls) -> None:
    """Guards a home of 36 months: opening it downloaded and hashed every month's model."""
    with open_session(settings_of(trained)):
        assert calls == {"names": 1}


def test_only_the_models_that_a_month_needs_are_read(trained: Home, calls: Calls) -> None:
    """Guards against a look at one month that hashes the models of all: it needs its own and the one before."""
    with open_session(settings_of(trained)) as session:
        for _ in range(2):
            assert session.planner.out_of_date(THREE[2], MONTHLY_ASSETS) == ()
            assert session.planner.can_grade(THREE[2])
    assert calls == {
        "names": 2,  # the store's and the published ones
        "read xgboost_model": 2,
        "read boosters": 2,
        "read gcs_artifact": 1,
    }


def test_which_months_have_a_model_is_one_listing(trained: Home, calls: Calls) -> None:
    """Guards `nba-ml check`, which listed the bucket once for each month."""
    with open_session(settings_of(trained)) as session:
        calls.clear()
        assert session.planner.stored_months("xgboost_model") == {*MONTHS}
        assert calls == {"names": 1}
        calls.clear()
        assert session.planner.stored_assets(THREE[0]) == {*MONTHLY_ASSETS}
        assert calls == {"names": 1}
        calls.clear()
        check_month(session, THREE[1])
        assert calls["names"] == 1


def test_results_of_checks_are_asked_for_all_months_at_once(trained: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards against a query for each month, check or refused model, where nothing is to be done."""
    queries = count(monkeypatch, check_results, "latest_check_executions")
    with open_session(settings_of(trained)) as session:
        done = list(session.run(THREE, MONTHLY_ASSETS, only_missing=True))
    assert [(each.month, each.assets) for each in done] == [(month, ()) for month in THREE]
    assert len(queries) == 1


def test_engines_of_dagsters_databases_are_used_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards a run's events: each made an engine of its own, which compiled every statement anew."""
    made = count(monkeypatch, sqlalchemy, "create_engine")
    settings = Settings.from_environment({"NBA_ML_HOME": str(tmp_path)})
    with open_instance(settings) as instance:
        for number in range(3):
            instance.report_runless_asset_event(dg.AssetMaterialization("made", metadata={"number": number}))
        assert len(instance.fetch_materializations(dg.AssetKey("made"), limit=9).records) == 3
    urls = [str(url) for url, *_ in made]
    assert any(url.endswith("index.db") for url in urls)
    assert len(urls) == len(set(urls))
