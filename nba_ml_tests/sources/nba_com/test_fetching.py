"""`nba-ml fetch` into a folder, from a server that answers like nba.com."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pyarrow.compute as pc
import pytest
from click.testing import CliRunner, Result

from nba_ml.cli.main import main
from nba_ml.contract.errors import HomeBusyError, SettingsError, SourceDataError
from nba_ml.sources.importers.importing import locked
from nba_ml.sources.nba_com.client import Client
from nba_ml.sources.nba_com.fetching import KEPT, Fetch
from nba_ml_tests.sources.importers.conftest import contents_of, month_of, shipped_month
from nba_ml_tests.sources.importers.exports import Row, shipped
from nba_ml_tests.sources.nba_com.server import (
    Api,
    a_page,
    cut_and_declared_whole,
    forbidden,
    game,
    index_of,
    patient,
    schedule_of,
    serve,
    well,
)

pytestmark = pytest.mark.slow

FIRST, LAST = date(2025, 5, 20), date(2025, 6, 13)
TONIGHT = LAST + timedelta(days=1)

ROWS = shipped("2025-05", "2025-06")


def tip_off(day: date, hour: int = 20) -> datetime:
    """An hour of the East Coast in summer."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(hours=hour + 4)


GAMES = [
    *schedule_of(ROWS),
    game("0042400499", date(2025, 6, 25), "OKC", "IND", tip_off(date(2025, 6, 25), 0)),  # time not known
    game("0042400498", date(2025, 6, 26), None, None, tip_off(date(2025, 6, 26))),  # if necessary
    game("0042400497", date(2025, 6, 27), "TBD", "OKC", tip_off(date(2025, 6, 27))),
    game("0032400001", date(2025, 2, 16), "SHQ", "CDY", tip_off(date(2025, 2, 16))),  # All-Star
    game("0012400001", date(2024, 10, 4), "RMD", "DEN", tip_off(date(2024, 10, 4))),  # preseason, a foreign club
    game("0022400999", date(2025, 1, 9), "CHA", "LAL", tip_off(date(2025, 1, 9)), postponedStatus="P"),
]


@pytest.fixture
def api() -> Iterator[Api]:
    with serve(Api(ROWS, list(GAMES), index_of(ROWS))) as api:
        yield api


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data"


def fetch(api: Api, folder: Path, first: date = FIRST, last: date = LAST) -> Any:
    return Fetch(folder, first, last).run(Client(api.address, pause=0, timeout=60, tries=2))


def nba_ml(api: Api, *arguments: str) -> Result:
    environ = {**os.environ, "NBA_ML_NBA_API": api.address}
    return CliRunner().invoke(main, ["fetch", *arguments, "--pause", "0"], env=environ)


def between(first: date, last: date) -> list[Row]:
    return [row for row in ROWS if first <= row["game_date"] <= last]


def test_box_scores_are_those_of_the_dates(api: Api, folder: Path) -> None:
    """Guards against a row that is lost or changed between the server and the folder."""
    reports = fetch(api, folder)
    assert reports["nba-api"].new == len(between(FIRST, LAST))
    for month in ("2025-05", "2025-06"):
        day = shipped_month(month)["game_date"]
        wanted = shipped_month(month).filter(pc.and_(pc.greater_equal(day, FIRST), pc.less_equal(day, LAST)))
        assert month_of(folder, month).equals(wanted)
    assert not (folder / ".fetch").exists()


def test_the_schedule_has_games_that_count_and_their_times(api: Api, folder: Path) -> None:
    """Guards against All-Star games and foreign clubs that make every night red, and against a midnight that is no
    time."""
    report = fetch(api, folder)["nba-api-schedule"]
    rows = {row["game_id"]: row for row in month_of(folder, "2024-25", "schedule").to_pylist()}
    assert len(rows) == len(GAMES) - 5
    assert rows["0042400407"] == {
        "game_id": "0042400407",
        "game_date": date(2025, 6, 22),
        "home_team": "OKC",
        "away_team": "IND",
        "tip_off": tip_off(date(2025, 6, 22)),
        "neutral_site": False,
        "season_type": "Playoffs",
    }
    assert rows["0042400499"]["tip_off"] is None
    assert report.refused == {}
    assert report.set_aside == {
        "postponedStatus other than a, n, , none": 1,
        "games of the type All-Star": 1,
        "games of the type Pre Season": 1,
        "games whose teams are not known yet": 2,
    }


def test_the_roster_is_of_the_day_after(api: Api, folder: Path) -> None:
    """Guards against players without a team, and against a roster that counts for dates before it."""
    report = fetch(api, folder)["nba-api-rosters"]
    rows = month_of(folder, str(TONIGHT), "rosters").to_pylist()
    assert {row["as_of"] for row in rows} == {TONIGHT}
    names = {row["player_id"]: row["player_name"] for row in ROWS}
    assert {row["player_id"]: row["player_name"] for row in rows} == names
    assert (report.refused, report.set_aside) == ({}, {"ROSTER_STATUS other than 1, 1.0": 1})


def test_the_same_fetch_again_changes_no_byte(api: Api, folder: Path) -> None:
    """Guards against months that train again after every night."""
    fetch(api, folder)
    before = contents_of(folder)
    reports = fetch(api, folder)
    assert [(report.new, report.changed) for report in reports.values()] == [(0, 0)] * 3
    assert contents_of(folder) == before


def test_what_the_server_corrects_is_replaced_and_reported(api: Api, folder: Path) -> None:
    """Guards against a first version that stays: corrected box scores, moved games, players who were waived."""
    fetch(api, folder)
    api.rows = [{**row, "ast": row["ast"] + 1} if row is ROWS[-1] else row for row in ROWS]
    last = ROWS[-1]["game_date"]
    moved = game("0042400499", date(2025, 6, 27), "OKC", "IND", tip_off(date(2025, 6, 27)))
    api.games = [moved if each["gameId"] == "0042400499" else each for each in GAMES]
    api.players = api.players[1:]
    reports = fetch(api, folder, last=max(LAST, last))
    assert reports["nba-api"].changes == []  # the row is new: it is later than the first fetch
    again = fetch(api, folder, last=last)
    assert again["nba-api"].changed == 0
    [change] = reports["nba-api-schedule"].changes
    assert change["columns"]["game_date"] == [date(2025, 6, 25), date(2025, 6, 27)]
    assert month_of(folder, str(last + timedelta(1)), "rosters").num_rows == len(api.players) - 1
    api.rows = ROWS
    [change] = fetch(api, folder, last=last)["nba-api"].changes
    assert change["columns"] == {"ast": [ROWS[-1]["ast"] + 1, ROWS[-1]["ast"]]}
    api.players = api.players[1:]
    report = fetch(api, folder, last=last)["nba-api-rosters"]
    assert report.notes == [f"rosters/{last + timedelta(1)}.parquet: 1 rows that the import does not have are gone."]


def test_an_answer_that_is_no_answer_leaves_the_folder_alone(api: Api, folder: Path) -> None:
    """Guards against half a fetch: box scores without the schedule, or a page taken for a night without games."""
    for fault in (cut_and_declared_whole, a_page, forbidden):
        api.faults[:] = [well, *[fault] * 9]
        with pytest.raises(SourceDataError, match="2024-25_2025-0"):
            fetch(api, folder)
        assert contents_of(folder) == {}
    api.faults.clear()
    fetch(api, folder)
    assert set(contents_of(folder)) == {
        "player_games/2025-05.parquet",
        "player_games/2025-06.parquet",
        "rosters/2025-06-14.parquet",
        "schedule/2024-25.parquet",
    }


def test_a_second_run_continues_where_the_first_ended(api: Api, folder: Path) -> None:
    """Guards against a season that is asked for again and again from a server that throttles."""
    number = len(list(Fetch(folder, FIRST, LAST).requests()))
    api.faults[:] = [well] * (number - 1) + [patient("3600")]
    with pytest.raises(SourceDataError, match="run the same command later to continue"):
        fetch(api, folder)
    assert len(api.asked) == number
    api.asked.clear()
    fetch(api, folder)
    assert [endpoint for endpoint, _ in api.asked] == ["playerindex"]
    api.asked.clear()
    fetch(api, folder)
    assert len(api.asked) == number, "a run that ended begins anew"


def test_answers_of_yesterday_are_asked_for_again(api: Api, folder: Path) -> None:
    """Guards against a stopped run whose answers hide the games since."""
    api.faults[:] = [well, well, patient("3600")]
    with pytest.raises(SourceDataError, match="continue"):
        fetch(api, folder)
    old = time.time() - KEPT.total_seconds() - 1
    for file in (folder / ".fetch").iterdir():
        os.utime(file, (old, old))
    api.asked.clear()
    fetch(api, folder)
    assert len(api.asked) == len(list(Fetch(folder, FIRST, LAST).requests()))


def test_a_killed_run_is_finished_by_the_next(api: Api, folder: Path) -> None:
    """Guards against half a file, and against a lock that outlives its process."""
    arguments = ["fetch", "--from", str(FIRST), "--until", str(LAST), "--to", str(folder), "--pause", "0"]
    api.faults[:] = [well, well, lambda *_: time.sleep(60)]
    environ = {**os.environ, "NBA_ML_NBA_API": api.address}
    process = subprocess.Popen([Path(sys.executable).with_name("nba-ml"), *arguments], env=environ)
    try:
        until = time.monotonic() + 120
        while len(api.asked) < 3:
            assert process.poll() is None
            assert time.monotonic() < until
            time.sleep(0.05)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not psutil.pid_exists(process.pid)
    assert contents_of(folder) == {}
    api.asked.clear()
    fetch(api, folder)
    assert len(api.asked) == len(list(Fetch(folder, FIRST, LAST).requests())) - 2
    assert month_of(folder, "2025-06").num_rows == len(between(date(2025, 6, 1), LAST))


def test_december_has_the_cups_final_and_every_short_stint(folder: Path) -> None:
    """Guards against players of under half a minute who are lost because the final's log has parts of minutes."""
    rows = shipped("2023-12")
    final = rows[-1]["game_id"]
    known = [{**row, "game_id": "0062300001"} if row["game_id"] == final else row for row in rows]
    with serve(Api(known, [], index_of(rows))) as api:
        report = fetch(api, folder, date(2023, 12, 1), date(2023, 12, 31))["nba-api"]
    assert 0 in {row["min"] for row in known if row["game_id"] != "0062300001"}
    assert (report.new, report.refused) == (len(known), {})
    assert "0062300001" in month_of(folder, "2023-12")["game_id"].to_pylist()


def test_in_summer_nothing_is_asked(api: Api, folder: Path) -> None:
    """Guards against an error every night from July on, when there is no schedule yet."""
    result = nba_ml(api, "--from", "2025-07-05", "--until", "2025-08-20", "--to", str(folder))
    assert (result.exit_code, api.asked) == (0, [])
    assert "nothing was asked" in result.output


def test_two_fetches_at_once(api: Api, folder: Path) -> None:
    """Guards against twice the requests, and answers that one run removes from under another."""
    with locked(folder, name=".fetch.lock"), pytest.raises(HomeBusyError):
        fetch(api, folder)


def names(first: date, last: date) -> list[str]:
    return [request.name for _, request in Fetch(Path("nowhere"), first, last).requests()]


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [
        (date(2025, 1, 10), date(2025, 1, 12), ["2024-25_2025-01-10_2025-01-12_RegularSeason"]),
        (
            date(2023, 12, 1),
            date(2023, 12, 31),
            ["2023-24_2023-12-01_2023-12-31_RegularSeason", "2023-24_2023-12-01_2023-12-31_CupFinal"],
        ),
        (
            date(2025, 4, 10),
            date(2025, 4, 20),
            [f"2024-25_2025-04-10_2025-04-20_{kind}" for kind in ("RegularSeason", "PlayIn", "Playoffs")],
        ),
        (
            date(2020, 10, 1),
            date(2020, 11, 15),
            [
                *(f"2019-20_2020-10-01_2020-10-31_{kind}" for kind in ("PlayIn", "Playoffs")),
                "2020-21_2020-10-01_2020-10-31_RegularSeason",
                "2020-21_2020-11-01_2020-11-15_RegularSeason",
            ],
        ),
        (date(2025, 7, 1), date(2025, 9, 20), []),
    ],
    ids=["days", "cup", "april", "bubble", "summer"],
)
def test_what_is_asked_follows_the_calendar(first: date, last: date, expected: list[str]) -> None:
    """Guards against play-in games and finals that nobody asked for, and against a hundred requests for nothing."""
    asked = names(first, last)
    assert [name for name in asked if not name.startswith(("schedule", "rosters"))] == expected
    assert (asked == []) is (expected == [])


@pytest.mark.parametrize(
    ("first", "last"),
    [
        (date(2025, 6, 2), date(2025, 6, 1)),
        (date(1996, 11, 1), date(1996, 11, 2)),
        (date(2025, 1, 1), date(2999, 1, 1)),
    ],
    ids=["turned round", "too early", "future"],
)
def test_dates_that_cannot_be_are_refused(first: date, last: date) -> None:
    """Guards against requests for dates that have no games."""
    with pytest.raises(SettingsError, match=r"--(from|until) \d"):
        Fetch(Path("nowhere"), first, last)


def test_the_command(api: Api, folder: Path) -> None:
    """Guards against a command that does not say what it did."""
    result = nba_ml(api, "--from", str(FIRST), "--until", str(LAST), "--to", str(folder))
    assert result.exit_code == 0, result.output
    assert "1 of 6: 2024-25_2025-05-20_2025-05-31_PlayIn" in result.output
    assert "nba-api-rosters" in result.output
    result = nba_ml(api, "--from", str(FIRST), "--until", str(LAST), "--to", str(folder), "--json")
    reports = json.loads(result.output)
    assert reports["nba-api"]["unchanged"] == len(between(FIRST, LAST))
    api.faults[:] = [forbidden]
    result = nba_ml(api, "--from", str(FIRST), "--until", str(LAST), "--to", str(folder))
    assert (result.exit_code, "status 403" in result.output) == (2, True)
