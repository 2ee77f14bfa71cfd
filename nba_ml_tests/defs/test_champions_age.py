"""How old the champion is: by the games that it was given, read from what was published with it."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import dagster as dg
import pytest

from nba_ml.contract.systems import XGBOOST_V1
from nba_ml.contract.thresholds import Thresholds
from nba_ml.defs.health import read_release
from nba_ml.monitoring.health import Level, champion_not_too_old
from nba_ml.registry.channel import Channel
from nba_ml.registry.manifest import BundleNames
from nba_ml.registry.moves import move_channel
from nba_ml.registry.promotion import promote
from nba_ml.registry.release_context import ReleaseContext
from nba_ml.registry.systems.interface import TrainingExtent
from nba_ml.registry.systems.loading import find_model
from nba_ml.storage.directory import DirectoryStore
from nba_ml_tests.release_scene import AT, as_of, bench_of, registered_file, retrained

pytestmark = pytest.mark.slow

MONTHS = ("2021-11", "2021-12", "2022-01")
LIMITS = Thresholds(max_champion_age_days=15, max_retraining_delay_days=7)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "artifacts"


@pytest.fixture
def bench(root: Path, tmp_path: Path) -> ReleaseContext:
    """All four months are there; nothing is published."""
    return bench_of(DirectoryStore(root), DirectoryStore(tmp_path / "store"))


def test_a_model_of_half_a_month_is_as_old_as_its_games(bench: ReleaseContext) -> None:
    """Guards against '0 playing days ago' of a champion that was given a third of the month, for ever."""
    retrained(bench, as_of(date(2022, 1, 12)))
    promote(bench, AT)
    with dg.DagsterInstance.ephemeral() as instance:
        release = read_release(instance, bench.objects, MONTHS, [XGBOOST_V1])
    assert release.champion is not None
    assert release.champion.learnt_until == date(2022, 1, 12)
    found = champion_not_too_old(release, AT, LIMITS)
    assert found.level is Level.RED
    assert "was trained on games up to 2022-01-12, 19 playing days ago" in found.said


def test_a_catboost_is_as_old_as_its_trainer_says_and_is_not_loaded(bench: ReleaseContext) -> None:
    """Guards the standing checks on a machine without the extra: they read a manifest, and need no CatBoost."""
    identity = registered_file(bench.objects, TrainingExtent(date(2021, 12, 1), date(2021, 12, 20)))
    model = find_model(bench.objects, identity)
    move_channel(bench.objects, lambda _: Channel(serial=1, champion=model, kind="promote", reason="x", moved_at=AT))
    with dg.DagsterInstance.ephemeral() as instance:
        champion = read_release(instance, bench.objects, MONTHS, [XGBOOST_V1]).champion
    assert champion is not None
    assert (champion.model_id, champion.learnt_until) == (identity, date(2021, 12, 20))


def test_a_champion_whose_bundle_is_damaged_is_a_finding(bench: ReleaseContext, root: Path) -> None:
    """Guards the other findings: a damaged bundle is red by name, and hides none of them."""
    identity = retrained(bench, as_of(date(2022, 1, 12)))
    promote(bench, AT)
    (root / BundleNames.of(identity).record).write_bytes(b"{}")
    with dg.DagsterInstance.ephemeral() as instance:
        found = champion_not_too_old(read_release(instance, bench.objects, MONTHS, [XGBOOST_V1]), AT, LIMITS)
    assert found.level is Level.RED
    assert f"The age of {identity} is unknown" in found.said
    assert "_metadata.json: expected " in found.said
