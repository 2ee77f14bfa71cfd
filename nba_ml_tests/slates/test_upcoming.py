"""Tonight's slate of an embedded source: from a schedule or named games, to predictions."""

from __future__ import annotations

import math
import shutil
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from nba_ml.contract.errors import SlateError, SourceDataError
from nba_ml.contract.features import V2_33FEATURES, V4_FEATURES
from nba_ml.data.features import compute_features
from nba_ml.data.games import REFUSED_GAMES, SummaryMonth
from nba_ml.data.stored import SUMMARY
from nba_ml.data.tables import PLAYER_GAME_SUMMARY
from nba_ml.defs.resources import open_store
from nba_ml.settings import SAMPLE_DATA
from nba_ml.slates.grades import grade_slates
from nba_ml.slates.slate import Slate
from nba_ml.slates.upcoming import EmbeddedSlateRows
from nba_ml.sources.embedded import EmbeddedFeatureSource
from nba_ml_tests.conftest import games_of, snapshot_of
from nba_ml_tests.slate_scene import DAY, slate, slate_rows_of
from nba_ml_tests.sources.test_upcoming import written

pytestmark = pytest.mark.slow

NIGHT = "BKN@CHI"
MONTHS = ("2021-10", "2021-11", "2021-12")


def before(folder: Path, day: date) -> Path:
    """A folder of box scores of three months, and of the fourth up to the day before a date."""
    games = folder / "player_games"
    games.mkdir(parents=True)
    for month in MONTHS:
        shutil.copy(SAMPLE_DATA / "player_games" / f"{month}.parquet", games)
    january = games_of("2022-01")
    pq.write_table(january.filter(pc.less(january["game_date"], pa.scalar(day))), games / "2022-01.parquet")
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return before(tmp_path / "data", DAY)


def rows_of(data: Path) -> EmbeddedSlateRows:
    return EmbeddedSlateRows(str(data.parent / "store"), data, threads=1)


def schedule(data: Path, day: date = DAY, tip_off: datetime | None = None, name: str = "a") -> None:
    """The games that were played on the date."""
    games = {
        row["game_id"]: {
            "game_id": row["game_id"],
            "game_date": day,
            "home_team": row["team"],
            "away_team": row["opponent"],
            "tip_off": tip_off,
        }
        for row in games_of(f"{day:%Y-%m}").to_pylist()
        if row["game_date"] == day and row["is_home"]
    }
    written(data, "schedule", list(games.values()), name=name)


def roster(data: Path, as_of: date, day: date = DAY) -> list[dict[str, object]]:
    """Those who played on the date, as a roster of an earlier one."""
    rows = [row for row in games_of(f"{day:%Y-%m}").to_pylist() if row["game_date"] == day]
    found = [{"as_of": as_of, **{name: row[name] for name in ("team", "player_id", "player_name")}} for row in rows]
    written(data, "rosters", found)
    return found


def test_a_schedule_and_a_roster_give_the_rows_that_are_computed_later(data: Path) -> None:
    """Guards against another path to features: with the actual players, every row is the one of the feature store."""
    schedule(data)
    roster(data, date(2022, 1, 15))
    made, later = rows_of(data).upcoming(DAY), slate_rows_of(DAY)
    assert made.rows.schema == later.schema
    same = [name for name in later.column_names if name not in ("updated_at", "features")]
    assert made.rows.select(same).equals(later.select(same))
    assert repr(made.rows["features"].to_pylist()) == repr(later["features"].to_pylist())
    assert made.notes == (
        f"10 games scheduled, {later.num_rows} players, box scores up to 2022-01-14",
        "players of the roster as of 2022-01-15",
    )


def test_named_games_and_last_ten_games(data: Path) -> None:
    """Guards against a user without schedule and roster who cannot predict."""
    made = rows_of(data).upcoming(DAY, NIGHT)
    assert made.notes[0].startswith("1 games named by --games, ")
    assert "last ten games" in made.notes[1]
    players = made.rows["player_lookup"].to_pylist()
    assert {"jamesharden", "demarderozan"} <= set(players)
    assert made.rows["game_id"].unique().to_pylist() == ["20220115_BKN_CHI"]


def test_those_who_are_out_are_left_out(data: Path) -> None:
    """Guards against predictions for the injured, and against news after the cut-off: noon Eastern without a tip-off,
    half an hour before it otherwise."""
    players = {row["player_name"]: row["player_id"] for row in games_of("2022-01").to_pylist()}
    at = {"James Harden": (16, 59), "DeMar DeRozan": (17, 0)}
    rows = [
        {
            "player_id": players[name],
            "game_date": DAY,
            "status": "OUT",
            "reported_at": datetime(2022, 1, 15, *moment, tzinfo=UTC),
        }
        for name, moment in at.items()
    ]
    written(data, "injury_reports", rows)
    made = rows_of(data).upcoming(DAY, NIGHT)
    assert "1 players out by the injury reports" in made.notes
    left = set(made.rows["player_lookup"].to_pylist())
    assert "jamesharden" not in left
    assert "demarderozan" in left
    schedule(data, tip_off=datetime(2022, 1, 15, 17, 31, tzinfo=UTC))
    assert not {"jamesharden", "demarderozan"} & set(rows_of(data).upcoming(DAY).rows["player_lookup"].to_pylist())
    earlier = EmbeddedSlateRows(str(data.parent / "store"), data, 1, timedelta(minutes=32))
    assert "jamesharden" in earlier.upcoming(DAY).rows["player_lookup"].to_pylist()


def test_what_a_team_loses_is_in_the_rows_of_the_others(data: Path) -> None:
    """Guards the features of who is out tonight: of his team alone, missing where nothing was reported or too late, and
    the same as they are computed when the box scores are there."""
    players = {row["player_name"]: row["player_id"] for row in games_of("2022-01").to_pylist()}
    morning, tip_off = (datetime(2022, 1, 15, hour, tzinfo=UTC) for hour in (15, 20))
    reports = [
        {"player_id": players["James Harden"], "status": "Out", "reported_at": morning, "team": None},
        {"player_id": None, "status": "nobody", "reported_at": morning, "team": "MIA"},
        {
            "player_id": players["DeMar DeRozan"],
            "status": "Out",
            "reported_at": morning.replace(hour=20),
            "team": "CHI",
        },
    ]
    written(data, "injury_reports", [{**report, "game_date": DAY} for report in reports])
    schedule(data, tip_off=tip_off)
    made = rows_of(data).upcoming(DAY, version=V4_FEATURES).rows
    out, expected = (V4_FEATURES.index(name) for name in ("out_points", "points_ewm_12"))
    vectors = dict(zip(made["player_lookup"].to_pylist(), made["features"].to_pylist(), strict=True))
    assert 15 < vectors["kevindurant"][out] < 35
    assert vectors["kevindurant"][out] == vectors["pattymills"][out] != vectors["kevindurant"][expected]
    assert vectors["tylerherro"][out] == 0
    assert math.isnan(vectors["nikolavucevic"][out]), "Chicago's report came too late"
    assert math.isnan(vectors["lebronjames"][out]), "nothing was reported of Los Angeles"

    pq.write_table(games_of("2022-01"), data / "player_games" / "2022-01.parquet")
    source = EmbeddedFeatureSource(str(data))
    history = pa.concat_tables([source.player_game_summary(month).table for month in (*MONTHS, "2022-01")])
    found = source.reports.of_month("2022-01", history)
    later = compute_features(
        history, source.prop_lines("2022-01"), DAY, DAY, computed_at=morning, version=V4_FEATURES, reports=found.table
    )
    assert (found.late, found.of_no_team) == (1, 0)
    # By player and game: one of them was traded that day.
    keys = ("player_lookup", "game_id")
    before, after = (
        {tuple(row[key] for key in keys): repr(row["features"]) for row in table.to_pylist()} for table in (made, later)
    )
    shared = before.keys() & after.keys()
    assert len(shared) > 150
    assert {key: before[key] for key in shared} == {key: after[key] for key in shared}


def test_a_team_that_the_roster_lacks_is_filled_from_its_last_games(data: Path) -> None:
    """Guards against a slate that fails because one team's roster could not be fetched."""
    rows = roster(data, date(2022, 1, 10))
    written(data, "rosters", [row for row in rows if row["team"] != "CHI"])
    made = rows_of(data).upcoming(DAY, NIGHT)
    assert "players of CHI of their team's last ten games, because no roster lists them" in made.notes
    assert "demarderozan" in made.rows["player_lookup"].to_pylist()


@pytest.mark.parametrize(
    ("day", "games", "message"),
    [
        (
            DAY,
            "",
            r"and .*schedule has no game of that date. Add its games to the schedule, or name them: `nba-ml slate",
        ),
        (DAY, "XXX@YYY", "'XXX@YYY' names 'XXX' and 'YYY', which no team is called"),
        (date(2022, 1, 13), NIGHT, "2022-01-13, which has results already. To replay it, run `nba-ml backfill"),
        (date(2021, 12, 24), NIGHT, "No game was played on 2021-12-24: the box scores go on to 2021-12-"),
        (date(2022, 4, 1), NIGHT, "The last box score is of 2022-01-14, 77 days before 2022-04-01"),
        (date(2021, 9, 1), NIGHT, "There are no box scores before 2021-09-01"),
    ],
)
def test_a_date_that_cannot_be_predicted_says_why(data: Path, day: date, games: str, message: str) -> None:
    """Guards against a slate of nothing, of the past or of last winter's form."""
    with pytest.raises(SlateError, match=message):
        rows_of(data).upcoming(day, games)


def test_a_date_whose_games_have_begun_names_those_that_would_be_left_out(data: Path) -> None:
    """Guards against a slate of the afternoon's games alone, by a file that was fetched in between."""
    schedule(data)
    played = games_of("2022-01").filter(pc.less_equal(games_of("2022-01")["game_date"], pa.scalar(DAY)))
    late = pc.and_(pc.equal(played["game_date"], pa.scalar(DAY)), pc.is_in(played["team"], pa.array(["LAL", "DEN"])))
    pq.write_table(played.filter(pc.invert(late)), data / "player_games" / "2022-01.parquet")
    with pytest.raises(SlateError, match=r"That leaves out LAL@DEN, without a result yet: predict a date before its"):
        rows_of(data).upcoming(DAY)


@pytest.mark.parametrize("blank", [("", 0), (None, None)], ids=["zeros", "nulls"])
def test_rows_without_a_result_say_who_plays(data: Path, blank: tuple[str | None, int | None]) -> None:
    """Guards tonight's rows in a file of box scores: they are games to be played, as zeros or as nulls."""
    january = games_of("2022-01")
    until = january.filter(pc.less_equal(january["game_date"], pa.scalar(DAY))).to_pandas(types_mapper=pd.ArrowDtype)
    counts = [name for name in until.columns if until[name].dtype == pd.ArrowDtype(pa.int16())]
    until.loc[until["game_date"] == DAY, "wl"] = blank[0]
    until.loc[until["game_date"] == DAY, counts] = blank[1]
    file = data / "player_games" / "2022-01.parquet"
    pq.write_table(pa.Table.from_pandas(until, preserve_index=False), file)
    made, later = rows_of(data).upcoming(DAY), slate_rows_of(DAY)
    assert repr(made.rows["features"].to_pylist()) == repr(later["features"].to_pylist())
    assert made.notes[0] == f"10 games scheduled, {later.num_rows} players, box scores up to 2022-01-14"
    assert made.notes[1] == "players listed in the box scores without a result"
    month = EmbeddedFeatureSource(str(data)).player_game_summary("2022-01")
    assert month.unplayed == 10
    assert pc.max(month.table["game_date"]).as_py() == date(2022, 1, 14)


@pytest.mark.parametrize(("fresh", "last"), [(True, "2021-12-31"), (False, "2022-01-14")])
def test_a_stored_month_of_the_season_counts_if_it_is_of_the_file(data: Path, *, fresh: bool, last: str) -> None:
    """Guards against last night's games that are in the file and not yet in the store. (The stored one has no rows.)"""
    rows = rows_of(data)
    source = rows.source.fingerprint("2022-01" if fresh else "2021-12")
    nothing = SummaryMonth(PLAYER_GAME_SUMMARY.empty_table(), "a digest", REFUSED_GAMES.empty_table(), source)
    open_store(rows.root).save(SUMMARY, "2022-01", nothing)
    day = date(2022, 1, 12) if fresh else DAY
    assert rows.upcoming(day, NIGHT).notes[0].endswith(f"box scores up to {last}")


def first_slate(data: Path) -> Slate:
    return slate(rows_of(data).upcoming(DAY).rows)


def test_prices_of_the_line_go_to_the_slate_and_decide_on_the_bet(data: Path) -> None:
    """Guards against a bet that loses at its real price, recommended because it would win at the usual one."""
    schedule(data)
    expected = {row["universal_player_id"]: row["predicted_points"] for row in first_slate(data).table.to_pylist()}
    rows = [row for row in games_of("2022-01").to_pylist() if row["game_date"] == DAY]
    rows = [row for row in rows if expected.get(str(row["player_id"]), 0) > 12][:40]
    lines = [
        {**{name: row[name] for name in ("game_date", "player_id", "player_name")}, "book": book}
        | {"line": round(expected[str(row["player_id"])]) - 4.5, "over_price": price, "under_price": None}
        for row in rows
        for book, price in (("a", 1.4), ("b", 1.6), ("c", None))
    ]
    written(data, "prop_lines", lines)
    made = rows_of(data).upcoming(DAY).rows
    names = {row["universal_player_id"]: row["over_price"] for row in made.to_pylist()}
    listed = {str(row["player_id"]) for row in rows}
    assert {player for player, price in names.items() if price is not None} == listed & names.keys()
    assert {price for price in names.values() if price is not None} == {1.5}
    usual = pa.Table.from_pylist([{**row, "over_price": None} for row in made.to_pylist()], made.schema)
    plain, advice = (
        {row["player_lookup"]: row["recommendation"] for row in slate(table).table.to_pylist()}
        for table in (usual, made)
    )
    better = {player for player, each in plain.items() if each == "OVER"}
    assert len(better) > 20
    assert {advice[player] for player in better} == {"PASS"}, "it wins in 58 of 100 cases, and 67 are needed"
    assert {player: advice[player] for player in plain.keys() - better} == {
        player: plain[player] for player in plain.keys() - better
    }


@pytest.mark.parametrize("with_id", [True, False])
def test_a_line_of_a_game_that_has_begun_is_not_that_of_the_slate(data: Path, *, with_id: bool) -> None:
    """Guards against live lines in a slate that is made again during its games: those to be played have no box score to
    say when they began."""
    tip_off = datetime(2022, 1, 16, 0, 30, tzinfo=UTC)
    schedule(data, tip_off=tip_off)
    rows = [row for row in games_of("2022-01").to_pylist() if row["game_date"] == DAY]
    lines = [
        {name: row[name] for name in ("game_date", "player_name")}
        | {"player_id": row["player_id"] if with_id else None, "book": "a", "line": line}
        | {"captured_at": tip_off + timedelta(minutes=minutes), "over_price": price, "under_price": None}
        for row in rows
        for line, minutes, price in ((12.5, -60, 1.9), (40.5, 1, 4.0))
    ]
    written(data, "prop_lines", lines)
    made = rows_of(data).upcoming(DAY).rows
    at = V2_33FEATURES.index("vegas_points_line")
    assert {vector[at] for vector in made["features"].to_pylist() if not math.isnan(vector[at])} == {12.5}
    assert {price for price in made["over_price"].to_pylist() if price is not None} == {1.9}


@pytest.mark.parametrize("price", [-110.0, 1.0, 0.0, 110.0])
def test_a_price_that_is_not_decimal_is_refused(data: Path, price: float) -> None:
    """Guards against American odds taken for what a bet returns."""
    row = next(row for row in games_of("2022-01").to_pylist() if row["game_date"] == DAY)
    line = {name: row[name] for name in ("game_date", "player_id", "player_name")} | {"book": "a", "line": 20.5}
    written(data, "prop_lines", [{**line, "under_price": price, "over_price": None}])
    with pytest.raises(SourceDataError, match=r"under_price that is not a decimal price \(1\.91 for -110\) \(1\)"):
        rows_of(data).upcoming(DAY, NIGHT)


def test_players_of_the_slate_who_did_not_play_are_void(data: Path) -> None:
    """Guards against a bench that counts as wrong predictions, and against one that counts as missing rows."""
    schedule(data)
    made = slate(rows_of(data).upcoming(DAY).rows)
    predicted = set(made.served["player_lookup"].to_pylist())
    results = snapshot_of("2022-01").results
    played = set(results.filter(pc.equal(results["game_date"], pa.scalar(DAY)))["player_lookup"].to_pylist())
    (grade,) = grade_slates([made], snapshot_of("2022-01"), "2022-01").report.served
    assert grade.metrics is not None
    assert (grade.predicted, grade.void, grade.unmatched) == (len(predicted), len(predicted - played), 0)
    assert grade.void > 10
    assert grade.metrics.n == len(predicted & played)
