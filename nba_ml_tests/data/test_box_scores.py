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
from nba_ml.data.box_scores import normalise_prop_lines, platform_game_id, player_lookup, summarise_player_games
from nba_ml.data.tables import PLAYER_GAME_SUMMARY, PROP_LINES
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


def test_the_readme_lists_every_season_month() -> None:
    """Guards against a month that is tested nowhere because the list here lost it."""
    assert list(ROWS) == season_months("2021-10", "2025-06")
    assert sum(ROWS.values()) == 111_750


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
    assert summarise_player_games(reverse, MONTH, FILE).equals(summary_of(MONTH))


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
    assert summarise_player_games(other, MONTH, FILE).equals(summary_of(MONTH))


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


def name_two_alike(frame: pd.DataFrame) -> pd.DataFrame:
    return at("player_name", frame.loc[0, "player_name"], rows=2)(frame)


def lose_a_team(frame: pd.DataFrame) -> pd.DataFrame:
    lost = first_game(frame) & (frame["team"] == frame.loc[0, "team"])
    return frame[~lost].reset_index(drop=True)


def play_twice(frame: pd.DataFrame) -> pd.DataFrame:
    again = frame[first_game(frame)].assign(game_id="9999999999")
    again = again.assign(player_id=again["player_id"] + 10**8, player_name=again["player_name"] + " Again")
    return pd.concat([frame, again], ignore_index=True)


GAME = int((games_of(MONTH)["game_id"].to_pandas() == games_of(MONTH)["game_id"][0].as_py()).sum())
FIRST = games_of(MONTH).slice(0, 1).to_pylist()[0]
TEAM = sum(row["game_id"] == FIRST["game_id"] and row["team"] == FIRST["team"] for row in games_of(MONTH).to_pylist())


@pytest.mark.parametrize(
    ("change", "rule", "rows"),
    [
        (repeat_a_row, "a duplicate (date, player)", 2),
        (name_two_alike, "two players with the same name on a date", 2),
        (at("player_name", "???"), "a player name without letters", 1),
        (at("min", -1), "a negative count", 1),
        (at("min", 79), "more than 78 minutes", 1),
        (plus("pts", "pts", 1), "points that do not add up to 2 x twos + 3 x threes + free throws", 1),
        (plus("fga", "fgm", -1), "more shots made than taken", 1),
        (plus("fg3a", "fga", 1), "more threes than field goals", 1),
        (at("game_date", pd.Timestamp("2021-12-01").date(), rows=3), "a date outside 2021-11", 3),
        (at("season", "2020-21"), "a season other than 2021-22", 1),
        (at("season_type", "Pre Season"), "a season type other than Regular Season or Playoffs", 1),
        (at("team", "bos"), "a team that is not three capital letters", 1),
        (at("opponent", FIRST["team"]), "a team that plays itself", 1),
        (lose_a_team, "a game without exactly two teams", GAME - TEAM),
        (at("opponent", "SEA"), "an opponent that is not the game's other team", 1),
        (at("is_home", not FIRST["is_home"]), "a team whose rows of one game disagree", TEAM),
        (play_twice, "a team with two games on a date", 2 * GAME),
        (in_first_game("is_home", True), "a game without one home and one away team", GAME),
        (in_first_game("neutral_site", True), "a game without one home and one away team", GAME),
        (at("wl", "D"), "a result other than W or L", 1),
        (in_first_game("wl", "W"), "a game without one winner and one loser", GAME),
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
    assert f"{rule} ({rows:,})" in message
    assert re.search(r"First: game_date=2021-1[12]-\d\d player_name=\S.* team=\w{3} min=-?\d+ pts=\d+", message)
    assert "nothing was written for this month" in message


def test_at_most_five_rows_are_shown() -> None:
    """Guards against a message of thousands of rows, which nobody reads."""
    games = games_of(MONTH).to_pandas().assign(wl="W")
    with pytest.raises(SourceDataError) as refused:
        summarise_player_games(pa.Table.from_pandas(games, preserve_index=False), MONTH, FILE)
    assert str(refused.value).count("player_name=") == 5
    assert "a game without one winner and one loser (4,864)" in str(refused.value)


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
    assert lines.schema == PROP_LINES
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
