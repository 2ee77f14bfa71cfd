"""Rows of games to be played: their features are those of the played games, and who plays is as the files say."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from nba_ml.contract.errors import SlateError
from nba_ml.contract.features import V2_33FEATURES, V3_FEATURES, FeatureVersion
from nba_ml.contract.game_types import GameType
from nba_ml.contract.season import season_months
from nba_ml.data.features import compute_features
from nba_ml.data.upcoming import (
    UpcomingGame,
    UpcomingPlayer,
    game_type_on,
    is_out,
    parse_games,
    recent_players,
    require_recent,
    upcoming_rows,
    with_lookups,
    with_upcoming,
)
from nba_ml.settings import SAMPLE_DATA
from nba_ml.sources.embedded import EmbeddedFeatureSource
from nba_ml_tests.conftest import COMPUTED_AT, summary_of

MONTH = "2025-01"
"""Has lines of its first twelve days."""


def history_of(first: str, last: str) -> pa.Table:
    return pa.concat_tables([summary_of(month) for month in season_months(first, last)])


def games_on(summary: pa.Table, day: date) -> list[UpcomingGame]:
    """The games that a schedule would have had."""
    rows = summary.filter(pc.equal(summary["game_date"], pa.scalar(day, pa.date32()))).to_pylist()
    games = {}
    for row in rows:
        away, home = row["game_id"].split("_")[1:]
        games[row["game_id"]] = UpcomingGame(
            day,
            away,
            home,
            neutral_site=row["neutral_site"],
            game_type=GameType.PLAYOFFS if row["playoffs"] else GameType.REGULAR_SEASON,
        )
    return list(games.values())


def vectors(table: pa.Table) -> dict[tuple[object, ...], bytes]:
    """Bytes of each row's features, by player and side of a game: who was traded that day is in another one."""
    keys = zip(*(table[name].to_pylist() for name in ("player_lookup", "game_id", "is_home")), strict=True)
    others = ("universal_player_id", "days_rest", "early_season_flag", "is_production_ready")
    rest = zip(*(table[name].to_pylist() for name in others), strict=True)
    return {
        key: np.array(row, dtype=np.float64).tobytes() + repr(more).encode()
        for key, row, more in zip(keys, table["features"].to_pylist(), rest, strict=True)
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    ("first", "month", "dates", "version"),
    [
        pytest.param("2022-01", MONTH, 14, V2_33FEATURES, id=MONTH),
        pytest.param("2022-04", "2025-04", 24, V3_FEATURES, id="2025-04"),
    ],
)
def test_features_of_every_date_are_those_computed_later(
    first: str, month: str, dates: int, version: FeatureVersion
) -> None:
    """Guards against a prediction from features that training never sees: dates of a real month, before their games.

    January has lines on its first twelve dates; April, all of it, has the last regular games, a rest of a week, and the
    first playoff games.
    """
    history, lines = history_of(first, month), EmbeddedFeatureSource(str(SAMPLE_DATA)).prop_lines(month)
    with_games = sorted(set(summary_of(month)["game_date"].to_pylist()))[:dates]
    first_day, last_day = with_games[0], with_games[-1]
    later = vectors(compute_features(history, lines, first_day, last_day, computed_at=COMPUTED_AT, version=version))
    compared = 0
    for day in with_games:
        before = history.filter(pc.less(history["game_date"], pa.scalar(day, pa.date32())))
        games = games_on(history, day)
        players = [p for game in games for team in (game.away, game.home) for p in recent_players(before, team)]
        table = with_upcoming(before, upcoming_rows(games, players))
        made = vectors(compute_features(table, lines, day, day, computed_at=datetime.now(UTC), version=version))
        both = made.keys() & later.keys()
        assert {key: made[key] for key in both} == {key: later[key] for key in both}, day
        compared += len(both)
    assert len(with_games) == dates
    assert compared > 0.95 * len(later), "who plays is nearly always who played lately"


def test_a_placeholder_has_no_result() -> None:
    """Guards against a 0 where NULL belongs: a feature that read a result would then have a plausible value."""
    rows = upcoming_rows(parse_games("BOS@NYK", DAY), PLAYERS)
    for name in ("minutes_played", "points", "team_won", "fg_makes", "plus_minus"):
        assert rows[name].null_count == rows.num_rows == 2, name
    assert rows["game_id"].to_pylist() == ["20250115_BOS_NYK"] * 2
    assert rows["is_home"].to_pylist() == [False, True]


DAY = date(2025, 1, 15)
PLAYERS = (UpcomingPlayer(1, "Ann O", "anno", "BOS"), UpcomingPlayer(2, "Bo B", "bob", "NYK"))


# --- who plays ------------------------------------------------------------------------------------------------


def test_who_played_lately_and_for_nobody_else_since() -> None:
    """Guards against a traded player in two teams. Luka Doncic's last game for Dallas was in December, his first for
    Los Angeles in February."""
    history = history_of("2024-10", "2025-02")
    mavericks = {player.lookup for player in recent_players(history, "DAL")}
    lakers = {player.lookup for player in recent_players(history, "LAL")}
    assert "lukadoncic" in lakers - mavericks
    assert "anthonydavis" in mavericks - lakers
    own = history.filter(pc.equal(history["team_abbr"], "DAL"))
    tenth = sorted(set(own["game_date"].to_pylist()))[-10]
    long_gone = {row["player_lookup"] for row in own.to_pylist() if row["game_date"] < tenth} - {
        row["player_lookup"] for row in own.to_pylist() if row["game_date"] >= tenth
    }
    assert long_gone
    assert not long_gone & mavericks
    assert recent_players(history, "SEA") == []


def test_a_player_of_a_roster_has_the_lookup_of_the_box_scores() -> None:
    """Guards against a history that is not found: another spelling, and a newcomer with a known player's name."""
    known = {7: "jarenjacksonjr", 8: "bogdanbogdanovic"}
    listed = [(7, "Jaren Jackson", "MEM"), (8, "Bogdan Bogdanović", "ATL"), (9, "Bogdan Bogdanovic", "MEM")]
    assert [player.lookup for player in with_lookups([*listed, (10, "Zed Z", "ATL")], known)] == [
        "jarenjacksonjr",
        "bogdanbogdanovic",
        "bogdanbogdanovic9",
        "zedz",
    ]


def test_a_player_in_two_teams_of_the_date_is_refused() -> None:
    """Guards against a slate with two rows of one player, of which one is wrong."""
    twice = [*PLAYERS, UpcomingPlayer(1, "Ann O", "anno", "NYK")]
    with pytest.raises(SlateError, match=r"Ann O \(1\) is in two teams of the date, BOS and NYK"):
        upcoming_rows(parse_games("BOS@NYK", DAY), twice)
    assert upcoming_rows(parse_games("BOS@NYK", DAY), [*PLAYERS, PLAYERS[0]]).num_rows == 2


def test_a_team_without_players_is_refused() -> None:
    """Guards against a game with one side."""
    with pytest.raises(SlateError, match="No player of NYK is known"):
        upcoming_rows(parse_games("BOS@NYK", DAY), PLAYERS[:1])


@pytest.mark.parametrize("status", ["Out", "OUT", "out", "Out (knee)", "Inactive", "INACTIVE - two-way", "OFS", "O"])
def test_statuses_of_players_who_do_not_play(status: str) -> None:
    """Guards against a prediction for a player on the bench because of a capital letter."""
    assert is_out(status) is True


@pytest.mark.parametrize("status", ["Questionable", "PROBABLE", "Available", "Day-To-Day", "GTD", "Doubtful (ankle)"])
def test_statuses_of_players_who_may_play(status: str) -> None:
    """Guards against a player who is left out although he may play."""
    assert is_out(status) is False
    assert is_out(f"?{status[:2]}") is None


# --- games and dates ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("BOS-NYK", "'BOS-NYK' is not a game. Write AWAY@HOME"),
        ("BOS@", "'BOS@' names '', which no team is called"),
        ("XXX@YYY", "'XXX@YYY' names 'XXX' and 'YYY', which no team is called. Use ATL"),
        ("BOS@NYK,LAL@Denver", "'LAL@Denver' names 'Denver', which"),
        ("BOS@NYK,LAL@BOS", "BOS would play twice on 2025-01-15"),
        ("BOS@BOS", "BOS would play twice"),
        ("", "'' is not a game"),
        ("BOS@NYK,", "'' is not a game"),
    ],
)
def test_games_that_cannot_be_are_refused(text: str, message: str) -> None:
    """Guards against a slate of half of the games."""
    with pytest.raises(SlateError, match=message):
        parse_games(text, DAY)


def test_games_may_use_other_codes() -> None:
    """Guards against a code that another source uses."""
    games = parse_games(" brk@gs , Boston Celtics@WSH", DAY)
    assert [(game.away, game.home) for game in games] == [("BKN", "GSW"), ("BOS", "WAS")]


@pytest.mark.parametrize(
    ("day", "kind"),
    [
        (date(2025, 4, 13), GameType.REGULAR_SEASON),
        (date(2025, 4, 15), GameType.PLAY_IN),
        (date(2025, 4, 18), GameType.PLAY_IN),
        (date(2025, 4, 19), GameType.PLAYOFFS),
        (date(2022, 4, 16), GameType.PLAYOFFS),
        (date(2025, 6, 22), GameType.PLAYOFFS),
        (date(2025, 10, 21), GameType.REGULAR_SEASON),
    ],
)
def test_the_type_of_a_game_follows_from_its_date(day: date, kind: GameType) -> None:
    """Guards against playoffs that are predicted as regular games."""
    assert game_type_on(day) == kind


@pytest.mark.parametrize(
    ("last", "day"),
    [
        (date(2025, 1, 14), date(2025, 1, 15)),
        (date(2025, 2, 13), date(2025, 2, 19)),  # the All-Star break
        (date(2024, 6, 17), date(2024, 10, 22)),  # opening night
        (date(2020, 3, 11), date(2020, 7, 30)),  # the restart
    ],
)
def test_a_break_of_the_calendar_is_no_gap(last: date, day: date) -> None:
    """Guards against an opening night that cannot be predicted."""
    require_recent(last, day)


@pytest.mark.parametrize(
    ("last", "day", "days"),
    [
        (date(2025, 1, 12), date(2025, 3, 12), 59),
        (date(2024, 6, 17), date(2024, 11, 20), 156),
        (date(2025, 1, 15), date(2025, 1, 15) + timedelta(days=15), 15),
    ],
)
def test_months_without_box_scores_are_reported(last: date, day: date, days: int) -> None:
    """Guards against a prediction from the form of two months ago."""
    with pytest.raises(SlateError, match=f"last box score is of {last}, {days} days before {day}.*Import the box"):
        require_recent(last, day)
