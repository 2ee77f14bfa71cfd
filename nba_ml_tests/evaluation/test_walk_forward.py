"""All months together: what is summed up, and the page and the picture that show it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date, timedelta
from html import unescape
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from nba_ml.data.tables import PREDICTION_GRADES
from nba_ml.evaluation.grades import GradedMonth, GradeReport, break_down
from nba_ml.evaluation.pictures import walk_forward_curve
from nba_ml.evaluation.predictions import PredictingModel
from nba_ml.evaluation.report.page import systems_section, walk_forward_page
from nba_ml.evaluation.shadow import compare_graded
from nba_ml.evaluation.walk_forward import (
    GradedGames,
    WalkForward,
    graded_games,
    month_ranges,
    summarise,
    summary_table,
    without_details,
)
from nba_ml.model.metrics import Interval, interval_over_days, measure
from nba_ml_tests.evaluation.test_grades import graded_rows

PNG = b"\x89PNG\r\n\x1a\n"
MONTHS = ["2021-12", "2022-01", "2022-10", "2022-11"]


def month_of_errors(
    month: str, errors: Iterable[float], *, season_off_by: float = 4.0, line: bool = False
) -> GradedMonth:
    """A month of predictions that are so far off, two a day; the season average is off by the same each time."""
    size = np.array(list(errors), dtype=float)
    days = [date.fromisoformat(f"{month}-01") + timedelta(days=i // 2) for i in range(len(size))]
    told = {"current_points_line": [9.0] * len(size), "line_margin": [2.0] * len(size)} if line else {}
    bets = (
        {"recommendation": ["OVER"] * len(size), "outcome": (["RIGHT", "WRONG"] * len(size))[: len(size)]}
        if line
        else {}
    )
    points = 11.0 + size
    table = graded_rows(
        game_date=days,
        points=points.tolist(),
        predicted_points=[11.0] * len(size),
        season_average=(points + season_off_by).tolist(),
        **told,
        **bets,
    )
    return GradedMonth.of(table, report_of(month, table))


def report_of(month: str, table: object, *, early_season: int = 0) -> GradeReport:
    breakdown = break_down(table)
    graded = breakdown.overall.metrics.n if breakdown else 0
    return GradeReport(
        month=month, model=None, graded=graded, void=0, late=0, without_result=0, early_season=early_season,
        breakdown=breakdown,
    )  # fmt: skip


def empty_month(month: str) -> GradedMonth:
    table = PREDICTION_GRADES.empty_table()
    return GradedMonth.of(table, report_of(month, table, early_season=2071))


def walk_of(*months: GradedMonth, all_months: list[str] = MONTHS) -> WalkForward:
    return summarise({each.report.month: each for each in months}, all_months)


GAMES = graded_games({"2022-01": month_of_errors("2022-01", [1.0, -7.0, 12.0], line=True)})


def page_of(walk: WalkForward, games: GradedGames | None = GAMES) -> str:
    """The page with a curve of one pixel: what is drawn is tested by itself."""
    return walk_forward_page(walk, games, wide_picture=PNG, narrow_picture=PNG)


def test_what_is_left_of_the_grades_is_all_that_is_summed_up() -> None:
    """Guards memory saved at the price of a number: one that is measured from a column that is no longer read."""
    whole = month_of_errors("2022-01", [1.0, -7.0, 12.0, 3.5], line=True)
    left = without_details(whole)
    assert left.table.nbytes < whole.table.nbytes * 0.6
    assert left.digest == whole.digest
    assert summarise({"2022-01": left}, MONTHS) == summarise({"2022-01": whole}, MONTHS)
    assert graded_games({"2022-01": left}) == graded_games({"2022-01": whole})
    assert compare_graded([left.table, left.table]) == compare_graded([whole.table, whole.table])
    assert without_details(left).table.schema == left.table.schema, "what is not there need not be dropped"


def test_the_page_has_the_scores_of_the_distribution() -> None:
    """Guards CRPS and PIT, which were measured and shown nowhere; of older models, which have none, nothing is said."""
    table = graded_rows(
        points=[3.0, 11.0, 12.0, 25.0],
        season_average=[4.0, 9.0, 9.0, 21.0],
        crps=[1.0, 2.0, 3.0, 4.0],
        pit_low=[0.0, 0.2, 0.4, 0.9],
        pit_high=[0.0, 0.2, 0.4, 0.9],
        game_date=[date(2022, 1, 10)] * 4,
    )
    page = text_of(page_of(walk_of(GradedMonth.of(table, report_of("2022-01", table)))))
    found = page[page.index("Distribution Each prediction") :]
    assert "points a game CRPS PIT mean PIT variance inside 80% inside 90% n" in found
    assert re.search(r" 0-5 1\.000 0\.000 0\.0000 100\.0% 100\.0% 1 ", found)
    assert re.search(r" all 2\.500 0\.375 0\.1119 75\.0% 75\.0% 4 ", found)
    older = graded_rows(points=[3.0], crps=[np.nan], pit_low=[np.nan], pit_high=[np.nan])
    assert "CRPS" not in page_of(walk_of(GradedMonth.of(older, report_of("2022-01", older))))


def test_systems_are_compared_game_by_game_in_whatever_order_their_rows_are() -> None:
    """Guards against one player's error beside another's: the gain's interval is that of the pairs, by day."""
    random, n = np.random.default_rng(0), 60
    first, second = (
        graded_rows(
            game_date=[date(2022, 1, 1 + i // 6) for i in range(n)],
            predicted_points=(12 + random.normal(size=n)).tolist(),
            absolute_error=random.uniform(0, 9, n).tolist(),
        )
        for _ in range(2)
    )
    expected = compare_graded([first, second.slice(3)])
    assert (
        compare_graded([first.take(random.permutation(n)), second.slice(3).take(random.permutation(n - 3))]) == expected
    )
    gains = (first.column("absolute_error").to_numpy() - second.column("absolute_error").to_numpy())[3:]
    days = first.column("game_date").to_numpy().astype("datetime64[D]")[3:]
    assert expected[1].gain == pytest.approx(gains.mean(), abs=1e-6)
    assert expected[1].gain_interval == interval_over_days(gains, days)
    assert expected[0].metrics.n == n - 3
    assert compare_graded([first.slice(0, 3), second.slice(3)]) == ()


def test_the_page_compares_the_systems_and_links_to_the_others() -> None:
    """Guards a second system that is graded and seen nowhere; both on the games that each predicted."""
    days = [date(2022, 1, 10), date(2022, 1, 10), date(2022, 1, 11)]
    first = graded_rows(
        player_lookup=["a", "b", "c"],
        game_date=days,
        predicted_points=[10.0, 10.0, 30.0],
        absolute_error=[2.0, 2.0, 18.0],
    )
    second = graded_rows(
        player_lookup=["a", "b"],
        game_date=days[:2],
        predicted_points=[11.0, 12.0],
        absolute_error=[1.0, 0.0],
        system_id=["xgboost_v2"] * 2,
    )
    section = systems_section(compare_graded([first, second]), {"xgboost_v2": "xgboost_v2/report.html"})
    walk = walk_of(month_of_errors("2022-01", [1.0, -7.0, 12.0], line=True))
    page = walk_forward_page(walk, GAMES, wide_picture=PNG, narrow_picture=PNG, systems=section)
    assert '<a href="xgboost_v2/report.html">xgboost_v2</a>' in page
    found = text_of(page)[text_of(page).index("Systems All of them") :]
    assert "on the 2 player-games that each one predicted" in found
    assert "system MAE gain bias within 3 / 5 xgboost_v1 2.000 - " in found
    assert "xgboost_v2 0.500 +1.500 " in found
    assert systems_section(compare_graded([first]), {}) is None
    assert "Systems" not in text_of(page_of(walk))


def text_of(page: str) -> str:
    """What a reader sees."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL)))


# --- the summary ---------------------------------------------------------------------------------------------


def test_seasons_and_all_are_measured_on_rows_not_averaged_over_months() -> None:
    """Guards against a June of 2 games that weighs as much as a January of 8."""
    walk = walk_of(month_of_errors("2021-12", [1.0] * 8), month_of_errors("2022-01", [6.0] * 2))
    assert walk.overall is not None
    assert walk.overall.overall.metrics.n == 10
    assert walk.overall.overall.metrics.mae == pytest.approx(2.0)
    assert walk.seasons["2021-22"] == walk.overall


def test_a_season_has_its_own_months_only() -> None:
    """Guards against November counted to the season that ended in June."""
    walk = walk_of(
        month_of_errors("2021-12", [1.0] * 4),
        month_of_errors("2022-01", [2.0] * 4),
        month_of_errors("2022-11", [5.0] * 4),
    )
    found = {season: (each.overall.metrics.n, each.overall.metrics.mae) for season, each in walk.seasons.items()}
    assert found == {"2021-22": (8, 1.5), "2022-23": (4, 5.0)}


def test_months_without_a_number_are_named_with_their_reason() -> None:
    """Guards against a curve with a hole that nobody is told about."""
    walk = walk_of(month_of_errors("2022-01", [1.0]), empty_month("2022-10"))
    assert walk.missing == ("2021-12", "2022-11")
    assert list(walk.measured) == ["2022-01"]
    assert walk.notes == {
        "2021-12": "never graded",
        "2022-10": "only early-season rows (2,071), which are not predicted; 0 feature rows without a result",
        "2022-11": "never graded",
    }


@pytest.mark.parametrize(
    ("months", "note"),
    [([], "Dec 2021 to Nov 2022 : never graded"), ([empty_month("2022-10")], "Dec 2021 to Jan 2022 : never graded")],
    ids=["none", "an empty month"],
)
def test_nothing_graded_is_no_error(months: list[GradedMonth], note: str) -> None:
    """Guards against a summary that cannot be made before there is something to sum up."""
    walk = walk_of(*months)
    assert (walk.overall, walk.seasons, walk.measured) == (None, {}, {})
    assert "No month has graded results yet." in text_of(page_of(walk))
    assert note in text_of(page_of(walk, None))


def test_the_digest_follows_the_grades_and_the_summary_survives_json() -> None:
    """Guards against a data version that stays while a month changed, and against a summary nobody can read back."""
    first = walk_of(month_of_errors("2022-01", [1.0, 2.0]))
    assert walk_of(month_of_errors("2022-01", [1.0, 2.0])).digest == first.digest
    assert walk_of(month_of_errors("2022-01", [1.0, 2.5])).digest != first.digest
    assert WalkForward.model_validate_json(first.model_dump_json()) == first


def test_tables_show_what_there_is_and_dashes_for_what_there_is_not() -> None:
    """Guards against a `nan` in the UI, and against a gain under the wrong name."""
    plain, lined = month_of_errors("2022-01", [1.0, 2.0]), month_of_errors("2022-11", [1.0, 3.0], line=True)
    walk = walk_of(plain, lined)
    table = summary_table({month: each.overall for month, each in walk.measured.items()}, "month")
    assert isinstance(table, pd.DataFrame)
    first, second = table.to_dict("records")
    assert (first["month"], first["n"], first["MAE"], first["season average"]) == ("2022-01", "2", "1.500", "4.000")
    assert first["gain"] == "+2.500 (+2.500 to +2.500)"
    assert (first["line"], first["hit rate"]) == ("-", "-")
    assert second["line"] == "4.000 (model 2.000, n 2)"
    assert second["hit rate"] == "50.0% (9.5% to 90.5%) of 2"


# --- the picture ---------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("narrow", [False, True])
def test_the_curve_is_drawn_for_any_number_of_months(narrow: bool) -> None:
    """Guards against a picture that fails for one month, for a season without lines, or for none, or that varies."""
    months = [month_of_errors(m, [1.0, 2.0, 4.0], line=m == "2022-11") for m in ("2021-12", "2022-01", "2022-11")]
    for count in range(4):
        curve = {month: each.overall for month, each in walk_of(*months[:count]).measured.items()}
        drawn = walk_forward_curve(curve, narrow=narrow)
        assert drawn.startswith(PNG)
        assert drawn == walk_forward_curve(curve, narrow=narrow)


# --- the page ------------------------------------------------------------------------------------------------


class _Resources(HTMLParser):
    """Every tag, and every address that a browser would ask for."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "srcset", "href", "data", "action")]
        if tag not in ("meta", "img", "source"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        assert not attrs or {name for name, _ in attrs}.isdisjoint({"src", "href"})

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_needs_nothing_but_itself() -> None:
    """Guards against a page that is blank without a network, needs a script, or leaves a tag open."""
    page = page_of(walk_of(month_of_errors("2022-01", [1.0, 2.0], line=True), empty_month("2022-10")))
    found = _Resources()
    found.feed(page)
    assert found.open == []
    assert "script" not in found.tags
    assert "link" not in found.tags
    assert len(found.addresses) == 2
    assert all(address.startswith("data:image/png;base64,") for address in found.addresses)
    assert "url(" not in page
    assert "@import" not in page
    assert "http" not in text_of(page)
    assert 'name="viewport"' in page


@pytest.mark.parametrize(
    "hostile",
    [
        "<script>alert(1)</script>",
        '"><img src=x onerror=alert(1)>',
        "' onmouseover='alert(1)",
        "</style></td></table><iframe src=https://example.com>",
        "{{ 7 * 7 }}{% include 'style.css' %}",
        "&lt;b&gt;",
    ],
)
def test_a_name_from_the_data_is_shown_and_never_interpreted(hostile: str) -> None:
    """Guards against markup in a stored name, which would run in the browser of whoever opens the report."""
    walk = walk_of(month_of_errors("2022-01", [1.0, 2.0], line=True), empty_month("2022-10"))
    assert walk.overall is not None
    slices = walk.overall.overall
    named = walk.overall.model_copy(update={"by": {dimension: {hostile: slices} for dimension in walk.overall.by}})
    page = page_of(walk.model_copy(update={"overall": named, "seasons": {hostile: named}}))
    plain, found = _Resources(), _Resources()
    plain.feed(page_of(walk))
    found.feed(page)
    assert found.open == []
    assert set(found.tags) == set(plain.tags)
    assert found.addresses == plain.addresses
    shown = unescape(text_of(page))
    assert shown.count(hostile) == 9  # a season, its heading, its tier twice, and five tables by dimension


@pytest.mark.parametrize(
    ("season_off_by", "headline"),
    [
        (4.0, "The model beats the season average"),
        (0.5, "The model loses to the season average"),
        (1.5, "The model is not significantly different from the season average"),
    ],
)
def test_the_headline_says_what_the_interval_says(season_off_by: float, headline: str) -> None:
    """Guards against a page that celebrates a model whatever the numbers are."""
    errors = [1.0, 1.0, 2.0, 2.0, 1.0, 1.0, 2.0, 2.0]
    page = page_of(walk_of(month_of_errors("2022-01", errors, season_off_by=season_off_by)))
    assert (
        f"<h1>{headline} on unseen games; there are not enough prices to say how it compares with the market</h1>"
        in page
    )
    lost = "It loses to the season average for players of" in text_of(page)
    assert lost is (season_off_by == 0.5)
    compared = {
        4.0: "better by 2.500 points (2",
        0.5: "worse by 1.000 points (0.",
        1.5: "different (gain 0.000 points, \N{MINUS SIGN}",
    }
    assert compared[season_off_by] in text_of(page)
    for wrong in ("better by -", "better by \N{MINUS SIGN}", "worse by -", "worse by \N{MINUS SIGN}"):
        assert wrong not in text_of(page)


def test_the_page_says_where_the_line_is_better() -> None:
    """Guards against a page that hides the one comparison that costs money."""
    rows = month_of_errors("2022-01", [2.0, -2.0, 3.0, -3.0], line=True)
    better = rows.table.set_column(
        rows.table.schema.get_field_index("current_points_line"),
        rows.table.schema.field("current_points_line"),
        rows.table.column("points"),
    )
    text = text_of(page_of(walk_of(GradedMonth.of(better, report_of("2022-01", better)))))
    assert "On the 4 predictions with a betting line, the line was better: 0.00 against 2.50." in text
    assert "On the 4 predictions with a betting line" not in text_of(
        page_of(walk_of(month_of_errors("2022-01", [0.0] * 4, line=True)))
    )


@pytest.mark.parametrize(
    ("right", "wrong", "says"),
    [
        (100, 100, "not significantly different from the 52.4%"),
        (300, 100, "That is above the 52.4%"),
        (100, 300, "they would have lost money"),
    ],
)
def test_the_page_says_what_the_hit_rate_means(right: int, wrong: int, says: str) -> None:
    """Guards against 53% of 200 bets shown as an edge."""
    n = right + wrong
    table = graded_rows(
        current_points_line=[10.0] * n,
        line_margin=[2.0] * n,
        recommendation=["OVER"] * n,
        outcome=["RIGHT"] * right + ["WRONG"] * wrong,
    )
    text = text_of(page_of(walk_of(GradedMonth.of(table, report_of("2022-01", table)))))
    assert f"{right:,} of {n:,} bets were right" in text
    assert says in text


def test_a_hit_rate_at_real_prices_is_compared_with_their_break_even() -> None:
    """Guards against bets at long prices that are said to lose money because they win less often than those at -110
    must: half of these have a price of 2.5, and 40% of such bets must be right."""
    n = 800
    table = graded_rows(
        current_points_line=[10.0] * n,
        line_margin=[2.0] * n,
        recommendation=["OVER"] * n,
        points=[12.0, 9.0, 9.0, 12.0, 9.0] * (n // 5),
        outcome=["RIGHT", "WRONG", "WRONG", "RIGHT", "WRONG"] * (n // 5),
        over_probability=[0.5] * n,
        over_price=[2.5, float("nan")] * (n // 2),
    )
    text = text_of(page_of(walk_of(GradedMonth.of(table, report_of("2022-01", table)))))
    assert "That is below the 46.2% at which bets at these prices break even." in text
    assert "break-even 46.2%" in text
    assert "52.38%, break-even at odds of -110, or at the price of that side where it has one; a" in text
    assert "would have lost" not in text


def test_without_lines_the_page_says_so() -> None:
    """Guards against a hit rate of 0% where nobody listed a line."""
    text = text_of(page_of(walk_of(month_of_errors("2022-01", [1.0, 2.0]))))
    assert "No graded game had a betting line" in text
    assert "bets right" not in text


def test_every_month_season_and_tier_is_on_the_page() -> None:
    """Guards against a table that leaves out the months an owner would rather not see."""
    months = [
        month_of_errors("2021-12", [1.0] * 3),
        month_of_errors("2022-01", [9.0] * 5),
        month_of_errors("2022-11", [2.0] * 7),
    ]
    text = text_of(page_of(walk_of(*months)))
    for said in (
        "Dec 2021",
        "Jan 2022 9.000",
        "Nov 2022",
        "2021-22",
        "2022-23",
        "all 4.1",
        "home",
        "rested",
        "Oct 2022 : never",
    ):
        assert said in text, said
    assert "nan" not in text


def test_months_that_follow_each_other_are_a_range() -> None:
    """Guards against a list of 27 months, and against a range that hides a month with numbers."""
    order = ["2021-10", "2021-11", "2022-06", "2022-10", "2022-11"]
    assert month_ranges(["2022-10", "2021-10", "2022-06"], order) == ["2021-10", "2022-06 to 2022-10"]
    assert month_ranges(order, order) == ["2021-10 to 2022-11"]
    assert month_ranges([], order) == []


def test_the_page_says_which_games_and_which_models() -> None:
    """Guards against a report of which nobody can say how old it is, or what it is about."""
    model = PredictingModel(
        model_version="xgboost_v1_33features_202112_0123456789ab",
        model_sha256="0" * 64,
        newest_month="2021-12",
        feature_version="v2_33features",
        validation=measure(np.array([1.0]), np.array([2.0])),
        validation_mae_interval=Interval(low=0.5, high=1.5),
    )
    month = month_of_errors("2022-01", [1.0, -7.0, 12.0])
    graded = {"2022-01": GradedMonth.of(month.table, month.report.model_copy(update={"model": model}))}
    text = text_of(page_of(summarise(graded, MONTHS), graded_games(graded)))
    assert "Graded games from 2022-01-01 to 2022-01-02." in text
    assert f"Predicted by {model.model_version}." in text
    assert f"Jan 2022 {model.model_version} 2021-12" in text
    assert "player2 2022-01-02 11.00 23 +12.00" in text
    assert "No graded game had a betting line." in text
