"""Which assets of a month are out of date, on a real home whose files and event log are changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest

from nba_ml.contract.assets import MONTHLY_ASSETS
from nba_ml.defs.assets.recording import INPUTS
from nba_ml.runner.session import open_session
from nba_ml_tests.cli.command import Home
from nba_ml_tests.limits import LENIENT
from nba_ml_tests.runner.conftest import THREE, settings_of

pytestmark = pytest.mark.slow

TRAINED = ("xgboost_model", "model_metadata", "gcs_artifact")


def out_of_date(home: Home, *months: str) -> dict[str, tuple[str, ...]]:
    with open_session(settings_of(home)) as session:
        return {month: session.planner.out_of_date(month, MONTHLY_ASSETS) for month in months}


def booster(home: Home, month: str) -> Path:
    return home.root / "store/boosters" / f"{home.versions()['xgboost_model', month]}.json"


@pytest.mark.parametrize(
    "harm",
    [Path.unlink, lambda file: file.write_bytes(file.read_bytes()[:-1]), lambda file: file.write_bytes(b"")],
    ids=["missing", "one byte short", "empty"],
)
def test_a_damaged_model_is_out_of_date(copied: Home, harm: Callable[[Path], object]) -> None:
    """Guards the promise of --only-missing, now that a model is verified only when its month is asked about."""
    harm(booster(copied, THREE[1]))
    found = out_of_date(copied, *THREE)
    assert found[THREE[0]] == ()
    assert set(TRAINED) <= set(found[THREE[1]])
    assert found[THREE[2]][0] == "predictions", "the month after was graded by that model"


def test_a_damaged_model_is_trained_again(copied: Home) -> None:
    """Guards against a model that is known to be damaged and stays so, and against more than that made again."""
    booster(copied, THREE[1]).write_bytes(b"")
    with open_session(settings_of(copied)) as session:
        assert not session.planner.can_grade(THREE[2])
        done = list(session.run(THREE, MONTHLY_ASSETS, only_missing=True))
    assert [(each.month, each.assets) for each in done] == [(THREE[0], ()), (THREE[1], TRAINED), (THREE[2], ())]
    assert out_of_date(copied, *THREE) == dict.fromkeys(THREE, ())


@pytest.mark.parametrize("record", ["gcs_artifact", "xgboost_model"])
def test_a_damaged_record_is_made_again(copied: Home, record: str) -> None:
    """Guards against a home that no command opens: a damaged record of what was published failed each of them."""
    (copied.root / f"store/{record}/{THREE[2]}.json").write_bytes(b'{"month": ')
    assert record in out_of_date(copied, THREE[2])[THREE[2]]


def test_checks_of_an_older_materialisation_do_not_count(copied: Home) -> None:
    """Guards against a value that was made again and never checked, taken for checked: same bytes, same inputs."""
    asset, month = "train_split", THREE[2]
    with copied.instance() as instance:
        [record] = instance.fetch_materializations(
            dg.AssetRecordsFilter(asset_key=dg.AssetKey(asset), asset_partitions=[month]), limit=1
        ).records
        event = record.asset_materialization
        assert event is not None
        instance.report_runless_asset_event(
            dg.AssetMaterialization(
                asset, partition=month, metadata={INPUTS: event.metadata[INPUTS]}, tags=dict(event.tags or {})
            )
        )
    with open_session(settings_of(copied)) as session:
        assert session.planner.out_of_date(month, [asset]) == ()
        missing = session.planner.unjudged(THREE, [asset])
        assert list(missing) == [(asset, month)]
        session.check(month, missing[asset, month])
        assert session.planner.unjudged(THREE, [asset]) == {}
    assert asset not in out_of_date(copied, month)[month]


def test_other_thresholds_ask_for_the_checks_again_and_for_nothing_else(copied: Home) -> None:
    """Guards against a verdict under a threshold of another day, and against training again to get a new one."""
    home = replace(copied, limits=LENIENT.model_copy(update={"min_gain": -9.0}))
    with open_session(settings_of(home)) as session:
        stale = session.planner.unjudged(THREE, MONTHLY_ASSETS)
        assert set(stale) == {("xgboost_model", month) for month in THREE}
        done = list(session.run(THREE, MONTHLY_ASSETS, only_missing=True))
        assert all(each.assets == () for each in done)
        assert [each.checked for each in done] == [tuple(check.key for check in checks) for checks in stale.values()]
        assert session.planner.unjudged(THREE, MONTHLY_ASSETS) == {}
