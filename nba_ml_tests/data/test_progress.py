"""How far the backfill is: what may be called complete, and how it is shown."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nba_ml.contract.season import season_months
from nba_ml.data.lines import FeatureMonth, LineCounts, LineOutcome
from nba_ml.data.progress import BackfillStatus, MonthProgress, TableState, progress_table
from nba_ml.data.stored import FEATURES, SUMMARY
from nba_ml.data.table_digest import DigestedTable
from nba_ml.evaluation.pictures import coverage_heat_map
from nba_ml.sources.month_rows import StoredMonthRows
from nba_ml.storage.directory import DirectoryStore
from nba_ml.storage.months import MonthStore
from nba_ml_tests.conftest import features_of, summary_of

EMPTY = TableState(0, 0, 0, 0, None, "")


def month(
    name: str = "2022-01", played: int = 4000, covered: int = 4000, rows: int | None = None, games: int = 186
) -> MonthProgress:
    """A month of so many player-games played and covered."""
    written = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
    features = TableState(covered if rows is None else rows, 400, 31, games, written, f"f{covered}")
    return MonthProgress(name, TableState(played, 400, 31, games, None, f"p{played}"), features, covered, 81.25)


@pytest.mark.parametrize(
    ("covered", "status"),
    [
        (0, BackfillStatus.MISSING),
        (1, BackfillStatus.PARTIAL),
        (3199, BackfillStatus.PARTIAL),
        (3200, BackfillStatus.SUBSTANTIAL),
        (3799, BackfillStatus.SUBSTANTIAL),
        (3800, BackfillStatus.COMPLETE),
        (4000, BackfillStatus.COMPLETE),
    ],
)
def test_the_status_follows_the_share_of_player_games(covered: int, status: BackfillStatus) -> None:
    """Guards against a month called complete because each of its dates has some row."""
    assert month(covered=covered).status == status


def test_rows_of_another_version_cover_nothing() -> None:
    """Guards against a month full of old rows being called done."""
    assert month(covered=0, rows=4000).status == BackfillStatus.MISSING


def test_nothing_played_is_nothing_covered() -> None:
    """Guards against a division by no games, and against next month being complete already."""
    ahead = MonthProgress("2022-01", EMPTY, EMPTY, 0, None)
    assert (ahead.coverage, ahead.status, ahead.trainable) == (0.0, BackfillStatus.MISSING, False)


def test_thin_box_scores_are_told() -> None:
    """Guards against a coverage of 100% of box scores that are half there themselves."""
    thin = month(played=2000, covered=2000, games=186)
    assert thin.thin_box_scores
    assert "box scores incomplete" in thin.notes()
    assert not month(played=4000, games=186).thin_box_scores


@given(st.integers(1, 5000), st.data())
def test_only_what_is_covered_enough_is_trained_on(played: int, data: st.DataObject) -> None:
    """Guards against a threshold that rounds up."""
    covered = data.draw(st.integers(0, played))
    found = month(played=played, covered=covered)
    assert found.trainable == (5 * covered >= 4 * played)
    assert (found.status == BackfillStatus.COMPLETE) == (20 * covered >= 19 * played)


def test_the_table_rounds_down() -> None:
    """Guards against 94.96% shown as 95.0% beside 'substantial'."""
    row = progress_table([month(played=10_000, covered=9_496, games=465)]).iloc[0]
    assert (row["status"], row["covered"], row["player-games"]) == ("substantial", "94.9%", "9,496 of 10,000")
    assert (row["games"], row["quality"], row["updated"]) == ("465 of 465", "81.2", "2026-01-02")


@pytest.mark.slow
def test_the_picture_is_a_picture_of_every_season() -> None:
    """Guards against a calendar that cannot be drawn: one season, many, months that are not played yet."""
    for last in ("2021-10", "2022-06", "2031-06"):
        months = [month(name) for name in season_months("2021-10", last)]
        picture = coverage_heat_map([*months, MonthProgress("2031-10", EMPTY, EMPTY, 0, None)])
        assert picture.startswith(b"\x89PNG")
        assert len(picture) < 200_000


def test_a_month_without_games_is_complete() -> None:
    """Guards against a pandemic's April that blocks every later month, or looks like a hole."""
    nothing = TableState(0, 0, 0, 0, None, "")
    month = MonthProgress("2020-04", nothing, nothing, 0, None, no_games=True)
    assert (month.status, month.coverage, month.trainable) == (BackfillStatus.COMPLETE, 1.0, True)
    assert list(month.notes()) == ["no games"]
    assert MonthProgress("2020-03", nothing, nothing, 0, None).status is BackfillStatus.MISSING


def test_unmatched_lines_are_shown_with_their_reasons(tmp_path: Path) -> None:
    """Guards against lines that match nothing, of which only a check's metadata tells. Read from a real store."""
    counts = LineCounts({LineOutcome.BY_ID: 90, LineOutcome.DAY_BEFORE: 7, LineOutcome.NAME_UNKNOWN: 3})
    store = MonthStore(DirectoryStore(tmp_path))
    store.save(SUMMARY, "2022-01", DigestedTable(summary_of("2022-01"), "a"))
    for lines, expected in (
        (counts, ["10 of 100 lines match no player: game the day before: dated by UTC? (7), name unknown (3)"]),
        (LineCounts({LineOutcome.BY_ID: 90}), []),
    ):
        store.save(FEATURES, "2022-01", FeatureMonth(features_of("2022-01"), "b", lines))
        (found,) = StoredMonthRows(str(tmp_path)).progress(["2022-01"])
        assert [note for note in found.notes() if "lines" in note] == expected
        assert ("match no player" in progress_table([found])["notes"].iloc[0]) == bool(expected)
