"""A slate: which rows are predicted, who serves them, and which version counts."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import combinations
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nba_ml.contract.errors import SlateError
from nba_ml.contract.features import V2_33FEATURES
from nba_ml.contract.times import eastern_noon
from nba_ml.data.snapshot import MonthRows, take_snapshot
from nba_ml.data.tables import REPLAYED, SLATE_PREDICTIONS, SLATE_ROWS
from nba_ml.registry.channel import Share
from nba_ml.registry.rollout_rules import bucket_of
from nba_ml.slates.rows import with_tip_offs
from nba_ml.slates.slate import (
    AHEAD,
    UNKNOWN,
    Made,
    Slate,
    highest_edges,
    made,
    score_slate,
    served_counts,
)
from nba_ml.slates.store import KeptSlate, current_version
from nba_ml_tests.conftest import snapshot_of
from nba_ml_tests.profiles import examples
from nba_ml_tests.slate_scene import AFTERWARDS, BEFORE_THE_GAMES, DAY, champion, slate, slate_rows_of, systems

Row = dict[str, Any]


def table_of(rows: list[Row]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=SLATE_ROWS)


def day_rows() -> list[Row]:
    return list(slate_rows_of(DAY).to_pylist())


def with_value(row: Row, name: str, value: float) -> Row:
    features = list(row["features"])
    features[V2_33FEATURES.index(name)] = value
    return {**row, "features": features}


def reasons(made: Slate) -> dict[str, str]:
    return {each.player_lookup: each.reason for each in made.report.set_aside}


# --- what is predicted ----------------------------------------------------------------------------------------


def test_a_plain_day_is_served_whole_by_the_champion() -> None:
    """Guards the ordinary case: every player once, in order, with who served him and when."""
    made = slate()
    rows = slate_rows_of(DAY)
    assert made.table.schema == SLATE_PREDICTIONS
    assert made.table.column("player_lookup").to_pylist() == sorted(rows.column("player_lookup").to_pylist())
    assert set(made.table.column("role").to_pylist()) == {"served"}
    assert set(made.table.column("model_version").to_pylist()) == {champion().version}
    assert set(made.table.column("channel_serial").to_pylist()) == {7}
    assert set(made.table.column("created_at").to_pylist()) == {BEFORE_THE_GAMES}
    ids = dict(zip(*(rows.column(n).to_pylist() for n in ("player_lookup", "universal_player_id")), strict=True))
    assert made.table.column("universal_player_id").to_pylist() == [
        ids[player] for player in made.table.column("player_lookup").to_pylist()
    ]
    assert (made.report.rows, made.report.served, made.report.shadow) == (rows.num_rows, rows.num_rows, 0)


def test_the_features_are_those_that_the_model_is_graded_on() -> None:
    """Guards against a slate that reads rows in another way than training does: the same points, to the last bit."""
    frozen = snapshot_of("2022-01").table
    frozen = frozen.filter(pc.equal(frozen.column("game_date"), pa.scalar(DAY, pa.date32())))
    expected = champion().predict({name: frozen.column(name).to_numpy() for name in V2_33FEATURES.names})
    played = dict(zip(frozen.column("player_lookup").to_pylist(), np.round(expected, 2), strict=True))
    served = slate().served
    points = dict(zip(*(served.column(n).to_pylist() for n in ("player_lookup", "predicted_points")), strict=True))
    assert len(played) > 200
    assert {player: points[player] for player in played} == played


def test_the_rows_set_aside_are_those_that_a_snapshot_rejects() -> None:
    """Guards against two rules for one contract: what training would refuse is not predicted, for the same reason."""
    rows = day_rows()
    rows[0] = with_value(rows[0], "points_avg_season", 140.0)
    rows[1] = with_value(rows[1], "home_away", float("nan"))
    rows[2] = {**rows[2], "feature_version": "v1_25features"}
    rows[3] = {**rows[3], "features": rows[3]["features"][:25]}
    rows[4] = {**rows[4], "names_in_order": False}
    others = [slate_rows_of(DAY + timedelta(days=n)).to_pylist() for n in (1, 2, 3, 4, 5, 6, 7, 8)]
    month = table_of([*rows, *(row for day in others for row in day)])
    rejects = take_snapshot(
        MonthRows(month.drop_columns(["universal_player_id"]), snapshot_of("2022-01").results), "2022-01", V2_33FEATURES
    ).rejects
    made = slate(table_of(rows))
    rejected = dict(zip(*(rejects.column(n).to_pylist() for n in ("player_lookup", "reason")), strict=True))
    assert reasons(made) == rejected
    assert reasons(made)[rows[0]["player_lookup"]] == "points_avg_season outside 0 to 100"
    assert len(rejected) == 5
    assert made.report.served == len(rows) - 5


def test_of_two_rows_of_a_player_the_newer_counts() -> None:
    """Guards against a correction of the feature store that is ignored, and against a player served twice."""
    rows = day_rows()
    row, line = rows[5], "vegas_points_line"
    newer = with_value(with_value(row, line, 11.5), "has_vegas_line", 1.0)
    newer = {**newer, "updated_at": row["updated_at"] + timedelta(minutes=1)}
    for order in ([*rows, newer], [newer, *rows]):
        made = slate(table_of(order))
        assert reasons(made) == {row["player_lookup"]: "duplicate key"}
        served = made.served.filter(pc.equal(made.served.column("player_lookup"), row["player_lookup"]))
        assert served.column("current_points_line").to_pylist() == [11.5]


def test_early_season_rows_are_counted_and_not_predicted() -> None:
    """Guards against predictions from averages of two games, which the model has never learnt from."""
    rows = [{**row, "early_season_flag": True, "features": []} if i < 9 else row for i, row in enumerate(day_rows())]
    made = slate(table_of(rows))
    assert (made.report.early_season, made.report.set_aside) == (9, ())
    assert made.report.served == len(rows) - 9


def test_a_line_that_means_no_line_is_none() -> None:
    """Guards against a recommendation on the placeholder line of older stores."""
    old = day_rows()[0]
    for name in ("vegas_points_line", "vegas_opening_line"):
        old = with_value(old, name, 20.0)
    made = slate(table_of([with_value(old, "has_vegas_line", 1.0)]))
    assert made.table.column("recommendation").to_pylist() == ["NO_LINE"]
    assert np.isnan(made.table.column("current_points_line")[0].as_py())


def test_rows_of_another_date_are_refused() -> None:
    """Guards against a source that hands over two dates, one of which would be scored under the other's."""
    both = pa.concat_tables([slate_rows_of(DAY), slate_rows_of(DAY + timedelta(days=1))])
    with pytest.raises(SlateError, match="include rows of 2022-01-16"):
        slate(both)


def test_a_model_that_has_learnt_from_the_date_is_refused() -> None:
    """Guards against memories that are kept, and graded, as predictions."""
    last = champion().extent.given_until
    with pytest.raises(
        SlateError, match=f"was trained on games up to {last}, so it has already seen the results of {last}"
    ):
        score_slate(slate_rows_of(last), systems(), last, BEFORE_THE_GAMES)


# --- who serves -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0, 10, 50, 100])
def test_the_share_decides_who_serves_and_the_other_is_in_shadow(share: Share) -> None:
    """Guards against a player served by the wrong model, by both, or graded for one of them only."""
    made = slate(who=systems("mock", share))
    for row in made.table.to_pylist():
        mine = bucket_of(row["player_lookup"], DAY) < share
        assert row["role"] == ("served" if (row["side"] == "challenger") is mine else "shadow")
        assert row["system_id"] == ("mock" if row["side"] == "challenger" else "xgboost_v1")
    order = list(zip(*(made.table.column(n).to_pylist() for n in ("player_lookup", "role")), strict=True))
    assert order == sorted(order)
    assert made.report.served == slate_rows_of(DAY).num_rows
    assert sum(sum(told.values()) for _, _, told in served_counts(made)) == made.report.served


def test_a_rule_has_no_interval_and_no_confidence() -> None:
    """Guards against numbers that nobody measured."""
    made = slate(who=systems("mock", 100)).served
    for name in ("points_low", "points_high", "over_probability", "confidence_score"):
        assert np.isnan(made.column(name).to_numpy()).all()


def test_nobody_steps_in_where_the_system_that_serves_has_nothing_to_go_by() -> None:
    """Guards against a fallback without a word: a rule before a player's first game has no number."""
    rows = day_rows()
    for name in ("points_avg_last_5", "points_avg_last_10", "points_avg_season"):
        rows[0] = with_value(rows[0], name, float("nan"))
    made = slate(table_of(rows), systems("moving_average", 100))
    player = rows[0]["player_lookup"]
    assert reasons(made) == {player: "moving_average serves, and has nothing to go by"}
    left = made.table.filter(pc.equal(made.table.column("player_lookup"), player))
    assert left.select(["side", "role"]).to_pylist() == [{"side": "champion", "role": "shadow"}]


def test_the_highest_edges_are_served_ones() -> None:
    """Guards against a table of bets that nobody was offered."""
    rows = [with_value(with_value(row, "vegas_points_line", 10.5), "has_vegas_line", 1.0) for row in day_rows()]
    made = slate(table_of(rows), systems("mock", 50))
    edges = highest_edges(made)
    sizes, served = (
        np.abs(each.column("model_points").to_numpy() - each.column("current_points_line").to_numpy())
        for each in (edges, made.served)
    )
    assert edges.num_rows == 10
    assert set(edges.column("role").to_pylist()) == {"served"}
    assert (np.diff(sizes) <= 0).all()
    assert sizes[0] == served.max()


# --- what holds for any rows ----------------------------------------------------------------------------------

CHANGES = ("none", "infinite", "version", "short", "names", "early", "older", "newer", "twin", "no name")


def changed(row: Row, change: str) -> list[Row]:
    """A row as a store in some state would have it."""
    minute = timedelta(minutes=1)
    match change:
        case "infinite":
            return [with_value(row, "pace_score", float("inf"))]
        case "version":
            return [{**row, "feature_version": None}]
        case "short":
            return [{**row, "features": None}]
        case "names":
            return [{**row, "names_in_order": None}]
        case "early":
            return [{**row, "early_season_flag": True}]
        case "older":
            return [row, {**with_value(row, "team_pace", 101.0), "updated_at": row["updated_at"] - minute}]
        case "newer":
            return [row, {**with_value(row, "fatigue_score", 400.0), "updated_at": row["updated_at"] + minute}]
        case "twin":
            return [row, {**row, "universal_player_id": "another"}]
        case "no name":
            return [{**row, "player_lookup": None}]
        case _:
            return [row]


@st.composite
def stores(draw: st.DrawFn) -> tuple[list[Row], list[Row]]:
    """Some rows of the day, some of them changed; in two orders."""
    chosen = day_rows()[: draw(st.integers(1, 12))]
    made = [each for row in chosen for each in changed(row, draw(st.sampled_from(CHANGES)))]
    return made, draw(st.permutations(made))


@settings(max_examples=examples(60))
@given(stores(), st.sampled_from([None, "mock", "moving_average"]), st.sampled_from([0, 10, 50, 100]))
def test_every_row_is_accounted_for_and_every_player_served_once(
    rows: tuple[list[Row], list[Row]], rule: str | None, share: Share
) -> None:
    """Guards against rows lost or served twice, two systems under one role, and an order that decides."""
    who = systems(rule, share if rule else 0)
    made = slate(table_of(rows[0]), who)
    report = made.report
    assert report.served + report.early_season + len(report.set_aside) == report.rows == len(rows[0])
    served = made.served.column("player_lookup").to_pylist()
    assert len(set(served)) == len(served) == report.served
    shadow = made.table.filter(pc.equal(made.table.column("role"), "shadow"))
    pairs = [
        set(zip(*(t.column(n).to_pylist() for n in ("player_lookup", "system_id")), strict=True))
        for t in (made.served, shadow)
    ]
    assert not pairs[0] & pairs[1]
    assert report.shadow == shadow.num_rows <= (report.served + len(report.set_aside) if rule else 0)
    assert slate(table_of(rows[1]), who).digest == made.digest


# --- versions -------------------------------------------------------------------------------------------------


def test_the_digest_names_everything_but_the_time() -> None:
    """Guards against a slate that is kept anew at every look, and against a change that goes unnoticed."""
    first = slate()
    assert slate(at=AFTERWARDS).digest == first.digest
    rows = day_rows()
    different = [
        slate(who=systems(serial=8)),
        slate(table_of(rows[1:])),
        slate(table_of([with_value(rows[0], "injury_risk", 9.0), *rows[1:]])),
        slate(who=systems("mock", 0)),
        slate(who=systems("mock", 10)),
    ]
    assert all(a.digest != b.digest for a, b in combinations([first, *different], 2))


def kept(one: Slate) -> KeptSlate:
    return KeptSlate(one, number=1, uri="")


def made_at(*times: datetime) -> list[KeptSlate]:
    made = slate()
    return [kept(Slate.of(made.table, made.report, time)) for time in times]


def test_the_newest_version_made_ahead_counts() -> None:
    """Guards against hindsight: a version made with the results at hand must never replace what was served."""
    hour = timedelta(hours=1)
    end = eastern_noon(DAY)
    early, late, after, much_later = made_at(end - 9 * hour, end - timedelta(microseconds=1), end, end + 99 * hour)
    assert late.slate.ahead
    assert not after.slate.ahead
    assert current_version([early, late, after, much_later]) is late
    assert current_version([early, after]) is early
    assert current_version([after, much_later]) is after
    with pytest.raises(ValueError, match="without versions"):
        current_version([])


def test_a_version_of_nobody_takes_nothing_back() -> None:
    """Guards the predictions of the day from features that break at five: they would all be retired."""
    hour = timedelta(hours=1)
    end = eastern_noon(DAY)
    early, late, after = made_at(end - 9 * hour, end - hour, end)
    of_nobody = late.slate.report.model_copy(update={"served": 0})
    nobody = kept(Slate.of(late.slate.table, of_nobody, late.slate.created_at))
    assert current_version([early, nobody]) is early
    assert current_version([nobody, after]) is nobody
    assert current_version([nobody]) is nobody


TIP_OFF = datetime(2022, 1, 16, 0, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("at", "tip_off", "expected"),
    [
        (datetime(2022, 1, 15, 16, 59, 59, tzinfo=UTC), None, AHEAD),
        (datetime(2022, 1, 15, 17, tzinfo=UTC), None, UNKNOWN),
        (datetime(2022, 1, 16, 4, 59, 59, tzinfo=UTC), None, UNKNOWN),
        (datetime(2022, 1, 16, 5, tzinfo=UTC), None, REPLAYED),
        (datetime(2022, 1, 15, 23, tzinfo=UTC), TIP_OFF, AHEAD),
        (TIP_OFF, TIP_OFF, REPLAYED),
        (datetime(2022, 1, 15, 18, tzinfo=UTC), datetime(2022, 1, 15, 17, 30, tzinfo=UTC), REPLAYED),  # a matinee
    ],
    ids=str,
)
def test_made_ahead_is_before_tip_off(at: datetime, tip_off: datetime | None, expected: Made) -> None:
    """Guards against a prediction made during a matinee that counts, and a cut-off in the machine's own zone."""
    assert made(at, DAY, tip_off) == expected


def test_noon_is_the_easts_in_summer_too() -> None:
    """Guards against a noon that is an hour late in April."""
    day = date(2025, 4, 10)
    assert made(datetime(2025, 4, 10, 15, 59, tzinfo=UTC), day, None) == AHEAD
    assert made(datetime(2025, 4, 10, 16, tzinfo=UTC), day, None) == UNKNOWN


def test_tip_offs_are_carried_to_the_slate() -> None:
    """Guards against a tip-off that is lost on the way, and a version that counts although a game had begun."""
    rows, plain = slate_rows_of(DAY), slate()
    games = sorted(rows["game_id"].unique().to_pylist())
    late = dict.fromkeys(games, TIP_OFF)
    early = {**late, games[0]: TIP_OFF - timedelta(hours=8)}
    rows = rows.drop_columns("tip_off")
    evening, matinee = (with_tip_offs(rows, each) for each in (late, early))
    at = TIP_OFF - timedelta(hours=2)
    assert slate(evening, at=at).made == AHEAD
    assert slate(matinee, at=at).made == REPLAYED
    assert slate(evening, at=TIP_OFF).made == REPLAYED
    assert set(slate(evening).table["tip_off"].to_pylist()) == {TIP_OFF}
    assert slate(evening).digest != slate(matinee).digest
    assert plain.made == AHEAD
    assert plain.table["tip_off"].null_count == plain.table.num_rows
