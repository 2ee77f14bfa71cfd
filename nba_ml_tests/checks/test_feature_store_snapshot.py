"""Checks of a snapshot: each passes on a real month and fails, in words, on one that was spoilt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from nba_ml.checks.check import Check, CheckContext, Finding, Severity
from nba_ml.checks.feature_store_snapshot import checks
from nba_ml.checks.registry import all_checks
from nba_ml.contract.features import V2_33FEATURES, V3_FEATURES, V4_FEATURES
from nba_ml.contract.season import month_bounds
from nba_ml.contract.systems import XGBOOST_V2
from nba_ml.contract.thresholds import Thresholds
from nba_ml.data.features import compute_features
from nba_ml.data.lines import FeatureMonth, LineCounts, LineOutcome
from nba_ml.data.reports import REPORTS
from nba_ml.data.snapshot import MonthRows, Snapshot, SnapshotCounts, take_snapshot
from nba_ml.data.table_digest import table_digest
from nba_ml.data.tables import PROP_LINES
from nba_ml.sources.embedded import EmbeddedFeatureSource
from nba_ml_tests.checks.scenes import scene, told
from nba_ml_tests.conftest import COMPUTED_AT, features_of, games_of, snapshot_of, summary_of
from nba_ml_tests.leaks.career_faults import CAREER_FAULTS
from nba_ml_tests.leaks.chain import StoredMonth

MONTH = "2021-11"
CHECKS = checks(Thresholds())
NAMES = [check.name for check in CHECKS if not check.needs]


def check(name: str) -> Check:
    return next(each for each in CHECKS if each.name == name)


def described(name: str, snapshot: Snapshot) -> tuple[bool, str, str]:
    """Whether the check passes, its message, and its offenders as shown."""
    return told(check(name), check(name).examine(snapshot, scene(MONTH)))


def with_table(table: pa.Table) -> Snapshot:
    """A snapshot of other rows, with a digest that names them."""
    return replace(snapshot_of(MONTH), table=table, digest=table_digest(table))


def with_column(name: str, values: Sequence[float]) -> Snapshot:
    table = snapshot_of(MONTH).table
    return with_table(table.set_column(table.column_names.index(name), table.schema.field(name), pa.array(values)))


def changed(name: str, *values: float) -> Snapshot:
    """The first rows with other values of a feature."""
    kept = snapshot_of(MONTH).table[name].to_pylist()
    return with_column(name, [*values, *kept[len(values) :]])


@pytest.mark.parametrize("month", ["2021-10", "2021-11"])
@pytest.mark.parametrize("name", NAMES)
def test_real_months_pass(name: str, month: str) -> None:
    """Guards against a check that no month can pass, an October without rows among them."""
    finding = check(name).examine(snapshot_of(month), scene(month))
    assert finding.passed
    assert not finding.worst or name == "drift"


def test_a_column_too_many_or_too_few_breaks_the_contract() -> None:
    """Guards against a model trained on columns that the contract does not have."""
    table = snapshot_of(MONTH).table
    renamed = table.rename_columns([name.replace("team_pace", "pace") for name in table.column_names])
    passed, message, worst = described("contract", with_table(renamed))
    assert not passed
    assert message.startswith("failed: Differences from the contract: 2, required: ")
    assert "column pace double" in worst
    assert "column team_pace is missing" in worst
    assert message.endswith("Materialise feature_store_snapshot for 2021-11 again with this version of the code.")


def test_a_column_of_another_type_breaks_the_contract() -> None:
    """Guards against whole numbers where the booster expects floats."""
    table = snapshot_of(MONTH).table
    cast = table.set_column(table.column_names.index("points"), "points", table["points"].cast(pa.int64()))
    passed, _, worst = described("contract", with_table(cast))
    assert not passed
    assert "column points int64" in worst


def test_columns_in_another_order_break_the_contract() -> None:
    """Guards against two features that changed places: no name is missing and no type is wrong."""
    table = snapshot_of(MONTH).table
    names = table.column_names
    names[3], names[4] = names[4], names[3]
    passed, message, worst = described("contract", with_table(table.select(names)))
    assert not passed
    assert "Differences from the contract: 1" in message
    assert "the order of the columns" in worst


def test_rows_behind_another_digest_break_the_contract() -> None:
    """Guards against a stored file that was edited: its digest still names the old rows."""
    edited = replace(changed("team_pace", 99.0), digest=snapshot_of(MONTH).digest)
    passed, message, worst = described("contract", edited)
    assert not passed
    assert "Differences from the contract: 1" in message
    assert "the rows do not match the digest" in worst


def with_coverage(covered: int) -> Snapshot:
    counts = SnapshotCounts(samples=covered, early_season=0, without_result=0, rejected=0, played=1000, covered=covered)
    return replace(snapshot_of(MONTH), counts=counts)


@pytest.mark.parametrize(("name", "enough", "limit"), [("coverage", 800, "80%"), ("coverage_complete", 950, "95%")])
def test_a_month_that_is_not_there_yet_fails_below_its_limit(name: str, enough: int, limit: str) -> None:
    """Guards against a limit off by one, and against a message that does not say how much is missing."""
    assert described(name, with_coverage(enough))[0]
    passed, message, _ = described(name, with_coverage(enough - 1))
    assert not passed
    assert f"at least {limit} of the player-games played have a valid feature row" in message
    assert f"{1000 - enough + 1} player-games of 2021-11 have no valid feature row: wait for the backfill" in message


def test_half_a_month_blocks_and_an_incomplete_one_warns() -> None:
    """Guards against a warning that stops the platform, and an error that does not."""
    assert (check("coverage").severity, check("coverage").blocking) == (Severity.ERROR, True)
    assert (check("coverage_complete").severity, check("coverage_complete").blocking) == (Severity.WARN, False)


# --- columns that should vary ---------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [0.5, float("nan")])
def test_a_column_that_stands_still_is_found(value: float) -> None:
    """Guards against a default that was never replaced, and a source that was empty."""
    n = snapshot_of(MONTH).table.num_rows
    passed, message, worst = described("no_constant_column", with_column("team_win_pct", [value] * n))
    assert not passed
    assert "Features that are constant: 1, required: " in message
    assert "team_win_pct" in worst
    assert ("0.5" if value == 0.5 else "missing") in worst


@pytest.mark.parametrize("name", ["playoff_game", "back_to_back", "has_vegas_line", "injury_risk"])
def test_a_column_may_stand_still_where_that_is_right(name: str) -> None:
    """Guards against a November without playoffs, or a league without injury reports, that turns red."""
    n = snapshot_of(MONTH).table.num_rows
    value = float("nan") if name == "injury_risk" else 0.0
    assert described("no_constant_column", with_column(name, [value] * n))[0]


def opening_month() -> tuple[pa.Table, CheckContext]:
    """The month as the second system would have it if the season opened in it, and its context."""
    features = compute_features(
        summary_of(MONTH), PROP_LINES.empty_table(), *month_bounds(MONTH), computed_at=COMPUTED_AT, version=V3_FEATURES
    )
    rows = take_snapshot(MonthRows.of_tables(features, summary_of(MONTH), V3_FEATURES), MONTH, V3_FEATURES).table
    return rows, replace(scene(MONTH), months=[MONTH], system=XGBOOST_V2)


def test_form_may_stand_still_in_a_seasons_first_fortnight() -> None:
    """Guards the second system, which has those days: October 2023 had eight, and its trends of 0 stopped the chain."""
    judge = check("no_constant_column").examine
    whole, opening = opening_month()
    days = whole["game_date"].to_numpy() - whole["game_date"].to_numpy().min()
    for length in (1, 3, 7):
        few = with_table(whole.filter(pa.array(days < np.timedelta64(length, "D"))))
        assert judge(few, opening).passed
        assert not judge(few, scene(MONTH)).passed, "the same days later in the season, or of another system"
    stale = whole.set_column(
        whole.column_names.index("team_win_pct"), whole.schema.field("team_win_pct"), pa.array([0.5] * len(whole))
    )
    assert judge(with_table(whole), opening).passed
    found = judge(with_table(stale), opening)
    assert [each["feature"] for each in found.worst] == ["team_win_pct"]
    assert "a default that was never replaced): team_win_pct. Compute the features again" in found.next_step


def test_two_teams_of_one_final_may_be_rested_alike() -> None:
    """Guards against a June of twenty rows that turns red for a level that is the same in all of them."""
    few = snapshot_of(MONTH).table.slice(0, 20)
    position = few.column_names.index("rest_advantage")
    alike = few.set_column(position, few.schema.field(position), pa.array([0.0] * 20))
    assert described("no_constant_column", with_table(alike))[0]
    stale = few.set_column(
        few.column_names.index("team_win_pct"), few.schema.field("team_win_pct"), pa.array([0.5] * 20)
    )
    assert not described("no_constant_column", with_table(stale))[0]


# --- averages computed again ----------------------------------------------------------------------------------

AVERAGES = [
    ("last_5_recomputes", "points_avg_last_5"),
    ("last_10_recomputes", "points_avg_last_10"),
    ("season_average_recomputes", "points_avg_season"),
]


@pytest.mark.parametrize(("name", "feature"), AVERAGES)
def test_real_averages_are_those_of_the_results_before(name: str, feature: str) -> None:
    """Guards against a comparison of nothing: every row of the month is compared, and all of them agree."""
    snapshot = snapshot_of("2021-12")
    finding = check(name).examine(snapshot, scene("2021-12"))
    assert (finding.passed, finding.value, finding.n) == (True, 1.0, snapshot.table.num_rows)
    assert np.isnan(snapshot.table[feature].to_numpy()).sum() > 0


@pytest.mark.parametrize(("name", "feature"), AVERAGES)
def test_an_average_that_includes_its_own_game_is_found(name: str, feature: str) -> None:
    """Guards against the leak that made a model look twice as good as it was."""
    table = snapshot_of(MONTH).table
    stored, points = table[feature].to_numpy(), table["points"].to_numpy()
    passed, message, worst = described(name, with_column(feature, (0.8 * stored + 0.2 * points).tolist()))
    assert not passed
    assert "the window includes the game that it predicts" in message
    assert "recomputed" in worst


def test_one_row_in_a_hundred_may_be_a_corrected_box_score() -> None:
    """Guards against a month that is refused for one correction of the league, and a limit that is off."""
    n = snapshot_of(MONTH).table.num_rows
    assert described("last_5_recomputes", changed("points_avg_last_5", *[99.0] * (n // 100)))[0]
    assert not described("last_5_recomputes", changed("points_avg_last_5", *[99.0] * (n // 100 + 1)))[0]


def test_an_average_of_nothing_must_be_missing() -> None:
    """Guards against a made-up average where a player has no game yet."""
    table = snapshot_of(MONTH).table
    values = table["points_avg_season"].to_numpy()
    filled = np.where(np.isnan(values), 8.0, values)
    finding = check("season_average_recomputes").examine(
        with_column("points_avg_season", filled.tolist()), scene(MONTH)
    )
    assert len(finding.worst) == 5
    assert all(np.isnan(float(row["recomputed"])) for row in finding.worst)


def test_behind_a_hole_only_whole_windows_are_compared() -> None:
    """Guards against a month that is called wrong because an earlier one was never materialised."""
    finding = check("last_5_recomputes").examine(snapshot_of("2021-12"), scene("2021-12", results={"2021-11": None}))
    assert (finding.passed, finding.value) == (True, 1.0)
    assert 0 < finding.n < snapshot_of("2021-12").table.num_rows
    season = check("season_average_recomputes").examine(
        snapshot_of("2021-12"), scene("2021-12", results={"2021-10": None})
    )
    assert (season.passed, season.value, season.n) == (True, "the required results are missing", 0)


def test_a_source_that_begins_in_mid_season_is_no_whole_season() -> None:
    """Guards against averages that are called wrong because the first games were never loaded."""
    months = ["2021-11", "2021-12"]
    assert check("season_average_recomputes").examine(snapshot_of("2021-12"), scene("2021-12", months=months)).n == 0


def test_a_copy_of_the_target_is_a_leak() -> None:
    """Guards against a feature that says more about a game than form can."""
    table = snapshot_of(MONTH).table
    stored, points = table["points_avg_last_5"].to_numpy(), table["points"].to_numpy()
    passed, message, _ = described(
        "last_5_correlation", with_column("points_avg_last_5", (0.4 * stored + 0.6 * points).tolist())
    )
    assert not passed
    assert "Form cannot predict a single game that well: the feature contains results" in message


def test_a_correlation_of_few_rows_is_not_taken_for_a_leak() -> None:
    """Guards against a final of two teams that is refused because its stars scored as usual."""
    table = snapshot_of(MONTH).table.slice(0, 12)
    points = table["points"].to_numpy()
    wave = points + np.tile([4.0, -4.0], 6)
    position = table.column_names.index("points_avg_last_5")
    few = with_table(table.set_column(position, table.schema.field(position), pa.array(wave)))
    finding = check("last_5_correlation").examine(few, scene(MONTH))
    assert finding.passed
    assert float(finding.value) > 0.85


# --- lines ----------------------------------------------------------------------------------------------------


def with_lines(lines: npt.NDArray[np.float64]) -> Snapshot:
    flag = (~np.isnan(lines)).astype(float)
    table = snapshot_of(MONTH).table
    for name, values in {"vegas_points_line": lines, "has_vegas_line": flag}.items():
        table = table.set_column(table.column_names.index(name), table.schema.field(name), pa.array(values))
    return with_table(table)


def honest_lines(columns: Mapping[str, npt.NDArray[np.float64]]) -> npt.NDArray[np.float64]:
    """As good as a book's: a little better than form."""
    return np.round(0.93 * columns["points_avg_season"] + 0.07 * columns["points"], 1)


@pytest.fixture
def columns() -> dict[str, npt.NDArray[np.float64]]:
    table = snapshot_of(MONTH).table
    return {name: table[name].to_numpy() for name in ("points_avg_season", "points")}


def test_an_honest_line_passes_with_its_interval(columns: dict[str, npt.NDArray[np.float64]]) -> None:
    """Guards against a check that compares nothing."""
    finding = check("line_error").examine(with_lines(honest_lines(columns)), scene(MONTH))
    assert finding.passed
    assert 0.03 < float(finding.value) < 0.12
    assert finding.n > 4000
    assert finding.interval.startswith("95% ")


def test_a_line_that_knows_the_result_is_found(columns: dict[str, npt.NDArray[np.float64]]) -> None:
    """Guards against a line taken after tip-off."""
    lines = 0.6 * columns["points_avg_season"] + 0.4 * columns["points"]
    passed, message, worst = described("line_error", with_lines(lines))
    assert not passed
    assert "No book is that good before tip-off: use the last snapshot before the game starts." in message
    assert "line" in worst


def test_placeholders_are_found(columns: dict[str, npt.NDArray[np.float64]]) -> None:
    """Guards against a number that stands for "no line", with a flag beside it."""
    passed, message, _ = described("line_error", with_lines(np.full(len(columns["points"]), 20.0)))
    assert not passed
    assert "No book is that bad: look for placeholders" in message


def test_a_line_far_better_than_the_average_of_one_game_is_no_leak() -> None:
    """Guards the second system: real lines of October 2024 were 17% better than an average of one or two
    games, so that more of them would have stopped the chain."""
    table, opening = opening_month()
    days = table["game_date"].to_numpy()
    early = days < days.min() + np.timedelta64(14, "D")
    season, points = (table[name].to_numpy() for name in ("points_avg_season", "points"))
    other_game = np.random.default_rng(0).permutation(points[early])
    averages = season.copy()
    averages[early] = 0.2 * season[early] + 0.8 * other_game
    lines = np.round(0.93 * season + 0.07 * points, 1)

    def with_values(lines: npt.NDArray[np.float64]) -> Snapshot:
        changed = table
        for name, values in {"points_avg_season": averages, "vegas_points_line": lines}.items():
            changed = changed.set_column(changed.column_names.index(name), changed.field(name), pa.array(values))
        return with_table(changed)

    judge = check("line_error").examine
    assert not judge(with_values(lines), replace(opening, months=["2021-10", MONTH])).passed
    found = judge(with_values(lines), opening)
    assert found.passed
    assert found.n == (~early & ~np.isnan(season)).sum()
    assert not judge(with_values(0.6 * season + 0.4 * points), opening).passed, "a leak after the fortnight"


@pytest.mark.parametrize("days", [0, 1])
def test_no_lines_or_those_of_one_day_pass_and_say_so(columns: dict[str, npt.NDArray[np.float64]], days: int) -> None:
    """Guards against an interval over one day, which has no width."""
    day = snapshot_of(MONTH).table["game_date"]
    first = pc.min(day).as_py() + timedelta(days=1)
    on_that_day = np.array(pc.equal(day, pa.scalar(first)).to_pylist()) & (days == 1)
    finding = check("line_error").examine(with_lines(np.where(on_that_day, columns["points"], np.nan)), scene(MONTH))
    assert (finding.passed, finding.value) == (True, "too few lines to compare")
    assert (finding.n > 0) is (days == 1)


@pytest.mark.parametrize(
    ("matched", "unknown", "failing"),
    [
        (95, 5, set()),
        (94, 6, {"lines_matched_complete"}),
        (80, 20, {"lines_matched_complete"}),
        (79, 21, {"lines_matched", "lines_matched_complete"}),
        (0, 1, {"lines_matched_complete"}),
        (3, 1, {"lines_matched_complete"}),
        (0, 9, {"lines_matched_complete"}),
        (0, 10, {"lines_matched", "lines_matched_complete"}),
        (39, 10, {"lines_matched", "lines_matched_complete"}),
        (40, 10, {"lines_matched_complete"}),
        (0, 0, set()),
    ],
)
def test_lost_lines_are_told_from_5_in_100_and_stop_from_more_than_20(
    matched: int, unknown: int, failing: set[str]
) -> None:
    """Guards the limits, who sat out (his line is void, not lost), and a file of four lines that one nickname stops."""
    outcomes = {LineOutcome.BY_ID: matched, LineOutcome.NAME_UNKNOWN: unknown, LineOutcome.DID_NOT_PLAY: 1_000}
    snapshot = replace(snapshot_of(MONTH), lines=LineCounts({o: n for o, n in outcomes.items() if n}))
    names = ("lines_matched", "lines_matched_complete")
    found = {name: described(name, snapshot) for name in names}
    assert {name for name, (passed, _, _) in found.items() if not passed} == failing
    for name in failing:
        _, message, worst = found[name]
        assert (
            f"{unknown} of {matched + unknown} lines of {MONTH} match no player: name unknown ({unknown})." in message
        )
        assert "name unknown" in worst


def test_features_that_came_ready_have_no_lines_to_match() -> None:
    """Guards BigQuery's months, whose lines were matched elsewhere."""
    assert snapshot_of(MONTH).lines is None
    finding = check("lines_matched").examine(snapshot_of(MONTH), scene(MONTH))
    assert (finding.passed, finding.value, finding.n) == (True, "no lines to match", 0)


# --- drift ----------------------------------------------------------------------------------------------------


def scaled(snapshot: Snapshot, name: str, factor: float) -> Snapshot:
    table = snapshot.table
    values = pc.multiply(table[name], factor)
    table = table.set_column(table.column_names.index(name), table.schema.field(name), values)
    return replace(snapshot, table=table, digest=table_digest(table))


def test_another_population_warns_with_its_features() -> None:
    """Guards against a change of units that stays within the range: a share of minutes instead of minutes."""
    now = "2022-11"
    past = {("feature_store_snapshot", MONTH): snapshot_of(MONTH)}
    months = [MONTH, now]
    same = check("drift").examine(snapshot_of(MONTH), scene(now, months=months, values=past))
    assert (same.passed, same.value) == (True, 0.0)
    finding = check("drift").examine(
        scaled(snapshot_of(MONTH), "minutes_avg_last_10", 0.5), scene(now, months=months, values=past)
    )
    assert not finding.passed
    assert "minutes_avg_last_10 differ from the same month of earlier seasons" in finding.next_step
    assert finding.worst[0]["feature"] == "minutes_avg_last_10"
    assert (check("drift").severity, check("drift").blocking) == (Severity.WARN, False)


def test_only_the_same_month_of_earlier_seasons_is_a_fair_reference() -> None:
    """Guards against playoffs compared with Novembers: another schedule, and no drift."""
    finding = check("drift").examine(snapshot_of("2021-12"), scene("2021-12", months=[MONTH, "2021-12"]))
    assert (finding.passed, finding.value) == (True, "no earlier season to compare with")


@pytest.mark.parametrize(
    ("month", "values", "said"),
    [
        (MONTH, {("feature_store_snapshot", MONTH): None}, "no earlier season to compare with"),
        ("2021-10", {("feature_store_snapshot", MONTH): None}, "no earlier season to compare with"),
        ("2021-10", {}, "too few rows to compare"),
    ],
)
def test_nothing_to_compare_with_passes_and_says_so(month: str, values: dict[tuple[str, str], None], said: str) -> None:
    """Guards against a first season, or an empty October, that warns for ever."""
    finding = check("drift").examine(snapshot_of(month), scene("2022-11", months=[MONTH, "2022-11"], values=values))
    assert (finding.passed, finding.value) == (True, said)


# --- results that are missing ---------------------------------------------------------------------------------


def without_results(month: str, *days: str) -> Snapshot:
    """The month's snapshot, taken without the box scores of these dates."""
    summary = summary_of(month)
    there = pa.array([str(day) not in days for day in summary.column("game_date").to_pylist()])
    rows = MonthRows.of_tables(features_of(month), summary.filter(there), V2_33FEATURES)
    return take_snapshot(rows, month, V2_33FEATURES)


def test_missing_results_are_named_as_such() -> None:
    """Guards against advice to wait for the backfill, which is done, where box scores are not there."""
    days = [f"2021-11-{n:02}" for n in range(1, 8)]
    passed, message, _ = described("coverage", without_results(MONTH, *days))
    assert not passed
    assert "player-games of 2021-11 have no results, on 2021-11-01, 2021-11-02, " in message
    assert "2021-11-05 and 2 more dates: load the box scores" in message
    assert "wait for the backfill" not in message


def test_missing_results_of_an_earlier_month_are_no_leak() -> None:
    """Guards against a month that fails in words about a leak because the month before lacks results."""
    november = without_results("2021-11", "2021-11-28", "2021-11-29", "2021-11-30")
    around = scene(
        "2021-12",
        values={("feature_store_snapshot", "2021-11"): november},
        results={"2021-11": november.results},
    )
    finding = check("last_5_recomputes").examine(snapshot_of("2021-12"), around)
    assert not finding.passed
    assert finding.next_step.startswith(
        f"Results are missing (2021-11: {november.counts.missing_results:,} player-games on 2021-11-28, 2021-11-29, "
        "2021-11-30): load these box scores first. "
    )


# --- reports ----------------------------------------------------------------------------------------------------

NIGHT = datetime(2021, 11, 6, 0, 30, tzinfo=UTC)
CUT_OFF = NIGHT - timedelta(minutes=30)


def with_reports(*reports: dict[str, object]) -> Finding:
    """What the check finds of a month whose features know of these reports on 2021-11-05."""
    defaults = {"game_date": date(2021, 11, 5), "team_abbr": "BOS", "player_lookup": "bob", "is_out": True}
    held = pa.Table.from_pylist([{**defaults, **report} for report in reports], REPORTS)
    features = FeatureMonth(pa.table({}), "", LineCounts({}), held)
    return check("reports_before_cut_off").examine(
        with_table(_with_known_reports(snapshot_of(MONTH).table)),
        scene(MONTH, values={("ml_feature_store_v2", MONTH): features}),
    )


def _with_known_reports(table: pa.Table) -> pa.Table:
    """As of the third version: on 2021-11-05 it is known who is out."""
    on_the_day = pc.equal(table["game_date"], pa.scalar(date(2021, 11, 5), pa.date32()))
    return table.append_column("out_points", pc.if_else(on_the_day, 12.5, float("nan")))


@pytest.mark.parametrize(
    ("times", "passes"),
    [
        pytest.param((CUT_OFF - timedelta(seconds=1), CUT_OFF, NIGHT), True, id="before-the-cut-off"),
        pytest.param((CUT_OFF, CUT_OFF, NIGHT), False, id="at-the-cut-off"),
        pytest.param((NIGHT + timedelta(hours=1), CUT_OFF, NIGHT), False, id="after-tip-off"),
        pytest.param((NIGHT, NIGHT + timedelta(minutes=1), NIGHT), False, id="a-cut-off-after-tip-off"),
        pytest.param((NIGHT - timedelta(hours=9), NIGHT - timedelta(hours=8.5), None), True, id="by-noon"),
        pytest.param((CUT_OFF, NIGHT, None), False, id="in-the-evening-of-an-unknown-tip-off"),
        pytest.param((None, None, None), True, id="a-stand-in"),
    ],
)
def test_a_report_that_was_made_too_late_stops_the_run(times: tuple[datetime | None, ...], passes: bool) -> None:
    """Guards against features that know what was only known afterwards, whoever let the report through."""
    names = ("reported_at", "counts_until", "tip_off")
    finding = with_reports(dict(zip(names, times, strict=True)))
    assert finding.passed is passes
    assert check("reports_before_cut_off").stops_run
    assert [row["player_lookup"] for row in finding.worst] == ([] if passes else ["bob"])


def test_features_that_know_who_is_out_without_a_report_stop_the_run() -> None:
    """Guards against features from reports that nobody stored, whose times cannot be checked."""
    other_day = with_reports({"game_date": date(2021, 11, 6)})
    assert not other_day.passed
    assert [row["game_date"] for row in other_day.worst] == ["2021-11-05"]


def test_only_systems_with_features_of_reports_have_the_check() -> None:
    """Guards the verdicts of the other systems: a check more would put their models out of date."""
    having = {check.asset for check in all_checks() if check.name == "reports_before_cut_off"}
    assert having == {"xgboost_v3/feature_store_snapshot"}


@pytest.mark.parametrize("planted", [False, True], ids=["sound", "cut-off-forgotten"])
def test_a_report_made_after_tip_off_reaches_no_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, planted: bool
) -> None:
    """The drill: an evening's reports, written after its games, from the files to the frozen month and its check."""
    day, tip_off = date(2021, 11, 5), datetime(2021, 11, 5, 23, tzinfo=UTC)
    for table in ("player_games", "schedule", "injury_reports"):
        (tmp_path / table).mkdir()
    games = games_of(MONTH)
    pq.write_table(games, tmp_path / "player_games" / f"{MONTH}.parquet")
    of_day = [row for row in games.to_pylist() if row["game_date"] == day and row["is_home"]]
    schedule = {
        row["game_id"]: {"game_id": row["game_id"], "game_date": day, "tip_off": tip_off}
        | {"home_team": row["team"], "away_team": row["opponent"]}
        for row in of_day
    }
    pq.write_table(pa.Table.from_pylist(list(schedule.values())), tmp_path / "schedule" / "a.parquet")
    after = {"status": "Out", "game_date": day, "reported_at": tip_off + timedelta(hours=3)}
    reports = [{**after, "player_id": None, "team": team} for team in {row["team"] for row in of_day}]
    pq.write_table(pa.Table.from_pylist(reports), tmp_path / "injury_reports" / "a.parquet")
    if planted:
        monkeypatch.setattr("nba_ml.data.reports.cut_off", lambda *_: tip_off + timedelta(days=1))

    history = pa.concat_tables([summary_of("2021-10"), summary_of(MONTH)])
    found = EmbeddedFeatureSource(str(tmp_path)).reports.of_month(MONTH, history)
    features = compute_features(
        history,
        PROP_LINES.empty_table(),
        *month_bounds(MONTH),
        computed_at=COMPUTED_AT,
        version=V4_FEATURES,
        reports=found.table,
    )
    snapshot = take_snapshot(MonthRows.of_tables(features, summary_of(MONTH), V4_FEATURES), MONTH, V4_FEATURES)
    known = int((~np.isnan(snapshot.table["out_points"].to_numpy())).sum())
    stored = {("ml_feature_store_v2", MONTH): FeatureMonth(features, "", LineCounts({}), found.table)}
    finding = check("reports_before_cut_off").examine(snapshot, scene(MONTH, values=stored))
    assert (finding.passed, found.late, known > 0) == (not planted, 0 if planted else len(reports), planted)
    assert len(finding.worst) == (len(reports) if planted else 0)


@cache
def followed() -> Snapshot:
    """The month's snapshot of the second system."""
    return taken(stored())


def stored() -> StoredMonth:
    history = pa.concat_tables([summary_of(month) for month in ("2021-10", MONTH)])
    days = month_bounds(MONTH)
    features = compute_features(history, PROP_LINES.empty_table(), *days, computed_at=COMPUTED_AT, version=V3_FEATURES)
    return StoredMonth(features, summary_of(MONTH))


def taken(rows: StoredMonth) -> Snapshot:
    return take_snapshot(MonthRows.of_tables(rows.features, rows.summary, V3_FEATURES), MONTH, V3_FEATURES)


def replaced(table: pa.Table, name: str, values: pa.Array) -> Snapshot:
    table = table.set_column(table.column_names.index(name), table.schema.field(name), values)
    return replace(followed(), table=table)


def judged(snapshot: Snapshot) -> tuple[bool, float | str]:
    """What the check of absences finds."""
    finding = check("absences_of_last_game").examine(snapshot, replace(scene(MONTH), system=XGBOOST_V2))
    return finding.passed, finding.value


def test_sums_of_who_misses_the_game_itself_are_a_leak() -> None:
    """Guards against a result in a feature, where a window of one game too many looks like news of tonight."""
    passed, value = judged(followed())
    assert passed
    assert isinstance(value, float)
    assert value < 0.1
    [tonight] = [fault for fault in CAREER_FAULTS if fault.name == "tonight's absences"]
    [leaky] = tonight.steps.rows({MONTH: stored()}).values()
    found = check("absences_of_last_game").examine(taken(leaky), replace(scene(MONTH), system=XGBOOST_V2))
    assert not found.passed
    assert [each["feature"] for each in found.worst] == ["absent_points", "absent_plays"]
    assert isinstance(found.value, float)
    assert found.value > 0.5
    assert "absent_points, absent_plays" in found.next_step


@pytest.mark.parametrize("game", ["0022100123", "", None, "neutral"])
def test_rows_whose_team_is_unknown_say_nothing_of_absences(game: str | None) -> None:
    """Guards against a crash on ids of another form, and on a month of neutral sites, where nobody is at home."""
    table = followed().table
    if game == "neutral":
        assert judged(replaced(table, "home_away", pa.array(np.zeros(table.num_rows)))) == (True, "too few games")
    else:
        assert judged(replaced(table, "game_id", pa.array([game] * table.num_rows, pa.string()))) == (
            True,
            "too few games",
        )


def test_a_month_without_rows_says_nothing_of_absences() -> None:
    """Guards against a crash on an empty month."""
    assert judged(replace(followed(), table=followed().table.slice(0, 0))) == (True, "too few games")
