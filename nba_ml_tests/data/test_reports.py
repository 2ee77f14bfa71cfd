"""Reports as they stood at the cut-off of each game, whatever came after it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nba_ml.contract.times import REPORT_CUT_OFF, eastern_noon
from nba_ml.data.reports import REPORTS, InjuryReport, standing_reports
from nba_ml.data.tables import PLAYER_GAME_SUMMARY

DAY = date(2025, 1, 15)
TIP_OFF = datetime(2025, 1, 16, 0, 30, tzinfo=UTC)
CUT_OFF = TIP_OFF - REPORT_CUT_OFF


def appeared(*rows: tuple[int, str, date]) -> pa.Table:
    """Box scores of players, teams and dates; nothing else in them is read."""
    records = [
        {**dict.fromkeys(PLAYER_GAME_SUMMARY.names, 0), "playoffs": False, "is_home": True, "neutral_site": False}
        | {"team_won": True, "player_lookup": f"player{player}", "universal_player_id": str(player), "player_name": ""}
        | {
            "game_date": day,
            "game_id": "",
            "nba_game_id": "",
            "season": "",
            "team_abbr": team,
            "opponent_team_abbr": "",
        }
        for player, team, day in rows
    ]
    return pa.Table.from_pylist(records, PLAYER_GAME_SUMMARY)


SUMMARY = appeared(
    (1, "BOS", date(2025, 1, 2)),
    (1, "NYK", date(2025, 1, 10)),
    (1, "LAL", date(2025, 1, 15)),
    (2, "BOS", date(2025, 1, 10)),
)
TIP_OFFS = {(DAY, "NYK"): TIP_OFF, (DAY, "BOS"): TIP_OFF}


def standing(*reports: InjuryReport) -> dict[tuple[str, str | None], bool]:
    """(Team, player) -> whether he is out, of the reports that count."""
    found = standing_reports(reports, SUMMARY, TIP_OFFS, REPORT_CUT_OFF)
    assert found.table.schema == REPORTS
    return {(row["team_abbr"], row["player_lookup"]): row["is_out"] for row in found.table.to_pylist()}


def report(player: int | None, status: str, minutes: float, team: str | None = None, day: date = DAY) -> InjuryReport:
    """A report so many minutes before tip-off."""
    return InjuryReport(player, status, TIP_OFF - timedelta(minutes=minutes), day, team)


def test_the_last_report_before_the_cut_off_counts_and_names_the_player_s_team() -> None:
    """Guards against news that came too late, and against tonight's team, which no one's box score has yet."""
    found = standing(
        report(1, "Out", 300), report(1, "Available", 31), report(1, "Out", 30), report(2, "OUT (knee)", 60)
    )
    assert found == {("BOS", None): False, ("BOS", "player2"): True, ("NYK", None): False, ("NYK", "player1"): False}


def test_a_report_after_the_cut_off_is_as_none_and_is_counted() -> None:
    """Guards against a team that seems to have nobody out, and against reports that are dropped without a word."""
    found = standing_reports([report(2, "Out", 29)], SUMMARY, TIP_OFFS, REPORT_CUT_OFF)
    assert (found.table.num_rows, found.late, found.of_no_team) == (0, 1, 0)


def test_without_a_tip_off_reports_count_until_noon() -> None:
    """Guards the games whose hour nobody gives: reports of the afternoon may be later than they."""
    noon = eastern_noon(DAY)
    reports = [InjuryReport(2, "Out", noon - timedelta(seconds=1), DAY), InjuryReport(1, "Out", noon, DAY)]
    found = standing_reports(reports, SUMMARY, {}, REPORT_CUT_OFF)
    assert found.table["player_lookup"].to_pylist() == ["player2", None]
    assert (found.late, found.table["counts_until"].to_pylist(), found.table["tip_off"].null_count) == (
        1,
        [noon] * 2,
        2,
    )


def test_the_cut_off_is_a_setting() -> None:
    """Guards a longer and a shorter cut-off than the usual one."""
    reports = [report(2, "Out", 45)]
    assert standing_reports(reports, SUMMARY, TIP_OFFS, timedelta(hours=1)).late == 1
    assert standing_reports([report(2, "Out", 1)], SUMMARY, TIP_OFFS, timedelta()).late == 0


def test_a_team_may_report_nobody_and_a_player_may_be_known_to_his_team_alone() -> None:
    """Guards 0 against missing, a newcomer without a box score, and a player whom nobody knows."""
    found = standing(report(None, "nobody", 90, "NYK"), report(9, "Out", 90, "BOS"))
    assert found == {("NYK", None): False, ("BOS", None): False}
    unknown = standing_reports([report(9, "Out", 90)], SUMMARY, TIP_OFFS, REPORT_CUT_OFF)
    assert (unknown.table.num_rows, unknown.of_no_team) == (0, 1)


def test_of_two_teams_that_report_on_a_player_the_later_counts_and_both_have_reported() -> None:
    """Guards the key of the features: one report of a player and date."""
    found = standing(report(2, "Out", 90, "BOS"), report(2, "Available", 60, "NYK"))
    assert found == {("BOS", None): False, ("NYK", None): False, ("NYK", "player2"): False}


@given(
    made=st.lists(st.tuples(st.sampled_from([1, 2]), st.sampled_from(["Out", "Available"]), st.integers(-90, 600))),
    late=st.lists(st.tuples(st.sampled_from([1, 2]), st.sampled_from(["Out", "Available"]), st.integers(-90, 30))),
)
def test_whatever_is_reported_later_changes_nothing(
    made: list[tuple[int, str, int]], late: list[tuple[int, str, int]]
) -> None:
    """Guards the cut-off itself: late reports, among any others, leave what counts as it was."""
    early = [report(player, status, max(minutes, 31)) for player, status, minutes in made]
    more = [report(*each) for each in late]

    def oldest_first(reports: list[InjuryReport]) -> list[InjuryReport]:
        return sorted(reports, key=lambda each: each.reported_at)

    with_late = standing_reports(oldest_first([*early, *more]), SUMMARY, TIP_OFFS, REPORT_CUT_OFF)
    alone = standing_reports(oldest_first(early), SUMMARY, TIP_OFFS, REPORT_CUT_OFF)
    assert with_late.table.equals(alone.table)
    assert with_late.late == len(more)


@pytest.mark.parametrize("day", [date(2025, 1, 16), date(2025, 1, 11)], ids=str)
def test_a_player_is_of_the_team_that_he_last_played_for_before_the_date(day: date) -> None:
    """Guards the team of a player who was traded, on either side of the trade."""
    reports = [replace(report(1, "Out", 90), day=day, reported_at=eastern_noon(day) - timedelta(hours=1))]
    found = standing_reports(reports, SUMMARY, {}, REPORT_CUT_OFF).table
    assert set(found["team_abbr"].to_pylist()) == {"LAL" if day > DAY else "NYK"}
