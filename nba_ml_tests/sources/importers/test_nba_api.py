"""nba.com's box scores: all three kinds of file, and what files contain besides clean rows."""

from __future__ import annotations

import gzip
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from nba_ml.contract.errors import SourceDataError
from nba_ml.contract.season import month_bounds, season_months
from nba_ml.data.features import compute_features
from nba_ml.data.table_digest import table_digest
from nba_ml.sources.embedded import EmbeddedFeatureSource
from nba_ml_tests.conftest import COMPUTED_AT, features_of
from nba_ml_tests.sources.importers.conftest import Importer, copied, month_of, shipped_month
from nba_ml_tests.sources.importers.exports import (
    LEAGUE_GAME_LOG,
    PLAYER_GAME_LOGS,
    Row,
    as_csv,
    as_parquet,
    as_result_sets,
    league_game_log,
    player_game_logs,
    shipped,
)

LARGE = "2021-11"
SMALL = "2025-06"
"""159 rows: seven games of the Finals."""


def log(month: str = SMALL) -> list[Row]:
    return league_game_log(shipped(month))


def csv_of(rows: list[Row]) -> str:
    return as_csv(LEAGUE_GAME_LOG, rows)


# --- round trips ----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_season_comes_back_as_it_was_shipped(importer: Importer, folder: Path) -> None:
    """Guards against any column lost, rounded or moved on the way, playoffs and neutral sites among them."""
    months = season_months("2024-10", "2025-06")
    report = importer("nba-api", csv_of(league_game_log(shipped(*months))))
    assert (report.new, report.refused, report.set_aside) == (28_110, {}, {})
    for month in months:
        assert month_of(folder, month).equals(shipped_month(month)), month


def test_the_other_kinds_of_file(importer: Importer, folder: Path) -> None:
    """Guards against a kind that is read differently: JSON of either endpoint, Parquet, all gzipped."""
    by_month = {month: shipped(month) for month in ("2023-06", "2024-06", "2025-05", "2025-06")}
    contents: list[str | bytes] = [
        as_result_sets("LeagueGameLog", LEAGUE_GAME_LOG, league_game_log(by_month["2023-06"])),
        gzip.compress(as_parquet(LEAGUE_GAME_LOG, league_game_log(by_month["2024-06"]))),
        gzip.compress(csv_of(league_game_log(by_month["2025-06"])).encode("utf-16")),
    ]
    report = importer("nba-api", *contents)
    assert not report.refused
    for month in ("2023-06", "2024-06", "2025-06"):
        assert month_of(folder, month).equals(shipped_month(month)), month
    report = importer(
        "nba-api", as_result_sets("PlayerGameLogs", PLAYER_GAME_LOGS, player_game_logs(by_month["2025-05"]))
    )
    assert not report.refused
    assert month_of(folder, "2025-05").equals(shipped_month("2025-05"))


@pytest.mark.slow
def test_features_of_an_imported_month_have_the_shipped_digest(importer: Importer, folder: Path) -> None:
    """Guards against rows that look the same and are not to the graph."""
    importer("nba-api", csv_of(league_game_log(shipped("2021-10", "2021-11"))))
    source = EmbeddedFeatureSource(str(folder))
    history = pa.concat_tables([source.player_game_summary(month).table for month in ("2021-10", "2021-11")])
    lines = source.prop_lines("2021-11")
    computed = compute_features(history, lines, *month_bounds("2021-11"), computed_at=COMPUTED_AT)
    assert table_digest(computed) == table_digest(features_of("2021-11"))


# --- dirt: what works -----------------------------------------------------------------------------------------


def changed(rows: list[Row], **columns: Any) -> list[Row]:
    return [{**row, **{name: make(row[name]) for name, make in columns.items()}} for row in rows]


@pytest.mark.parametrize(
    "dirty",
    [
        b"\xef\xbb\xbf" + csv_of(log()).encode(),
        csv_of(log()).replace("\n", "\r\n").encode(),
        csv_of(log()).replace(",", ";").encode(),
        csv_of(changed(log(), MIN=lambda minutes: f"{minutes}:12")).encode(),
        csv_of(changed(log(), MIN=lambda minutes: f"PT{minutes:02d}M12.00S")).encode(),
        csv_of(changed(log(), PTS=float, FGM=float, PLAYER_ID=float, GAME_ID=lambda game: str(int(game)))).encode(),
        csv_of(changed(log(), PLAYER_ID=lambda player: f"{player:,}", MATCHUP=lambda game: f" {game} ")).encode(),
        csv_of(
            changed(log(), GAME_DATE=lambda day: datetime.fromisoformat(day).strftime("%b %d, %Y").upper())
        ).encode(),
        csv_of([*log(), *log()[:40]]).encode(),
        csv_of(log())
        .replace(csv_of(log()).splitlines()[80], csv_of(log()).splitlines()[0] + "\n" + csv_of(log()).splitlines()[80])
        .encode(),
        ("note, as of today\n\n" + csv_of(log())).encode(),
        ",".join(f'"{cell}"' for cell in LEAGUE_GAME_LOG).lower().encode()
        + csv_of(log()).encode()[len(",".join(LEAGUE_GAME_LOG)) :],
    ],
    ids=[
        "BOM",
        "CRLF",
        "semicolons",
        "mm:ss",
        "ISO clock",
        "floats",
        "thousands",
        "dates",
        "twice",
        "header",
        "note",
        "quotes",
    ],
)
def test_dirt_that_changes_no_fact(importer: Importer, folder: Path, dirty: bytes) -> None:
    """Guards against a file refused, or read differently, for how it was saved."""
    report = importer("nba-api", dirty)
    assert (report.new, report.refused) == (159, {})
    assert month_of(folder, SMALL).equals(shipped_month(SMALL))


def test_a_latin_1_file(importer: Importer, folder: Path) -> None:
    """Guards against letters lost: 'Schröder' saved by a spreadsheet on Windows."""
    row = changed(log(), PLAYER_NAME=lambda name: "Dennis Schröder" if name == "Pascal Siakam" else name)
    importer("nba-api", csv_of(row).encode("latin-1"))
    assert "Dennis Schröder" in month_of(folder, SMALL)["player_name"].to_pylist()


def test_names_in_decomposed_unicode_are_stored_composed(importer: Importer, folder: Path) -> None:
    """Guards against a name that differs from itself: macOS writes 'č' as two characters."""
    import unicodedata

    rows = changed(log("2024-06"), PLAYER_NAME=lambda name: unicodedata.normalize("NFD", name))
    importer("nba-api", csv_of(rows))
    assert month_of(folder, "2024-06").equals(shipped_month("2024-06"))


def test_other_codes_of_teams(importer: Importer, folder: Path) -> None:
    """Guards against BRK and BKN as two teams."""
    other = {
        "BKN": "BRK",
        "CHA": "CHO",
        "PHX": "PHO",
        "GSW": "GS",
        "NOP": "NO",
        "NYK": "NY",
        "SAS": "SA",
        "UTA": "UTAH",
        "WAS": "WSH",
    }

    def renamed(text: str) -> str:
        return " ".join(other.get(word, word) for word in text.split())

    importer("nba-api", csv_of(changed(log("2021-10"), TEAM_ABBREVIATION=renamed, MATCHUP=renamed)))
    assert month_of(folder, "2021-10").equals(shipped_month("2021-10"))


def test_a_date_with_a_zone_is_its_eastern_date(importer: Importer, folder: Path) -> None:
    """Guards against games of the next day: tip-off at 8:40 pm is 00:40 in UTC."""
    rows = changed(
        log(), GAME_DATE=lambda day: datetime.fromisoformat(day + "T20:40:00-04:00").astimezone(UTC).isoformat()
    )
    importer("nba-api", csv_of(rows))
    assert month_of(folder, SMALL).equals(shipped_month(SMALL))


def test_dates_that_became_midnight_of_a_zone_are_no_tip_offs(importer: Importer) -> None:
    """Guards against a history that is a day early: BigQuery and pandas write the date of a timestamp like this."""
    rows = changed(log(), GAME_DATE=lambda day: f"{day}T00:00:00.000Z")
    report = importer("nba-api", csv_of(rows))
    [(reason, refusal)] = report.refused.items()
    assert reason == "game_date: midnight of another zone in every row, where a date was expected"
    assert (refusal.rows, report.new) == (159, 0)
    assert refusal.examples[0] == f"file0:2 '{rows[0]['GAME_DATE']}'"
    one_late_game = [{**row, "GAME_DATE": row["GAME_DATE"].replace("T00:00", "T00:10")} for row in rows[-20:]]
    report = importer("nba-api", csv_of(rows[:-20] + one_late_game))
    assert not any("midnight" in reason for reason in report.refused)  # then they are moments


def test_players_who_did_not_play_are_set_aside(importer: Importer, folder: Path) -> None:
    """Guards against a zero for a player who was on the bench, and a month refused for his blanks."""
    absent = [
        {
            **dict.fromkeys(LEAGUE_GAME_LOG, ""),
            **{k: log()[0][k] for k in ("GAME_ID", "GAME_DATE", "MATCHUP", "WL", "TEAM_ABBREVIATION")},
            "PLAYER_ID": i,
            "PLAYER_NAME": "Bench Player",
            "MIN": minutes,
        }
        for i, minutes in enumerate(["", "0:00", "PT00M00.00S", "DNP - Coach's Decision", "NWT"], 1)
    ]
    report = importer("nba-api", csv_of([*log(), *absent]))
    assert (report.new, report.set_aside, report.refused) == (159, {"players who did not play": 5}, {})
    assert month_of(folder, SMALL).equals(shipped_month(SMALL))


def test_zero_whole_minutes_are_a_short_stint_and_zero_exact_minutes_are_none(importer: Importer) -> None:
    """Guards against players lost whom LeagueGameLog rounds to 0, and players kept whom PlayerGameLogs has at 0."""
    assert 0 in shipped_month(SMALL)["min"].to_pylist()
    exact = changed(player_game_logs(shipped(SMALL)), MIN=lambda minutes: 0.0 if minutes < 1 else minutes)
    zeros = sum(
        row["MIN"] == 0 and not any(row[c] for c in ("PTS", "FGA", "REB", "AST", "STL", "BLK", "TOV", "PF", "FTA"))
        for row in exact
    )
    report = importer("nba-api", as_csv(PLAYER_GAME_LOGS, exact))
    assert report.set_aside == {"players who did not play": zeros}


def test_parts_of_minutes_in_one_file_say_nothing_about_another(importer: Importer, folder: Path) -> None:
    """Guards against short stints that are lost because a second file has exact minutes."""
    exact = as_csv(PLAYER_GAME_LOGS, player_game_logs(shipped("2025-05")))
    importer("nba-api", csv_of(log()), exact)
    assert month_of(folder, SMALL).equals(shipped_month(SMALL))


def test_games_of_other_types_are_set_aside(importer: Importer) -> None:
    """Guards against preseason and All-Star rows in the averages, and against play-in games and cup finals left out."""
    digits = iter("1356")
    ids = {game: f"00{next(digits, '4')}{game[3:]}" for game in sorted({row["GAME_ID"] for row in log()})}
    report = importer("nba-api", csv_of(changed(log(), GAME_ID=ids.__getitem__)))
    assert list(report.set_aside) == [
        "games of the type Pre Season",
        "games of the type All-Star",
    ]
    assert report.new == 159 - sum(report.set_aside.values()) > 0


# --- dirt: what is refused ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"GAME_DATE": lambda day: f"{day}T20:30:00"}, "game_date: a time without a zone"),
        ({"GAME_DATE": lambda _: "04/05/2024"}, "game_date: not a date like 2024-11-01"),
        ({"GAME_DATE": lambda _: "45382"}, "game_date: not a date like 2024-11-01"),
        ({"GAME_DATE": lambda _: "2024-07-14"}, "a date in the off-season"),
        ({"GAME_DATE": lambda _: "2024-06-14"}, "a season other than that of the date"),
        ({"TEAM_ABBREVIATION": lambda _: "XYZ"}, "team: an unknown team"),
        ({"MATCHUP": lambda _: "OKC - IND"}, "opponent: not of the form that the mapping expects"),
        ({"WL": lambda _: ""}, "no result yet (neither W nor L)"),
        ({"PTS": lambda points: points + 1}, "points that do not add up to 2 x twos + 3 x threes + free throws"),
        ({"REB": lambda rebounds: rebounds + 1}, "rebounds that are not offensive + defensive"),
        ({"AST": lambda _: -1}, "a negative count"),
        ({"MIN": lambda _: 79}, "more than 78 minutes"),
        ({"MIN": lambda _: "34:61"}, "min: not a time on the floor"),
        ({"STL": lambda _: "1.5"}, "stl: not a whole number"),
        ({"PLUS_MINUS": lambda _: ""}, "no value for plus_minus"),
        ({"PLAYER_ID": lambda _: "doncilu01"}, "player_id: an id that is not a number"),
        ({"PLAYER_NAME": lambda _: "Luka Don?i?"}, "player_name: a name with lost letters"),
        ({"GAME_ID": lambda _: "2.24E+07"}, "game_id: an id that is not a number"),
        ({"GAME_ID": lambda game: "10" + game[2:]}, "game_id: a game of another league"),
        ({"WL": lambda result: "L" if result == "W" else "W"}, "a winner who scored less"),
        ({"MIN": lambda _: 0}, "no minutes played"),
        ({"MATCHUP": lambda game: game.replace("@", "vs.")}, "two home teams or none"),
    ],
    ids=lambda value: value if isinstance(value, str) else next(iter(value)),
)
def test_what_cannot_be_is_refused_with_its_reason(importer: Importer, folder: Path, columns: Any, reason: str) -> None:
    """Guards against a wrong fact that is silently in every later average. Nothing is written."""
    report = importer("nba-api", csv_of(changed(log(), **columns)))
    assert {each: refusal.rows for each, refusal in report.refused.items()} == {reason: 159}
    assert len(report.refused[reason].examples) == 5
    assert not (folder / "player_games" / f"{SMALL}.parquet").exists()


def test_a_game_with_a_side_missing_is_refused_and_the_others_are_not(importer: Importer, folder: Path) -> None:
    """Guards against half a game: the answer was cut, or the file is one team's."""
    rows = log(LARGE)
    broken = without_a_side(rows, 2)
    report = importer("nba-api", csv_of(broken))
    assert list(report.refused) == ["rows of one team only"]
    games = list(dict.fromkeys(row["GAME_ID"] for row in rows))
    assert set(month_of(folder, LARGE)["game_id"].to_pylist()) == set(games[2:])


@pytest.mark.slow
def test_a_month_of_which_over_one_percent_is_broken_is_not_imported(importer: Importer, folder: Path) -> None:
    """Guards against a broken export of which the better part is imported, and looks like a month."""
    rows = log(LARGE)
    report = importer("nba-api", csv_of([*without_a_side(rows, 3), *log()]))
    assert list(report.refused) == [
        "rows of one team only",
        "a month of which over 1% of the games are refused",
    ]
    assert [file.stem for file in (folder / "player_games").iterdir()] == [SMALL], "the other month is imported"
    copied(folder, LARGE)
    report = importer("nba-api", csv_of(rows))
    assert (report.unchanged, report.refused) == (len(rows), {})


def without_a_side(rows: list[Row], games: int) -> list[Row]:
    """Rows without one team's, in the first games."""
    sides = {row["GAME_ID"]: row["TEAM_ABBREVIATION"] for row in reversed(rows)}
    lost = dict(list(reversed(sides.items()))[:games])
    return [row for row in rows if lost.get(row["GAME_ID"]) != row["TEAM_ABBREVIATION"]]


def test_duplicates_that_differ_are_refused_and_named(importer: Importer) -> None:
    """Guards against the last of two rows winning by its place in the file."""
    again = {**log()[3], "AST": log()[3]["AST"] + 1}
    report = importer("nba-api", csv_of([*log(), again]))
    refusal = report.refused["duplicates that differ"]
    assert refusal.rows == 2
    assert all(log()[3]["PLAYER_NAME"] in each for each in refusal.examples)
    # Without his five points the winner of 111 to 110 scored less: the game is not whole.
    assert report.refused["a winner who scored less"].rows == 20
    assert report.refused["a month of which over 1% of the games are refused"].rows == 138


def test_a_type_that_the_game_id_contradicts_is_refused(importer: Importer) -> None:
    """Guards against preseason games that somebody calls regular season."""
    header = [*LEAGUE_GAME_LOG, "SEASON_TYPE"]
    rows = [{**row, "SEASON_TYPE": "Regular Season"} for row in log()]
    report = importer("nba-api", as_csv(header, rows))
    assert report.refused["a season type that the third digit of the game id contradicts"].rows == 159


def test_a_game_in_two_months_is_refused(importer: Importer, folder: Path) -> None:
    """Guards against a game counted twice: once dated by UTC, and once right."""
    copied(folder, "2021-11", "2021-12")
    rows = [row for row in league_game_log(shipped("2021-12")) if row["GAME_DATE"] == "2021-12-01"]
    report = importer("nba-api", csv_of(changed(rows, GAME_DATE=lambda _: "2021-11-30")))
    assert {k: r.rows for k, r in report.refused.items()} == {
        "a game id that the folder has on another date": len(rows)
    }


def test_a_row_that_is_cut_is_refused(importer: Importer) -> None:
    """Guards against the last row of a cut download taken for a player who did not play."""
    content = csv_of(log())
    report = importer("nba-api", content[: content.rindex(",", 0, -40)])
    assert report.refused["a row with fewer or more cells than the header"].rows == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b" \n\n", "is empty"),
        (gzip.compress(b""), "is empty"),
        (gzip.compress(csv_of(log()).encode())[:-20], "cannot be read"),
        (as_parquet(LEAGUE_GAME_LOG, log())[:-20], "is not a readable Parquet file"),
        (as_result_sets("LeagueGameLog", LEAGUE_GAME_LOG, log()).encode()[:-200], "is not valid JSON"),
        (as_result_sets("TeamStats", LEAGUE_GAME_LOG, log()).encode(), "result sets TeamStats, not LeagueGameLog"),
        (b'{"Message": "An error has occurred."}', "it is the server's error"),
        (b"a,b\n1,2\n", "lacks game_date, player_name"),
        (b"<html><body>Access Denied</body></html>", "lacks game_date"),
        (b"PK\x03\x04\x00\x00", "is not text, and not Parquet"),
        (as_csv([c for c in LEAGUE_GAME_LOG if c != "STL"], log()).encode(), "lacks stl. It has: season_id"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_file_that_cannot_be_read_is_refused_by_name(
    importer: Importer, folder: Path, content: bytes, message: str
) -> None:
    """Guards against an import that did nothing and reports success. The readable file beside it is not imported."""
    with pytest.raises(SourceDataError, match="file1") as refused:
        importer("nba-api", csv_of(log()), content)
    assert message in str(refused.value)
    assert not folder.exists()


@pytest.mark.parametrize("content", [csv_of([]), as_result_sets("LeagueGameLog", LEAGUE_GAME_LOG, [])])
def test_no_rows_are_no_error(importer: Importer, content: str) -> None:
    """Guards against a failure on a night without games."""
    assert importer("nba-api", content).read == 0


def test_types_of_parquet(importer: Importer, folder: Path) -> None:
    """Guards against Parquet's own types refused: dates, timestamps, numbers with gaps, dictionaries."""
    table = pa.Table.from_pylist([{k: row.get(k) for k in LEAGUE_GAME_LOG} for row in log()])
    day = pa.array([datetime.fromisoformat(each) for each in table["GAME_DATE"].to_pylist()], pa.timestamp("ns"))
    table = table.set_column(7, "GAME_DATE", day).set_column(6, "GAME_ID", table["GAME_ID"].cast(pa.int64()))
    table = table.set_column(4, "TEAM_ABBREVIATION", table["TEAM_ABBREVIATION"].dictionary_encode())
    table = table.set_column(1, "PLAYER_ID", table["PLAYER_ID"].cast(pa.float64()))
    sink = pa.BufferOutputStream()
    import pyarrow.parquet as pq

    pq.write_table(table, sink)
    importer("nba-api", sink.getvalue().to_pybytes())
    assert month_of(folder, SMALL).equals(shipped_month(SMALL))
