"""`champion` through Dagster: the latest published model proposed, and what the UI shows of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from nba_ml.core.channel import CHAMPION, read_channel
from nba_ml.core.manifest import BundleNames
from nba_ml_tests.assets.test_chain import Home, failure, materialised, opened
from nba_ml_tests.conftest import snapshot_of
from nba_ml_tests.release_scene import MONTHS, SLOW_LEARNER, published_model


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    """The snapshots of four months, and nothing published."""
    with opened(tmp_path / "home") as home:
        for month in MONTHS:
            home.months.save("feature_store_snapshot", month, snapshot_of(month))
        yield home


def champion(home: Home) -> dg.ExecuteInProcessResult:
    job = home.defs.resolve_implicit_global_asset_job_def().get_subset(
        asset_selection=frozenset([dg.AssetKey("champion")])
    )
    return job.execute_in_process(instance=home.instance, raise_on_error=False)


def facts(result: dg.ExecuteInProcessResult) -> dict[str, object]:
    assert result.success
    return {name: value.value for name, value in materialised(result)["champion"].metadata.items()}


def test_a_new_home_has_no_champion_and_says_so(home: Home) -> None:
    """Guards against a button that fails in a new home."""
    found = facts(champion(home))
    assert found["note"] == "nothing is published yet, so nothing serves"
    assert found["pointer"] == home.artifacts.uri(CHAMPION)
    assert read_channel(home.artifacts) is None


def test_what_serves_and_why_is_there_to_read(home: Home) -> None:
    """Guards against a promotion that nobody can follow up: the numbers are metadata, under stable keys."""
    older = published_model(home.artifacts, "2021-11")
    found = facts(champion(home))
    assert (found["serial"], found["champion"], found["promoted"]) == (1, older, True)
    newer = published_model(home.artifacts, "2021-12")
    found = facts(champion(home))
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
    champion(home)
    worse = published_model(home.artifacts, "2022-01", SLOW_LEARNER)
    found = facts(champion(home))
    assert (found["champion"], found["candidate"], found["promoted"], found["serial"]) == (older, worse, False, 1)
    assert "does not become the champion: MAE" in str(found["decision"])
    assert "| grade" in str(found["conditions"])


def test_a_champion_whose_bundle_is_damaged_is_a_failure(home: Home) -> None:
    """Guards against a green run over a champion that no worker can load."""
    name = BundleNames.of(published_model(home.artifacts, "2021-12")).booster
    champion(home)
    (home.artifacts.root / name).write_bytes(b"{}")
    published_model(home.artifacts, "2022-01")
    result = champion(home)
    assert not result.success
    assert "is damaged" in failure(result, "champion")
