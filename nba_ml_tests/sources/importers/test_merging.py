"""The folder after imports: nothing lost, nothing half written, the same bytes for the same rows."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from nba_ml.cli.main import main
from nba_ml.contract.errors import HomeBusyError, SourceDataError
from nba_ml.contract.season import season_months
from nba_ml.sources.importers.mapping import FORMATS
from nba_ml_tests.sources.importers.conftest import Importer, contents_of, copied, month_of, shipped_month
from nba_ml_tests.sources.importers.exports import LEAGUE_GAME_LOG, as_csv, league_game_log, shipped

MONTH = "2025-06"


def log(*months: str) -> str:
    return as_csv(LEAGUE_GAME_LOG, league_game_log(shipped(*months or (MONTH,))))


def test_the_same_import_again_changes_no_byte(importer: Importer, folder: Path) -> None:
    """Guards against months that are new to the graph after every import, and train again."""
    importer("nba-api", log("2025-05", MONTH))
    before = {file: (file.stat().st_mtime_ns, file.read_bytes()) for file in folder.rglob("*.parquet")}
    report = importer("nba-api", log("2025-05", MONTH))
    assert (report.new, report.changed, report.unchanged) == (0, 0, 842 + 159)
    assert {file: (file.stat().st_mtime_ns, file.read_bytes()) for file in folder.rglob("*.parquet")} == before


def test_the_order_of_imports_does_not_count(importer: Importer, folder: Path) -> None:
    """Guards against bytes that depend on which night was fetched first."""
    rows = league_game_log(shipped(MONTH))
    games = sorted({row["GAME_ID"] for row in rows})
    for game in reversed(games):
        importer("nba-api", as_csv(LEAGUE_GAME_LOG, [row for row in rows if row["GAME_ID"] == game]))
    by_night = contents_of(folder)
    (folder / f"player_games/{MONTH}.parquet").unlink()
    importer("nba-api", log())
    assert contents_of(folder) == by_night


def test_a_corrected_row_replaces_the_old_one_and_is_reported(importer: Importer, folder: Path) -> None:
    """Guards against a correction lost, and against one that nobody hears of."""
    importer("nba-api", log())
    rows = league_game_log(shipped(MONTH))
    rows[5] = {**rows[5], "AST": rows[5]["AST"] + 2}
    report = importer("nba-api", as_csv(LEAGUE_GAME_LOG, rows))
    assert (report.new, report.changed, report.unchanged) == (0, 1, 158)
    old = shipped(MONTH)[5]
    [change] = report.changes
    assert change == {
        "game_date": str(old["game_date"]),
        "player_name": old["player_name"],
        "columns": {"ast": [old["ast"], old["ast"] + 2]},
    }
    assert sorted(month_of(folder, MONTH)["ast"].to_pylist()) == sorted(row["AST"] for row in rows)


def test_rows_that_the_import_lacks_stay_and_so_do_columns_of_the_user(importer: Importer, folder: Path) -> None:
    """Guards against a month replaced by the one night that was imported."""
    copied(folder, MONTH)
    file = folder / f"player_games/{MONTH}.parquet"
    tip_off = pa.array([datetime(2025, 6, 5, 0, i % 60) for i in range(159)])
    pq.write_table(month_of(folder, MONTH).append_column("tip_off", tip_off), file)
    rows = league_game_log(shipped(MONTH))
    night = [row | {"STL": row["STL"] + 1} for row in rows if row["GAME_ID"] == rows[0]["GAME_ID"]]
    report = importer("nba-api", as_csv(LEAGUE_GAME_LOG, night))
    assert (report.changed, report.new) == (len(night), 0)
    after = month_of(folder, MONTH)
    assert after.num_rows == 159
    assert after["tip_off"].to_pylist() == tip_off.to_pylist()


def test_a_correction_that_breaks_a_game_leaves_it_as_it_was(importer: Importer, folder: Path) -> None:
    """Guards against an import that makes a good month one that the graph refuses."""
    importer("nba-api", log())
    before = contents_of(folder)
    rows = league_game_log(shipped(MONTH))
    report = importer(
        "nba-api",
        as_csv(LEAGUE_GAME_LOG, [row | {"WL": "W"} for row in rows[:1] if row["WL"] == "L"] or [rows[0] | {"WL": "L"}]),
    )
    assert {reason: each.rows for reason, each in report.refused.items()} == {
        "rows of a team that contradict each other": 1
    }
    assert contents_of(folder) == before


@pytest.mark.parametrize("kind", [pa.int64(), pa.float64()], ids=str)
def test_a_folder_whose_ids_lost_their_zeros_has_the_same_games(
    importer: Importer, folder: Path, kind: pa.DataType
) -> None:
    """Guards against every game twice: a folder that went through pandas has 42400401 for 0042400401."""
    copied(folder, MONTH)
    file = folder / f"player_games/{MONTH}.parquet"
    table = month_of(folder, MONTH)
    ids = table["game_id"].cast(pa.int64()).cast(kind)
    pq.write_table(table.set_column(table.column_names.index("game_id"), "game_id", ids), file)
    before = file.read_bytes()
    assert (importer("nba-api", log()).unchanged, file.read_bytes()) == (159, before)
    rows = league_game_log(shipped(MONTH))
    report = importer("nba-api", as_csv(LEAGUE_GAME_LOG, [rows[0] | {"STL": rows[0]["STL"] + 1}, *rows[1:]]))
    assert (report.changed, report.new, report.refused) == (1, 0, {})
    assert set(month_of(folder, MONTH)["game_id"].to_pylist()) == {row["GAME_ID"] for row in rows}


def test_a_damaged_month_is_named_and_left(importer: Importer, folder: Path) -> None:
    """Guards against a file that somebody could still restore replaced by a part of it."""
    copied(folder, MONTH)
    file = folder / f"player_games/{MONTH}.parquet"
    file.write_bytes(file.read_bytes()[:-100])
    before = contents_of(folder)
    with pytest.raises(SourceDataError, match=f"{MONTH}.parquet cannot be read"):
        importer("nba-api", log())
    assert contents_of(folder) == before


def test_two_imports_at_once(importer: Importer, folder: Path) -> None:
    """Guards against two that read a month, and of which the second writes it without the first's rows."""
    folder.mkdir()
    with (folder / ".import.lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(HomeBusyError, match="Another import into"):
            importer("nba-api", log())
    assert importer("nba-api", log()).new == 159


@pytest.mark.slow
def test_a_kill_between_months(tmp_path: Path, folder: Path) -> None:
    """Guards against a month half written: after a kill each is whole, old or new, and the next import finishes."""
    months = season_months("2025-02", "2025-06")
    file = tmp_path / "months.csv"
    file.write_text(log(*months))
    command = [
        sys.executable,
        "-m",
        "nba_ml_tests.sources.importers.slowly",
        "import",
        "nba-api",
        str(file),
        "--to",
        str(folder),
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 120
        while len(list(folder.glob("player_games/*.parquet"))) < 3:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    left = sorted(each.stem for each in folder.glob("player_games/*.parquet"))
    assert 3 <= len(left) < len(months)
    for month in left:
        assert month_of(folder, month).equals(shipped_month(month))
    assert CliRunner().invoke(main, ["import", "nba-api", str(file), "--to", str(folder)]).exit_code == 0
    for month in months:
        assert month_of(folder, month).equals(shipped_month(month))


# --- the command ----------------------------------------------------------------------------------------------


def test_the_command_ends_in_a_table(tmp_path: Path, folder: Path) -> None:
    """Guards against an import that does not say what became of the rows."""
    file = tmp_path / "log.csv"
    rows = league_game_log(shipped(MONTH))
    file.write_text(as_csv(LEAGUE_GAME_LOG, [*rows, rows[0] | {"TEAM_ABBREVIATION": "XYZ"}]))
    result = CliRunner().invoke(main, ["import", "nba-api", str(file), "--to", str(folder)])
    assert result.exit_code == 1
    for word in (
        "read",
        "160",
        "new",
        "159",
        "unchanged",
        "refused: team: an unknown team",
        "names that matched no player",
    ):
        assert word in result.output
    result = CliRunner().invoke(main, ["import", "nba-api", str(file), "--to", str(folder), "--json"])
    report = json.loads(result.output)
    assert (report["read"], report["unchanged"], report["refused_rows"]) == (160, 159, 1)
    assert report["refused"]["team: an unknown team"]["examples"] == ["log.csv:161 'XYZ'"]


def test_a_dry_run_writes_nothing(tmp_path: Path, folder: Path) -> None:
    """Guards against a look that changes what it looks at."""
    file = tmp_path / "log.csv"
    file.write_text(log())
    result = CliRunner().invoke(main, ["import", "nba-api", str(file), "--to", str(folder), "--dry-run"])
    assert (result.exit_code, folder.exists()) == (0, False)
    assert "Nothing was written" in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "An import needs a format, files and a folder"),
        (["espn", "x.csv", "--to", "x"], "'espn' is not a format. Use basketball-reference, nba-api, nba-api-rosters,"),
        (["nba-api", "nowhere.csv", "--to", "x"], "nowhere.csv cannot be read"),
        (["nba-api", "nowhere.csv", "--to", "x", "--set", "team"], "write COLUMN=VALUE"),
        (["nba-api", "nowhere.csv", "--to", "x", "--set", "tem=BOS"], "--set tem: no such column"),
        (["nba-api", "nowhere.csv", "--to", "x", "--mapping", "none.toml"], "none.toml cannot be read as a mapping"),
    ],
)
def test_a_wrong_command_says_what_to_give(arguments: list[str], message: str) -> None:
    """Guards against a traceback for a slip of the hand."""
    result = CliRunner().invoke(main, ["import", *arguments])
    assert result.exit_code == 2
    assert message in result.stderr


def test_a_mapping_is_shown_to_be_copied() -> None:
    """Guards against users who have to look for the package's files."""
    result = CliRunner().invoke(main, ["import", "nba-api", "--show"])
    assert result.output == (FORMATS / "nba-api.toml").read_text()
