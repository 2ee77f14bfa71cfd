"""Seasons unlike the last four, through Dagster: the one that stopped in March, and one without playoffs."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from nba_ml.contract.assets import CHAIN, FEATURE_ASSETS
from nba_ml.contract.features import V2_33FEATURES
from nba_ml.contract.season import month_bounds, season_months
from nba_ml.data.features import compute_features
from nba_ml.data.snapshot import MonthRows, take_snapshot
from nba_ml.data.stored import FEATURES, SUMMARY
from nba_ml.data.table_digest import DigestedTable
from nba_ml.data.tables import PROP_LINES
from nba_ml.registry.publication import list_published
from nba_ml.sources.embedded import EmbeddedFeatureSource, source_months
from nba_ml.sources.month_rows import StoredMonthRows
from nba_ml.storage.directory import DirectoryStore
from nba_ml.storage.months import MonthStore
from nba_ml_tests.conftest import COMPUTED_AT, features_of, snapshot_of, summary_of
from nba_ml_tests.defs.test_chain import failure, materialised, opened
from nba_ml_tests.seasons_moved import SOURCES, regular_only, write_months
from nba_ml_tests.sources.importers.conftest import copied

pytestmark = pytest.mark.slow


def run_months(data: Path, folder: Path, months: list[str]) -> dict[str, int]:
    """The features of months, then the model of the last one; rows of each month's snapshot. All must be green."""
    rows = {}
    with opened(folder, data=data) as home:
        for month in months:
            result = home.run(month, CHAIN if month == months[-1] else FEATURE_ASSETS)
            failed = [failure(result, str(each.step_key)) for each in result.filter_events(lambda e: e.is_step_failure)]
            assert result.success, (month, failed)
            found = materialised(result)["feature_store_snapshot"].metadata["rows"].value
            assert isinstance(found, int)
            rows[month] = found
        assert len(list_published(home.artifacts)) == 1
    return rows


def test_both_seasons_are_read_in_full(tmp_path: Path) -> None:
    """Guards against months, seasons or types of games that the calendar does not know."""
    write_months(tmp_path, *SOURCES)
    months = source_months(tmp_path)
    assert months == season_months("2019-10", "2021-07")
    assert {"2020-08", "2020-09", "2021-07"} < set(months)
    source = EmbeddedFeatureSource(str(tmp_path))
    for month in months:
        found = source.player_game_summary(month)
        assert found.refused.num_rows == 0, month
        assert (found.table.num_rows > 0) is (month in SOURCES), month
    seasons = {month: source.player_game_summary(month).table["season"].unique().to_pylist() for month in SOURCES}
    assert seasons == {month: ["2019-20" if month <= "2020-10" else "2020-21"] for month in SOURCES}
    august = source.player_game_summary("2020-08").table["playoffs"]
    assert 0 < pc.sum(august).as_py() < len(august), "regular season and playoffs in one month"


def test_a_season_that_ended_in_july_stands_before_the_shipped_ones(tmp_path: Path) -> None:
    """Guards against averages, flags or an opening that carry over the three months from July to October 2021."""
    write_months(tmp_path / "data", "2021-06", "2021-07")
    copied(tmp_path / "data", "2021-10", "2021-11")
    months = source_months(tmp_path / "data")
    assert months == ["2021-06", "2021-07", "2021-10", "2021-11"]
    source = EmbeddedFeatureSource(str(tmp_path / "data"))
    summaries = [source.player_game_summary(month).table for month in months]
    assert summaries[2:] == [summary_of("2021-10"), summary_of("2021-11")]

    store, early, samples = MonthStore(DirectoryStore(tmp_path)), {}, {}
    for month, summary in zip(months, summaries, strict=True):
        features = compute_features(
            pa.concat_tables(summaries), PROP_LINES.empty_table(), *month_bounds(month), computed_at=COMPUTED_AT
        )
        store.save(SUMMARY, month, DigestedTable(summary, month))
        store.save(FEATURES, month, DigestedTable(features, month))
        counts = take_snapshot(MonthRows.of_tables(features, summary, V2_33FEATURES), month, V2_33FEATURES).counts
        early[month], samples[month] = counts.early_season, counts.samples
        if month >= "2021-10":  # as without the season before, but for what looks back three years
            with_it, alone = (np.array(each["features"].to_pylist()) for each in (features, features_of(month)))
            differs = ~((with_it == alone) | (np.isnan(with_it) & np.isnan(alone))).all(axis=0)
            assert set(np.array(V2_33FEATURES.names)[differs]) == {"avg_points_vs_opponent", "games_vs_opponent"}
    shipped = snapshot_of("2021-11").counts
    del early["2021-06"]  # the data begin in it
    assert early == {"2021-07": 0, "2021-10": summaries[2].num_rows, "2021-11": shipped.early_season}
    assert (samples["2021-10"], samples["2021-11"]) == (0, shipped.samples)
    progress = StoredMonthRows(str(tmp_path)).progress(months)
    assert [(each.coverage, *each.notes()) for each in progress] == [(1.0,)] * 4


def test_early_season_counts_from_the_opening_at_christmas(tmp_path: Path) -> None:
    """Guards against a January whose averages are of three games and count as those of a season."""
    write_months(tmp_path, "2020-12", "2021-01")
    source = EmbeddedFeatureSource(str(tmp_path))
    history = pa.concat_tables([source.player_game_summary(month).table for month in ("2020-12", "2021-01")])
    rows = compute_features(
        history, PROP_LINES.empty_table(), date(2020, 12, 1), date(2021, 1, 31), computed_at=COMPUTED_AT
    )
    flagged = {row["game_date"]: row["early_season_flag"] for row in rows.to_pylist()}
    assert flagged == {day: day < date(2021, 1, 5) for day in flagged}
    assert set(flagged.values()) == {True, False}


def test_a_model_is_trained_across_the_suspension_and_the_bubble(tmp_path: Path) -> None:
    """Guards against a chain that stops at an empty April, or at Finals in October."""
    months = season_months("2020-02", "2020-10")
    write_months(tmp_path / "data", *(month for month in months if month in SOURCES))
    rows = run_months(tmp_path / "data", tmp_path / "home", months)
    assert [month for month in months if rows[month] == 0] == ["2020-04", "2020-05", "2020-06"]


def test_a_model_is_trained_on_regular_seasons_alone(tmp_path: Path) -> None:
    """Guards against a user without playoffs who cannot get past April."""
    months = season_months("2022-03", "2022-11")
    regular_only(tmp_path / "data", *months)
    rows = run_months(tmp_path / "data", tmp_path / "home", months)
    # October 2022 has games, all of them in the first two weeks of the season, which are not trained on.
    assert [month for month in months if rows[month] == 0] == ["2022-05", "2022-06", "2022-10"]
