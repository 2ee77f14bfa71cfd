"""Checks of a month's grades: what they let pass, what they warn of, and what they say."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pytest

from nba_ml.checks.check import Finding, Severity
from nba_ml.checks.prediction_grades import checks
from nba_ml.contract.thresholds import Thresholds
from nba_ml.data.tables import PREDICTION_GRADES
from nba_ml.evaluation.grades import GradedMonth, GradeReport, break_down
from nba_ml.evaluation.market import measure_market
from nba_ml.evaluation.predictions import PredictingModel
from nba_ml.model.metrics import Interval, measure
from nba_ml_tests.checks.scenes import scene, told
from nba_ml_tests.evaluation.test_grades import graded_rows

LIMITS = Thresholds()
RULES = {check.name: check for check in checks(LIMITS)}


def month_of(table: pa.Table, promised: float = 4.5) -> GradedMonth:
    """A graded month, by a model whose validation promised that MAE."""
    validation = measure(np.array([1.0]), np.array([2.0])).model_copy(update={"mae": promised})
    model = PredictingModel(
        model_version="m",
        model_sha256="0" * 64,
        newest_month="2021-12",
        feature_version="v2_33features",
        validation=validation,
        validation_mae_interval=Interval(low=promised, high=promised),
    )
    report = GradeReport(
        month="2022-01",
        model=model,
        graded=table.num_rows,
        void=0,
        late=0,
        without_result=412,
        early_season=0,
        breakdown=break_down(table),
    )
    return GradedMonth.of(table, report)


def examine(name: str, graded: GradedMonth, limits: Thresholds = LIMITS) -> Finding:
    return RULES[name].examine(graded, scene("2022-01", limits=limits))


def bets(right: int, wrong: int, pushes: int = 0, margin: float = 2.0) -> pa.Table:
    n = right + wrong + pushes
    return graded_rows(
        current_points_line=[10.0] * n,
        model_points=[10.0 + margin] * n,
        recommendation=["OVER"] * n,
        outcome=["RIGHT"] * right + ["WRONG"] * wrong + ["PUSH"] * pushes,
    )


def covered(inside: int, outside: int, season_average: float = 9.0) -> pa.Table:
    """Rows of which so many lie in the interval from 2 to 18."""
    points = [12.0] * inside + [30.0] * outside
    return graded_rows(points=points, season_average=[season_average] * len(points))


def at_prices(month: str, seen: float) -> GradedMonth:
    """A month of 7 games a day, ten fairly priced lines each, of which the model has `seen` so much of the result."""
    n, random, first = 24 * 70, np.random.default_rng(int(month[5:])), date.fromisoformat(f"{month}-01")
    truth = random.uniform(0.35, 0.65, n)
    over = random.random(n) < truth
    table = graded_rows(
        game_date=[first + timedelta(days=i // 70) for i in range(n)],
        game_id=[f"{month} {i // 10}" for i in range(n)],
        current_points_line=[10.5] * n,
        points=np.where(over, 12.0, 9.0).tolist(),
        over_probability=((1 - seen) * truth + seen * over).tolist(),
        recommendation=["PASS"] * n,
        outcome=["PASS"] * n,
        over_price=(0.96 / truth).tolist(),
        under_price=(0.96 / (1 - truth)).tolist(),
    )
    market = measure_market(table.to_pandas(date_as_object=False))
    return GradedMonth.of(table, month_of(table).report.model_copy(update={"market": market}))


@pytest.mark.parametrize(
    ("seen", "passes", "said"),
    [(0.0, True, "level with the market"), (0.1, False, "too far ahead of the market to be believed")],
)
def test_a_claim_rests_on_all_months_so_far_and_a_leak_is_no_claim(seen: float, passes: bool, said: str) -> None:
    """Guards against a claim that no month alone could ever make, and against one for a model that saw the results."""
    graded = at_prices("2022-01", seen)
    alone = RULES["market_claim"].examine(graded, scene("2022-01", months=["2022-01"]))
    assert (alone.passed, alone.n) == (passes, 1680)
    assert alone.value == (said if seen else "not enough prices to say")
    before = {("prediction_grades", month): at_prices(month, seen) for month in ("2021-11", "2021-12")}
    together = RULES["market_claim"].examine(
        graded, scene("2022-01", months=["2021-10", "2021-11", "2021-12", "2022-01"], values=before)
    )
    assert (together.passed, together.value, together.n) == (passes, said, 3 * 1680)
    without = RULES["market_claim"].examine(month_of(bets(5, 5)), scene("2022-01"))
    assert (without.passed, without.value, without.n) == (True, "not enough prices to say", 0)


def test_none_of_them_blocks() -> None:
    """Guards against a single bad month that stops the training of the next model."""
    assert list(RULES) == [
        "mae_as_promised", "bias_against_line", "hit_rate", "interval_coverage", "interval_coverage_by_tier",
        "market_claim",
    ]  # fmt: skip
    for check in RULES.values():
        assert (check.severity, check.blocking, check.stops_run) == (Severity.WARN, False, False)


@pytest.mark.parametrize(
    ("promised", "passes"), [(2.0, True), (1.74, True), (1.73, False), (2.35, True), (2.36, False)]
)
def test_a_month_may_be_fifteen_percent_off_its_promise(promised: float, passes: bool) -> None:
    """Guards against a limit that looks one way only: a month far better than promised is suspicious too."""
    days = [date(2022, 1, 1) + timedelta(days=i) for i in range(10)]
    finding = examine("mae_as_promised", month_of(graded_rows(game_date=days), promised))
    assert finding.passed is passes
    assert finding.value == f"{2.0 / promised - 1:+.1%} (2.000 against {promised:.3f})"
    assert (finding.n, finding.interval) == (10, "95% 2.000 to 2.000")


@pytest.mark.parametrize(("margin", "passes"), [(1.5, True), (-1.5, True), (1.51, False), (-1.51, False)])
def test_a_bias_against_the_line_warns_on_both_sides(margin: float, passes: bool) -> None:
    """Guards against a model that bets one side only: the fault that lost money behind a better MAE."""
    finding = examine("bias_against_line", month_of(bets(5, 5, margin=margin)))
    assert (finding.passed, finding.value, finding.n) == (passes, margin, 10)
    assert finding.interval == "10 recommended over, 0 under"


@pytest.mark.parametrize(("price", "passes", "needed"), [(2.5, True, "40.00%"), (1.5, False, "66.67%")])
def test_bets_with_a_price_need_the_hit_rate_of_that_price(price: float, passes: bool, needed: str) -> None:
    """Guards against a warning of lost money for bets that gained at long prices, and none for a loss at short ones."""
    n = 1_000
    table = graded_rows(
        current_points_line=[10.5] * n,
        recommendation=["OVER"] * n,
        points=[12.0] * 450 + [9.0] * 550,
        outcome=["RIGHT"] * 450 + ["WRONG"] * 550,
        over_probability=[0.5] * n,
        over_price=[price] * n,
    )
    usual = month_of(table)
    market = measure_market(table.to_pandas(date_as_object=False))
    finding = examine("hit_rate", GradedMonth.of(table, usual.report.model_copy(update={"market": market})))
    assert (finding.passed, finding.value) == (passes, 0.45)
    assert finding.interval.endswith(f"(95%, Wilson); at the prices of these bets {needed} break even")
    assert not examine("hit_rate", usual).passed


@pytest.mark.parametrize(
    ("right", "wrong", "passes"), [(50, 50, True), (0, 4, False), (0, 3, True), (470, 530, False), (495, 505, True)]
)
def test_a_hit_rate_warns_only_where_chance_does_not_explain_it(right: int, wrong: int, passes: bool) -> None:
    """Guards against an alarm over 49 of 100 bets, and against none over 470 of 1,000."""
    finding = examine("hit_rate", month_of(bets(right, wrong, pushes=3)))
    assert (finding.passed, finding.n, finding.value) == (passes, right + wrong, round(right / (right + wrong), 6))
    assert finding.interval.endswith("(95%, Wilson)")


@pytest.mark.parametrize(
    ("inside", "outside", "passes"),
    [(80, 20, True), (72, 28, True), (68, 32, False), (880, 120, False), (840, 160, True), (750, 250, False)],
)
def test_coverage_warns_outside_its_range_beyond_chance(inside: int, outside: int, passes: bool) -> None:
    """Guards against intervals far too narrow or wide, and against an alarm over the noise of a hundred rows."""
    finding = examine("interval_coverage", month_of(covered(inside, outside)))
    assert (finding.passed, finding.value, finding.n) == (passes, inside / (inside + outside), inside + outside)


def test_a_tier_that_is_off_is_named_though_the_whole_is_right() -> None:
    """Guards against an interval right on average and wrong for the stars."""
    table = pa.concat_tables([covered(83, 17), covered(50, 50, season_average=27.0), covered(170, 30, 3.0)])
    finding = examine("interval_coverage_by_tier", month_of(table))
    assert (finding.passed, finding.value, finding.n) == (False, 1, 400)
    assert [(row["tier"], row["n"], row["inside"]) for row in finding.worst] == [("25+", 100, 0.5)]
    assert finding.interval == "0-5: 85.0% of 200; 5-10: 83.0% of 100; 25+: 50.0% of 100"
    assert examine("interval_coverage", month_of(table)).passed
    small = pa.concat_tables([covered(83, 17), covered(3, 2, season_average=27.0)])
    assert examine("interval_coverage_by_tier", month_of(small)).passed


@pytest.mark.parametrize("name", list(RULES))
def test_a_month_with_nothing_to_grade_passes_and_says_so(name: str) -> None:
    """Guards against an October, or a month to come, that warns of a MAE of nothing."""
    finding = examine(name, month_of(PREDICTION_GRADES.empty_table()))
    assert (finding.passed, finding.n) == (True, 0)
    assert finding.value == "nothing graded: no results yet; 412 feature rows without a result"


def test_a_month_without_lines_or_bets_passes_and_says_so() -> None:
    """Guards against a hit rate of 0 / 0."""
    plain = month_of(graded_rows(points=[9.0, 12.0]))
    for name in ("bias_against_line", "hit_rate"):
        assert (examine(name, plain).passed, examine(name, plain).value) == (True, "no lines")
    pushed = month_of(bets(0, 0, pushes=2))
    assert (examine("hit_rate", pushed).passed, examine("hit_rate", pushed).value) == (
        True,
        "no bet on 2 lines, 2 push",
    )


def test_the_limits_given_are_the_limits_held_to() -> None:
    """Guards against a threshold of the user's that is shown and not used."""
    strict = LIMITS.model_copy(
        update={
            "max_grade_drift": 0.01,
            "max_line_bias": 0.1,
            "break_even_hit_rate": 0.99,
            "interval_coverage": (0.99, 1.0),
            "tier_coverage": (0.99, 1.0),
        }
    )
    table = pa.concat_tables([bets(40, 40, margin=1.0), covered(40, 40)])
    shown = {check.name: check.threshold for check in checks(strict)}
    for name, limit in {
        "mae_as_promised": "1%",
        "bias_against_line": "0.1",
        "hit_rate": "99.00%",
        "interval_coverage": "99% and 100%",
        "interval_coverage_by_tier": "99% and 100%",
    }.items():
        assert limit in shown[name]
        assert not examine(name, month_of(table, promised=6.0), strict).passed, name


def test_a_warning_says_what_to_do() -> None:
    """Guards against a red mark that helps nobody: the message has value, population, limit and the next step."""
    table = graded_rows(points=[12.0] * 4, absolute_error=[2.0, 1.0, 3.0, 2.0])
    finding = examine("mae_as_promised", month_of(table, 4.5))
    passed, said, worst = told(RULES["mae_as_promised"], finding)
    assert not passed
    assert said.startswith("warned: MAE relative to the model's validation MAE: -55.6% (2.000 against 4.500) (95% ")
    assert "If it is below, look for a feature that contains the result." in said
    assert [row.split("|")[1].strip() for row in worst.splitlines()[2:]] == ["player2", "player0", "player3", "player1"]
    assert told(RULES["mae_as_promised"], examine("mae_as_promised", month_of(table, 2.0)))[2] == ""
