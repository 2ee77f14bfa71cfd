"""Sources without nba.com's ids: basketball-reference and the-odds-api, and a user's own mapping."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from nba_ml.contract.errors import SettingsError, SourceDataError
from nba_ml.data.identities import player_lookup
from nba_ml.settings import SAMPLE_DATA
from nba_ml.sources.embedded import EmbeddedFeatureSource
from nba_ml.sources.importers.importing import Import
from nba_ml.sources.importers.mapping import own_mapping, shipped_formats, shipped_mapping, shipped_text
from nba_ml_tests.sources.importers.conftest import Importer, contents_of, copied, month_of, shipped_month
from nba_ml_tests.sources.importers.exports import (
    BASKETBALL_REFERENCE,
    LEAGUE_GAME_LOG,
    Row,
    as_csv,
    basketball_reference,
    event,
    flattened,
    historical,
    league_game_log,
    odds_of,
    shipped,
)

PLAYOFFS = {"season_type": "Playoffs"}
REGULAR = {"season_type": "Regular Season"}


# --- basketball-reference -------------------------------------------------------------------------------------


@pytest.mark.slow
def test_what_the_folder_has_comes_back_unchanged(importer: Importer, folder: Path) -> None:
    """Guards against ids, names, types and neutral sites of the folder replaced by what the source does not have."""
    copied(folder, "2024-10", "2024-11", "2024-12")
    before = contents_of(folder)
    content = as_csv(BASKETBALL_REFERENCE, basketball_reference(shipped("2024-11", "2024-12")))
    report = importer("basketball-reference", content)
    assert (report.unchanged, report.refused, report.names) == (4790 + 4054, {}, [])
    assert contents_of(folder) == before


def test_a_new_month_gets_ids_that_nba_com_replaces(importer: Importer, folder: Path) -> None:
    """Guards against a source without game ids being of no use, and against two ids for one game afterwards."""
    copied(folder, "2025-05")
    rows = shipped("2025-06")
    known = set(shipped_month("2025-05")["player_id"].to_pylist())
    report = importer("basketball-reference", as_csv(BASKETBALL_REFERENCE, basketball_reference(rows)), **PLAYOFFS)
    unknown = {row["player_name"] for row in rows if row["player_id"] not in known}
    assert {each["player_name"] for each in report.names} == unknown
    assert report.new == sum(row["player_id"] in known for row in rows)
    imported = month_of(folder, "2025-06")
    ids = imported["game_id"].to_pylist()
    assert all(len(each) == 10 and each.startswith("994") for each in ids)
    assert len(set(ids)) == 7
    found = shipped_month("2025-06").filter(pc.is_in(shipped_month("2025-06")["player_id"], pa.array(list(known))))
    assert imported.drop_columns("game_id").sort_by(ORDER).equals(found.drop_columns("game_id").sort_by(ORDER))

    report = importer("nba-api", as_csv(LEAGUE_GAME_LOG, league_game_log(rows)))
    assert (report.changed, report.new, report.refused) == (len(ids), 159 - len(ids), {})
    assert month_of(folder, "2025-06").equals(shipped_month("2025-06"))


ORDER = [("game_date", "ascending"), ("player_id", "ascending")]


@pytest.mark.slow
def test_rookies_without_an_id_are_listed_and_the_rest_is_imported(importer: Importer, folder: Path) -> None:
    """Guards against a month that is stopped for its rookies, and against a game that is kept without one who played
    most of it."""
    copied(folder, "2021-10")
    table = shipped_month("2021-10")
    rows = shipped("2021-11")
    rookies = {"Cade Cunningham", "Franz Wagner", "Scottie Barnes"}
    kept = pc.invert(pc.is_in(table["player_name"], pa.array(list(rookies))))
    pq.write_table(table.filter(kept), folder / "player_games/2021-10.parquet")
    known = set(table.filter(kept)["player_id"].to_pylist())
    report = importer("basketball-reference", as_csv(BASKETBALL_REFERENCE, basketball_reference(rows)), **REGULAR)
    assert {each["player_name"] for each in report.names} > rookies
    nameless = {row["game_id"] for row in rows if row["player_id"] not in known}
    names = {row["player_name"] for row in rows if row["player_id"] not in known}
    assert report.refused["a name that matches no player of the folder"].rows == sum(
        row["player_name"] in names for row in rows
    )
    assert report.refused.keys() == {
        "a name that matches no player of the folder",
        "a game that lacks a player whose name matched none",
    }
    whole = [row for row in rows if row["game_id"] not in nameless]
    imported = {(row["game_date"], row["player_id"]) for row in month_of(folder, "2021-11").to_pylist()}
    assert imported >= {(row["game_date"], row["player_id"]) for row in whole}
    assert len(imported) > 2500
    assert EmbeddedFeatureSource(str(folder)).player_game_summary("2021-11").refused.num_rows == 0

    report = importer("nba-api", as_csv(LEAGUE_GAME_LOG, league_game_log(rows)))
    assert report.refused == {}
    assert month_of(folder, "2021-11").equals(shipped_month("2021-11"))


def test_half_a_game_of_nba_com_renames_the_other_half(importer: Importer, folder: Path) -> None:
    """Guards against one game under two ids, when the import with the better ids has not all of its rows."""
    copied(folder, "2025-05")
    rows = shipped("2025-06")
    importer("basketball-reference", as_csv(BASKETBALL_REFERENCE, basketball_reference(rows)), **PLAYOFFS)
    count = month_of(folder, "2025-06").num_rows
    importer_rows = [row for row in rows if row["team"] == "IND"]
    report = Import("nba-api", shipped_mapping("nba-api"), folder, {}).run([_written(folder, importer_rows)])
    assert not report.refused
    assert not any(each.startswith("99") for each in month_of(folder, "2025-06")["game_id"].to_pylist())
    assert month_of(folder, "2025-06").num_rows >= count


def _written(folder: Path, rows: list[Row]) -> Path:
    file = folder.parent / "part.csv"
    file.write_text(as_csv(LEAGUE_GAME_LOG, league_game_log(rows)))
    return file


def test_a_players_page(importer: Importer, folder: Path) -> None:
    """Guards against the site's own export: a note above it, a header in the middle, games that he missed, no name, an
    empty header for home and away, the older column names."""
    copied(folder, "2024-11", "2024-12")
    rows = [row for row in basketball_reference(shipped("2024-12")) if row["Player"] == "Nikola Jokić"]
    header = [("Tm" if name == "Team" else name) for name in BASKETBALL_REFERENCE if name not in {"Player", "Result"}]
    header.insert(header.index("Opp") + 1, " ")
    lines = as_csv(header, [row | {"Tm": row["Team"], " ": f"{row['Result'][0]} (+10)"} for row in rows]).splitlines()
    inactive = "9,2024-12-25,29-310,DEN,@,PHO,L (-10),Inactive"
    page = ["--- When using SR data, please cite us.", "", *lines[:4], inactive, lines[0], *lines[4:]]
    report = importer("basketball-reference", "\n".join(page), player_name="Nikola Jokić")
    assert (report.unchanged, report.repeated, report.refused) == (len(rows), 1, {})
    assert report.set_aside == {"players who did not play": 1}


def test_a_name_without_accents_or_suffix_is_found_on_its_team(importer: Importer, folder: Path) -> None:
    """Guards against players lost for their spelling: 'Jaren Jackson' of Memphis is nba.com's 'Jaren Jackson Jr.'."""
    copied(folder, "2024-12")
    plain = {"Luka Dončić": "Luka Doncic", "Jaren Jackson Jr.": "Jaren Jackson", "Nikola Jokić": "NIKOLA JOKIC*"}
    rows = [
        row | {"Player": plain.get(row["Player"], row["Player"])} for row in basketball_reference(shipped("2024-12"))
    ]
    report = importer("basketball-reference", as_csv(BASKETBALL_REFERENCE, rows))
    assert (report.unchanged, report.names) == (4054, [])
    assert month_of(folder, "2024-12").equals(shipped_month("2024-12"))


def test_namesakes_are_listed_and_not_guessed(importer: Importer, folder: Path) -> None:
    """Guards against a game given to the wrong one of two players with one name."""
    copied(folder, "2024-12")
    table = month_of(folder, "2024-12")
    names = table["player_name"].to_pylist()
    one, other = ("Payton Pritchard", "Derrick White")  # both of Boston
    shared = ["Same Name" if name in (one, other) else name for name in names]
    pq.write_table(table.set_column(5, "player_name", pa.array(shared)), folder / "player_games/2024-12.parquet")
    rows = [row | {"Player": "Same Name"} for row in basketball_reference(shipped("2024-12")) if row["Player"] == one]
    report = importer("basketball-reference", as_csv(BASKETBALL_REFERENCE, rows))
    [listed] = report.names
    assert (listed["player_name"], listed["team"], listed["reason"]) == (
        "Same Name",
        "BOS",
        "more than one player of that name",
    )
    # On one date only one of the two played: that row is his.
    assert report.refused["a name that matches no player of the folder"].rows == len(rows) - 1 == 13
    assert report.unchanged == 1


def test_a_namesake_on_another_team_is_told_by_team_and_date(importer: Importer, folder: Path) -> None:
    """Guards against ambiguity where there is none: two players of one name, of whom one is on the row's team."""
    copied(folder, "2024-12")
    table = month_of(folder, "2024-12")
    pair = ("Payton Pritchard", "Jalen Brunson")  # Boston, New York
    shared = ["Same Name" if name in pair else name for name in table["player_name"].to_pylist()]
    pq.write_table(table.set_column(5, "player_name", pa.array(shared)), folder / "player_games/2024-12.parquet")
    rows = [row | {"Player": "Same Name"} for row in basketball_reference(shipped("2024-12")) if row["Player"] in pair]
    report = importer("basketball-reference", as_csv(BASKETBALL_REFERENCE, rows))
    assert (report.unchanged, report.names) == (len(rows), [])


def test_a_new_game_needs_its_season_type(importer: Importer, folder: Path) -> None:
    """Guards against playoffs taken for the regular season by default."""
    copied(folder, "2025-05")
    report = importer("basketball-reference", as_csv(BASKETBALL_REFERENCE, basketball_reference(shipped("2025-06"))))
    assert (
        report.refused["no season type: give --set 'season_type=Regular Season' or --set season_type=Playoffs"].rows
        == 159
    )


# --- the-odds-api ---------------------------------------------------------------------------------------------

LAKERS = [
    ("draftkings", "LeBron James", 24.5),
    ("fanduel", "LeBron James", 23.5),
    ("draftkings", "Anthony Edwards", 27.5),
]


def lines_of(folder: Path, month: str = "2024-12") -> list[Row]:
    return month_of(folder, month, "prop_lines").to_pylist()


@pytest.mark.parametrize(
    "content",
    [
        json.dumps(event(LAKERS)),
        json.dumps([event(LAKERS)]),
        json.dumps(event(LAKERS)) + "\n" + json.dumps(event([])) + "\n",
        json.dumps(historical(event(LAKERS), "2024-12-13T22:00:00Z")),
        json.dumps([historical(event(LAKERS), "2024-12-13T22:00:00Z"), historical({}, "2024-12-13T22:05:00Z")]),
        as_csv(list(flattened(event(LAKERS))[0]), flattened(event(LAKERS))),
        json.dumps(event(LAKERS, prices=(-110, -115))),
    ],
    ids=["live", "list", "lines", "historical", "snapshots", "csv", "american"],
)
def test_lines_in_every_kind_of_file(importer: Importer, folder: Path, content: str) -> None:
    """Guards against the date of UTC (tip-off at 01:10 is on the day before in the NBA), prices of two kinds in one
    column, and two rows for the over and the under."""
    copied(folder, "2024-12")
    report = importer("the-odds-api", content)
    assert (report.new, report.paired, report.refused, report.names) == (3, 3, {}, [])
    over, under = (1.909091, 1.869565) if "-110" in content else (1.91, 1.87)
    found = lines_of(folder)
    assert found[0] == {
        "game_date": date(2024, 12, 13),
        "player_id": 2544,
        "player_name": "LeBron James",
        "book": "draftkings",
        "line": 24.5,
        "captured_at": datetime(2024, 12, 13, 22, tzinfo=UTC),
        "over_price": pytest.approx(over),
        "under_price": pytest.approx(under),
        "is_alternate": False,
    }
    assert [(row["player_name"], row["book"]) for row in found[1:]] == [
        ("LeBron James", "fanduel"),
        ("Anthony Edwards", "draftkings"),
    ]


@pytest.mark.slow
def test_shipped_lines_come_back(importer: Importer, folder: Path) -> None:
    """Guards against a line lost or given to somebody else: 11,160 real ones, their players found by name alone."""
    copied(folder, *sorted(file.stem for file in (SAMPLE_DATA / "player_games").glob("202[45]-*")))
    shipped_lines = pq.read_table(SAMPLE_DATA / "prop_lines/2024-10_2025-01.parquet").to_pylist()
    events = odds_of(shipped_lines)
    for each in events:  # the shipped file does not say who plays whom
        del each["home_team"], each["away_team"]
    importer("the-odds-api", json.dumps(events))
    found = [row for month in ("2024-10", "2024-11", "2024-12", "2025-01") for row in lines_of(folder, month)]

    def facts(rows: list[Row]) -> list[tuple[object, ...]]:
        return sorted((str(r["game_date"]), r["player_name"], r["book"], r["line"]) for r in rows)

    assert facts(found) == facts(shipped_lines)
    ids = {(row["game_date"], row["player_name"]): row["player_id"] for row in found}
    known = {player_lookup(name) for month in folder.glob("player_games/*") for name in _names(month)}
    for row in shipped_lines:
        ours = ids[row["game_date"], row["player_name"]]
        if row["player_id"] is not None and player_lookup(row["player_name"]) in known:
            assert ours == row["player_id"], row
        elif ours is not None:
            assert row["player_id"] in {None, ours}


def _names(file: Path) -> list[str]:
    return pq.read_table(file, columns=["player_name"], partitioning=None)["player_name"].unique().to_pylist()


def test_alternates_are_kept_and_do_not_count(importer: Importer, folder: Path) -> None:
    """Guards against a ladder of alternates taken for the line: its median is whatever the book listed most of."""
    copied(folder, "2024-12")
    ladder = [("draftkings", "LeBron James", points + 0.5) for points in range(9, 40, 5)]
    report = importer("the-odds-api", json.dumps([event(LAKERS), event(ladder, market="player_points_alternate")]))
    assert (report.new, report.refused) == (3 + 7, {})
    assert sum(row["is_alternate"] for row in lines_of(folder)) == 7
    assert EmbeddedFeatureSource(str(folder)).prop_lines("2024-12").num_rows == 3


def test_a_book_counts_with_its_last_line_before_the_game(importer: Importer, folder: Path) -> None:
    """Guards against a median over snapshots, and against a line that was seen during the game."""
    copied(folder, "2024-12")
    moved = [("draftkings", "LeBron James", 26.5), *LAKERS[1:]]
    snapshots = [
        historical(event(LAKERS), "2024-12-13T20:00:00Z"),
        historical(event(moved), "2024-12-14T01:00:00Z"),
        historical(event([("draftkings", "LeBron James", 40.5)]), "2024-12-14T02:00:00Z"),
    ]
    report = importer("the-odds-api", json.dumps(snapshots))
    assert (report.new, report.set_aside) == (6, {"lines seen after tip-off": 2})
    counted = EmbeddedFeatureSource(str(folder)).prop_lines("2024-12").to_pylist()
    assert sorted(row["line"] for row in counted) == [23.5, 26.5, 27.5]


def test_other_markets_and_sports_are_set_aside(importer: Importer) -> None:
    """Guards against assists and another league's points taken for NBA points."""
    other = event(LAKERS) | {"sport_key": "basketball_wnba"}
    report = importer("the-odds-api", json.dumps([event(LAKERS), event(LAKERS, market="player_assists"), other]))
    assert (report.new, report.set_aside_rows, report.refused) == (3, 12, {})


def test_a_line_whose_player_is_not_found_stays_and_is_listed(importer: Importer, folder: Path) -> None:
    """Guards against lines dropped without a word, and against a second row when his box scores have arrived."""
    report = importer("the-odds-api", json.dumps(event(LAKERS)))
    assert (report.new, len(report.names)) == (3, 2)
    assert {row["player_id"] for row in lines_of(folder)} == {None}
    copied(folder, "2024-12")
    report = importer("the-odds-api", json.dumps(event(LAKERS)))
    assert (report.new, report.changed, report.names) == (0, 3, [])
    assert {row["player_id"] for row in lines_of(folder)} == {2544, 1630162}
    assert importer("the-odds-api", json.dumps(event(LAKERS))).unchanged == 3


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (event([("a", "LeBron James", 85.5)]), "line: a points line outside 0 to 80"),
        (event(LAKERS[:1], tip_off="2024-12-14T20:10:00"), "tip_off: a time without a zone"),
        (event(LAKERS[:1], home="Seattle SuperSonics"), "home_team: an unknown team"),
        (
            event(LAKERS[:1], prices=(1.9, -110)),
            "a price that is neither decimal nor American odds, or both in one file",
        ),
        (
            event(LAKERS[:1], prices=(-50, -99.9)),
            "a price that is neither decimal nor American odds, or both in one file",
        ),
        (event(LAKERS[:1], prices=(1.0, 1)), "a price that is not above 1 and below 100 as decimal odds"),
        (event(LAKERS[:1], prices=(9_900, 20_000)), "a price that is not above 1 and below 100 as decimal odds"),
        (event([LAKERS[0], ("draftkings", "LeBron James", 25.5)]), "two main lines of one book at one time"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_lines_that_cannot_be_are_refused(importer: Importer, content: Row, reason: str) -> None:
    """Guards against a wrong line, which would be a feature of its player."""
    report = importer("the-odds-api", json.dumps(content))
    assert list(report.refused) == [reason]
    assert report.new == 0


def test_an_answer_that_is_an_error_is_refused(importer: Importer) -> None:
    """Guards against 'quota used up', saved as a file, taken for a night without lines."""
    answer = {"message": "Usage quota has been reached.", "error_code": "OUT_OF_USAGE_CREDITS"}
    with pytest.raises(SourceDataError, match=r"it is the server's error: .*OUT_OF_USAGE_CREDITS"):
        importer("the-odds-api", json.dumps(answer))


# --- mappings -------------------------------------------------------------------------------------------------


def test_a_users_own_mapping(tmp_path: Path, folder: Path) -> None:
    """Guards against formats that are programs: another site's file needs a copied mapping and other names."""
    own = shipped_text("nba-api")
    for ours, theirs in {"PLAYER_NAME": "who", "GAME_DATE": "when", "PTS": "points"}.items():
        own = own.replace(f'"{ours}"', f'"{theirs}"')
    own = own.replace('game_date = "when"', 'game_date = { column = "when", formats = ["%d.%m.%Y"] }')
    (tmp_path / "mine.toml").write_text(own)
    rows = [
        row
        | {"who": row["PLAYER_NAME"], "when": f"{date.fromisoformat(row['GAME_DATE']):%d.%m.%Y}", "points": row["PTS"]}
        for row in league_game_log(shipped("2025-06"))
    ]
    header = [{"PLAYER_NAME": "who", "GAME_DATE": "when", "PTS": "points"}.get(name, name) for name in LEAGUE_GAME_LOG]
    (tmp_path / "file.csv").write_text(as_csv(header, rows))
    Import("mine", own_mapping(tmp_path / "mine.toml"), folder, {}).run([tmp_path / "file.csv"])
    assert month_of(folder, "2025-06").equals(shipped_month("2025-06"))


def test_every_shipped_mapping_is_valid() -> None:
    """Guards against a mapping that fails at its first use."""
    assert shipped_formats() == [
        "basketball-reference",
        "nba-api",
        "nba-api-rosters",
        "nba-api-schedule",
        "the-odds-api",
    ]
    for name in shipped_formats():
        assert shipped_mapping(name).about


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("kind = 'player_games'\n[columns]\npoints = 'PTS'", "unknown columns points; player_games has season, "),
        ("kind = 'games'\n[columns]", "kind: Input should be 'player_games', 'prop_lines', 'schedule' or 'rosters'"),
        ("kind = 'prop_lines'\n[columns]\nline = {column = 'a', pattern = '('}", "columns.line.pattern"),
        ("kind = 'prop_lines'\nrulez = 1\n[columns]", "rulez: Extra inputs are not permitted"),
        ("kind = ", "is not valid TOML"),
    ],
    ids=lambda value: value if "\n" not in value else "",
)
def test_a_wrong_mapping_is_refused_with_its_key(tmp_path: Path, content: str, message: str) -> None:
    """Guards against a misspelt key that is ignored."""
    (tmp_path / "mine.toml").write_text(content)
    with pytest.raises(SettingsError) as refused:
        own_mapping(tmp_path / "mine.toml")
    assert message in str(refused.value)
