"""Features of small made-up seasons, worked out by hand: thresholds, borders of windows, units.

The reference and the SQL had one author; these numbers have a pencil.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import partial

import pyarrow as pa
import pytest

from nba_ml.contract.features import V2_33FEATURES, V4_FEATURES, FeatureVersion
from nba_ml.data import tables
from nba_ml.data.features import compute_features, inactive_lists
from nba_ml.data.reports import LISTED, NO_REPORTS, REPORTS
from nba_ml_tests.data.features.conftest import COMPUTED_AT, matrix

OPENING = date(2023, 11, 1)
NO_LINES = tables.PROP_LINES.empty_table()


@dataclass(frozen=True)
class Line:
    """One player's box score; what a test does not care about has a default."""

    player: str
    day: date
    team: str = "AAA"
    opponent: str = "BBB"
    points: int = 10
    minutes: int = 24
    shots: tuple[int, int] = (4, 10)
    """Field goals made and tried."""
    threes: tuple[int, int] = (0, 0)
    free_throws: tuple[int, int] = (2, 5)
    offensive_rebounds: int = 0
    turnovers: int = 0
    won: bool = True
    neutral: bool = False
    season: str = "2023-24"


def box_scores(rows: Sequence[Line]) -> pa.Table:
    """A summary of the rows; a game with one side only gets an opponent's player, 'filler'."""
    both = list(rows)
    sides = {(row.day, row.team) for row in rows}
    for row in rows:
        if (row.day, row.opponent) not in sides:
            sides.add((row.day, row.opponent))
            filler = f"filler{row.opponent.lower()}"
            both.append(Line(filler, row.day, row.opponent, row.team, won=not row.won, season=row.season))
    records = [
        {
            **dict.fromkeys(tables.PLAYER_GAME_SUMMARY.names, 0),
            "player_lookup": row.player,
            "universal_player_id": row.player,
            "player_name": row.player,
            "game_date": row.day,
            "game_id": f"{row.day:%Y%m%d}_{'_'.join(sorted((row.team, row.opponent)))}",
            "nba_game_id": f"{row.day:%Y%m%d}",
            "season": row.season,
            "playoffs": False,
            "team_abbr": row.team,
            "opponent_team_abbr": row.opponent,
            "is_home": row.team < row.opponent,
            "neutral_site": row.neutral,
            "team_won": row.won,
            "minutes_played": row.minutes,
            "points": row.points,
            "fg_makes": row.shots[0],
            "fg_attempts": row.shots[1],
            "three_pt_makes": row.threes[0],
            "three_pt_attempts": row.threes[1],
            "ft_makes": row.free_throws[0],
            "ft_attempts": row.free_throws[1],
            "offensive_rebounds": row.offensive_rebounds,
            "turnovers": row.turnovers,
        }
        for row in both
    ]
    return pa.Table.from_pylist(records, tables.PLAYER_GAME_SUMMARY)


def features_of(
    player: str,
    day: date,
    rows: Sequence[Line],
    lines: pa.Table = NO_LINES,
    reports: pa.Table = NO_REPORTS,
    version: FeatureVersion = V4_FEATURES,
) -> dict[str, float]:
    """The player's features on the day, by name."""
    table = compute_features(
        box_scores(rows), lines, day, day, computed_at=COMPUTED_AT, version=version, reports=reports, threads=1
    )
    at = table["player_lookup"].to_pylist().index(player)
    return dict(zip(version.names, matrix(table)[at].tolist(), strict=True))


in_season = partial(features_of, version=V2_33FEATURES)
"""Without the features across seasons, which take half of the time."""


def games(points: Sequence[int]) -> list[Line]:
    """The player 'anna' scoring these points, a game every third day from the opening on."""
    return [Line("anna", OPENING + timedelta(days=3 * at), points=scored) for at, scored in enumerate(points)]


def test_first_game_of_all_has_no_form_and_no_made_up_values() -> None:
    """Guards missing values: clamps and joins must not turn 'no history' into 3, 0 or an average."""
    found = features_of("anna", OPENING, [Line("anna", OPENING)])
    zeros = {"games_in_last_7_days", "rest_advantage", "recent_trend", "minutes_change", "back_to_back"}
    zeros |= {"playoff_game", "has_vegas_line", "games_vs_opponent"}
    assert {name for name, value in found.items() if value == 0} == zeros
    assert found["fatigue_score"] == 100
    assert found["home_away"] == 1
    there = zeros | {"fatigue_score", "home_away"}
    assert all(math.isnan(value) for name, value in found.items() if name not in there)


def test_means_and_deviation() -> None:
    """Guards window lengths: 5, 10 and season differ, and the deviation is the sample's (n - 1)."""
    found = in_season("anna", OPENING + timedelta(days=36), games([40, 30, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 99]))
    assert found["points_avg_last_5"] == pytest.approx((6 + 7 + 8 + 9 + 10) / 5)
    assert found["points_avg_last_10"] == pytest.approx(5.5)
    assert found["points_avg_season"] == pytest.approx((70 + 55) / 12, abs=1e-6)
    assert found["points_std_last_10"] == pytest.approx(math.sqrt(82.5 / 9), abs=1e-6)


def of_each(name: str, day: date, worlds: Sequence[Sequence[Line]]) -> list[float]:
    """A feature of anna on the day in each of these worlds, from one computation: every world has teams of its own."""
    rows = [
        replace(row, player=f"{row.player}{at}", team=f"{row.team}{at}", opponent=f"{row.opponent}{at}")
        for at, world in enumerate(worlds)
        for row in world
    ]
    table = compute_features(box_scores(rows), NO_LINES, day, day, computed_at=COMPUTED_AT, version=V4_FEATURES)
    players = table["player_lookup"].to_pylist()
    values = matrix(table)[:, V4_FEATURES.names.index(name)]
    return [float(values[players.index(f"anna{at}")]) for at in range(len(worlds))]


def test_recent_trend_thresholds() -> None:
    """Guards the borders of recent_trend, both signs, and that fewer than 5 games have none."""
    trends = {
        (10, 10, 10, 15, 15): 2,  # +5: on the threshold
        (10, 10, 10, 14, 15): 1,  # +4.5
        (10, 10, 10, 12, 12): 1,  # +2: on the threshold
        (10, 10, 10, 11, 12): 0,  # +1.5
        (10, 10, 10, 8, 8): -1,  # -2
        (10, 10, 10, 5, 5): -2,  # -5
        (50, 10, 10, 10, 8, 8): -1,  # a sixth game is out of it
        (10, 10, 10, 20): 0,  # four games
    }
    day = OPENING + timedelta(days=30)
    found = of_each("recent_trend", day, [[*games(points), Line("anna", day, points=0)] for points in trends])
    assert dict(zip(trends, found, strict=True)) == trends


def test_minutes_change_thresholds() -> None:
    """Guards the borders of minutes_change: 10 games each way, so that 36 after 24 is exactly 20% over the mean 30."""
    changes = {(24, 36): 2, (27, 33): 1, (30, 30): 0, (33, 27): -1, (36, 24): -2, (28, 32): 0}
    day = OPENING + timedelta(days=40)
    worlds = [
        [Line("anna", OPENING + timedelta(days=2 * at), minutes=minutes[at // 10]) for at in range(20)]
        for minutes in changes
    ]
    found = of_each("minutes_change", day, [[*world, Line("anna", day)] for world in worlds])
    assert dict(zip(changes, found, strict=True)) == changes


def test_fatigue() -> None:
    """Guards each term of the fatigue score and the borders of its windows."""
    scores = {  # days before, and minutes of each game
        ((2,), 30): 100,
        ((1,), 30): 85,  # second day of a back-to-back
        ((4,), 30): 100,  # +5, clamped
        ((1,), 36): 77,  # and over 35 minutes a game
        ((1,), 35): 85,  # 35 is not over 35
        ((2, 3), 30): 95,  # one back-to-back in 14 days
        ((1, 2), 30): 80,  # second day today, and yesterday was one too
        ((2, 3, 5, 6), 30): 78,  # 4 games in 7 days, two back-to-backs
        ((4, 13, 14), 30): 100,  # +5 -5
        ((3, 14, 15), 30): 95,  # 2 days of rest give no bonus; the pair's second game is 14 days ago: in
        ((3, 15, 16), 30): 100,  # 15 days ago: out
        ((1, 3, 5, 7), 30): 75,  # the game 7 days ago counts
        ((1, 3, 5, 8), 30): 85,  # the game 8 days ago does not
        ((2, 4, 6), 80): 92,  # 240 minutes are not over 240
        ((2, 4, 6), 81): 82,  # 243 are
        ((1, 3, 4, 5, 6, 7), 41): 45,  # everything at once: 246 minutes, three back-to-backs
    }
    day = OPENING + timedelta(days=60)
    worlds = [
        [Line("anna", day - timedelta(days=before), minutes=minutes) for before in days_before]
        for days_before, minutes in scores
    ]
    found = of_each("fatigue_score", day, [[*world, Line("anna", day)] for world in worlds])
    assert dict(zip(scores, found, strict=True)) == scores


def test_a_game_of_0_minutes_gets_features_and_is_nobody_s_history() -> None:
    """Guards the rule that a player who did not play is no sample: neither rested by it nor averaged with it."""
    day = OPENING + timedelta(days=6)
    rows = [
        Line("anna", OPENING, points=20),
        Line("anna", OPENING + timedelta(days=5), points=2, minutes=0),  # two free throws in a few seconds
        Line("anna", day, points=1),
    ]
    sat = in_season("anna", OPENING + timedelta(days=5), rows)
    after = in_season("anna", day, rows)
    assert sat["points_avg_last_5"] == after["points_avg_last_5"] == 20
    assert sat["games_in_last_7_days"] == after["games_in_last_7_days"] == 1
    assert after["ppm_avg_last_10"] == pytest.approx(20 / 24, abs=1e-6)
    assert after["fatigue_score"] == 100  # the player rested
    assert after["back_to_back"] == 1  # the team played the day before


def test_team_ratings_pace_and_usage_by_hand() -> None:
    """Guards units: possessions as FGA + 0.44 FTA - OREB + TOV, ratings per 100 of them, usage in percent."""
    # AAA: 80 FGA, 25 FTA, 10 OREB, 14 TOV = 80 + 11 - 10 + 14 = 95; BBB: 90 + 0 - 5 + 10 = 95, then 99 each.
    days = [OPENING + timedelta(days=2 * at) for at in range(5)]
    rows = []
    for at, day in enumerate(days):
        more = 4 if at == 1 else 0
        # anna: 20 FGA, 0 FTA, 3 TOV = 23 plays of AAA's 105 in 30 of 240 minutes, but 45 plays of 105 in the last.
        own = 42 if at == 3 else 20
        rows += [
            Line("anna", day, minutes=30, shots=(10, own), free_throws=(0, 0), turnovers=3, points=30),
            Line("ben", day, minutes=210, shots=(20, 80 - own + more), free_throws=(20, 25), turnovers=11, points=76,
                 offensive_rebounds=10),
            Line("cleo", day, "BBB", "AAA", minutes=240, shots=(40, 90 + more), free_throws=(0, 0), turnovers=10,
                 offensive_rebounds=5, points=90, won=False),
        ]  # fmt: skip
    second = in_season("anna", days[1], rows)
    third = in_season("cleo", days[2], rows)
    fifth = in_season("anna", days[4], rows)

    assert second["team_pace"] == second["opponent_pace"] == 95
    assert second["team_off_rating"] == pytest.approx(100 * 106 / 95, abs=1e-6)
    assert second["opponent_def_rating"] == pytest.approx(100 * 106 / 95, abs=1e-6)  # BBB allowed AAA's 106
    assert third["team_pace"] == 97
    assert third["team_off_rating"] == pytest.approx(100 * 180 / 194, abs=1e-6)
    assert (second["team_win_pct"], third["team_win_pct"]) == (1, 0)
    usual, with_four_more, last = (100 * plays * 48 / (30 * team) for plays, team in ((23, 105), (23, 109), (45, 105)))
    expected = 0.3 * ((with_four_more + usual + last) / 3 - (usual + with_four_more + usual + last) / 4)
    assert math.isnan(in_season("anna", days[2], rows)["usage_spike_score"])
    assert fifth["usage_spike_score"] == pytest.approx(expected, abs=1e-6)


def test_shot_zone_by_hand() -> None:
    """Guards the sign and the units of the zone mismatch, the choice of the zone, the clamp and the 1.2."""
    days = [OPENING + timedelta(days=2 * at) for at in range(3)]

    def rows(made_by_anna: int) -> list[Line]:
        return [
            # anna shoots mainly threes against BBB, and BBB's own shooting weighs in the league's percentage.
            *(Line("anna", day, shots=(made_by_anna, 100), threes=(made_by_anna, 60)) for day in days),
            *(Line("cleo", day, "BBB", "AAA", shots=(36, 100), threes=(36, 90), won=False) for day in days),
        ]

    # Allowed by BBB 30/60 = 50%; the league (30 + 36) / 150 = 44%: 6 points, times 1.2.
    assert in_season("anna", days[2], rows(30))["shot_zone_mismatch_score"] == pytest.approx(7.2)
    # 27/60 = 45% against 63/150 = 42%: 3 points, as they are.
    assert in_season("anna", days[2], rows(27))["shot_zone_mismatch_score"] == pytest.approx(3)
    # 60/60 against 96/150 = 64%: 36 points, clamped to 10, times 1.2.
    assert in_season("anna", days[2], rows(60))["shot_zone_mismatch_score"] == pytest.approx(12)
    assert in_season("anna", days[2], rows(30))["pct_three"] == pytest.approx(0.6)


def test_rest_is_the_team_s_and_follows_the_new_team() -> None:
    """Guards a traded player: his own history comes along, rest and ratings are of the team he plays for now."""
    day = OPENING + timedelta(days=10)
    rows = [
        Line("anna", day - timedelta(days=1), "AAA", "CCC", points=30),
        Line("dora", day - timedelta(days=3), "DDD", "BBB", points=12, won=False),
        Line("anna", day, "DDD", "AAA", won=False),
        Line("bea", day, "AAA", "DDD"),
    ]
    found = in_season("anna", day, rows)
    assert found["points_avg_last_5"] == 30
    assert found["fatigue_score"] == 85  # she played yesterday
    assert found["back_to_back"] == 0  # her new team did not
    assert found["rest_advantage"] == 2  # 2 days against 0
    assert found["team_win_pct"] == 0
    opponent = in_season("bea", day, rows)
    assert (opponent["back_to_back"], opponent["rest_advantage"]) == (1, -2)


def test_a_team_without_a_game_counts_as_7_days_rested() -> None:
    """Guards rest_advantage at openings: against a team that played 6 days of rest ago it is worth 1, clamped at 2."""
    day = OPENING + timedelta(days=7)
    rows = [Line("bea", OPENING, "BBB", "CCC"), Line("anna", day), Line("bea", day, "BBB", "AAA", won=False)]
    assert in_season("anna", day, rows)["rest_advantage"] == 1
    nearer = [Line("bea", day - timedelta(days=2), "BBB", "CCC"), *rows[1:]]
    assert in_season("anna", day, nearer)["rest_advantage"] == 2


@pytest.mark.parametrize(
    ("day", "oldest"), [(date(2024, 1, 15), date(2021, 1, 15)), (date(2024, 2, 29), date(2021, 2, 28))]
)
def test_versus_opponent_reaches_back_3_calendar_years(day: date, oldest: date) -> None:
    """Guards the border of the 3 years, on a leap day too, and that only this opponent counts."""
    rows = [
        Line("anna", oldest, points=20, season="2020-21"),
        Line("anna", oldest - timedelta(days=1), points=50, season="2020-21"),
        Line("anna", oldest + timedelta(days=4), points=60, minutes=0, season="2020-21"),
        Line("anna", oldest + timedelta(days=6), opponent="CCC", points=70, season="2020-21"),
        Line("anna", day - timedelta(days=40), points=10),
        Line("anna", day),
    ]
    found = in_season("anna", day, rows)
    assert (found["games_vs_opponent"], found["avg_points_vs_opponent"]) == (2, 15)


def test_month_windows_reach_back_30_days() -> None:
    """Guards the border of the 30 days, and that points per minute is a sum over a sum."""
    day = OPENING + timedelta(days=45)
    rows = [
        Line("anna", day - timedelta(days=31), points=50, minutes=48),
        Line("anna", day - timedelta(days=30), points=10, minutes=10),
        Line("anna", day - timedelta(days=20), points=10, minutes=30),
        Line("anna", day),
    ]
    found = in_season("anna", day, rows)
    assert (found["minutes_avg_last_10"], found["ppm_avg_last_10"]) == (20, 0.5)


def test_line_is_the_median_within_and_then_over_books() -> None:
    """Guards the choice of the line: a book that lists a player three times must not outvote the other."""
    listed = [("a", 10.5), ("a", 12.5), ("a", 30.5), ("b", 20.5)]
    lines = pa.table(
        [["anna"] * 4, ["anna"] * 4, [OPENING] * 4, [book for book, _ in listed], [line for _, line in listed]],
        schema=tables.PROP_LINES,
    )
    found = in_season("anna", OPENING, [Line("anna", OPENING)], lines)
    assert (found["vegas_points_line"], found["has_vegas_line"]) == (16.5, 1)
    assert in_season("fillerbbb", OPENING, [Line("anna", OPENING)], lines)["has_vegas_line"] == 0


def test_month_windows_know_no_season() -> None:
    """Guards the one window that may cross seasons early on: its games are found though they are of another season."""
    rows = [Line("anna", OPENING - timedelta(days=29), points=15, minutes=30, season="2022-23"), Line("anna", OPENING)]
    found = in_season("anna", OPENING, rows)
    assert (found["minutes_avg_last_10"], found["ppm_avg_last_10"]) == (30, 0.5)
    assert math.isnan(found["points_avg_last_5"])


def test_nobody_is_at_home_on_a_neutral_site() -> None:
    """Guards home_away where a source names a home team on a neutral site."""
    rows = [Line("anna", OPENING, neutral=True), Line("bea", OPENING, "BBB", "AAA", won=False, neutral=True)]
    assert in_season("anna", OPENING, rows)["home_away"] == 0
    assert in_season("anna", OPENING, [replace(row, neutral=False) for row in rows])["home_away"] == 1


def test_a_season_starts_afresh() -> None:
    """Guards season windows: last season's games are no form, and no rest, of this one."""
    rows = [Line("anna", date(2023, 6, 1), points=40, season="2022-23"), Line("anna", OPENING)]
    found = in_season("anna", OPENING, rows)
    assert math.isnan(found["points_avg_last_5"])
    assert math.isnan(found["team_pace"])
    assert (found["games_vs_opponent"], found["avg_points_vs_opponent"]) == (1, 40)


# Across seasons, and who is absent

LAST_SPRING = date(2023, 4, 1)


def last_season(points: Sequence[int]) -> list[Line]:
    """'anna' scoring these points in the spring before, a game every third day."""
    return [
        Line("anna", LAST_SPRING + timedelta(days=3 * at), points=scored, season="2022-23")
        for at, scored in enumerate(points)
    ]


def test_weights_halve_every_12_games_and_span_the_summer() -> None:
    """Guards the half-life and the summer: a game 12 games ago counts half, and the opening has last season's form."""
    found = features_of("anna", OPENING, [*last_season([30] + [0] * 12), Line("anna", OPENING)])
    weights = [0.5 ** (ago / 12) for ago in range(13)]
    assert found["points_ewm_12"] == pytest.approx(30 * 0.5 / sum(weights), abs=1e-6)
    assert math.isnan(found["points_avg_season"])
    assert found["days_since_last_game"] == 60
    assert found["team_games_missed"] == 0


def test_the_season_before_last_is_forgotten() -> None:
    """Guards the reach: no history older than what every caller holds, or a month alone would differ from all."""
    old = [replace(line, season="2021-22", day=line.day - timedelta(days=365)) for line in last_season([30] * 5)]
    found = features_of("anna", OPENING, [*old, Line("anna", OPENING)])
    assert all(math.isnan(found[name]) for name in ("points_ewm_12", "minutes_ewm_1", "days_since_last_game"))


def test_a_game_of_64_counts_and_the_65th_does_not() -> None:
    """Guards the doubling: 64 games, no more and no less."""
    days = [OPENING + timedelta(days=at) for at in range(66)]
    counted = [Line("anna", day, points=20 if at == 1 else 0) for at, day in enumerate(days)]
    beyond = [Line("anna", day, points=20 if at == 0 else 0) for at, day in enumerate(days)]
    share = 0.5 ** (63 / 12) / sum(0.5 ** (ago / 12) for ago in range(64))
    assert of_each("points_ewm_12", days[-1], [counted, beyond]) == pytest.approx([20 * share, 0], abs=1e-6)


def test_absent_points_are_of_the_rotation_that_missed_the_last_game() -> None:
    """Guards who counts as absent: known from the team's earlier games, never from who plays tonight."""
    absent = {  # the games that he played, with how many minutes; the sixth is tonight's
        ((0, 1, 2, 3), 30): 20,  # missed the last game
        ((0, 1, 2, 3, 4), 30): 0,  # played the last game
        ((0, 1, 2, 3), 12): 20,  # just of the rotation
        ((0, 1, 2, 3), 11): 0,  # not of the rotation
        ((0, 1, 2, 3, 5), 30): 20,  # plays tonight, which is not known
    }
    days = [OPENING + timedelta(days=2 * at) for at in range(6)]
    worlds = [
        [*(Line("anna", day) for day in days), *(Line("bob", days[at], points=20, minutes=m) for at in played)]
        for played, m in absent
    ]
    found = of_each("absent_points", days[5], worlds)
    assert dict(zip(absent, found, strict=True)) == pytest.approx(absent, abs=1e-6)


def test_who_has_played_for_another_team_is_gone_and_not_absent() -> None:
    """Guards trades: a player counts for one team."""
    days = [OPENING + timedelta(days=2 * at) for at in range(6)]
    rows = [Line("anna", day) for day in days] + [Line("bob", day, points=20) for day in days[:4]]
    assert features_of("anna", days[5], rows)["absent_points"] == pytest.approx(20)
    rows.append(Line("bob", days[4], "CCC", "DDD", points=20))
    assert features_of("anna", days[5], rows)["absent_points"] == 0


def test_the_absent_are_forgotten_after_ten_games_and_nobody_is_absent_for_himself() -> None:
    """Guards the window of ten games, the player's own return, and the season's first game."""
    days = [OPENING + timedelta(days=2 * at) for at in range(12)]
    rows = [Line("anna", day) for day in days]
    rows += [Line("bob", days[0], points=20), Line("bob", days[10], points=20)]
    assert features_of("anna", days[10], rows)["absent_points"] == pytest.approx(20)
    back = features_of("bob", days[10], rows)
    assert (back["absent_points"], back["team_games_missed"], back["days_since_last_game"]) == (0, 9, 20)
    alone = [row for row in rows if row.day != days[10] or row.player != "bob"]
    assert features_of("anna", days[11], alone)["absent_points"] == 0
    assert math.isnan(features_of("anna", days[0], rows)["absent_points"])


# Who is reported out


def reported(day: date, *players: tuple[str | None, bool], team: str = "AAA") -> pa.Table:
    """Reports on a team's players: who, and whether he is out."""
    rows = [{"game_date": day, "team_abbr": team, "player_lookup": who, "is_out": out} for who, out in players]
    return pa.Table.from_pylist(rows, REPORTS)


@pytest.mark.parametrize(
    ("reports", "minutes", "out"),
    [
        pytest.param([("bob", True)], 30, 20, id="out-after-he-played-the-last-game"),
        pytest.param([("bob", True), ("cleo", True)], 30, 24, id="two-of-them"),
        pytest.param([("bob", False)], 30, 0, id="reported-and-available"),
        pytest.param([(None, False)], 30, 0, id="the-team-has-nobody-to-report"),
        pytest.param([("bob", True)], 11, 0, id="not-of-the-rotation"),
        pytest.param([("anna", True), ("bob", True)], 30, 20, id="not-for-herself"),
        pytest.param([("zoe", True)], 30, 0, id="of-nobody-known"),
        pytest.param([], 30, math.nan, id="nothing-reported"),
    ],
)
def test_out_points_are_of_the_rotation_that_is_reported_out(
    reports: list[tuple[str | None, bool]], minutes: int, out: float
) -> None:
    """Guards who counts as out, and that a team without reports is not a team of which nobody is out."""
    days = [OPENING + timedelta(days=2 * at) for at in range(4)]
    rows = [Line("anna", day) for day in days]
    rows += [Line(who, day, points=points, minutes=minutes) for day in days[:3] for who, points in OTHERS.items()]
    found = features_of("anna", days[3], rows, reports=reported(days[3], *reports))
    assert found["out_points"] == pytest.approx(out, abs=1e-6, nan_ok=True)
    # 10 attempts, 5 free throws: 12.2 plays a game.
    plays = out / 20 * 12.2 if out != 24 else 2 * 12.2
    assert found["out_plays"] == pytest.approx(plays, abs=1e-6, nan_ok=True)
    assert found["absent_points"] == 0, "they missed no game before"


OTHERS = {"bob": 20, "cleo": 4}


def test_reports_of_other_teams_and_days_and_of_an_opening_game_say_nothing() -> None:
    """Guards the keys of reports, and a rotation that nobody knows yet."""
    days = [OPENING + timedelta(days=2 * at) for at in range(4)]
    rows = [Line("anna", day) for day in days] + [Line("bob", day, points=20) for day in days[:3]]
    for reports in (reported(days[2], ("bob", True)), reported(days[3], ("zoe", True), team="CCC")):
        assert math.isnan(features_of("anna", days[3], rows, reports=reports)["out_points"])
    first = reported(OPENING, ("bob", True))
    assert math.isnan(features_of("anna", OPENING, rows, reports=first)["out_points"])


def test_the_stand_in_reports_who_did_not_appear_unless_the_coach_decided() -> None:
    """Guards the reconstruction of past inactive lists: of its date, from who appeared and never from a result."""
    days = [OPENING + timedelta(days=2 * at) for at in range(4)]
    rows = [Line("anna", day, minutes=0 if day == days[3] else 24) for day in days]
    rows += [Line(who, day) for day in days[:3] for who in ("bob", "cleo", "dan")]
    rows += [Line("dan", days[3], "CCC", "DDD"), Line("eve", days[0], "CCC", "DDD")]
    # Ids are numbers in lists: cleo is 3 in both.
    summary = box_scores(rows)
    ids = pa.array(["3" if name == "cleo" else name for name in summary["player_lookup"].to_pylist()])
    summary = summary.set_column(1, summary.schema.field(1), ids)
    entries = [(3, "did_not_play"), (None, "did_not_dress"), (None, "did_not_dress"), (None, "did_not_play")]
    lists = [{"game_date": days[3], "player_id": player, "reason": reason} for player, reason in entries]
    found = inactive_lists(summary, pa.Table.from_pylist(lists, LISTED), days[0], days[3])
    assert found.schema == REPORTS
    told = {(row["team_abbr"], row["player_lookup"]): row["is_out"] for row in found.to_pylist()}
    assert {row["game_date"] for row in found.to_pylist()} == {days[3]}, "the other dates have no lists"
    players = {key: out for key, out in told.items() if key[1] is not None and not key[1].startswith("filler")}
    assert players == {("AAA", "bob"): True, ("AAA", "cleo"): False, ("CCC", "eve"): True}
    assert {team for team, player in told if player is None} == {"AAA", "BBB", "CCC", "DDD"}
