"""Schedules and rosters of nba.com as files: JSON, data frames written to CSV and Parquet, and their dirt."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from nba_ml.contract.errors import SettingsError, SourceDataError
from nba_ml.sources.importers.importing import Import
from nba_ml.sources.importers.mapping import own_mapping
from nba_ml_tests.sources.importers.conftest import Importer, contents_of, month_of
from nba_ml_tests.sources.importers.exports import Row, as_csv, as_parquet, as_result_sets
from nba_ml_tests.sources.nba_com.server import PLAYER_INDEX, game, schedule

DAY = date(2025, 1, 15)
TIP_OFF = datetime(2025, 1, 16, 0, 30, tzinfo=UTC)
GAMES = [
    game("0022400560", DAY, "BKN", "LAL", TIP_OFF),
    game("0022400561", DAY, "GSW", "MIN", datetime(2025, 1, 16, 3, tzinfo=UTC)),
    game("0022400562", date(2025, 1, 23), "SAS", "IND", datetime(2025, 1, 23, 19, tzinfo=UTC), isNeutral=True),
]


def frame(games: list[Row]) -> list[Row]:
    """As nba_api's data frame has them: a column for each entry of a team."""
    sides = ("homeTeam", "awayTeam")
    return [
        {name: value for name, value in each.items() if name not in sides}
        | {f"{side}_{name}": value for side in sides for name, value in each[side].items()}
        for each in games
    ]


HEADER = list(frame(GAMES)[0])
FILES: dict[str, str | bytes] = {
    "json": schedule("2024-25", GAMES),
    "csv": as_csv(HEADER, frame(GAMES)),
    "parquet": as_parquet(HEADER, frame(GAMES)),
    "BOM": "\ufeff" + as_csv(HEADER, frame(GAMES)),
    "ids-without-zeros": as_csv(HEADER, [row | {"gameId": int(row["gameId"])} for row in frame(GAMES)]),
    "ids-as-floats": as_csv(HEADER, [row | {"gameId": float(row["gameId"])} for row in frame(GAMES)]),
    "other-codes": schedule("2024-25", GAMES).replace('"BKN"', '"BRK"').replace('"GSW"', '"GS"'),
    "twice": as_csv(HEADER, [*frame(GAMES), *frame(GAMES)[:1]]),
    "zone": schedule("2024-25", GAMES).replace("2025-01-16T00:30:00Z", "2025-01-15T19:30:00-05:00"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_schedule_is_read_from_any_of_its_files(importer: Importer, folder: Path, name: str) -> None:
    """Guards against a tip-off on the wrong day, and against games under two ids."""
    report = importer("nba-api-schedule", FILES[name])
    assert report.refused == {}
    rows = month_of(folder, "2024-25", "schedule").to_pylist()
    assert [(row["game_id"], row["away_team"], row["home_team"]) for row in rows] == [
        ("0022400560", "BKN", "LAL"),
        ("0022400561", "GSW", "MIN"),
        ("0022400562", "SAS", "IND"),
    ]
    assert (rows[0]["game_date"], rows[0]["tip_off"], rows[0]["season_type"]) == (DAY, TIP_OFF, "Regular Season")
    assert [row["neutral_site"] for row in rows] == [False, False, True]


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"gameDateTimeUTC": "2025-01-17T00:30:00Z"}, "a tip-off on another date than game_date"),
        ({"gameDateTimeUTC": "2025-01-16T00:30:00"}, "tip_off: a time without a zone"),
        ({"homeTeam": {"teamTricode": "BKN"}}, "a team that plays itself"),
        ({"homeTeam": {"teamTricode": "SEA2"}}, "home_team: an unknown team"),
        ({"gameDateEst": ""}, "no value for game_date"),
        ({"gameId": ""}, "no value for game_id"),
    ],
    ids=lambda value: value.replace(" ", "-") if isinstance(value, str) else next(iter(value)),
)
def test_a_game_that_cannot_be_scheduled_is_refused(importer: Importer, folder: Path, more: Row, reason: str) -> None:
    """Guards against a slate of games that are not played. The other games are imported."""
    report = importer("nba-api-schedule", schedule("2024-25", [GAMES[0] | more, *GAMES[1:]]))
    assert {each: refusal.rows for each, refusal in report.refused.items()} == {reason: 1}
    assert month_of(folder, "2024-25", "schedule").num_rows == 2


def test_a_schedule_of_one_date_leaves_the_others(importer: Importer, folder: Path) -> None:
    """Guards against a season's schedule that is replaced by tonight's."""
    importer("nba-api-schedule", schedule("2024-25", GAMES))
    report = importer("nba-api-schedule", schedule("2024-25", GAMES[:1]))
    assert (report.unchanged, report.changed) == (1, 0)
    assert month_of(folder, "2024-25", "schedule").num_rows == 3


# --- rosters --------------------------------------------------------------------------------------------------


def player(number: int, first: str | None, last: str, team: str | None, status: float | None = 1.0) -> Row:
    names = {"PLAYER_FIRST_NAME": first, "PLAYER_LAST_NAME": last}
    return {"PERSON_ID": number, "TEAM_ABBREVIATION": team, "ROSTER_STATUS": status, **names}


PLAYERS = [
    player(1629029, "Luka", "Dončić", "LAL"),
    player(2403, None, "Nenê", "HOU"),
    player(1628369, "Jayson", "Tatum", "BOS"),
    player(893, "Michael", "Jordan", "CHI", None),
    player(5, "Free", "Agent", None),
]
ROSTERS: dict[str, str | bytes] = {
    "json": as_result_sets("PlayerIndex", PLAYER_INDEX, PLAYERS),
    "csv": as_csv(PLAYER_INDEX, [{k: "" if v is None else v for k, v in row.items()} for row in PLAYERS]),
    "parquet": as_parquet(PLAYER_INDEX, PLAYERS),
    "BOM": "\ufeff" + as_csv(PLAYER_INDEX, [{k: "" if v is None else v for k, v in row.items()} for row in PLAYERS]),
}


@pytest.mark.parametrize("name", ROSTERS)
def test_a_roster_is_read_from_any_of_its_files(importer: Importer, folder: Path, name: str) -> None:
    """Guards against players who left the league on tonight's slate, and against names in pieces."""
    report = importer("nba-api-rosters", ROSTERS[name], as_of="2025-01-15")
    assert report.refused == {}
    assert month_of(folder, "2025-01-15", "rosters").to_pylist() == [
        {"as_of": DAY, "team": "BOS", "player_id": 1628369, "player_name": "Jayson Tatum"},
        {"as_of": DAY, "team": "HOU", "player_id": 2403, "player_name": "Nenê"},
        {"as_of": DAY, "team": "LAL", "player_id": 1629029, "player_name": "Luka Dončić"},
    ]
    assert report.set_aside == {"ROSTER_STATUS other than 1, 1.0": 1, "players without a team": 1}


def test_a_later_roster_of_a_date_replaces_the_earlier(importer: Importer, folder: Path) -> None:
    """Guards against a player who was traded at noon and is on two teams in the evening."""
    importer("nba-api-rosters", ROSTERS["json"], as_of="2025-01-15")
    before = contents_of(folder)
    assert importer("nba-api-rosters", ROSTERS["csv"], as_of="2025-01-15").unchanged == 3
    assert contents_of(folder) == before
    traded = [player(1629029, "Luka", "Dončić", "DAL"), *PLAYERS[2:]]
    report = importer("nba-api-rosters", as_result_sets("PlayerIndex", PLAYER_INDEX, traded), as_of="2025-01-15")
    [change] = report.changes
    assert change["columns"] == {"team": ["LAL", "DAL"]}
    assert report.notes == ["rosters/2025-01-15.parquet: 1 rows that the import does not have are gone."]
    rows = month_of(folder, "2025-01-15", "rosters").to_pylist()
    assert [(row["team"], row["player_id"]) for row in rows] == [("BOS", 1628369), ("DAL", 1629029)]


def test_a_player_in_two_teams_is_refused(importer: Importer) -> None:
    """Guards against one player twice on a slate."""
    twice = [*PLAYERS, player(1628369, "Jayson", "Tatum", "DAL")]
    report = importer("nba-api-rosters", as_result_sets("PlayerIndex", PLAYER_INDEX, twice), as_of="2025-01-15")
    assert report.refused["duplicates that differ"].rows == 2


def test_a_roster_needs_its_date(importer: Importer) -> None:
    """Guards against a roster of today that counts for games of last year."""
    with pytest.raises(SourceDataError, match=r"lacks as_of\..*give a value with --set COLUMN=VALUE"):
        importer("nba-api-rosters", ROSTERS["json"])
    with pytest.raises(SettingsError, match="--set pts: no such column"):
        importer("nba-api-rosters", ROSTERS["json"], pts="3")


def test_a_roster_of_ones_own(tmp_path: Path, folder: Path) -> None:
    """Guards against rosters that only nba.com can give."""
    mapping = 'kind = "rosters"\n[columns]\nas_of = "Day"\nteam = "Club"\nplayer_id = "Id"\nplayer_name = "Who"\n'
    (tmp_path / "mine.toml").write_text(mapping)
    (tmp_path / "mine.csv").write_text("Day,Club,Id,Who\n2025-01-15,New York Knicks,1628973,Jalen Brunson\n")
    Import("mine", own_mapping(tmp_path / "mine.toml"), folder, {}).run([tmp_path / "mine.csv"])
    assert month_of(folder, "2025-01-15", "rosters").to_pylist() == [
        {"as_of": DAY, "team": "NYK", "player_id": 1628973, "player_name": "Jalen Brunson"}
    ]
