"""Real box scores pass; every way in which a file can be wrong is a paragraph that names it."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nba_ml.contract.errors import SourceDataError
from nba_ml.contract.season import season_months
from nba_ml.data.box_scores import OtherMonths, normalise_prop_lines, summarise_player_games
from nba_ml.data.coded import Columns
from nba_ml.data.games import platform_game_id
from nba_ml.data.identities import distinct_pairs, first_lookups, player_lookup
from nba_ml.data.tables import PLAYER_GAME_SUMMARY, PRICED_LINES
from nba_ml_tests.conftest import games_of, summary_of

MONTH, FILE = "2021-11", "/data/2021-11.parquet"

# The table of the data's README.
ROWS = {
    "2021-10": 2071,
    "2021-11": 4864,
    "2021-12": 4398,
    "2022-01": 4913,
    "2022-02": 3383,
    "2022-03": 4752,
    "2022-04": 2562,
    "2022-05": 841,
    "2022-06": 147,
    "2022-10": 2265,
    "2022-11": 4700,
    "2022-12": 4662,
    "2023-01": 4606,
    "2023-02": 3411,
    "2023-03": 4771,
    "2023-04": 2410,
    "2023-05": 698,
    "2023-06": 100,
    "2023-10": 1190,
    "2023-11": 4708,
    "2023-12": 4421,
    "2024-01": 4991,
    "2024-02": 3730,
    "2024-03": 4881,
    "2024-04": 3204,
    "2024-05": 847,
    "2024-06": 114,
    "2024-10": 1592,
    "2024-11": 4790,
    "2024-12": 4054,
    "2025-01": 4893,
    "2025-02": 3739,
    "2025-03": 5029,
    "2025-04": 3012,
    "2025-05": 842,
    "2025-06": 159,
}


# --- what is right passes -------------------------------------------------------------------------------------


def lookups_of(games: pa.Table) -> dict[int, str]:
    """By a month's own names."""
    return first_lookups([distinct_pairs(Columns(games))])[0]


def test_the_readme_lists_every_season_month() -> None:
    """Guards against a month that is tested nowhere because the list here lost it."""
    assert list(ROWS) == season_months("2021-10", "2025-06")
    assert sum(ROWS.values()) == 111_750


@pytest.mark.slow
@pytest.mark.parametrize("month", ROWS)
def test_every_embedded_month_passes_with_all_its_rows(month: str) -> None:
    """Guards against a rule that refuses real box scores, and against rows lost or out of order."""
    summary = summary_of(month)
    assert summary.schema == PLAYER_GAME_SUMMARY
    assert summary.num_rows == ROWS[month]
    keys = list(zip(summary["game_date"].to_pylist(), summary["player_lookup"].to_pylist(), strict=True))
    assert keys == sorted(set(keys))
    assert pc.sum(summary["points"]).as_py() == pc.sum(games_of(month)["pts"]).as_py()


@pytest.mark.parametrize(
    ("month", "day", "player", "points", "game"),
    [
        ("2023-01", "2023-01-02", "donovanmitchell", 71, "20230102_CHI_CLE"),
        ("2024-01", "2024-01-26", "lukadoncic", 73, "20240126_DAL_ATL"),
    ],
)
def test_famous_games_are_found_under_the_platform_keys(
    month: str, day: str, player: str, points: int, game: str
) -> None:
    """Guards against columns that moved: these two scores are known to everybody."""
    rows = [
        row for row in summary_of(month).to_pylist() if row["player_lookup"] == player and str(row["game_date"]) == day
    ]
    assert [(row["points"], row["game_id"], row["is_home"]) for row in rows] == [(points, game, game.endswith("CLE"))]


def test_each_game_has_one_platform_id_and_each_id_one_game() -> None:
    """Guards against two ids for one game, which neutral sites (no home team in either row) invite."""
    played = pa.concat_tables([summary_of(month).select(["nba_game_id", "game_id", "neutral_site"]) for month in ROWS])
    pairs = played.group_by(["nba_game_id", "game_id", "neutral_site"]).aggregate([])
    assert pairs.num_rows == len(pairs["nba_game_id"].unique()) == len(pairs["game_id"].unique())
    assert pc.sum(pairs["neutral_site"]).as_py() >= 5  # Mexico City and Paris among them


def test_result_does_not_depend_on_the_order_of_the_rows() -> None:
    """Guards against a summary, and so a digest, that changes when an export is sorted differently."""
    games = games_of(MONTH)
    reverse = games.take(pa.array(range(games.num_rows - 1, -1, -1)))
    assert summarise_player_games(reverse, MONTH, FILE).table.equals(summary_of(MONTH))


def test_other_writers_encodings_of_the_same_values_are_read() -> None:
    """Guards against refusing a file of pandas (categories, time stamps) or of a writer of large strings."""
    games = games_of(MONTH)
    recoded = {
        "team": games["team"].cast(pa.dictionary(pa.int32(), pa.string())),
        "player_name": games["player_name"].cast(pa.large_string()),
        "game_date": games["game_date"].cast(pa.timestamp("ns")),
        "pts": games["pts"].cast(pa.float64()),
        "min": games["min"].cast(pa.int64()),
    }
    other = pa.table({name: recoded.get(name, games[name]) for name in games.column_names})
    assert summarise_player_games(other, MONTH, FILE).table.equals(summary_of(MONTH))


# --- names ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "lookup"),
    [
        ("Luka Dončić", "lukadoncic"),
        ("Nikola Jokić", "nikolajokic"),
        ("Alperen Şengün", "alperensengun"),
        ("Dennis Schröder", "dennisschroder"),
        ("Kristaps Porziņģis", "kristapsporzingis"),
        ("Tim Hardaway Jr.", "timhardawayjr"),
        ("Robert Williams III", "robertwilliamsiii"),
        ("Shai Gilgeous-Alexander", "shaigilgeousalexander"),
        ("De'Aaron Fox", "deaaronfox"),
        ("P.J. Tucker", "pjtucker"),
        ("Ömer Aş\N{LATIN SMALL LETTER DOTLESS I}k", "omerasik"),
        ("Marcin Łukasz Gortat", "marcinlukaszgortat"),
        ("Bojan Đorđević", "bojandordevic"),
        ("Søren Ǿgaard", "sorenogaard"),
    ],
)
def test_lookup_drops_accents_and_keeps_suffixes(name: str, lookup: str) -> None:
    """Guards against a player whose features and results no longer meet, because one of them was spelt otherwise."""
    assert player_lookup(name) == lookup


@given(st.text())
def test_lookup_is_lower_case_letters_and_stable(name: str) -> None:
    """Guards against keys that change when they pass through again, or that hold anything but a to z."""
    lookup = player_lookup(name)
    assert re.fullmatch("[a-z]*", lookup)
    assert player_lookup(lookup) == lookup


@given(st.text(alphabet=st.characters(max_codepoint=0x24F)))
def test_lookup_does_not_depend_on_the_form_of_unicode(name: str) -> None:
    """Guards against composed and decomposed accents giving two players."""
    assert player_lookup(unicodedata.normalize("NFC", name)) == player_lookup(unicodedata.normalize("NFD", name))


@given(st.permutations(["ATL", "BOS", "LAL"]).map(lambda teams: teams[:2]), st.booleans())
def test_both_teams_name_a_game_alike(teams: list[str], neutral: bool) -> None:
    """Guards against a game that falls in two because its teams' rows name it differently."""
    home, away = teams
    one = platform_game_id("2023-01-19", home, away, is_home=not neutral, neutral_site=neutral)
    other = platform_game_id("2023-01-19", away, home, is_home=False, neutral_site=neutral)
    first, second = sorted(teams) if neutral else (away, home)
    assert one == other == f"20230119_{first}_{second}"


# --- what is wrong is named -----------------------------------------------------------------------------------

Change = Callable[[pd.DataFrame], pd.DataFrame]


def at(column: str, value: Any, rows: int = 1) -> Change:
    """The first rows changed in one column."""

    def change(frame: pd.DataFrame) -> pd.DataFrame:
        return frame.assign(**{column: frame[column].where(frame.index >= rows, value)})

    return change


def plus(column: str, of: str, more: int) -> Change:
    """The first row's column set to another plus a number."""

    def change(frame: pd.DataFrame) -> pd.DataFrame:
        return frame.assign(**{column: frame[column].where(frame.index > 0, frame[of] + more)})

    return change


def first_game(frame: pd.DataFrame) -> pd.Series:
    return frame["game_id"].eq(frame["game_id"].iloc[0])


def in_first_game(column: str, value: Any) -> Change:
    """All rows of the first game changed in one column."""

    def change(frame: pd.DataFrame) -> pd.DataFrame:
        return frame.assign(**{column: frame[column].mask(first_game(frame), value)})

    return change


def repeat_a_row(frame: pd.DataFrame) -> pd.DataFrame:
    return pd.concat([frame, frame.iloc[[0]]], ignore_index=True)


def lose_a_team(frame: pd.DataFrame) -> pd.DataFrame:
    lost = first_game(frame) & (frame["team"] == frame.loc[0, "team"])
    return frame[~lost].reset_index(drop=True)


def play_twice(frame: pd.DataFrame) -> pd.DataFrame:
    again = frame[first_game(frame)].assign(game_id="9999999999")
    again = again.assign(player_id=again["player_id"] + 10**8, player_name=again["player_name"] + " Again")
    return pd.concat([frame, again], ignore_index=True)


def in_second_row(column: str, value: Any) -> Change:
    """Changed beyond a side's first row."""

    def change(frame: pd.DataFrame) -> pd.DataFrame:
        return frame.assign(**{column: frame[column].where(frame.index != 1, value)})

    return change


def overflow(frame: pd.DataFrame) -> pd.DataFrame:
    """Threes whose points, in 16 bits, are 2."""
    count = {"fgm": 21846, "fga": 21846, "fg3m": 21846, "fg3a": 21846, "ftm": 0, "pts": 2}
    return frame.assign(**{name: frame[name].where(frame.index > 0, value) for name, value in count.items()})


def two_negatives(frame: pd.DataFrame) -> pd.DataFrame:
    return at("oreb", -1)(in_second_row("pf", -1)(frame))


def third_team(frame: pd.DataFrame) -> pd.DataFrame:
    extra = frame.iloc[[0]].assign(team="LAL", player_id=10**8, player_name="Somebody Else")
    return pd.concat([frame, extra], ignore_index=True)


def keep_five(frame: pd.DataFrame) -> pd.DataFrame:
    of_team = first_game(frame) & (frame["team"] == frame.loc[0, "team"])
    return frame[~of_team | (of_team.cumsum() <= 5)].reset_index(drop=True)


def double_the_minutes(frame: pd.DataFrame) -> pd.DataFrame:
    of_team = first_game(frame) & (frame["team"] == frame.loc[0, "team"])
    return frame.assign(min=frame["min"].mask(of_team, (frame["min"] * 1.4).astype("int16")))


def swap_the_result(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(wl=frame["wl"].mask(first_game(frame), frame["wl"].map({"W": "L", "L": "W"})))


GAME = int((games_of(MONTH)["game_id"].to_pandas() == games_of(MONTH)["game_id"][0].as_py()).sum())
FIRST = games_of(MONTH).slice(0, 1).to_pylist()[0]
TEAM = sum(row["game_id"] == FIRST["game_id"] and row["team"] == FIRST["team"] for row in games_of(MONTH).to_pylist())


@pytest.mark.parametrize(
    ("change", "rule", "rows"),
    [
        (repeat_a_row, "a duplicate (date, player)", 2),
        (at("player_name", "???"), "a player without a name in letters", 1),
        (at("min", -1), "a negative count", 1),
        (at("min", 79), "more than 78 minutes", 1),
        (plus("pts", "pts", 1), "points that do not add up to 2 x twos + 3 x threes + free throws", 1),
        (plus("fga", "fgm", -1), "more shots made than taken", 1),
        (plus("fg3a", "fga", 1), "more threes than field goals", 1),
        (at("game_date", pd.Timestamp("2021-12-01").date(), rows=3), "a date outside 2021-11", 3),
        (at("season", "2020-21"), "another season than the date's", 1),
        (at("season_type", "Summer League"), "an unknown season type (known: Regular Season, Playoffs, Play-In,", 1),
        (overflow, "points that do not add up", 1),
        (two_negatives, "a negative count", 2),
        (at("opponent", FIRST["team"]), "a team that plays itself", 1),
        (at("wl", "D"), "a result other than W or L", 1),
    ],
    ids=lambda value: value.replace(" ", "-") if isinstance(value, str) else "",
)
def test_rows_that_no_box_score_can_have_are_refused(change: Change, rule: str, rows: int) -> None:
    """Guards against a wrong box score in every later average: the message names file, rule, count and first rows."""
    schema = games_of(MONTH).schema
    games = pa.Table.from_pandas(change(games_of(MONTH).to_pandas()), schema=schema, preserve_index=False)
    with pytest.raises(SourceDataError) as refused:
        summarise_player_games(games, MONTH, FILE)
    message = str(refused.value)
    assert message.startswith(f"{FILE}: ")
    assert f" of {games.num_rows:,} rows are invalid: " in message
    assert re.search(re.escape(rule) + rf"[^(]*\({rows:,}\)", message)
    assert re.search(r"First: game_date=2021-1[12]-\d\d player_name=\S.* team=\w{3} min=-?\d+ pts=\d+", message)
    assert "nothing was written for this month" in message


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lose_a_team, "rows of one team only"),
        (third_team, "rows of more than two teams"),
        (at("opponent", "LAL"), "an opponent that is not the other team"),
        (in_second_row("opponent", "LAL"), "an opponent that is not the other team"),
        (at("team", "XXX"), "an unknown team code"),
        (in_second_row("is_home", not FIRST["is_home"]), "rows of a team that contradict each other"),
        (in_first_game("opponent", "bos ton"), "an unknown team code"),
        (at("is_home", not FIRST["is_home"]), "rows of a team that contradict each other"),
        (play_twice, "a team with another game on the date"),
        (in_first_game("is_home", True), "two home teams or none"),
        (in_first_game("neutral_site", True), "two home teams or none"),
        (in_first_game("wl", "W"), "two winners or none"),
        (swap_the_result, "a winner who scored less"),
        (at("game_date", pd.Timestamp("2021-11-25").date(), rows=3), "an id with two dates"),
        (in_first_game("game_id", "0012100999"), "an id of another type of game than its season_type"),
        (in_first_game("game_id", "0042100999"), "an id of another type of game than its season_type"),
        (in_first_game("season_type", "Playoffs"), "an id of another type of game than its season_type"),
        (in_first_game("season_type", "Pre Season"), "an id of another type of game than its season_type"),
        (in_first_game("min", 0), "no minutes played"),
        (keep_five, "fewer than 6 players with minutes on a side"),
        (double_the_minutes, "a team with more minutes than the game had"),
    ],
    ids=lambda value: value.replace(" ", "-") if isinstance(value, str) else "",
)
def test_a_game_that_contradicts_itself_is_refused_alone(change: Change, reason: str) -> None:
    """Guards against half a game in every later average, and against a month that is lost for one game."""
    schema = games_of(MONTH).schema
    games = pa.Table.from_pandas(change(games_of(MONTH).to_pandas()), schema=schema, preserve_index=False)
    found = summarise_player_games(games, MONTH, FILE)
    refused = found.refused.to_pylist()
    assert {game["reason"] for game in refused} == {reason}
    assert len(refused) <= 2  # two games of one team on a date contradict each other
    assert found.table.num_rows + sum(game["rows"] for game in refused) == games.num_rows
    ids = {game["nba_game_id"] for game in refused}
    kept = summary_of(MONTH).filter(pc.invert(pc.is_in(summary_of(MONTH)["nba_game_id"], pa.array(list(ids)))))
    expected = kept.filter(pc.not_equal(kept["nba_game_id"], FIRST["game_id"]))
    assert found.table.equals(expected)


def test_more_than_one_percent_of_the_games_stops_the_month() -> None:
    """Guards against a month of which half is missing and that looks complete."""
    games = games_of(MONTH).to_pandas()
    some = games["game_id"].isin(games["game_id"].unique()[:4])
    broken = games.assign(wl=games["wl"].mask(some, games["wl"].map({"W": "L", "L": "W"})))
    expected = r"4 of 22\d games are refused, and at most 1% may be: a winner who"
    with pytest.raises(SourceDataError, match=expected) as refused:
        summarise_player_games(pa.Table.from_pandas(broken, preserve_index=False), MONTH, FILE)
    assert games["game_id"].iloc[0] in str(refused.value)


@pytest.mark.parametrize(
    ("theirs", "ours"), [("BRK", "BKN"), ("CHO", "CHA"), ("PHO", "PHX"), ("GS", "GSW"), ("WSH", "WAS"), ("utah", "UTA")]
)
def test_other_codes_of_a_team_are_one_team(theirs: str, ours: str) -> None:
    """Guards against one franchise with two histories, or refused, because a source abbreviates it in another way."""
    games = games_of(MONTH).to_pandas()
    renamed = games.assign(**{name: games[name].replace(ours, theirs) for name in ("team", "opponent")})
    found = summarise_player_games(pa.Table.from_pandas(renamed, preserve_index=False), MONTH, FILE)
    assert found.table.equals(summary_of(MONTH))


@pytest.mark.parametrize(
    ("spelling", "digit", "playoffs"),
    [("PlayIn", "5", False), ("Play-In", "2", False), ("NBA Cup", "6", False), ("Playoffs", "4", True)],
)
def test_games_of_other_types_count(spelling: str, digit: str, playoffs: bool) -> None:
    """Guards against play-in and cup games that are lost, or taken for playoffs."""
    games = games_of(MONTH).to_pandas()
    first, game_id = first_game(games), f"00{digit}2100999"
    games = games.assign(
        season_type=games["season_type"].mask(first, spelling), game_id=games["game_id"].mask(first, game_id)
    )
    found = summarise_player_games(pa.Table.from_pandas(games, preserve_index=False), MONTH, FILE)
    assert found.refused.num_rows == 0
    of_game = found.table.filter(pc.equal(found.table["nba_game_id"], game_id))
    assert set(of_game["playoffs"].to_pylist()) == {playoffs}


@pytest.mark.parametrize(("spelling", "digit"), [("Pre Season", "1"), ("All-Star", "3"), ("Preseason", "x")])
def test_preseason_and_all_star_games_are_set_aside_and_counted(spelling: str, digit: str) -> None:
    """Guards against exhibition games in every average, whatever their teams are called."""
    games = games_of(MONTH).to_pandas()
    first = first_game(games)
    rows = games[first].assign(season_type=spelling, game_id=f"00{digit}2100001", team="LEB", opponent="DUR")
    found = summarise_player_games(
        pa.Table.from_pandas(pd.concat([games, rows], ignore_index=True), preserve_index=False), MONTH, FILE
    )
    assert found.table.equals(summary_of(MONTH))
    assert sum(found.set_aside.values()) == 1
    assert found.refused.num_rows == 0


@pytest.mark.parametrize("unit", ["s", "us", "ns"])
def test_a_timestamp_with_its_zone_is_an_eastern_date(unit: str) -> None:
    """Guards against an evening's games that move to the next day, and so into a later average."""
    tip_off = pc.add(games_of(MONTH)["game_date"].cast(pa.timestamp(unit)), pa.scalar(25 * 3600, pa.duration("s")))
    found = summarise_player_games(replaced("game_date", tip_off.cast(pa.timestamp(unit, "UTC"))), MONTH, FILE)
    assert found.table.equals(summary_of(MONTH))


def test_a_time_without_its_zone_is_refused() -> None:
    """Guards against a guess at the date of a game that began at 00:40 somewhere."""
    times = pc.add(games_of(MONTH)["game_date"].cast(pa.timestamp("us")), pa.scalar(2400, pa.duration("s")))
    with pytest.raises(SourceDataError, match="game_date has a time of day and no time zone in 4,864 of 4,864 rows"):
        summarise_player_games(replaced("game_date", times), MONTH, FILE)


# --- who is who -----------------------------------------------------------------------------------------------


def test_another_spelling_keeps_the_first_lookup_and_is_reported() -> None:
    """Guards against a history cut in two on the day on which a suffix or an accent appeared."""
    games = games_of(MONTH).to_pandas()
    player, name = FIRST["player_id"], FIRST["player_name"]
    later = games.assign(player_name=games["player_name"].mask(games["player_id"] == player, f"{name} Jr."))
    earlier = OtherMonths(lookups_of(games_of(MONTH)), {})
    found = summarise_player_games(pa.Table.from_pandas(later, preserve_index=False), MONTH, FILE, earlier)
    assert found.table.drop_columns("player_name").equals(summary_of(MONTH).drop_columns("player_name"))
    assert found.respelled == (f"{name} Jr. ({player}) keeps the lookup {player_lookup(name)}",)


def test_two_ids_with_one_name_are_two_players() -> None:
    """Guards against namesakes who share one average."""
    games = games_of(MONTH).to_pandas()
    other = games["player_id"] == games.loc[games["player_id"] != FIRST["player_id"], "player_id"].iloc[0]
    named = games.assign(player_name=games["player_name"].mask(other, FIRST["player_name"]))
    found = summarise_player_games(pa.Table.from_pandas(named, preserve_index=False), MONTH, FILE)
    lookups = found.table.group_by(["universal_player_id", "player_lookup"]).aggregate([])
    assert lookups.num_rows == len(lookups["player_lookup"].unique()) == games["player_id"].nunique()
    assert found.respelled == ()


def test_a_game_on_a_date_that_another_game_has_too_is_refused_with_it() -> None:
    """Guards against a team's game that passes because the other one of its date has that date in one row only."""
    games = games_of(MONTH).to_pandas()
    own = games[games["team"] == FIRST["team"]]
    moved = own[first_game(own)].index[-1]
    without = own.groupby("game_id")["player_id"].agg(lambda players: games.loc[moved, "player_id"] not in set(players))
    later = own[own["game_id"] == without.idxmax()]
    assert moved != own.index[0], "the first row of a side stays"
    games.loc[moved, "game_date"] = later["game_date"].iloc[0]
    table = pa.Table.from_pandas(games, schema=games_of(MONTH).schema, preserve_index=False)
    refused = summarise_player_games(table, MONTH, FILE).refused.to_pylist()
    assert {game["nba_game_id"]: game["reason"] for game in refused} == {
        FIRST["game_id"]: "an id with two dates",
        later["game_id"].iloc[0]: "a team with another game on the date",
    }


def test_a_game_that_another_month_has_too_is_refused() -> None:
    """Guards against games that count twice because two files have them."""
    others = OtherMonths(lookups_of(games_of(MONTH)), {FIRST["game_id"]: "2021-12"})
    found = summarise_player_games(games_of(MONTH), MONTH, FILE, others)
    assert found.refused["reason"].to_pylist() == ["an id that another month has too"]


def test_at_most_five_rows_are_shown() -> None:
    """Guards against a message of thousands of rows, which nobody reads."""
    games = games_of(MONTH).to_pandas().assign(wl="D")
    with pytest.raises(SourceDataError) as refused:
        summarise_player_games(pa.Table.from_pandas(games, preserve_index=False), MONTH, FILE)
    assert str(refused.value).count("player_name=") == 5
    assert "a result other than W or L (4,864)" in str(refused.value)


def replaced(name: str, values: pa.ChunkedArray | pa.Array) -> pa.Table:
    games = games_of(MONTH)
    return games.set_column(games.column_names.index(name), name, values)


def test_missing_columns_are_all_named() -> None:
    """Guards against mending a file one column a try."""
    with pytest.raises(
        SourceDataError, match=re.escape(f"{FILE} lacks the columns min, pts. Required columns: season, ")
    ):
        summarise_player_games(games_of(MONTH).drop_columns(["pts", "min"]), MONTH, FILE)
    with pytest.raises(SourceDataError, match="lacks the column wl"):
        summarise_player_games(games_of(MONTH).drop_columns(["wl"]), MONTH, FILE)


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("pts", games_of(MONTH)["pts"].cast(pa.string()), "the column pts is string and cannot be read as int16"),
        ("team", games_of(MONTH)["player_id"], "the column team is int64 and cannot be read as string"),
        (
            "game_date",
            games_of(MONTH)["game_date"].cast(pa.string()),
            "the column game_date is string and cannot be read as date32",
        ),
        ("min", pc.add(games_of(MONTH)["min"].cast(pa.float64()), 0.5), "the column min is double and cannot be read"),
        ("pts", pa.array([70_000] * 4864, pa.int32()), "the column pts is int32 and cannot be read as int16"),
        ("pts", pa.array([None] * 3 + [0] * 4861, pa.int16()), "the column pts is null in 3 of 4,864 rows"),
        ("wl", pa.array([None] * 4864, pa.string()), "the column wl is null in 4,864 of 4,864 rows"),
    ],
    ids=[
        "text for a number",
        "number for text",
        "text for a date",
        "half minutes",
        "too large",
        "three nulls",
        "all null",
    ],
)
def test_columns_of_another_type_are_refused(name: str, values: pa.ChunkedArray, message: str) -> None:
    """Guards against a quiet cast: text for a number is a broken export, a null is a lost value."""
    with pytest.raises(SourceDataError, match=re.escape(f"{FILE}: {message}")):
        summarise_player_games(replaced(name, values), MONTH, FILE)


def test_a_file_without_rows_is_refused() -> None:
    """Guards against an empty export that would pass every rule and leave a hole in all later averages."""
    with pytest.raises(SourceDataError, match=re.escape(f"{FILE} has no rows")):
        summarise_player_games(games_of(MONTH).slice(0, 0), MONTH, FILE)


# --- lines ----------------------------------------------------------------------------------------------------


def listed(**changed: object) -> pa.Table:
    """Three listed lines, the last without an id."""
    columns = {
        "game_date": pa.array(["2024-11-01"] * 3).cast(pa.date32()),
        "player_id": pa.array([1629029, 203999, None], pa.int64()),
        "player_name": ["Luka Dončić", "Nikola Jokić", "Nobody"],
        "book": ["prizepicks", "underdog", "underdog"],
        "line": [28.5, 30.5, 1.5],
    }
    return pa.table({**columns, **changed})


def test_lines_are_keyed_by_the_platforms_player() -> None:
    """Guards ids, by which lines are matched, and lines without one, which may still be somebody's by name."""
    lines = normalise_prop_lines(listed(), "lines.parquet")
    assert lines.schema == PRICED_LINES
    assert lines["universal_player_id"].to_pylist() == ["1629029", "203999", None]
    assert lines["player_lookup"].to_pylist() == ["lukadoncic", "nikolajokic", "nobody"]
    assert lines["line"].to_pylist() == [28.5, 30.5, 1.5]


@pytest.mark.parametrize(
    "ids",
    [
        pa.array([1629029.0, 203999.0, float("nan")]),
        pa.array([1629029.0, 203999.0, None]),
        pa.array([1629029, 203999, None], pa.int32()),
    ],
    ids=["floats with NaN", "floats with null", "int32"],
)
def test_ids_with_gaps_are_read_in_any_of_their_types(ids: pa.Array) -> None:
    """Guards against a refused file, or an id of '1629029.0', where pandas wrote the column with gaps as floats."""
    lines = normalise_prop_lines(listed(player_id=ids), "lines.parquet")
    assert lines["universal_player_id"].to_pylist() == ["1629029", "203999", None]


def test_a_file_of_lines_without_any_id_is_read() -> None:
    """Guards lines of a source without ids: an empty column is there, of Arrow's type for nothing."""
    lines = normalise_prop_lines(listed(player_id=pa.nulls(3)), "lines.parquet")
    assert lines["universal_player_id"].null_count == 3


def test_an_id_that_is_no_whole_number_is_refused() -> None:
    """Guards against an id cut to another player's."""
    with pytest.raises(SourceDataError, match=r"the column player_id is double and cannot be read as int64"):
        normalise_prop_lines(listed(player_id=pa.array([1629029.5, 203999.0, None])), "lines.parquet")


@pytest.mark.parametrize("line", [-0.5, 80.5, float("nan"), float("inf")])
def test_a_line_that_cannot_be_is_refused(line: float) -> None:
    """Guards against yards or odds in the points column."""
    with pytest.raises(
        SourceDataError, match=r"lines\.parquet: 1 of 3 rows are invalid: a points line outside 0 to 80 \(1\)"
    ):
        normalise_prop_lines(listed(line=[28.5, line, 1.5]), "lines.parquet")


def test_a_file_of_lines_without_a_column_is_refused() -> None:
    """Guards against lines that silently match nobody because the player's column is called otherwise."""
    with pytest.raises(SourceDataError, match=r"lines\.parquet lacks the column player_id\."):
        normalise_prop_lines(
            listed().rename_columns(["game_date", "id", "player_name", "book", "line"]), "lines.parquet"
        )
