"""Schedule, rosters and injury reports of a folder: read in every format, validated by row."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from nba_ml.contract.errors import SourceDataError
from nba_ml.contract.game_types import GameType
from nba_ml.data.reports import InjuryReport
from nba_ml.data.upcoming import UpcomingGame
from nba_ml.defs.assets.player_game_summary import build
from nba_ml.sources.embedded import EmbeddedFeatureSource
from nba_ml.sources.upcoming import Roster, UpcomingTables, players_out
from nba_ml_tests.conftest import games_of

DAY = date(2025, 1, 15)
TIP_OFF = datetime(2025, 1, 16, 0, 30, tzinfo=UTC)

GAME = {
    "game_id": "0022400561",
    "game_date": DAY,
    "home_team": "NYK",
    "away_team": "BOS",
    "tip_off": TIP_OFF,
    "neutral_site": False,
    "season_type": "Regular Season",
}


def written(folder: Path, table: str, rows: list[dict[str, Any]], form: str = "parquet", name: str = "a") -> Path:
    """A file of a table, as a program writes that format."""
    (folder / table).mkdir(exist_ok=True)
    file = folder / table / f"{name}.{form}"
    if form == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), file)
    elif form == "json":
        file.write_text(json.dumps(rows, default=str))
    else:
        lines = [",".join(rows[0]), *(",".join("" if v is None else str(v) for v in row.values()) for row in rows)]
        file.write_text("\ufeff" + "\r\n".join(lines) + "\r\n", encoding="utf-8")
    return file


@pytest.mark.parametrize("form", ["parquet", "csv", "json"])
def test_a_schedule_is_the_same_in_every_format(tmp_path: Path, form: str) -> None:
    """Guards against types that a format does not have: an id without its zeros, a time as text, a mark at the top."""
    other = {**GAME, "game_id": "0022400562", "game_date": date(2025, 1, 16), "home_team": "LAL"}
    written(tmp_path, "schedule", [GAME, other], form)
    tables = UpcomingTables(tmp_path)
    assert tables.games(DAY) == [UpcomingGame(DAY, "BOS", "NYK", "0022400561", TIP_OFF)]
    assert tables.scheduled_days() == [DAY, date(2025, 1, 16)]
    assert tables.games(date(2025, 1, 17)) == []


def test_dirt_that_has_one_meaning_is_read(tmp_path: Path) -> None:
    """Guards against a schedule refused for another source's codes, numbers, dates and columns."""
    row = {"game_id": 22400561, "game_date": "2025-01-15", "home_team": "NY", "away_team": "brk", "arena": "MSG"}
    written(tmp_path, "schedule", [row], "json")
    assert UpcomingTables(tmp_path).games(DAY) == [UpcomingGame(DAY, "BKN", "NYK", "0022400561")]


def test_the_type_comes_from_the_column_the_id_or_the_date(tmp_path: Path) -> None:
    """Guards against preseason games in a slate, and against playoffs predicted as regular games."""
    rows = [
        {"game_id": "0012400001", "game_date": DAY, "home_team": "NYK", "away_team": "BOS"},
        {"game_id": "0042400001", "game_date": DAY, "home_team": "LAL", "away_team": "DEN"},
        {"game_id": "0092400001", "game_date": DAY, "home_team": "MIA", "away_team": "ORL"},
    ]
    written(tmp_path, "schedule", rows)
    kinds = {game.home: game.game_type for game in UpcomingTables(tmp_path).games(DAY)}
    assert kinds == {"LAL": GameType.PLAYOFFS, "MIA": GameType.REGULAR_SEASON}


def test_of_two_files_the_later_one_counts(tmp_path: Path) -> None:
    """Guards against a game that was moved to another hour being played twice."""
    later = datetime(2025, 1, 16, 3, tzinfo=UTC)
    written(tmp_path, "schedule", [GAME], name="2025-01-01")
    written(tmp_path, "schedule", [{**GAME, "tip_off": later}], name="2025-01-10")
    assert [game.tip_off for game in UpcomingTables(tmp_path).games(DAY)] == [later]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"home_team": "XYZ"}, "row 1: home_team is 'XYZ': an unknown team"),
        ({"tip_off": datetime(2025, 1, 15, 19, 30)}, "row 1: tip_off is '2025-01-15 19:30:00': a time without a zone"),
        ({"tip_off": "7:30 pm"}, "row 1: tip_off is '7:30 pm': not a date"),
        ({"season_type": "Summer"}, "row 1: season_type is 'Summer': an unknown season type"),
        ({"away_team": None}, "row 1: away_team is empty"),
        ({"game_id": "22400561X"}, "row 1: game_id is '22400561X'"),
    ],
)
def test_a_row_that_cannot_be_read_is_named(tmp_path: Path, changed: dict[str, Any], message: str) -> None:
    """Guards against a game that is missing from a slate without a word. Other dates are not touched by it."""
    file = written(tmp_path, "schedule", [{**GAME, **changed}])
    with pytest.raises(SourceDataError, match=message) as refused:
        UpcomingTables(tmp_path).games(DAY)
    assert str(file) in str(refused.value)
    assert UpcomingTables(tmp_path).games(date(2025, 1, 16)) == []


@pytest.mark.parametrize("form", ["parquet", "csv", "json"])
@pytest.mark.parametrize("table", ["schedule", "injury_reports"])
def test_dates_that_became_midnight_of_a_zone_are_refused(tmp_path: Path, table: str, form: str) -> None:
    """Guards against a slate and reports that are a day early, also in a file of one date. Another time is a moment."""
    report = {"player_id": 1, "game_date": DAY, "status": "Out", "reported_at": TIP_OFF}
    rows = [GAME if table == "schedule" else report]
    midnight = datetime(2025, 1, 15, tzinfo=UTC)
    file = written(tmp_path, table, [{**row, "game_date": midnight} for row in rows], form)
    tables = UpcomingTables(tmp_path)
    read: dict[str, Callable[[date], Any]] = {"schedule": tables.games, "injury_reports": tables.injuries}
    with pytest.raises(SourceDataError, match="game_date has midnight of a zone in every row") as refused:
        read[table](DAY)
    assert str(file) in str(refused.value)
    written(tmp_path, table, [{**row, "game_date": midnight.replace(hour=1)} for row in rows], form)
    assert len(read[table](date(2025, 1, 14))) == 1


@pytest.mark.parametrize("form", ["parquet", "csv", "json"])
def test_a_file_that_is_cut_or_of_another_kind_is_named(tmp_path: Path, form: str) -> None:
    """Guards against a traceback, and against a half-written file that counts as no games."""
    file = written(tmp_path, "schedule", [GAME], form)
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SourceDataError, match=str(file)):
        UpcomingTables(tmp_path).games(DAY)
    file.unlink()
    written(tmp_path, "schedule", [{"date": DAY, "home": "NYK"}], form)
    with pytest.raises(SourceDataError, match="lacks the columns game_id, game_date, home_team, away_team"):
        UpcomingTables(tmp_path).games(DAY)


@pytest.mark.parametrize("form", ["csv", "json"])
def test_a_file_that_is_not_utf_8_is_named_with_the_place(tmp_path: Path, form: str) -> None:
    """Was `'utf-8' codec can't decode byte ...`, and the advice to copy the file again."""
    file = tmp_path / f"schedule/a.{form}"
    file.parent.mkdir()
    file.write_bytes(b"game_id,\xe9\n")
    with pytest.raises(SourceDataError) as raised:
        UpcomingTables(tmp_path).games(DAY)
    assert str(raised.value) == f"{file} cannot be read: it is not UTF-8: byte 8 is 0xe9; save it as UTF-8."


@pytest.mark.parametrize("form", ["parquet", "json"])
@pytest.mark.parametrize("name", ["game_date", "home_team", "tip_off"])
def test_several_values_in_a_column_are_refused_by_row(tmp_path: Path, form: str, name: str) -> None:
    """Was an unexpected error: a list can be no key."""
    file = written(tmp_path, "schedule", [{**GAME, name: [str(GAME[name])]}], form)
    with pytest.raises(SourceDataError, match=f"{re.escape(str(file))}, row 1: {name} has several values"):
        UpcomingTables(tmp_path).scheduled_days()


def test_a_json_file_of_nothing_but_brackets_is_named(tmp_path: Path) -> None:
    """Was an unexpected error, of Python's recursion."""
    file = written(tmp_path, "schedule", [GAME], "json")
    file.write_text("[" * 100_000)
    with pytest.raises(SourceDataError, match=f"{re.escape(str(file))} cannot be read"):
        UpcomingTables(tmp_path).games(DAY)


def test_a_folder_without_tables_has_nothing(tmp_path: Path) -> None:
    """Guards against an error for tables that are optional."""
    tables = UpcomingTables(tmp_path)
    assert (tables.games(DAY), tables.scheduled_days(), tables.roster(DAY), tables.injuries(DAY)) == ([], [], None, [])
    (tmp_path / "schedule").mkdir()
    (tmp_path / "schedule" / "README.txt").write_text("not a table")
    assert tables.games(DAY) == []


@pytest.mark.parametrize("form", ["parquet", "csv", "json"])
def test_the_latest_roster_up_to_the_date_counts(tmp_path: Path, form: str) -> None:
    """Guards against last month's team, and against one that is not known yet."""
    rows = [
        {"as_of": date(2025, 1, day), "team": "BOS", "player_id": day, "player_name": f"Player {'abc'[day // 8]}"}
        for day in (1, 14, 20)
    ]
    written(tmp_path, "rosters", rows, form)
    tables = UpcomingTables(tmp_path)
    assert tables.roster(DAY) == Roster(date(2025, 1, 14), ((14, "Player b", "BOS"),))
    assert tables.roster(date(2025, 1, 14)) == tables.roster(DAY)
    assert tables.roster(date(2024, 12, 31)) is None


def reports(*rows: tuple[int, str, int]) -> list[InjuryReport]:
    found = [
        InjuryReport(player, status, datetime(2025, 1, 15, hour, tzinfo=UTC), DAY) for player, status, hour in rows
    ]
    return sorted(found, key=lambda each: (each.reported_at, each.player_id))


@pytest.mark.parametrize("form", ["parquet", "csv", "json"])
def test_the_last_report_before_the_cut_off_counts(tmp_path: Path, form: str) -> None:
    """Guards against a player who was cleared in the afternoon, and against news that came too late."""
    listed = reports((1, "Questionable", 15), (1, "OUT", 20), (2, "Out", 15), (2, "Available", 20), (3, "Inactive", 23))
    rows = [
        {"player_id": each.player_id, "game_date": DAY, "status": each.status, "reported_at": each.reported_at}
        for each in reversed(listed)
    ]
    other_day = {**rows[0], "player_id": 4, "game_date": date(2025, 1, 14), "status": "Out"}
    written(tmp_path, "injury_reports", [*rows, other_day], form)
    found = UpcomingTables(tmp_path).injuries(DAY)
    assert sorted(found, key=lambda each: (each.reported_at, each.player_id or 0)) == listed
    until: dict[int | None, datetime] = dict.fromkeys((1, 2, 3, 4), datetime(2025, 1, 15, 23, tzinfo=UTC))
    assert players_out(found, until) == ({1}, [])
    assert players_out(reports((1, "Flu", 12), (5, "Out", 12)), until) == (set(), ["Flu"])


# --- box scores without a result ------------------------------------------------------------------------------

TONIGHT = date(2026, 2, 1)


def case(data: Path) -> pa.Table:
    """Two games of tonight, as a source lists them among its box scores; in a folder."""
    table = pq.read_table(Path(__file__).with_name("cases") / "tonight_no_result.parquet")
    (data / "player_games").mkdir()
    pq.write_table(table, data / "player_games" / "2026-02.parquet")
    return table


def test_tonights_games_among_the_box_scores_are_games_to_be_played(tmp_path: Path) -> None:
    """Guards against a month that is refused for games still to come: they are nobody's result."""
    rows, source = case(tmp_path), EmbeddedFeatureSource(str(tmp_path))
    found = source.player_game_summary("2026-02")
    assert (found.table.num_rows, found.unplayed, found.refused.num_rows) == (0, 2, 0)
    games, players = source.unplayed(TONIGHT)
    assert [(game.away, game.home, game.game_id) for game in games] == [
        ("PHI", "CHA", "0022900657"),
        ("ORL", "CLE", "0022900658"),
    ]
    assert len(players) == rows.num_rows
    assert source.unplayed(date(2026, 2, 2)) == ([], [])
    assert source.unplayed(date(2026, 3, 2)) == ([], [])
    assert dict(source.lookups("2026-02")) == {}


def test_tonights_games_are_counted_in_dagster(tmp_path: Path) -> None:
    """Guards against rows that are left out without a word."""
    case(tmp_path)
    months = dg.StaticPartitionsDefinition(["2026-02"])
    source = {"feature_source": EmbeddedFeatureSource(str(tmp_path))}
    run = dg.materialize([build(months)], partition_key="2026-02", resources=source)
    [made] = run.asset_materializations_for_node("player_game_summary")
    assert made.metadata["games_without_result"].value == 2
    assert made.metadata["rows"].value == 0


def test_results_that_are_missing_before_others_are_a_fault(tmp_path: Path) -> None:
    """Guards against an export that lost its winners, taken for games to come."""
    (tmp_path / "player_games").mkdir()
    games = games_of("2021-12")
    lost = pc.equal(games["game_date"], pa.scalar(date(2021, 12, 6)))
    for name in ("wl", "min"):
        blank = pa.scalar("" if name == "wl" else 0, games.schema.field(name).type)
        at = games.schema.get_field_index(name)
        games = games.set_column(at, games.schema.field(at), pc.if_else(lost, blank, games[name]))
    pq.write_table(games, tmp_path / "player_games" / "2021-12.parquet")
    with pytest.raises(SourceDataError, match="a result other than W or L"):
        EmbeddedFeatureSource(str(tmp_path)).player_game_summary("2021-12")


@pytest.mark.parametrize("changed", [{"team": "XYZ"}, {"opponent": "BOS"}, {"is_home": True}], ids=str)
def test_a_game_to_come_that_contradicts_itself_is_named(tmp_path: Path, changed: dict[str, object]) -> None:
    """Guards against a slate of a game between three teams."""
    rows = case(tmp_path).to_pylist()
    rows[-1] |= changed
    if "is_home" in changed:
        rows = [{**row, **changed} for row in rows]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "player_games" / "2026-02.parquet")
    with pytest.raises(SourceDataError, match=r"game 00229006\d\d of 2026-02-01 has no result yet, and its rows"):
        EmbeddedFeatureSource(str(tmp_path)).unplayed(TONIGHT)


# --- tip-offs and lines ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("known_by", ["schedule", "box scores"])
def test_a_line_that_was_captured_after_tip_off_does_not_count(tmp_path: Path, known_by: str) -> None:
    """Guards against live lines in the features, and against lines that are dropped without a word."""
    games = games_of("2021-12")
    row = games.slice(0, 1).to_pylist()[0]
    tip_off = datetime(2021, 12, 2, 0, 30, tzinfo=UTC)
    (tmp_path / "player_games").mkdir()
    if known_by == "box scores":
        games = games.append_column("tip_off", pa.repeat(pa.scalar(tip_off, pa.timestamp("us", "UTC")), len(games)))
    else:
        sides = (row["team"], row["opponent"]) if row["is_home"] else (row["opponent"], row["team"])
        game = dict(zip(("home_team", "away_team"), sides, strict=True))
        game |= {"game_id": row["game_id"], "game_date": row["game_date"], "tip_off": tip_off}
        written(tmp_path, "schedule", [game])
    pq.write_table(games, tmp_path / "player_games" / "2021-12.parquet")
    lines = [
        {**{name: row[name] for name in ("game_date", "player_id", "player_name")}, "book": "a", "line": line}
        | {"captured_at": tip_off + timedelta(minutes=minutes)}
        for line, minutes in ((20.5, -60), (21.5, -1), (30.5, 45))
    ]
    written(tmp_path, "prop_lines", lines)
    source = EmbeddedFeatureSource(str(tmp_path))
    assert source.prop_lines("2021-12")["line"].to_pylist() == [21.5]
    assert source.late_lines("2021-12") == 1
    assert source.late_lines("2021-11") == 0


def test_a_tip_off_without_a_zone_is_refused(tmp_path: Path) -> None:
    """Guards against hours of another zone, which decide what counts."""
    (tmp_path / "player_games").mkdir()
    at = pa.scalar(datetime(2021, 12, 1, 19, 30), pa.timestamp("us"))
    games = games_of("2021-12").append_column("tip_off", pa.repeat(at, 4398))
    pq.write_table(games, tmp_path / "player_games" / "2021-12.parquet")
    lines = {"game_date": date(2021, 12, 1), "player_id": 1, "player_name": "A", "book": "a", "line": 20.5}
    written(tmp_path, "prop_lines", [{**lines, "captured_at": TIP_OFF}])
    with pytest.raises(SourceDataError, match=r"tip_off is timestamp\[us\], not a timestamp with a zone"):
        EmbeddedFeatureSource(str(tmp_path)).prop_lines("2021-12")
