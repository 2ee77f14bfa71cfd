"""The embedded source: its files found and read, or a paragraph that names the file and what to do."""

from __future__ import annotations

import re
import shutil
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from nba_ml.contract.digest import bytes_digest
from nba_ml.contract.errors import SourceDataError
from nba_ml.contract.season import season_months
from nba_ml.data.identities import player_lookup
from nba_ml.data.tables import PLAYER_GAME_SUMMARY
from nba_ml.settings import SAMPLE_DATA
from nba_ml.sources.embedded import EmbeddedFeatureSource, source_months
from nba_ml_tests.conftest import games_of, summary_of


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A user's folder with November and December 2021 and the lines."""
    (tmp_path / "player_games").mkdir()
    for month in ("2021-11", "2021-12"):
        shutil.copy(SAMPLE_DATA / "player_games" / f"{month}.parquet", tmp_path / "player_games")
    shutil.copytree(SAMPLE_DATA / "prop_lines", tmp_path / "prop_lines")
    return tmp_path


def source(data: Path) -> EmbeddedFeatureSource:
    return EmbeddedFeatureSource(data=str(data))


# --- the months -----------------------------------------------------------------------------------------------


def test_the_shipped_data_has_its_36_months() -> None:
    """Guards against a file that was left out of the package."""
    assert source_months(SAMPLE_DATA) == season_months("2021-10", "2025-06")
    assert len(list((SAMPLE_DATA / "player_games").glob("*.parquet"))) == 36


def test_a_hole_in_the_middle_stays_a_month_and_says_so(data: Path) -> None:
    """Guards against a month that was forgotten being left out of all averages without a word."""
    (data / "player_games" / "2021-12.parquet").rename(data / "player_games" / "2022-01.parquet")
    assert source_months(data) == ["2021-11", "2021-12", "2022-01"]
    expected = f"2021-12: {data}/player_games/2021-12.parquet does not exist, so the backfill has 0 rows of that month"
    with pytest.raises(SourceDataError, match=re.escape(expected)):
        source(data).player_game_summary("2021-12")
    with pytest.raises(SourceDataError, match=re.escape(expected)):
        source(data).fingerprint("2021-12")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("2022-07.parquet", "2022-07 is in the off-season"),
        ("foo.parquet", "'foo' is not a valid month. Use YYYY-MM"),
        ("2022-1.parquet", "'2022-1' is not a valid month"),
    ],
)
def test_a_file_whose_name_is_no_season_month_is_refused(data: Path, name: str, message: str) -> None:
    """Guards against a file that somebody believes is read, and is not."""
    (data / "player_games" / name).write_bytes(b"")
    with pytest.raises(SourceDataError, match=re.escape(f"{name} must be named after a season month. {message}")):
        source_months(data)


def test_hidden_files_of_a_mac_are_not_read(data: Path) -> None:
    """Guards against a folder that was copied from a Mac: beside each file there is a hidden one that is no Parquet."""
    expected = source(data).player_game_summary("2021-12").table, source(data).prop_lines("2024-12")
    for file in list(data.glob("*/*.parquet")):
        file.with_name(f"._{file.name}").write_bytes(b"\0\5\x16\7Mac OS X")
    assert source_months(data) == ["2021-11", "2021-12"]
    found = source(data)
    assert (found.player_game_summary("2021-12").table, found.prop_lines("2024-12")) == expected
    assert found.lines_fingerprint("2024-12")


def test_a_folder_that_is_not_there_or_empty_is_refused(tmp_path: Path) -> None:
    """Guards against a mistyped NBA_ML_DATA that gives a graph without partitions."""
    with pytest.raises(SourceDataError, match=r"player_games does not exist\. Set NBA_ML_DATA to a folder with"):
        source_months(tmp_path)
    (tmp_path / "player_games").mkdir()
    with pytest.raises(SourceDataError, match=r"player_games has no YYYY-MM\.parquet file"):
        source_months(tmp_path)
    (tmp_path / "player_games" / "README.txt").write_text("not yet")
    with pytest.raises(SourceDataError, match=r"player_games has no YYYY-MM\.parquet file"):
        source_months(tmp_path)


def shorten(data: Path, month: str, keep: str = "Regular Season") -> None:
    """A month with one type of games only; without a file if it has none of them."""
    games = games_of(month)
    kept = games.filter(pc.equal(games["season_type"], keep))
    file = data / "player_games" / f"{month}.parquet"
    file.unlink(missing_ok=True)
    if kept.num_rows:
        pq.write_table(kept, file)


def test_regular_seasons_alone_have_empty_mays_and_junes(tmp_path: Path) -> None:
    """Guards against a user without playoffs who cannot get past April."""
    (tmp_path / "player_games").mkdir()
    for month in season_months("2022-03", "2022-10"):
        shorten(tmp_path, month)
    found = source(tmp_path)
    assert source_months(tmp_path) == ["2022-03", "2022-04", "2022-05", "2022-06", "2022-10"]
    for month in ("2022-05", "2022-06"):
        assert found.player_game_summary(month).table.equals(PLAYER_GAME_SUMMARY.empty_table())
        assert found.fingerprint(month) == bytes_digest(b"")
    (tmp_path / "player_games" / "2022-03.parquet").rename(tmp_path / "player_games" / "2022-02.parquet")
    with pytest.raises(SourceDataError, match=r"2022-03: .*2022-03\.parquet does not exist"):
        found.player_game_summary("2022-03")


def test_a_hole_in_the_playoffs_is_a_hole(tmp_path: Path) -> None:
    """Guards against a forgotten May: the April of the same season has playoff games."""
    (tmp_path / "player_games").mkdir()
    for month in ("2022-04", "2022-06"):
        shutil.copy(SAMPLE_DATA / "player_games" / f"{month}.parquet", tmp_path / "player_games")
    with pytest.raises(SourceDataError, match=r"2022-05: .*2022-05\.parquet does not exist"):
        source(tmp_path).player_game_summary("2022-05")


def moved(month: str, to: str, season: str, days: int = 31) -> pa.Table:
    """Real games of a month, with their dates in another month and season."""
    games = games_of(month).to_pandas()
    shift = date.fromisoformat(f"{to}-01") - date.fromisoformat(f"{month}-01")
    day = games["game_date"].map(lambda each: each + shift)
    games = games.assign(game_date=day, season=season)[day.map(lambda each: each.day <= days)]
    return pa.Table.from_pandas(games, games_of(month).schema, preserve_index=False)


def test_the_season_that_ended_in_october(tmp_path: Path) -> None:
    """Guards against a season that is named by its month, and against a break that counts as a hole."""
    folder = tmp_path / "player_games"
    folder.mkdir()
    pq.write_table(moved("2022-03", "2020-03", "2019-20", days=11), folder / "2020-03.parquet")
    pq.write_table(moved("2022-06", "2020-10", "2019-20", days=11), folder / "2020-10.parquet")
    found = source(tmp_path)
    months = ["2020-03", "2020-04", "2020-05", "2020-06", "2020-07", "2020-08", "2020-09", "2020-10"]
    assert source_months(tmp_path) == months
    assert found.player_game_summary("2020-10").table.num_rows > 20
    assert [found.player_game_summary(month).table.num_rows for month in months[1:4]] == [0, 0, 0]
    for month in ("2020-07", "2020-08", "2020-09"):  # games were played, and the Finals are there
        with pytest.raises(SourceDataError, match=f"{month}: .* does not exist"):
            found.player_game_summary(month)


def test_a_first_month_in_mid_season_is_reported(data: Path) -> None:
    """Guards against averages of a season that silently begin in November."""
    assert "first box scores are of 2021-11-0" not in str(source(SAMPLE_DATA).starts_mid_season("2021-10"))
    assert source(SAMPLE_DATA).starts_mid_season("2021-10") is None
    (data / "player_games" / "2021-11.parquet").unlink()
    assert "are of 2021-12-01, and that season opened on 2021-10-19" in str(source(data).starts_mid_season("2021-12"))


def test_a_dangling_link_fails_its_own_month_only(data: Path) -> None:
    """Guards against a traceback in every month for a file of one that was moved away."""
    (data / "player_games" / "2022-01.parquet").symlink_to(data / "moved.parquet")
    assert source(data).player_game_summary("2021-11").table.equals(summary_of("2021-11"))
    with pytest.raises(SourceDataError, match="2022-01"):
        source(data).player_game_summary("2022-01")


# --- facts across files ---------------------------------------------------------------------------------------


def test_a_game_in_two_months_is_refused_in_both(data: Path) -> None:
    """Guards against games that count twice, and against a fingerprint that hides why a month changed."""
    found, before = source(data), source(data).fingerprint("2021-11")
    twice = games_of("2021-11").to_pandas()
    twice = twice[twice["game_id"] == twice["game_id"].iloc[-1]]
    day = date(2021, 12, 24)  # no game was played
    both = pd.concat([games_of("2021-12").to_pandas(), twice.assign(game_date=day)])
    december = pa.Table.from_pandas(both, games_of("2021-12").schema, preserve_index=False)
    pq.write_table(december, data / "player_games" / "2021-12.parquet")
    for month in ("2021-11", "2021-12"):
        refused = found.player_game_summary(month).refused
        assert refused["reason"].to_pylist() == ["an id that another month has too"]
        assert refused["nba_game_id"].to_pylist() == [twice["game_id"].iloc[0]]
    assert found.fingerprint("2021-11") != before


def test_a_player_keeps_his_lookup_when_his_spelling_changes(data: Path) -> None:
    """Guards against a history cut in two at new year, and an earlier month that a later file renames."""
    file = data / "player_games" / "2021-12.parquet"
    games = games_of("2021-12").to_pandas()
    player, name = int(games["player_id"].iloc[0]), games["player_name"].iloc[0]
    renamed = games.assign(player_name=games["player_name"].mask(games["player_id"] == player, f"{name} III"))
    pq.write_table(pa.Table.from_pandas(renamed, games_of("2021-12").schema, preserve_index=False), file)
    found = source(data)
    december = found.player_game_summary("2021-12")
    assert december.table.drop_columns("player_name").equals(summary_of("2021-12").drop_columns("player_name"))
    assert december.respelled == (f"{name} III ({player}) keeps the lookup {player_lookup(name)}",)
    assert found.player_game_summary("2021-11").table.equals(summary_of("2021-11"))
    assert found.fingerprint("2021-12") != bytes_digest(file.read_bytes()), "it depends on November's spelling"


def test_a_new_file_is_seen_by_a_source_that_is_open(data: Path) -> None:
    """Guards against a code location that has to be restarted for each new month."""
    found = source(data)
    assert found.prop_lines("2022-01").num_rows == 0
    lines = pq.read_table(next((data / "prop_lines").glob("*.parquet"))).slice(0, 5)
    days = pa.array([date(2022, 1, 5)] * 5)
    pq.write_table(
        lines.set_column(lines.column_names.index("game_date"), "game_date", days), data / "prop_lines" / "new.parquet"
    )
    assert found.prop_lines("2022-01").num_rows == 5


def test_a_file_of_box_scores_that_comes_changes_or_goes_is_seen_by_a_source_that_is_open(data: Path) -> None:
    """Guards against lookups of files that are no longer there, which would cut histories in two."""
    found, folder = source(data), data / "player_games"
    seen = [dict(found.lookups("2022-01"))]

    def changed() -> None:
        seen.append(dict(found.lookups("2022-01")))
        assert seen[-1] == source(data).lookups("2022-01")
        assert seen[-1] != seen[-2]

    (folder / "2022-01.parquet").symlink_to(data / "january.parquet")
    assert found.lookups("2022-01") == seen[-1], "a dangling link says nothing"
    shutil.copy(SAMPLE_DATA / "player_games" / "2022-01.parquet", data / "january.parquet")
    changed()
    games = games_of("2021-11")
    pq.write_table(games.slice(0, 100), folder / "2021-11.parquet")
    changed()
    (folder / "2021-12.parquet").unlink()
    changed()


# --- box scores -----------------------------------------------------------------------------------------------


def test_a_month_is_read_as_core_summarises_it(data: Path) -> None:
    """Guards against columns lost between the file and the rules, and against unknown ones getting in the way."""
    file = data / "player_games" / "2021-12.parquet"
    pq.write_table(games_of("2021-12").append_column("comment", pa.array(["x"] * 4398)), file)
    assert source(data).player_game_summary("2021-12").table.equals(summary_of("2021-12"))


@pytest.mark.parametrize("keep", [0, 3, 4096, -1])
def test_a_truncated_file_is_refused_by_name(data: Path, keep: int) -> None:
    """Guards against a copy cut short: Arrow's own message names neither the file nor the remedy."""
    file = data / "player_games" / "2021-11.parquet"
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(SourceDataError, match=re.escape(f"{file} is not a readable Parquet file (")) as refused:
        source(data).player_game_summary("2021-11")
    assert "copy it again" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_damaged_inside_is_refused_by_name(data: Path) -> None:
    """Guards against pages that no longer unpack: the footer, which is read first, is still whole then."""
    file = data / "player_games" / "2021-11.parquet"
    content = bytearray(file.read_bytes())
    content[100:5000] = bytes(4900)
    file.write_bytes(content)
    with pytest.raises(SourceDataError, match=re.escape(str(file))):
        source(data).player_game_summary("2021-11")


def test_rows_that_break_a_rule_are_refused_with_the_file(data: Path) -> None:
    """Guards against a message that says what is wrong and not where."""
    file = data / "player_games" / "2021-11.parquet"
    games = games_of("2021-11")
    pq.write_table(
        games.set_column(games.column_names.index("pts"), "pts", pc.add(games["pts"], 1).cast(pa.int16())), file
    )
    with pytest.raises(
        SourceDataError, match=re.escape(f"{file}: 4,864 of 4,864 rows are invalid: points that do not add up")
    ):
        source(data).player_game_summary("2021-11")


def test_a_missing_column_is_named_with_the_file(data: Path) -> None:
    """Guards against Arrow's own error for a column that the file does not have."""
    file = data / "player_games" / "2021-11.parquet"
    pq.write_table(games_of("2021-11").drop_columns(["opponent"]), file)
    with pytest.raises(
        SourceDataError, match=re.escape(f"{file} lacks the column opponent. Required columns: season, ")
    ):
        source(data).player_game_summary("2021-11")


def test_a_column_that_is_there_twice_is_named_and_fails_its_own_month_only(data: Path) -> None:
    """Guards against a traceback of Arrow in every month."""
    file, games = data / "player_games" / "2021-12.parquet", games_of("2021-12")
    pq.write_table(pa.table([*games.columns, games["game_id"]], [*games.column_names, "game_id"]), file)
    with pytest.raises(SourceDataError, match=f"{re.escape(str(file))} has several columns named game_id. Export it"):
        source(data).player_game_summary("2021-12")
    assert source(data).player_game_summary("2021-11").table.equals(summary_of("2021-11"))


def test_the_fingerprint_follows_the_file(data: Path) -> None:
    """Guards against a corrected file that nobody notices, and against files read again for nothing."""
    before = source(data).fingerprint("2021-11")
    assert before == source(data).fingerprint("2021-11") != source(data).fingerprint("2021-12")
    pq.write_table(games_of("2021-11").slice(0, 4000), data / "player_games" / "2021-11.parquet")
    assert source(data).fingerprint("2021-11") != before


# --- lines ----------------------------------------------------------------------------------------------------


def test_lines_are_those_of_the_month() -> None:
    """Guards against lines of other dates, and against lines lost at either end of a month."""
    shipped = source(SAMPLE_DATA)
    by_month = {month: shipped.prop_lines(month).num_rows for month in season_months("2021-10", "2025-06")}
    assert {month: rows for month, rows in by_month.items() if rows}.keys() == {
        "2024-10",
        "2024-11",
        "2024-12",
        "2025-01",
    }
    files = [pq.read_table(file) for file in (SAMPLE_DATA / "prop_lines").glob("*.parquet")]
    assert sum(by_month.values()) == sum(file.num_rows for file in files) > 10_000
    bounds = pc.min_max(shipped.prop_lines("2024-11")["game_date"]).as_py()
    assert {str(bounds["min"])[:7], str(bounds["max"])[:7]} == {"2024-11"}


def test_lines_are_optional(data: Path) -> None:
    """Guards against a source that demands betting lines from a user who has none."""
    shutil.rmtree(data / "prop_lines")
    assert source(data).prop_lines("2021-11").num_rows == 0
    assert source(data).lines_fingerprint("2021-11") == source(SAMPLE_DATA).lines_fingerprint("2021-11")


def test_the_lines_fingerprint_follows_lines_and_not_their_order(data: Path) -> None:
    """Guards against features made again for nothing, and against a corrected line that changes nothing."""
    file = next((data / "prop_lines").glob("*.parquet"))
    lines = pq.read_table(file)
    before = source(data).lines_fingerprint("2024-11")
    assert before == source(SAMPLE_DATA).lines_fingerprint("2024-11")
    pq.write_table(lines.take(pa.array(range(lines.num_rows - 1, -1, -1))), file)
    assert source(data).lines_fingerprint("2024-11") == before
    pq.write_table(lines.set_column(lines.column_names.index("line"), "line", pc.add(lines["line"], 0.5)), file)
    assert source(data).lines_fingerprint("2024-11") != before


def test_a_line_that_cannot_be_fails_its_own_month_only(data: Path) -> None:
    """Guards three good months against the typing error of a fourth."""
    file = next((data / "prop_lines").glob("*.parquet"))
    lines = pq.read_table(file)
    wrong = pa.array(["2025-01-05" if at == lines.num_rows - 1 else None for at in range(lines.num_rows)])
    days = pc.coalesce(wrong.cast(pa.date32()), lines["game_date"])
    points = pc.if_else(wrong.is_valid(), 85.5, lines["line"])
    changed = lines.set_column(lines.column_names.index("line"), "line", points)
    pq.write_table(changed.set_column(lines.column_names.index("game_date"), "game_date", days), file)
    assert source(data).prop_lines("2024-12").equals(source(SAMPLE_DATA).prop_lines("2024-12"))
    with pytest.raises(SourceDataError, match=re.escape(f"{file}: 1 of ") + ".*a points line outside 0 to 80"):
        source(data).prop_lines("2025-01")


def test_an_unreadable_file_of_lines_is_named(data: Path) -> None:
    """Guards against months without lines because their file was broken."""
    (data / "prop_lines" / "zz.parquet").write_bytes(b"PAR1")
    with pytest.raises(SourceDataError, match=r"zz\.parquet is not a readable Parquet file"):
        source(data).prop_lines("2024-11")


# --- who is out -----------------------------------------------------------------------------------------------


def test_lists_stand_in_for_reports_only_on_dates_without_any(tmp_path: Path) -> None:
    """Guards a user's own reports against what box scores show afterwards, and the fingerprint that follows both."""
    month, day = "2021-11", date(2021, 11, 5)
    (tmp_path / "player_games").mkdir()
    for each in ("2021-10", month):
        shutil.copy(SAMPLE_DATA / "player_games" / f"{each}.parquet", tmp_path / "player_games")
    summary = pa.concat_tables([summary_of("2021-10"), summary_of(month)])
    prints = {"nothing": source(tmp_path).reports.fingerprint(month)}
    assert source(tmp_path).reports.of_month(month, summary).table.num_rows == 0

    shutil.copytree(SAMPLE_DATA / "listed_without_minutes", tmp_path / "listed_without_minutes")
    prints["lists"] = source(tmp_path).reports.fingerprint(month)
    listed = source(tmp_path).reports.of_month(month, summary).table
    assert set(listed["game_date"].to_pylist()) == set(summary_of(month)["game_date"].to_pylist())
    assert 500 < pc.sum(listed["is_out"]).as_py() < 2_000
    # Four entries of the lists contradict the box scores, which count: nobody who appeared is out.
    appeared = set(zip(*(summary[name].to_pylist() for name in ("player_lookup", "game_date")), strict=True))
    assert not appeared & {(row["player_lookup"], row["game_date"]) for row in listed.to_pylist()}

    (tmp_path / "injury_reports").mkdir()
    reported_at = datetime(2021, 11, 5, 15, tzinfo=UTC)
    report = {"player_id": 201942, "game_date": day, "status": "Out", "reported_at": reported_at}
    pq.write_table(pa.Table.from_pylist([report]), tmp_path / "injury_reports" / "a.parquet")
    prints["reports"] = source(tmp_path).reports.fingerprint(month)
    both = source(tmp_path).reports.of_month(month, summary).table
    of_day = both.filter(pc.equal(both["game_date"], pa.scalar(day)))
    assert of_day["player_lookup"].to_pylist() == ["demarderozan", None]
    assert of_day["reported_at"].to_pylist() == [reported_at] * 2
    assert both.filter(pc.not_equal(both["game_date"], pa.scalar(day))).equals(
        listed.filter(pc.not_equal(listed["game_date"], pa.scalar(day)))
    )
    prints["cut-off"] = EmbeddedFeatureSource(str(tmp_path), timedelta(hours=1)).reports.fingerprint(month)
    assert len(set(prints.values())) == len(prints)
    assert source(tmp_path).reports.fingerprint("2021-10") not in prints.values()


def test_a_file_of_lists_with_other_columns_is_named(tmp_path: Path) -> None:
    """Guards against a traceback from a table of another kind."""
    (tmp_path / "listed_without_minutes").mkdir()
    pq.write_table(pa.table({"day": [1]}), tmp_path / "listed_without_minutes" / "a.parquet")
    with pytest.raises(SourceDataError, match=r"a\.parquet does not have the columns game_date \(date32\[day\]\), "):
        source(tmp_path).reports.fingerprint("2021-11")
