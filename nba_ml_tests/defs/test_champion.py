"""`champion` through Dagster: the latest published model proposed, and what the UI shows of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from nba_ml.checks.registry import STORED
from nba_ml.registry.channel import CHAMPION, read_channel
from nba_ml.registry.manifest import BundleNames
from nba_ml.registry.production import keep_production
from nba_ml_tests.conftest import snapshot_of
from nba_ml_tests.defs.test_chain import Home, failure, opened
from nba_ml_tests.release_scene import MONTHS, SLOW_LEARNER, published_model

pytestmark = pytest.mark.slow


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    """The snapshots of four months, and nothing published."""
    with opened(tmp_path / "home") as home:
        for month in MONTHS:
            home.months.save(STORED["feature_store_snapshot"], month, snapshot_of(month))
        yield home


def test_a_new_home_has_no_champion_and_says_so(home: Home) -> None:
    """Guards against a button that fails in a new home."""
    found = home.facts("champion")
    assert found["note"] == "nothing is published yet, so nothing serves"
    assert found["pointer"] == home.artifacts.uri(CHAMPION)
    assert read_channel(home.artifacts) is None


def test_what_serves_and_why_is_there_to_read(home: Home) -> None:
    """Guards against a promotion that nobody can follow up: the numbers are metadata, under stable keys."""
    older = published_model(home.artifacts, "2021-11")
    found = home.facts("champion")
    assert (found["serial"], found["champion"], found["promoted"]) == (1, older, True)
    newer = published_model(home.artifacts, "2021-12")
    found = home.facts("champion")
    assert found["candidate"] == newer
    assert isinstance(found["gain_over_champion"], float)
    assert found["compared_rows"] == 4901
    assert "| unseen" in str(found["evidence"])
    assert "| newer" in str(found["conditions"])
    state = read_channel(home.artifacts)
    assert state is not None
    assert found["promoted"] is (state.champion.model_id == newer)


def test_a_refused_candidate_is_no_failure_and_the_reason_is_recorded(home: Home) -> None:
    """Guards against a red run for a decision that worked, and against a silent one."""
    older = published_model(home.artifacts, "2021-12")
    home.make("champion")
    worse = published_model(home.artifacts, "2022-01", SLOW_LEARNER)
    found = home.facts("champion")
    assert (found["champion"], found["candidate"], found["promoted"], found["serial"]) == (older, worse, False, 1)
    assert "does not become the champion. Not met: grade: MAE" in str(found["decision"])
    assert "| grade" in str(found["conditions"])


def test_a_system_of_the_platform_can_be_the_one_to_beat(home: Home) -> None:
    """Guards the field of the launchpad, and the numbers beside the champion's."""
    published_model(home.artifacts, "2021-12")
    table = snapshot_of("2022-01").table
    for off, promoted in ((1.0, False), (9.0, True)):
        rows = pa.table(
            {
                "player_lookup": table.column("player_lookup"),
                "game_date": table.column("game_date"),
                "predicted_points": pa.array(table.column("points").to_numpy() + off),
                "made": pa.array(["ahead"] * table.num_rows),
            }
        )
        keep_production(home.months.objects, "2022-01", "moving_average", rows)
        found = home.facts("champion", beat="moving_average")
        assert found["promoted"] is promoted, found["decision"]
        assert found["beat"] == "production_moving_average"
        assert (float(str(found["gain_over_production"])) > 0) is promoted
        assert "beats_production" in str(found["conditions"])


def test_a_champion_whose_bundle_is_damaged_is_a_failure(home: Home) -> None:
    """Guards against a green run over a champion that no worker can load."""
    name = BundleNames.of(published_model(home.artifacts, "2021-12")).booster
    home.make("champion")
    (home.artifacts.root / name).write_bytes(b"{}")
    published_model(home.artifacts, "2022-01")
    result = home.make("champion")
    assert not result.success
    assert "bytes; found 2." in failure(result, "champion")
