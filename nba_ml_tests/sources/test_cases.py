"""What real files contain and tidy ones do not: the inputs of `cases/`, and at least three more for each kind of fault.

The kinds: seasons unlike the last four, names as keys, facts that contradict each other, times cast with loss, input
that matches nothing, and files that change while the source is open.
"""

from __future__ import annotations

import re
import shutil
from collections import Counter
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from nba_ml.contract.errors import SourceDataError
from nba_ml.contract.season import month_bounds, season_on
from nba_ml.contract.teams import TEAM_CODES
from nba_ml.contract.times import look_like_dates
from nba_ml.data.box_scores import PlayerGames, typed_games
from nba_ml.data.features import match_lines
from nba_ml.data.identities import player_lookup
from nba_ml.data.lines import LineCounts, LineOutcome
from nba_ml.defs.assets.player_game_summary import build
from nba_ml.settings import SAMPLE_DATA
from nba_ml.sources.embedded import EmbeddedFeatureSource, source_months
from nba_ml.sources.importers import values
from nba_ml_tests.conftest import games_of, summary_of

CASES = Path(__file__).with_name("cases")
MONTH = "2021-12"
GAME = "0022100319"


def case(name: str) -> pa.Table:
    """An input as it is."""
    return pq.read_table(CASES / f"{name}.parquet")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A user's folder without a file."""
    (tmp_path / "player_games").mkdir()
    (tmp_path / "prop_lines").mkdir()
    return tmp_path


def write(data: Path, month: str, *tables: pa.Table) -> None:
    """A month's file. The first table has the types."""
    rows = pa.concat_tables([table.replace_schema_metadata(None) for table in tables], promote_options="permissive")
    pq.write_table(rows, data / "player_games" / f"{month}.parquet")


def without(month: str, games: pa.Table) -> pa.Table:
    """The shipped month without the games that are among others, by date and team."""
    others = {(row["game_date"], row["team"]) for row in games.select(["game_date", "team"]).to_pylist()}
    rows = games_of(month).select(games.column_names).to_pylist()
    left = [row for row in rows if (row["game_date"], row["team"]) not in others]
    return pa.Table.from_pylist(left, games_of(month).select(games.column_names).schema)


def read(data: Path, month: str = MONTH) -> PlayerGames:
    return EmbeddedFeatureSource(str(data)).player_game_summary(month)


def reasons(found: PlayerGames) -> dict[str, str]:
    rows = found.refused.to_pylist()
    return {row["nba_game_id"]: row["reason"] for row in rows}


def edited(table: pa.Table, change: Callable[[pd.DataFrame], pd.DataFrame]) -> pa.Table:
    """A table after a change of its frame; columns keep their types."""
    frame = change(table.to_pandas()).reset_index(drop=True)
    return pa.Table.from_pandas(frame, table.schema, preserve_index=False)


# --- the inputs of cases/ -------------------------------------------------------------------------------------

REFUSED = {
    "half_the_rows_of_a_game": (GAME, "fewer than 6 players with minutes on a side"),
    "preseason_id_called_regular_season": ("0012100001", "an id of another type of game than its season_type"),
    "winner_scored_less_inverted_wl": (GAME, "a winner who scored less"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_game_that_cannot_be_is_refused_and_its_month_goes_on(data: Path, name: str) -> None:
    """Guards against half a game in every average, and against a month that is lost for one game."""
    game, reason = REFUSED[name]
    rows = case(name)
    write(data, MONTH, without(MONTH, rows), rows)
    found = read(data)
    assert reasons(found) == {game: reason}
    assert game not in found.table["nba_game_id"].to_pylist()
    assert found.table.num_rows == len(without(MONTH, rows)) + pc.sum(pc.not_equal(rows["game_id"], game)).as_py()


@pytest.mark.parametrize("name", REFUSED)
def test_a_month_of_which_more_than_one_percent_cannot_be_is_stopped(data: Path, name: str) -> None:
    """Guards against a month of few games of which half is missing."""
    write(data, MONTH, case(name))
    with pytest.raises(SourceDataError, match=f"1 of 2 games are refused.*{re.escape(REFUSED[name][1])}") as stopped:
        read(data)
    assert REFUSED[name][0] in str(stopped.value)


def test_what_is_left_out_is_on_the_assets_record(data: Path) -> None:
    """Guards against a game, a player or an id that is changed or left out without a word in Dagster."""
    rows = case("winner_scored_less_inverted_wl")
    month = without(MONTH, rows)
    first = month["game_id"][0].as_py()
    preseason = edited(
        month.filter(pc.equal(month["game_id"], first)),
        lambda frame: frame.assign(game_id="0012100001", season_type="Pre Season", game_date=date(2021, 12, 24)),
    )
    spelled = edited(games_of("2021-11"), lambda frame: frame.assign(player_name=frame["player_name"] + " Jr."))
    numbers = with_ids(month, month["game_id"].cast(pa.int64()).cast(pa.string()))
    write(data, "2021-11", spelled.filter(pc.greater(spelled["game_date"], date(2021, 11, 5))))
    write(data, MONTH, numbers, rows, preseason)
    found = {month: recorded(data, month) for month in ("2021-11", MONTH)}
    assert "2021-10-19" in found["2021-11"]["starts_mid_season"]
    december = found[MONTH]
    assert "a winner who scored less" in december["refused_games"]
    assert GAME in december["refused_games"]
    assert december["games_refused"] == 1
    assert (december["games_set_aside"], december["set_aside_by_type"]) == (1, {"Pre Season": 1})
    assert december["game_ids_padded"] == len(month["game_id"].unique())
    assert december["zero_minute_rows"] > 0
    assert len(december["respelled_players"]) > 300
    assert "starts_mid_season" not in december


def recorded(data: Path, month: str) -> dict[str, Any]:
    """The metadata of the asset."""
    run = dg.materialize(
        [build(dg.StaticPartitionsDefinition([month]))],
        partition_key=month,
        resources={"feature_source": EmbeddedFeatureSource(str(data))},
    )
    [made] = run.asset_materializations_for_node("player_game_summary")
    return {name: value.value for name, value in made.metadata.items()}


def test_another_sources_team_codes_are_the_same_teams(data: Path) -> None:
    """Guards against BRK and BKN as two teams, each with half a history."""
    rows = case("basketball_reference_team_codes")
    write(data, MONTH, rows)
    plain = read(data).table
    assert set(plain["team_abbr"].to_pylist()) <= set(TEAM_CODES)
    assert plain.num_rows == rows.num_rows
    theirs = {"BKN": "BRK", "CHA": "CHO", "PHX": "PHO", "NOP": "NO", "GSW": "GS", "UTA": "Utah", "WAS": "wsh"}
    both = ["team", "opponent"]
    write(data, MONTH, edited(games_of(MONTH), lambda frame: frame.assign(**frame[both].replace(theirs))))
    assert read(data).table.equals(summary_of(MONTH))


def test_a_utc_time_stamp_is_the_eastern_date(data: Path) -> None:
    """Guards against an evening's games on the day after."""
    rows = case("date_as_timestamp_utc")
    assert {str(moment) for moment in rows["game_date"].cast(pa.date32()).to_pylist()} == {"2021-12-02"}
    write(data, MONTH, rows)
    assert set(read(data).table["game_date"].to_pylist()) == {date(2021, 12, 1)}


def test_finals_in_october_are_of_the_season_that_they_end(data: Path) -> None:
    """Guards against a refused month, and against Finals as the next season's opening."""
    write(data, "2020-10", case("finals_2020_in_october"))
    found = read(data, "2020-10")
    assert set(found.table["season"].to_pylist()) == {"2019-20"}
    assert found.table["playoffs"].to_pylist() == [True] * 22
    assert source_months(data) == ["2020-10"]


def test_a_play_in_game_counts_and_is_no_playoff_game(data: Path) -> None:
    """Guards against a refused month, and against play-in games taken for playoffs."""
    rows = case("play_in_game")
    write(data, MONTH, rows)
    found = read(data)
    assert (found.table.num_rows, found.refused.num_rows, dict(found.set_aside)) == (rows.num_rows, 0, {})
    assert found.table["playoffs"].to_pylist() == [False] * rows.num_rows


def test_games_that_two_months_have_are_refused_in_both(data: Path) -> None:
    """Guards against games that count twice."""
    rows = case("same_games_in_two_months")
    games = set(rows["game_id"].to_pylist())
    assert games < set(games_of("2021-11")["game_id"].to_pylist()), "they were played on November 30"
    write(data, "2021-11", games_of("2021-11"))
    write(data, MONTH, without(MONTH, rows), rows)
    for month in ("2021-11", MONTH):
        assert reasons(read(data, month)) == dict.fromkeys(games, "an id that another month has too")


def test_a_suffix_that_one_month_adds_is_the_same_player(data: Path) -> None:
    """Guards against a history cut in two at the new spelling."""
    suffixed = case("suffix_added_in_one_month")
    plain = edited(
        case("basketball_reference_team_codes"),
        lambda frame: frame.assign(
            game_date=frame["game_date"].map(lambda day: day - timedelta(30)),
            game_id=frame["game_id"].str.replace("00221003", "00221001"),
        ),
    )
    names = dict(zip(plain["player_id"].to_pylist(), plain["player_name"].to_pylist(), strict=True))
    others = [row for row in suffixed.to_pylist() if names[row["player_id"]] != row["player_name"]]
    assert others
    write(data, "2021-11", plain)
    write(data, MONTH, suffixed)
    found = read(data)
    lookups = dict(
        zip(found.table["universal_player_id"].to_pylist(), found.table["player_lookup"].to_pylist(), strict=True)
    )
    assert lookups == {str(player): player_lookup(name) for player, name in names.items()}
    assert len(found.respelled) == len({row["player_id"] for row in others})


# --- lines of cases/ ------------------------------------------------------------------------------------------


def outcomes(data: Path, name: str, player: int, called: str, day: date) -> Counter[str]:
    """What becomes of an input's lines if the player played on the day, under a name."""
    shutil.copy(CASES / f"{name}.parquet", data / "prop_lines")
    games = games_of("2024-12").to_pandas()
    [first, *_] = games.index[games["game_date"] == day]
    games.loc[games["player_id"] == games.loc[first, "player_id"], ["player_id", "player_name"]] = [player, called]
    write(data, "2024-12", pa.Table.from_pandas(games, games_of("2024-12").schema, preserve_index=False))
    source = EmbeddedFeatureSource(str(data))
    summary = source.player_game_summary("2024-12").table
    matched = match_lines(summary, source.prop_lines("2024-12"), *month_bounds("2024-12"))
    return Counter(matched["outcome"].to_pylist())


def test_a_line_by_id_needs_no_suffix(data: Path) -> None:
    """Guards against the lines of every junior, which books write without 'Jr.'."""
    found = outcomes(data, "line_with_id_and_name_without_its_suffix", 900003, "Player Gamma Jr.", date(2024, 12, 1))
    assert found == {LineOutcome.BY_ID: 1}


def test_lines_dated_by_their_tip_off_in_utc_are_of_the_evening_before(data: Path) -> None:
    """Guards against an evening's lines that match nobody, or the next day's game."""
    found = outcomes(data, "lines_dated_by_utc_tip_off", 900001, "Player Alpha", date(2024, 12, 1))
    assert found == {LineOutcome.BY_ID: 1, LineOutcome.ID_UNKNOWN: 1}


def test_a_line_that_cannot_be_fails_its_own_month(data: Path) -> None:
    """Guards all months against a typing error in one."""
    for file in (CASES / "line_of_85_in_2025.parquet", *(SAMPLE_DATA / "prop_lines").glob("*.parquet")):
        shutil.copy(file, data / "prop_lines")
    source = EmbeddedFeatureSource(str(data))
    assert source.prop_lines("2024-12").equals(EmbeddedFeatureSource(str(SAMPLE_DATA)).prop_lines("2024-12"))
    with pytest.raises(SourceDataError, match=r"line_of_85_in_2025\.parquet: 1 of 1 rows are invalid.*line=85\.5"):
        source.prop_lines("2025-12")


# --- seasons unlike the last four -----------------------------------------------------------------------------


def moved(month: str, to: str, *, first: int = 1, last: int = 31, kind: str | None = None) -> pa.Table:
    """Real games of a month on the same days of another, in the season of the date; of one type if `kind`."""

    def change(frame: pd.DataFrame) -> pd.DataFrame:
        frame = frame[frame["game_date"].map(lambda day: first <= day.day <= last)]
        frame = frame if kind is None else frame[frame["season_type"] == kind]
        days = frame["game_date"].map(lambda day: date.fromisoformat(f"{to}-{day.day:02d}"))
        return frame.assign(game_date=days, season=[season_on(day).name for day in days])

    return edited(games_of(month), change)


@pytest.mark.parametrize(
    ("month", "rows", "season"),
    [
        ("2020-08", moved("2022-04", "2020-08"), "2019-20"),  # the bubble: seeding games, play-in and playoffs
        ("2021-07", moved("2022-06", "2021-07", last=16), "2020-21"),  # Finals in July
        ("2020-12", moved("2021-12", "2020-12", first=22), "2020-21"),  # an opening at Christmas
        ("2031-11", moved("2021-11", "2031-11"), "2031-32"),  # a season that the calendar does not know
        ("2016-04", moved("2022-04", "2016-04"), "2015-16"),
    ],
    ids=["2020-08", "2021-07", "2020-12", "2031-11", "2016-04"],
)
def test_seasons_of_other_dates_are_read(data: Path, month: str, rows: pa.Table, season: str) -> None:
    """Guards against a calendar that knows four seasons only."""
    write(data, month, rows)
    found = read(data, month)
    assert (found.table.num_rows, found.refused.num_rows) == (rows.num_rows, 0)
    assert set(found.table["season"].to_pylist()) == {season}


@pytest.mark.parametrize(("month", "season"), [("2020-10", "2020-21"), ("2021-07", "2021-22"), ("2020-12", "2019-20")])
def test_a_season_that_is_not_the_dates_is_refused(data: Path, month: str, season: str) -> None:
    """Guards against a season named by its month, which files made with a rule of thumb have."""
    rows = {"2020-10": ("2022-06", 11), "2021-07": ("2022-06", 16), "2020-12": ("2021-12", 31)}[month]
    named = edited(moved(rows[0], month, last=rows[1]), lambda frame: frame.assign(season=season))
    write(data, month, named)
    with pytest.raises(SourceDataError, match="another season than the date's"):
        read(data, month)


# --- names as keys --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "spelling",
    [str.upper, lambda name: f"{name} Jr.", lambda name: name.replace("e", "é"), lambda name: name.split()[-1]],
    ids=["capitals", "suffix", "accent", "last name"],
)
def test_a_spelling_changes_no_history(data: Path, spelling: Callable[[str], str]) -> None:
    """Guards against players who begin anew in the month in which a source changed its spelling."""
    write(data, "2021-11", games_of("2021-11"))
    names = games_of(MONTH)["player_name"].to_pylist()
    column = pa.array([spelling(name) for name in names])
    write(
        data,
        MONTH,
        games_of(MONTH).set_column(games_of(MONTH).column_names.index("player_name"), "player_name", column),
    )
    november = EmbeddedFeatureSource(str(data)).player_game_summary("2021-11").table
    known = dict(zip(november["universal_player_id"].to_pylist(), november["player_lookup"].to_pylist(), strict=True))
    december = read(data).table
    for player, lookup in zip(
        december["universal_player_id"].to_pylist(), december["player_lookup"].to_pylist(), strict=True
    ):
        assert known.get(player, lookup) == lookup


def test_a_name_that_a_second_id_takes_over_is_a_second_player(data: Path) -> None:
    """Guards against a rookie who inherits the average of a namesake."""
    write(data, "2021-11", games_of("2021-11"))
    known = games_of("2021-11")["player_name"][0].as_py()
    frame = games_of(MONTH).to_pandas()
    newcomer = int(
        frame.loc[~frame["player_id"].isin(games_of("2021-11")["player_id"].to_pylist()), "player_id"].iloc[0]
    )
    frame.loc[frame["player_id"] == newcomer, "player_name"] = known
    write(data, MONTH, pa.Table.from_pandas(frame, games_of(MONTH).schema, preserve_index=False))
    table = read(data).table
    lookups = set(table.filter(pc.equal(table["universal_player_id"], str(newcomer)))["player_lookup"].to_pylist())
    assert lookups == {f"{player_lookup(known)}{newcomer}"}


def test_two_players_who_swap_their_names_stay_who_they_are(data: Path) -> None:
    """Guards against histories that change hands with the spelling."""
    write(data, "2021-11", games_of("2021-11"))
    frame = games_of(MONTH).to_pandas()
    (one, first), (two, second) = frame[["player_id", "player_name"]].drop_duplicates().iloc[:2].to_numpy().tolist()
    frame["player_name"] = frame["player_name"].replace({first: second, second: first})
    write(data, MONTH, pa.Table.from_pandas(frame, games_of(MONTH).schema, preserve_index=False))
    found = read(data)
    assert found.table.drop_columns("player_name").equals(summary_of(MONTH).drop_columns("player_name"))
    assert len(found.respelled) == 2, (one, two)


# --- facts that contradict each other -------------------------------------------------------------------------


def of_first_game(frame: pd.DataFrame) -> pd.Series:
    return frame["game_id"] == frame["game_id"].iloc[0]


def of_first_team(frame: pd.DataFrame) -> pd.Series:
    return of_first_game(frame) & (frame["team"] == frame["team"].iloc[0])


def best_player_lost(frame: pd.DataFrame) -> pd.DataFrame:
    """An export that lost the row of the one who played most."""
    return frame.drop(frame[of_first_team(frame)].sort_values("min").index[-1])


FACTS: dict[str, tuple[Callable[[pd.DataFrame], pd.DataFrame], str]] = {
    "a row is missing": (best_player_lost, "a team with fewer than 225 minutes"),
    "home on both sides": (
        lambda frame: frame.assign(is_home=frame["is_home"] | of_first_game(frame)),
        "two home teams or none",
    ),
    "minutes of another game": (
        lambda frame: frame.assign(min=frame["min"] + 5 * (of_first_team(frame) & (frame["min"] > 0))),
        "a team with more minutes than the game had",
    ),
    "no minutes yet": (lambda frame: frame.assign(min=frame["min"].mask(of_first_game(frame), 0)), "no minutes played"),
    "two winners": (lambda frame: frame.assign(wl=frame["wl"].mask(of_first_game(frame), "W")), "two winners or none"),
}


@pytest.mark.parametrize("name", FACTS, ids=lambda name: name.replace(" ", "-"))
def test_a_game_whose_rows_contradict_each_other_is_refused(data: Path, name: str) -> None:
    """Guards against facts of which one must be wrong."""
    change, reason = FACTS[name]
    schema = games_of(MONTH).schema
    frame = change(games_of(MONTH).to_pandas()).astype({"min": "int16"})
    write(data, MONTH, pa.Table.from_pandas(frame, schema, preserve_index=False))
    assert reasons(read(data)) == {games_of(MONTH)["game_id"][0].as_py(): reason}


def test_a_game_of_which_each_month_has_a_half_is_refused_in_both(data: Path) -> None:
    """Guards against a game at the turn of the month that an export by UTC cut in two."""
    frame = games_of("2021-11").to_pandas()
    late = frame[frame["game_date"] == date(2021, 11, 30)]
    game = late["game_id"].iloc[0]
    half = late[(late["game_id"] == game) & ~late["is_home"]]
    write(data, "2021-11", edited(games_of("2021-11"), lambda all_: all_.drop(half.index)))
    over = pa.Table.from_pandas(half.assign(game_date=date(2021, 12, 1)), games_of(MONTH).schema, preserve_index=False)
    write(data, MONTH, without(MONTH, over), over)
    for month in ("2021-11", MONTH):
        assert reasons(read(data, month)) == {game: "an id that another month has too"}


def with_ids(table: pa.Table, ids: pa.ChunkedArray) -> pa.Table:
    return table.set_column(table.column_names.index("game_id"), "game_id", ids)


NUMBERS = games_of(MONTH)["game_id"].cast(pa.int64())
IDS = {
    "int64": NUMBERS,
    "double": NUMBERS.cast(pa.float64()),
    "text": NUMBERS.cast(pa.string()),
    "text-of-a-double": pc.binary_join_element_wise(NUMBERS.cast(pa.string()), "0", "."),
    "dictionary": NUMBERS.cast(pa.string()).dictionary_encode(),
}


@pytest.mark.parametrize("name", IDS)
def test_an_id_that_lost_its_zeros_is_the_same_game(data: Path, name: str) -> None:
    """Guards against playoffs that no digit gives away, and against a game twice, of which one went through pandas."""
    write(data, MONTH, with_ids(games_of(MONTH), IDS[name]))
    found = read(data)
    assert found.table.equals(summary_of(MONTH))
    assert found.padded_ids == len(set(summary_of(MONTH)["nba_game_id"].to_pylist()))


def test_an_id_that_lost_its_zeros_in_one_month_is_the_other_months_game(data: Path) -> None:
    """Guards against a game that counts twice because one of two files spells its id otherwise."""
    rows = case("same_games_in_two_months")
    write(data, "2021-11", with_ids(games_of("2021-11"), games_of("2021-11")["game_id"].cast(pa.int64())))
    write(data, MONTH, without(MONTH, rows), rows)
    games = set(rows["game_id"].to_pylist())
    for month in ("2021-11", MONTH):
        assert reasons(read(data, month)) == dict.fromkeys(games, "an id that another month has too")


def test_a_preseason_id_without_its_zeros_is_a_preseason_id(data: Path) -> None:
    """Guards against a rule that reads the third digit of what is not ten digits."""
    rows = case("preseason_id_called_regular_season")
    short = with_ids(rows, rows["game_id"].cast(pa.int64()))
    write(data, MONTH, with_ids(without(MONTH, rows), without(MONTH, rows)["game_id"].cast(pa.int64())), short)
    assert reasons(read(data)) == {"0012100001": "an id of another type of game than its season_type"}


@pytest.mark.parametrize(
    "ids", [pc.add(NUMBERS.cast(pa.float64()), 0.5), pa.array([True] * 4398)], ids=["half", "bool"]
)
def test_an_id_that_is_no_whole_number_is_refused(data: Path, ids: pa.ChunkedArray) -> None:
    """Guards against two games whose ids a cast makes one."""
    write(data, MONTH, with_ids(games_of(MONTH), ids))
    with pytest.raises(SourceDataError, match=r"the column game_id is (double|bool) and cannot be read as string"):
        read(data)


# --- times cast with loss -------------------------------------------------------------------------------------


def dated(values: pa.ChunkedArray) -> pa.Table:
    games = games_of(MONTH)
    return games.set_column(games.column_names.index("game_date"), "game_date", values)


def days_plus(hours: float, unit: str = "us") -> pa.ChunkedArray:
    seconds = pa.scalar(round(hours * 3600), pa.duration("s"))
    return pc.add(games_of(MONTH)["game_date"].cast(pa.timestamp(unit)), seconds.cast(pa.duration(unit)))


TIMES = {
    "midnight-Eastern-in-UTC": days_plus(5).cast(pa.timestamp("us", "UTC")),
    "half-past-ten-Eastern-in-UTC": days_plus(27.5).cast(pa.timestamp("us", "UTC")),
    "in-a-zone-of-its-own": days_plus(24).cast(pa.timestamp("us", "America/Los_Angeles")),
    "date64": games_of(MONTH)["game_date"].cast(pa.date64()),
    "midnight-without-a-zone": days_plus(0, "ns"),
}


@pytest.mark.parametrize("name", TIMES)
def test_a_time_whose_eastern_date_is_certain_is_that_date(data: Path, name: str) -> None:
    """Guards against games on the day before or after, and so in the history of their own evening."""
    write(data, MONTH, dated(TIMES[name]))
    assert read(data).table.equals(summary_of(MONTH))


@pytest.mark.parametrize("hours", [0.5, 19, 24 - 1 / 3600], ids=["after-midnight", "evening", "a-second-before"])
def test_a_time_whose_zone_is_not_known_is_refused(data: Path, hours: float) -> None:
    """Guards against a guess: in UTC these are two dates."""
    write(data, MONTH, dated(days_plus(hours)))
    with pytest.raises(SourceDataError, match="game_date has a time of day and no time zone in 4,398 of 4,398 rows"):
        read(data)


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin"])
def test_dates_that_became_midnight_of_a_zone_are_refused(data: Path, zone: str) -> None:
    """Guards against a history that is a day early: a date in a column of timestamps, as BigQuery exports it."""
    write(data, MONTH, dated(pc.assume_timezone(days_plus(0), zone)))
    with pytest.raises(SourceDataError, match=f"game_date has midnight of the zone {zone} in every row.*Export it as"):
        read(data)


@pytest.mark.parametrize("dates", [1, 2])
def test_dates_that_became_midnight_of_a_zone_are_refused_in_a_short_file(data: Path, dates: int) -> None:
    """Guards a month that has just begun: a file of one or two dates was read a day early, without a word."""
    games = dated(pc.assume_timezone(days_plus(0), "UTC"))
    first = games.filter(pc.less(games["game_date"], datetime(2021, 12, 1 + dates, tzinfo=UTC)))
    assert len(pc.unique(first["game_date"])) == dates
    write(data, MONTH, first)
    with pytest.raises(SourceDataError, match="game_date has midnight of the zone UTC in every row"):
        read(data)


@given(
    st.lists(st.datetimes(datetime(1950, 1, 1), datetime(2100, 1, 1)), min_size=1, max_size=20),
    st.sampled_from(["s", "ms", "us"]),
)
def test_files_and_imports_have_one_rule_of_dates(moments: list[datetime], unit: str) -> None:
    """Guards against a game on two dates: one by the folder's reader, one by the importer."""
    assume(not look_like_dates(moment.replace(microsecond=0, tzinfo=UTC) for moment in moments))
    utc = pa.array([moment.replace(microsecond=0) for moment in moments], pa.timestamp(unit, "UTC"))
    column = pa.table({"game_date": pa.chunked_array([utc])})
    found = [day.date() for day in typed_games(column, ["game_date"], "file")["game_date"]]
    assert found == [values.day(moment.replace(microsecond=0, tzinfo=UTC)) for moment in moments]


def test_a_time_that_no_calendar_has_is_refused(data: Path) -> None:
    """Guards against a traceback for a file whose unit is wrong by a thousand."""
    far = pa.array([400_000_000_000] * 4398, pa.timestamp("s", "UTC"))
    write(data, MONTH, dated(pa.chunked_array([far])))
    with pytest.raises(SourceDataError, match="the column game_date has a time outside the years 1 to 9999"):
        read(data)


# --- input that matches nothing -------------------------------------------------------------------------------


def test_lines_that_match_nothing_are_counted_by_reason(data: Path) -> None:
    """Guards against lines that are lost without a word."""
    summary = summary_of("2024-12")
    days = sorted(set(summary["game_date"].to_pylist()))
    idle = next(day for day in (days[0] + timedelta(n) for n in range(40)) if day not in days)
    played = {(row["team_abbr"], row["game_date"]) for row in summary.select(["team_abbr", "game_date"]).to_pylist()}
    someone = next(
        row
        for row in summary.to_pylist()
        if row["game_date"] < idle and (row["team_abbr"], row["game_date"] + timedelta(1)) not in played
    )
    player = {"player_id": int(someone["universal_player_id"]), "player_name": someone["player_name"]}
    listed: list[dict[str, Any]] = [
        {**player, "game_date": someone["game_date"] + timedelta(1)},
        {"player_id": 424_242, "player_name": "Nobody Atall", "game_date": days[3]},
        {"player_id": None, "player_name": "Nobody Atall", "game_date": days[3]},
        {**player, "game_date": date(2024, 12, 31)},
    ]
    rows = [{"book": "a", "line": 12.5, **row} for row in listed]
    schema = pq.read_schema(next((SAMPLE_DATA / "prop_lines").glob("*.parquet")))
    pq.write_table(pa.Table.from_pylist(rows, schema), data / "prop_lines" / "lines.parquet")
    lines = EmbeddedFeatureSource(str(data)).prop_lines("2024-12")
    counts = LineCounts.of(match_lines(summary, lines, *month_bounds("2024-12")))
    assert counts.unmatched.keys() >= {
        LineOutcome.DAY_BEFORE.value,
        LineOutcome.ID_UNKNOWN.value,
        LineOutcome.NAME_UNKNOWN.value,
    }
    assert counts.listed == len(rows)


# --- files that change while the source is open ---------------------------------------------------------------


def test_files_that_appear_change_and_go_are_seen(data: Path) -> None:
    """Guards against a code location that must be restarted for each new, corrected or removed month."""
    write(data, "2021-11", games_of("2021-11"))
    source = EmbeddedFeatureSource(str(data))
    alone = source.fingerprint("2021-11")
    assert source_months(data) == ["2021-11"]

    write(data, MONTH, games_of(MONTH))
    assert source_months(data) == ["2021-11", MONTH]
    assert source.player_game_summary(MONTH).table.equals(summary_of(MONTH))

    rows = case("same_games_in_two_months")
    write(data, MONTH, without(MONTH, rows), rows)
    assert source.player_game_summary("2021-11").refused.num_rows == 2
    assert source.fingerprint("2021-11") != alone

    (data / "player_games" / f"{MONTH}.parquet").unlink()
    assert source.player_game_summary("2021-11").table.equals(summary_of("2021-11"))
    assert source.fingerprint("2021-11") == alone
    assert source_months(data) == ["2021-11"]
